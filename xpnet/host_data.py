"""Datasets larger than the device's memory: they stay on the host, and parts of them are sent."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .backends import Backend
from .blocks import row_blocks
from .data import Dataset, as_float, as_target, check_weight
from .types import Loss, NumpyArray

__all__ = ["HostDataset", "placed", "size"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostDataset(Dataset):
    """A checked dataset for ``backend_of_parts``, which has ``free`` bytes of memory left.

    ``needed`` is what its samples would take there, ``reserve`` what is needed beside them, in
    bytes. ``X`` is as it was given, perhaps memory-mapped; floats are sent as ``dtype``. The
    samples are the rows ``chosen`` (n,) int32 of the arrays.
    """

    backend_of_parts: Backend
    dtype: str
    needed: int
    reserve: int
    free: int
    chosen: NumpyArray

    @property
    def n(self) -> int:
        return len(self.chosen)

    def rows_of(self, order: NumpyArray) -> NumpyArray:
        """Where in the arrays the samples ``order`` (k,) lie."""
        return self.chosen[order]

    def part(self, start: int, m: int) -> tuple[Dataset, int]:
        """The ``m`` samples from ``start`` on, sent to the device, where they begin at 0."""
        rows = self.chosen[start : start + m]
        weight = None if self.weight is None else self.weight[rows]
        part = Dataset(self.X[rows], self.y[rows], weight, self.scale, self.shift)
        return part.to(self.backend_of_parts.asarray, self.dtype), 0

    def reason(self, what: str) -> str:
        """Why ``what``, such as "the samples", stay on the host, in one line."""
        return (
            f"{what} ({size(self.needed)}), beside {size(self.reserve)} to work with, do not fit "
            f"into the free memory of the GPU ({size(self.free)}): they are streamed from the host"
        )


def placed(
    data: Dataset,
    n_in: int,
    n_out: int,
    loss: Loss,
    backend: Backend,
    dtype: str,
    reserve: int,
    chosen: NumpyArray | None = None,
) -> Dataset:
    """``data`` checked and on ``backend`` as ``Dataset.prepare`` does it, or a HostDataset.

    With ``chosen`` (k,) int32, only these rows of it. It stays on the host where the device would
    not have ``reserve`` bytes left, unless it is on the device already or small enough to be
    streamed in one piece. Raises DataError as ``Dataset.check`` and ``Dataset.to`` do.
    """
    free = backend.free_bytes()
    if free is None or data.backend.same_place(backend):
        part = data if chosen is None else data.rows(chosen)
        return part.prepare(n_in, n_out, loss, backend, dtype)
    host = data.on_host()
    needed = (host.n if chosen is None else len(chosen)) * bytes_a_sample(host, dtype)
    if needed <= max(free - reserve, backend.ring_bytes):
        part = host if chosen is None else host.rows(chosen)
        return part.prepare(n_in, n_out, loss, backend, dtype)
    host = castable(host.check(n_in, n_out, loss), dtype)
    chosen = np.arange(host.n, dtype=np.int32) if chosen is None else chosen
    if host.weight is not None:
        check_weight(host.weight[chosen])
    fields = {field.name: getattr(host, field.name) for field in dataclasses.fields(host)}
    sizes: dict[str, Any] = {"needed": needed, "reserve": reserve, "free": free}
    return HostDataset(**fields, **sizes, backend_of_parts=backend, dtype=dtype, chosen=chosen)


def castable(host: Dataset, dtype: str) -> Dataset:
    """``host`` with targets and weights cast for ``dtype``, and an X that can be, part by part.

    Raises DataError as ``Dataset.to`` does.
    """
    if host.X.dtype.kind == "f" and host.X.dtype != dtype:
        for start, block in row_blocks(host.X):
            as_float("X", block, dtype, start)
    weight = None if host.weight is None else as_float("weight", host.weight, dtype)
    return dataclasses.replace(host, y=as_target(host.y, dtype), weight=weight)


def bytes_a_sample(data: Dataset, dtype: str) -> int:
    """What a sample of ``data``, on the host, takes on the device; floats become ``dtype``."""
    real = np.dtype(dtype).itemsize
    x_item = real if data.X.dtype.kind == "f" else data.X.dtype.itemsize
    y_item = real if data.y.dtype.kind == "f" or data.y.ndim > 1 else 4
    weight = 0 if data.weight is None else real
    return int(math.prod(data.X.shape[1:]) * x_item + math.prod(data.y.shape[1:]) * y_item + weight)


def size(n_bytes: int) -> str:
    """``n_bytes`` as people read it: 12.3 GB, 4 MB, 12 bytes."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes} bytes"
