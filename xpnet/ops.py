"""The primitives that everything else is made of, in plain Array API: the reference.

Read this first; ``types`` says what the names mean and what the small records hold. A backend
may override any primitive with something faster that computes the same up to rounding, and such
an override can be deleted at the cost of speed alone. An argument marked ``*`` is donated: an
override may overwrite it, so the caller goes on with what is returned.

Shapes: x (m, n_in) has one sample a row, W (n_in, n_out), b (n_out,), logits (m, C) one column
a class; theta, g and slots (n,). All floats have one dtype.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .activations import Activation, positive_part
from .random import keep_mask
from .types import Array, Counters, Feed, LossResult, Namespace, Noise

__all__ = ["Ops"]

TINY = 1e-30
"""Optimizer slots smaller than this are set to 0 (see ``flush``)."""

FLUSH_EVERY = 64
"""Steps between two flushes; 0.9**64 * TINY is still a normal float32."""


class Ops:
    """The reference primitives over the namespace ``xp``, making arrays on ``device``."""

    def __init__(self, xp: Namespace, device: object = None) -> None:
        self.xp = xp
        self.device = device

    # ---- a batch -------------------------------------------------------------------------

    def slices(self, m: int) -> Iterable[tuple[int, int]]:
        """Start and stop of the parts in which a batch of ``m`` is worked on, here a single one.

        Sums over samples are sums over parts; small parts of a large batch stay in the cache.
        """
        return [(0, m)]

    def rows(self, start: Array | int, m: int) -> Array:
        """start, start + 1, ..., start + m - 1 as (m,) int32."""
        return start + self.xp.arange(m, dtype=self.xp.int32, device=self.device)

    def take(self, A: Array, index: Array) -> Array:
        """Rows ``index`` (m,) int32 of ``A``."""
        return self.xp.take(A, index, axis=0)

    def window(self, A: Array, start: Array, m: int) -> Array:
        """(m,) elements of ``A`` from ``start`` (1,) int32 on; past its end it starts again."""
        return self.take(A, self.rows(start, m) % A.shape[0])

    def gather(
        self, X: Array, index: Array, shift: Array | None, scale: Array | float, dtype: object
    ) -> Array:
        """(x - shift) * scale for the rows x = ``index`` (m,) int32 of ``X``, cast to ``dtype``.

        ``shift`` and ``scale`` are (n_in,), or None and a number.
        """
        x = self.xp.astype(self.take(X, index), dtype)
        return x * scale if shift is None else (x - shift) * scale

    def batch(self, feed: Feed, start: Array, m: int, dtype: object) -> tuple[Array, Array]:
        """x as of ``gather``, and y: ``m`` samples from place ``start`` (1,) of the order on."""
        index = self.window(feed.order, start, m)
        return self.gather(feed.X, index, feed.shift, feed.scale, dtype), self.take(feed.y, index)

    # ---- layers --------------------------------------------------------------------------

    def affine(
        self, x: Array, W: Array, b: Array, f: Activation
    ) -> tuple[Array, tuple[Array, Array]]:
        """y = f(z), z = x W + b; and for ``affine_grad`` x, and z or y as f's derivative needs."""
        z = x @ W + b
        y = f.function(self.xp, z)
        return y, (x, z if f.derivative_of == "z" else y)

    def affine_grad(
        self, dy: Array, saved: tuple[Array, Array], W: Array, f: Activation, need_dx: bool
    ) -> tuple[Array | None, Array, Array]:
        """The chain rule through y = f(z), z = x W + b.

        dz = dy * f'(z);  dW = x^T dz;  db = sum of dz over the rows;  dx = dz W^T, if needed
        """
        x, z_or_y = saved
        dz = dy * f.derivative(self.xp, z_or_y)
        dW = x.T @ dz
        db = self.xp.sum(dz, axis=0)
        dx = dz @ W.T if need_dx else None
        return dx, dW, db

    def dropout(self, x: Array, noise: Noise, rate: float) -> Array:
        """x * keep / (1 - rate); backward is the same call with dy and the same noise."""
        keep = keep_mask(self.xp, noise, x.shape[1], rate, self.device)
        return x * self.xp.astype(keep, x.dtype) * (1.0 / (1.0 - rate))

    # ---- the loss of a classifier ----------------------------------------------------------

    def softmax_xent(
        self,
        logits: Array,
        target: Array,
        weight: Array | None,
        scale: Array | float,
        smoothing: float,
    ) -> LossResult:
        """Softmax cross-entropy and its gradient in one pass.

        p = softmax(logits);  loss_i = -sum_c q_ic ln p_ic;  dlogits = scale w_i (p sum_c q_ic - q)

        ``target``: labels (m,) of an integer dtype, or the distribution q itself (m, C).
        ``smoothing`` s makes q into (1 - s) q + s/C. ``weight`` (m,) or None for all 1.
        """
        xp = self.xp
        C = logits.shape[1]
        if target.ndim == 1:
            labels, classes = target, xp.arange(C, dtype=target.dtype, device=self.device)
            q = xp.astype(xp.expand_dims(labels, axis=1) == classes, logits.dtype)
        else:
            labels, q = xp.argmax(target, axis=1), target
        if smoothing:
            q = (1.0 - smoothing) * q + smoothing / C
        shifted = logits - xp.max(logits, axis=1, keepdims=True)
        e = xp.exp(shifted)
        e_sum = xp.sum(e, axis=1, keepdims=True)
        loss = -xp.sum(q * (shifted - xp.log(e_sum)), axis=1)
        dlogits = scale * (e / e_sum * xp.sum(q, axis=1, keepdims=True) - q)
        if weight is not None:
            loss = weight * loss
            dlogits = xp.expand_dims(weight, axis=1) * dlogits
        hit = xp.astype(xp.argmax(logits, axis=1), labels.dtype) == labels
        n_correct = xp.sum(xp.astype(hit, xp.int32), dtype=xp.int32)
        return LossResult(xp.sum(loss), n_correct, dlogits)

    def sigmoid_xent(
        self, logits: Array, target: Array, weight: Array | None, scale: Array | float
    ) -> LossResult:
        """Mean over the k outputs of binary cross-entropy on logits, and its gradient.

        loss_i = sum_j (ln(1 + exp z_ij) - q_ij z_ij) / k;  dlogits = scale w_i (sigmoid(z) - q) / k

        z are the logits (m, k), ``target`` q (m, k) in [0, 1] of their dtype. A sample is correct
        where (z > 0) = (q > 1/2) in all its outputs. ``weight`` (m,) or None for all 1.
        """
        xp = self.xp
        k = logits.shape[1]
        e = xp.exp(-xp.abs(logits))  # cannot overflow; softplus and sigmoid both come from it
        loss = positive_part(xp, logits) + xp.log1p(e) - target * logits
        p = xp.where(logits >= 0, 1.0 / (1.0 + e), e / (1.0 + e))
        loss = xp.sum(loss, axis=1) / k
        dlogits = scale * (p - target) / k
        if weight is not None:
            loss = weight * loss
            dlogits = xp.expand_dims(weight, axis=1) * dlogits
        right = xp.all((logits > 0) == (target > 0.5), axis=1)
        n_correct = xp.sum(xp.astype(right, xp.int32), dtype=xp.int32)
        return LossResult(xp.sum(loss), n_correct, dlogits)

    # ---- the sums of an epoch --------------------------------------------------------------

    def count(
        self, counters: Counters, loss: LossResult, weight: Array | float, m: int, last: bool
    ) -> Counters:
        """counters* after ``m`` more samples of step t + 1; ``weight`` is their sum of weights.

        With the ``last`` of them the step is done.
        """
        t, position, loss_sum, weight_sum, n_correct, first_bad_step = counters
        loss_sum = loss_sum + loss.loss_sum
        if loss.n_correct is not None:
            n_correct = n_correct + loss.n_correct
        # an infinite or NaN sum stays so for the rest of the epoch; a new epoch begins at 0
        is_first = (first_bad_step == 0) & ~self.xp.isfinite(loss_sum)
        return Counters(
            t=t + 1 if last else t,
            position=position + m,
            loss_sum=loss_sum,
            weight_sum=weight_sum + weight,
            n_correct=n_correct,
            first_bad_step=self.xp.where(is_first, t + 1, first_bad_step),
        )

    # ---- the flat vector -----------------------------------------------------------------

    def unpack(
        self, theta: Array, offsets: Sequence[int], shapes: Sequence[tuple[int, ...]]
    ) -> list[Array]:
        """The inverse of ``pack``: block i has ``shapes[i]`` and starts at ``offsets[i]``."""
        return [
            self.xp.reshape(theta[offset : offset + math.prod(shape)], shape)
            for offset, shape in zip(offsets, shapes, strict=True)
        ]

    def pack(self, blocks: Sequence[Array], offsets: Sequence[int], n: int) -> Array:
        """One vector (n,) with ``blocks[i]`` flattened at ``offsets[i]`` and 0 in the gaps."""
        xp = self.xp
        parts, end = [], 0
        for block, offset in zip(blocks, offsets, strict=True):
            gap = xp.zeros((offset - end,), dtype=block.dtype, device=self.device)
            parts += [gap, xp.reshape(block, (-1,))]
            end = offset + math.prod(block.shape)
        return xp.concat([*parts, xp.zeros((n - end,), dtype=blocks[0].dtype, device=self.device)])

    def add(self, total: Array | None, g: Array) -> Array:
        """total* + g, or a copy of ``g`` where there is no total yet."""
        return self.xp.asarray(g, copy=True) if total is None else total + g

    def square_sum(self, g: Array) -> Array:
        """Sum of the squares of ``g``, 0-d."""
        return self.xp.sum(g * g)

    def scale_by(self, g: Array, factor: Array) -> Array:
        """g* times ``factor``, 0-d or (1,)."""
        return factor * g

    def clip_value(self, g: Array, limit: float) -> Array:
        """g* with each value clipped to [-limit, limit]; NaN stays NaN."""
        xp = self.xp
        g = xp.where(g > limit, limit * xp.ones_like(g), g)
        return xp.where(g < -limit, -limit * xp.ones_like(g), g)

    def add_weights(
        self, v: Array, a: float, theta: Array, n_weights: int, factor: Array | None = None
    ) -> Array:
        """v* + a factor theta on the weight matrices, theta[:n_weights], and v elsewhere.

        ``v`` may be ``theta`` itself. ``factor`` is (1,), or None for 1.
        """
        rate = a if factor is None else a * factor
        head = v[:n_weights] + rate * theta[:n_weights]
        return self.xp.concat([head, v[n_weights:]])

    # ---- optimizers: theta* and slots* are donated, t (1,) is 1 at the first step -----------

    def sgd(self, theta: Array, g: Array, lr: Array) -> Array:
        """theta - lr g."""
        return theta - lr * g

    def momentum(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, mu: float, nesterov: bool
    ) -> tuple[Array, Array]:
        """v = mu v + g;  theta -= lr v, or lr (g + mu v) with ``nesterov``. Returns theta, v."""
        v = self.flush(mu * v + g, t)
        return theta - lr * (g + mu * v if nesterov else v), v

    def rmsprop(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, rho: float, eps: float
    ) -> tuple[Array, Array]:
        """v = rho v + (1 - rho) g^2;  theta -= lr g / (sqrt(v) + eps). Returns theta, v."""
        v = self.flush(rho * v + (1.0 - rho) * (g * g), t)
        return theta - lr * g / (self.xp.sqrt(v) + eps), v

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
        """Adam (Kingma and Ba, 2015). Returns theta, m, v.

        m = beta1 m + g;  v = beta2 v + g^2
        theta -= lr (m / M) / (sqrt(v / V) + eps),  M = 1 + beta1 + ... + beta1^(t-1), V likewise

        m and v are sums in which older gradients weigh less, M and V the sums of these weights:
        m/M and v/V are the paper's bias-corrected moments, with two products fewer.
        """
        m = self.flush(beta1 * m + g, t)
        v = self.flush(beta2 * v + g * g, t)
        M = total_weight(self.xp, beta1, t, theta.dtype)
        V = total_weight(self.xp, beta2, t, theta.dtype)
        return theta - (lr / M) * m / (self.xp.sqrt(v) / self.xp.sqrt(V) + eps), m, v

    def flush(self, slot: Array, t: Array) -> Array:
        """``slot`` with tiny values set to 0, every ``FLUSH_EVERY`` steps.

        A slot whose gradient stays 0 decays into denormal floats, which slow a CPU down many
        times over; values so small do not change an update.
        """
        due = t % FLUSH_EVERY == 0
        return self.xp.where(due & (self.xp.abs(slot) < TINY), self.xp.zeros_like(slot), slot)


def total_weight(xp: Namespace, beta: float, t: Array, dtype: object) -> Array:
    """1 + beta + ... + beta^(t-1) = (1 - beta^t) / (1 - beta).

    1 - beta^t is computed as -expm1(t ln beta), which keeps its digits where beta^t is near 1.
    """
    log_beta = math.log(beta) if beta > 0 else -math.inf
    return -xp.expm1(xp.astype(t, dtype) * log_beta) / (1.0 - beta)
