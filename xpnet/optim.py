"""Optimizers: from the gradient g to the next theta. The formulas are PyTorch's.

An optimizer is frozen hyperparameters and an ``update`` (see ``types.Optimizer``); what it
remembers between steps are ``n_slots`` vectors like theta, which start at 0. Both kinds of decay
act on the weight matrices only, not on biases and norm parameters, and are added in
``step.descend``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .errors import check_fraction, check_not_negative, check_positive
from .ops import Ops
from .types import Array

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Momentum", "Nesterov", "RMSprop"]

Slots = tuple[Array, ...]


@dataclass(frozen=True)
class SGD:
    """theta -= lr g (stochastic gradient descent).

    ``weight_decay`` is decoupled: W is first multiplied by 1 - lr weight_decay. ``l2`` is
    coupled: l2 W is added to dW, as if the loss held l2/2 times the sum of squared weights.
    """

    lr: float = 0.1
    weight_decay: float = 0.0
    l2: float = 0.0
    n_slots: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_positive("the learning rate", self.lr)
        check_not_negative("weight decay", self.weight_decay)
        check_not_negative("l2", self.l2)

    def update(
        self, ops: Ops, theta: Array, g: Array, slots: Slots, t: Array, lr: Array
    ) -> tuple[Array, Slots]:
        return ops.sgd(theta, g, lr), ()


@dataclass(frozen=True)
class Momentum(SGD):
    """v = mu v + g;  theta -= lr v (Polyak 1964)."""

    lr: float = 0.05
    mu: float = 0.9
    nesterov: ClassVar[bool] = False
    n_slots: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("momentum", self.mu)

    def update(
        self, ops: Ops, theta: Array, g: Array, slots: Slots, t: Array, lr: Array
    ) -> tuple[Array, Slots]:
        theta, v = ops.momentum(theta, g, slots[0], t, lr, self.mu, self.nesterov)
        return theta, (v,)


@dataclass(frozen=True)
class Nesterov(Momentum):
    """v = mu v + g;  theta -= lr (g + mu v) (Nesterov 1983, as Sutskever et al. 2013 write it)."""

    nesterov: ClassVar[bool] = True


@dataclass(frozen=True)
class RMSprop(SGD):
    """v = rho v + (1 - rho) g^2;  theta -= lr g / (sqrt(v) + eps) (Tieleman and Hinton 2012)."""

    lr: float = 1e-3
    rho: float = 0.99
    eps: float = 1e-8
    n_slots: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("rho", self.rho)
        check_positive("eps", self.eps)

    def update(
        self, ops: Ops, theta: Array, g: Array, slots: Slots, t: Array, lr: Array
    ) -> tuple[Array, Slots]:
        theta, v = ops.rmsprop(theta, g, slots[0], t, lr, self.rho, self.eps)
        return theta, (v,)


@dataclass(frozen=True)
class Adam(SGD):
    """Momentum with RMSprop, corrected for starting at 0: ``Ops.adam`` (Kingma and Ba 2015)."""

    lr: float = 3e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    n_slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("beta1", self.beta1)
        check_fraction("beta2", self.beta2)
        check_positive("eps", self.eps)

    def update(
        self, ops: Ops, theta: Array, g: Array, slots: Slots, t: Array, lr: Array
    ) -> tuple[Array, Slots]:
        theta, m, v = ops.adam(
            theta, g, slots[0], slots[1], t, lr, self.beta1, self.beta2, self.eps
        )
        return theta, (m, v)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    weight_decay: float = 0.01


OPTIMIZERS: dict[str, type[SGD]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}
"""The optimizers that a model file and the command line can name."""
