"""JAX: a segment of steps is compiled into one loop that runs without the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as xp
import numpy as np
from jax import lax

from ..errors import BackendError, UsageError
from ..ops import Ops
from ..types import Array
from .backend import Backend, Data, State, StepFunction

__all__ = ["JaxBackend", "load", "of"]


class CompiledStep:
    """A step that can be run once, or n times in one compiled loop; the state is donated."""

    def __init__(self, step: Callable[[Any, Any], Any]) -> None:
        def many(state: Any, data: Any, n: Array) -> Any:
            return lax.fori_loop(0, n, lambda _, state: step(state, data), state)

        self.many = jax.jit(many, donate_argnums=0)

    def __call__(self, state: Any, data: Any) -> Any:
        return self.many(state, data, 1)


class JaxBackend(Backend):
    """Arrays of ``jax.numpy`` on one of JAX's devices."""

    def check_dtype(self, dtype: str) -> None:
        if dtype == "float64" and not jax.config.jax_enable_x64:
            raise UsageError(
                "JAX computes in float32 unless it is told otherwise before it is imported: "
                "set the environment variable JAX_ENABLE_X64=1"
            )

    def from_host(self, host: np.ndarray[Any, Any]) -> Array:
        self.check_dtype(str(host.dtype))
        return xp.array(host, device=self.device, copy=True)

    def compile(
        self, build: Callable[[Ops], StepFunction[State, Data]], *, reference: bool = False
    ) -> StepFunction[State, Data]:
        return CompiledStep(super().compile(build, reference=reference))

    def loop(self, step: StepFunction[State, Data], state: State, data: Data, n: int) -> State:
        if isinstance(step, CompiledStep):
            compiled: State = step.many(state, data, n)
            return compiled
        return super().loop(step, state, data, n)


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
