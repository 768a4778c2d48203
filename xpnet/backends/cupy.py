"""CuPy on a CUDA GPU; usable only where a kernel has really run."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable
from typing import Any

import array_api_compat.cupy as xp
import cupy
import numpy as np

from ..errors import BackendError, UsageError
from ..ops import Ops
from ..types import Array
from .backend import Backend, Data, State, StepFunction
from .cuda import CudaOps
from .cuda.cupy import CapturedStep, CupyLauncher
from .workspace import Workspace, on_workspace

__all__ = ["CupyBackend", "load", "of"]

BUILDS = ("cupy", "cupy-cuda12x", "cupy-cuda13x")


class CupyBackend(Backend):
    """Arrays of CuPy on one GPU, with kernels of xpnet's own around the matrix products."""

    @functools.cached_property
    def launcher(self) -> CupyLauncher:
        """One for all steps: cuBLASLt's handle and its memory are had once."""
        return CupyLauncher()

    def ops(self) -> Ops:
        return CudaOps(self.xp, self.device, self.launcher)

    def compile(
        self, build: Callable[[Ops], StepFunction[State, Data]], *, reference: bool = False
    ) -> StepFunction[State, Data]:
        if reference:
            return build(self.reference_ops())
        workspace = Workspace(self.launcher.empty)
        ops = CudaOps(self.xp, self.device, self.launcher, workspace)
        return CapturedStep(on_workspace(build, ops, workspace))

    def loop(self, step: StepFunction[State, Data], state: State, data: Data, n: int) -> State:
        with self.device:
            return super().loop(step, state, data, n)

    def from_host(self, host: np.ndarray[Any, Any]) -> Array:
        with self.device:
            return cupy.array(host)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        host: np.ndarray[Any, Any] = np.array(cupy.asnumpy(array))  # sync: the one way back
        return host


def load(device: str | None) -> Backend:
    """CuPy on the GPU named cuda, cuda:1 and so on; the default is the first."""
    check_one_build()
    number = device_number(device)
    if not cupy.cuda.is_available():
        if cupy.cuda.runtime.driverGetVersion() == 0:
            raise BackendError(
                "CuPy is installed, but there is no NVIDIA driver: install it, "
                "or start the container with --gpus all"
            )
        raise BackendError(
            "CuPy is installed and there is a driver, but it shows no device: "
            "look at nvidia-smi and at CUDA_VISIBLE_DEVICES"
        )
    if number >= cupy.cuda.runtime.getDeviceCount():
        raise UsageError(f"there is no GPU {device!r}: nvidia-smi lists those there are")
    check_kernel(number)
    return on(cupy.cuda.Device(number))


def device_number(device: str | None) -> int:
    """0 for cuda, 1 for cuda:1 and so on; another name raises UsageError."""
    platform, _, number = (device or "cuda").partition(":")
    if platform != "cuda" or not (number or "0").isdecimal():
        raise UsageError(f"unknown device of CuPy {device!r}: write cuda, or cuda:1 for the second")
    return int(number or 0)


def check_kernel(number: int) -> None:
    """Raise BackendError unless a kernel can be compiled and run on the device."""
    try:
        with cupy.cuda.Device(number):
            doubled = cupy.asnumpy(cupy.arange(4, dtype=cupy.float32) * 2)
    except Exception as error:  # the driver, NVRTC and the linker each raise their own kind
        reason = str(error).partition("\n")[0]
        raise BackendError(
            f"CuPy sees the GPU, but a kernel failed ({type(error).__name__}: {reason}): the "
            "driver may be too old for this build (CUDA 13 needs 580 or newer), or parts of CUDA "
            "are missing: pip install 'xpnet[cuda13]', or cuda12"
        ) from error
    if doubled.tolist() != [0.0, 2.0, 4.0, 6.0]:
        raise BackendError(f"CuPy ran a kernel, but its result is wrong: {doubled.tolist()}")


def of(array: Array) -> Backend:
    """The backend of a CuPy array, on the array's GPU."""
    return on(array.device)


def on(device: Any) -> Backend:
    return CupyBackend(
        "cupy", xp, device=device, device_name=f"cuda:{device.id}", version=cupy.__version__
    )


def check_one_build() -> None:
    """Raise BackendError where two builds of CuPy are installed: they overwrite each other."""
    found = [name for name in BUILDS if is_installed(name)]
    if len(found) > 1:
        raise BackendError(
            f"{' and '.join(found)} are both installed and overwrite each other: "
            f"pip uninstall {' '.join(found)}, then install the one for your CUDA"
        )


def is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
