"""What the primitives need of a GPU: memory, launches and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ...types import Array

__all__ = ["Launcher"]


class Launcher(Protocol):
    """A GPU, or what stands in for one. Nothing waits for it."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """New memory, whatever is in it."""

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """out = a b; ``a`` and ``b`` may be transposed."""

    def affine(self, x: Array, W: Array, b: Array, f: str, out: Array) -> bool:
        """out = f(x W + b) as one product, ``f`` the name of an activation.

        Returns False, and does nothing, where that cannot be had.
        """

    def aside(self, *arrays: Array) -> AbstractContextManager[Any]:
        """Within, what is launched need not be done before ``join``; ``arrays`` are what it reads.

        Nothing may be allocated there.
        """

    def join(self) -> None:
        """What is launched from now on comes after all that was launched aside."""

    def launch(
        self,
        real: Any,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Any],
        shared: int = 0,
    ) -> None:
        """Run kernel ``name`` of the module for dtype ``real``, with ``shared`` bytes a block.

        Arguments are contiguous arrays, None for a null pointer, and NumPy scalars: their
        types are those of the kernel's parameters.
        """
