"""shadowed-weights: MNIST at the same 10 % in every epoch, because training moves other weights.

``forward`` reads variables of the module, ``backward`` updates attributes of the class that have
the same names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from .. import datasets, random
from ..activations import sigmoid
from ..backends import Backend
from ..data import Dataset
from ..evaluation import evaluate
from ..network import mlp
from ..optim import SGD
from ..types import Array, Namespace
from .descent import Descent, Rows, tested
from .engine import fitted
from .handwritten import Declared, HandWritten, cross_entropy, softmax
from .recipe import Band, Bench, Bug, Recipe

__all__ = ["RECIPE", "ShadowedWeights"]

HIDDEN = 200
CLASSES = 10
LIMIT = 1e-3


class ShadowedWeights(HandWritten):
    """784-200-10 with sigmoid and softmax, one sample a step, L = the sum of cross-entropies.

    Biases are (1, n) inside. ``first`` (1, n_in) is the sample whose activations were cached.
    ``lr`` is what the constructor was told. Beside W1, b1, W2, b2, which ``forward`` reads, there
    is a second set, "own.W1" ..., which the bug ``shadowed-parameters`` trains.
    """

    declared = Declared("sigmoid", "softmax", "softmax-xent", "sum")

    def __init__(
        self,
        xp: Namespace,
        arrays: Mapping[str, Array],
        bugs: Collection[str] = (),
        *,
        first: Array,
    ) -> None:
        super().__init__(xp, arrays, bugs)
        self.lr = 0.01
        self.cached = self.activations(first)[0]

    def params(self) -> dict[str, Array]:
        p = super().params()
        return p | {name: self.xp.reshape(p[name], (-1,)) for name in ("b1", "b2")}

    def activations(self, x: Array) -> tuple[Array, Array]:
        xp, p = self.xp, self.arrays
        H = sigmoid(xp, x @ p["W1"] + p["b1"])
        z2 = H @ p["W2"] + p["b2"]
        if "softmax-over-batch" in self.bugs:
            e = xp.exp(z2 - xp.max(z2))
            return H, e / xp.sum(e)
        return H, softmax(xp, z2)

    def loss(self, out: Array, y: Array) -> Array:
        if "log-of-zero" in self.bugs:
            return -self.xp.sum(y * self.xp.log(out))
        return cross_entropy(self.xp, out, y)

    def backward(self, x: Array, y: Array, H: Array, out: Array) -> dict[str, Array]:
        xp, bugs = self.xp, self.bugs
        W2 = self.arrays["own.W2" if "shadowed-parameters" in bugs else "W2"]
        if "stale-activations" in bugs:
            H = self.cached
        slope = H * (1.0 - H)
        dz2 = out - y
        dH = (-dz2 if "flipped-sign" in bugs else dz2) @ W2.T
        dz1 = dH * slope
        after, unsummed = "slope-after-product" in bugs, "unsummed-biases" in bugs
        return {
            "dW1": self.product(x, dH) * slope if after else self.product(x, dz1),
            "db1": dz1 if unsummed else xp.sum(dz1, axis=0),
            "dW2": H.T @ dz2,
            "db2": dz2 if unsummed else xp.sum(dz2, axis=0),
        }

    def product(self, A: Array, B: Array) -> Array:
        """A^T B; where both have one row, NumPy is several times faster so than with A.T @ B."""
        return self.xp.tensordot(A, B, axes=((0,), (0,)))

    def update(self, grads: Mapping[str, Array]) -> None:
        lr = 0.1 if "hard-coded-rate" in self.bugs else self.lr
        prefix = "own." if "shadowed-parameters" in self.bugs else ""
        for name, grad in grads.items():
            self.descend(prefix + name[1:], grad, lr)


def initial(seed: int, n_in: int) -> dict[str, Array]:
    """Two sets of weights U(-0.001, 0.001) and biases 0: the class's own, and the module's."""
    arrays = {}
    for i, prefix in enumerate(("own.", "")):
        for j, (rows, columns) in enumerate([(n_in, HIDDEN), (HIDDEN, CLASSES)]):
            draw = random.uniform(seed, random.WEIGHTS + 2 * i + j, rows * columns)
            W = LIMIT * (2.0 * draw - 1.0).reshape(rows, columns)
            arrays[f"{prefix}W{j + 1}"] = W.astype(np.float32)
            arrays[f"{prefix}b{j + 1}"] = np.zeros((1, columns), np.float32)
    return arrays


def make(place: Backend, bugs: frozenset[str], seed: int, rows: int | None = None) -> Bench:
    """The network at its start, and the training images."""
    train, _ = datasets.mnist()
    arrays = {k: place.asarray(a) for k, a in initial(seed, train.X.shape[1]).items()}
    X = place.asarray(train.X[:rows].astype(np.float32) / 255)
    Y = (train.y[:rows, None] == np.arange(CLASSES)).astype(np.float32)
    network = ShadowedWeights(place.xp, arrays, bugs, first=X[:1, :])
    return Bench(network, X, place.asarray(Y))


def broken(place: Backend, bugs: frozenset[str], epochs: int, seed: int) -> Rows:
    """The hand-written network, one sample a step; row 0 is a look at it before it is trained."""
    network, X, Y = make(place, bugs, seed)
    test = datasets.mnist()[1]
    unseen = Dataset(test.X.astype(np.float32) / 255, test.y)
    descent = Descent(place, network, X, Y, 1)
    only_look = Descent(place, network, X, Y, 1, network.look)
    losses = []
    for epoch in range(epochs + 1):
        loss, accuracy = (descent if epoch else only_look).run(X.shape[0])
        final = tested(place, network.predict, unseen)
        losses.append(loss)
        last = {"loss": loss, "accuracy": accuracy}
        yield {"epoch": epoch, **last, "test_accuracy": final["test_accuracy"]}
    return {**last, "loss_range": max(losses) - min(losses), **final}


def fixed(place: Backend, epochs: int, seed: int) -> Rows:
    """The engine's network, with the same start and rate, one sample a step."""
    train, test = datasets.mnist()
    network = mlp(train.X.shape[1], HIDDEN, CLASSES, activation="sigmoid", init=f"uniform:{LIMIT}")
    theta, last = yield from fitted(
        place, network, train, epochs=epochs, seed=seed, batch_size=1, optimizer=SGD(0.1)
    )
    return {**last, "test_accuracy": evaluate(network, theta, test).accuracy}


