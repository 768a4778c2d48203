"""Which primitive of a step is the first to diverge, and why."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backends
from ..hyperparameters import Hyperparameters
from ..network import Network
from ..ops import Ops
from ..state import State, donated, to_host
from ..step import TrainingStep
from ..types import Feed
from .cases import convert, leaves
from .compare import TOLERANCES, relative_error
from .trace import Call, Recorder, located

__all__ = ["first_divergence"]

SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def first_divergence(
    network: Network,
    hp: Hyperparameters,
    ours: Any,
    before: State,
    feed: Feed,
) -> str:
    """Repeat a step from the state ``before`` on both sides; name the first call that parts.

    ``ours`` is the track of the backend, ``before`` and ``feed`` are exact, on the host.
    """
    numpy = backends.get("numpy")
    exact = record(network, hp, numpy.reference_ops(), numpy, before, feed)
    placed = convert(before, hp.dtype, donated(ours.backend))
    theirs = record(network, hp, ours.ops, ours.backend, placed, ours.feed)
    limit = TOLERANCES["network", hp.dtype].limit
    for wanted, call in zip(exact, theirs, strict=True):
        pairs = zip(leaves(call.result), leaves(wanted.result), strict=True)
        error = max((relative_error(a, b) for a, b in pairs), default=0.0)
        if error > limit:
            why = explain(wanted, call, error, hp.dtype)
            return f"{call.place}, {call.op}: relative error {error:.1e} ({why})"
    return "no single operation parts: the error has grown over the steps, as rounding does"


def record(
    network: Network, hp: Hyperparameters, ops: Ops, backend: Any, state: State, feed: Feed
) -> list[Call]:
    """The calls of one step, run eagerly."""
    recorder = Recorder(ops, lambda value: to_host(backend, value))
    batch_size = min(hp.batch_size, feed.X.shape[0])
    step = TrainingStep(located(network), hp, batch_size)(recorder)  # type: ignore[arg-type]
    backend.loop(step, state, feed, 1)
    return recorder.calls


def explain(exact: Call, ours: Call, error: float, dtype: str) -> str:
    """Repeat the exact call in the mode that would explain the difference."""
    results, wanted = leaves(ours.result), leaves(exact.result)
    if not all(np.isfinite(a).all() for a in results):
        return "it is not finite"
    if dtype == "float32" and exact.args:
        with np.errstate(all="ignore"):
            single = leaves(getattr(Ops(np), exact.op)(*convert(exact.args, np.float32)))
        own = max(relative_error(a, b) for a, b in zip(single, wanted, strict=True))
        if error <= 4 * own:
            return f"rounding: NumPy in float32 is off by {own:.1e} itself"
        flushed = [np.where(np.abs(a) < SMALLEST_NORMAL, 0, a) for a in single]
        if max(relative_error(a, b) for a, b in zip(results, flushed, strict=True)) <= 1e-6:
            return "denormal numbers are flushed to 0"
    return "rounding does not explain it"
