"""fake-momentum: MNIST at 21 %, with momentum that is weight decay and a loss on raw logits.

The bugs mask each other: mend the momentum alone, and it gets worse.
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
from ..optim import Momentum
from ..types import Array, Namespace
from .descent import Descent, Rows, measured, tested
from .engine import fitted
from .handwritten import Declared, HandWritten, cross_entropy, softmax
from .recipe import Band, Bench, Bug, Recipe

__all__ = ["RECIPE", "FakeMomentum"]

CLASSES = 10
FEW, MANY = 1, 500


class FakeMomentum(HandWritten):
    """784-1-10 or 784-500-10 with sigmoid and raw logits, L = mean cross-entropy of the softmax."""

    declared = Declared("sigmoid", "identity", "softmax-xent", "mean")
    mu = 0.9

    def __init__(
        self, xp: Namespace, arrays: Mapping[str, Array], bugs: Collection[str] = ()
    ) -> None:
        super().__init__(xp, arrays, bugs)
        self.arrays |= {f"V.{name}": xp.zeros_like(A) for name, A in self.params().items()}
        self.lr = 1e-5 if "summed-gradient" in self.bugs else 0.1
        self.best: FakeMomentum | None = None

    def activations(self, x: Array) -> tuple[Array, Array]:
        p = self.arrays
        H = sigmoid(self.xp, x @ p["W1"] + p["b1"])
        return H, H @ p["W2"] + p["b2"]

    def probabilities(self, out: Array) -> Array:
        """softmax of the logits; over all samples at once, as in the first log, with that bug."""
        if "batch-softmax" in self.bugs:
            e = self.xp.exp(out - self.xp.max(out))
            return e / self.xp.sum(e)
        return softmax(self.xp, out)

    def loss(self, out: Array, y: Array) -> Array:
        return cross_entropy(self.xp, self.probabilities(out), y) / y.shape[0]

    def backward(self, x: Array, y: Array, H: Array, out: Array) -> dict[str, Array]:
        xp, bugs = self.xp, self.bugs
        dz2 = (out if "logit-derivative" in bugs else self.probabilities(out)) - y
        if "summed-gradient" not in bugs:
            dz2 = dz2 / x.shape[0]
        dz1 = (dz2 @ self.arrays["W2"].T) * H * (1.0 - H)
        return {
            "dW1": x.T @ dz1,
            "db1": xp.sum(dz1, axis=0),
            "dW2": H.T @ dz2,
            "db2": xp.sum(dz2, axis=0),
        }

    def update(self, grads: Mapping[str, Array]) -> None:
        """V = mu V - lr dA; A = A + V. With the bug A plays the part of V, and V stays 0."""
        new = dict(self.arrays)
        for dname, grad in grads.items():
            name, step = dname[1:], self.lr * grad
            if "fake-momentum" in self.bugs:
                moved = new[name] - step
                new[name] = -step + self.mu * moved
            else:
                new[f"V.{name}"] = self.mu * new[f"V.{name}"] - step
                new[name] = new[name] + new[f"V.{name}"]
        self.arrays = new

    def keep(self) -> None:
        """Remember the network as it is now as the ``best``."""
        if "aliased-best" in self.bugs:
            self.best = self
        else:
            copies = {k: self.xp.asarray(A, copy=True) for k, A in self.params().items()}
            self.best = FakeMomentum(self.xp, copies, self.bugs)


def initial(bugs: frozenset[str], seed: int, n_in: int) -> dict[str, Array]:
    """Glorot's N(0, 2/(n_in + n_out)) and biases 0, or everything N(-0.1, 0.02^2) as posted."""
    n_hidden = FEW if "one-hidden-unit" in bugs else MANY
    arrays: dict[str, Array] = {}
    for i, (rows, columns) in enumerate([(n_in, n_hidden), (n_hidden, CLASSES)]):
        draw = random.normal(seed, random.WEIGHTS + i, (rows + 1) * columns)
        W, b = draw[columns:].reshape(rows, columns), draw[:columns]
        if "negative-init" in bugs:
            W, b = -0.1 + 0.02 * W, -0.1 + 0.02 * b
        else:
            W, b = (2 / (rows + columns)) ** 0.5 * W, np.zeros(columns)
        arrays |= {f"W{i + 1}": W.astype(np.float32), f"b{i + 1}": b.astype(np.float32)}
    return arrays


