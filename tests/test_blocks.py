"""Large arrays in blocks of rows: every row once, and never a copy of the whole."""

import tracemalloc

import numpy as np
import pytest

from xpnet import blocks
from xpnet.blocks import first_row_not_finite, row_blocks, take_rows


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of ten values."""
    monkeypatch.setattr(blocks, "BLOCK", 10)


KINDS = {
    "plain": np.arange(60.0).reshape(20, 3),
    "by columns": np.asfortranarray(np.arange(60.0).reshape(20, 3)),
    "every second": np.arange(120.0).reshape(40, 3)[::2],
    "another dtype": np.arange(60).reshape(20, 3),
    "another byte order": np.arange(60.0).reshape(20, 3).astype(">f8"),
    "not aligned": np.frombuffer(b"\0" * 481, np.uint8)[1:].view(np.float64).reshape(20, 3),
    "numbers": np.arange(20.0),
    "wide": np.arange(400.0).reshape(20, 20),
}


@pytest.mark.parametrize("name", KINDS)
def test_rows_are_taken_in_any_order(small_blocks, name):
    A = KINDS[name]
    rows = np.array([19, 0, 7, 7, 3, 12, 11, 1], np.int32)
    out = np.full((8, *A.shape[1:]), np.nan)
    take_rows(A, rows, out)
    np.testing.assert_array_equal(out, A[rows])


@pytest.mark.parametrize("name", ["plain", "by columns", "another dtype"])
def test_taking_rows_needs_no_copy_of_the_whole(name):
    order = "F" if name == "by columns" else "C"
    A = np.array(np.repeat(KINDS[name], 10_000, axis=0), order=order)
    rows, out = np.array([3, 100_000]), np.empty((2, 3))
    tracemalloc.start()
    take_rows(A, rows, out)
    peak = tracemalloc.get_traced_memory()[1]
    np.take(A, rows, axis=0)
    peak_of_take = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
    assert (peak_of_take > A.nbytes) == (name == "by columns"), "which is why"


def test_blocks_cover_every_row_once(small_blocks):
    X = KINDS["plain"]
    parts = list(row_blocks(X))
    assert [start for start, _ in parts] == list(range(0, 20, 3))
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), X)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_row_that_is_not_finite_is_found_in_any_block(small_blocks, value):
    X = KINDS["plain"].copy()
    assert first_row_not_finite(X) is None
    X[[13, 17], [2, 0]] = value
    assert first_row_not_finite(X) == 13
