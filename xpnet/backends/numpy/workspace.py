"""The memory of a compiled step on the CPU: allocated at the first step, used again at each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ...types import Array

__all__ = ["Workspace"]


class Workspace:
    """The buffers of one compiled step: its k-th request gets the same memory every time."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[int, tuple[int, ...], Any], Any] = {}
        self.requests = 0
        self.constants: dict[Any, Any] = {}
        self.theta: Array = None
        self.views: list[Array] = []

    def restart(self) -> None:
        """A new step begins: hand the buffers out again from the first."""
        self.requests = 0

    def each_part(self, parts: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """``parts``, each of which gets the memory of the one before."""
        mark = self.requests
        for part in parts:
            self.requests = mark
            yield part

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        self.requests += 1
        key = (self.requests, shape, dtype)
        if key not in self.buffers:
            self.buffers[key] = np.empty(shape, dtype)
        return self.buffers[key]

    def move(self, old: Array, new: Array) -> None:
        """From the next step on, hand out ``new`` where ``old`` was handed out."""
        for key, buffer in self.buffers.items():
            if buffer is old:
                self.buffers[key] = new

    def constant(self, key: Any, make: Callable[[], Array]) -> Array:
        """What ``make`` returned the first time; nobody writes to it."""
        if key not in self.constants:
            self.constants[key] = make()
        return self.constants[key]

    def views_of(self, theta: Array, make: Callable[[], list[Array]]) -> list[Array]:
        """The blocks of ``theta``, which mostly is the same array as in the last step."""
        if theta is not self.theta:
            self.theta, self.views = theta, make()
        return self.views
