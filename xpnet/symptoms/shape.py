"""Shapes of a curve: flat, rising, jumping. A long log is averaged first, for noise is no shape."""

from __future__ import annotations

import numpy as np

from ..types import NumpyArray
from .history import Series

__all__ = ["bare", "is_flat", "ups"]


BINS = 50
FLAT = 1e-6
"""A loss in float32 has seven digits: a change below this is rounding, and not learning."""


def bare(values: NumpyArray) -> NumpyArray:
    """The curve in at most BINS to 2 BINS points, each the mean of as many records.

    A log of every batch goes up at every second step; its means do so only where the run does.
    """
    width = len(values) // BINS
    if width < 2:
        return values
    n = len(values) // width * width
    means: NumpyArray = values[len(values) - n :].reshape(-1, width).mean(axis=1)
    return means


def is_flat(series: Series | None, least: int = 3) -> bool:
    """Whether ``least`` records or more are equal, to the last digit printed or to FLAT."""
    if series is None or len(series.values) < least or not np.isfinite(series.values).all():
        return False
    low, high = float(series.values.min()), float(series.values.max())
    return high - low <= FLAT * max(abs(low), abs(high))


def ups(values: NumpyArray) -> float:
    """The share of steps that go up."""
    return float((np.diff(values) > 0).mean()) if len(values) > 1 else 0.0
