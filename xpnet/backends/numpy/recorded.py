"""A step as a list of NumPy calls: recorded once, then only these are made.

With few samples most of a step's time goes into the Python between NumPy's calls. So one step is
run on ``Recorded`` arrays, which do each operation and write down what was done on which memory;
from then on the list is gone through, as CUDA replays the graph it has captured. The same limits
hold: every array keeps its place, and nothing may depend on a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...activations import activation
from ...layers import Dense
from ...ops import Ops
from ...types import Array, Counters
from ..replayed import ReplayedStep, is_ours
from ..workspace import Workspace, WorkspaceOps
from .in_place import IN_PLACE
from .ops import NumpyOps, rows_at_a_time
from .recording import Recording, bare

__all__ = ["OnRecordedMemory", "RecordedStep", "RecordingOps", "suits"]

LARGEST_PART = 2**19
"""Numbers in a layer's output above which the Python between the calls no longer counts."""

LARGEST_KEPT = 2**21
"""Outputs of a batch above which a loss on parts, each with arrays of its own, takes too much."""


def suits(build: Any) -> bool:
    """Whether the step that ``build`` describes is small, and made of xpnet's own parts."""
    if not is_ours(build):
        return False
    rows, network = rows_at_a_time(build.batch_size), build.network
    if rows * max(network.widths) > LARGEST_PART:
        return False
    in_parts = rows < build.batch_size
    kept = build.batch_size * network.n_out
    return not (in_parts and (kept > LARGEST_KEPT or makes_arrays(network)))


def makes_arrays(network: Any) -> bool:
    """Whether a layer's numbers are not all on the workspace: recorded, each part keeps its own."""
    return any(
        type(layer) is not Dense or activation(layer.activation).name not in {"identity", *IN_PLACE}
        for layer in network.layers
    )


def whole(name: str) -> Any:
    """A primitive that is recorded as one call: it works in place, and may depend on t."""

    def primitive(self: RecordingOps, *args: Any) -> Any:
        results = self.recording.note(getattr(self.plain(), name), *bare(args))
        if isinstance(results, tuple):
            return tuple(map(self.recording.wrap, results))
        return self.recording.wrap(results)

    return primitive


class OnRecordedMemory(WorkspaceOps):
    """Primitives whose memory, on the workspace, is wrapped as ``Recorded``."""

    recording: Recording

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.recording.wrap(super().empty(shape, dtype))

    def constant(self, key: Any, make: Callable[[], Array]) -> Array:
        return self.recording.wrap(super().constant(key, make))

    def unpack(self, theta: Array, offsets: Any, shapes: Any) -> list[Array]:
        blocks = super().unpack(theta.array, offsets, shapes)
        return [self.recording.wrap(block) for block in blocks]

    def pack(self, blocks: Any, offsets: Any, n: int) -> Array:
        g = self.empty((n,), blocks[0].dtype)
        for block, offset in zip(blocks, offsets, strict=True):
            if block.array.base is not g.array:
                place = g.array[offset : offset + block.array.size].reshape(block.shape)
                self.recording.note(np.copyto, place, block.array)
        return g


class RecordingOps(OnRecordedMemory, NumpyOps):
    """The primitives of ``plain``, unchanged, recorded call by call."""

    plain: type[NumpyOps] = NumpyOps

    sgd = whole("sgd")
    momentum = whole("momentum")
    rmsprop = whole("rmsprop")
    adam = whole("adam")

    def __init__(self, workspace: Workspace, recording: Recording) -> None:
        super().__init__(workspace)
        self.recording = recording


class RecordedStep(ReplayedStep):
    """Replays the calls of one step."""

    def __init__(
        self,
        build: Any,
        step: Any,
        workspace: Workspace,
        ops: Callable[[Workspace, Recording], Ops] = RecordingOps,
    ) -> None:
        super().__init__(step)
        self.build = build
        self.workspace = workspace
        self.ops = ops
        self.calls: list[Callable[[], object]] = []

    def copy(self, array: Array) -> Array:
        return np.array(array)

    def replay(self, n: int) -> None:
        for _ in range(n):
            for call in self.calls:
                call()

    def record(self) -> int:
        recording = Recording()
        self.workspace.restart()
        step = self.build(self.ops(self.workspace, recording))
        theta, slots, counters = self.state
        state = self.state._replace(
            theta=recording.wrap(theta),
            slots=tuple(map(recording.wrap, slots)),
            counters=Counters(*map(recording.wrap, counters)),
        )
        done = step(state, type(self.feed)(*map(recording.wrap, self.feed)))
        for place, array in zip(counters, map(bare, done.counters), strict=True):
            if array is not place:
                recording.note(np.copyto, place, array)  # where the next step finds it
        assert done.theta.array is theta, "the update is in place"
        self.calls = recording.calls
        return 1
