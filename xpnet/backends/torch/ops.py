"""The primitives in PyTorch: fused where PyTorch has a fused operation, in place where allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat.torch as xp
import torch

from ...activations import Activation
from ...ops import FLUSH_EVERY, TINY, Ops
from ...types import Array, LossResult
from ..adam import adam_rate

__all__ = ["TorchOps"]

GRADIENTS = {
    "identity": lambda dy, y: dy,
    "relu": lambda dy, y: torch.ops.aten.threshold_backward(dy, y, 0),
    "sigmoid": torch.ops.aten.sigmoid_backward,
    "tanh": torch.ops.aten.tanh_backward,
}
"""dz = dy * f'(z) from y, in one operation."""

IN_PLACE = {
    "identity": lambda z: z,
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
}


class TorchOps(Ops):
    """Operations on the slots and on theta overwrite them; none waits for a GPU."""

    def take(self, A: Array, index: Array) -> Array:
        return torch.index_select(A, 0, index)

    def gather(
        self, X: Array, index: Array, shift: Array | None, scale: Array | float, dtype: Any
    ) -> Array:
        x = self.take(X, index).to(dtype)  # new memory either way
        return (x if shift is None else x.sub_(shift)).mul_(scale)

    def affine(
        self, x: Array, W: Array, b: Array, f: Activation
    ) -> tuple[Array, tuple[Array, Array]]:
        if f.name not in IN_PLACE:
            return super().affine(x, W, b, f)
        y = IN_PLACE[f.name](torch.addmm(b, x, W))
        return y, (x, y)

    def affine_grad(
        self, dy: Array, saved: tuple[Array, Array], W: Array, f: Activation, need_dx: bool
    ) -> tuple[Array | None, Array, Array]:
        if f.name not in GRADIENTS:
            return super().affine_grad(dy, saved, W, f, need_dx)
        x, y = saved
        dz = GRADIENTS[f.name](dy, y)
        return dz @ W.T if need_dx else None, x.T @ dz, dz.sum(0)

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
        column = target.to(torch.int64).unsqueeze(1)
        log_p = torch.log_softmax(logits, 1)
        loss = -log_p.gather(1, column).sum()
        hits = (logits.argmax(1) == target).sum(dtype=torch.int32)
        dlogits = log_p.exp_()
        dlogits.scatter_add_(1, column, torch.full_like(column, -1, dtype=dlogits.dtype))
        return LossResult(loss, hits, dlogits.mul_(scale))

    def pack(self, blocks: Sequence[Array], offsets: Sequence[int], n: int) -> Array:
        g = torch.zeros(n, dtype=blocks[0].dtype, device=blocks[0].device)
        for block, offset in zip(blocks, offsets, strict=True):
            g[offset : offset + block.numel()].view(block.shape).copy_(block)
        return g

    def add(self, total: Array | None, g: Array) -> Array:
        return g.clone() if total is None else total.add_(g)

    def square_sum(self, g: Array) -> Array:
        return torch.dot(g, g)

    def scale_by(self, g: Array, factor: Array) -> Array:
        return g.mul_(factor)

    def clip_value(self, g: Array, limit: float) -> Array:
        return g.clamp_(-limit, limit)

    def add_weights(
        self, v: Array, a: float, theta: Array, n_weights: int, factor: Array | None = None
    ) -> Array:
        v[:n_weights] += (a if factor is None else a * factor) * theta[:n_weights]
        return v

    def sgd(self, theta: Array, g: Array, lr: Array) -> Array:
        return theta.sub_(lr * g)

    def momentum(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, mu: float, nesterov: bool
    ) -> tuple[Array, Array]:
        v = self.flush(v.mul_(mu).add_(g), t)
        return theta.sub_(lr * (torch.add(g, v, alpha=mu) if nesterov else v)), v

    def rmsprop(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, rho: float, eps: float
    ) -> tuple[Array, Array]:
        v = self.flush(v.mul_(rho).addcmul_(g, g, value=1.0 - rho), t)
        return theta.sub_(torch.div(g, v.sqrt().add_(eps)).mul_(lr)), v

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
        m = self.flush(m.mul_(beta1).add_(g), t)
        v = self.flush(v.mul_(beta2).addcmul_(g, g), t)
        rate, floor = adam_rate(xp, t, lr, beta1, beta2, eps)
        return theta.sub_(torch.div(m, v.sqrt().add_(floor)).mul_(rate)), m, v

    def flush(self, slot: Array, t: Array) -> Array:
        if self.sees_values(t):
            return super().flush(slot, t) if int(t) % FLUSH_EVERY == 0 else slot
        tiny = TINY * (t % FLUSH_EVERY == 0).to(slot.dtype)
        return slot.masked_fill_(slot.abs() < tiny, 0)

    def sees_values(self, array: Array) -> bool:
        """Whether the host can look at ``array`` without waiting for a device."""
        return bool(array.device.type == "cpu")
