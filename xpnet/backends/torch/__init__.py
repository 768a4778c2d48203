"""PyTorch, on the CPU or a CUDA GPU, through array-api-compat; autograd is not used."""

from __future__ import annotations

from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch

from ...errors import BackendError
from ...ops import Ops
from ...types import Array
from ..backend import Backend
from .ops import TorchOps

__all__ = ["TorchBackend", "load", "of"]


class TorchBackend(Backend):
    """Tensors without gradients on one of PyTorch's devices."""

    def ops(self) -> Ops:
        return TorchOps(self.xp, self.device)

    def from_host(self, host: np.ndarray[Any, Any]) -> Array:
        return torch.tensor(host, device=self.device)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        host: np.ndarray[Any, Any] = array.detach().cpu().numpy().copy()  # sync: the one way back
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
