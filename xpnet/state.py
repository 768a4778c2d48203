"""What a training consists of while it runs: State on the device, Run between segments.

Both are NamedTuples of arrays and numbers: a checkpoint is nothing more than a Run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .backends import Backend
from .evaluation import Evaluation
from .hyperparameters import Hyperparameters
from .network import Network
from .types import Array, Counters

__all__ = [
    "Report",
    "Run",
    "State",
    "begin_epoch",
    "donated",
    "end_epoch",
    "initial_state",
    "map_arrays",
    "report",
    "to_device",
    "to_host",
]

Tree = TypeVar("Tree")


class State(NamedTuple):
    """All that changes from step to step: distinct arrays on the device, donated to each step.

    ``theta`` and each of the optimizer's ``slots`` are (n_theta,).
    """

    theta: Array
    slots: tuple[Array, ...]
    counters: Counters


class Report(NamedTuple):
    """One epoch in numbers. Training figures are means over its steps, as the weights changed.

    Accuracies are None for regression, validation figures without a validation set.
    ``seconds`` are those of the training alone, without validation.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    seconds: float
    samples_per_second: float


class Run(NamedTuple):
    """A training between two segments: all it takes to go on from here.

    ``epoch`` epochs are done, and of the next one ``step`` of its ``epoch_steps`` steps, which took
    ``seconds`` so far. ``kept`` (n_theta,) is theta after epoch ``kept_epoch``, the one with the
    lowest validation loss; without a validation set it is None and the last theta counts.
    """

    state: State
    epoch: int
    step: int
    epoch_steps: int
    seconds: float
    reports: tuple[Report, ...]
    kept: Array | None = None
    kept_epoch: int = 0

    @property
    def theta(self) -> Array:
        """The theta that counts; it may be overwritten once the training goes on."""
        return self.state.theta if self.kept is None else self.kept

    def finished(self, epochs: int, patience: int | None) -> bool:
        """Whether all epochs are done, or ``patience`` of them without a lower validation loss."""
        stale = self.epoch - self.kept_epoch if self.kept is not None else 0
        return self.epoch >= epochs or (patience is not None and stale >= patience)


def report(
    backend: Backend, run: Run, classifies: bool, evaluation: Evaluation | None = None
) -> Report:
    """The Report of the running epoch so far. Waits for the device."""
    counters = run.state.counters
    position, loss_sum, weight_sum, n_correct = (
        backend.to_numpy(a).item()  # sync: the figures are wanted
        for a in (counters.position, counters.loss_sum, counters.weight_sum, counters.n_correct)
    )
    return Report(
        epoch=run.epoch + 1,
        train_loss=loss_sum / weight_sum if weight_sum else 0.0,
        train_accuracy=n_correct / position if classifies else None,
        val_loss=evaluation.loss if evaluation else None,
        val_accuracy=evaluation.accuracy if evaluation else None,
        seconds=run.seconds,
        samples_per_second=position / run.seconds,
    )


def end_epoch(backend: Backend, run: Run, report: Report) -> Run:
    """The Run after its epoch: the best theta kept, the epoch's sums back at 0."""
    kept, kept_epoch = run.kept, run.kept_epoch
    best = run.reports[kept_epoch - 1].val_loss if kept_epoch else None
    if report.val_loss is not None and (best is None or report.val_loss < best):
        kept, kept_epoch = backend.xp.asarray(run.state.theta, copy=True), report.epoch
    return run._replace(
        state=begin_epoch(backend, run.state),
        epoch=report.epoch,
        step=0,
        seconds=0.0,
        reports=(*run.reports, report),
        kept=kept,
        kept_epoch=kept_epoch,
    )


def initial_state(network: Network, hp: Hyperparameters) -> State:
    """The state before the first step, on the host."""
    theta = network.init(hp.seed, hp.dtype)
    slots = tuple(np.zeros_like(theta) for _ in range(hp.optimizer.n_slots))
    counters = Counters(
        t=np.zeros(1, np.int32),
        position=np.zeros(1, np.int32),
        loss_sum=np.zeros((), hp.dtype),
        weight_sum=np.zeros((), hp.dtype),
        n_correct=np.zeros((), np.int32),
        first_bad_step=np.zeros(1, np.int32),
    )
    return State(theta, slots, counters)


def begin_epoch(backend: Backend, state: State) -> State:
    """``state`` with the running epoch's position and sums at 0."""
    zeros, counters = backend.xp.zeros_like, state.counters
    begun = counters._replace(
        position=zeros(counters.position),
        loss_sum=zeros(counters.loss_sum),
        weight_sum=zeros(counters.weight_sum),
        n_correct=zeros(counters.n_correct),
    )
    return state._replace(counters=begun)


def map_arrays(f: Callable[[Array], Array], tree: Any) -> Any:
    """Nested tuples and lists with each array replaced by f(array); numbers and None stay."""
    if isinstance(tree, tuple | list):
        parts = [map_arrays(f, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return f(tree) if hasattr(tree, "shape") else tree


def to_device(backend: Backend, tree: Tree) -> Tree:
    """``tree``, such as a Run, with its arrays copied from the host; they may be donated."""
    return map_arrays(donated(backend), tree)  # type: ignore[no-any-return]


def to_host(backend: Backend, tree: Tree) -> Tree:
    """``tree``, such as a Run, with its arrays copied to the host."""
    return map_arrays(backend.to_numpy, tree)  # type: ignore[no-any-return]


def donated(backend: Backend) -> Callable[[Array], Array]:
    """Copies an array from the host to the device, where it may be overwritten."""
    # copied again there: what asarray returns need not be writable
    return lambda host: backend.xp.asarray(backend.asarray(host), copy=True)
