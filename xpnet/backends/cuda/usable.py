"""Whether CuPy can be used here: its build, the driver, the device, and a kernel that runs."""

from __future__ import annotations

import importlib.metadata

import cupy

from ...errors import BackendError, UsageError
from .failures import first_line

__all__ = ["check_build", "check_device", "check_driver", "check_kernel"]

BUILDS = ("cupy", "cupy-cuda12x", "cupy-cuda13x")
OLDEST = 14
"""The first number of the oldest CuPy that will do."""

INSTALL = "pip install 'xpnet[cuda13]', or cuda12"


def check_build() -> None:
    """Raise BackendError where CuPy is too old, or two builds of it overwrite each other."""
    found = [name for name in BUILDS if is_installed(name)]
    if len(found) > 1:
        raise BackendError(
            f"{' and '.join(found)} are both installed and overwrite each other: "
            f"pip uninstall {' '.join(found)}, then install the one for your CUDA"
        )
    if int(cupy.__version__.partition(".")[0]) < OLDEST:
        raise BackendError(f"CuPy {cupy.__version__} is too old: {INSTALL}")


def is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def check_driver() -> None:
    """Raise BackendError unless there is a driver, new enough for the CUDA that CuPy was built for.

    A driver knows all of CUDA 12, or all of CUDA 13: the first number decides.
    """
    driver, ours = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    if driver == 0:
        raise BackendError(
            "CuPy is installed, but there is no NVIDIA driver: install it, "
            "or start the container with --gpus all"
        )
    if driver // 1000 < ours // 1000:
        raise BackendError(
            f"the NVIDIA driver is too old: it knows CUDA {cuda_version(driver)}, and this CuPy is "
            f"of CUDA {cuda_version(ours)}: update the driver (CUDA 13 needs 580 or newer, CUDA 12 "
            "525), or take a CuPy of CUDA 12: pip install 'xpnet[cuda12]'"
        )


def cuda_version(number: int) -> str:
    """12080 is 12.8."""
    return f"{number // 1000}.{number % 1000 // 10}"


def check_device(number: int) -> None:
    """Raise unless the driver shows a GPU with this number."""
    if not cupy.cuda.is_available():
        raise BackendError(
            "CuPy is installed and there is a driver, but it shows no device: "
            "look at nvidia-smi and at CUDA_VISIBLE_DEVICES"
        )
    if number >= cupy.cuda.runtime.getDeviceCount():
        name = f"cuda:{number}"
        raise UsageError(f"there is no GPU {name!r}: nvidia-smi lists those there are")


def check_kernel(number: int) -> None:
    """Raise BackendError unless a kernel can be compiled and run on the device."""
    try:
        with cupy.cuda.Device(number):
            doubled = cupy.asnumpy(cupy.arange(4, dtype=cupy.float32) * 2)
    except Exception as error:  # the driver, NVRTC and the linker each raise their own kind
        if type(error).__name__ == "DynamicLibNotFoundError":
            raise BackendError(
                f"CuPy sees the GPU, but NVRTC, which compiles kernels, is missing: {INSTALL}"
            ) from error
        raise BackendError(
            f"CuPy sees the GPU, but a kernel failed ({type(error).__name__}: "
            f"{first_line(error)}): look at nvidia-smi; if that is well, parts of CUDA may be "
            f"missing: {INSTALL}"
        ) from error
    if doubled.tolist() != [0.0, 2.0, 4.0, 6.0]:
        raise BackendError(f"CuPy ran a kernel, but its result is wrong: {doubled.tolist()}")
