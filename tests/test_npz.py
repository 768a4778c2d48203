"""NPZ: arrays of every real dtype are read; bombs, lies and Python objects are refused."""

import io
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpnet import DataError, UsageError
from xpnet.datasets import read

X = np.array([[1, 2], [3, 4], [5, 6]], np.uint8)
Y = np.array([0, 1, 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples, each of which writes its file anew."""
    return tmp_path_factory.mktemp("npz")


def load(folder, compressed=False, options=None, **arrays):
    path = folder / "t.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return read(path, **(options or {}))


def refusal(path, **options):
    """The message, without the path, of the DataError that reading must raise."""
    with pytest.raises(DataError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def refused(folder, options=None, **arrays):
    path = folder / "t.npz"
    np.savez(path, **arrays)
    return refusal(path, **(options or {}))


def npy(descr="'|u1'", shape="(3, 2)", body=b"\1\2\3\4\5\6", order="False", version=b"\1\0"):
    """The bytes of an .npy file, of which every part may be a lie."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + body


def archive(path, entries, method=zipfile.ZIP_STORED):
    """A zip file of (name, bytes) pairs."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as file:
        warnings.simplefilter("ignore")  # names that are there twice
        for name, content in entries:
            file.writestr(name, content)
    return path


def with_x(folder, content):
    """A file whose x is ``content`` and whose y is sound."""
    y = npy(shape="(3,)", body=b"\0\1\1")
    return archive(folder / "t.npz", [("x.npy", content), ("y.npy", y)])


# ---- sound files ----------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "names", [("x", "y", "x_test", "y_test"), ("x_train", "y_train", "x_test", "y_test")]
)
def test_a_training_and_a_test_set(folder, names, compressed):
    arrays = dict(zip(names, (X, Y, X[:1] * 20, Y[:1]), strict=True))
    train, test = load(folder, compressed, **arrays)
    np.testing.assert_array_equal(train.X, X)
    np.testing.assert_array_equal(train.y, Y)
    np.testing.assert_array_equal(test.X, X[:1] * 20)
    assert (train.X.dtype, train.y.dtype) == (np.uint8, np.int32)
    assert test.scale == train.scale == float(np.float32(1 / 6)), "the training set decides"


def test_capitals_weights_and_arrays_that_nobody_asked_for(folder):
    train, test = load(folder, X=X, y=Y, weight=[1, 0.5, 0], names=np.array(["a", "b"]))
    np.testing.assert_array_equal(train.weight, [1, 0.5, 0])
    assert test is None


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("dtype", "factor", "kept"),
    [
        ("bool", 1, "uint8"),
        ("uint8", 1, "uint8"),
        ("int8", -1, "float32"),
        (">i2", -100, "float32"),
        ("uint16", 1000, "float32"),
        ("int32", -1000, "float64"),
        ("<i8", 1000, "float64"),
        (">u8", 1000, "float64"),
        ("float16", 0.5, "float32"),
        (">f4", 0.1, "float32"),
        ("float64", 0.1, "float64"),
        (">f8", -0.1, "float64"),
    ],
)
def test_every_real_dtype_and_order(folder, dtype, factor, kept, order):
    x = np.array(np.arange(24).reshape(4, 3, 2) * factor, dtype, order=order)
    y = np.arange(4).astype(">f4")
    train, _ = load(folder, x=x, y=y)
    assert train.X.dtype == kept
    np.testing.assert_array_equal(train.X, x.reshape(4, 6))
    np.testing.assert_array_equal(train.y, y)


def test_whole_numbers_that_fit_a_byte_become_bytes(folder):
    for dtype in ("int64", "float32", "float64", ">i4"):
        train, _ = load(folder, x=(X * 40).astype(dtype), y=Y)
        assert (train.X.dtype, train.scale) == (np.uint8, float(np.float32(1 / 255)))
        np.testing.assert_array_equal(train.X, X * 40)


def test_images_are_flattened(folder):
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 5)).astype(np.float32)
    train, _ = load(folder, x=x, y=Y[:, None])
    np.testing.assert_array_equal(train.X, x.reshape(3, 40))
    np.testing.assert_array_equal(train.y, Y)


def test_real_targets(folder):
    real = {"targets": "real"}
    y = np.array([[0.5, -1], [2, 3], [4, 5]], np.float32)
    np.testing.assert_array_equal(load(folder, options=real, x=X, y=y).train.y, y)
    train, _ = load(folder, options=real, x=X, y=[0.5, 0.5, 0.5])
    np.testing.assert_array_equal(train.y, [0.5, 0.5, 0.5])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    n=st.integers(2, 9),
    dtype=st.sampled_from(["u1", "b1", "<i2", ">i4", "<i8", "<f2", ">f4", "<f8"]),
    order=st.sampled_from("CF"),
    compressed=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_was_written_is_read(folder, shape, n, dtype, order, compressed, seed):
    x = np.random.default_rng(seed).normal(size=(n, *shape)) * 100
    with np.errstate(invalid="ignore"):
        x = np.asarray(x.astype(dtype), order=order)
    train, _ = load(folder, compressed, x=x, y=np.arange(n))
    np.testing.assert_array_equal(train.X, x.reshape(n, -1))


# ---- code in a file -------------------------------------------------------------------------


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("where", ["x", "y", "weight", "x_test"])
def test_a_planted_object_is_refused_and_never_unpickled(tmp_path, where):
    planted = np.array([Payload(tmp_path / "pwned")] * 3, object)
    arrays = {"x": X, "y": Y, "weight": Y, "x_test": X, "y_test": Y, where: planted}
    np.savez(tmp_path / "t.npz", **arrays)
    message = refusal(tmp_path / "t.npz")
    remedy = "save numbers, or text by .astype(str)" if where == "y" else "save numbers"
    assert message == f"{where}.npy holds Python objects, which are never unpickled: {remedy}"
    assert not (tmp_path / "pwned").exists()


def test_a_planted_object_that_nobody_asked_for_is_left_alone(tmp_path):
    np.savez(tmp_path / "t.npz", x=X, y=Y, z=np.array([Payload(tmp_path / "pwned")], object))
    read(tmp_path / "t.npz")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["x.npy", "x"])
def test_a_bare_pickle_is_refused(tmp_path, name):
    content = pickle.dumps(Payload(tmp_path / "pwned"))
    path = archive(tmp_path / "t.npz", [(name, content), ("y.npy", npy())])
    assert "is no array (byte 0)" in refusal(path)
    path.write_bytes(content)
    assert "damaged or no NPZ file" in refusal(path)
    assert not (tmp_path / "pwned").exists()


def test_the_payload_works(tmp_path):
    """The planted fault: the tests above would notice."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "pwned")))
    assert (tmp_path / "pwned").exists()


def test_a_header_is_matched_and_not_evaluated(folder):
    path = with_x(folder, npy(descr="__import__('os').getcwd()"))
    assert "holds 'a record', not real numbers" in refusal(path)
    path = with_x(folder, npy(shape="(" * 5000 + "3, 2)"))
    assert "no header of an array" in refusal(path)


# ---- bombs and lies -------------------------------------------------------------------------


def zeros_deflated(header, n_mebibytes):
    """``header`` and so many MiB of zeros, deflated without ever being there."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = pack.compress(header) + pack.flush(zlib.Z_FULL_FLUSH)
    block = pack.compress(bytes(1 << 20)) + pack.flush(zlib.Z_FULL_FLUSH)
    return first + block * n_mebibytes + pack.flush(zlib.Z_FINISH)


def bomb(path, header, n_mebibytes, crc=0):
    """A zip file whose x.npy unpacks to so many MiB; sizes beyond 32 bits go into zip64 fields."""
    content = zeros_deflated(header, n_mebibytes)
    size = len(header) + (n_mebibytes << 20)
    extra = struct.pack("<HHQQ", 1, 16, size, len(content))
    common = struct.pack(
        "<HHHHHIIIHH", 45, 0, 8, 0, 33, crc, 0xFFFFFFFF, 0xFFFFFFFF, len("x.npy"), len(extra)
    )
    local = b"PK\3\4" + common + b"x.npy" + extra + content
    central = b"PK\1\2" + struct.pack("<H", 45) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0)
    central += b"x.npy" + extra
    y = io.BytesIO()
    with zipfile.ZipFile(y, "w") as file:
        file.writestr("y.npy", npy(shape="(3,)", body=b"\0\1\1"))
    y = y.getvalue()
    start = y.index(b"PK\1\2")
    local_y, central_y = y[:start], bytearray(y[start : y.index(b"PK\5\6")])
    central_y[42:46] = struct.pack("<I", len(local))
    directory = central + bytes(central_y)
    end = struct.pack("<HHHHIIH", 0, 0, 2, 2, len(directory), len(local) + len(local_y), 0)
    path.write_bytes(local + local_y + directory + b"PK\5\6" + end)
    return path


def peak_of(path, **options):
    """The message of the refusal and the most memory it took, in MiB."""
    tracemalloc.start()
    try:
        message = refusal(path, **options)
        return message, tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def test_a_megabyte_that_unpacks_to_a_gigabyte_is_refused_before_it_does(folder):
    path = bomb(folder / "bomb.npz", npy(shape=f"(3, {2**20})", body=b""), 1030)
    assert path.stat().st_size < 1.2e6
    message, peak = peak_of(path, max_bytes=1 << 30)
    assert "more than the limit of 1,073,741,824 bytes: raise it with --max-bytes" in message
    assert peak < 8


def test_the_default_limit_is_8_gib(folder):
    path = bomb(folder / "bomb.npz", npy(shape=f"({8 << 10}, {2**20})", body=b""), 8 << 10)
    assert path.stat().st_size < 10e6
    message, peak = peak_of(path)
    assert "more than the limit of 8,589,934,592 bytes" in message
    assert peak < 16


def test_the_bomb_goes_off_within_the_limit(folder):
    """The planted fault: the file is sound, only big."""
    header = npy(shape=f"(3, {2**20})", body=b"")
    path = bomb(folder / "bomb.npz", header, 3, zlib.crc32(header + bytes(3 << 20)))
    assert not read(path).train.X.any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(shape="(4, 2)"), "promises 8 bytes (shape (4, 2)), but there are 6"),
        (npy(shape="(3, 1)"), "promises 3 bytes (shape (3, 1)), but there are 6"),
        (npy(shape="(1000000, 1000000, 1000000)"), "promises 1,000,000,000,000,000,000 bytes"),
        (npy(shape=f"(3, {'9' * 5000})"), "but there are 6"),
        (npy(shape=f"({2**63}, {2**63})"), "but there are 6"),
        (npy(shape=f"(0, {2**63}, {2**62})"), "holds no samples"),
        (npy(shape="(0, 2)", body=b""), "holds no samples"),
        (npy(shape="()", body=b"1"), "holds no samples"),
        (npy(shape=f"({'1, ' * 65})", body=b"1"), "holds no samples"),
        (npy(shape="(-3, -2)"), "no header of an array"),
        (npy(shape="(3L, 2L)"), "no header of an array"),
        (npy(shape="[3, 2]"), "no header of an array"),
        (npy(order="None"), "no header of an array"),
        (npy(descr="'|O'"), "holds Python objects"),
        (npy(descr="'<c8'"), "holds '<c8', not real numbers"),
        (npy(descr="'<U3'"), "holds '<U3', not real numbers"),
        (npy(descr="'|S3'"), "holds '|S3', not real numbers"),
        (npy(descr="'<M8[s]'"), "holds '<M8[s]', not real numbers"),
        (npy(descr="'<f16'"), "holds '<f16', not real numbers"),
        (npy(descr="'<f3'"), "holds '<f3', not real numbers"),
        (npy(descr="[('a', '<f4')]"), "holds 'a record', not real numbers"),
        (npy(version=b"\2\0"), "has format version 2.0 (byte 6)"),
        (npy(version=b"\xff\xff"), "has format version 255.255 (byte 6)"),
        (b"", "is no array (byte 0)"),
        (b"\x93NUMPY", "is no array (byte 0)"),
        (b"not an array at all", "is no array (byte 0)"),
        (npy()[:30], "ends within its header, at byte 30"),
        (npy(shape="(6,)"), "x has shape (6,): give it one row a sample"),
        (npy(shape="(2, 3)"), "x has 2 samples, but y has 3"),
    ],
)
def test_an_array_that_lies_or_is_none_of_ours(folder, content, message):
    got, peak = peak_of(with_x(folder, content))
    assert message in got
    assert "x" in got
    assert peak < 8


def test_an_entry_that_is_shorter_than_the_directory_says(folder):
    """A promise of 4 GiB, in directory and header alike, with 6 bytes behind it."""
    path = with_x(folder, npy(shape=f"(3, {10**9})"))
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\1\2")
    size = struct.pack("<I", 3 * 10**9 + len(npy(shape=f"(3, {10**9})", body=b"")))
    content[central + 24 : central + 28] = size
    path.write_bytes(content)
    message, peak = peak_of(path)
    assert "cannot unpack to" in message
    assert peak < 8


def test_names_that_are_there_twice(folder):
    for names in (("x.npy", "x.npy"), ("x.npy", "X.npy"), ("x.npy", "x")):
        entries = [(name, npy()) for name in (*names, "y.npy")]
        assert "two arrays are called 'x'" in refusal(archive(folder / "t.npz", entries))


def test_an_encrypted_entry(folder):
    path = with_x(folder, npy())
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)
    assert refusal(path) == "x.npy is encrypted: write it again with numpy.savez"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(folder, method):
    path = archive(folder / "t.npz", [("x.npy", npy()), ("y.npy", npy())], method)
    assert f"x.npy: compression {method} is not supported" in refusal(path)


def test_an_unknown_compression(folder):
    path = with_x(folder, npy())
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 10] = 97
    path.write_bytes(content)
    assert "compression 97 is not supported" in refusal(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_every_truncation_is_refused(folder, compressed):
    path = folder / "t.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=X, y=Y)
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        assert "damaged or no NPZ file" in refusal(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_bit_in_any_byte_is_refused_or_harmless(folder, compressed):
    path = folder / "t.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=X, y=Y)
    sound = path.read_bytes()
    for i in range(len(sound)):
        content = bytearray(sound)
        content[i] ^= 1 << i % 8
        path.write_bytes(content)
        try:
            train, _ = read(path)
        except DataError:
            continue
        np.testing.assert_array_equal(train.X, X)
        np.testing.assert_array_equal(train.y, Y)


# ---- arrays that do not fit -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array x or x_train, but nothing"),
        ({"images": X, "labels": Y}, "no array x or x_train, but 'images', 'labels'"),
        ({"x": X}, "holds x, but no y: save both"),
        ({"x_train": X, "x_test": X, "y_test": Y}, "holds x_train, but no y_train: save both"),
        ({"x": X, "y": Y, "x_test": X}, "holds x_test, but no y_test: save both"),
        ({"x": X, "y": Y, "y_test": Y}, "holds y_test, but no x_test: save both"),
        ({"x": X, "y": Y, "x_train": X}, "holds both x and x_train"),
        ({"x": X, "y": Y[:2]}, "x has 3 samples, but y has 2"),
        ({"x": X, "y": np.eye(3)}, "y has shape (3, 3): give labels (n,)"),
        ({"x": X, "y": Y, "weight": [1.0]}, "weight has shape (1,), not (3,) as x has"),
        ({"x": X, "y": Y, "weight": [1, -1, 1]}, "weight: row 1: the weight -1 must be"),
        ({"x": X, "y": Y, "weight": [1, np.nan, 1]}, "weight: row 1: the weight nan must be"),
        ({"x": X, "y": Y, "weight": [0, 0, 0]}, "all weights are 0"),
        ({"x": X, "y": [0, -1, 1]}, "y: row 1: the label -1 is negative"),
        ({"x": X, "y": [0, 1, 1.5]}, "y: row 2: the label 1.5 is no whole number"),
        ({"x": X, "y": [0, np.nan, 1]}, "y: row 1: the label nan is not finite"),
        ({"x": X, "y": [0, 1, np.inf]}, "y: row 2: the label inf is not finite"),
        ({"x": X, "y": [2**63, 1, 0]}, "y: row 0: the label 9.223372037e+18 is above 1,048,575"),
        ({"x": X, "y": [7, 7, 7]}, "all 3 labels are 7: there is nothing to learn"),
        ({"x": X * np.array([1, np.nan]), "y": Y}, "x: row 0 has a NaN or an infinity"),
        ({"x": X * np.array([[1], [1], [np.inf]]), "y": Y}, "x: row 2 has a NaN or an infinity"),
        (
            {"x": X, "y": Y, "x_test": np.array([[1.0, -np.inf]]), "y_test": [1]},
            "x_test: row 0 has a NaN or an infinity",
        ),
        (
            {"x": X, "y": Y, "x_test": X[:, :1], "y_test": Y},
            "a training sample has 2 features and targets of shape (), but a test sample 1 and ()",
        ),
        ({"x": X, "y": Y, "x_test": X, "y_test": [0, 1, -3]}, "y_test: row 2: the label -3"),
    ],
)
def test_arrays_that_do_not_fit(folder, arrays, message):
    assert message in refused(folder, **arrays)


def test_real_targets_must_be_finite_and_fit(folder):
    real = {"targets": "real"}
    assert "y: row 1: a target is not finite" in refused(folder, real, x=X, y=[0, np.nan, 1])
    assert "not (n,) or (n, k)" in refused(folder, real, x=X, y=np.ones((3, 1, 1)))
    assert "but a test sample 2 and (3,)" in refused(
        folder, real, x=X, y=np.ones((3, 2)), x_test=X, y_test=np.ones((3, 3))
    )


def test_a_row_far_down_is_named(folder):
    x = np.zeros((3000, 1000), np.float32)
    x[2345, 6] = np.inf
    assert "x: row 2345 has" in refused(folder, x=x, y=np.arange(3000))


@pytest.mark.parametrize(
    "options", [{"weight_column": "w"}, {"label_columns": ("last",)}, {"labels": "y.idx"}]
)
def test_options_of_other_files(folder, options):
    with pytest.raises(UsageError, match="only"):
        load(folder, options=options, x=X, y=Y)
