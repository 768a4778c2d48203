"""Layers: frozen hyperparameters, a forward and, right below it, its backward.

A layer holds no array: it is given its parameters ``p``, and what backward must remember of
forward is returned as ``saved``. ``types.Layer`` says what each method takes and gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import random
from .activations import Activation, activation
from .errors import check_count, check_fraction, check_positive
from .initializers import check_initializer, initial_weights
from .ops import Ops
from .types import Array, Noise, Params

__all__ = ["LAYERS", "Dense", "Dropout", "LayerNorm"]


@dataclass(frozen=True)
class Dense:
    """y = f(x W + b): ``n_out`` units that each see all inputs; see ``Ops.affine``.

    ``activation`` is a name in ``ACTIVATIONS`` or an ``Activation``; ``init`` is a name in
    ``initializers``. Parameters: W (n_in, n_out), and b (n_out,), which starts at 0.
    """

    n_out: int
    activation: str | Activation = "identity"
    init: str = "auto"

    def __post_init__(self) -> None:
        check_count("the width of a Dense layer", self.n_out)
        activation(self.activation)
        check_initializer(self.init)

    def output_width(self, n_in: int) -> int:
        return self.n_out

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return {"W": (n_in, self.n_out), "b": (self.n_out,)}

    def init_params(self, seed: int, layer: int, n_in: int) -> Params:
        name = activation(self.activation).name
        W = initial_weights(self.init, name, seed, random.WEIGHTS + layer, (n_in, self.n_out))
        return {"W": W, "b": np.zeros(self.n_out)}

    def forward(self, ops: Ops, p: Params, x: Array, noise: Noise | None) -> tuple[Array, Any]:
        return ops.affine(x, p["W"], p["b"], activation(self.activation))

    def backward(
        self, ops: Ops, p: Params, saved: Any, dy: Array, need_dx: bool
    ) -> tuple[Array | None, Params]:
        dx, dW, db = ops.affine_grad(dy, saved, p["W"], activation(self.activation), need_dx)
        return dx, {"W": dW, "b": db}


@dataclass(frozen=True)
class Dropout:
    """In training, sets each value to 0 with chance ``rate``; scales the rest by 1 / (1 - rate).

    Backward does the same to dy, with the same mask. Outside training y = x. (Srivastava et al.
    2014.)
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        check_fraction("the dropout rate", self.rate)

    def output_width(self, n_in: int) -> int:
        return n_in

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return {}

    def init_params(self, seed: int, layer: int, n_in: int) -> Params:
        return {}

    def forward(self, ops: Ops, p: Params, x: Array, noise: Noise | None) -> tuple[Array, Any]:
        if noise is None or self.rate == 0:
            return x, None
        return ops.dropout(x, noise, self.rate), noise

    def backward(
        self, ops: Ops, p: Params, saved: Any, dy: Array, need_dx: bool
    ) -> tuple[Array | None, Params]:
        return (dy if saved is None else ops.dropout(dy, saved, self.rate)), {}


@dataclass(frozen=True)
class LayerNorm:
    """y = gamma xhat + beta, with xhat = r (x - mean x), r = 1 / sqrt(variance + eps) of each row.

    dx = r (dxhat - mean dxhat - xhat mean(dxhat xhat)), with dxhat = gamma dy: the last two terms
    come from the mean and from r, which depend on x, too. Means are over the n columns.
    Parameters: gamma (n,), which starts at 1, and beta (n,), at 0. (Ba, Kiros and Hinton 2016.)
    """

    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_positive("the eps of LayerNorm", self.eps)

    def output_width(self, n_in: int) -> int:
        return n_in

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return {"gamma": (n_in,), "beta": (n_in,)}

    def init_params(self, seed: int, layer: int, n_in: int) -> Params:
        return {"gamma": np.ones(n_in), "beta": np.zeros(n_in)}

    def forward(self, ops: Ops, p: Params, x: Array, noise: Noise | None) -> tuple[Array, Any]:
        xp = ops.xp
        centred = x - xp.mean(x, axis=1, keepdims=True)
        r = 1.0 / xp.sqrt(xp.mean(centred * centred, axis=1, keepdims=True) + self.eps)
        xhat = centred * r
        return p["gamma"] * xhat + p["beta"], (xhat, r)

    def backward(
        self, ops: Ops, p: Params, saved: Any, dy: Array, need_dx: bool
    ) -> tuple[Array | None, Params]:
        xp = ops.xp
        xhat, r = saved
        grads = {"gamma": xp.sum(dy * xhat, axis=0), "beta": xp.sum(dy, axis=0)}
        if not need_dx:
            return None, grads
        dxhat = p["gamma"] * dy
        from_mean = xp.mean(dxhat, axis=1, keepdims=True)
        from_r = xhat * xp.mean(dxhat * xhat, axis=1, keepdims=True)
        return r * (dxhat - from_mean - from_r), grads


LAYERS: dict[str, type[Any]] = {"dense": Dense, "dropout": Dropout, "layer_norm": LayerNorm}
"""The layers that a model file can name."""
