"""A second branch of a graph: what is captured on it does not hold up what follows on the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cupy

from ...types import Array

__all__ = ["Branch"]


class Branch:
    """A stream beside ``main``, which is being captured; both become one graph."""

    def __init__(self, main: Any) -> None:
        self.main = main
        self.side = cupy.cuda.Stream(non_blocking=True)
        self.kept: list[Array] = []
        self.is_apart = False

    @contextmanager
    def aside(self, *arrays: Array) -> Iterator[None]:
        """Within, launches go to the side, after all that was launched so far.

        ``arrays`` are what they read: given back to the pool before ``join``, their memory would
        be written to by others.
        """
        self.kept += arrays
        self.is_apart = True
        follow(self.side, self.main)
        with self.side:
            yield

    def join(self) -> None:
        """What follows on ``main`` comes after all that is on the side."""
        if self.is_apart:
            follow(self.main, self.side)
        self.is_apart = False
        self.kept.clear()


def follow(stream: Any, other: Any) -> None:
    """What follows on ``stream`` comes after all that is on ``other``."""
    stream.wait_event(other.record(cupy.cuda.Event(disable_timing=True)))
