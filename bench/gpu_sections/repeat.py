"""Repetition: the same training gives the same bits, captured or not, and keeps no memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

import xpnet
from xpnet import optim
from xpnet.backends import Backend
from xpnet.bench.sections import Section
from xpnet.data import Dataset
from xpnet.hyperparameters import Hyperparameters
from xpnet.network import Network
from xpnet.state import State, map_arrays
from xpnet.train import segments

from .rig import Rig

__all__ = ["SECTION", "same_bits"]

RULES = (optim.AdamW(), optim.Momentum(), optim.SGD(), optim.RMSprop())


def problem(rig: Rig, rule: Any, epochs: int) -> tuple[Network, Dataset, Hyperparameters]:
    """A network with dropout on so many images that the last batch of an epoch is smaller."""
    batch_size = rig.size(128, 16)
    n = 99 * batch_size + batch_size // 2 if not rig.rehearsal else 3 * batch_size + 5
    train, _ = xpnet.mnist()
    data = dataclasses.replace(train, X=train.X[:n], y=train.y[:n])
    widths = (256, 128, 10) if not rig.rehearsal else (8, 10)
    hp = Hyperparameters(optimizer=rule, epochs=epochs, batch_size=batch_size, clip_norm=5.0)
    return xpnet.mlp(784, *widths, dropout=0.2), data, hp


def trained(rig: Rig, backend: Backend, rule: Any) -> State:
    """The state after some epochs, on the host."""
    network, data, hp = problem(rig, rule, epochs=2)
    *_, run = segments(network, data, hp=hp, backend=backend)
    state: State = map_arrays(backend.to_numpy, run.state)
    return state


def same_bits(a: State, b: State) -> list[str]:
    """The names of what is not equal bit for bit in two states on the host."""
    named = [("theta", a.theta, b.theta)]
    named += [(f"slot {k}", *pair) for k, pair in enumerate(zip(a.slots, b.slots, strict=True))]
    named += zip(a.counters._fields, a.counters, b.counters, strict=True)
    return [name for name, x, y in named if np.asarray(x).tobytes() != np.asarray(y).tobytes()]


def compared(rig: Rig, rule: Any, ours: Backend, other: Backend) -> dict[str, Any]:
    different = same_bits(trained(rig, ours, rule), trained(rig, other, rule))
    failed = f"{', '.join(different)} differ in their bits" if different else ""
    return {"different": different, "failed": failed}


def leak(rig: Rig) -> dict[str, Any]:
    """Memory after 1,000 and after 10,000 steps of one training."""
    early, late = rig.size(10, 2), rig.size(100, 4)
    network, data, hp = problem(rig, optim.AdamW(), epochs=late)
    seen: dict[str, dict[str, int]] = {}
    backend = rig.backend()
    for run in segments(network, data, hp=hp, backend=backend):
        if run.step == 0 and run.epoch in (early, late):
            seen[f"after {run.epoch * run.epoch_steps} steps"] = rig.memory()
    before, after = seen.values()
    grown = [
        f"{what} by {after[what] - before[what]}" for what in after if after[what] > before[what]
    ]
    return {**seen, "failed": f"grew in bytes: {', '.join(grown)}" if grown else ""}


def parts(rig: Rig) -> Mapping[str, Any]:
    rig.backend()  # without it nothing can begin
    rules = RULES[:1] if rig.rehearsal else RULES
    twice = {
        f"two trainings, {type(rule).__name__}": lambda r=rule: compared(
            rig, r, rig.backend(), rig.backend()
        )
        for rule in rules
    }
    captured = {
        f"captured and call by call, {type(rule).__name__}": lambda r=rule: compared(
            rig, r, rig.backend(graph="require"), rig.backend(graph="never")
        )
        for rule in rules
    }
    return {**twice, **captured, "memory": lambda: leak(rig)}


def lines(results: Mapping[str, Any]) -> list[str]:
    shown = []
    for part, result in results.items():
        if "different" in result:
            verdict = f"NOT equal: {', '.join(result['different'])}" if result["different"] else ""
            shown.append(f"{part}: {verdict or 'equal bit for bit'}")
        for when in (key for key in result if key.startswith("after ")):
            sizes = (f"{what} {n:,}" for what, n in result[when].items())
            shown.append(f"bytes {when}: {', '.join(sizes)}")
    return shown


SECTION = Section("repeat", "the same bits every time, and no leak", 60, parts, lines)
