"""broken-chain-rule: an OR gate that ends at [.70 .75 .75 .79].

Only the last layer's error should pass through W2; here the layers multiply sums.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from .. import random
from ..activations import activation
from ..backends import Backend
from ..losses import MeanSquaredError
from ..network import mlp
from ..types import Array, Namespace
from .descent import Rows, full_batch_rows
from .engine import Engine
from .handwritten import Declared, HandWritten
from .recipe import Band, Bench, Bug, Recipe

__all__ = ["OR", "RECIPE", "ChainRule"]

INPUTS = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
OR = (0.0, 1.0, 1.0, 1.0)
HIDDEN = 6


class ChainRule(HandWritten):
    """2-6-1 with sigmoids (or ``activation`` in both layers), L = 1/2 sum of (out - y)^2."""

    declared = Declared("sigmoid", "sigmoid", "mse", "half-sum")
    activation = "sigmoid"

    def __init__(
        self, xp: Namespace, arrays: Mapping[str, Array], bugs: Collection[str] = ()
    ) -> None:
        super().__init__(xp, arrays, bugs)
        self.lr = 1e-4 if "tiny-rate" in self.bugs else 0.5

    def activations(self, x: Array) -> tuple[Array, Array]:
        f, p = activation(self.activation).function, self.arrays
        H = f(self.xp, x @ p["W1"] + p["b1"])
        return H, f(self.xp, H @ p["W2"] + p["b2"])

    def loss(self, out: Array, y: Array) -> Array:
        if "signed-loss" in self.bugs:
            return self.xp.sum(y - out)
        return 0.5 * self.xp.sum((out - y) ** 2)

    def backward(self, x: Array, y: Array, H: Array, out: Array) -> dict[str, Array]:
        xp, bugs, W2 = self.xp, self.bugs, self.arrays["W2"]
        slope = activation(self.activation).derivative
        slope1, slope2 = slope(xp, H), slope(xp, out)
        error2 = out - y
        dz2 = error2 * slope2
        error1 = dz2 @ W2.T
        dz1 = error1 * slope1

        grads = {"dW2": self.weight_gradient(H, slope2, error2)}
        if "skipped-weights" in bugs:
            grads["dW1"] = (x.T @ slope1) @ grads["dW2"]
        else:
            grads["dW1"] = self.weight_gradient(x, slope1, error1)
        if "frozen-biases" not in bugs:
            per_sample = "bias-per-sample" in bugs
            grads["db1"] = xp.sum(dz1, axis=1, keepdims=True) if per_sample else xp.sum(dz1, axis=0)
            grads["db2"] = xp.sum(dz2, axis=0)
        return grads

    def weight_gradient(self, x: Array, slope: Array, error: Array) -> Array:
        """dW of a layer with inputs x (m, n), f'(z) = ``slope`` and dL/dy = ``error`` (m, k)."""
        if "product-of-sums" in self.bugs:
            return (x.T @ slope) * self.xp.sum(error, axis=0)
        return x.T @ (error * slope)


def make(
    place: Backend,
    bugs: frozenset[str],
    seed: int,
    rows: int | None = None,
    targets: tuple[float, ...] = OR,
) -> Bench:
    """The network at its start: 0.01 N(0, 1), biases 0; x (4, 2), y (4, 1)."""
    draw = [random.normal(seed, random.WEIGHTS + i, n) for i, n in enumerate((2 * HIDDEN, HIDDEN))]
    arrays = {
        "W1": 0.01 * draw[0].reshape(2, HIDDEN),
        "b1": np.zeros((len(INPUTS), 1) if "bias-per-sample" in bugs else HIDDEN),
        "W2": 0.01 * draw[1].reshape(HIDDEN, 1),
        "b2": np.zeros(1),
    }
    network = ChainRule(place.xp, {k: place.asarray(a) for k, a in arrays.items()}, bugs)
    Y = np.asarray(targets)[:, None]
    return Bench(network, place.asarray(INPUTS[:rows]), place.asarray(Y[:rows]))


def broken(place: Backend, bugs: frozenset[str], epochs: int, seed: int) -> Rows:
    """The hand-written network on the OR gate."""
    network, X, Y = make(place, bugs, seed)
    last = yield from full_batch_rows(place, network, X, Y, epochs)
    outputs = place.to_numpy(network.predict(X))[:, 0]
    return {**last, "outputs": outputs.tolist()}