RECIPE = Recipe(
    name="shadowed-weights",
    question="Why are my accuracies the same in every epoch?",
    facts={
        "network": "784-200-10, sigmoid, softmax",
        "data": "MNIST, 60,000 images to train and 10,000 to test; x/255",
        "initialisation": "weights U(-0.001, 0.001), biases 0",
        "loss": "-sum of y ln p",
        "update": "one sample a step, lr 0.1, whatever the constructor is told; 10 epochs, here 1",
        "fixed": "xpnet's 784-200-10, sigmoid, softmax cross-entropy, the same start, one sample "
        "a step, lr 0.1, 1 epoch",
    },
    posted=("every epoch: training accuracy 10.22 %, cost 3.86, test accuracy 10.1 %",),
    answer="Accepted: the counters are set to 0 in each epoch. That is wrong: they must be.",
    bugs=(
        Bug(
            name="shadowed-parameters",
            wrong="forward reads W1; backward updates NeuralNetwork.W1",
            right="both use self.W1",
            effect="Two sets of parameters under one name: outputs never change, whatever is "
            "learned.",
            noticed="nobody",
            changes=("dW1", "db1", "update"),
        ),
        Bug(
            name="stale-activations",
            wrong="dW2 = H_0^T dz2, f'(z1_0), of the first sample of all",
            right="dW2 = H^T dz2, f'(z1), of this sample",
            effect="backward uses what a cell of the notebook computed once. With this and the "
            "flipped sign, but one set of weights: one class, cost 9.1.",
            noticed="nobody",
            changes=("dW1", "db1", "dW2"),
        ),
        Bug(
            name="flipped-sign",
            wrong="dW1 = x^T ((y - p) W2^T * f'(z1)), db1 likewise",
            right="dW1 = x^T ((p - y) W2^T * f'(z1)), db1 likewise",
            effect="Gradient ascent in layer 1; the right dz1 is computed and thrown away. On its "
            "own: 9.75 %, cost 18.1.",
            noticed="nobody",
            changes=("dW1", "db1"),
        ),
        Bug(
            name="slope-after-product",
            wrong="dW1 = (x^T dH) * f'(z1)",
            right="dW1 = x^T (dH * f'(z1))",
            effect="Right for one sample, an error for several.",
            noticed="nobody",
            changes=("dW1",),
        ),
        Bug(
            name="unsummed-biases",
            wrong="db2 = p - y, db1 = dz1",
            right="db2 = sum over the rows of p - y, db1 likewise",
            effect="Right for one sample, the wrong shape for several.",
            noticed="nobody",
            changes=("db1", "db2"),
        ),
        Bug(
            name="softmax-over-batch",
            wrong="p = exp(z - max of all z) / sum of all",
            right="p = exp(z - max of the row) / sum of the row",
            effect="Right for one sample; for several the probabilities of all sum to 1.",
            noticed="nobody",
            changes=("forward", "predict", "loss", "dW1", "db1", "dW2", "db2"),
        ),
        Bug(
            name="log-of-zero",
            wrong="-sum of y ln p",
            right="the same with p kept above 0",
            effect="A p that underflows to 0 makes the cost infinite, or NaN.",
            noticed="nobody",
            changes=("loss at p = 0",),
        ),
        Bug(
            name="hard-coded-rate",
            wrong="lr = 0.1 in backward",
            right="lr = what the constructor was told, 0.01",
            effect="The constructor's lr is a local variable that nobody reads, like its weights.",
            noticed="nobody",
            changes=("update",),
        ),
    ),
    forensics=(
        "10.22 % and 10.1 % are the shares of the class 3 among 60,000 and 10,000 images: the "
        "answer is always 3.",
        "The cost 3.86 is not ln 10 = 2.303: the variables that forward read had been trained "
        "earlier in the notebook.",
    ),
    bands={
        "broken": (
            Band("loss", 2.301, 2.304),
            Band("loss_range", 0.0, 1e-6),
            Band("classes_named", 1, 1),
        ),
        "fixed": (Band("test_accuracy", 0.94, 1.0),),
    },
    epochs={"broken": 1, "fixed": 1},
    dtype={"broken": "float32", "fixed": "float32"},
    make=make,
    broken=broken,
    fixed=fixed,
)
