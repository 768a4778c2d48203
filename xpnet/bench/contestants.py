"""Contestants: xpnet on each backend, every peer, and the limit, all measured in the same way."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .. import backends
from ..backends import BACKENDS, Backend, peers
from ..backends.peers import PEERS, Peer, Work
from ..state import Run, initial_state
from ..train import segments
from ..types import Array
from .limit import LIMIT, Products
from .workloads import Workload

__all__ = [
    "OURS",
    "REFERENCE",
    "Contestant",
    "Engine",
    "Rival",
    "build",
    "entrants",
    "installed",
    "names",
]

OURS = "xpnet-"
"""What the names of xpnet's contestants begin with; the backend's follows."""

REFERENCE = "xpnet-numpy-reference"
FOR_TESTS = ("array-api-strict",)
"""Backends that nobody trains on."""

DRAWN = 4  # epochs, as many as are usually measured

Load = Callable[[str, Work], Peer]


class Contestant(Protocol):
    """A training that is prepared, compiled and warm, and has learned nothing yet."""

    def epoch(self) -> None:
        """Train for one epoch of the workload; return when it is done."""

    def parameters(self) -> list[tuple[Array, Array]]:
        """W and b of each layer as they are now, NumPy copies; empty where nothing is learned."""


class Engine:
    """xpnet's own training loop on a backend."""

    def __init__(self, workload: Workload, backend: Backend, *, reference: bool = False) -> None:
        self.backend = backend
        self.passes = workload.passes
        self.network = workload.network()
        hp = workload.hyperparameters()
        data = workload.dataset().prepare(
            self.network.n_in, self.network.n_out, hp.loss, backend, hp.dtype
        )

        def run(start: Run | None = None) -> Any:
            return segments(
                self.network, data, hp=hp, backend=backend, reference=reference, start=start
            )

        # a training that begins two steps before the end of an epoch meets both shapes of a batch
        n_steps = len(workload.batches)
        step = max(0, n_steps - 2)
        position = np.full(1, step * workload.batch_size, np.int32)
        state = initial_state(self.network, hp)
        state = state._replace(counters=state.counters._replace(position=position))
        warm = run(Run(state, 0, step, n_steps, 1.0, ()))
        del state
        while next(warm).step:
            pass
        warm.close()
        self.runs = run()
        self.run: Run | None = None

    def epoch(self) -> None:
        for _ in range(self.passes):
            self.run = next(self.runs)
            while self.run.step:
                self.run = next(self.runs)

    def parameters(self) -> list[tuple[Array, Array]]:
        assert self.run is not None, "an epoch has been trained"
        theta = self.backend.to_numpy(self.run.state.theta)
        return [(p["W"].copy(), p["b"].copy()) for p in self.network.split(np, theta)]


class Rival:
    """A peer, told in which order to take the samples.

    The orders of the first ``drawn`` epochs are drawn in advance: drawing them is no peer's work.
    ``load`` makes the peer.
    """

    def __init__(
        self, workload: Workload, name: str, load: Load = peers.load, drawn: int = DRAWN
    ) -> None:
        self.workload = workload
        self.peer = load(name, workload.work())
        self.passes = workload.passes
        orders = [workload.order(k) for k in range(drawn * self.passes)]
        self.orders = itertools.chain(orders, map(workload.order, itertools.count(len(orders))))

    def epoch(self) -> None:
        for order in itertools.islice(self.orders, self.passes):
            self.peer.epoch(order)

    def parameters(self) -> list[tuple[Array, Array]]:
        return self.peer.parameters()


def entrants() -> dict[str, Callable[[Workload], Contestant]]:
    """Everything that can be measured, by name, whether it is installed here or not."""

    def ours(name: str) -> Callable[[Workload], Contestant]:
        return lambda workload: Engine(workload, backends.get(name))

    def rival(name: str) -> Callable[[Workload], Contestant]:
        return lambda workload: Rival(workload, name)

    return {
        LIMIT: Products,
        **{OURS + name: ours(name) for name in BACKENDS},
        REFERENCE: lambda workload: Engine(workload, backends.get("numpy"), reference=True),
        **{name: rival(name) for name in PEERS},
    }


def names() -> list[str]:
    """Those that anyone would train with and that are installed here."""
    usable = [status.name for status in backends.available() if status.usable]
    return [
        *(OURS + name for name in usable if name not in FOR_TESTS),
        *peers.installed(),
    ]


def installed(name: str) -> bool:
    """Whether what the contestant stands on is installed here; nothing is loaded."""
    entry = PEERS.get(name) or BACKENDS.get(name.removeprefix(OURS))
    return entry is None or importlib.util.find_spec(entry.package) is not None


def build(name: str, workload: Workload) -> Contestant:
    """The contestant ``name``, ready for ``workload``. Raises BackendError where it cannot be."""
    return entrants()[name](workload)
