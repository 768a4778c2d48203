"""Large arrays on the host, read in blocks of rows: memory-mapped ones never come in whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .types import NumpyArray

__all__ = ["first_row_not_finite", "row_blocks", "take_rows"]


BLOCK = 1 << 20

SHARED_BYTES = 1 << 24
"""Below, a thread takes too long to start for what it saves."""


def row_blocks(X: NumpyArray) -> Iterator[tuple[int, NumpyArray]]:
    """X in parts of about BLOCK values, each with its first row: temporary arrays stay small."""
    step = rows_a_block(X)
    for start in range(0, len(X), step):
        yield start, X[start : start + step]


def rows_a_block(X: NumpyArray) -> int:
    values = int(math.prod(X.shape[1:]))
    return max(1, BLOCK // max(1, values))


def first_row_not_finite(X: NumpyArray) -> int | None:
    """The first row of X (n, k) with a NaN or an infinity, if there is one."""
    for start, block in row_blocks(X):
        finite = np.isfinite(block)
        if not finite.all():
            return start + int(np.argmin(finite.all(axis=1)))
    return None


def take_rows(A: NumpyArray, rows: NumpyArray, out: NumpyArray) -> None:
    """Write the rows ``rows`` (m,) of A (n, ...) to ``out`` (m, ...), cast to its dtype.

    Two threads share what is large: NumPy copies without holding the others back.
    """
    if out.nbytes < SHARED_BYTES:
        take_alone(A, rows, out)
        return
    half = len(rows) // 2
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(take_alone, A, rows[half:], out[half:])
        take_alone(A, rows[:half], out[:half])
        second.result()


def take_alone(A: NumpyArray, rows: NumpyArray, out: NumpyArray) -> None:
    """``take_rows`` in this thread."""
    if A.dtype == out.dtype and A.flags.c_contiguous and A.flags.aligned:
        np.take(A, rows, axis=0, out=out, mode="clip")  # "raise" would buffer the output
        return
    step = rows_a_block(A)
    for start in range(0, len(rows), step):  # take would first copy the whole of such an array
        out[start : start + step] = A[rows[start : start + step]]