def pixels(part: Dataset) -> Array:
    """Images (m, 784) as float32 in 0..1."""
    return part.X.astype(np.float32) / 255


def one_hot(part: Dataset) -> Array:
    """Labels as (m, 10) float32."""
    return (part.y[:, None] == np.arange(CLASSES)).astype(np.float32)


def make(place: Backend, bugs: frozenset[str], seed: int, rows: int | None = None) -> Bench:
    """The network at its start, and the training images."""
    train, _ = datasets.mnist()
    few = train if rows is None else train.rows(np.arange(min(rows, train.n)))
    arrays = initial(bugs, seed, train.X.shape[1])
    network = FakeMomentum(place.xp, {k: place.asarray(a) for k, a in arrays.items()}, bugs)
    return Bench(network, place.asarray(pixels(few)), place.asarray(one_hot(few)))


def broken(place: Backend, bugs: frozenset[str], epochs: int, seed: int) -> Rows:
    """The hand-written network; the test images are dealt into a validation and a test half."""
    network, X, Y = make(place, bugs, seed)
    assert isinstance(network, FakeMomentum)
    validation, test = datasets.mnist()[1].split(0.5, seed)
    X_val, Y_val = place.asarray(pixels(validation)), place.asarray(one_hot(validation))
    descent = Descent(place, network, X, Y, X.shape[0])
    lowest, best_epoch = np.inf, 0
    for epoch in range(1, epochs + 1):
        loss, accuracy = descent.run(1)
        if "stale-loss" not in bugs:
            loss, accuracy = measured(place, network, X, Y)
        val_loss, val_accuracy = measured(place, network, X_val, Y_val)
        figures = {"loss": loss, "accuracy": accuracy}
        figures |= {"val_loss": val_loss, "val_accuracy": val_accuracy}
        yield {"epoch": epoch, **figures}
        if val_loss < lowest:
            lowest, best_epoch = val_loss, epoch
            network.keep()
    outcome = {**figures, "best_epoch": best_epoch}
    if "unused-test-set" in bugs or network.best is None:
        return outcome
    return {**outcome, **tested(place, network.best.predict, Dataset(pixels(test), test.y))}


def fixed(place: Backend, epochs: int, seed: int) -> Rows:
    """The engine's network with 500 hidden units, by mini-batches with true momentum."""
    train, held_out = datasets.mnist()
    validation, test = held_out.split(0.5, seed)
    network = mlp(train.X.shape[1], MANY, CLASSES, activation="sigmoid", init="glorot_normal")
    theta, last = yield from fitted(
        place,
        network,
        train,
        validation,
        epochs=epochs,
        seed=seed,
        batch_size=64,
        optimizer=Momentum(0.1, mu=0.9),
    )
    return {**last, "test_accuracy": evaluate(network, theta, test).accuracy}


