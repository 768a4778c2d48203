"""PyTorch, on the CPU or a CUDA GPU, through array-api-compat; autograd is not used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import array_api_compat.torch as xp
import torch

from ...errors import BackendError
from ...ops import Ops
from ...types import Array, NumpyArray
from ..backend import PRECISION, Backend
from ..scoped import Scope, ScopedOps
from .ops import TorchOps

__all__ = ["TorchBackend", "load", "of"]

PRECISIONS = {"fp32": "highest", "tf32": "high", "bf16": "medium"}
"""PyTorch's names. "medium" lets it round to bf16; where it does not, it rounds to tf32."""


def multiplying(precision: str) -> Scope:
    """The scope in which PyTorch multiplies float32 with ``precision``: else it is as it was."""

    @contextlib.contextmanager
    def scope(_dtype: Any) -> Iterator[None]:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(PRECISIONS[precision])
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    return scope


class ScopedTorchOps(ScopedOps, TorchOps):
    """PyTorch's own, whose matrix products are computed within ``scope``."""


class TorchBackend(Backend):
    """Tensors without gradients on one of PyTorch's devices."""

    @property
    def precisions(self) -> Sequence[str]:
        return PRECISION if self.device.type == "cuda" else PRECISION[:1]

    def ops(self) -> Ops:
        return ScopedTorchOps(self.xp, self.device, multiplying(self.precision))

    def reference_ops(self) -> Ops:
        return ScopedOps(self.xp, self.device, multiplying(self.precision))

    def from_host(self, host: NumpyArray) -> Array:
        return torch.tensor(host, device=self.device)

    def to_numpy(self, array: Array) -> NumpyArray:
        host: NumpyArray = array.detach().cpu().numpy().copy()  # sync: the one way back
        return host


def load(device: str | None) -> Backend:
    """PyTorch on the CPU, or on the device named cuda, cuda:1 and so on."""
    try:
        native = torch.device(device or "cpu")
        torch.empty(1, device=native)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        reason = str(error).partition("\n")[0]
        raise BackendError(
            f"PyTorch cannot use device {device!r} ({reason}): choose from {here}"
        ) from error
    return on(native)


def of(array: Array) -> Backend:
    """The backend of a tensor, on the tensor's device."""
    return on(array.device)


def on(device: torch.device) -> Backend:
    return TorchBackend(
        "torch", xp, device=device, device_name=str(device), version=torch.__version__
    )
