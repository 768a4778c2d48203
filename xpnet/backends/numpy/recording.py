"""Arrays that write down what is done with them: how a step becomes a list of NumPy calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import numpy as np

from ...types import Array

__all__ = ["Recorded", "Recording", "bare"]

REDUCTIONS = {
    np.sum: np.add.reduce,
    np.max: np.maximum.reduce,
    np.all: np.logical_and.reduce,
}
"""What these functions end in, without the Python that leads there."""


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
