"""JAX: a segment of steps is compiled into one loop that runs without the host."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as xp
import numpy as np
from jax import lax

from .. import random
from ..errors import BackendError, UsageError
from ..ops import Ops
from ..types import Array, NumpyArray
from .adam import adam_rate
from .backend import PRECISION, Backend, Data, ManySteps, State, StepFunction
from .scoped import Scope, ScopedOps

__all__ = ["JaxBackend", "load", "of"]

PRECISIONS = {"fp32": "highest", "tf32": "tensorfloat32", "bf16": "BF16_BF16_F32"}
"""JAX's names. Left alone, it rounds to tf32 where the GPU can, and so it does for "bfloat16"."""


def multiplying(precision: str) -> Scope:
    """The scope in which JAX multiplies float32 with ``precision``, and other dtypes exactly."""

    def scope(dtype: Any) -> AbstractContextManager[Any]:
        name = PRECISIONS[precision if dtype == xp.float32 else "fp32"]
        within: AbstractContextManager[Any] = jax.default_matmul_precision(name)
        return within

    return scope


@jax.tree_util.register_pytree_node_class
class Blocks:
    """A flat vector (n,) kept as its blocks while a segment runs; the gaps are 0.

    Slices of one vector and their concatenation would be copied in every step: with a batch of
    one that takes longer than all the rest.
    """

    def __init__(self, blocks: Sequence[Array], offsets: Sequence[int], n: int) -> None:
        self.blocks = tuple(blocks)
        self.offsets = tuple(offsets)
        self.n = n

    @property
    def dtype(self) -> Any:
        return self.blocks[0].dtype

    def like(self, blocks: Sequence[Array]) -> Blocks:
        """Other blocks in the same places."""
        return Blocks(blocks, self.offsets, self.n)

    def tree_flatten(self) -> tuple[tuple[Array, ...], Any]:
        return self.blocks, (self.offsets, self.n)

    @classmethod
    def tree_unflatten(cls, layout: Any, blocks: Any) -> Blocks:
        return cls(blocks, *layout)


def each_block(primitive: Callable[..., Any]) -> Callable[..., Any]:
    """An element-wise primitive on vectors, done block by block on ``Blocks``."""

    def on_blocks(ops: Ops, first: Blocks, *others: Any) -> Any:
        results = [
            primitive(ops, block, *(o.blocks[i] if isinstance(o, Blocks) else o for o in others))
            for i, block in enumerate(first.blocks)
        ]
        if isinstance(results[0], tuple):
            return tuple(first.like(blocks) for blocks in zip(*results, strict=True))
        return first.like(results)

    return on_blocks


