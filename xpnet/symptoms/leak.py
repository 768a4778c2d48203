"""Samples that are in two sets: the surest sign of a leak."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from ..data import Dataset
from ..types import NumpyArray

__all__ = ["Shared", "shared_samples"]


class Shared(NamedTuple):
    """How many of the ``n`` samples of the set called ``name`` are in the training set, too.

    ``natural`` is the share of training samples that have an equal one in the training set:
    so many are shared without a leak, such as where features are few and whole.
    """

    name: str
    n: int
    n_shared: int
    natural: float

    @property
    def share(self) -> float:
        return self.n_shared / self.n


def shared_samples(name: str, train: Dataset, other: Dataset) -> Shared:
    """Count the rows of ``other.X`` that are, bit for bit, rows of ``train.X``."""
    known = Counter(row_keys(train))
    n_shared = sum(key in known for key in row_keys(other))
    twins = sum(count for count in known.values() if count > 1)
    return Shared(name, other.n, n_shared, twins / train.n)


def row_keys(data: Dataset) -> list[int]:
    """A 64-bit hash of each row, so that a million rows take little memory."""
    X: NumpyArray = np.ascontiguousarray(data.on_host().X)
    return [hash(row.tobytes()) for row in X]
