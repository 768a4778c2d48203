"""What may be done to a dataset before training: standardise features, weigh classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..blocks import row_blocks
from ..data import Dataset
from ..errors import DataError, UsageError, is_number
from ..types import NumpyArray

__all__ = ["class_weights", "standardise"]

TINY = 1e-30  # a smaller deviation has no inverse in float32


def standardise(train: Dataset) -> tuple[NumpyArray, NumpyArray]:
    """``shift`` and ``scale`` (n_in,) float64, so that (X - shift) * scale has mean 0 and std 1.

    shift_j = mean_i X_ij, scale_j = 1 / sqrt(mean_i (X_ij - shift_j)^2); sample weights play no
    part. A feature that never changes, or by less than float32 can tell (2^-23 of its size), has
    no such scale; it becomes 0 in training whatever its scale is. It gets the smallest scale of
    the others, lest it drown them if it does change in a sample to predict, and 1 if there are
    no others. Raises DataError for features too big to be squared. X is on the host.
    """
    X = train.X
    with np.errstate(over="ignore", invalid="ignore"):
        shift = X.mean(axis=0, dtype=np.float64)
        squares = sum(((block - shift) ** 2).sum(axis=0) for _, block in row_blocks(X))
        deviation = np.sqrt(squares / len(X))
    if not np.isfinite(deviation).all():
        j = int(np.argmin(np.isfinite(deviation)))
        raise DataError(f"feature {j} has numbers too big to standardise: divide it by its maximum")
    size = np.maximum(np.abs(X.max(axis=0).astype(np.float64)), np.abs(X.min(axis=0) * 1.0))
    changes = deviation > np.maximum(size * 2.0**-23, TINY)
    largest = deviation[changes].max() if changes.any() else 1.0
    return shift, 1 / np.where(changes, deviation, largest)


def class_weights(y: NumpyArray, spec: Literal["balanced"] | Sequence[float]) -> NumpyArray:
    """A weight for each sample (n,) float64, by its class ``y`` (n,).

    "balanced" gives n / (C * count_c), with C the number of classes that occur: every class
    weighs the same in the loss, and the mean weight is 1. A list gives the weight of each class
    0, 1, ..., max(y). Raises UsageError for a list that is none of that.
    """
    if y.ndim != 1 or y.dtype.kind not in "ui":
        raise UsageError("class weights need class labels, not real targets")
    n_classes = int(y.max()) + 1
    if isinstance(spec, str):
        if spec != "balanced":
            raise UsageError(f"class weights must be 'balanced' or numbers, not {spec!r}")
        _, which, counts = np.unique(y, return_inverse=True, return_counts=True)
        return (len(y) / (len(counts) * counts))[which]
    weights = list(spec)
    if len(weights) != n_classes:
        raise UsageError(f"{len(weights)} class weights for {n_classes} classes: give one each")
    for c, weight in enumerate(weights):
        if not (is_number(weight) and weight >= 0):
            raise UsageError(f"the weight of class {c} must be finite and >= 0, not {weight!r}")
    per_sample = np.asarray(weights, np.float64)[y]
    if not per_sample.any():
        raise UsageError("the weights of all classes in the data are 0: there is nothing to learn")
    return per_sample
