"""Schedules: how the learning rate changes over the training, as a factor on the base rate.

A schedule is called once an epoch, with the steps done ``t`` (n,) before each of the epoch's, and
two facts that never change: steps in an epoch and in the whole training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .errors import check_not_negative, check_positive
from .types import Array, Namespace

__all__ = ["SCHEDULES", "Constant", "Cosine", "Exponential", "OneCycle", "Schedule", "Step"]


@dataclass(frozen=True)
class Schedule:
    """The factor on the base learning rate at step t.

    ``warmup`` epochs of rising linearly: the factor is multiplied by
    min(1, (t + 1) / (warmup * epoch_steps)).
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_not_negative("warm-up", self.warmup)

    def __call__(
        self, xp: Namespace, t: Array, dtype: object, epoch_steps: int, total_steps: int
    ) -> Array:
        """The factors (n,) of ``dtype`` for the steps that follow ``t`` (n,) int32 steps."""
        t = xp.astype(t, dtype)
        factor = self.shape(xp, t, epoch_steps, total_steps)
        warm = self.warmup * epoch_steps
        if warm > 1:
            factor = factor * xp.where(t + 1.0 < warm, (t + 1.0) / warm, xp.ones_like(t))
        return factor

    def shape(self, xp: Namespace, t: Array, epoch_steps: int, total_steps: int) -> Array:
        """The factors (n,) before warm-up, ``t`` (n,) a float."""
        return xp.ones_like(t)


@dataclass(frozen=True)
class Constant(Schedule):
    """1."""


@dataclass(frozen=True)
class Step(Schedule):
    """gamma^(number of full ``every`` epochs done)."""

    every: float = 1.0
    gamma: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("the epochs between two steps of the schedule", self.every)
        check_positive("gamma", self.gamma)

    def shape(self, xp: Namespace, t: Array, epoch_steps: int, total_steps: int) -> Array:
        # half a step more: a quotient rounded down must not fall below its whole number
        return xp.exp(math.log(self.gamma) * xp.floor((t + 0.5) / (self.every * epoch_steps)))


@dataclass(frozen=True)
class Exponential(Schedule):
    """gamma^(epochs done, fractions included)."""

    gamma: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("gamma", self.gamma)

    def shape(self, xp: Namespace, t: Array, epoch_steps: int, total_steps: int) -> Array:
        return xp.exp(math.log(self.gamma) * (t / epoch_steps))


@dataclass(frozen=True)
class Cosine(Schedule):
    """(1 + cos(pi t / total)) / 2, from 1 down to 0 (Loshchilov and Hutter 2017)."""

    def shape(self, xp: Namespace, t: Array, epoch_steps: int, total_steps: int) -> Array:
        return half_cosine(xp, t / total_steps, 1.0, 0.0)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From 1/25 up to 1 in the first 30 % of the steps, then down to 4e-6, along cosines.

    (Smith and Topin 2018; the numbers are those of PyTorch's OneCycleLR.)
    """

    rise: float = 0.3
    start: float = 1 / 25
    end: float = 1 / 25 / 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("rise", self.rise)
        check_positive("1 - rise", 1.0 - self.rise)
        check_not_negative("start", self.start)
        check_not_negative("end", self.end)

    def shape(self, xp: Namespace, t: Array, epoch_steps: int, total_steps: int) -> Array:
        peak = self.rise * total_steps - 1.0
        last = total_steps - 1.0
        if peak <= 0:
            return half_cosine(xp, t / max(last, 1.0), 1.0, self.end)
        up = half_cosine(xp, t / peak, self.start, 1.0)
        down = half_cosine(xp, (t - peak) / (last - peak), 1.0, self.end)
        return xp.where(t <= peak, up, down)


def half_cosine(xp: Namespace, s: Array, a: float, b: float) -> Array:
    """From ``a`` at s = 0 to ``b`` at s = 1 along half a cosine."""
    return b + (a - b) / 2.0 * (1.0 + xp.cos(math.pi * s))


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "cosine": Cosine,
    "one-cycle": OneCycle,
}
"""The schedules that a model file and the command line can name."""
