"""Whatever bytes a file holds: every reader gives a dataset or a DataError, soon and in bounds."""

import gzip
import io
import struct
import time
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpnet import DataError
from xpnet.datasets import read

SECONDS = 1.0
ATTEMPTS = 3
BYTES = 256 << 20


def fuzz(n):
    """``n`` examples, the same ones every time; time is asserted below, in CPU seconds."""
    return settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples, each of which writes its file anew."""
    return tmp_path_factory.mktemp("fuzz")


def attempt(path, options):
    """What one reading gives: the parts, the error's message, CPU seconds and bytes."""
    parts, message = (), None
    tracemalloc.start()
    began = time.thread_time()
    try:
        parts = read(path, **options)
    except DataError as error:
        message = str(error)
    finally:
        seconds, peak = time.thread_time() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return parts, message, seconds, peak


def survive(path, content, blamed=None, **options):
    """Read ``content``; returns whether it was accepted. ``path`` is what ``read`` gets."""
    (blamed or path).write_bytes(content)
    # A busy machine, a first import or the collection of garbage is slow once; a file is so always.
    for _ in range(ATTEMPTS):
        parts, message, seconds, peak = attempt(path, options)
        if seconds < SECONDS:
            break
    assert seconds < SECONDS, f"{seconds:.2f} seconds of CPU, {ATTEMPTS} times"
    assert peak < BYTES, f"{peak:,} bytes of memory"
    if message is not None:
        assert "\n" not in message
        assert str(path) in message or str(blamed) in message
        return False
    for part in parts:
        if part is not None:
            assert part.X.dtype in (np.uint8, np.float32, np.float64)
            assert np.isfinite(part.X).all()
            assert np.isfinite(part.y).all()
            assert len(part.X) == len(part.y) > 0
            assert part.y.dtype == np.float64 or (part.y >= 0).all()
    return True


# ---- the bytes ------------------------------------------------------------------------------

TELLING = st.sampled_from(
    [b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(8), b"\xff" * 8, b"nan", b"1e400", b",", b"\n"]
)


@st.composite
def mutations(draw, sound):
    """One of the ``sound`` contents, damaged in one to four places."""
    content = bytearray(draw(st.sampled_from(sound)))
    for _ in range(draw(st.integers(1, 4))):
        i = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["set", "insert", "delete", "flip", "cut", "repeat"]))
        if kind == "set":
            new = draw(TELLING)
            content[i : i + len(new)] = new
        elif kind == "insert":
            content[i:i] = draw(st.one_of(TELLING, st.binary(max_size=10)))
        elif kind == "delete":
            del content[i : i + draw(st.integers(1, 20))]
        elif kind == "flip" and i < len(content):
            content[i] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del content[i:]
        elif kind == "repeat":
            content[i:i] = content[i : i + 20] * draw(st.integers(1, 1000))
    return bytes(content)


CELLS = st.one_of(
    st.integers(-1, 300).map(str),
    st.floats().map(repr),
    st.sampled_from(["", " ", "0", "1", "nan", "-inf", "1e400", "1_0", '"', '"1"', "x", "é", "\0"]),
)


