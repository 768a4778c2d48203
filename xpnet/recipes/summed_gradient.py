"""summed-gradient: a hundred images, every output 0 after a few steps, every answer the same.

The gradient is summed over the batch, but the learning rate is one for a mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

import numpy as np

from .. import datasets, random
from ..activations import sigmoid
from ..backends import Backend
from ..data import Dataset
from ..losses import MeanSquaredError
from ..network import mlp
from ..types import Array, Namespace
from .descent import Rows, full_batch_rows, tested
from .engine import Engine
from .handwritten import Declared, HandWritten
from .recipe import Band, Bench, Bug, Recipe

__all__ = ["RECIPE", "SummedGradient"]

HIDDEN = 200
CLASSES = 10
SAMPLES = 100


class SummedGradient(HandWritten):
    """784-200-10 with sigmoids, L = sum of (out - y)^2 / m + l2/(2m) sum of W^2."""

    declared = Declared("sigmoid", "sigmoid", "mse", "mean")

    def __init__(
        self,
        xp: Namespace,
        arrays: Mapping[str, Array],
        bugs: Collection[str] = (),
        l2: float = 0.0,
    ) -> None:
        super().__init__(xp, arrays, bugs)
        self.lr = 0.4
        self.l2 = l2

    def activations(self, x: Array, shift: float = 0.0) -> tuple[Array, Array]:
        p = self.arrays
        H = sigmoid(self.xp, x @ p["W1"] + p.get("b1", 0.0) + shift)
        return H, sigmoid(self.xp, H @ p["W2"] + p.get("b2", 0.0) + shift)

    def predict(self, x: Array) -> Array:
        return self.activations(x, 1.0 if "shifted-prediction" in self.bugs else 0.0)[1]

    def costs(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The plain cost and the regularised one, as this code labels them, 0-d."""
        plain = self.loss(self.forward(x), y)
        regularised = plain
        if "unregularised-cost" not in self.bugs:
            squares = sum(self.xp.sum(self.arrays[W] ** 2) for W in ("W1", "W2"))
            regularised = plain + self.l2 / (2 * x.shape[0]) * squares
        return (regularised, plain) if "swapped-costs" in self.bugs else (plain, regularised)

    def loss(self, out: Array, y: Array) -> Array:
        return self.xp.sum((out - y) ** 2) / y.shape[0]

    def backward(self, x: Array, y: Array, H: Array, out: Array) -> dict[str, Array]:
        xp, p = self.xp, self.arrays
        factor = 1.0 if "lost-factor-two" in self.bugs else 2.0
        mean = 1.0 if "summed-gradient" in self.bugs else 1.0 / x.shape[0]
        dz2 = factor * mean * (out - y) * out * (1.0 - out)
        dz1 = (dz2 @ p["W2"].T) * H * (1.0 - H)
        decay = mean * self.l2
        grads = {"dW1": x.T @ dz1 + decay * p["W1"], "dW2": H.T @ dz2 + decay * p["W2"]}
        if "no-biases" not in self.bugs:
            grads |= {"db1": xp.sum(dz1, axis=0), "db2": xp.sum(dz2, axis=0)}
        return grads

    def checked_gradient(self, x: Array, y: Array, name: str, at: Array, eps: float) -> Array:
        """The gradient check: the difference of the cost for parameter ``name`` moved by ``at``.

        ``at`` has the parameter's shape; with one 1 in it this is one component of the gradient.
        """
        here = self.arrays
        costs = []
        for sign in (1.0, -1.0):
            self.arrays = {**here, name: here[name] + sign * eps * at}
            costs.append(self.loss(self.forward(x), y))
        self.arrays = here
        up, down = costs
        difference = down - up if "flipped-check" in self.bugs else up - down
        return difference / (2.0 * eps)


def inputs(X: Array, bugs: frozenset[str]) -> Array:
    """Images (m, 784) uint8 as float32, in 0..1, or in 0.1..1.09 as posted."""
    scaled = X.astype(np.float32) / 255
    return scaled * np.float32(0.99) + np.float32(0.1) if "shifted-inputs" in bugs else scaled


