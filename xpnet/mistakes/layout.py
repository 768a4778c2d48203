"""Rows or columns: how somebody's arrays stand, and turning them into rows.

rows      x (m, n_in), W (n_in, n_out), y (m,) or (m, k):  x @ W + b
columns   W (n_out, n_in), x (n_in, m), y (m,) or (k, m):  W @ x + b
          or, with the samples in rows, x (m, n_in):       x @ W.T + b
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..errors import DataError, check_choice
from ..types import Array

__all__ = ["LAYOUTS", "Arrays", "Layout", "in_rows"]

LAYOUTS = ("rows", "columns")


class Layout(NamedTuple):
    """Whether matrices, and samples, are those of ``rows`` or of ``columns``."""

    weights: str
    samples: str

    @property
    def name(self) -> str:
        """What ``--layout`` calls it."""
        return self.weights

    @property
    def formula(self) -> str:
        if self.weights == "rows":
            return "x @ W + b"
        return "W @ x + b" if self.samples == "columns" else "x @ W.T + b"


ROWS = Layout("rows", "rows")
COLUMNS = Layout("columns", "columns")
COLUMNS_OF_ROWS = Layout("columns", "rows")


class Arrays(NamedTuple):
    """Data, parameters and gradients; ``b`` holds None for a layer without biases."""

    x: Array
    y: Array
    W: Sequence[Array]
    b: Sequence[Array | None]
    grads: Mapping[str, Array]


def in_rows(arrays: Arrays, layout: str | None = None) -> tuple[Arrays, Layout, list[str]]:
    """``arrays`` turned into rows, the layout they had, and notes on what was decided.

    ``layout`` is one of LAYOUTS, or None for the one that fits; where both do it is rows. Samples
    with more axes than one are flattened, and a single sample may lack its axis. Raises DataError,
    which prints the shapes, where nothing fits.
    """
    if layout is not None:
        check_choice("layout", layout, LAYOUTS)
    found, notes = choose(arrays, layout)
    W = [w if found.weights == "rows" else w.T for w in arrays.W]
    x = inputs_in_rows(arrays.x, W[0].shape[0], found)
    assert x is not None
    y = targets_in_rows(arrays.y, len(x), W[-1].shape[1], found)
    if y is None:
        y = targets_in_rows(arrays.y, len(x), W[-1].shape[1], turned(found))
        assert y is not None
        notes.append(f"y {arrays.y.shape} stands the other way than x and is read as {y.shape}")
    if arrays.x.ndim != 2:
        notes.append(f"x {arrays.x.shape} is read as {x.shape}: a row is a sample")
    grads = {name: gradient_in_rows(name, g, arrays, found) for name, g in arrays.grads.items()}
    return Arrays(x, y, W, arrays.b, grads), found, notes


# ---- which layout ----------------------------------------------------------------------------


def choose(arrays: Arrays, layout: str | None) -> tuple[Layout, list[str]]:
    """The layout that fits, and a note where another one does as well."""
    everything = [ROWS, COLUMNS, COLUMNS_OF_ROWS]
    asked = [one for one in everything if layout in (None, one.name)]
    chained = [one for one in asked if broken(arrays, one) is None]
    if not chained:
        raise DataError(no_chain(arrays, asked, layout, everything))
    # y as it stands in a layout; only then y the other way round from x
    fitting = [one for one in chained if targets_fit(arrays, one, one)]
    fitting = fitting or [one for one in chained if targets_fit(arrays, one, turned(one))]
    if not fitting:
        m, k = samples_and_outputs(arrays, chained[0])
        raise DataError(
            f"y {arrays.y.shape} does not go with {m} samples and {k} outputs: it must be labels "
            f"({m},) or targets ({m}, {k}){f' or ({k}, {m})' if chained[0] != ROWS else ''}"
        )
    if len({one.name for one in fitting}) == 2:
        return ROWS, [
            "these shapes fit both layouts; they are read as rows: --layout columns reads W as "
            "(n_out, n_in)"
        ]
    if len(fitting) == 2:
        flat = any(b is not None and b.ndim == 1 for b in arrays.b)
        found = COLUMNS_OF_ROWS if flat else COLUMNS
        return found, [
            f"x {arrays.x.shape} is square: its samples are taken to stand in {found.samples}, "
            f"{found.formula}, since the biases are {'' if flat else 'not '}flat"
        ]
    return fitting[0], []


def turned(layout: Layout) -> Layout:
    """The same weights with the samples the other way round."""
    return layout._replace(samples="rows" if layout.samples == "columns" else "columns")


def targets_fit(arrays: Arrays, layout: Layout, of_y: Layout) -> bool:
    """Whether y, read as ``of_y``, goes with x and W read as ``layout``."""
    m, k = samples_and_outputs(arrays, layout)
    return targets_in_rows(arrays.y, m, k, of_y) is not None


def samples_and_outputs(arrays: Arrays, layout: Layout) -> tuple[int, int]:
    widths = [n_in_out(w, layout) for w in arrays.W]
    x = inputs_in_rows(arrays.x, widths[0][0], layout)
    return 0 if x is None else len(x), widths[-1][1]


def n_in_out(w: Array, layout: Layout) -> tuple[int, int]:
    n_in, n_out = w.shape if layout.weights == "rows" else w.shape[::-1]
    return n_in, n_out


def broken(arrays: Arrays, layout: Layout) -> str | None:
    """The first product of the forward pass that cannot be computed, or None."""
    widths = [n_in_out(w, layout) for w in arrays.W]
    if inputs_in_rows(arrays.x, widths[0][0], layout) is None:
        return product_text("x", 1, layout)
    for l in range(1, len(widths)):
        if widths[l][0] != widths[l - 1][1]:
            return product_text(f"A{l}", l + 1, layout)
    return None


def product_text(a: str, l: int, layout: Layout) -> str:
    return layout.formula.removesuffix(" + b").replace("x", a).replace("W", f"W{l}")


def no_chain(
    arrays: Arrays, asked: list[Layout], layout: str | None, everything: list[Layout]
) -> str:
    """What does not fit, with the shapes of the whole chain."""
    shapes = [f"x {arrays.x.shape}", *(f"W{l} {w.shape}" for l, w in enumerate(arrays.W, 1))]
    failing = [f"{one.name} fail at {broken(arrays, one)}" for one in asked]
    others = [one.name for one in everything if broken(arrays, one) is None]
    remedy = f"; they fit --layout {others[0]}" if others else folded(arrays, everything)
    what = f"layout {layout}" if layout else "either layout"
    return (
        f"the shapes {', '.join(shapes)} fit no network in {what}: "
        f"{', '.join(dict.fromkeys(failing))}{remedy}"
    )


def folded(arrays: Arrays, everything: list[Layout]) -> str:
    """What to do where each layer has one input more than there are units before it: its bias."""
    for layout in everything:
        widths = [n_in_out(w, layout) for w in arrays.W]
        inner = all(layer[0] == before[1] + 1 for before, layer in pairwise(widths))
        first = [inputs_in_rows(arrays.x, widths[0][0] - more, layout) for more in (0, 1)]
        if inner and any(x is not None for x in first):
            line = "row" if layout.weights == "rows" else "column"
            return f"; if one {line} of a W is the bias, save it by itself, as b1, b2 ..."
    return ""


# ---- one array -------------------------------------------------------------------------------


def inputs_in_rows(x: Array, n_in: int, layout: Layout) -> Array | None:
    """x as (m, n_in), or None where it does not fit."""
    if x.ndim == 0 or (x.ndim != 2 and layout.samples == "columns"):
        return None
    if x.ndim == 1:  # one sample, or samples of one number
        x = x.reshape(1, -1) if len(x) == n_in else x.reshape(-1, 1)
    elif x.ndim > 2:
        x = x.reshape(len(x), -1)
    elif layout.samples == "columns":
        x = x.T
    return x if x.shape[1] == n_in else None


def targets_in_rows(y: Array, m: int, k: int, layout: Layout) -> Array | None:
    """y as labels (m,) or (m, 1), or targets (m, k), or None where it does not fit."""
    if m == 1 and y.size in (1, k):
        return y.reshape(1, -1)
    if layout.samples == "columns" and y.ndim == 2:
        y = y.T
    if y.ndim not in (1, 2) or len(y) != m:
        return None
    return y if y.ndim == 1 or y.shape[1] in (1, k) else None


def gradient_in_rows(name: str, g: Array, arrays: Arrays, layout: Layout) -> Array:
    """A gradient turned as its weights, or as the samples for a bias, are turned."""
    if name.startswith("dW") and layout.weights == "columns":
        W = arrays.W[int(name[2:]) - 1]
        if g.ndim == 1 and g.size == W.size:
            return g.reshape(W.shape).T
        return np.swapaxes(g, -1, -2) if g.ndim in (2, 3) else g
    if name.startswith("db") and layout.samples == "columns" and g.ndim == 2:
        return g.T
    return g
