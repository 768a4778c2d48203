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
    arrays: dict[str, Array] = {}
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


RECIPE = Recipe(
    name="transposed-gradient",
    question="Why is my network on MNIST no better after 40 epochs than after 1?",
    facts={
        "network": "784-10-10, ReLU, softmax",
        "data": "MNIST, 60,000 images to train and 10,000 to test; x/255",
        "initialisation": "weights and biases N(0, 1)",
        "loss": "none is computed: only out - y",
        "update": "full batch, mean gradient, lr 0.1, 40 epochs; in float64, as posted",
        "fixed": "xpnet's 784-10-10, ReLU, softmax cross-entropy, He initialisation, full batch, "
        "lr 0.25, 200 epochs",
    },
    posted=(
        "accuracy 12 -> 14 -> 12 % over 40 epochs, test 11.5 %",
        "repaired: lr 0.5, 300 epochs: 60 %; with He, lr 0.25, 200 epochs: 91 %",
    ),
    answer="The answer's code is right, its story half right: it blames the shapes of the bias "
    "gradients. Its 93 % in 15-20 epochs at lr 0.01 is true for mini-batches of 32, not for this "
    "full-batch loop (13 %).",
    bugs=(
        Bug(
            name="transposed-gradient",
            wrong="dW2 = dz2^T H",
            right="dW2 = H^T dz2",
            effect="The killer. With 10 hidden units W2 is 10 x 10, so the transpose raises no "
            "error; its cosine with the true gradient is near 0. Mending this alone gives about "
            "30 %.",
            noticed="vaguely",
            changes=("dW2",),
        ),
        Bug(
            name="sum-over-outputs",
            wrong="db2 = sum over axis 1 of dz2, shape (60000,)",
            right="db2 = sum over axis 0 of dz2, shape (10,)",
            effect="As posted, and the code stops at the first update: b2 has 10 entries. So the "
            "posted figures came from other code; scalar-db2 gives them.",
            noticed="nobody",
            changes=("db2",),
            in_broken=False,
        ),
        Bug(
            name="scalar-db2",
            wrong="db2 = sum of all of dz2",
            right="db2 = sum over axis 0 of dz2",
            effect="It is always 0, because the rows of the softmax and of the targets both sum "
            "to 1: b2 never learns.",
            noticed="nobody",
            changes=("db2",),
        ),
        Bug(
            name="scalar-db1",
            wrong="db1 = sum of all of dz1",
            right="db1 = sum over axis 0 of dz1",
            effect="One number for all hidden units.",
            noticed="yes",
            changes=("db1",),
        ),
        Bug(
            name="batch-maximum",
            wrong="e = exp(z - max of all z)",
            right="e = exp(z - max of each row of z)",
            effect="The same softmax, until every exp of a row underflows: then 0/0. In float64 "
            "it does not come to that here.",
            noticed="nobody",
            changes=("underflow",),
        ),
        Bug(
            name="unit-init",
            wrong="W ~ N(0, 1), b ~ N(0, 1)",
            right="W ~ N(0, 2/n_in), b = 0 (He et al. 2015)",
            effect="Logits of some tens: the softmax starts out sure, and wrong.",
            noticed="yes",
            changes=("W1", "b1", "W2", "b2"),
        ),
    ),
    forensics=(
        "The shapes tell: db2 of shape (60000,) cannot be subtracted from b2, so the code as "
        "posted never ran.",
        "A check on layers that are not square sees the transpose at once.",
    ),
    bands={
        "broken": (Band("accuracy", 0.08, 0.18), Band("test_accuracy", 0.08, 0.18)),
        "fixed": (Band("test_accuracy", 0.895, 1.0),),
    },
    epochs={"broken": 40, "fixed": 200},
    dtype={"broken": "float64", "fixed": "float32"},
    make=make,
    broken=broken,
    fixed=fixed,
)
