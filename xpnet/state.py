"""What a training consists of while it runs: State on the device, Run between segments.

Both are NamedTuples of arrays and numbers: a checkpoint is nothing more than a Run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .backends import Backend
from .evaluation import Evaluation
from .hyperparameters import Hyperparameters
from .network import Network
from .types import Array

__all__ = [
    "Report",
    "Run",
    "State",
    "begin_epoch",
    "end_epoch",
    "initial_state",
    "report",
    "to_device",
    "to_host",
]


class State(NamedTuple):
    """All that changes from step to step: distinct arrays on the device, donated to each step.

    ``t`` (1,) int32 counts steps, ``position`` (1,) int32 samples of the running epoch.
    ``loss_sum``, ``weight_sum`` and ``n_correct`` are the running epoch's sums, 0-d;
    ``first_bad_step`` (1,) int32 is the first t whose loss was not finite, or 0.
    """

    theta: Array
    slots: tuple[Array, ...]
    t: Array
    position: Array
    loss_sum: Array
    weight_sum: Array
    n_correct: Array
    first_bad_step: Array


class Report(NamedTuple):
    """One epoch in numbers. Training figures are means over the epoch as the weights moved.

    Accuracies are None for regression, validation figures without a validation set.
    ``seconds`` is training alone, without validation.
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

    ``epoch`` epochs are done, and ``step`` steps of ``epoch_steps`` of the next one, which took
    ``seconds`` so far. ``kept`` are the weights of the epoch with the lowest validation loss;
    without a validation set it is None and the last weights count.
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
        """The weights that count; they live until the training goes on."""
        return self.state.theta if self.kept is None else self.kept

    def finished(self, epochs: int, patience: int | None) -> bool:
        """Whether all epochs are done, or ``patience`` of them brought no lower validation loss."""
        stale = self.epoch - self.kept_epoch if self.kept is not None else 0
        return self.epoch >= epochs or (patience is not None and stale >= patience)


def report(
    backend: Backend, run: Run, classifies: bool, evaluation: Evaluation | None = None
) -> Report:
    """The figures of the running epoch so far. Waits for the device."""
    position, loss_sum, weight_sum, n_correct = (
        backend.to_numpy(a).item()  # sync: the figures are wanted
        for a in (run.state.position, run.state.loss_sum, run.state.weight_sum, run.state.n_correct)
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
    """The Run with its epoch over: the best weights kept, the epoch's sums back at 0."""
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
    return State(
        theta=theta,
        slots=tuple(np.zeros_like(theta) for _ in range(hp.optimizer.n_slots)),
        t=np.zeros(1, np.int32),
        position=np.zeros(1, np.int32),
        loss_sum=np.zeros((), hp.dtype),
        weight_sum=np.zeros((), hp.dtype),
        n_correct=np.zeros((), np.int32),
        first_bad_step=np.zeros(1, np.int32),
    )


def begin_epoch(backend: Backend, state: State) -> State:
    """``state`` with the running epoch's position and sums at 0."""
    zeros = backend.xp.zeros_like
    return state._replace(
        position=zeros(state.position),
        loss_sum=zeros(state.loss_sum),
        weight_sum=zeros(state.weight_sum),
        n_correct=zeros(state.n_correct),
    )


def map_arrays(f: Callable[[Array], Array], tree: Any) -> Any:
    """``tree`` with each array replaced by f(array); numbers and None stay."""
    if isinstance(tree, tuple):
        parts = [map_arrays(f, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return f(tree) if hasattr(tree, "shape") else tree


def to_device(backend: Backend, run: Run) -> Run:
    """``run`` with its arrays copied from the host to the device."""
    return map_arrays(lambda a: backend.xp.asarray(backend.asarray(a), copy=True), run)  # type: ignore[no-any-return]


def to_host(backend: Backend, run: Run) -> Run:
    """``run`` with its arrays copied to the host."""
    return map_arrays(backend.to_numpy, run)  # type: ignore[no-any-return]
