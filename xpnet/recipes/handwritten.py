"""What the hand-written networks have in common: a small protocol, so that tools can drive them.

Each is a network with one hidden layer in plain Array API, written as a person would write it
from scratch. Every mistake is a switch: a name in ``bugs``. With no bug the code is right.
Rows are samples: x (m, n_in), H = f(x W1 + b1), out = g(H W2 + b2), targets y (m, k).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from ..errors import TrainingError
from ..types import Array, Namespace

__all__ = ["Declared", "HandWritten", "count_right", "cross_entropy", "softmax"]


class Declared(NamedTuple):
    """What the person who wrote a network would say of it.

    ``activation`` of the hidden layer, ``output`` of the last one, the ``loss``, and its
    ``reduction`` over the samples ("sum", "mean", "half-sum"); outputs are always summed.
    """

    activation: str
    output: str
    loss: str
    reduction: str


class HandWritten(ABC):
    """A network with state, as people write it: ``step`` changes its ``arrays``.

    ``arrays`` holds all that a step may change; it is replaced, never written to. ``lr`` and
    ``mu`` are the learning rate and the momentum that the network thinks it uses.
    """

    declared: ClassVar[Declared]
    lr: float
    mu: float = 0.0

    def __init__(
        self, xp: Namespace, arrays: Mapping[str, Array], bugs: Collection[str] = ()
    ) -> None:
        self.xp = xp
        self.arrays = dict(arrays)
        self.bugs = frozenset(bugs)

    # ---- what a tool may call ----------------------------------------------------------------

    def params(self) -> dict[str, Array]:
        """The parameters that ``forward`` reads: W1 (n_in, n), b1 (n,), W2 (n, k), b2 (k,)."""
        return {name: self.arrays[name] for name in ("W1", "b1", "W2", "b2") if name in self.arrays}

    def forward(self, x: Array) -> Array:
        """The outputs (m, k) that training works with."""
        return self.activations(x)[1]

    def predict(self, x: Array) -> Array:
        """The outputs (m, k) that predictions are made from."""
        return self.forward(x)

    def gradients(self, x: Array, y: Array) -> dict[str, Array]:
        """dW1, db1, dW2, db2 as this code computes them, wrong shapes included."""
        return self.backward(x, y, *self.activations(x))

    def step(self, x: Array, y: Array) -> Array:
        """One update on a batch, as this code does it; the loss that it reports, 0-d."""
        return self.learn(x, y)[0]

    # ---- what a step consists of -------------------------------------------------------------

    @abstractmethod
    def activations(self, x: Array) -> tuple[Array, Array]:
        """H (m, n) and out (m, k)."""

    @abstractmethod
    def loss(self, out: Array, y: Array) -> Array:
        """The loss of a batch as this code reports it, 0-d."""

    @abstractmethod
    def backward(self, x: Array, y: Array, H: Array, out: Array) -> dict[str, Array]:
        """The gradients, given what ``activations`` returned."""

    def look(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The loss of a batch and its outputs; nothing is learnt."""
        out = self.forward(x)
        return self.loss(out, y), out

    def learn(self, x: Array, y: Array) -> tuple[Array, Array]:
        """``step``; and the outputs it started from, which save a second forward pass."""
        H, out = self.activations(x)
        self.update(self.backward(x, y, H, out))
        return self.loss(out, y), out

    def update(self, grads: Mapping[str, Array]) -> None:
        """Gradient descent: A -= lr dA."""
        for name, grad in grads.items():
            self.descend(name[1:], grad, self.lr)

    def descend(self, name: str, grad: Array, lr: float) -> None:
        """A - lr dA in place of A; raises TrainingError where the shape of dA does not fit."""
        A = self.arrays[name]
        if not fits(grad.shape, A.shape):
            raise TrainingError(
                f"the update of {name} has shape {tuple(grad.shape)}, but {name} has shape "
                f"{tuple(A.shape)}: the code stops here, as it did for the one who wrote it"
            )
        self.arrays = {**self.arrays, name: -lr * grad + A}  # in this order NumPy makes one array


def fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    """Whether an array of ``shape`` can be added to one of shape ``into`` without changing it."""
    if shape == into:
        return True
    try:
        return np.broadcast_shapes(shape, into) == tuple(into)
    except ValueError:
        return False


def softmax(xp: Namespace, z: Array) -> Array:
    """exp(z) / sum of exp(z), row by row."""
    e = xp.exp(z - xp.max(z, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)


def cross_entropy(xp: Namespace, p: Array, y: Array) -> Array:
    """-sum of y ln p over samples and outputs, 0-d; a p of 0 counts as the smallest number."""
    tiny = float(xp.finfo(p.dtype).smallest_normal)
    return -xp.sum(y * xp.log(xp.where(p < tiny, tiny * xp.ones_like(p), p)))


def count_right(xp: Namespace, out: Array, y: Array) -> Array:
    """The number of samples classified correctly, 0-d int32.

    The largest of several outputs names the class; one output says yes above 1/2.
    """
    if y.shape[1] == 1:
        right = (out > 0.5) == (y > 0.5)
    else:
        right = xp.argmax(out, axis=1) == xp.argmax(y, axis=1)
    return xp.sum(xp.astype(right, xp.int32), dtype=xp.int32)
