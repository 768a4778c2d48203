"""Samples that stay on the host, sent to the device in the order of the epoch.

The device holds a ring of two halves, each of some whole batches. While steps work on one half,
the host gathers the samples of the next into memory that the device can read, and the device
copies them from there into the other half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..blocks import take_rows
from ..types import Array, NumpyArray
from .link import Event, Link

__all__ = ["Ring"]


class Half(NamedTuple):
    """A half of the ring: its part of each array, and the host's memory that it is copied from."""

    places: list[Array]
    staged: list[NumpyArray]
    copied: Event
    """The samples are there, and the host's memory may be written to."""
    freed: Event
    """The steps on the samples are done, and the places may be written to."""


class Ring:
    """``sources``, host arrays with a row a sample, seen through arrays of the device.

    A half holds ``batches`` batches of ``batch_size`` samples; ``dtypes`` are those on the device,
    and ``n`` are the samples of an epoch.
    Sample p of the epoch lies in row p modulo ``length`` of each of ``arrays``, which are the same
    objects all the time, while one of the steps that ``portions`` announces works on it.
    """

    def __init__(
        self,
        link: Link,
        sources: Sequence[NumpyArray],
        dtypes: Sequence[Any],
        batch_size: int,
        batches: int,
        n: int,
    ) -> None:
        self.link, self.sources, self.batches = link, sources, batches
        self.rows = rows = batch_size * batches
        self.length = rows if n <= rows else 2 * rows
        shapes = [source.shape[1:] for source in sources]
        self.arrays = [
            link.device_memory((self.length, *shape), dtype)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        ]
        self.halves = [
            Half(
                places=[array[start : start + rows] for array in self.arrays],
                staged=[
                    link.host_memory((rows, *shape), dtype)
                    for shape, dtype in zip(shapes, dtypes, strict=True)
                ],
                copied=link.event(),
                freed=link.event(),
            )
            for start in range(0, self.length, rows)
        ]
        for half in self.halves:  # what worked on this memory before may not be done yet
            link.record("compute", half.freed)

    def begin(self, order: NumpyArray) -> None:
        """An epoch begins that visits the samples in ``order`` (n,)."""
        self.order = order
        self.holds: list[int | None] = [None] * len(self.halves)

    def portions(self, first: int, n: int) -> Iterator[int]:
        """Cut steps first, first + 1, ..., first + n - 1 of the epoch into portions.

        The caller puts as many steps as it is given into the compute queue, then asks for more:
        their samples are in the ring until then.
        """
        end = first + n
        while first < end:
            number, done = divmod(first, self.batches)
            half = self.halves[number % len(self.halves)]
            k = min(end - first, self.batches - done)
            self.send(number)
            self.link.wait("compute", half.copied)
            yield k
            self.link.record("compute", half.freed)
            self.send(number + 1)  # the device is busy with the steps meanwhile
            first += k

    def send(self, number: int) -> None:
        """Send part ``number`` of the epoch, unless it is on its way or the epoch is shorter."""
        rows = self.order[number * self.rows : (number + 1) * self.rows]
        slot = number % len(self.halves)
        if self.holds[slot] == number or len(rows) == 0:
            return
        self.holds[slot] = number
        half, link = self.halves[slot], self.link
        link.synchronize(half.copied)  # sync: the staged samples before these must have left
        link.wait("copy", half.freed)
        for source, staged, place in zip(self.sources, half.staged, half.places, strict=True):
            take_rows(source, rows, staged[: len(rows)])
            link.copy(staged[: len(rows)], place[: len(rows)])
        link.record("copy", half.copied)
