"""Does a gradient consist of these parts? Least squares, with what rounding may do taken off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..types import Array

__all__ = ["Fit", "fit"]

TOLERANCE = {"double": 1e-6, "single": 2e-5}
"""Relative distance at which two gradients count as the same.

Sums in another order differ by 1e-15 and 1e-6 of their size; the margin is for long sums and for
gradients that somebody rounded. A mistake changes a gradient by far more.
"""

NOISE_MARGIN = 10.0
"""How much worse than our own rounding somebody's formula may be."""


class Fit(NamedTuple):
    """g = sum of c_i column_i, to within rounding. ``error`` (p,) is how far each c may be off.

    ``residual`` = ||g - sum|| / ||g||. ``determined``: there are more numbers than coefficients.
    """

    c: Array
    error: Array
    residual: float
    determined: bool


def fit(g: Array, columns: Sequence[Array], noise: float, eps: float) -> Fit | None:
    """The coefficients with which ``columns`` make up ``g``, or None where they do not.

    ``noise`` is the size of rounding in the first column; ``eps`` that of the dtype of g.
    """
    X = np.stack([np.ravel(column) for column in columns], axis=1)
    g = np.ravel(g)
    sizes = np.sqrt(np.einsum("ij,ij->j", X, X))
    size = float(np.linalg.norm(g))
    if sizes[0] <= NOISE_MARGIN * noise or not np.isfinite(sizes).all():
        return None
    scaled = X / np.where(sizes > 0, sizes, 1.0)
    if len(columns) == 1:
        solution: Array = np.array([scaled[:, 0] @ g])
        inverse: Array = np.ones((1, 1))
    else:
        gram = scaled.T @ scaled
        if np.linalg.cond(gram) > 1e8:
            return None
        inverse = np.linalg.inv(gram)
        solution = inverse @ (scaled.T @ g)
    rest = float(np.linalg.norm(g - scaled @ solution))
    c = solution / np.where(sizes > 0, sizes, 1.0)
    slack = NOISE_MARGIN * abs(float(c[0])) * noise
    tolerance = TOLERANCE["double" if eps < 1e-12 else "single"]
    if not rest <= tolerance * size + slack or c[0] == 0:
        return None
    spread = np.sqrt(np.maximum(np.diag(inverse), 0.0)) / np.where(sizes > 0, sizes, 1.0)
    return Fit(c, (3 * rest + slack) * spread, rest / size if size else 0.0, len(g) > len(columns))