def targets(y: Array) -> Array:
    """0.99 for the class, 0.01 for the others, (m, 10) float32."""
    return np.where(y[:, None] == np.arange(CLASSES), 0.99, 0.01).astype(np.float32)


def initial(bugs: frozenset[str], seed: int, widths: tuple[int, int, int]) -> dict[str, Array]:
    """Weights N(0, 1/fan-in), or N(0, 1/fan-out) as posted; biases 0, or none."""
    arrays = {}
    for i, (rows, columns) in enumerate(pairwise(widths)):
        std = (columns if "fan-out-init" in bugs else rows) ** -0.5
        W = std * random.normal(seed, random.WEIGHTS + i, rows * columns).reshape(rows, columns)
        arrays[f"W{i + 1}"] = W.astype(np.float32)
        if "no-biases" not in bugs:
            arrays[f"b{i + 1}"] = np.zeros(columns, np.float32)
    return arrays


def make(place: Backend, bugs: frozenset[str], seed: int, rows: int | None = None) -> Bench:
    """The network at its start, and the first hundred images."""
    train, _ = datasets.mnist()
    few = slice(SAMPLES if rows is None else min(rows, SAMPLES))
    arrays = initial(bugs, seed, (train.X.shape[1], HIDDEN, CLASSES))
    network = SummedGradient(place.xp, {k: place.asarray(a) for k, a in arrays.items()}, bugs)
    x, y = inputs(train.X[few], bugs), targets(train.y[few])
    return Bench(network, place.asarray(x), place.asarray(y))


def broken(place: Backend, bugs: frozenset[str], epochs: int, seed: int) -> Rows:
    """The hand-written network on a hundred images."""
    network, X, Y = make(place, bugs, seed)
    last = yield from full_batch_rows(place, network, X, Y, epochs)
    _, test = datasets.mnist()
    final = tested(place, network.predict, Dataset(inputs(test.X, bugs), test.y))
    out = place.to_numpy(network.forward(X))
    saturated = float(((out < 0.005) | (out > 0.995)).mean())
    return {**last, "saturated": saturated, **final}


def fixed(place: Backend, epochs: int, seed: int) -> Rows:
    """The engine's network on the same images: the mean gradient, biases, inputs in 0..1."""
    train, test = datasets.mnist()
    network = mlp(train.X.shape[1], HIDDEN, CLASSES, activation="sigmoid", output="sigmoid")
    engine = Engine(place, network, MeanSquaredError(), 4.0, seed, "float32")
    X = place.asarray(inputs(train.X[:SAMPLES], frozenset()))
    Y = place.asarray(targets(train.y[:SAMPLES]))
    last = yield from full_batch_rows(place, engine, X, Y, epochs)
    return {**last, **tested(place, engine.predict, Dataset(inputs(test.X, frozenset()), test.y))}


