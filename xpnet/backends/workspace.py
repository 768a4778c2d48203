"""The memory of a compiled step: allocated at the first step, used again at each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..ops import Ops
from ..types import Array, Namespace
from .backend import Data, State, StepFunction

__all__ = ["Workspace", "WorkspaceOps", "on_workspace"]


class Workspace:
    """The buffers of one compiled step: its k-th request gets the same memory every time."""

    def __init__(self, allocate: Callable[[tuple[int, ...], Any], Array] = np.empty) -> None:
        self.allocate = allocate
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
            self.buffers[key] = self.allocate(shape, dtype)
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


class WorkspaceOps(Ops):
    """The reference on a workspace: results live until the next step; without one, for good."""

    def __init__(
        self, xp: Namespace, device: object = None, workspace: Workspace | None = None
    ) -> None:
        super().__init__(xp, device)
        self.workspace = workspace

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """New memory, whatever is in it."""
        return self.xp.empty(shape, dtype=dtype, device=self.device)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """New memory, or the workspace's."""
        if self.workspace is None:
            return self.allocate(shape, dtype)
        return self.workspace.empty(shape, dtype)

    def constant(self, key: Any, make: Callable[[], Array]) -> Array:
        """An array that never changes, such as a row of ones; the workspace keeps it."""
        return make() if self.workspace is None else self.workspace.constant(key, make)

    def rows(self, start: Array | int, m: int) -> Array:
        make = super().rows
        if isinstance(start, int):
            return self.constant(("rows", start, m), lambda: make(start, m))
        return start + self.rows(0, m)

    def unpack(
        self, theta: Array, offsets: Sequence[int], shapes: Sequence[tuple[int, ...]]
    ) -> list[Array]:
        if self.workspace is None:
            return super().unpack(theta, offsets, shapes)
        return self.workspace.views_of(
            theta, lambda: super(WorkspaceOps, self).unpack(theta, offsets, shapes)
        )

    def pack(self, blocks: Sequence[Array], offsets: Sequence[int], n: int) -> Array:
        g = self.empty((n,), blocks[0].dtype)
        ends = [*offsets[1:], n]
        for block, offset, end in zip(blocks, offsets, ends, strict=True):
            if block.base is not g:
                place = g[offset : offset + block.size].reshape(block.shape)
                place[...] = block
                g[offset + block.size : end] = 0
                if self.workspace:
                    self.workspace.move(block, place)  # next time it is computed in place
        return g


def on_workspace(
    build: Callable[[Ops], StepFunction[State, Data]], ops: Ops, workspace: Workspace
) -> StepFunction[State, Data]:
    """The step made of primitives that find their memory where it was last time."""
    step = build(ops)

    def compiled(state: State, data: Data) -> State:
        workspace.restart()
        return step(state, data)

    return compiled
