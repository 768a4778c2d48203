"""The slope of a function of one number, by differences that know how wrong they may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Slope", "slope"]

EPSILON = 2.0**-52
LARGEST_STEP = 2.0**-8
N_STEPS = 14  # down to 2^-34, each a quarter of the one before
KINK = 0.5
"""J(h/4) / J(h) above which there is a kink: it is 1/4 where f is smooth, and 1 at a kink."""


class Slope(NamedTuple):
    """df/ds at 0, how far it may be off, and whether f has a kink there, and so two slopes."""

    value: float
    error: float
    kink: bool


def slope(f: Callable[[float], float]) -> Slope:
    """df/ds at s = 0 by central differences D(h) = (f(h) - f(-h)) / 2h.

    D is off by f''' h^2 / 6, and by the rounding of f divided by h. Of a ladder of steps that one
    is taken where |D(h) - D(h/4)| plus the rounding is least. A kink, such as that of a ReLU at 0,
    shows in the jump J(h) = (f(h) - 2 f(0) + f(-h)) / h between the slopes to the right and to the
    left: it shrinks like f'' h where f is smooth, and stays where it is not.
    """
    f0 = f(0.0)
    steps = [LARGEST_STEP * 4.0**-k for k in range(N_STEPS)]
    values = [(f(h), f(-h)) for h in steps]
    size = max(abs(v) for pair in values for v in (f0, *pair))
    central = [(a - b) / (2 * h) for h, (a, b) in zip(steps, values, strict=True)]
    jumps = [(a - 2 * f0 + b) / h for h, (a, b) in zip(steps, values, strict=True)]
    rounding = [4 * EPSILON * size / h for h in steps]
    errors = [abs(central[k] - central[k + 1]) + rounding[k + 1] for k in range(N_STEPS - 1)]
    best = min(range(N_STEPS - 1), key=errors.__getitem__)
    jump, wider = abs(jumps[best + 1]), abs(jumps[best])
    kink = jump > 16 * rounding[best + 1] and jump > KINK * wider
    return Slope(central[best + 1], errors[best], kink)
