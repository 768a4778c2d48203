"""What streaming needs of a device: memory at both ends, a queue that copies, and events."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

from ..types import Array, NumpyArray

__all__ = ["Event", "Link", "Queue"]

Queue: TypeAlias = Literal["compute", "copy"]
"""The device does what is in a queue in order, and both queues at the same time."""

Event: TypeAlias = Any
"""A place in a queue; until it is recorded for the first time it counts as reached."""


class Link(Protocol):
    """A way for samples to a device, on which copies do not wait for computations.

    While it copies it keeps all the memory that it gave.
    """

    def host_memory(self, shape: tuple[int, ...], dtype: Any) -> NumpyArray:
        """Memory of the host that the device can read by itself, whatever is in it."""

    def device_memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of the device, whatever is in it; the compute queue may still be using it."""

    def event(self) -> Event:
        """An event that is not recorded yet."""

    def copy(self, host: NumpyArray, place: Array) -> None:
        """Put into the copy queue: place[...] = host. Both are contiguous, and of the link."""

    def record(self, queue: Queue, event: Event) -> None:
        """The event is reached once ``queue`` has done what is in it now."""

    def wait(self, queue: Queue, event: Event) -> None:
        """What is put into ``queue`` from now on is done after ``event``, as recorded last."""

    def synchronize(self, event: Event) -> None:
        """Wait on the host until ``event``, as recorded last, is reached."""
