"""Right and wrong products: dW and db of a layer from its delta, for C = 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ..types import Array
from .deltas import Choice, Made, other_samples
from .trace import Trace

__all__ = ["Product", "bias_products", "same_shape", "weight_products"]


class Product(NamedTuple):
    """A way to make a gradient of a given shape from dZ of its layer: linear in dZ.

    ``some(dZ, index)`` gives its elements at flat indices alone, where that is much cheaper.
    """

    made: tuple[Made, ...]
    shape: tuple[int, ...]
    of: Callable[[Array], Array]
    text: str
    some: Callable[[Array, Array], Array] | None = None


def weight_products(t: Trace, l: int, n_mistakes: int) -> Iterator[Product]:
    """dW_l = A_{l-1}^T dZ_l with exactly ``n_mistakes`` in it."""
    for source in inputs(t, l):
        few = elements(source.value, t.W[l].shape)
        for name, shape, of, text in products_with(source.value, source.text, t.W[l].shape, l):
            names = [n for n in (source.name, name) if n is not None]
            if len(names) == n_mistakes:
                made = tuple(Made(n, l) for n in names)
                yield Product(made, shape, of, text, few.get(name))


def elements(A: Array, shape: tuple[int, int]) -> dict[str | None, Callable[[Array, Array], Array]]:
    """Single elements of the products that cost the most: one sum over the samples for each."""
    n_in, n_out = shape

    def summed(dZ: Array, i: Array, j: Array) -> Array:
        rows, row = np.unique(i, return_inverse=True)
        columns, column = np.unique(j, return_inverse=True)
        return (A[:, rows].T @ dZ[:, columns])[row, column]

    def turned(dZ: Array, index: Array) -> Array:
        return summed(dZ, index % n_in, index // n_in)

    def outer(u: Array, v: Array, index: Array) -> Array:
        return u[index // n_out] * v[index % n_out]

    sums = A.sum(axis=0)
    return {
        None: lambda dZ, index: summed(dZ, index // n_out, index % n_out),
        "transposed": turned,
        "reshaped-not-transposed": turned,  # it keeps the order of the elements
        "product-of-sums": lambda dZ, index: outer(sums, dZ.sum(axis=0), index),
        "first-sample-only": lambda dZ, index: outer(A[0], dZ[0], index),
        "last-sample-only": lambda dZ, index: outer(A[-1], dZ[-1], index),
    }


Way = tuple[str | None, tuple[int, ...], Callable[[Array], Array], str]


def products_with(A: Array, a: str, shape: tuple[int, int], l: int) -> list[Way]:
    """The products of ``A``, written ``a``, and dZ_l that people take for dW_l."""
    n_in, n_out = shape
    m, dz = len(A), f"dZ{l}"

    def of_sample(i: int, size: int) -> Callable[[Array], Array]:
        return lambda dZ: size * np.outer(A[i], dZ[i])

    ways: list[Way] = [
        (None, shape, lambda dZ: A.T @ dZ, f"{a}.T @ {dz}"),
        ("transposed", (n_out, n_in), lambda dZ: dZ.T @ A, f"{dz}.T @ {a}"),
        (
            "product-of-sums",
            shape,
            lambda dZ: np.outer(A.sum(axis=0), dZ.sum(axis=0)),
            f"np.outer({a}.sum(axis=0), {dz}.sum(axis=0))",
        ),
        (
            "not-summed",
            (m, n_in, n_out),
            lambda dZ: A[:, :, np.newaxis] * dZ[:, np.newaxis, :],
            f"{a}[:, :, None] * {dz}[:, None, :]",
        ),
    ]
    if n_in != n_out:  # a square matrix comes out of its reshape as it was
        text = f"({dz}.T @ {a}).reshape{shape}"
        ways.append(("reshaped-not-transposed", shape, lambda dZ: (dZ.T @ A).reshape(shape), text))
    for name, i in (("first-sample-only", 0), ("last-sample-only", -1)) if m > 1 else ():
        text = f"np.outer({a}[{i}], {dz}[{i}])"
        ways += [(name, shape, of_sample(i, 1), text), (name, shape, of_sample(i, m), text)]
    return ways


def inputs(t: Trace, l: int) -> Iterator[Choice]:
    """What people take for A_{l-1}."""
    A, a = t.A[l - 1], "x" if l == 1 else f"A{l - 1}"
    yield Choice(None, A, a)
    if l > 1:
        yield Choice("input-before-activation", t.Z[l - 1], f"Z{l - 1}")
    else:
        centred, spread = A - A.mean(axis=0), A.std(axis=0)
        standard = centred / np.where(spread > 0, spread, 1.0)
        yield Choice("wrong-input-scaling", centred, "(x - x.mean(axis=0))")
        yield Choice("wrong-input-scaling", standard, "((x - x.mean(axis=0)) / x.std(axis=0))")
    if A.shape == t.A[l].shape:
        yield Choice("output-for-input", t.A[l], f"A{l}")
    foreign = None if t.elsewhere is None else t.elsewhere.A[l - 1]
    for rows, text in other_samples(A, foreign, a):
        yield Choice("stale-activations", rows, text)


def bias_products(t: Trace, l: int, n_mistakes: int) -> Iterator[Product]:
    """db_l = sum of dZ_l over the rows with exactly ``n_mistakes`` in it (at most one)."""
    n, A, dz = t.W[l].shape[1], t.A[l - 1], f"dZ{l}"
    scalar = "one-scalar-for-all-biases"
    ways: list[Way] = [
        (None, (n,), lambda dZ: dZ.sum(axis=0), f"{dz}.sum(axis=0)"),
        (scalar, (n,), lambda dZ: np.full(n, dZ.sum()), f"{dz}.sum()"),
        (scalar, (n,), lambda dZ: np.full(n, dZ.sum() / n), f"{dz}.sum() / {n}"),
        (scalar, (), lambda dZ: dZ.sum(), f"{dz}.sum()"),
        (scalar, (), lambda dZ: dZ.sum() / n, f"{dz}.sum() / {n}"),
        ("wrong-axis", (t.m,), lambda dZ: dZ.sum(axis=1), f"{dz}.sum(axis=1)"),
        ("not-summed", (t.m, n), lambda dZ: dZ, dz),
        ("bias-from-weights", (n,), lambda dZ: A.sum(axis=1) @ dZ, f"dW{l}.sum(axis=0)"),
    ]
    if t.m > 1:
        ways += [
            ("first-sample-only", (n,), lambda dZ: dZ[0], f"{dz}[0]"),
            ("first-sample-only", (n,), lambda dZ: t.m * dZ[0], f"{dz}[0]"),
            ("last-sample-only", (n,), lambda dZ: dZ[-1], f"{dz}[-1]"),
            ("last-sample-only", (n,), lambda dZ: t.m * dZ[-1], f"{dz}[-1]"),
        ]
    for name, shape, of, text in ways:
        if (name is not None) == n_mistakes:
            yield Product(() if name is None else (Made(name, l),), shape, of, text)


def same_shape(g: Array, shape: tuple[int, ...]) -> bool:
    """Whether ``g`` has ``shape``, up to axes of length 1; a flat vector will do for any."""
    squeezed = tuple(n for n in shape if n != 1)
    mine = tuple(n for n in np.shape(g) if n != 1)
    return mine == squeezed or (np.ndim(g) == 1 and mine == (int(np.prod(squeezed)),))
