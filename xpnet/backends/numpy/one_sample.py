"""Gradient descent on one sample at a time: the gradient x^T dz is never multiplied out.

Most pixels of MNIST are 0, and where x_i = 0 the gradient of row i of W is 0, too: forward reads,
and the update writes, only the other rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...activations import Activation
from ...optim import SGD
from ...types import Array
from .ops import NumpyOps

__all__ = ["OneSampleOps", "suits"]


class RankOne(NamedTuple):
    """dW = x^T dz of one sample: row ``rows[k]`` is x[k] dz, the others are 0."""

    rows: Array
    x: Array
    dz: Array


def suits(build: Any) -> bool:
    """Whether the step that ``build`` describes needs the gradient for nothing but W -= lr dW."""
    hp = getattr(build, "hp", None)
    if hp is None or build.batch_size != 1:
        return False
    clips = hp.clip_norm is not None or hp.clip_value is not None
    return type(hp.optimizer) is SGD and not hp.optimizer.l2 and not clips


class OneSampleOps(NumpyOps):
    """The gradient stays in its parts until ``sgd`` applies them."""

    def affine(self, x: Array, W: Array, b: Array, f: Activation) -> tuple[Array, Any]:
        rows = x[0].nonzero()[0]
        if 2 * len(rows) > len(W):
            y, saved = super().affine(x, W, b, f)
            return y, (*saved, None)
        y, (_, z_or_y) = super().affine(x[:, rows], W.take(rows, axis=0), b, f)
        return y, (x, z_or_y, rows)

    def affine_grad(
        self, dy: Array, saved: Any, W: Array, f: Activation, need_dx: bool
    ) -> tuple[Array | None, Any, Array]:
        x, z_or_y, rows = saved
        dz = self.activation_grad(dy, z_or_y, f)
        dx = np.matmul(dz, W.T) if need_dx else None
        if rows is None:
            return dx, x.T * dz, dz[0]
        return dx, RankOne(rows, x[0, rows], dz[0]), dz[0]

    def pack(self, blocks: Sequence[Any], offsets: Sequence[int], n: int) -> Any:
        return blocks

    def sgd(self, theta: Array, g: Sequence[Any], lr: Array) -> Array:
        assert self.workspace is not None
        for block, dblock in zip(self.workspace.views, g, strict=True):
            if isinstance(dblock, RankOne):
                rows, x, dz = dblock
                part = block.take(rows, axis=0)
                part -= np.multiply.outer(lr * x, dz)
                block[rows] = part
            else:
                block -= lr * dblock
        return theta
