"""The IDX reader gives back what was written, and survives any bytes whatever."""

import contextlib
import gzip
import math
import re
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpnet import DataError
from xpnet.datasets import read_idx

FUZZ = settings(max_examples=150, deadline=None, derandomize=True)


def idx(array):
    """The bytes of an IDX file, after its description."""
    header = bytes([0, 0, 8, array.ndim])
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def header(*sizes, start=b"\0\0\x08"):
    return start + bytes([len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
PLAIN = idx(ARRAY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples, each of which writes its file anew."""
    return tmp_path_factory.mktemp("idx")


def read(folder, content, name="file.idx"):
    path = folder / name
    path.write_bytes(content)
    return read_idx(path)


def read_or_refuse(folder, content, name="file.idx"):
    """The array, or None where the reader raised the one error it may, with the file's name."""
    with contextlib.suppress(DataError):
        return read(folder, content, name)
    with pytest.raises(DataError, match=re.escape(str(folder / name))):
        read_idx(folder / name)
    return None


# ---- sound files ---------------------------------------------------------------------------


@FUZZ
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    seed=st.integers(0, 2**32 - 1),
    zipped=st.booleans(),
)
def test_what_was_written_is_read(folder, shape, seed, zipped):
    array = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    content = gzip.compress(idx(array), mtime=0) if zipped else idx(array)
    got = read(folder, content, "file.gz" if zipped else "file.idx")
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, array)


def test_a_path_may_be_a_string(folder):
    (folder / "text.idx").write_bytes(PLAIN)
    np.testing.assert_array_equal(read_idx(str(folder / "text.idx")), ARRAY)


def test_a_gzip_file_in_two_members_is_one_file(folder):
    content = gzip.compress(PLAIN[:20], mtime=0) + gzip.compress(PLAIN[20:], mtime=0)
    np.testing.assert_array_equal(read(folder, content, "two.gz"), ARRAY)


def test_a_file_larger_than_a_chunk_is_read_whole(folder):
    array = np.random.default_rng(0).integers(0, 256, (3, 1 << 20)).astype(np.uint8)
    np.testing.assert_array_equal(read(folder, idx(array)), array)


@pytest.mark.parametrize("code", [0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E])
def test_every_type_comes_in_the_byte_order_of_the_machine(folder, code):
    kind = {8: "u1", 9: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}[code]
    array = np.array([[1, 2, 3], [100, 0, 7]], kind)
    content = header(2, 3, start=bytes([0, 0, code])) + array.astype(f">{kind}").tobytes()
    got = read(folder, content)
    assert got.dtype == np.dtype(kind)
    np.testing.assert_array_equal(got, array)


def test_the_limit_is_on_the_unpacked_bytes(folder):
    path = folder / "limit.gz"
    path.write_bytes(gzip.compress(PLAIN, mtime=0))
    np.testing.assert_array_equal(read_idx(path, max_bytes=24), ARRAY)
    with pytest.raises(DataError, match=r"limit of 23 bytes: raise it with --max-bytes"):
        read_idx(path, max_bytes=23)


# ---- damaged files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file"),
        (b"\0\0\x08", "no IDX file"),
        (b"PK\x03\x04" + PLAIN, "no IDX file"),
        (b"\1" + PLAIN[1:], "no IDX file"),
        (b"\0\1" + PLAIN[2:], "no IDX file"),
        (b"\0\0\x08\0" + PLAIN[4:], "no IDX file"),
        (b"\0\0\x0a" + PLAIN[3:], "no IDX type 0x0a"),
        (b"\0\0\xff" + PLAIN[3:], "no IDX type 0xff"),
        (b"\0\0\x0e" + PLAIN[3:], "promises 192 bytes of values, but there are only 24"),
        (gzip.compress(PLAIN, mtime=0), "no IDX file"),
        (PLAIN + b"\0", "24 bytes of values, but there are more"),
        (PLAIN[:-1], "24 bytes of values, but there are only 23"),
        (PLAIN[:10], "ends within its header, at byte 10"),
        (header(2**32 - 1, 2**32 - 1, 2**32 - 1), "promises an array"),
        (header(2**32 - 1), "but there are only 0"),
        (header(2**31, 2**31), "more than the limit of 8,589,934,592 bytes"),
        (header(0, 2**32 - 1, 2**32 - 1), "promises an array"),
        (header(0), "promises an array"),
        (header(*[1] * 65) + b"\0", "promises an array"),
        (header(*[1] * 255) + b"\0", "promises an array"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(folder, content, message):
    for name, stored in (("file.idx", content), ("file.gz", gzip.compress(content, mtime=0))):
        with pytest.raises(DataError, match=message) as caught:
            read(folder, stored, name)
        assert str(folder / name) in str(caught.value)


def test_every_truncation_is_refused(folder):
    zipped = gzip.compress(PLAIN, mtime=0)
    for content, name in ((PLAIN, "file.idx"), (zipped, "file.gz")):
        for end in range(len(content)):
            assert read_or_refuse(folder, content[:end], name) is None


def test_every_flipped_bit_of_a_gzip_file_is_refused_or_harmless(folder):
    zipped = gzip.compress(PLAIN, mtime=0)
    refused = 0
    for i in range(8 * len(zipped)):
        content = bytearray(zipped)
        content[i // 8] ^= 1 << i % 8
        array = read_or_refuse(folder, bytes(content), "file.gz")
        refused += array is None
        if array is not None:  # a bit of the time stamp, system or name: no part of the data
            np.testing.assert_array_equal(array, ARRAY)
    assert refused > 8 * (len(zipped) - 10)


def test_what_follows_a_gzip_file_is_refused_unless_zeros(folder):
    zipped = gzip.compress(PLAIN, mtime=0)
    assert read_or_refuse(folder, zipped + b"rubbish", "file.gz") is None
    np.testing.assert_array_equal(read(folder, zipped + bytes(7), "file.gz"), ARRAY)


def test_a_header_that_promises_much_costs_no_memory(folder):
    tracemalloc.start()
    try:
        assert read_or_refuse(folder, header(8 << 10, 1 << 20) + bytes(100)) is None
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@FUZZ
@given(content=st.binary(max_size=200), zipped=st.booleans(), as_gz=st.booleans())
def test_arbitrary_bytes_raise_nothing_but_data_error(folder, content, zipped, as_gz):
    content = gzip.compress(content, mtime=0) if zipped else content
    read_or_refuse(folder, content, "file.gz" if as_gz else "file.idx")


@FUZZ
@given(
    sizes=st.lists(st.sampled_from([0, 1, 2, 3, 255, 2**31, 2**32 - 1]), max_size=255),
    kind=st.sampled_from([0, 8, 8, 8, 9, 0x0A, 0x0B, 0x0E, 0xFF]),
    body=st.binary(max_size=20),
)
def test_any_header_raises_nothing_but_data_error(folder, sizes, kind, body):
    array = read_or_refuse(folder, header(*sizes, start=bytes([0, 0, kind])) + body)
    width = {8: 1, 9: 1, 0x0B: 2, 0x0E: 8}.get(kind, 0)
    fits = 0 < len(sizes) <= 64 and width * math.prod(sizes) == len(body) > 0
    assert (array is not None) == fits


@FUZZ
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(["set", "insert", "delete"]), st.integers(0, 200), st.binary()),
        min_size=1,
        max_size=4,
    ),
    zipped=st.booleans(),
)
def test_mutations_of_a_sound_file_raise_nothing_but_data_error(folder, edits, zipped):
    content = bytearray(gzip.compress(PLAIN, mtime=0) if zipped else PLAIN)
    for kind, place, new in edits:
        place %= len(content) + 1
        if kind == "set":
            content[place : place + len(new)] = new
        elif kind == "insert":
            content[place:place] = new
        else:
            del content[place : place + len(new)]
    array = read_or_refuse(folder, bytes(content), "file.gz" if zipped else "file.idx")
    if array is not None:
        assert array.dtype == np.uint8
        assert array.ndim >= 1


@pytest.mark.parametrize("name", ["missing.idx", "missing.gz"])
def test_a_missing_file_is_an_os_error(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        read_idx(tmp_path / name)
