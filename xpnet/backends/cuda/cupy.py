"""CuPy as the launcher: it compiles the kernels on their first use, and keeps them on disk."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np

from ...types import Array
from .source import source

__all__ = ["CupyLauncher"]

TYPES = {"float32": "float", "float64": "double"}
NULL = np.uint64(0)


class CupyLauncher:
    """Launches on the current device and stream of CuPy."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return cupy.empty(shape, dtype)

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        cupy.matmul(a, b, out=out)

    def launch(
        self,
        real: Any,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Any],
        shared: int = 0,
    ) -> None:
        kernel = module(np.dtype(real).name).get_function(name)
        kernel(grid, block, [NULL if a is None else a for a in arguments], shared_mem=shared)


@functools.cache
def module(real: str) -> Any:
    """The kernels for float32 or float64."""
    options = ("-std=c++17", f"-DREAL={TYPES[real]}")
    return cupy.RawModule(code=source(), options=options)
