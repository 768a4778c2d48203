"""Schedules: how the learning rate changes over the training, as a factor on the base rate.

A schedule is called once an epoch. It is given ``t`` (n,), for each step of that epoch the number
of steps done before it, and the numbers of steps in an epoch and in the whole training. It computes
on the host, in NumPy: the rates are the same on every backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .errors import check_not_negative, check_positive
from .types import NumpyArray

__all__ = ["SCHEDULES", "Constant", "Cosine", "Exponential", "OneCycle", "Schedule", "Step"]


@dataclass(frozen=True)
class Schedule:
    """The factor on the base learning rate: a curve times a warm-up over ``warmup`` epochs.

    The warm-up at step t is min(1, (t + 1) / (warmup * epoch_steps)).
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_not_negative("warm-up", self.warmup)

    def __call__(self, t: NumpyArray, epoch_steps: int, total_steps: int) -> NumpyArray:
        """The factors (n,); ``t`` (n,) is of a float dtype, and so are they."""
        factor = self.curve(t, epoch_steps, total_steps)
        warm = self.warmup * epoch_steps
        if warm > 1:
            factor = factor * np.where(t + 1.0 < warm, (t + 1.0) / warm, np.ones_like(t))
        return factor

    def curve(self, t: NumpyArray, epoch_steps: int, total_steps: int) -> NumpyArray:
        """The factors (n,) before warm-up."""
        return np.ones_like(t)


@dataclass(frozen=True)
class Constant(Schedule):
    """Always 1."""


@dataclass(frozen=True)
class Step(Schedule):
    """gamma^floor(epochs done / ``every``)."""

    every: float = 1.0
    gamma: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("the epochs between two steps of the schedule", self.every)
        check_positive("gamma", self.gamma)

    def curve(self, t: NumpyArray, epoch_steps: int, total_steps: int) -> NumpyArray:
        # half a step more, so that rounding cannot take a whole quotient below its floor
        return np.exp(math.log(self.gamma) * np.floor((t + 0.5) / (self.every * epoch_steps)))


@dataclass(frozen=True)
class Exponential(Schedule):
    """gamma^(epochs done), with the fraction of the running epoch."""

    gamma: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("gamma", self.gamma)

    def curve(self, t: NumpyArray, epoch_steps: int, total_steps: int) -> NumpyArray:
        return np.exp(math.log(self.gamma) * (t / epoch_steps))


@dataclass(frozen=True)
class Cosine(Schedule):
    """(1 + cos(pi t / total_steps)) / 2, from 1 down to 0 (Loshchilov and Hutter 2017)."""

    def curve(self, t: NumpyArray, epoch_steps: int, total_steps: int) -> NumpyArray:
        return half_cosine(t / total_steps, 1.0, 0.0)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Along cosines from ``start`` up to 1 in the share ``rise`` of all steps, then to ``end``.

    (Smith and Topin 2018; the default numbers are those of PyTorch's OneCycleLR.)
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

    def curve(self, t: NumpyArray, epoch_steps: int, total_steps: int) -> NumpyArray:
        peak = self.rise * total_steps - 1.0
        last = total_steps - 1.0
        if peak <= 0:
            return half_cosine(t / max(last, 1.0), 1.0, self.end)
        up = half_cosine(t / peak, self.start, 1.0)
        down = half_cosine((t - peak) / (last - peak), 1.0, self.end)
        return np.where(t <= peak, up, down)


def half_cosine(s: NumpyArray, a: float, b: float) -> NumpyArray:
    """From ``a`` at s = 0 to ``b`` at s = 1 along half a cosine."""
    return b + (a - b) / 2.0 * (1.0 + np.cos(math.pi * s))


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "cosine": Cosine,
    "one-cycle": OneCycle,
}
"""The schedules that a model file and the command line can name."""
