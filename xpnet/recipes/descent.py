"""Running a network step by step, and testing it.

Steps run through ``Backend.loop``, so that they are one compiled loop where the backend has
such a thing, also for code that keeps its arrays in attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from ..backends import Backend
from ..data import Dataset
from ..ops import Ops
from ..types import Array
from .handwritten import HandWritten, count_right

__all__ = [
    "Descent",
    "Learner",
    "Outcome",
    "Row",
    "Rows",
    "full_batch_rows",
    "marks",
    "measured",
    "tested",
]

Row: TypeAlias = dict[str, Any]
"""An epoch: "epoch", "loss", "accuracy", and where there is one "val_loss", "test_accuracy" ..."""

Outcome: TypeAlias = dict[str, Any]
"""The final figures of a run: numbers and lists of numbers."""

Rows: TypeAlias = Generator[Row, None, Outcome]
"""A run: yields rows, returns the outcome."""

MOST_ROWS = 200
CHUNK = 1000


class Learner(Protocol):
    """What can be run: its ``arrays`` are all that ``learn`` changes."""

    arrays: dict[str, Array]

    def learn(self, x: Array, y: Array) -> tuple[Array, Array]:
        """One update on a batch; the loss, 0-d, and the outputs (m, k) it started from."""


class Progress(NamedTuple):
    """The network's arrays, rows seen (1,) int32, sum of losses 0-d, samples right 0-d int32."""

    arrays: dict[str, Array]
    seen: Array
    loss_sum: Array
    n_right: Array


class Descent:
    """Steps of ``network`` over batches of X (n, n_in), Y (n, k), in order.

    ``learn`` is what a step does, if it is not the network's own.
    """

    def __init__(
        self,
        place: Backend,
        network: Learner,
        X: Array,
        Y: Array,
        batch_size: int,
        learn: Callable[[Array, Array], tuple[Array, Array]] | None = None,
    ) -> None:
        self.place, self.network, self.data = place, network, (X, Y)
        self.n, self.batch_size = X.shape[0], batch_size
        self.learn = learn or network.learn
        self.step = place.compile(self.build)

    def build(self, ops: Ops) -> Callable[[Progress, tuple[Array, Array]], Progress]:
        """The step as a function of its state: the network is lent the state's arrays."""
        xp, network, m = ops.xp, self.network, self.batch_size

        def step(state: Progress, data: tuple[Array, Array]) -> Progress:
            x, y = data
            if m < self.n:
                index = ops.rows(state.seen, m)
                x, y = ops.take(x, index), ops.take(y, index)
            network.arrays = state.arrays
            loss, out = self.learn(x, y)
            return Progress(
                network.arrays,
                state.seen + m,
                state.loss_sum + loss,
                state.n_right + count_right(xp, out, y),
            )

        return step

    def run(self, n_steps: int) -> tuple[float, float]:
        """From the first row on: the mean of the steps' losses, and the share of samples right."""
        xp, place, network = self.place.xp, self.place, self.network
        some = next(iter(network.arrays.values()))
        state = Progress(
            network.arrays,
            xp.zeros((1,), dtype=xp.int32, device=place.device),
            xp.zeros((), dtype=some.dtype, device=place.device),
            xp.zeros((), dtype=xp.int32, device=place.device),
        )
        state = place.loop(self.step, state, self.data, n_steps)
        network.arrays = state.arrays
        steps = max(n_steps, 1)
        loss = place.to_numpy(state.loss_sum).item() / steps  # sync: the figures are wanted
        right = place.to_numpy(state.n_right).item() / (steps * self.batch_size)
        return loss, right


def marks(epochs: int) -> list[int]:
    """The epochs that get a row: all, or evenly about ``MOST_ROWS``, the first and the last."""
    every = max(1, epochs // MOST_ROWS)
    return sorted({1, *range(every, epochs + 1, every), epochs})


def full_batch_rows(place: Backend, network: Learner, X: Array, Y: Array, epochs: int) -> Rows:
    """Train on all rows at once; loss and accuracy of an epoch are those before its update."""
    descent = Descent(place, network, X, Y, X.shape[0])
    done = 0
    for epoch in marks(epochs):
        descent.run(epoch - done - 1)
        loss, accuracy = descent.run(1)
        done = epoch
        yield {"epoch": epoch, "loss": loss, "accuracy": accuracy}
    return {"loss": loss, "accuracy": accuracy}


def measured(place: Backend, network: HandWritten, X: Array, Y: Array) -> tuple[float, float]:
    """Loss and accuracy of a hand-written network as it is."""
    with np.errstate(all="ignore"):
        loss, out = network.look(X, Y)
    right = place.to_numpy(count_right(place.xp, out, Y)).item()  # sync: the figures are wanted
    return place.to_numpy(loss).item(), right / X.shape[0]


def tested(place: Backend, predict: Callable[[Array], Array], test: Dataset) -> Outcome:
    """What ``predict`` makes of a test set on the host: accuracy, and how many classes it names.

    ``test`` holds inputs as the network wants them, and labels.
    """
    classes = []
    for start in range(0, test.n, CHUNK):
        x = place.asarray(test.X[start : start + CHUNK])
        with np.errstate(all="ignore"):
            out = predict(x)
        classes.append(place.to_numpy(place.xp.argmax(out, axis=1)))  # sync: the test is the end
    named = np.concatenate(classes)
    return {
        "test_accuracy": float((named == test.y).mean()),
        "classes_named": len(np.unique(named)),
        "class_named_most": int(np.bincount(named).argmax()),
    }
