"""JAX and optax on a GPU: the same compiled ``lax.scan``, with its device and precision named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax

from ...errors import BackendError
from ...types import Array
from . import Work
from . import jax as on_cpu

__all__ = ["Peer"]

PRECISIONS = {"fp32": "highest", "tf32": "tensorfloat32", "bf16": "BF16_BF16_F32"}
"""JAX's names. Left alone, it rounds to tf32 where the GPU can, and so it does for "bfloat16"."""


class Peer(on_cpu.Peer):
    """The one on the CPU, told where to compute and how exactly."""

    def __init__(self, work: Work, variant: str, device: str, precision: str) -> None:
        try:
            self.device = jax.devices(device)[0]
        except RuntimeError as error:
            raise BackendError(
                f"JAX has no device {device!r} here: pip install 'jax[cuda13]', or cuda12"
            ) from error
        self.precision = PRECISIONS[precision]
        with self.settings():
            super().__init__(work)

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        with jax.default_device(self.device), jax.default_matmul_precision(self.precision):
            yield

    def epoch(self, order: Array) -> None:
        with self.settings():
            super().epoch(order)