RECIPE = Recipe(
    name="fake-momentum",
    question="Why does my network with momentum learn so slowly?",
    facts={
        "network": "784-1-10, sigmoid, identity (also tried with 500 hidden units)",
        "data": "MNIST, 60,000 images to train; the 10,000 others dealt into 5,000 to validate and "
        "5,000 to test; x/255",
        "initialisation": "weights and biases N(-0.1, 0.02^2)",
        "loss": "softmax cross-entropy, at first summed, later the mean",
        "update": "full batch, summed gradient, lr 1e-5, mu 0.9, 50 and 200 epochs",
        "fixed": "xpnet's 784-500-10, sigmoid, Glorot initialisation, mini-batches of 64, "
        "lr 0.1, mu 0.9, 5 epochs",
    },
    posted=(
        "50 epochs: summed loss 798,288 -> 797,869, validation accuracy 12.1 -> 21.26 %",
        "200 epochs: mean loss 2.3033 -> 2.2917, validation accuracy 10.96 -> 21.06 %",
    ),
    answer="Nobody answered.",
    bugs=(
        Bug(
            name="fake-momentum",
            wrong="W = W - lr dW; W = -lr dW + mu W, which is W = 0.9 W - 1.9 lr dW",
            right="V = mu V - lr dW; W = W + V",
            effect="No velocity, but 10 % weight decay a step. Mend it alone and it gets worse: "
            "11.2 % for 90 epochs, because the decay was what brought the unit out of "
            "saturation.",
            noticed="nobody",
            changes=("update",),
        ),
        Bug(
            name="logit-derivative",
            wrong="dz2 = z2 - y",
            right="dz2 = softmax(z2) - y",
            effect="That is the gradient of 1/2 sum (z2 - y)^2. The reported cross-entropy can "
            "then never fall below ln(e + 9) - 1 = 1.461.",
            noticed="nobody",
            changes=("dW1", "db1", "dW2", "db2"),
        ),
        Bug(
            name="negative-init",
            wrong="W ~ N(-0.1, 0.02^2), b ~ N(-0.1, 0.02^2)",
            right="W ~ N(0, 2/(n_in + n_out)), b = 0 (Glorot and Bengio 2010)",
            effect="The pixels of an image sum to 102 on average, so z1 starts near -10, where the "
            "slope of the sigmoid is below 1e-3.",
            noticed="nobody",
            changes=("W1", "b1", "W2", "b2"),
        ),
        Bug(
            name="summed-gradient",
            wrong="dW = sum over the batch, with lr 1e-5",
            right="dW = (1/m) sum over the batch, with lr 0.1",
            effect="lr m / (1 - mu) = 6: a rate that follows the size of the training set, and too "
            "high once the momentum is true.",
            noticed="nobody",
            changes=("dW1", "db1", "dW2", "db2", "lr"),
        ),
        Bug(
            name="one-hidden-unit",
            wrong="784-1-10",
            right="784-500-10",
            effect="One number must tell ten classes apart: below 30 %, whatever else is mended.",
            noticed="nobody",
            changes=("W1", "b1", "W2"),
        ),
        Bug(
            name="aliased-best",
            wrong="best = self",
            right="best = a copy of the weights",
            effect="The best network is a second name of the running one, so it is the last.",
            noticed="nobody",
            changes=("best",),
        ),
        Bug(
            name="unused-test-set",
            wrong="(the test half is made and never used)",
            right="the accuracy of the best network on the test half",
            effect="The posted accuracy is that of the validation set that chose the network.",
            noticed="nobody",
            changes=("outcome",),
        ),
        Bug(
            name="stale-loss",
            wrong="training loss before the update, validation loss after it",
            right="both after the update",
            effect="The two columns of a line belong to different networks.",
            noticed="nobody",
            changes=("rows",),
        ),
        Bug(
            name="batch-softmax",
            wrong="p = exp(z) / sum of exp(z) over all samples",
            right="p = exp(z) / sum of exp(z) over each sample's outputs",
            effect="In the first log only; not in the posted code. The mean loss then starts at "
            "ln(10 m) = 13.3 in place of ln 10 = 2.3.",
            noticed="nobody",
            changes=("loss", "dW1", "db1", "dW2", "db2"),
            in_broken=False,
        ),
    ),
    forensics=(
        "798,288 = m ln(10 m) within 1e-5, for m = 60,000: in the first log the softmax was taken "
        "over the whole batch.",
        "A norm of the weights that shrinks by the same factor each step is decay, not momentum.",
    ),
    bands={
        "broken": (Band("loss", 2.290, 2.293), Band("val_accuracy", 0.19, 0.22)),
        "fixed": (Band("test_accuracy", 0.955, 1.0),),
    },
    epochs={"broken": 200, "fixed": 5},
    dtype={"broken": "float32", "fixed": "float32"},
    make=make,
    broken=broken,
    fixed=fixed,
)
