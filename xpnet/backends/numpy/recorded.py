"""A step on small batches as a list of NumPy calls: recorded once, then only these are made.

With few samples most of a step's time goes into the Python between NumPy's calls. So one step is
run on ``Recorded`` arrays, which do each operation and write down what was done on which memory;
from then on the list is gone through, as CUDA replays the graph it has captured. The same limits
hold: every array keeps its place, and nothing may depend on a value.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import numpy as np

from ...activations import ACTIVATIONS, activation
from ...layers import LAYERS
from ...losses import LOSSES
from ...ops import Ops
from ...optim import OPTIMIZERS
from ...types import Array
from ..replayed import ReplayedStep
from ..workspace import Workspace, WorkspaceOps
from .ops import NumpyOps

__all__ = ["OnRecordedMemory", "Recorded", "RecordedStep", "Recording", "bare", "suits"]

LARGEST_BATCH = 2**18
"""Numbers in a layer's output above which the Python between the calls no longer counts."""

OURS = {*LAYERS.values(), *LOSSES.values(), *OPTIMIZERS.values()}

REDUCTIONS = {
    np.sum: np.add.reduce,
    np.max: np.maximum.reduce,
    np.all: np.logical_and.reduce,
}
"""What these functions do in the end, without the Python before it."""


def suits(build: Any) -> bool:
    """Whether the step that ``build`` describes is small, and made of xpnet's own parts.

    A layer of somebody else's may draw numbers or count its calls: it must be run every time.
    """
    network, hp = getattr(build, "network", None), getattr(build, "hp", None)
    if network is None or hp is None:
        return False
    parts = [*network.layers, hp.loss, hp.optimizer]
    functions = [activation(a) for a in (getattr(p, "activation", None) for p in parts) if a]
    return (
        build.batch_size * max(network.widths) <= LARGEST_BATCH
        and all(type(part) in OURS for part in parts)
        and all(ACTIVATIONS.get(f.name) is f for f in functions)
    )


class Recording:
    """The calls of one step, each with the memory it works on."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def wrap(self, array: Array) -> Any:
        """``array`` as ``Recorded``; what is no array stays."""
        return Recorded(array, self) if isinstance(array, np.ndarray) else array

    def note(self, f: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call ``f``, and do so in every step."""
        self.calls.append(partial(f, *args, **options))
        return f(*args, **options)

    def into(self, out: Any, f: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """f(..., out=out), where ``out`` is Recorded or None for memory of its own."""
        args, options = bare((args, options))
        if out is None:
            memory = np.array(f(*args, **options))
        elif isinstance(out, Recorded):
            memory = out.array
            f(*args, **options, out=memory)
        else:
            raise TypeError("a recorded step writes only to arrays that it has made")
        self.calls.append(partial(f, *args, **options, out=memory))
        return Recorded(memory, self) if out is None else out

    def result(self, f: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """f(...) for a function without ``out``: its result is copied to the same memory."""
        args, options = bare((args, options))
        memory = np.array(f(*args, **options))
        self.calls.append(partial(store, memory, f, args, options))
        return Recorded(memory, self)


class Recorded(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that writes down on ``recording`` what is done with it.

    ``array`` is its memory, the same in every step. Views are taken once.
    """

    def __init__(self, array: Array, recording: Recording) -> None:
        self.array = array
        self.recording = recording

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = (None,), **options: Any
    ) -> Any:
        f = ufunc if method == "__call__" else getattr(ufunc, method)
        return self.recording.into(out[0], f, *inputs, **options)

    def __array_function__(self, f: Any, _types: Any, args: Any, options: Any) -> Any:
        if f is np.copyto:
            return self.recording.note(f, *bare(args), **options)
        if f in REDUCTIONS:
            return self.recording.into(None, REDUCTIONS[f], *args, **{"axis": None, **options})
        if "out" in options or f is np.dot:
            return self.recording.into(options.pop("out", None), f, *args, **options)
        return self.recording.result(f, *args, **options)

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a recorded step cannot depend on the values in an array")

    __bool__ = __array__

    @property
    def shape(self) -> Any:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return int(self.array.ndim)

    @property
    def size(self) -> int:
        return int(self.array.size)

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    @property
    def flags(self) -> Any:
        return self.array.flags

    @property
    def T(self) -> Recorded:
        return Recorded(self.array.T, self.recording)

    def __len__(self) -> int:
        return len(self.array)

    def reshape(self, *shape: Any) -> Recorded:
        view = self.array.reshape(*shape)
        assert np.shares_memory(view, self.array), "a view, not a copy"
        return Recorded(view, self.recording)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, Recorded) and np.shares_memory(self.array[key], self.array):
            return Recorded(self.array[key], self.recording)
        return self.recording.result(np.ndarray.__getitem__, self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.recording.note(np.ndarray.__setitem__, *bare((self, key, value)))

    def astype(self, dtype: Any, copy: bool = True) -> Recorded:
        cast = np.empty(self.shape, dtype)
        self.recording.note(np.copyto, cast, self.array, casting="unsafe")
        return Recorded(cast, self.recording)

    def take(self, index: Any, out: Any = None, **options: Any) -> Any:
        return self.recording.into(out, self.array.take, index, **options)

    def argmax(self, axis: int) -> Any:
        return self.recording.into(None, self.array.argmax, axis=axis)

    def sum(self, axis: Any = None, **options: Any) -> Any:
        return self.recording.into(None, np.add.reduce, self, axis=axis, **options)


def whole(name: str) -> Any:
    """A primitive that is recorded as one call: it decides by the step, and works in place."""

    def primitive(self: RecordingOps, *args: Any) -> Any:
        results = self.recording.note(partial(getattr(NumpyOps, name), NumpyOps()), *bare(args))
        if isinstance(results, tuple):
            return tuple(map(self.recording.wrap, results))
        return self.recording.wrap(results)

    return primitive


class OnRecordedMemory(WorkspaceOps):
    """Primitives on memory of the workspace that is wrapped up."""

    recording: Recording

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.recording.wrap(super().empty(shape, dtype))

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
    """NumPy's primitives as ever, recorded call by call."""

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

    def replay(self) -> None:
        for call in self.calls:
            call()

    def record(self) -> int:
        recording = Recording()
        self.workspace.restart()
        step = self.build(self.ops(self.workspace, recording))
        theta, slots, *small = self.state
        slots = tuple(map(recording.wrap, slots))
        state = type(self.state)(recording.wrap(theta), slots, *map(recording.wrap, small))
        done = step(state, type(self.feed)(*map(recording.wrap, self.feed)))
        for place, array in zip(small, bare(done[2:]), strict=True):
            if array is not place:
                recording.note(np.copyto, place, array)  # where the next step finds it
        assert done.theta.array is theta, "the update is in place"
        self.calls = recording.calls
        return 1


def bare(value: Any) -> Any:
    """``value`` with the arrays in it unwrapped."""
    if isinstance(value, Recorded):
        return value.array
    if isinstance(value, (tuple, list)):
        return type(value)(map(bare, value))
    if isinstance(value, dict):
        return {name: bare(v) for name, v in value.items()}
    return value


def store(memory: Array, f: Callable[..., Any], args: Any, options: Any) -> None:
    """memory = f(...)."""
    memory[...] = f(*args, **options)
