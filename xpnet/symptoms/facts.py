"""What is known of a run beside its numbers: classes and their shares, the loss, the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import (
    DataError,
    UsageError,
    check_choice,
    check_count,
    check_fraction,
    check_positive,
)
from ..losses import LOSSES
from ..spec import describe
from ..types import NumpyArray

__all__ = ["MNIST", "Facts", "class_counts", "gather_facts"]


MNIST = {
    "accuracy": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    "test_accuracy": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
}
"""Images per class in the training and the test set of MNIST: most posted logs are of these."""


class Facts(NamedTuple):
    """What is known of a run; None where it is not.

    ``counts`` (C,) are the samples per class of the set that an accuracy is measured on, by the
    name of its column. ``loss`` is a name in ``LOSSES``; ``smoothing`` says that its targets are
    smoothed, ``weighted`` that samples have weights. ``names`` are those of the classes.
    """

    n_classes: int | None = None
    counts: Mapping[str, NumpyArray] = {}
    loss: str | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    momentum: float = 0.0
    smoothing: bool = False
    weighted: bool = False
    names: tuple[str, ...] | None = None

    def name_of(self, c: int) -> str:
        """The number of a class, and its name if it has one."""
        return f"{c} ({self.names[c]})" if self.names else str(c)

    def chance(self, column: str = "accuracy") -> float | None:
        """The accuracy of the best constant prediction: the largest share, or 1/C."""
        counts = self.counts.get(column)
        if counts is not None:
            return float(counts.max() / counts.sum())
        return 1.0 / self.n_classes if self.n_classes else None

    @property
    def entropy(self) -> float | None:
        """The cross-entropy of the best constant prediction, -sum p ln p, or ln C."""
        counts = self.counts.get("accuracy")
        if counts is not None:
            p = counts[counts > 0] / counts.sum()
            return float(-(p * np.log(p)).sum())
        return math.log(self.n_classes) if self.n_classes else None


def gather_facts(
    n_classes: int | None,
    labels: Any,
    test_labels: Any,
    loss: Any,
    batch_size: int | None,
    learning_rate: float | None,
    momentum: float,
    weighted: bool = False,
) -> Facts:
    """The Facts, checked. ``loss`` is a name or a Loss; for labels see ``class_counts``.

    Raises UsageError or DataError that names what makes no sense.
    """
    if n_classes is not None:
        check_count("the number of classes", n_classes, minimum=2)
    counts: dict[str, NumpyArray] = {}
    if labels is not None:
        counts["accuracy"] = class_counts(labels, n_classes, "labels")
        n_classes = len(counts["accuracy"])
    if test_labels is not None:
        counts["test_accuracy"] = class_counts(test_labels, n_classes, "test labels")
        n_classes = len(counts["test_accuracy"])
    smoothing = bool(getattr(loss, "smoothing", 0.0))
    if loss is not None and not isinstance(loss, str):
        loss = describe(loss, LOSSES)["type"]
    if loss is not None:
        check_choice("loss", loss, LOSSES)
    if batch_size is not None:
        check_count("the batch size", batch_size)
    if learning_rate is not None:
        check_positive("the learning rate", learning_rate)
    check_fraction("the momentum", momentum)
    return Facts(n_classes, counts, loss, batch_size, learning_rate, momentum, smoothing, weighted)


def class_counts(labels: Any, n_classes: int | None, what: str) -> NumpyArray:
    """Samples per class (C,) from labels (n,), targets (n, C) with the class the largest, or
    a mapping of classes to counts. C is ``n_classes`` or the highest label + 1, 2 at least.

    Raises DataError for a label that is no whole number in 0 .. C - 1.
    """
    if isinstance(labels, Mapping):
        if not all(isinstance(v, int | np.integer) and v >= 0 for v in labels.values()):
            raise DataError(f"{what}: the counts of classes must be whole numbers >= 0")
        y = np.array(list(labels))
        weights = np.array(list(labels.values()), np.float64)
    else:
        y = np.asarray(labels)
        weights = None
        if y.ndim == 2 and y.shape[1] > 1 and y.size:
            n_classes, y = n_classes or y.shape[1], y.argmax(axis=1)
        y = y.ravel() if y.ndim == 2 and 1 in y.shape else y
    if y.ndim != 1 or y.size == 0 or y.dtype.kind not in "uifb":
        raise DataError(f"{what}: shape {y.shape} of {y.dtype}: give one class label a sample")
    highest = (n_classes or 1 << 20) - 1
    wrong = np.flatnonzero(~((y >= 0) & (y <= highest) & (y == np.floor(y))))
    if wrong.size:
        i = int(wrong[0])
        raise DataError(
            f"{what}: label {y[i]:.10g} of sample {i} is no whole number in 0 .. {highest}"
        )
    counts = np.bincount(y.astype(np.int64), weights, minlength=n_classes or 2)
    if counts.sum() == 0:
        raise UsageError(f"{what}: all counts are 0")
    return counts
