"""The primitives in NumPy, written in place on memory that is used again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from ...activations import Activation
from ...ops import FLUSH_EVERY, TINY
from ...types import Array, LossResult
from ..workspace import Workspace, WorkspaceOps
from .in_place import IN_PLACE, sigmoid

__all__ = ["NumpyOps", "adam_rate", "rows_at_a_time"]

ROWS = 512
"""Samples worked on at a time in batches of several times as many: they stay in the cache."""

CHUNK = 16384
"""Elements an optimizer works on at a time: few enough to stay in the cache."""


class NumpyOps(WorkspaceOps):
    """In-place NumPy; with a workspace, results live until the next step, else for good."""

    def __init__(self, workspace: Workspace | None = None) -> None:
        super().__init__(xp, workspace=workspace)

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.empty(shape, dtype)

    def slices(self, m: int) -> Iterable[tuple[int, int]]:
        rows = m if self.workspace is None else rows_at_a_time(m)
        if rows == m:
            return [(0, m)]
        return self.workspace.each_part(  # type: ignore[union-attr]
            (start, min(start + rows, m)) for start in range(0, m, rows)
        )

    def take(self, A: Array, index: Array) -> Array:
        out = self.empty((len(index), *A.shape[1:]), A.dtype)
        return A.take(index, axis=0, out=out, mode="clip")  # "raise" would buffer the output

    def window(self, A: Array, start: Array, m: int) -> Array:
        return A.take(self.rows(start, m), out=self.empty((m,), A.dtype), mode="wrap")

    def gather(
        self, X: Array, index: Array, shift: Array | None, scale: Array | float, dtype: Any
    ) -> Array:
        rows = self.take(X, index)
        x = self.empty(rows.shape, dtype)
        np.copyto(x, rows)
        if shift is not None:
            x -= shift
        return np.multiply(x, scale, out=x)

    def affine(
        self, x: Array, W: Array, b: Array, f: Activation
    ) -> tuple[Array, tuple[Array, Array]]:
        if f.name != "identity" and f.name not in IN_PLACE:
            return super().affine(x, W, b, f)
        y = self.product(x, W)
        y += b
        if f.name in IN_PLACE:
            IN_PLACE[f.name].function(y)
        return y, (x, y)

    def affine_grad(
        self, dy: Array, saved: tuple[Array, Array], W: Array, f: Activation, need_dx: bool
    ) -> tuple[Array | None, Array, Array]:
        x, y = saved
        dz = self.activation_grad(dy, y, f)
        dW = self.weight_grad(x, dz)
        ones = self.constant(("ones", len(dz), dz.dtype), lambda: np.ones(len(dz), dz.dtype))
        db = np.matmul(ones, dz, out=self.empty(dz.shape[1:], dz.dtype))  # faster than a sum
        dx = np.matmul(dz, W.T, out=self.empty(x.shape, x.dtype)) if need_dx else None
        return dx, dW, db

    def product(self, x: Array, W: Array) -> Array:
        """x W."""
        return np.matmul(x, W, out=self.empty((len(x), W.shape[1]), W.dtype))

    def weight_grad(self, x: Array, dz: Array) -> Array:
        """dW = x^T dz; for few outputs as (dz^T x)^T, which BLAS does a fifth faster."""
        shape = (x.shape[1], dz.shape[1])
        if 8 * shape[1] <= shape[0] and len(x) > 1:
            transposed: Array = np.matmul(dz.T, x, out=self.empty(shape[::-1], x.dtype)).T
            return transposed
        return np.dot(x.T, dz, out=self.empty(shape, x.dtype))  # for one row matmul is slow

    def activation_grad(self, dy: Array, z_or_y: Array, f: Activation) -> Array:
        """dz = dy * f'(z)."""
        if f.name == "identity":
            return dy
        if f.name not in IN_PLACE:
            return dy * f.derivative(self.xp, z_or_y)
        dz = self.empty(dy.shape, dy.dtype)
        IN_PLACE[f.name].gradient(dy, z_or_y, dz)
        return dz

    def softmax_xent(
        self,
        logits: Array,
        target: Array,
        weight: Array | None,
        scale: Array | float,
        smoothing: float,
    ) -> LossResult:
        if target.ndim != 1 or weight is not None or smoothing:
            return super().softmax_xent(logits, target, weight, scale, smoothing)
        m, C = logits.shape
        first = self.constant(("first", m, C), lambda: np.arange(m, dtype=np.intp) * C)
        best = logits.argmax(axis=1)
        top = logits.take(first + best)  # several times faster than a maximum along rows
        true = first + target
        true_logit = logits.take(true) - top
        p = np.subtract(logits, top[:, None], out=self.empty(logits.shape, logits.dtype))
        np.exp(p, out=p)
        e_sum = p.sum(axis=1)
        loss = np.log(e_sum) - true_logit
        p *= (scale / e_sum)[:, None]
        p.reshape(-1)[true] -= scale
        return LossResult(loss.sum(), (best == target).sum(dtype=np.int32), p)

    def sigmoid_xent(
        self, logits: Array, target: Array, weight: Array | None, scale: Array | float
    ) -> LossResult:
        if weight is not None:
            return super().sigmoid_xent(logits, target, weight, scale)
        k = logits.shape[1]
        loss = np.logaddexp(logits, 0, out=self.empty(logits.shape, logits.dtype))
        loss -= target * logits
        p = self.empty(logits.shape, logits.dtype)
        np.copyto(p, logits)
        sigmoid(p)
        p -= target
        p *= scale / k
        right = (logits > 0) == (target > 0.5)
        if k > 1:
            right = np.all(right, axis=1)
        return LossResult(loss.sum() / k, right.sum(dtype=np.int32), p)

    def add(self, total: Array | None, g: Array) -> Array:
        if total is None:
            total = self.constant(("total", g.shape, g.dtype), lambda: np.empty_like(g))
            np.copyto(total, g)
        else:
            total += g
        return total

    def square_sum(self, g: Array) -> Array:
        return np.dot(g, g)

    def scale_by(self, g: Array, factor: Array) -> Array:
        return np.multiply(g, factor, out=g)

    def clip_value(self, g: Array, limit: float) -> Array:
        return np.clip(g, -limit, limit, out=g)

    def add_weights(
        self, v: Array, a: float, theta: Array, n_weights: int, factor: Array | None = None
    ) -> Array:
        head, rate = v[:n_weights], a if factor is None else a * factor
        if v is theta:
            head *= 1.0 + rate
        else:
            head += rate * theta[:n_weights]
        return v

    def sgd(self, theta: Array, g: Array, lr: Array) -> Array:
        for part, T, G in chunks(theta, g):
            T -= np.multiply(G, lr, out=part)
        return theta

    def momentum(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, mu: float, nesterov: bool
    ) -> tuple[Array, Array]:
        due = t[0] % FLUSH_EVERY == 0
        for part, T, G, V in chunks(theta, g, v):
            V *= mu
            V += G
            if due:
                flush(V)
            if nesterov:
                np.multiply(V, mu, out=part)
                part += G
                part *= lr
            else:
                np.multiply(V, lr, out=part)
            T -= part
        return theta, v

    def rmsprop(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, rho: float, eps: float
    ) -> tuple[Array, Array]:
        due = t[0] % FLUSH_EVERY == 0
        for part, T, G, V in chunks(theta, g, v):
            np.multiply(G, G, out=part)
            part *= 1.0 - rho
            V *= rho
            V += part
            if due:
                flush(V)
            np.sqrt(V, out=part)
            part += eps
            np.divide(G, part, out=part)
            part *= lr
            T -= part
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
        due = t[0] % FLUSH_EVERY == 0
        for part, T, G, m_part, v_part in chunks(theta, g, m, v):
            m_part *= beta1
            m_part += G
            if due:
                flush(m_part)
            np.multiply(G, G, out=part)
            v_part *= beta2
            v_part += part
            if due:
                flush(v_part)
            np.sqrt(v_part, out=part)
            part += floor
            np.divide(m_part, part, out=part)
            part *= rate
            T -= part
        return theta, m, v


def rows_at_a_time(m: int) -> int:
    """How many samples of a batch of ``m`` are worked on at a time."""
    return m if m < 4 * ROWS else ROWS


def adam_rate(t: Array, lr: Array, beta1: float, beta2: float, eps: float) -> tuple[float, float]:
    """``rate`` and ``floor`` of theta -= rate m / (sqrt(v) + floor), where no vector is divided.

    In Python floats, one call a step: see ``backends.adam`` for the formula.
    """
    M = (1.0 - beta1 ** int(t[0])) / (1.0 - beta1)
    root_V = ((1.0 - beta2 ** int(t[0])) / (1.0 - beta2)) ** 0.5
    return float(lr[0]) * root_V / M, eps * root_V


def chunks(*vectors: Array) -> Any:
    """Slices of the vectors in step, each after a scratch array of the same length and dtype."""
    n = len(vectors[0])
    scratch = np.empty(min(CHUNK, n), vectors[0].dtype)
    for start in range(0, n, CHUNK):
        parts = [v[start : start + CHUNK] for v in vectors]
        yield scratch[: len(parts[0])], *parts


def flush(slot: Array) -> None:
    """Set tiny values to 0, as ``Ops.flush`` does, in place."""
    slot[np.abs(slot) < TINY] = 0
