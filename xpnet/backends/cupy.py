"""CuPy on a CUDA GPU; usable only where a kernel has really run."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.cupy as xp
import cupy
import numpy as np

from ..errors import UsageError, check_choice
from ..ops import Ops
from ..types import Array, NumpyArray
from .backend import GRAPH, PRECISION, Backend, Data, State, StepFunction
from .cuda import CudaOps
from .cuda.captured import CapturedStep
from .cuda.cupy import CupyLauncher
from .cuda.failures import explaining
from .cuda.link import CupyLink
from .cuda.order import permutation
from .cuda.usable import check_build, check_device, check_driver, check_kernel
from .replayed import is_ours
from .workspace import Workspace, on_workspace

__all__ = ["CupyBackend", "load", "of"]


class CupyBackend(Backend):
    """Arrays of CuPy on one GPU, with kernels of xpnet's own around the matrix products."""

    graph = "auto"

    def configured(self, *, precision: str = "fp32", graph: str = "auto") -> CupyBackend:
        other = on(self.device)
        other.precision = check_choice("precision", precision, PRECISION)
        other.graph = check_choice("way with graphs", graph, GRAPH)
        return other

    def explaining(self) -> AbstractContextManager[Any]:
        return explaining()

    @property
    def launcher(self) -> CupyLauncher:
        return launcher_on(self.device.id, self.precision, threading.get_ident())

    def ops(self) -> Ops:
        return CudaOps(self.xp, self.device, self.launcher)

    def compile(
        self, build: Callable[[Ops], StepFunction[State, Data]], *, reference: bool = False
    ) -> StepFunction[State, Data]:
        if reference:
            if self.precision != "fp32":
                raise UsageError(f"the reference has no precision {self.precision}: choose fp32")
            return build(self.reference_ops())
        workspace = Workspace(self.launcher.empty)
        ops = CudaOps(self.xp, self.device, self.launcher, workspace)
        step = on_workspace(build, ops, workspace)
        ours = is_ours(build)
        if self.graph == "auto" and not ours:
            warnings.warn(
                "not all parts of this training are xpnet's own: its step is not captured as a "
                "CUDA graph, which would not run them every time; --graph require captures it",
                stacklevel=2,
            )
            return step
        if self.graph == "never":
            return step
        launcher = self.launcher if ours else None  # others may read a gradient before it is there
        return CapturedStep(step, launcher, required=self.graph == "require")

    def loop(self, step: StepFunction[State, Data], state: State, data: Data, n: int) -> State:
        with explaining(), self.device:
            return super().loop(step, state, data, n)

    def from_host(self, host: NumpyArray) -> Array:
        with explaining(), self.device:
            return cupy.array(host, order="C")  # whatever the host's: kernels read rows

    def free_bytes(self) -> int:
        with self.device:
            pool = cupy.get_default_memory_pool()
            free, _total = cupy.cuda.runtime.memGetInfo()
            free += pool.free_bytes()
            limit = pool.get_limit()  # 0 is none
            return int(min(free, limit - pool.used_bytes()) if limit else free)

    def permutation(self, seed: int, epoch: int, n: int) -> Array:
        with explaining(), self.device:
            return permutation(self.xp, self.launcher, seed, epoch, n)

    def link(self) -> CupyLink:
        return CupyLink(self.device)

    def to_numpy(self, array: Array) -> NumpyArray:
        with explaining():
            host: NumpyArray = np.array(cupy.asnumpy(array))  # sync: the one way back
        return host


def load(device: str | None) -> Backend:
    """CuPy on the GPU named cuda, cuda:1 and so on; the default is the first.

    One that is named becomes CuPy's current one, on which zeros_like and many others make arrays.
    """
    check_build()
    number = device_number(device)
    check_driver()
    check_device(number)
    check_kernel(number)
    gpu = cupy.cuda.Device(number)
    if device is not None:
        gpu.use()
    return on(gpu)


def device_number(device: str | None) -> int:
    """0 for cuda, 1 for cuda:1 and so on; another name raises UsageError."""
    platform, _, number = (device or "cuda").partition(":")
    if platform != "cuda" or not (number or "0").isdecimal():
        raise UsageError(f"unknown device of CuPy {device!r}: write cuda, or cuda:1 for the second")
    return int(number or 0)


def of(array: Array) -> Backend:
    """The backend of a CuPy array, on the array's GPU."""
    return on(array.device)


@functools.cache
def launcher_on(_number: int, precision: str, _thread: int) -> CupyLauncher:
    """One for all that a thread does on a device: cuBLASLt's handle and its memory are had once.

    Two threads cannot share it: a product and its bias are told to cuBLASLt in two calls.
    """
    return CupyLauncher(precision)


def on(device: Any) -> CupyBackend:
    return CupyBackend(
        "cupy", xp, device=device, device_name=f"cuda:{device.id}", version=cupy.__version__
    )
