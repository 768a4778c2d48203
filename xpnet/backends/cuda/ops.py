"""The primitives as CUDA kernels: what a kernel does not cover is done as the reference does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from ...activations import Activation, activation
from ...random import DROPOUT, as_int32
from ...types import Array, Counters, Feed, LossResult, Noise
from .vector import (
    ACTIVATIONS,
    FEWEST_ROWS,
    MOST_BLOCKS,
    MOST_SUMS,
    THREADS,
    VectorOps,
    blocks_for,
    countable,
    number_and_pointer,
    plain,
)

__all__ = ["CudaOps"]

IDENTITY = activation("identity")


class CudaOps(VectorOps):
    """Kernels where arguments are contiguous and of one dtype; sums have a fixed order."""

    # ---- a batch and the layers ------------------------------------------------------------

    def window(self, A: Array, start: Array, m: int) -> Array:
        is_order = A.dtype == np.int32
        if not is_order and not plain(A.dtype, A):
            return super().window(A, start, m)
        out = self.empty((m,), A.dtype)
        real, name = (np.float32, "window_ints") if is_order else (A.dtype, "window_reals")
        arguments = (A, start, out, np.int32(m), np.int32(len(A)))
        # real ones are learning rates, which are not read before the end of a step
        with nullcontext() if is_order else self.launcher.aside():
            self.launcher.launch(np.dtype(real), name, (blocks_for(m),), (THREADS,), arguments)
        return out

    def gather(
        self, X: Array, index: Array, shift: Array | None, scale: Array | float, dtype: Any
    ) -> Array:
        feed = Feed(X, None, None, shift, scale, order=index, lr=None)
        x, _ = self.gathered(feed, None, len(index), dtype)
        return super().gather(X, index, shift, scale, dtype) if x is None else x

    def batch(self, feed: Feed, start: Array, m: int, dtype: Any) -> tuple[Array, Array]:
        x, y = self.gathered(feed, start, m, dtype)
        if x is None:
            return super().batch(feed, start, m, dtype)
        return x, self.take(feed.y, self.window(feed.order, start, m)) if y is None else y

    def gathered(
        self, feed: Feed, start: Array | None, m: int, dtype: Any
    ) -> tuple[Array | None, Array | None]:
        """``batch`` in one launch, or None for x, or for a y that is no label, which it cannot."""
        X, order, shift, real = feed.X, feed.order, feed.shift, np.dtype(dtype)
        factor, scales = number_and_pointer(feed.scale)
        vectors = [v for v in (shift, scales) if v is not None]
        kernels = {"uint8": "gather_bytes", real.name: "gather_reals"}
        n = X.shape[1]
        fits = X.dtype.name in kernels and X.flags.c_contiguous and countable(m * n)
        if not fits or not plain(real, *vectors):
            return None, None
        has_labels = (
            feed.y is not None
            and feed.y.dtype == np.int32
            and feed.y.ndim == 1
            and feed.y.flags.c_contiguous
        )
        x = self.empty((m, n), real)
        labels, y = (feed.y, self.empty((m,), np.dtype(np.int32))) if has_labels else (None, None)
        columns = min(THREADS, 1 << (n - 1).bit_length())  # a row of the block takes a sample
        rows = THREADS // columns
        self.launcher.launch(
            real, kernels[X.dtype.name], (min(-(-m // rows), MOST_BLOCKS),), (columns, rows),
            (
                X, order, start, np.int32(len(order)), shift, scales, real.type(factor),
                labels, x, y, np.int32(m), np.int32(n),
            ),
        )  # fmt: skip
        return x, y

    def affine(
        self, x: Array, W: Array, b: Array, f: Activation
    ) -> tuple[Array, tuple[Array, Array]]:
        m, n = len(x), W.shape[1]
        if not plain(W.dtype, x, W, b) or not countable(m * n):
            return super().affine(x, W, b, f)
        y = self.empty((m, n), W.dtype)
        if self.launcher.affine(x, W, b, f.name, y):
            return y, (x, y)
        self.launcher.matmul(x, W, y)
        if f.name not in ACTIVATIONS:
            z = y + b
            y = f.function(self.xp, z)
            return y, (x, z if f.derivative_of == "z" else y)
        code = np.int32(ACTIVATIONS[f.name])
        self.each("bias_activation", m * n, y, y, b, np.int32(m), np.int32(n), code)
        return y, (x, y)

    def affine_grad(
        self, dy: Array, saved: tuple[Array, Array], W: Array, f: Activation, need_dx: bool
    ) -> tuple[Array | None, Array, Array]:
        x, z_or_y = saved
        if not plain(W.dtype, x, z_or_y, W, dy):
            return super().affine_grad(dy, saved, W, f, need_dx)
        if f.name not in ACTIVATIONS:
            dy, f = dy * f.derivative(self.xp, z_or_y), IDENTITY
        dz, db = self.activation_grad(dy, z_or_y, f)
        dW = self.empty(W.shape, W.dtype)
        # the layer below waits for dx alone; below the first one nobody waits
        with self.launcher.aside(x, dz) if need_dx else nullcontext():
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
        rows = max(FEWEST_ROWS, -(-m // MOST_SUMS))
        parts = -(-m // rows)
        sums = db if parts == 1 else self.empty((parts, n), dy.dtype)
        with self.launcher.aside(dy) if dz is dy else nullcontext():
            self.column_sums(dy, y, None if dz is dy else dz, sums, rows, f.name)
        if parts > 1:
            with self.launcher.aside(sums):
                self.column_sums(sums, sums, None, db, parts)
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
        factor, scale_at = number_and_pointer(scale)
        vectors = [v for v in (weight, scale_at) if v is not None]
        if target.dtype.name != "int32" or not plain(logits.dtype, logits, *vectors):
            return super().softmax_xent(logits, target, weight, scale, smoothing)
        m, C = logits.shape
        real = logits.dtype.type
        dlogits = self.empty((m, C), logits.dtype)
        return self.sample_loss(
            "softmax_xent", logits, dlogits,
            (logits, target, weight, scale_at, real(factor), real(smoothing), dlogits),
        )  # fmt: skip

    def sigmoid_xent(
        self, logits: Array, target: Array, weight: Array | None, scale: Array | float
    ) -> LossResult:
        factor, scale_at = number_and_pointer(scale)
        vectors = [v for v in (weight, scale_at) if v is not None]
        if not plain(logits.dtype, logits, target, *vectors):
            return super().sigmoid_xent(logits, target, weight, scale)
        dlogits = self.empty(logits.shape, logits.dtype)
        return self.sample_loss(
            "sigmoid_xent", logits, dlogits,
            (logits, target, weight, scale_at, logits.dtype.type(factor), dlogits),
        )  # fmt: skip

    def sample_loss(
        self, name: str, logits: Array, dlogits: Array, arguments: Sequence[Any]
    ) -> LossResult:
        """Launch a kernel that takes one warp a sample, and add up what its blocks found."""
        m, n_out = logits.shape
        warps = THREADS // 32
        n_blocks = min(-(-m // warps), MOST_BLOCKS)
        losses = self.empty((n_blocks,), logits.dtype)
        rights = self.empty((n_blocks,), np.dtype(np.int32))
        arguments = (*arguments, losses, rights, np.int32(m), np.int32(n_out))
        shared = 2 * warps * logits.dtype.itemsize
        self.launcher.launch(logits.dtype, name, (n_blocks,), (THREADS,), arguments, shared)
        loss_sum = self.empty((), logits.dtype)
        n_right = self.empty((), np.dtype(np.int32))
        arguments = (losses, rights, loss_sum, n_right, np.int32(n_blocks))
        with self.launcher.aside(losses, rights):
            self.launcher.launch(logits.dtype, "add_losses", (1,), (32,), arguments)
        return LossResult(loss_sum, n_right, dlogits)

    def count(
        self, counters: Counters, loss: LossResult, weight: Array | float, m: int, last: bool
    ) -> Counters:
        number, weight_at = number_and_pointer(weight)
        sums = counters.loss_sum, counters.weight_sum, loss.loss_sum
        vectors = sums if weight_at is None else (*sums, weight_at)
        if not plain(counters.loss_sum.dtype, *vectors):
            return super().count(counters, loss, weight, m, last)
        real = counters.loss_sum.dtype
        added = (loss.loss_sum, loss.n_correct, weight_at, real.type(number))
        arguments = (*added, np.int32(m), np.int32(last))
        self.launcher.launch(real, "count", (1,), (1,), (*arguments, *counters))
        return counters
