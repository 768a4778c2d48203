"""Where the steps of a training find their samples: on the device, or in a ring that is refilled.

Either way the step is the same: it reads the samples order[position], ... of its Feed.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from . import backends
from .backends import Backend
from .backends.ring import Ring
from .data import Dataset
from .errors import UsageError
from .evaluation import BATCH, batch_bytes
from .host_data import HostDataset, size
from .hyperparameters import Hyperparameters
from .network import Network
from .state import State
from .types import Array, Feed

__all__ = [
    "Resident",
    "Source",
    "Streamed",
    "epoch_order",
    "epoch_rates",
    "source_of",
    "working_bytes",
]

VECTORS = 8
"""Each as long as theta: theta, its gradient, the best theta so far, and copies on the way."""

SHUFFLE_BYTES = 48
"""For each sample, while an epoch's order is computed on the device; the order itself takes 4."""


class Source(Protocol):
    """The samples of a training."""

    def begin(self, epoch: int) -> None:
        """Epoch ``epoch``, counted from 0, begins or goes on."""

    def loop(self, step: Any, state: State, first: int, n: int) -> State:
        """``n`` steps from step ``first`` of the epoch on, as ``Backend.loop`` does them."""


class Resident:
    """All samples are on the device."""

    def __init__(self, data: Dataset, hp: Hyperparameters, backend: Backend) -> None:
        self.data, self.hp, self.backend = data, hp, backend

    def begin(self, epoch: int) -> None:
        data = self.data
        order = epoch_order(self.backend, self.hp, epoch, data.n)
        rates = epoch_rates(self.backend, self.hp, epoch, data.n)
        self.feed = Feed(data.X, data.y, data.weight, data.shift, data.scale, order, rates)

    def loop(self, step: Any, state: State, first: int, n: int) -> State:
        return self.backend.loop(step, state, self.feed, n)


class Streamed:
    """Samples come from the host just in time; the Feed shows the ring that they are sent to.

    Raises UsageError where two batches do not fit into the device's free memory.
    """

    def __init__(self, data: HostDataset, hp: Hyperparameters, backend: Backend) -> None:
        self.data, self.hp, self.backend, self.n = data, hp, backend, data.n
        batch_size = min(hp.batch_size, data.n)
        first, _ = data.part(0, 1)  # brings shift and scale, and shows the dtypes
        columns = {name: getattr(data, name) for name in ("X", "y", "weight")}
        columns = {name: source for name, source in columns.items() if source is not None}
        self.ring = Ring(
            backend.link(),
            list(columns.values()),
            [getattr(first, name).dtype for name in columns],
            batch_size,
            batches_of_a_half(data, batch_size, backend.ring_bytes),
            data.n,
        )
        arrays = {"weight": None, **dict(zip(columns, self.ring.arrays, strict=True))}
        order = np.arange(data.n, dtype=np.int32) % np.int32(self.ring.length)
        self.feed = Feed(
            shift=first.shift,
            scale=first.scale,
            order=backend.asarray(order),
            lr=epoch_rates(backend, hp, 0, data.n),
            **arrays,
        )

    def begin(self, epoch: int) -> None:
        numpy = backends.get("numpy")
        self.ring.begin(self.data.rows_of(epoch_order(numpy, self.hp, epoch, self.n)))
        self.feed = self.feed._replace(lr=epoch_rates(self.backend, self.hp, epoch, self.n))

    def loop(self, step: Any, state: State, first: int, n: int) -> State:
        for k in self.ring.portions(first, n):
            state = self.backend.loop(step, state, self.feed, k)
        return state


def source_of(data: Dataset, hp: Hyperparameters, backend: Backend) -> Source:
    """The source of the samples of ``data``, which is placed: see ``host_data.placed``."""
    if isinstance(data, HostDataset):
        return Streamed(data, hp, backend)
    return Resident(data, hp, backend)


def batches_of_a_half(data: HostDataset, batch_size: int, ring_bytes: int) -> int:
    """Batches in a half of the ring: as many as fit, and one at least."""
    bytes_a_batch = data.needed // data.n * batch_size
    n_batches = -(-data.n // batch_size)
    if min(2, n_batches) * bytes_a_batch > data.free:
        raise UsageError(
            f"two batches of {batch_size:,} samples ({size(2 * bytes_a_batch)}) do not fit into "
            f"the free memory of the GPU ({size(data.free)}): choose a smaller batch size"
        )
    room = min(ring_bytes, data.free - data.reserve)
    return min(max(1, room // 2 // bytes_a_batch), n_batches)


def working_bytes(network: Network, hp: Hyperparameters, n: int) -> int:
    """About the memory that a training on ``n`` samples needs beside them, on the device."""
    vectors = (VECTORS + hp.optimizer.n_slots) * network.n_theta * np.dtype(hp.dtype).itemsize
    batch = batch_bytes(network, min(hp.batch_size, n) + BATCH, hp.dtype)
    return vectors + batch + SHUFFLE_BYTES * n


def epoch_order(backend: Backend, hp: Hyperparameters, epoch: int, n: int) -> Array:
    """The order (n,) int32 in which epoch ``epoch`` visits ``n`` samples, on the device.

    A single batch of all samples is not shuffled: that would not change its sums.
    """
    if hp.batch_size >= n:
        return backend.xp.arange(n, dtype=backend.xp.int32, device=backend.device)
    return backend.permutation(hp.seed, epoch, n)


def epoch_rates(backend: Backend, hp: Hyperparameters, epoch: int, n: int) -> Array:
    """The learning rates, one a step, of epoch ``epoch`` over ``n`` samples, on the device.

    They are computed on the host: the same everywhere, and one copy in place of many small calls.
    """
    n_steps = -(-n // min(hp.batch_size, n))
    t = np.arange(epoch * n_steps, (epoch + 1) * n_steps).astype(hp.dtype)
    factors = hp.schedule(t, n_steps, n_steps * hp.epochs)
    return backend.asarray(hp.optimizer.lr * factors)
