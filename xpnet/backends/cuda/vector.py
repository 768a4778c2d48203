"""The primitives on the flat vector of all parameters as CUDA kernels."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from ...types import Array, Namespace
from ..workspace import Workspace, WorkspaceOps
from .launcher import Launcher

__all__ = [
    "ACTIVATIONS",
    "FEWEST_ROWS",
    "MOST_BLOCKS",
    "MOST_SUMS",
    "THREADS",
    "VectorOps",
    "blocks_for",
    "countable",
    "number_and_pointer",
    "plain",
]

THREADS = 256
MOST_BLOCKS = 1024
"""Some blocks for each processor of a large GPU; element-wise kernels need no more."""

MOST_SUMS = 256
"""Parts of a sum over samples, each by blocks of its own, that are then added up in order."""

FEWEST_ROWS = 256
"""Samples of such a part: fewer would not be worth the launch that adds the parts up."""

TILE = 32, 16
"""Threads of a block that sums columns: 32 columns, 16 rows at a time."""

ACTIVATIONS = {"identity": 0, "relu": 1, "sigmoid": 2, "tanh": 3}
"""The activations of the kernels, by number."""

REALS = ("float32", "float64")

LARGEST = 2**30
"""Elements of an array that the kernels work on: they count in 32 bits, in strides of a grid."""


class VectorOps(WorkspaceOps):
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

    def column_sums(
        self, dy: Array, y: Array, dz: Array | None, sums: Array, rows: int, f: str = "identity"
    ) -> None:
        """dz (m, n) = dy * f'(z), and the sum of each ``rows`` of its rows in a row of ``sums``."""
        m, n = dy.shape
        self.launcher.launch(
            dy.dtype,
            "activation_grad",
            (-(-n // TILE[0]), -(-m // rows)),
            TILE,
            (dy, y, dz, sums, np.int32(m), np.int32(n), np.int32(rows), np.int32(ACTIVATIONS[f])),
            shared=TILE[0] * TILE[1] * dy.dtype.itemsize,
        )

    # ---- the flat vector -----------------------------------------------------------------------

    def pack(self, blocks: Sequence[Array], offsets: Sequence[int], n: int) -> Array:
        self.launcher.join()
        return super().pack(blocks, offsets, n)

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
        self.column_sums(sums, sums, None, total, n_blocks)
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

    def add_weights(
        self, v: Array, a: float, theta: Array, n_weights: int, factor: Array | None = None
    ) -> Array:
        vectors = (v, theta) if factor is None else (v, theta, factor)
        if not plain(v.dtype, *vectors):
            return super().add_weights(v, a, theta, n_weights, factor)
        arguments = (v, factor, v.dtype.type(a), theta, np.int32(n_weights))
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


def countable(n: int) -> bool:
    """Whether the kernels can count ``n`` elements."""
    return n <= LARGEST


def number_and_pointer(value: Array | float) -> tuple[float, Array | None]:
    """A kernel's two parameters for a number or an array: it takes the number where no array is."""
    return (float(value), None) if isinstance(value, Real) else (1.0, value)


def plain(real: Any, *arrays: Array) -> bool:
    """Whether the kernels know the dtype ``real``, and all arrays have it and can be counted."""
    known = np.dtype(real).name in REALS
    return known and all(
        a.dtype == real and a.flags.c_contiguous and countable(a.size) for a in arrays
    )
