"""CuPy as the launcher, and its way to capture a step.

CuPy compiles the kernels on their first use, and keeps them on disk. Its own matrix products refuse
to be captured, so they are cuBLASLt's.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np

from ...errors import BackendError
from ...types import Array
from ..replayed import ReplayedStep
from .cublaslt import WORKSPACE_BYTES, CublasLt
from .failures import first_line
from .source import source

__all__ = ["CapturedStep", "CupyLauncher"]

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

    @functools.cached_property
    def blas(self) -> tuple[CublasLt, Array]:
        """cuBLASLt and the memory it may use."""
        return CublasLt(cublaslt(), self.precision), cupy.empty(WORKSPACE_BYTES, np.uint8)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return cupy.empty(shape, dtype)

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        library, workspace = self.blas
        if not library.matmul(a, b, out, workspace, cupy.cuda.get_current_stream().ptr):
            raise BackendError(
                f"cuBLASLt has no algorithm for a product of {a.shape} and {b.shape} in "
                f"{out.dtype} with precision {self.precision}: update the driver"
            )

    def affine(self, x: Array, W: Array, b: Array, f: str, out: Array) -> bool:
        if f not in EPILOGUE_OF or (f == "relu" and not self.relu_keeps_nan):
            return False
        library, workspace = self.blas
        stream = cupy.cuda.get_current_stream().ptr
        return library.matmul(x, W, out, workspace, stream, EPILOGUE_OF[f], b)

    @functools.cached_property
    def relu_keeps_nan(self) -> bool:
        """Whether cuBLASLt's ReLU of NaN is NaN: no manual says so, so this GPU is asked once."""
        library, workspace = self.blas
        x = cupy.full((8, 8), np.nan, np.float32)
        y = cupy.zeros_like(x)
        stream = cupy.cuda.get_current_stream().ptr
        done = library.matmul(x, x, y, workspace, stream, "relu_bias", cupy.zeros(8, np.float32))
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


class CapturedStep(ReplayedStep):
    """The step as a CUDA graph that is replayed.

    Where it cannot be captured a BackendError says why, if it is ``required``, else one warning,
    and the step runs call by call. Memory allocated while capturing belongs to a pool of its
    own: the graph writes there for good.
    """

    def __init__(self, step: Any, *, required: bool = False) -> None:
        super().__init__(step)
        self.required = required
        self.graph: Any = None
        self.stream: Any = None
        self.kept: Any = None

    def copy(self, array: Array) -> Array:
        return array.copy()

    def one_step(self) -> Any:
        """The step itself, whose results are then put where the next one finds them."""
        done = self.step(self.state, self.feed)
        places = (self.state.theta, *self.state.slots, *self.state[2:])
        results = (done.theta, *done.slots, *done[2:])
        for place, array in zip(places, results, strict=True):
            if array is not place:
                place[...] = array
        return done

    def record(self) -> int:
        pool = cupy.cuda.MemoryPool()
        self.graph = None
        try:
            self.stream = cupy.cuda.Stream()  # one that waits for the default stream
            with cupy.cuda.using_allocator(pool.malloc), self.stream:
                self.stream.begin_capture()
                try:
                    done = self.one_step()
                finally:
                    graph = self.stream.end_capture()
        except MemoryError:
            raise
        except Exception as error:  # CuPy, CUDA and cuBLASLt each raise their own kinds
            what = f"the training step could not be captured as a CUDA graph ({first_line(error)})"
            if self.required:
                raise BackendError(f"{what}: --graph auto runs it call by call") from error
            warnings.warn(f"{what}: it runs call by call, which is slower", stacklevel=2)
            return 0
        self.graph, self.kept = graph, (pool, done)
        return 0

    def replay(self) -> None:
        if self.graph is None:
            self.one_step()
        else:
            self.graph.launch(self.stream)
