"""What ``evaluate --per-class`` shows: how many of a class are right, and what the others are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ..errors import UsageError
from ..losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from ..types import Loss, NumpyArray

__all__ = ["confusion", "print_classes"]


def confusion(loss: Loss, target: NumpyArray, outputs: Iterable[NumpyArray]) -> NumpyArray:
    """How many samples of class i the network takes for class j: (C, C) int64.

    ``target`` as in training, ``outputs`` (m, n_out) block by block. Raises UsageError where the
    loss has no single class for each sample.
    """
    logits = np.concatenate(list(outputs))
    if isinstance(loss, SoftmaxCrossEntropy):
        n = logits.shape[1]
        true = target.argmax(axis=1) if target.ndim == 2 else target
        guess = logits.argmax(axis=1)
    elif isinstance(loss, BinaryCrossEntropy) and logits.shape[1] == 1:
        n, true, guess = 2, target.reshape(-1) > 0.5, logits[:, 0] > 0
    else:
        raise UsageError("--per-class needs a model that gives each sample one class")
    pairs = n * true.astype(np.int64) + guess.astype(np.int64)
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def print_classes(counts: NumpyArray, names: Sequence[str] | None) -> None:
    """A line for each class that has samples."""
    names = names or [str(k) for k in range(len(counts))]
    table = Table("class", *(Column(head, justify="right") for head in ("samples", "right")))
    table.add_column("most often taken for")
    for k, row in enumerate(counts):
        if not row.any():
            continue
        wrong = row.copy()
        wrong[k] = 0
        worst = wrong.argmax()
        mistaken = f"{names[worst]} ({wrong[worst]:,})" if wrong[worst] else ""
        right = f"{row[k] / row.sum():.2%}"
        table.add_row(escape(names[k]), f"{row.sum():,}", right, escape(mistaken))
    Console().print(table)
