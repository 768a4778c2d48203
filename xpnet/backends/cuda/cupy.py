"""CuPy as the launcher.

CuPy compiles the kernels on their first use, and keeps them on disk. Its own matrix products refuse
to be captured, so they are cuBLASLt's.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import cupy
import numpy as np

from ...errors import BackendError
from ...types import Array
from .branch import Branch
from .cublaslt import WORKSPACE_BYTES, CublasLt
from .source import source

__all__ = ["CupyLauncher"]

TYPES = {"float32": "float", "float64": "double"}
NULL = np.uint64(0)

EPILOGUE_OF = {"identity": "bias", "relu": "relu_bias"}
"""The activations that cuBLASLt knows, with the bias before them."""


class CupyLauncher:
    """Launches on the current device and stream of CuPy.

    A launcher is one device's: the library's handle and its workspace live there. ``precision``
    is that of products of float32.
    """

    def __init__(self, precision: str = "fp32") -> None:
        self.precision = precision
        self.branch: Branch | None = None
        self.workspaces: dict[bool, Array] = {}

    @functools.cached_property
    def library(self) -> CublasLt:
        return CublasLt(cublaslt(), self.precision)

    def workspace(self, is_aside: bool) -> Array:
        """The memory that cuBLASLt may use, which two products at a time cannot share."""
        if is_aside not in self.workspaces:
            self.workspaces[is_aside] = cupy.empty(WORKSPACE_BYTES, np.uint8)
        return self.workspaces[is_aside]

    @contextmanager
    def branching(self, main: Any) -> Iterator[None]:
        """Within, ``aside`` makes a branch of the graph that is captured on the stream ``main``."""
        self.workspace(is_aside=True)
        self.branch = Branch(main)
        try:
            yield
        finally:
            self.branch = None

    def aside(self, *arrays: Array) -> AbstractContextManager[Any]:
        return self.branch.aside(*arrays) if self.branch else nullcontext()

    def join(self) -> None:
        if self.branch:
            self.branch.join()

    def product(
        self, a: Array, b: Array, out: Array, epilogue: str = "nothing", bias: Array | None = None
    ) -> bool:
        """out = a b on the current stream; False where cuBLASLt has no way to."""
        stream = cupy.cuda.get_current_stream()
        is_aside = self.branch is not None and stream == self.branch.side
        workspace = self.workspace(is_aside)
        return self.library.matmul(a, b, out, workspace, stream.ptr, epilogue, bias)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return cupy.empty(shape, dtype)

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        if not self.product(a, b, out):
            raise BackendError(
                f"cuBLASLt has no algorithm for a product of {a.shape} and {b.shape} in "
                f"{out.dtype} with precision {self.precision}: update the driver"
            )

    def affine(self, x: Array, W: Array, b: Array, f: str, out: Array) -> bool:
        if f not in EPILOGUE_OF or (f == "relu" and not self.relu_keeps_nan):
            return False
        return self.product(x, W, out, EPILOGUE_OF[f], b)

    @functools.cached_property
    def relu_keeps_nan(self) -> bool:
        """Whether cuBLASLt's ReLU of NaN is NaN: no manual says so, so this GPU is asked once.

        One small product is asked. Should another shape's swallow NaN, the check of the weights
        after a segment finds it, later.
        """
        x = cupy.full((8, 8), np.nan, np.float32)
        y = cupy.zeros_like(x)
        done = self.product(x, x, y, "relu_bias", cupy.zeros(8, np.float32))
        return done and bool(cupy.isnan(y).all())  # sync: before the first step is done

    def launch(
        self,
        real: Any,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Any],
        shared: int = 0,
    ) -> None:
        run = kernel(np.dtype(real).name, name)
        run(grid, block, [NULL if a is None else a for a in arguments], shared_mem=shared)


@functools.cache
def module(real: str) -> Any:
    """The kernels for float32 or float64."""
    options = ("-std=c++17", f"-DREAL={TYPES[real]}")
    return cupy.RawModule(code=source(), options=options)


@functools.cache
def kernel(real: str, name: str) -> Any:
    """One of them, looked up once."""
    return module(real).get_function(name)


@functools.cache
def cublaslt() -> Any:
    """The library, wherever CUDA is installed; raises BackendError where it is not."""
    pathfinder = importlib.import_module("cuda.pathfinder")
    try:
        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublasLt").abs_path)
    except (pathfinder.DynamicLibNotFoundError, OSError) as error:
        raise BackendError(
            f"cuBLASLt, of the CUDA Toolkit, is missing ({type(error).__name__}): "
            "pip install 'xpnet[cuda13]', or cuda12"
        ) from error
