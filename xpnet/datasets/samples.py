"""What every reader does with the arrays it found: check the values, say where one is wrong.

``where`` turns the index of a sample into the beginning of a message, such as
``data.csv: line 7``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from ..blocks import first_row_not_finite, row_blocks
from ..data import Dataset
from ..errors import DataError
from ..types import NumpyArray

__all__ = [
    "Targets",
    "Where",
    "check_classes",
    "class_labels",
    "compact",
    "dataset",
    "flat",
    "real_targets",
    "row_of",
    "sample_weights",
]

Where: TypeAlias = Callable[[int], str]
Targets: TypeAlias = Literal["classes", "real"]

MAX_LABEL = (1 << 20) - 1  # a network needs an output for each number up to the highest


def row_of(what: str) -> Where:
    """Name samples as rows of ``what``, counted from 0."""
    return lambda i: f"{what}: row {i}"


def dataset(
    X: NumpyArray,
    y: NumpyArray,
    weight: NumpyArray | None = None,
    names: tuple[str, ...] | None = None,
) -> Dataset:
    """A Dataset whose ``scale`` brings bytes into 0..1; other numbers stay as they are.

    X is uint8 where all its values are whole numbers in 0..255, see ``compact``. A maximum above
    127 says that they are pixels, and 255 becomes 1. A lower one (16 grey levels, counts) becomes
    1 itself: with 1/255 these would nearly vanish. Up to 1 there is nothing to do.
    """
    highest = int(X.max()) if X.dtype == np.uint8 else 0
    full = 255 if highest > 127 else max(highest, 1)
    return Dataset(X, y, weight, scale=float(np.float32(1 / full)), names=names)


def flat(X: NumpyArray) -> NumpyArray:
    """Samples (n, ...) as rows (n, n_in)."""
    return X.reshape(len(X), -1)


def compact(X: NumpyArray, where: Where) -> NumpyArray:
    """Finite numbers (n, n_in) in the smallest of uint8, float32, float64 that holds them exactly.

    Whole numbers in 0..255 become uint8, whatever their dtype was. float64 is kept for float64
    and for whole numbers of more than 16 bits. Raises DataError for a NaN or an infinity.
    """
    if X.dtype.kind == "b":
        return X.astype(np.uint8)
    with np.errstate(invalid="ignore"):
        low, high = X.min(), X.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        row = first_row_not_finite(X)
        assert row is not None
        raise DataError(f"{where(row)} has a NaN or an infinity: fill it in or remove the row")
    if low >= 0 and high <= 255 and all_whole(X):
        return X.astype(np.uint8, copy=False)
    exact_in_float32 = X.dtype.itemsize <= (4 if X.dtype.kind == "f" else 2)
    return X.astype(np.float32 if exact_in_float32 else np.float64, copy=False)


def all_whole(X: NumpyArray) -> bool:
    """Whether numbers in 0..255 are whole."""
    if X.dtype.kind != "f":
        return True
    return all(bool((part == part.astype(np.uint8)).all()) for _, part in row_blocks(X))


def class_labels(y: NumpyArray, where: Where) -> NumpyArray:
    """Labels (n,) as int32; whole floats are labels, too.

    Raises DataError for a label that is negative, fractional, not finite or above a million.
    """
    numbers = y.astype(np.float64)
    good = (numbers >= 0) & (numbers <= MAX_LABEL) & (numbers == np.floor(numbers))
    if good.all():
        return y.astype(np.int32)
    i = int(np.argmin(good))
    label = numbers[i]
    if not np.isfinite(label):
        wrong = "is not finite: fill it in or remove the row"
    elif label != np.floor(label):
        wrong = "is no whole number: for real targets train with a loss such as mse"
    elif label < 0:
        wrong = "is negative: number the classes 0, 1, 2, ..."
    else:
        wrong = f"is above {MAX_LABEL:,}: number the classes 0, 1, 2, ..."
    raise DataError(f"{where(i)}: the label {label:.10g} {wrong}")


def real_targets(y: NumpyArray, where: Where) -> NumpyArray:
    """Targets (n,) or (n, k) as float64; raises DataError for a NaN or an infinity."""
    y = y.astype(np.float64)
    finite = np.isfinite(flat(y)).all(axis=1)
    if not finite.all():
        i = int(np.argmin(finite))
        raise DataError(f"{where(i)}: a target is not finite: fill it in or remove the row")
    return y


def sample_weights(weight: NumpyArray, where: Where) -> NumpyArray:
    """Weights (n,) as float64; raises DataError unless all are finite and >= 0."""
    weight = weight.astype(np.float64)
    good = np.isfinite(weight) & (weight >= 0)
    if not good.all():
        i = int(np.argmin(good))
        raise DataError(f"{where(i)}: the weight {weight[i]:.10g} must be finite and not negative")
    return weight


def check_classes(path: object, train: Dataset) -> None:
    """Raise DataError where all labels (n,) of a training set are the same."""
    y = train.y
    if y.ndim == 1 and (y == y[0]).all():
        label = repr(train.names[y[0]]) if train.names else y[0]
        raise DataError(f"{path}: all {len(y)} labels are {label}: there is nothing to learn")