@st.composite
def tables(draw):
    """Text that is nearly a table, or is one, now and then of a hundred thousand cells."""
    width = draw(st.integers(1, 5))
    good = st.integers(0, 9).map(str)
    cell = draw(st.sampled_from([good, good, CELLS]))
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=6))
    if draw(st.booleans()):
        rows.append(draw(st.lists(CELLS, max_size=6)))
    delimiter, end = draw(st.sampled_from(",;\t")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = end.join(delimiter.join(row) for row in rows) + draw(st.sampled_from(["", end]))
    return (text * draw(st.sampled_from([*[1] * 15, 10_000]))).encode()[: 1 << 18]


TABLES = [
    b"0,1,2\n1,3,4\n",
    b"label,a,b\r\n0,1.5,2e3\r\n1,-3,4\r\n",
    b'"y";"a";"b"\n0;1;2\n1;3;4\n',
]
CSV = st.one_of(st.binary(max_size=200), mutations(TABLES), tables())
ZIPPED = [gzip.compress(text, mtime=0) for text in TABLES]
CSV_GZ = st.one_of(st.binary(max_size=100), CSV.map(gzip.compress), mutations(ZIPPED))


def npz(entries, method=zipfile.ZIP_STORED):
    """The bytes of a zip file of (name, content) pairs."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
        warnings.simplefilter("ignore")  # names that are there twice
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), **options)
    return file.getvalue()


SIZES = st.sampled_from([0, 1, 2, 2, 3, 3, 1 << 16, 4 << 20, 2**31, 2**63, 10**30])
DESCRS = ["|u1", "|b1", "<i8", ">f4", "<f2", "<f8", "|O", "<c8", "<U1", "|V3", "<f16", "x"]


@st.composite
def arrays(draw):
    """The content of an entry: sound or lying .npy, object array or rubbish."""
    kind = draw(st.sampled_from(["sound", "sound", "lying", "objects", "rubbish"]))
    if kind == "sound":
        shape = draw(st.sampled_from([(3,), (3, 2), (2, 2), (3, 1), (3, 2, 2), ()]))
        values = draw(st.sampled_from([0, 1, 0.5, -1, np.nan, np.inf, 300]))
        array = np.full(shape, values) + np.arange(shape[-1] if shape else 1)
        if np.isfinite(values):
            array = array.astype(draw(st.sampled_from(["u1", "i2", ">i8", "f2", ">f8", "O", "U3"])))
        return npy(array)
    if kind == "objects":
        return npy(np.array([None, {}, 3]), allow_pickle=True)
    if kind == "rubbish":
        return draw(st.one_of(st.binary(max_size=30), mutations([npy([[1, 2], [3, 4]])])))
    shape = tuple(draw(st.lists(SIZES, max_size=4)))
    header = str({"descr": draw(st.sampled_from(DESCRS)), "fortran_order": False, "shape": shape})
    body = bytes(draw(st.sampled_from([0, 1, 6, 24, 1 << 16, 4 << 20])))
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + body


NAMES = [
    "x",
    "y",
    "x.npy",
    "y.npy",
    "x_test.npy",
    "y_test.npy",
    "weight.npy",
    "x_train.npy",
    "../x",
]


@st.composite
def archives(draw):
    names = ["x.npy", "y.npy", *draw(st.lists(st.sampled_from(NAMES), max_size=2))]
    method = draw(st.sampled_from([0, 0, 8, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    return npz([(name, draw(arrays())) for name in names], method)


X, Y = np.arange(6, dtype=np.uint8).reshape(3, 2), np.array([0, 1, 1])
ARCHIVES = [
    npz([("x.npy", npy(X)), ("y.npy", npy(Y))]),
    npz([("x.npy", npy(X / 7)), ("y.npy", npy(Y)), ("weight.npy", npy(Y / 2))], 8),
    npz(
        [
            (f"{name}.npy", npy(a))
            for name, a in (("x_train", X), ("y_train", Y), ("x_test", X), ("y_test", Y))
        ],
        8,
    ),
]
NPZ = st.one_of(st.binary(max_size=200), mutations(ARCHIVES), archives())


def idx(array, code=8):
    return (
        bytes([0, 0, code, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + bytes(array)
    )


@st.composite
def idx_files(draw):
    """Any type, any sizes, and now and then as many bytes as they promise."""
    sizes = draw(
        st.lists(st.sampled_from([0, 1, 2, 3, 3, 3, 1 << 16, 2**31, 2**32 - 1]), max_size=6)
    )
    code = draw(st.sampled_from([0, 8, 8, 9, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0xFF]))
    width = {8: 1, 9: 1, 0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8}.get(code, 1)
    promised = min(width * int(np.prod(np.array(sizes, float))), 16 << 20)
    length = draw(st.sampled_from([promised, promised, promised - 1, promised + 1, 0, 5]))
    body = draw(st.sampled_from([b"\0", b"\1", b"\xff", b"\x7f\x80\0\1"]))
    body = (body * (max(length, 0) // len(body) + 1))[: max(length, 0)]
    return bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + body


IMAGES, LABELS = idx(X.reshape(3, 1, 2)), idx(Y.astype(np.uint8))
IDX = st.one_of(st.binary(max_size=100), mutations([IMAGES, LABELS]), idx_files())
IDX_GZ = st.one_of(
    st.binary(max_size=100),
    IDX.map(lambda content: gzip.compress(content, 1, mtime=0)),
    mutations([gzip.compress(IMAGES, mtime=0), gzip.compress(LABELS, mtime=0)]),
)
LIMITS = st.sampled_from([8 << 30, 8 << 30, 4 << 20, 20])


# ---- the readers ----------------------------------------------------------------------------


def check_csv(folder, n):
    @fuzz(n)
    @given(content=CSV, real=st.booleans(), column=st.sampled_from(["first", "last"]))
    def check(content, real, column):
        targets = "real" if real else "classes"
        accepted.append(
            survive(folder / "f.csv", content, targets=targets, label_columns=(column,))
        )

    accepted = []
    check()
    return accepted


def check_csv_gz(folder, n):
    @fuzz(n)
    @given(content=CSV_GZ, max_bytes=LIMITS)
    def check(content, max_bytes):
        accepted.append(survive(folder / "f.csv.gz", content, max_bytes=max_bytes))

    accepted = []
    check()
    return accepted


def check_npz(folder, n):
    @fuzz(n)
    @given(content=NPZ, real=st.booleans(), max_bytes=LIMITS)
    def check(content, real, max_bytes):
        targets = "real" if real else "classes"
        accepted.append(survive(folder / "f.npz", content, targets=targets, max_bytes=max_bytes))

    accepted = []
    check()
    return accepted


def check_pair(folder, n, suffix, contents):
    """The bytes are the images, or the labels; the other file is sound."""
    images, labels = folder / f"images.idx{suffix}", folder / f"labels.idx{suffix}"
    pack = gzip.compress if suffix else bytes

    @fuzz(n)
    @given(content=contents, damaged=st.booleans(), real=st.booleans(), max_bytes=LIMITS)
    def check(content, damaged, real, max_bytes):
        images.write_bytes(pack(IMAGES))
        labels.write_bytes(pack(LABELS))
        options = {"targets": "real" if real else "classes", "max_bytes": max_bytes}
        blamed = images if damaged else labels
        accepted.append(survive(images, content, blamed, labels=labels, **options))

    accepted = []
    check()
    return accepted


READERS = {
    "csv": check_csv,
    "csv.gz": check_csv_gz,
    "npz": check_npz,
    "idx": lambda folder, n: check_pair(folder, n, "", IDX),
    "idx.gz": lambda folder, n: check_pair(folder, n, ".gz", IDX_GZ),
}


@pytest.mark.parametrize("reader", READERS)
def test_200_files(folder, reader):
    accepted = READERS[reader](folder, 200)
    assert not all(accepted)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_2000_files(folder, reader):
    accepted = READERS[reader](folder, 2000)
    assert len(accepted) >= 2000
    assert 5 < sum(accepted) < len(accepted) - 200, "some are sound and many are not"


def test_an_escaped_error_is_noticed(folder, monkeypatch):
    """The planted fault: a reader that lets one ValueError through."""
    monkeypatch.setattr("xpnet.datasets.files.read_npz", lambda *a, **k: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        survive(folder / "f.npz", b"")


def test_memory_and_time_are_noticed(folder, monkeypatch):
    """The planted faults."""

    def greedy(*args, **options):
        np.ones(BYTES, np.uint8)
        raise DataError(str(folder / "f.npz"))

    monkeypatch.setattr("xpnet.datasets.files.read_npz", greedy)
    with pytest.raises(AssertionError, match="bytes of memory"):
        survive(folder / "f.npz", b"")

    def slow(*args, **options):
        began = time.thread_time()
        while time.thread_time() < began + SECONDS:
            pass
        raise DataError(str(folder / "f.npz"))

    monkeypatch.setattr("xpnet.datasets.files.read_npz", slow)
    with pytest.raises(AssertionError, match="seconds of CPU"):
        survive(folder / "f.npz", b"")


def test_a_reading_that_is_slow_once_is_no_fault(folder, monkeypatch):
    """A machine that is busy for a moment says nothing about a file."""
    spent = []

    def slow_once(*args, **options):
        began = time.thread_time()
        while not spent and time.thread_time() < began + SECONDS:
            pass
        spent.append(True)
        raise DataError(str(folder / "f.npz"))

    monkeypatch.setattr("xpnet.datasets.files.read_npz", slow_once)
    assert not survive(folder / "f.npz", b"")
    assert len(spent) == 2
