"""Arguments for every primitive of ``Ops``, on the host in float64: what parity is checked on.

A primitive without a case here fails the parity check, so that no override escapes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..activations import ACTIVATIONS
from ..ops import FLUSH_EVERY, TINY, Ops
from ..types import Array, Counters, Feed, LossResult, Noise

__all__ = ["DONATED", "call", "convert", "leaves", "overrides", "primitive_cases", "primitives"]

Cases = dict[str, dict[str, tuple[Any, ...]]]

DONATED = {
    "count": {0},
    "add": {0},
    "scale_by": {0},
    "clip_value": {0},
    "add_weights": {0},
    "sgd": {0},
    "momentum": {0, 2},
    "rmsprop": {0, 2},
    "adam": {0, 2, 3},
}
"""Which arguments an override may overwrite; all others must stay as they were."""

M, N_IN, N_OUT, C, N = 9, 13, 6, 5, 40_000


def primitives(cls: type[Ops]) -> set[str]:
    """The public methods that a class of primitives defines itself, and that compute."""
    methods = {name for name, f in vars(cls).items() if callable(f) and not name.startswith("_")}
    return methods - {"slices"}


def overrides(cls: type[Ops]) -> set[str]:
    """The same of all classes from ``cls`` up to the reference, which it leaves out."""
    classes = (c for c in cls.__mro__ if issubclass(c, Ops) and c is not Ops)
    return set().union(*map(primitives, classes))


def primitive_cases(seed: int = 0) -> Cases:
    """For each primitive some named tuples of arguments, every branch of an override among them."""
    rng = np.random.default_rng(seed)
    reference = Ops(np)

    def vector(shape: Any = N, scale: float = 1.0) -> Array:
        return scale * rng.normal(size=shape)

    def positive(shape: Any) -> Array:
        return rng.random(shape) + 0.1

    def slot() -> Array:
        """As after some steps: a few values tiny."""
        v = positive(N)
        v[::7] = TINY / 1000
        return v

    def affine(f: str) -> tuple[Any, ...]:
        return vector((M, N_IN)), vector((N_IN, N_OUT)), vector(N_OUT), ACTIVATIONS[f]

    def affine_grad(f: str, need_dx: bool) -> tuple[Any, ...]:
        x, W, b, activation = affine(f)
        _, saved = reference.affine(x, W, b, activation)
        return vector((M, N_OUT)), saved, W, activation, need_dx

    def labels() -> Array:
        return rng.integers(0, C, M).astype(np.int32)

    def answers(k: int) -> Array:
        return rng.integers(0, 2, (M, k)).astype(np.float64)

    pixels = rng.integers(0, 256, (M, N_IN)).astype(np.uint8)
    mean = 100.0 + np.arange(N_IN)
    classes = np.arange(M, dtype=np.int32)
    index = np.asarray([3, 0, 8], np.int32)
    lr = np.asarray([0.01])

    def feed(X: Array, y: Array, shift: Array | None = None, scale: Array | float = 1.0) -> Feed:
        order = np.asarray([5, 3, 0, 8, 1, 7], np.int32)
        return Feed(X, y, None, shift, scale, order, lr)

    noise = Noise(5, np.asarray([3], np.int32), np.arange(M, dtype=np.int32), layer=2)
    times = {
        "early": np.asarray([1], np.int32),
        "flushing": np.asarray([2 * FLUSH_EVERY], np.int32),
    }
    counted = Counters(
        np.asarray([1], np.int32), np.asarray([7], np.int32), np.asarray(3.5), np.asarray(6.5),
        np.asarray(4, np.int32), np.asarray([0], np.int32),
    )  # fmt: skip
    bad = counted._replace(loss_sum=np.asarray(np.inf), first_bad_step=np.asarray([1], np.int32))
    of_some = LossResult(np.asarray(0.75), np.asarray(2, np.int32), np.zeros((3, C)))
    return {
        "rows": {"": (np.asarray([4], np.int32), 3)},
        "take": {"": (vector((M, N_IN)), np.asarray([3, 1, 1], np.int32))},
        "window": {
            "integers": (np.arange(40, dtype=np.int32)[::-1].copy(), np.asarray([4], np.int32), 7),
            "around": (vector(10), np.asarray([28], np.int32), 6),
        },
        "gather": {
            "uint8": (pixels, index, None, 1 / 255),
            "standardised": (pixels, index, vector(N_IN), positive(N_IN)),
            "float": (vector((M, N_IN)), index, None, 1.0),
        },
        "batch": {
            "uint8": (feed(pixels, classes, None, 1 / 255), np.asarray([1], np.int32), 4),
            "around": (feed(pixels, classes, mean, 1 / mean), np.asarray([9], np.int32), 7),
            "targets": (feed(pixels / 7, pixels / 9), np.asarray([2], np.int32), 3),
        },
        "affine": {f: affine(f) for f in ACTIVATIONS},
        "affine_grad": {
            f"{f}-{'dx' if need_dx else 'no-dx'}": affine_grad(f, need_dx)
            for f in ACTIVATIONS
            for need_dx in (False, True)
        },
        "dropout": {"": (vector((M, N_IN)), noise, 0.4)},
        "softmax_xent": {
            "labels": (vector((M, C), 4.0), labels(), None, 1 / M, 0.0),
            "weighted": (vector((M, C), 4.0), labels(), positive(M), 1 / M, 0.0),
            "smoothed": (vector((M, C)), labels(), None, 1 / M, 0.1),
            "distributions": (vector((M, C)), positive((M, C)), None, 1 / M, 0.0),
            "far": (vector((M, C), 300.0), labels(), None, 1 / M, 0.0),
        },
        "sigmoid_xent": {
            "one": (vector((M, 1), 4.0), answers(1), None, 1 / M),
            "several": (vector((M, C), 4.0), answers(C), None, 1 / M),
            "weighted": (vector((M, C), 4.0), positive((M, C)) / 1.1, positive(M), 1 / M),
            "far": (vector((M, C), 300.0), answers(C), None, 1 / M),
        },
        "count": {
            "": (counted, of_some, 3.0, 3, True),
            "part": (counted, of_some, 3.0, 3, False),
            "weighted": (counted, of_some, np.asarray(2.5), 3, True),
            "regression": (counted, of_some._replace(n_correct=None), 3.0, 3, True),
            "nan": (counted, of_some._replace(loss_sum=np.asarray(np.nan)), 3.0, 3, True),
            "infinite": (counted, of_some._replace(loss_sum=np.asarray(np.inf)), 3.0, 3, True),
            "still bad": (bad, of_some, 3.0, 3, True),
        },
        "unpack": {"": (vector(128), [0, 64], [(3, 4), (5,)])},
        "pack": {"": ([vector((3, 4)), vector(5)], [0, 64], 128)},
        "add": {"first": (None, vector()), "next": (vector(), vector())},
        "square_sum": {"": (vector(),)},
        "scale_by": {"": (vector(), np.asarray([0.3]))},
        "clip_value": {"": (vector(), 0.5)},
        "add_weights": {
            "l2": (vector(), 0.1, vector(), 30_000),
            "decay": (vector(), -0.1, vector(), N, lr),
        },
        "sgd": {"": (vector(), vector(), lr)},
        "momentum": {
            f"{when}-{'nesterov' if nesterov else 'plain'}": (
                vector(), vector(), slot(), t, lr, 0.9, nesterov,
            )
            for when, t in times.items()
            for nesterov in (False, True)
        },
        "rmsprop": {
            when: (vector(), vector(), slot(), t, lr, 0.99, 1e-8) for when, t in times.items()
        },
        "adam": {
            when: (vector(), vector(), slot(), slot(), t, lr, 0.9, 0.999, 1e-8)
            for when, t in times.items()
        },
        "flush": {when: (slot(), t) for when, t in times.items()},
    }  # fmt: skip


def call(ops: Ops, name: str, arguments: tuple[Any, ...], dtype: Any) -> Any:
    """What a primitive gives for a case; two of them are told the dtype they shall give."""
    more = (dtype,) if name in ("gather", "batch") else ()
    return getattr(ops, name)(*arguments, *more)


def convert(value: Any, dtype: Any, place: Any = lambda array: array) -> Any:
    """An argument with its float arrays as ``dtype`` and every array, copied, put in place."""
    if isinstance(value, tuple | list):
        parts = [convert(part, dtype, place) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, np.ndarray | np.generic):
        return place(np.array(value, dtype if value.dtype.kind == "f" else None))
    return value


def leaves(value: Any) -> list[Array]:
    """The arrays in nested tuples and lists, in order."""
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value] if hasattr(value, "shape") else []