def one_division_adam(
    ops: Ops,
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
    """``Ops.adam`` with the constants moved out of the vectors: one division less."""
    m = ops.flush(beta1 * m + g, t)
    v = ops.flush(beta2 * v + g * g, t)
    rate, floor = adam_rate(xp, t, lr, beta1, beta2, eps)
    return theta - rate * m / (xp.sqrt(v) + floor), m, v


class BlockOps(ScopedOps):
    """The reference, for a theta, slots and a gradient that are ``Blocks``."""

    scale_by = each_block(Ops.scale_by)
    clip_value = each_block(Ops.clip_value)
    sgd = each_block(Ops.sgd)
    momentum = each_block(Ops.momentum)
    rmsprop = each_block(Ops.rmsprop)
    adam = each_block(one_division_adam)

    def unpack(self, theta: Any, offsets: Any, shapes: Any) -> list[Array]:
        return list(theta.blocks)

    def pack(self, blocks: Sequence[Array], offsets: Sequence[int], n: int) -> Any:
        return Blocks(blocks, offsets, n)

    def square_sum(self, g: Any) -> Array:
        return sum(Ops.square_sum(self, block) for block in g.blocks)

    def add_weights(
        self, v: Any, a: float, theta: Any, n_weights: int, factor: Array | None = None
    ) -> Any:
        rate = a if factor is None else a * factor
        places = zip(v.offsets, v.blocks, theta.blocks, strict=True)
        return v.like([V + rate * T if offset < n_weights else V for offset, V, T in places])


class CompiledStep(ManySteps):
    """n steps in one compiled loop; the state is donated.

    ``layout``, where it is known, says how theta and the slots are cut into ``Blocks``.
    """

    def __init__(self, step: Callable[[Any, Any], Any], ops: Ops, layout: Any = None) -> None:
        def cut(vector: Array) -> Blocks:
            offsets, _ = layout
            return Blocks(Ops.unpack(ops, vector, *layout), offsets, vector.shape[0])

        def join(vector: Blocks) -> Array:
            return Ops.pack(ops, vector.blocks, vector.offsets, vector.n)

        def vectors(state: Any, f: Callable[[Any], Any]) -> Any:
            if layout is None:
                return state
            return state._replace(theta=f(state.theta), slots=tuple(map(f, state.slots)))

        def many(state: Any, data: Any, n: Array) -> Any:
            state = vectors(state, cut)
            state = lax.fori_loop(0, n, lambda _, state: step(state, data), state)
            return vectors(state, join)

        self.compiled = jax.jit(many, donate_argnums=0)

    def many(self, state: Any, data: Any, n: int) -> Any:
        return self.compiled(state, data, n)


@functools.partial(jax.jit, static_argnums=(2, 3))
def shuffle(key: tuple[Array, Array], round_: Array, n: int, device: Any) -> Array:
    """``random.shuffle`` as one compiled function instead of a hundred small ones."""
    return random.shuffle(xp, key, round_, n, device)


@functools.lru_cache(maxsize=32)
def compiled(build: Any, device: Any, reference: bool, precision: str = "fp32") -> CompiledStep:
    """The compiled step of ``build``, the same for an equal one."""
    layout = None if reference else build.network.layout
    ops = (ScopedOps if reference else BlockOps)(xp, device, multiplying(precision))
    return CompiledStep(build(ops), ops, layout)


class JaxBackend(Backend):
    """Arrays of ``jax.numpy`` on one of JAX's devices."""

    @property
    def precisions(self) -> Sequence[str]:
        return PRECISION[:1] if self.device.platform == "cpu" else PRECISION

    def reference_ops(self) -> Ops:
        return ScopedOps(self.xp, self.device, multiplying(self.precision))

    def check_dtype(self, dtype: str) -> None:
        if dtype == "float64" and not jax.config.jax_enable_x64:
            raise UsageError(
                "JAX computes in float32 unless it is told otherwise before it is imported: "
                "set the environment variable JAX_ENABLE_X64=1"
            )

    def from_host(self, host: NumpyArray) -> Array:
        self.check_dtype(str(host.dtype))
        return xp.array(host, device=self.device, copy=True)

    def permutation(self, seed: int, epoch: int, n: int) -> Array:
        if self.device.platform == "cpu":  # where XLA sorts several times slower than NumPy
            return self.from_host(random.permutation(np, seed, epoch, n))
        key = random.key(xp, seed, random.ORDER, self.device)
        return shuffle(key, random.word(xp, epoch, self.device), n, self.device)

    def compile(
        self, build: Callable[[Ops], StepFunction[State, Data]], *, reference: bool = False
    ) -> StepFunction[State, Data]:
        if isinstance(build, Hashable) and hasattr(build, "network"):
            return compiled(build, self.device, reference, self.precision)
        ops = self.reference_ops()
        return CompiledStep(build(ops), ops)


def load(device: str | None) -> Backend:
    """JAX on its default device, or on the one named cpu, gpu, gpu:1 and so on."""
    platform, _, index = (device or jax.default_backend()).partition(":")
    try:
        native = jax.devices(platform)[int(index or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        here = ", ".join(sorted({d.platform for d in jax.devices()} | {"cpu"}))
        raise BackendError(f"JAX has no device {device!r}: choose from {here}") from error
    return on(native)


def of(array: Array) -> Backend:
    """The backend of a JAX array, on the array's device."""
    return on(array.device)


def on(device: Any) -> Backend:
    name = f"{device.platform}:{device.id}" if device.platform != "cpu" else "cpu"
    return JaxBackend("jax", xp, device=device, device_name=name, version=jax.__version__)
