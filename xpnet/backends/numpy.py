"""NumPy: the default. Overrides that write in place and reuse their buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from ..activations import Activation
from ..errors import check_choice
from ..ops import FLUSH_EVERY, TINY, Ops
from ..types import Array
from .backend import Backend, Data, State, StepFunction

__all__ = ["NumpyOps", "Workspace", "load"]

CHUNK = 16384
"""Elements an optimizer works on at a time: few enough to stay in the cache."""


class Workspace:
    """The buffers of one compiled step: its k-th request gets the same memory every time."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[int, tuple[int, ...], Any], Any] = {}
        self.requests = 0

    def restart(self) -> None:
        """A new step begins: hand the buffers out again from the first."""
        self.requests = 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        self.requests += 1
        key = (self.requests, shape, dtype)
        if key not in self.buffers:
            self.buffers[key] = np.empty(shape, dtype)
        return self.buffers[key]


class NumpyOps(Ops):
    """In-place NumPy; with a workspace, results live until the next step, else for good."""

    def __init__(self, workspace: Workspace | None = None) -> None:
        super().__init__(xp)
        self.empty = workspace.empty if workspace else np.empty

    def take(self, A: Array, index: Array) -> Array:
        out = self.empty((len(index), *A.shape[1:]), A.dtype)
        return np.take(A, index, axis=0, out=out, mode="clip")  # "raise" would buffer the output

    def gather(self, X: Array, index: Array, scale: float, dtype: Any) -> Array:
        rows = self.take(X, index)
        x = self.empty(rows.shape, dtype)
        np.copyto(x, rows)
        return x if scale == 1.0 else np.multiply(x, scale, out=x)

    def affine(
        self, x: Array, W: Array, b: Array, f: Activation
    ) -> tuple[Array, tuple[Array, Array]]:
        if f.name not in ("identity", "relu"):
            return super().affine(x, W, b, f)
        y = np.matmul(x, W, out=self.empty((len(x), W.shape[1]), W.dtype))
        y += b
        if f.name == "relu":
            np.maximum(y, 0, out=y)
        return y, (x, y)

    def affine_grad(
        self, dy: Array, saved: tuple[Array, Array], W: Array, f: Activation, need_dx: bool
    ) -> tuple[Array | None, Array, Array]:
        x, y = saved
        dz = dy
        if f.name == "relu":
            dz = np.multiply(dy, y > 0, out=self.empty(dy.shape, dy.dtype))
        elif f.name != "identity":
            dz = dy * f.derivative(self.xp, y)
        dW = np.matmul(x.T, dz, out=self.empty(W.shape, W.dtype))
        db = np.ones(len(dz), dz.dtype) @ dz
        dx = np.matmul(dz, W.T, out=self.empty(x.shape, x.dtype)) if need_dx else None
        return dx, dW, db

    def pack(self, blocks: Sequence[Array], offsets: Sequence[int], n: int) -> Array:
        g = self.empty((n,), blocks[0].dtype)
        end = 0
        for block, offset in zip(blocks, offsets, strict=True):
            g[end:offset] = 0
            end = offset + block.size
            g[offset:end] = block.ravel()
        g[end:] = 0
        return g

    def square_sum(self, g: Array) -> Array:
        return np.dot(g, g)

    def scale_by(self, g: Array, factor: Array) -> Array:
        return np.multiply(g, factor, out=g)

    def clip_value(self, g: Array, limit: float) -> Array:
        return np.clip(g, -limit, limit, out=g)

    def add_weights(self, v: Array, a: Array | float, theta: Array, n_weights: int) -> Array:
        v[:n_weights] += a * theta[:n_weights]
        return v

    def sgd(self, theta: Array, g: Array, lr: Array) -> Array:
        for part, T, G in chunks(theta, g):
            T -= np.multiply(G, lr, out=part)
        return theta

    def momentum(
        self, theta: Array, g: Array, v: Array, t: Array, lr: Array, mu: float, nesterov: bool
    ) -> tuple[Array, Array]:
        for part, T, G, V in chunks(theta, g, v):
            V *= mu
            V += G
            flush(V, t)
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
        for part, T, G, V in chunks(theta, g, v):
            decay_to_square(V, G, rho, part)
            flush(V, t)
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
        # lr m/c1 / (sqrt(v/c2) + eps) with the constants moved out of the vectors
        c1 = 1.0 - beta1 ** int(t[0])
        root_c2 = (1.0 - beta2 ** int(t[0])) ** 0.5
        rate, floor = float(lr[0]) * root_c2 / c1, eps * root_c2
        for part, T, G, M, V in chunks(theta, g, m, v):
            M *= beta1
            M += np.multiply(G, 1.0 - beta1, out=part)
            flush(M, t)
            decay_to_square(V, G, beta2, part)
            flush(V, t)
            np.sqrt(V, out=part)
            part += floor
            np.divide(M, part, out=part)
            part *= rate
            T -= part
        return theta, m, v


def chunks(*vectors: Array) -> Any:
    """Slices of the vectors in step, each after a scratch array of the same length and dtype."""
    n = len(vectors[0])
    scratch = np.empty(min(CHUNK, n), vectors[0].dtype)
    for start in range(0, n, CHUNK):
        parts = [v[start : start + CHUNK] for v in vectors]
        yield scratch[: len(parts[0])], *parts


def decay_to_square(v: Array, g: Array, rho: float, part: Array) -> None:
    """v = rho v + (1 - rho) g^2 in place, ``part`` being scratch."""
    np.multiply(g, g, out=part)
    part *= 1.0 - rho
    v *= rho
    v += part


def flush(slot: Array, t: Array) -> None:
    """``Ops.flush`` in place."""
    if t[0] % FLUSH_EVERY == 0:
        slot[np.abs(slot) < TINY] = 0


class NumpyBackend(Backend):
    """Steps run with a workspace, and without warnings: the step records what is not finite."""

    def ops(self) -> Ops:
        return NumpyOps()

    def compile(
        self, build: Callable[[Ops], StepFunction[State, Data]], *, reference: bool = False
    ) -> StepFunction[State, Data]:
        workspace = Workspace()
        step = build(self.reference_ops() if reference else NumpyOps(workspace))

        def compiled(state: State, data: Data) -> State:
            workspace.restart()
            return step(state, data)

        return compiled

    def loop(self, step: StepFunction[State, Data], state: State, data: Data, n: int) -> State:
        with np.errstate(all="ignore"):
            return super().loop(step, state, data, n)


def load(device: str | None) -> Backend:
    check_choice("device of NumPy", device or "cpu", ["cpu"])
    return NumpyBackend("numpy", xp, version=np.__version__)
