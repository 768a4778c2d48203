"""transposed-gradient: MNIST at 14 %, because dW2 is transposed and W2 is square.

A wrong shape would have raised an error; 10 x 10 hides it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from .. import datasets, random
from ..activations import positive_part
from ..backends import Backend
from ..data import Dataset
from ..losses import SoftmaxCrossEntropy
from ..network import mlp
from ..types import Array, Namespace
from .descent import Descent, Rows, full_batch_rows, measured, tested
from .engine import Engine
from .handwritten import Declared, HandWritten, cross_entropy, softmax
from .recipe import Band, Bench, Bug, Recipe

__all__ = ["RECIPE", "TransposedGradient"]

HIDDEN = 10
CLASSES = 10


class TransposedGradient(HandWritten):
    """784-10-10 with ReLU and softmax, L = mean cross-entropy."""

    declared = Declared("relu", "softmax", "softmax-xent", "mean")

    def __init__(
        self, xp: Namespace, arrays: Mapping[str, Array], bugs: Collection[str] = ()
    ) -> None:
        super().__init__(xp, arrays, bugs)
        self.lr = 0.1

    def activations(self, x: Array) -> tuple[Array, Array]:
        xp, p = self.xp, self.arrays
        H = positive_part(xp, x @ p["W1"] + p["b1"])
        z2 = H @ p["W2"] + p["b2"]
        if "batch-maximum" in self.bugs:
            e = xp.exp(z2 - xp.max(z2))
            return H, e / xp.sum(e, axis=1, keepdims=True)
        return H, softmax(xp, z2)

    def loss(self, out: Array, y: Array) -> Array:
        """The mean cross-entropy; the posted code computes no loss at all."""
        return cross_entropy(self.xp, out, y) / y.shape[0]

    def backward(self, x: Array, y: Array, H: Array, out: Array) -> dict[str, Array]:
        xp, bugs, m = self.xp, self.bugs, x.shape[0]
        dz2 = (out - y) / m
        dz1 = xp.where(H > 0, dz2 @ self.arrays["W2"].T, xp.zeros_like(H))
        if "sum-over-outputs" in bugs:
            db2 = xp.sum(dz2, axis=1)
        elif "scalar-db2" in bugs:
            db2 = xp.sum(dz2)
        else:
            db2 = xp.sum(dz2, axis=0)
        return {
            "dW1": x.T @ dz1,
            "db1": xp.sum(dz1) if "scalar-db1" in bugs else xp.sum(dz1, axis=0),
            "dW2": dz2.T @ H if "transposed-gradient" in bugs else H.T @ dz2,
            "db2": db2,
        }


def initial(bugs: frozenset[str], seed: int, n_in: int) -> dict[str, Array]:
    """Weights N(0, 2/n_in) and biases 0, or everything N(0, 1) as posted."""
    arrays = {}
    for i, (rows, columns) in enumerate([(n_in, HIDDEN), (HIDDEN, CLASSES)]):
        draw = random.normal(seed, random.WEIGHTS + i, (rows + 1) * columns)
        W, b = draw[columns:].reshape(rows, columns), draw[:columns]
        if "unit-init" not in bugs:
            W, b = W * (2 / rows) ** 0.5, np.zeros(columns)
        arrays |= {f"W{i + 1}": W, f"b{i + 1}": b}
    return arrays


def make(place: Backend, bugs: frozenset[str], seed: int, rows: int | None = None) -> Bench:
    """The network at its start, and the training images."""
    train, _ = datasets.mnist()
    X, labels = train.X[:rows] / 255.0, train.y[:rows]
    arrays = initial(bugs, seed, X.shape[1])
    network = TransposedGradient(place.xp, {k: place.asarray(a) for k, a in arrays.items()}, bugs)
    Y = (labels[:, None] == np.arange(CLASSES)).astype(X.dtype)
    return Bench(network, place.asarray(X), place.asarray(Y))


def broken(place: Backend, bugs: frozenset[str], epochs: int, seed: int) -> Rows:
    """The hand-written network; as posted, the figures of an epoch are those after its update."""
    network, X, Y = make(place, bugs, seed)
    descent = Descent(place, network, X, Y, X.shape[0])
    descent.run(1)
    for epoch in range(1, epochs):
        loss, accuracy = descent.run(1)  # of the outputs before this update, after the one before
        yield {"epoch": epoch, "loss": loss, "accuracy": accuracy}
    loss, accuracy = measured(place, network, X, Y)
    last = {"loss": loss, "accuracy": accuracy}
    yield {"epoch": epochs, **last}
    _, test = datasets.mnist()
    return {**last, **tested(place, network.predict, Dataset(test.X / 255.0, test.y))}


def fixed(place: Backend, epochs: int, seed: int) -> Rows:
    """The engine's network: the same shape, He initialisation, full batch."""
    train, test = datasets.mnist()
    network = mlp(train.X.shape[1], HIDDEN, CLASSES, activation="relu", init="he_normal")
    engine = Engine(place, network, SoftmaxCrossEntropy(), 0.25, seed, "float32")
    X = place.asarray(train.X.astype(np.float32) / 255)
    Y = place.asarray((train.y[:, None] == np.arange(CLASSES)).astype(np.float32))
    last = yield from full_batch_rows(place, engine, X, Y, epochs)
    unseen = Dataset(test.X.astype(np.float32) / 255, test.y)
    return {**last, **tested(place, engine.predict, unseen)}


RECIPE=None