def fixed(place: Backend, epochs: int, seed: int) -> Rows:
    """The engine's network on the OR gate: sigmoids and MSE as before."""
    network = mlp(2, HIDDEN, 1, activation="sigmoid", output="sigmoid")
    engine = Engine(place, network, MeanSquaredError(), 1.0, seed, "float64")
    X, Y = place.asarray(INPUTS), place.asarray(np.asarray(OR)[:, None])
    last = yield from full_batch_rows(place, engine, X, Y, epochs)
    outputs = place.to_numpy(engine.predict(X))[:, 0]
    return {**last, "outputs": outputs.tolist()}


RECIPE = Recipe(
    name="broken-chain-rule",
    question="Why does my network never learn the OR gate?",
    facts={
        "network": "2-6-1, sigmoid, sigmoid",
        "data": "the OR gate, 4 rows",
        "initialisation": "weights 0.01 N(0, 1), biases 0",
        "loss": "the signed sum of y - out, which is no loss",
        "update": "full batch, lr 1e-6, 5,000,000 epochs; run here as 50,000 at 1e-4, which is "
        "the same path to 3 digits",
        "fixed": "xpnet's 2-6-1, sigmoid, MSE, lr 1 (0.5 on half the sum), 10,000 epochs",
    },
    posted=(
        "broken: outputs [.6964 .7547 .7545 .7943] for the targets [0 1 1 1]",
        "with tanh, as answered, 100,000 epochs: [0 .9734 .9734 .9833]",
    ),
    answer="Accepted: the backpropagation is correct, use tanh. That is wrong. tanh seems to work "
    "for OR only because tanh(0) = 0 happens to be the target of (0, 0): the same code ends at "
    "[0 .29 .29 .42] on AND and [0 .63 .63 .74] on XOR. Later the author found that W2 is "
    "skipped, but the new code raises an error on this network.",
    bugs=(
        Bug(
            name="product-of-sums",
            wrong="dW2 = (H^T f'(z2)) * sum(out - y)",
            right="dW2 = H^T ((out - y) * f'(z2))",
            effect="A product of sums in place of a sum of products: each sample's error meets "
            "every other sample's slope. It comes to rest where the mean output is the mean "
            "target, 3/4.",
            noticed="nobody",
            changes=("dW1", "dW2"),
        ),
        Bug(
            name="skipped-weights",
            wrong="dW1 = (x^T f'(z1)) dW2",
            right="dW1 = x^T ((dz2 W2^T) * f'(z1)), dz2 = (out - y) * f'(z2)",
            effect="The error reaches the hidden layer without passing through W2. All six units "
            "get the same update, so dW1 has one column and their symmetry is never broken.",
            noticed="yes",
            changes=("dW1",),
        ),
        Bug(
            name="frozen-biases",
            wrong="(no db1, no db2)",
            right="db2 = sum over the rows of dz2; db1 = sum over the rows of dz1",
            effect="The biases stay 0. Without them a sigmoid gives 1/2 for the input (0, 0).",
            noticed="nobody",
            changes=("db1", "db2"),
        ),
        Bug(
            name="bias-per-sample",
            wrong="b1 of shape (4, 1): one number for each row of the batch",
            right="b1 of shape (6,): one number for each unit",
            effect="A bias that belongs to a row cannot be used on any other batch.",
            noticed="nobody",
            changes=("b1", "db1"),
        ),
        Bug(
            name="tiny-rate",
            wrong="lr = 1e-6",
            right="lr = 0.5",
            effect="Millions of epochs for what takes thousands.",
            noticed="nobody",
            changes=("lr",),
        ),
        Bug(
            name="signed-loss",
            wrong="loss = sum(y - out)",
            right="loss = 1/2 sum((out - y)^2)",
            effect="Errors of opposite sign cancel: it reaches 0 while each output is wrong, and "
            "the falling curve was read as learning.",
            noticed="nobody",
            changes=("loss",),
        ),
    ),
    forensics=(
        "The posted outputs average 0.74996, and the targets 0.75: the mean residual is 0 while "
        "the residuals are not, the mark of a product of sums or of a signed loss.",
    ),
    bands={
        "broken": (Band.about("outputs", [0.6964, 0.7544, 0.7548, 0.7943], 2e-3),),
        "fixed": (Band("outputs", [0.0, 0.98, 0.98, 0.99], [0.03, 1.0, 1.0, 1.0]),),
    },
    epochs={"broken": 50_000, "fixed": 10_000},
    dtype={"broken": "float64", "fixed": "float64"},
    make=make,
    broken=broken,
    fixed=fixed,
)
