"""NumPy's primitives with their element-wise work compiled; products stay with NumPy's BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...activations import Activation
from ...ops import FLUSH_EVERY, TINY
from ...types import Array, LossResult
from ..numpy.ops import NumpyOps, adam_rate
from . import kernels

__all__ = ["NumbaOps"]

WITH_BIAS = {"identity": False, "relu": True}
"""The activations that are compiled together with the bias, and whether that is a ReLU."""

WIDEST_THIN = 16
"""Columns up to which a product of our own is faster than BLAS, which packs its arguments."""


class NumbaOps(NumpyOps):
    """Each override is one pass over its arrays; what it does not cover NumPy does."""

    def run(self, kernel: Any, *args: Any) -> None:
        """kernel(*args)."""
        kernel(*args)

    def gather(
        self, X: Array, index: Array, shift: Array | None, scale: Array | float, dtype: Any
    ) -> Array:
        if shift is not None or not isinstance(scale, float):
            return super().gather(X, index, shift, scale, dtype)
        x = self.empty((len(index), X.shape[1]), dtype)
        self.run(kernels.gather, X, index, x.dtype.type(scale), x)
        return x

    def affine(
        self, x: Array, W: Array, b: Array, f: Activation
    ) -> tuple[Array, tuple[Array, Array]]:
        if f.name not in WITH_BIAS:
            return super().affine(x, W, b, f)
        y = self.product(x, W)
        self.run(kernels.add_bias, y, b, WITH_BIAS[f.name])
        return y, (x, y)

    def affine_grad(
        self, dy: Array, saved: tuple[Array, Array], W: Array, f: Activation, need_dx: bool
    ) -> tuple[Array | None, Array, Array]:
        if f.name not in WITH_BIAS:
            return super().affine_grad(dy, saved, W, f, need_dx)
        x, y = saved
        db = self.empty(W.shape[1:], W.dtype)
        dz = self.empty(dy.shape, dy.dtype) if WITH_BIAS[f.name] else dy
        self.run(kernels.relu_grad, dy, y, WITH_BIAS[f.name], dz, db)
        dW = self.weight_grad(x, dz)
        dx = np.matmul(dz, W.T, out=self.empty(x.shape, x.dtype)) if need_dx else None
        return dx, dW, db

    def product(self, x: Array, W: Array) -> Array:
        if not is_thin(x, W):
            return super().product(x, W)
        WT = self.empty(W.shape[::-1], W.dtype)
        np.copyto(WT, W.T)
        y = self.empty((len(x), W.shape[1]), W.dtype)
        self.run(kernels.thin_product, x, WT, y)
        return y

    def weight_grad(self, x: Array, dz: Array) -> Array:
        if not is_thin(x, dz):
            return super().weight_grad(x, dz)
        dWT = self.empty((dz.shape[1], x.shape[1]), x.dtype)
        dW = self.empty(dWT.shape[::-1], x.dtype)
        self.run(kernels.thin_weight_grad, x, dz, dWT, dW)
        return dW

    def softmax_xent(
        self,
        logits: Array,
        target: Array,
        weight: Array | None,
        scale: Array | float,
        smoothing: float,
    ) -> LossResult:
        if target.ndim != 1 or weight is not None or smoothing or not isinstance(scale, float):
            return super().softmax_xent(logits, target, weight, scale, smoothing)
        number = logits.dtype.type
        dlogits = self.empty(logits.shape, logits.dtype)
        shifted_label = self.empty(target.shape, logits.dtype)
        n_correct = self.empty((), np.int32)
        loss_sum = self.empty((), logits.dtype)
        self.run(kernels.softmax_begin, logits, target, dlogits, shifted_label, n_correct)
        np.exp(dlogits, out=dlogits)  # NumPy's is vectorised, Numba's is not
        self.run(kernels.softmax_end, shifted_label, target, number(scale), dlogits, loss_sum)
        return LossResult(loss_sum, n_correct, dlogits)

    def sgd(self, theta: Array, g: Array, lr: Array) -> Array:
        kernels.sgd(theta, g, lr[0])
        return theta

    def momentum(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, mu: float, nesterov: bool
    ) -> tuple[Array, Array]:
        number = theta.dtype.type
        kernels.momentum(theta, g, v, smallest(theta, t), lr[0], number(mu), nesterov)
        return theta, v

    def rmsprop(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, rho: float, eps: float
    ) -> tuple[Array, Array]:
        number = theta.dtype.type
        kernels.rmsprop(
            theta, g, v, smallest(theta, t), lr[0], number(rho), number(1.0 - rho), number(eps)
        )
        return theta, v

    def adam(
        self,
        theta: Array,
        g: Array,
        m: Array,
        v: Array,
        t: Array,
        lr: Array,
        beta1: float,
        beta2: float,
        eps: float,
    ) -> tuple[Array, Array, Array]:
        rate, floor = adam_rate(t, lr, beta1, beta2, eps)
        number = theta.dtype.type
        kernels.adam(
            theta,
            g,
            m,
            v,
            smallest(theta, t),
            number(rate),
            number(beta1),
            number(beta2),
            number(floor),
        )
        return theta, m, v


def is_thin(x: Array, A: Array) -> bool:
    """Whether the product of ``x`` with a matrix as wide as ``A`` is too thin for BLAS."""
    return bool(A.shape[1] <= WIDEST_THIN and x.shape[1] >= 64 and x.flags.c_contiguous)


def smallest(theta: Array, t: Array) -> Any:
    """Slots below this become 0 at step ``t``: see ``Ops.flush``."""
    return theta.dtype.type(TINY if t[0] % FLUSH_EVERY == 0 else 0)
