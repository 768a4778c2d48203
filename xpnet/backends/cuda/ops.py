"""The primitives as CUDA kernels: what a kernel does not cover is done as the reference does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...activations import Activation
from ...random import DROPOUT, as_int32
from ...types import Array, LossResult, Namespace, Noise
from ..workspace import Workspace, WorkspaceOps
from .launcher import Launcher

__all__ = ["CudaOps"]

ACTIVATIONS = {"identity": 0, "relu": 1, "sigmoid": 2, "tanh": 3}
"""The activations of the kernels, by number."""

THREADS = 256
MOST_BLOCKS = 1024
"""Some blocks for each processor of a large GPU; element-wise kernels need no more."""

MOST_SUMS = 64
"""Parts of a sum over samples, each by blocks of its own, that are then added up in order."""

TILE = 32, 8
"""Threads of a block that sums columns: 32 columns, 8 rows at a time."""

REALS = ("float32", "float64")


class CudaOps(WorkspaceOps):
    """Kernels where arguments are contiguous and of one dtype; sums have a fixed order."""

    def __init__(
        self,
        xp: Namespace,
        device: object,
        launcher: Launcher,
        workspace: Workspace | None = None,
    ) -> None:
        super().__init__(xp, device, workspace)
        self.launcher = launcher

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.launcher.empty(shape, dtype)

    def each(self, name: str, n: int, like: Array, *arguments: Any) -> None:
        """Launch an element-wise kernel on ``n`` elements."""
        self.launcher.launch(like.dtype, name, (blocks_for(n),), (THREADS,), arguments)

    # ---- a batch and the layers ------------------------------------------------------------

    def gather(
        self, X: Array, index: Array, shift: Array | None, scale: Array | float, dtype: Any
    ) -> Array:
        real = np.dtype(dtype)
        vectors = [v for v in (shift, scale) if not isinstance(v, float | None)]
        kernels = {"uint8": "gather_bytes", real.name: "gather_reals"}
        if X.dtype.name not in kernels or not plain(real, *vectors) or not X.flags.c_contiguous:
            return super().gather(X, index, shift, scale, dtype)
        m, n = len(index), X.shape[1]
        x = self.empty((m, n), real)
        factor, scales = (scale, None) if isinstance(scale, float) else (1.0, scale)
        self.each(
            kernels[X.dtype.name], m * n, x,
            X, index, shift, scales, real.type(factor), x, np.int32(m), np.int32(n),
        )  # fmt: skip
        return x

    def affine(
        self, x: Array, W: Array, b: Array, f: Activation
    ) -> tuple[Array, tuple[Array, Array]]:
        if f.name not in ACTIVATIONS or not plain(W.dtype, x, W, b):
            return super().affine(x, W, b, f)
        m, n = len(x), W.shape[1]
        y = self.empty((m, n), W.dtype)
        self.launcher.matmul(x, W, y)
        code = np.int32(ACTIVATIONS[f.name])
        self.each("bias_activation", m * n, y, y, b, np.int32(m), np.int32(n), code)
        return y, (x, y)

    def affine_grad(
        self, dy: Array, saved: tuple[Array, Array], W: Array, f: Activation, need_dx: bool
    ) -> tuple[Array | None, Array, Array]:
        x, y = saved
        if f.name not in ACTIVATIONS or not plain(W.dtype, x, y, W, dy):
            return super().affine_grad(dy, saved, W, f, need_dx)
        dz, db = self.activation_grad(dy, y, f)
        dW = self.empty(W.shape, W.dtype)
        self.launcher.matmul(x.T, dz, dW)
        dx = None
        if need_dx:
            dx = self.empty(x.shape, x.dtype)
            self.launcher.matmul(dz, W.T, dx)
        return dx, dW, db

    def activation_grad(self, dy: Array, y: Array, f: Activation) -> tuple[Array, Array]:
        """dz = dy * f'(z), and db = sum of dz over the rows."""
        m, n = dy.shape
        dz = dy if f.name == "identity" else self.empty(dy.shape, dy.dtype)
        db = self.empty((n,), dy.dtype)
        rows = max(64, -(-m // MOST_SUMS))
        parts = -(-m // rows)
        sums = db if parts == 1 else self.empty((parts, n), dy.dtype)
        self.launcher.launch(
            dy.dtype,
            "activation_grad",
            (-(-n // TILE[0]), parts),
            TILE,
            (dy, y, None if dz is dy else dz, sums, np.int32(m), np.int32(n), np.int32(rows),
             np.int32(ACTIVATIONS[f.name])),
            shared=TILE[0] * TILE[1] * dy.dtype.itemsize,
        )  # fmt: skip
        if parts > 1:
            self.each("add_rows", n, dy, sums, db, np.int32(parts), np.int32(n))
        return dz, db

    def dropout(self, x: Array, noise: Noise, rate: float) -> Array:
        if not plain(x.dtype, x):
            return super().dropout(x, noise, rate)
        m, n = x.shape
        y = self.empty(x.shape, x.dtype)
        threshold = min(round(rate * 2**32) - 2**31, 2**31 - 1)
        self.each(
            "dropout", m * ((n + 1) // 2), x,
            x, noise.t, noise.rows, np.int32(as_int32(noise.seed)),
            np.int32(DROPOUT + noise.layer), np.int32(threshold),
            x.dtype.type(1.0 / (1.0 - rate)), y, np.int32(m), np.int32(n),
        )  # fmt: skip
        return y

    # ---- the loss ----------------------------------------------------------------------------

    def softmax_xent(
        self,
        logits: Array,
        target: Array,
        weight: Array | None,
        scale: Array | float,
        smoothing: float,
    ) -> LossResult:
        vectors = [v for v in (weight, scale) if not isinstance(v, float | None)]
        if target.dtype.name != "int32" or not plain(logits.dtype, logits, *vectors):
            return super().softmax_xent(logits, target, weight, scale, smoothing)
        m, C = logits.shape
        real = logits.dtype.type
        warps = THREADS // 32
        n_blocks = min(-(-m // warps), MOST_SUMS)
        dlogits = self.empty((m, C), logits.dtype)
        losses = self.empty((n_blocks,), logits.dtype)
        rights = self.empty((n_blocks,), np.dtype(np.int32))
        factor, scale_at = (scale, None) if isinstance(scale, float) else (1.0, scale)
        self.launcher.launch(
            logits.dtype,
            "softmax_xent",
            (n_blocks,),
            (THREADS,),
            (logits, target, weight, scale_at, real(factor), real(smoothing), dlogits, losses,
             rights, np.int32(m), np.int32(C)),
            shared=2 * warps * logits.dtype.itemsize,
        )  # fmt: skip
        loss_sum = self.empty((), logits.dtype)
        n_right = self.empty((), np.dtype(np.int32))
        arguments = (losses, rights, loss_sum, n_right, np.int32(n_blocks))
        self.launcher.launch(logits.dtype, "add_losses", (1,), (1,), arguments)
        return LossResult(loss_sum, n_right, dlogits)

    # ---- the flat vector -----------------------------------------------------------------------

    def add(self, total: Array | None, g: Array) -> Array:
        if total is None or not plain(g.dtype, total, g):
            return super().add(total, g)
        self.each("add", g.size, g, total, g, np.int32(g.size))
        return total

    def square_sum(self, g: Array) -> Array:
        if not plain(g.dtype, g):
            return super().square_sum(g)
        n_blocks = min(blocks_for(g.size), MOST_SUMS)
        sums = self.empty((n_blocks, 1), g.dtype)
        shared = THREADS // 32 * g.dtype.itemsize
        arguments = (g, sums, np.int32(g.size))
        self.launcher.launch(g.dtype, "square_sums", (n_blocks,), (THREADS,), arguments, shared)
        total = self.empty((), g.dtype)
        self.each("add_rows", 1, g, sums, total, np.int32(n_blocks), np.int32(1))
        return total

    def scale_by(self, g: Array, factor: Array) -> Array:
        if not plain(g.dtype, g, factor):
            return super().scale_by(g, factor)
        self.each("scale_by", g.size, g, g, factor, np.int32(g.size))
        return g

    def clip_value(self, g: Array, limit: float) -> Array:
        if not plain(g.dtype, g):
            return super().clip_value(g, limit)
        self.each("clip_value", g.size, g, g, g.dtype.type(limit), np.int32(g.size))
        return g

    def add_weights(self, v: Array, a: Array | float, theta: Array, n_weights: int) -> Array:
        vectors = [] if isinstance(a, float) else [a]
        if not plain(v.dtype, v, theta, *vectors):
            return super().add_weights(v, a, theta, n_weights)
        number, a_at = (a, None) if isinstance(a, float) else (0.0, a)
        arguments = (v, a_at, v.dtype.type(number), theta, np.int32(n_weights))
        self.each("add_weights", n_weights, v, *arguments)
        return v

    # ---- optimizers ------------------------------------------------------------------------------

    def sgd(self, theta: Array, g: Array, lr: Array) -> Array:
        if not plain(theta.dtype, theta, g, lr):
            return super().sgd(theta, g, lr)
        self.each("sgd", theta.size, theta, theta, g, lr, np.int32(theta.size))
        return theta

    def momentum(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, mu: float, nesterov: bool
    ) -> tuple[Array, Array]:
        if not plain(theta.dtype, theta, g, v, lr):
            return super().momentum(theta, g, v, t, lr, mu, nesterov)
        number = theta.dtype.type
        rule = number(mu), np.int32(nesterov)
        self.each("momentum", theta.size, theta, theta, g, v, t, lr, *rule, np.int32(theta.size))
        return theta, v

    def rmsprop(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, rho: float, eps: float
    ) -> tuple[Array, Array]:
        if not plain(theta.dtype, theta, g, v, lr):
            return super().rmsprop(theta, g, v, t, lr, rho, eps)
        number = theta.dtype.type
        rule = number(rho), number(1.0 - rho), number(eps)
        self.each("rmsprop", theta.size, theta, theta, g, v, t, lr, *rule, np.int32(theta.size))
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
        if not plain(theta.dtype, theta, g, m, v, lr):
            return super().adam(theta, g, m, v, t, lr, beta1, beta2, eps)
        rule = np.float64(beta1), np.float64(beta2), np.float64(eps), np.int32(theta.size)
        arguments: Sequence[Any] = (theta, g, m, v, t, lr, *rule)
        self.launcher.launch(
            theta.dtype,
            "adam",
            (blocks_for(theta.size),),
            (THREADS,),
            arguments,
            shared=2 * theta.dtype.itemsize,
        )
        return theta, m, v


def blocks_for(n: int) -> int:
    """Blocks of an element-wise kernel for ``n`` elements."""
    return min(max(1, -(-n // THREADS)), MOST_BLOCKS)


def plain(real: Any, *arrays: Array) -> bool:
    """Whether the kernels know the dtype ``real`` and all arrays are contiguous and have it."""
    known = np.dtype(real).name in REALS
    return known and all(a.dtype == real and a.flags.c_contiguous for a in arrays)
