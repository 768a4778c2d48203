"""Samples on their way to a GPU: pinned memory, a stream for the copies, and events, by CuPy."""

from __future__ import annotations

import weakref
from typing import Any

import cupy
import cupyx

from ...types import Array, NumpyArray
from ..link import Queue

__all__ = ["CupyLink"]


class CupyLink:
    """A ``Link`` whose copies have a stream of their own, beside the one that is current.

    The stream does not wait for the default stream; a replayed step does, as does its graph.
    """

    def __init__(self, device: Any) -> None:
        self.device = device
        self.kept: list[Any] = []
        with device:
            self.stream = cupy.cuda.Stream(non_blocking=True)
        # memory that goes back to its pool is given away at once, even if a copy is under way
        weakref.finalize(self, self.stream.synchronize).atexit = False

    def host_memory(self, shape: tuple[int, ...], dtype: Any) -> NumpyArray:
        with self.device:
            array: NumpyArray = cupyx.empty_pinned(shape, dtype)
        self.kept.append(array)
        return array

    def device_memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        with self.device:
            array = cupy.empty(shape, dtype)
        self.kept.append(array)
        return array

    def event(self) -> Any:
        with self.device:
            return cupy.cuda.Event(disable_timing=True)

    def copy(self, host: NumpyArray, place: Array) -> None:
        with self.device:
            place.set(host, stream=self.stream)

    def record(self, queue: Queue, event: Any) -> None:
        with self.device:
            self.of(queue).record(event)

    def wait(self, queue: Queue, event: Any) -> None:
        with self.device:
            self.of(queue).wait_event(event)

    def synchronize(self, event: Any) -> None:
        event.synchronize()  # sync: the caller says why

    def of(self, queue: Queue) -> Any:
        """The stream that stands for ``queue``."""
        return self.stream if queue == "copy" else cupy.cuda.get_current_stream()
