"""Speed: xpnet's three ways beside PyTorch's and JAX's, on the same work and in each precision."""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpnet.backends.peers import on_gpu
from xpnet.bench.contest import contest
from xpnet.bench.contestants import OURS, Contestant, Engine, Rival
from xpnet.bench.judge import SHORT, short
from xpnet.bench.remote import Troupe, serve
from xpnet.bench.sections import Section
from xpnet.bench.standing import Standing, ranked, standings
from xpnet.bench.table import columns
from xpnet.bench.workloads import Workload
from xpnet.errors import UsageError

from .rig import PRECISIONS, Rig, workloads
from .roofline import roof

__all__ = ["CONTESTANTS", "SECTION", "build", "serve_contestant"]

COMMAND = Path(__file__).resolve().parents[1] / "gpu.py"
GRAPHS = {f"{OURS}fused": "never", f"{OURS}captured": "require"}
PLAIN = f"{OURS}plain"
CONTESTANTS = (PLAIN, *GRAPHS, *on_gpu.ON_GPU)

ROUNDS, EPOCHS = 3, 3
PATIENCE = 140.0
"""Seconds for a contestant to load its library, compile, and train an epoch."""

OFF = {"fp32": SHORT, "tf32": 0.2, "bf16": 0.25}
"""How far from float64 the first steps may end. With operands rounded to 11 bits, and all else in
float64, they end up to 0.09 off, with 8 bits 0.17: small faults show in the exact ones alone."""


# ---- in a worker -------------------------------------------------------------------------------


def serve_contestant(name: str, rig: Rig) -> None:
    """Be the contestant ``name`` for the process at the other end of stdin and stdout."""
    # JAX would take three quarters of the memory that all of them share
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    serve(functools.partial(build, rig, name))


def build(rig: Rig, name: str, workload: Workload, precision: str) -> Contestant:
    """The contestant ``name`` for ``workload`` with products of that precision."""
    if name == PLAIN:
        if precision != "fp32":
            raise UsageError(f"plain array operations know no {precision}")
        return Engine(workload, rig.backend(), reference=True)
    if name in GRAPHS:
        return Engine(workload, rig.backend(precision, GRAPHS[name]))
    load = functools.partial(on_gpu.load, device=rig.device, precision=precision)
    return Rival(workload, name, load, ROUNDS * EPOCHS + 1)


# ---- in the section's process --------------------------------------------------------------------


def measured(rig: Rig, troupe: Troupe, workload: Workload, precision: str) -> dict[str, Any]:
    """One contest: everybody's seconds an epoch, by round, and how far they are from float64."""
    names = ready(troupe, workload, precision)
    outcomes = contest(
        workload, names, rounds=ROUNDS, epochs=EPOCHS, build=troupe.build, clock=troupe.clock
    )
    ours = [o for o in outcomes if o.name.startswith(OURS)]
    failed = [f"{o.name}: {o.failure}" for o in ours if o.failure]
    bound = roof(rig, workload, precision)
    return {
        "workload": workload.name,
        "precision": precision,
        "description": workload.describe(),
        "steps": len(workload.batches) * workload.passes,
        "outcomes": [
            {**o._asdict(), "rounds": [[list(t) for t in r] for r in o.rounds]} for o in outcomes
        ],
        "standings": [
            figures(s, workload) for s in standings(workload, outcomes, "wall", OFF[precision])
        ],
        "roofline": {
            **bound._asdict(),
            "microseconds": bound.microseconds,
            "binds": bound.binds,
        },
        "failed": "; ".join(failed),
    }


def ready(troupe: Troupe, workload: Workload, precision: str) -> list[str]:
    """Let all who take part load their libraries and compile; their names."""
    names = [name for name in CONTESTANTS if name != PLAIN or precision == "fp32"]
    troupe.prepare(names, [short(workload), workload], precision)
    return names


def figures(s: Standing, workload: Workload) -> dict[str, Any]:
    """One row: microseconds a step, samples a second, and the time beside the fastest."""
    steps = len(workload.batches) * workload.passes
    later = {} if s.later is None else {k: v / steps * 1e6 for k, v in s.later._asdict().items()}
    return {
        "name": s.name,
        "microseconds a step": later,
        "samples per second": s.samples_per_second,
        "beside the fastest": s.to_fastest._asdict() if s.to_fastest else None,
        "off": s.deviation,
        "loss": s.loss,
        "remark": s.remark,
        "ranked": s in ranked([s]),
    }


def parts(rig: Rig) -> Mapping[str, Any]:
    """Exact products on every workload first, then what rounds, the largest network first."""
    rig.backend()  # without it there is nothing to compare
    flag = ["--rehearse"] if rig.rehearsal else []
    troupe = Troupe(lambda name: [sys.executable, str(COMMAND), "--worker", name, *flag], PATIENCE)
    atexit.register(troupe.end)
    everything = list(workloads(rig))
    order = [(w, "fp32") for w in everything]
    for precision in PRECISIONS[1:]:
        order.append((everything[-1], precision))
    order += [(w, p) for w in everything[:-1] for p in PRECISIONS[1:]]
    if rig.rehearsal:
        order = order[:2] + order[3:4]
    contests = {f"{w.name}, {p}": (w, p) for w, p in order}
    left = [contest for name, contest in contests.items() if name not in rig.results("speed")]
    if left:  # loading and compiling from nothing: no other part takes that long
        ready(troupe, *left[0])
    return {name: functools.partial(measured, rig, troupe, *c) for name, c in contests.items()}


# ---- the table -----------------------------------------------------------------------------------


def lines(results: Mapping[str, Any]) -> list[str]:
    shown: list[str] = []
    for part, result in results.items():
        if "standings" in result:
            shown.extend(["", f"{part}: {result['description']}", *contest_lines(result)])
    return shown


def contest_lines(result: Mapping[str, Any]) -> list[str]:
    """The contest as a table: medians, from the fastest on; then the roofline and who is out."""
    bound = result["roofline"]["microseconds"]
    rivals = [
        s["microseconds a step"]["median"]
        for s in result["standings"]
        if s["ranked"] and not s["name"].startswith(OURS)
    ]
    rows = [["contestant", "us/step", "from", "to", "samples/s", "x rival", "x roof", "off"]]
    for s in result["standings"]:
        if spent := s["microseconds a step"]:
            rows.append(
                [
                    s["name"],
                    *(f"{spent[k]:,.1f}" for k in ("median", "low", "high")),
                    f"{s['samples per second']:,.0f}",
                    f"{spent['median'] / min(rivals):.2f}" if rivals else "",
                    f"{spent['median'] / bound:.1f}" if bound else "",
                    "" if s["off"] is None else f"{float(s['off']):.0e}",
                ]
            )
    out = [f"{s['name']} is not ranked: {s['remark']}" for s in result["standings"] if s["remark"]]
    return [*columns(rows), *out, roof_line(result["roofline"])]


def roof_line(found: Mapping[str, Any]) -> str:
    """The two bounds of a step, and which of them binds."""
    sources = {"work": found["ceiling"], "memory": "as copied here, caches aside"}
    bounds = [
        f"{what} unknown" if found[what] is None else f"{what} {found[what]:.2f} us ({source})"
        for what, source in sources.items()
    ]
    if None not in (found["work"], found["memory"]):
        bounds.append(f"{found['binds']} binds")
    return f"roofline: {', '.join(bounds)}"


SECTION = Section("speed", "xpnet, PyTorch and JAX on the same work", 270, parts, lines)
