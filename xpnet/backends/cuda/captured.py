"""The training step as CUDA graphs that are replayed."""

from __future__ import annotations

import warnings
import weakref
from contextlib import nullcontext, suppress
from typing import Any

import cupy

from ...errors import BackendError
from ...types import Array
from ..replayed import ReplayedStep
from .cupy import CupyLauncher
from .failures import first_line

__all__ = ["CapturedStep"]

STEPS_A_GRAPH = 16
"""A launch, and the pause before it, is paid once for so many steps; the rest is done by ones."""


class Captured:
    """A graph; with it go the pool of the memory it writes to, and the arrays in that."""

    def __init__(self, graph: Any, pool: Any, kept: list[Any]) -> None:
        self.graph = graph
        weakref.finalize(self, give_back, pool, kept).atexit = False


def give_back(pool: Any, kept: list[Any]) -> None:
    """Give all memory back to the device: CuPy forgets a pool, but keeps what is free in it."""
    kept.clear()
    pool.free_all_blocks()  # sync: a graph that is under way still writes there


class CapturedStep(ReplayedStep):
    """The step as two CUDA graphs, one of a single step and one of ``steps_a_graph``.

    ``launcher`` is the one that ``step`` launches with, where its graphs may have branches. Where
    the step cannot be captured a BackendError says why, if it is ``required``, else one warning,
    and the step runs call by call. Memory allocated while capturing belongs to a pool of its
    own: the graph writes there for good.
    """

    def __init__(
        self, step: Any, launcher: CupyLauncher | None = None, *, required: bool = False
    ) -> None:
        super().__init__(step)
        self.launcher = launcher
        self.required = required
        self.steps_a_graph = STEPS_A_GRAPH
        self.graphs: dict[int, Captured] = {}

    def copy(self, array: Array) -> Array:
        return array.copy()

    def one_step(self) -> Any:
        """The step itself, whose results are then put where the next one finds them."""
        done = self.step(self.state, self.feed)
        places = (self.state.theta, *self.state.slots, *self.state.counters)
        results = (done.theta, *done.slots, *done.counters)
        for place, array in zip(places, results, strict=True):
            if array is not place:
                place[...] = array
        return done

    def record(self) -> int:
        self.graphs = {}
        try:
            self.graphs[1] = self.captured(1)
        except MemoryError:
            raise
        except Exception as error:  # CuPy, CUDA and cuBLASLt each raise their own kinds
            what = f"the training step could not be captured as a CUDA graph ({first_line(error)})"
            if self.required:
                raise BackendError(f"{what}: --graph auto runs it call by call") from error
            warnings.warn(f"{what}: it runs call by call, which is slower", stacklevel=2)
        return 0

    def captured(self, n: int) -> Captured:
        """``n`` steps as a graph; nothing is done yet."""
        pool = cupy.cuda.MemoryPool()
        stream = cupy.cuda.Stream(non_blocking=True)
        branching = self.launcher.branching(stream) if self.launcher else nullcontext()
        with branching, cupy.cuda.using_allocator(pool.malloc), stream:
            stream.begin_capture()
            try:
                kept = [self.one_step() for _ in range(n)]
            except BaseException:
                with suppress(Exception):  # that a capture was broken off is not what went wrong
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        return Captured(graph, pool, kept)

    def replay(self, n: int) -> None:
        if not self.graphs:
            for _ in range(n):
                self.one_step()
            return
        for size in (self.steps_a_graph, 1):
            times, n = divmod(n, size)
            if times and size not in self.graphs:
                self.graphs[size] = self.captured(size)
            for _ in range(times):
                self.graphs[size].graph.launch()
