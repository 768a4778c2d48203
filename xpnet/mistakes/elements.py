"""The few elements of a large gradient that are compared first: the whole product costs more."""

from __future__ import annotations

import numpy as np

from ..types import Array

__all__ = ["N_ELEMENTS", "telling_elements"]

N_ELEMENTS = 64
"""Elements of a large gradient that are compared first."""


def telling_elements(g: Array) -> Array:
    """Flat indices of elements of ``g`` that are not 0, where it can be in few rows and columns.

    Only these columns of the two factors have then to be read.
    """
    matrix = np.squeeze(g)
    if matrix.ndim == 2:
        side = int(N_ELEMENTS**0.5)
        rows, columns = (
            np.argsort(-np.linalg.norm(matrix, axis=axis), kind="stable")[:side] for axis in (1, 0)
        )
        index = np.ravel(rows[:, np.newaxis] * matrix.shape[1] + columns)
        if np.ravel(g)[index].all():
            return index
    return np.random.default_rng(0).permutation(np.flatnonzero(g))[:N_ELEMENTS]