RECIPE = Recipe(
    name="summed-gradient",
    question="Why does my network give the same answer for every image?",
    facts={
        "network": "784-200-10, sigmoid, sigmoid; no biases",
        "data": "the first 100 training images of MNIST, 10,000 to test; x/255 * 0.99 + 0.1, "
        "targets 0.01 and 0.99",
        "initialisation": "W1 N(0, 1/200), W2 N(0, 1/10): the fan-out",
        "loss": "sum of (out - y)^2 / m",
        "update": "full batch, the summed gradient, lr 0.4, 100 iterations, lambda 0",
        "fixed": "xpnet's 784-200-10, sigmoid, MSE, SGD lr 4 (0.4 on the sum over the outputs), "
        "2,500 epochs",
    },
    posted=(
        "cost 2.09 -> 0.981, mean gradient -5e-9, test 8.92 %, always 5",
        "with other rates: 0.613, 0.381, 0.981 or 1.7454 after 50 iterations",
        "mean gradient, 2,500 iterations: 61.15 %; 14,000: about 70 %",
    ),
    answer="The author concluded that a full batch just needs many iterations. Half right: a step "
    "of the mean gradient is small, but what flattened the network was the sum.",
    bugs=(
        Bug(
            name="summed-gradient",
            wrong="dW = sum over the batch, with lr 0.4",
            right="dW = (1/m) sum over the batch, with lr 0.4",
            effect="The step is 100 times what the rate was meant for: after a few of them every "
            "output is stuck at 0, where a sigmoid has no slope.",
            noticed="nobody",
            changes=("dW1", "db1", "dW2", "db2"),
        ),
        Bug(
            name="lost-factor-two",
            wrong="delta = (out - y) f'(z)",
            right="delta = 2 (out - y) f'(z), for the cost sum of (out - y)^2 / m",
            effect="With the sum, the gradient is m/2 times the right one; it was checked on "
            "two samples, where that is 1: the gradient check matched by coincidence.",
            noticed="vaguely",
            changes=("dW1", "db1", "dW2", "db2"),
        ),
        Bug(
            name="flipped-check",
            wrong="(J(t - e) - J(t + e)) / 2e",
            right="(J(t + e) - J(t - e)) / 2e",
            effect="The numeric gradient has the opposite sign. The two posted lists differ in "
            "every sign and were read as equal.",
            noticed="nobody",
            changes=("check",),
        ),
        Bug(
            name="shifted-prediction",
            wrong="predict: f(x W + 1)",
            right="predict: f(x W), as in training",
            effect="predict adds 1 to both pre-activations, for a bias that training has not: 3 to "
            "5 points of accuracy after 2,500 iterations.",
            noticed="nobody",
            changes=("predict",),
        ),
        Bug(
            name="shifted-inputs",
            wrong="x/255 * 0.99 + 0.1",
            right="x/255",
            effect="Inputs from 0.1 to 1.09: the background, four fifths of an image, pushes every "
            "unit the same way.",
            noticed="nobody",
            changes=("data",),
        ),
        Bug(
            name="no-biases",
            wrong="f(x W)",
            right="f(x W + b)",
            effect="No unit can shift its threshold.",
            noticed="nobody",
            changes=("b1", "b2", "db1", "db2"),
        ),
        Bug(
            name="fan-out-init",
            wrong="W ~ N(0, 1/n_out)",
            right="W ~ N(0, 1/n_in)",
            effect="W1 is twice, W2 four times too large: the outputs start near 0 and 1.",
            noticed="nobody",
            changes=("W1", "W2"),
        ),
        Bug(
            name="swapped-costs",
            wrong="costReg, costUn = plain, regularised",
            right="costUn, costReg = plain, regularised",
            effect="The two costs are printed under each other's name; lambda = 0 hides it.",
            noticed="nobody",
            changes=("costs",),
        ),
        Bug(
            name="unregularised-cost",
            wrong="cost = plain; dW has + (lambda/m) W",
            right="cost = plain + lambda/(2m) sum of W^2; dW has + (lambda/m) W",
            effect="The regulariser is in the update but not in the cost; lambda = 0 hides it.",
            noticed="nobody",
            changes=("costs",),
        ),
    ),
    forensics=(
        "0.981 = 0.99^2 + 9 * 0.01^2: all ten outputs are stuck at 0.",
        "1.7454: one output is stuck at 1, for a class that holds 11 of the 100.",
        "8.92 % = 892 of 10,000: the test images that are a 5.",
        "Gradient over numeric gradient, at m = 1, 2, 4, 100: -0.5, -1, -2, -50.",
    ),
    bands={
        "broken": (
            Band("loss", 0.9805, 0.9815),
            Band("classes_named", 1, 1),
            Band("saturated", 1.0, 1.0),
        ),
        "fixed": (Band("test_accuracy", 0.665, 0.70),),
    },
    epochs={"broken": 100, "fixed": 2_500},
    dtype={"broken": "float32", "fixed": "float32"},
    make=make,
    broken=broken,
    fixed=fixed,
)
