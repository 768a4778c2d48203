"""Does a gradient consist of these parts? Least squares, with what rounding may do taken off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..types import Array

__all__ = ["Fit", "fit", "tolerance"]

TOLERANCE = {"double": 1e-6, "single": 2e-5}
"""Relative distance at which two gradients count as the same.

Sums in another order differ by 1e-15 and 1e-6 of their size; the margin is for long sums and for
gradients that somebody rounded. A mistake changes a gradient by far more.
"""

NOISE_MARGIN = 10.0
"""How much worse than our own rounding somebody's formula may be."""

UNSURE = 0.1
"""A coefficient that may be off by more than this share of itself says nothing."""

WORST_CONDITION = 1e8
"""Columns nearer to parallel than this cannot be told apart."""


class Fit(NamedTuple):
    """g = sum of c_i column_i, to within rounding. ``error`` (p,) is how far each c may be off.

    ``residual`` = ||g - sum|| / ||g||. ``determined``: there are more numbers than coefficients.
    Where the first column is nothing but rounding, its c is 0 and does not count.
    """

    c: Array
    error: Array
    residual: float
    determined: bool


def fit(
    g: Array,
    columns: Sequence[Array],
    noise: float,
    eps: float,
    blur: float = 0.0,
    margin: float = 1.0,
    unsure: float = UNSURE,
) -> Fit | None:
    """The coefficients with which ``columns`` make up ``g``, or None where they do not.

    ``noise`` is the size of rounding in the first column, ``eps`` that of the dtype of g, and
    ``blur`` what else may be off in g; ``margin`` widens the tolerance. A first coefficient that
    may be off by the share ``unsure`` of itself is none.
    """
    if any(np.size(column) != np.size(g) for column in columns):
        return None
    X = np.stack([np.ravel(column) for column in columns], axis=1)
    g = np.ravel(g)
    sizes = np.sqrt(np.einsum("ij,ij->j", X, X))
    if not np.isfinite(sizes).all() or not (sizes[1:] > 0).all():
        return None
    size = float(np.linalg.norm(g))
    nothing = sizes[0] <= NOISE_MARGIN * noise
    if nothing:
        X, sizes = X[:, 1:], sizes[1:]
    scaled = X / sizes
    solution, inverse = solve(scaled, g)
    if inverse is None:
        return None
    rest = float(np.linalg.norm(g - scaled @ solution))
    if nothing:
        if rest > NOISE_MARGIN * (noise + eps * size * (X.shape[1] > 0)) + blur:
            return None
        c, slack = solution / sizes, NOISE_MARGIN * noise + blur
    else:
        c = solution / sizes
        slack = NOISE_MARGIN * abs(float(c[0])) * noise + blur
        if not rest <= margin * tolerance(eps) * size + slack:
            return None
    error = (3 * rest + slack) * np.sqrt(np.maximum(np.diag(inverse), 0.0)) / sizes
    if nothing:
        return Fit(np.append(0.0, c), np.append(0.0, error), 0.0, False)
    residual = rest / size if size else 0.0
    if error[0] >= unsure * abs(c[0]):
        return None
    n_telling = int(np.count_nonzero(np.any(X != 0, axis=1)))
    return Fit(c, error, residual, n_telling > len(columns))


def tolerance(eps: float) -> float:
    """The relative distance at which two gradients of machine epsilon ``eps`` are the same."""
    return TOLERANCE["double" if eps < 1e-12 else "single"]


def solve(X: Array, g: Array) -> tuple[Array, Array | None]:
    """The least-squares solution of X c = g and (X^T X)^-1, None where that is ill-conditioned."""
    if X.shape[1] == 0:
        return np.zeros(0), np.zeros((0, 0))
    gram = X.T @ X
    if X.shape[1] > 1 and np.linalg.cond(gram) > WORST_CONDITION:
        return np.zeros(0), None
    inverse = np.linalg.inv(gram)
    return inverse @ (X.T @ g), inverse
