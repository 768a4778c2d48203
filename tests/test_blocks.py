"""Large arrays in blocks of rows: every row once, and never a copy of the whole."""

import threading
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


@pytest.mark.parametrize("shared", [0, 1 << 24])
@pytest.mark.parametrize("name", KINDS)
def test_rows_are_taken_in_any_order(monkeypatch, small_blocks, name, shared):
    monkeypatch.setattr(blocks, "SHARED_BYTES", shared)
    A = KINDS[name]
    rows = np.array([19, 0, 7, 7, 3, 12, 11, 1], np.int32)
    out = np.full((8, *A.shape[1:]), np.nan)
    take_rows(A, rows, out)
    np.testing.assert_array_equal(out, A[rows])


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_rows_are_shared_as_well(monkeypatch, n):
    monkeypatch.setattr(blocks, "SHARED_BYTES", 0)
    A, out = KINDS["plain"], np.full((n, 3), np.nan)
    take_rows(A, np.arange(n) + 5, out)
    np.testing.assert_array_equal(out, A[5 : 5 + n])


@pytest.mark.parametrize(("shared", "n_threads"), [(120, 2), (121, 1)])
def test_two_threads_share_what_is_large(monkeypatch, shared, n_threads):
    monkeypatch.setattr(blocks, "SHARED_BYTES", shared)
    alone, seen = blocks.take_alone, []

    def noted(A, rows, out):
        seen.append((threading.current_thread(), len(rows)))
        alone(A, rows, out)

    monkeypatch.setattr(blocks, "take_alone", noted)
    take_rows(KINDS["plain"], np.arange(5), np.empty((5, 3)))
    threads, shares = zip(*seen, strict=True)
    assert len(set(threads)) == n_threads
    assert sorted(shares) == ([2, 3] if n_threads == 2 else [5])
    assert not any(thread.is_alive() for thread in set(threads) - {threading.current_thread()})


def test_what_the_second_thread_raises_is_raised(monkeypatch):
    monkeypatch.setattr(blocks, "SHARED_BYTES", 0)
    monkeypatch.setattr(blocks, "BLOCK", 3)
    rows = np.array([0, 1, 2, 99])  # in another dtype, where it is looked whether a row is there
    with pytest.raises(IndexError, match="99"):
        take_rows(KINDS["another dtype"], rows, np.empty((4, 3)))


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
