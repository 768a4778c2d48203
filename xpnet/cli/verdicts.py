"""What the outputs of a network mean: a class, labels or values, as text, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from ..spec import Spec
from ..types import Loss, NumpyArray

__all__ = ["Verdicts", "verdicts_of"]


class Verdicts(Protocol):
    """The verdict on each of n samples; ``header`` names the ``cells`` of one."""

    @property
    def header(self) -> list[str]: ...

    def cells(self) -> Iterator[list[Any]]:
        """For CSV, a list a sample."""

    def texts(self) -> Iterator[str]:
        """For people."""

    def as_json(self) -> Iterator[Spec]:
        """For programs."""


class Classes(NamedTuple):
    """One class of several: probabilities (n, C), and the names of the classes, if any."""

    p: NumpyArray
    names: tuple[str, ...] | None = None

    @property
    def header(self) -> list[str]:
        return ["class", *(["name"] if self.names else []), "probability"]

    def best(self) -> Iterator[tuple[int, float]]:
        return ((int(c), float(row[c])) for c, row in zip(self.p.argmax(1), self.p, strict=True))

    def cells(self) -> Iterator[list[Any]]:
        for c, p in self.best():
            yield [c, *([self.names[c]] if self.names else []), f"{p:.6g}"]

    def texts(self) -> Iterator[str]:
        return (f"{self.names[c] if self.names else c}  {p:.2%}" for c, p in self.best())

    def as_json(self) -> Iterator[Spec]:
        for (c, p), row in zip(self.best(), self.p, strict=True):
            name = {"name": self.names[c]} if self.names else {}
            yield {"class": c, **name, "probability": p, "probabilities": row.tolist()}


class Labels(NamedTuple):
    """Several labels, each there or not: their probabilities (n, k)."""

    p: NumpyArray

    @property
    def header(self) -> list[str]:
        return [f"probability_{j}" for j in range(self.p.shape[1])]

    def cells(self) -> Iterator[list[Any]]:
        return ([f"{p:.6g}" for p in row] for row in self.p)

    def texts(self) -> Iterator[str]:
        return (" ".join(f"{j}: {p:.2%}" for j, p in enumerate(row)) for row in self.p)

    def as_json(self) -> Iterator[Spec]:
        for row in self.p:
            yield {"labels": (row > 0.5).astype(int).tolist(), "probabilities": row.tolist()}


class Values(NamedTuple):
    """What a regression gives: values (n, k)."""

    values: NumpyArray

    @property
    def header(self) -> list[str]:
        k = self.values.shape[1]
        return ["value"] if k == 1 else [f"value_{j}" for j in range(k)]

    def cells(self) -> Iterator[list[Any]]:
        return ([f"{value:.9g}" for value in row] for row in self.values)

    def texts(self) -> Iterator[str]:
        return (" ".join(f"{value:.6g}" for value in row) for row in self.values)

    def as_json(self) -> Iterator[Spec]:
        return ({"values": row.tolist()} for row in self.values)


def verdicts_of(loss: Loss, out: NumpyArray, names: tuple[str, ...] | None = None) -> Verdicts:
    """What ``out`` (n, n_out) means to a network trained with ``loss``.

    Softmax and sigmoid, which belong to the loss, are applied here. A single yes or no counts
    as the classes 0 and 1. ``names`` are those of the classes.
    """
    if isinstance(loss, SoftmaxCrossEntropy):
        e = np.exp(out - out.max(axis=1, keepdims=True))
        return Classes(e / e.sum(axis=1, keepdims=True), names)
    if isinstance(loss, BinaryCrossEntropy):
        p = 0.5 + 0.5 * np.tanh(0.5 * out)  # the sigmoid, which cannot overflow so
        return Classes(np.hstack([1 - p, p]), names) if p.shape[1] == 1 else Labels(p)
    return Values(out)
