"""Where the first NaN of a training came from: its last steps are done again, one by one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backends import Backend
from ..checks.cases import leaves
from ..checks.trace import Call, Recorder, located
from ..data import Dataset
from ..hyperparameters import Hyperparameters
from ..network import Network
from ..source import Source, source_of
from ..state import Run, State, to_device, to_host
from ..step import TrainingStep

__all__ = ["Origin", "find_origin"]


class Origin(NamedTuple):
    """``what`` is the first thing that was not finite, and when; ``losses`` are those of the steps
    before it, from the last time that the training was looked at."""

    what: str
    losses: tuple[float, ...] = ()


def find_origin(
    network: Network, data: Dataset, hp: Hyperparameters, backend: Backend, run: Run, fast: bool
) -> Origin | None:
    """Name the first thing that is not finite in the steps that follow ``run``, on the host.

    ``data`` is placed for the backend. A step is the same each time it is done, so these are the
    steps that went wrong; None where none does.
    """
    batch_size = min(hp.batch_size, data.n)
    source = source_of(data, hp, backend)
    source.begin(run.epoch)
    state = to_device(backend, run).state
    steps: dict[int, Any] = {}
    losses: list[float] = []
    for step in range(run.step, run.epoch_steps):
        size = min(batch_size, data.n - step * batch_size)
        build = TrainingStep(network, hp, size)
        if size not in steps:
            steps[size] = backend.compile(build, reference=not fast)
        before = to_host(backend, state)
        state = source.loop(steps[size], state, step, 1)
        after = to_host(backend, state)
        if after.counters.first_bad_step.any() or not np.isfinite(after.theta).all():
            what = first_bad(network, hp, backend, before, source, size, step)
            where = f"at step {step + 1} of epoch {run.epoch + 1} {what} is the first"
            largest = f"the largest weight is {np.abs(before.theta).max():.2g} there"
            return Origin(f"{where} that is not finite; {largest}", tuple(losses))
        weight = float(after.counters.weight_sum - before.counters.weight_sum)
        loss = float(after.counters.loss_sum - before.counters.loss_sum)
        losses.append(loss / weight if weight else 0.0)
    return None


def first_bad(
    network: Network,
    hp: Hyperparameters,
    backend: Backend,
    before: State,
    source: Source,
    size: int,
    step: int,
) -> str:
    """What the first primitive that is not finite computes in step ``step``, after ``before``."""
    recorder = Recorder(backend.reference_ops(), lambda value: to_host(backend, value))
    build = TrainingStep(located(network), hp, size)
    placed = to_device(backend, before)
    after = to_host(backend, source.loop(build(recorder), placed, step, 1))  # type: ignore[arg-type]
    call = next((c for c in recorder.calls if not all_finite(c.result)), None)
    what = "the update of the weights" if call is None else name_of(call)
    if not np.isfinite(after.counters.loss_sum) and not (call and call.place.endswith("forward")):
        what = "the loss"  # which some losses compute without a primitive
    return what


PLACES = {
    "take": "a weight",
    "softmax_xent": "the loss",
    "square_sum": "the length of the gradient",
}
"""What primitives outside layers compute; those of an optimizer update the weights."""


def name_of(call: Call) -> str:
    """A call as people would name it: the output of layers.1, the gradient of layers.0."""
    if call.op == "batch":
        x, _ = call.result
        return "a target" if all_finite(x) else "the input"
    words = call.place.split()
    if words[0] == "layer":
        what = "the output" if words[2] == "forward" else "the gradient"
        return f"{what} of layers.{words[1]}"
    return PLACES.get(call.op, "the update of the weights")


def all_finite(result: Any) -> bool:
    """Whether all arrays in the result of a primitive are finite."""
    return all(bool(np.isfinite(array).all()) for array in leaves(result))
