"""NPY: samples are mapped, not read, and give what the same arrays in an NPZ give."""

import json
import tracemalloc

import numpy as np
import pytest
from click.testing import CliRunner

import xpnet
from xpnet import DataError, Dataset, UsageError
from xpnet.cli import cli
from xpnet.datasets import read
from xpnet.datasets.features import read_features

Y = np.array([0, 1, 2, 1])
ARRAYS = {
    "uint8": np.arange(12, dtype=np.uint8).reshape(4, 3),
    "images": np.arange(48, dtype=np.uint8).reshape(4, 3, 4),
    "float32": np.arange(12, dtype=np.float32).reshape(4, 3) - 0.5,
    "float64": np.arange(12.0).reshape(4, 3) / 3,
    "whole": np.arange(12.0).reshape(4, 3),
    "by columns": np.asfortranarray(np.arange(12.0).reshape(4, 3) / 3),
    "big-endian": (np.arange(12.0).reshape(4, 3) / 3).astype(">f8"),
    "bool": np.arange(12).reshape(4, 3) % 2 == 0,
    "int64": np.arange(12).reshape(4, 3) - 5,
}
MAPPED = {"uint8", "images", "float32", "float64", "by columns", "bool"}


def saved(folder, X, y=Y):
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", y)
    return folder / "x.npy", folder / "y.npy"


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_what_it_is_in_an_npz(tmp_path, name):
    x, y = saved(tmp_path, ARRAYS[name])
    np.savez(tmp_path / "t.npz", x=ARRAYS[name], y=Y)
    ours, other = read(x, labels=y).train, read(tmp_path / "t.npz").train
    assert is_mapped(ours.X) == (name in MAPPED)
    assert not is_mapped(ours.y)
    for a, b in ((ours.X, other.X), (ours.y, other.y)):
        assert (a.dtype, a.tolist()) == (b.dtype, b.tolist())
    assert ours.scale == other.scale
    np.testing.assert_array_equal(read_features(x), read_features(tmp_path / "t.npz"))


def test_targets_of_a_regression(tmp_path):
    x, y = saved(tmp_path, ARRAYS["float32"], np.arange(8).reshape(4, 2) / 7)
    assert read(x, labels=y, targets="real").train.y.shape == (4, 2)
    with pytest.raises(DataError, match=r"y.npy: shape \(4, 2\): give it one label"):
        read(x, labels=y)


def overwrite(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], "the header promises 48 bytes .shape .4, 3.., but there are 47"),
        (lambda b: b + b"\0", "promises 48 bytes .*, but there are 49"),
        (lambda b: b[:9], "is no array"),
        (lambda b: b"PK" + b[2:], "is no array"),
        (lambda b: b[:40], "ends within its header, at byte 40"),
        (lambda b: b.replace(b"<f4", b"|O4"), "holds Python objects, which are never unpickled"),
        (lambda b: b.replace(b"<f4", b"<c8"), "not real numbers"),
        (lambda b: b.replace(b"(4, 3)", b"(0, 3)"), "holds no samples"),
        (lambda b: b.replace(b"'shape'", b"'shade'"), "no header of an array"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, change, message):
    x, y = saved(tmp_path, ARRAYS["float32"])
    overwrite(x, change)
    with pytest.raises(DataError, match=message) as caught:
        read(x, labels=y)
    assert str(caught.value).startswith(str(x))
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_together_is_refused(tmp_path):
    x, y = saved(tmp_path, ARRAYS["float32"], Y[:3])
    with pytest.raises(DataError, match=r"x.npy holds 4 samples, but .*y.npy 3 labels"):
        read(x, labels=y)
    with pytest.raises(UsageError, match=r"needs the \.npy file of their labels"):
        read(x)
    with pytest.raises(DataError, match="one row a sample"):
        read(y, labels=y)
    with pytest.raises(DataError, match="one row a sample"):
        read_features(y)
    broken = ARRAYS["float32"].copy()
    broken[2, 1] = np.nan
    x, y = saved(tmp_path, broken)
    with pytest.raises(DataError, match="row 2 has a NaN"):
        read(x, labels=y)


def test_the_command_line_trains_on_it_as_on_an_npz(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)).astype(np.float32), np.arange(60) % 2
    x, labels = saved(tmp_path, X, y)
    np.savez(tmp_path / "t.npz", x=X, y=y)
    results = []
    for source in (["--data", x, "--labels", labels], ["--data", tmp_path / "t.npz"]):
        command = ["train", *source, "--hidden", "4", "--epochs", "2", "--json"]
        result = CliRunner().invoke(cli, [str(word) for word in command])
        assert result.exit_code == 0, result.output
        events = [json.loads(line) for line in result.stdout.splitlines()]
        results.append([event.get("train_loss") for event in events])
    assert results[0] == results[1]


def peak_of(f):
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_check_does_not_need_the_memory_of_the_samples(tmp_path):
    X = np.ones((20_000, 500), np.float32)
    X[-1, -1] = 0.5
    x, y = saved(tmp_path, X, np.arange(20_000) % 2)
    data = read(x, labels=y).train
    assert is_mapped(data.X)
    loss = xpnet.SoftmaxCrossEntropy()
    assert peak_of(lambda: data.check(500, 2, loss)) < 4e6 < X.size
    whole = Dataset(np.array(data.X), data.y)
    assert peak_of(lambda: np.isfinite(whole.X)) > 4e6, "the measurement sees what numpy takes"
