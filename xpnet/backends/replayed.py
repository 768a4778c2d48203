"""A step done once and then only replayed: the calls of NumPy, or a graph of CUDA.

What changes from step to step lies in arrays that keep their places; nothing may depend on a value.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ..activations import ACTIVATIONS, activation
from ..layers import LAYERS
from ..losses import LOSSES
from ..optim import OPTIMIZERS
from ..types import Array, Counters
from .backend import ManySteps

__all__ = ["ReplayedStep", "is_ours"]

OURS = {*LAYERS.values(), *LOSSES.values(), *OPTIMIZERS.values()}

SETTLING_STEPS = 2
"""Steps until the workspace hands out the gradients' places in g, where they are computed."""


def is_ours(build: Any) -> bool:
    """Whether ``build`` describes a training step made of xpnet's own parts.

    A layer of somebody else's may draw numbers or count its calls: it must be run every time.
    """
    network, hp = getattr(build, "network", None), getattr(build, "hp", None)
    if network is None or hp is None:
        return False
    parts = [*network.layers, hp.loss, hp.optimizer]
    functions = [activation(a) for a in (getattr(p, "activation", None) for p in parts) if a]
    return all(type(part) in OURS for part in parts) and all(
        ACTIVATIONS.get(f.name) is f for f in functions
    )


class ReplayedStep(ManySteps):
    """``step`` for the first steps, then what one of them did, again and again.

    ``state`` and ``feed`` are those of the record: their arrays are read and written in every step.
    """

    def __init__(self, step: Any) -> None:
        self.step = step
        self.state: Any = None
        self.feed: Any = None
        self.settled = 0
        self.recorded = False

    @abstractmethod
    def copy(self, array: Array) -> Array:
        """A copy of ``array`` that nobody else sees."""

    @abstractmethod
    def record(self) -> int:
        """Write down one step on ``state`` and ``feed``; how many were done by that: 0 or 1.

        At its end the new ``state`` lies where the old one did.
        """

    @abstractmethod
    def replay(self, n: int) -> None:
        """Do ``n`` times the step that was written down."""

    def many(self, state: Any, feed: Any, n: int) -> Any:
        if not self.works_on(state, feed):
            self.state, self.feed, self.settled, self.recorded = state, feed, 0, False
        if self.recorded:
            places = *self.state.counters, self.feed.order, self.feed.lr
            for place, array in zip(places, (*state.counters, feed.order, feed.lr), strict=True):
                if array is not place:
                    place[...] = array
        else:
            settling = min(n, SETTLING_STEPS - self.settled)
            for _ in range(settling):
                state = self.step(state, feed)
            self.settled += settling
            n -= settling
            if n == 0:
                return state
            self.state = state._replace(counters=Counters(*map(self.copy, state.counters)))
            self.feed = feed._replace(order=self.copy(feed.order), lr=self.copy(feed.lr))
            n -= self.record()
            self.recorded = True
        self.replay(n)
        return self.state

    def works_on(self, state: Any, feed: Any) -> bool:
        """Whether the steps so far were done on these weights and data."""
        if self.state is None:
            return False
        new = (state.theta, *state.slots, *feed[:-2])
        old = (self.state.theta, *self.state.slots, *self.feed[:-2])
        return all(a is b for a, b in zip(new, old, strict=True))
