"""Parity: every primitive, layer and training step of the GPU against float64 on NumPy."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import xpnet
from xpnet import optim
from xpnet.bench.sections import Section
from xpnet.checks.compare import Row, relative_error
from xpnet.checks.parity import first_batch
from xpnet.checks.subject import Subject
from xpnet.cli.parity import checked, kind_of
from xpnet.data import Dataset
from xpnet.hyperparameters import Hyperparameters

from .rig import Rig

__all__ = ["SECTION"]

SMOOTH = "tanh, RMSprop"
"""Looked at with rounded operands: where a ReLU is near 0 they switch it, which is no fault."""

BOUNDS = {"tf32": 3e-3, "bf16": 2.5e-2}
"""Of the gradient's relative error there. Operands are rounded to 11 bits, and to 8: to the nearest
that alone makes 4e-4 and 3e-3, towards 0, as tensor cores may, 2e-3 and 1.6e-2."""


def samples(rig: Rig, *, weighted: bool = False) -> Dataset:
    """The first images of MNIST; weighted, some count more than others and some not at all."""
    n = rig.size(4096, 96)
    train, _ = xpnet.mnist()
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 4, n).astype(np.float32) if weighted else None
    return dataclasses.replace(train, X=train.X[:n], y=train.y[:n], weight=weight)


def subjects(rig: Rig) -> dict[str, Subject]:
    """The default network, and one each for dropout, weights and the optimizers."""
    widths = (256, 128, 10) if not rig.rehearsal else (16, 10)
    batch_size = rig.size(128, 32)
    steps = rig.size(20, 3)

    def subject(rule: Any, *, dropout: float = 0.0, weighted: bool = False, **hp: Any) -> Subject:
        activation = hp.pop("activation", "relu")
        network = xpnet.mlp(784, *widths, dropout=dropout, activation=activation)
        settings = Hyperparameters(optimizer=rule, batch_size=batch_size, **hp)
        return Subject(network, samples(rig, weighted=weighted), settings, steps)

    found = {
        "default": subject(optim.AdamW()),
        "dropout, weights, clipping": subject(
            optim.Momentum(l2=1e-4), dropout=0.3, weighted=True, clip_norm=1.0
        ),
        "sigmoid, Nesterov, clipped values": subject(
            optim.Nesterov(), activation="sigmoid", clip_value=0.01
        ),
        SMOOTH: subject(optim.RMSprop(), activation="tanh"),
        "Adam, gelu, weights": subject(optim.Adam(), activation="gelu", weighted=True),
        "SGD, smoothed labels": subject(optim.SGD(), loss=xpnet.SoftmaxCrossEntropy(0.1)),
    }
    return {name: found[name] for name in ("default", SMOOTH)} if rig.rehearsal else found


def rows(rig: Rig, subject: Subject, dtype: str) -> dict[str, Any]:
    """The worst error of each kind of check, and every row that failed in full."""
    found = list(checked(subject, rig.backend(), dtype))
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        groups[kind_of(row)].append(row)
    failed = [row._asdict() for row in found if not row.passed]
    return {
        "checks": len(found),
        "worst": {
            kind: {"error": max(r.error for r in group), "tolerance": group[0].tolerance}
            for kind, group in groups.items()
        },
        "failed rows": failed,
        "failed": first_failure(found),
        "spoilt": rig.spoilt(),
    }


def first_failure(found: Sequence[Row]) -> str:
    """How many rows failed, and the first of them; empty where none did."""
    failed = [row for row in found if not row.passed]
    if not failed:
        return ""
    row = failed[0]
    note = f" ({row.note})" if row.note else ""
    return (
        f"{len(failed)} of {len(found)} checks, the first {row.check}: error {row.error:.1e} "
        f"above {row.tolerance:.0e}{note}"
    )


def rounded(rig: Rig, subject: Subject, precision: str) -> dict[str, Any]:
    """The relative error of the gradient of one batch with operands rounded to ``precision``."""
    network, loss = subject.network, subject.hp.loss
    backend = rig.backend(precision)
    x, target, _, _, theta = first_batch(subject)
    exact = network.loss_and_grad(
        xpnet.backends.get("numpy").reference_ops(), theta, x, target, loss
    ).g
    placed = [backend.asarray(a.astype(np.float32)) for a in (theta, x)]
    ours = network.loss_and_grad(backend.ops(), *placed, backend.asarray(target), loss).g
    error = relative_error(backend.to_numpy(ours), exact)
    bound = BOUNDS[precision]
    failed = "" if error <= bound else f"the gradient's error is {error:.1e}, above {bound:.0e}"
    return {"error": error, "bound": bound, "failed": failed}


def parts(rig: Rig) -> Mapping[str, Any]:
    rig.backend()  # without it nothing can begin
    named = subjects(rig)
    checks = {
        f"{dtype}, {name}": lambda s=subject, d=dtype: rows(rig, s, d)
        for name, subject in named.items()
        for dtype in ("float32", "float64")
    }
    by_precision = {
        f"{precision} gradient": lambda p=precision: rounded(rig, named[SMOOTH], p)
        for precision in BOUNDS
    }
    return checks | by_precision


def lines(results: Mapping[str, Any]) -> list[str]:
    shown = []
    for part, result in results.items():
        if "worst" in result:
            shown.append(f"{part}: {result['checks']} checks, {len(result['failed rows'])} failed")
            worst = (f"{kind} {float(r['error']):.1e}" for kind, r in result["worst"].items())
            shown.append(f"  worst: {', '.join(worst)}")
            shown.extend(
                f"  FAIL {r['check']}: error {float(r['error']):.1e} above {r['tolerance']:.0e}"
                + (f"; {r['note']}" if r["note"] else "")
                for r in result["failed rows"]
            )
        elif "bound" in result:
            shown.append(f"{part}: error {float(result['error']):.1e}, bound {result['bound']:.0e}")
    return shown


SECTION = Section("parity", "every primitive and training step against float64", 100, parts, lines)
