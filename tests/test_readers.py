"""What all readers share: the choice by name, IDX pairs and folders, standardising, weights."""

import gzip
import struct

import numpy as np
import pytest

from xpnet import DataError, Dataset, UsageError
from xpnet.datasets import class_weights, mnist, read, standardise
from xpnet.datasets.mnist import FOLDER

IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2) * 10
LABELS = np.array([0, 1, 2, 1], np.uint8)


def idx(array):
    code = {"u1": 8, "i1": 9, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def pair(folder, images, labels, suffix=""):
    """Two IDX files; ``.gz`` are gzipped."""
    paths = []
    for name, array in (("images", images), ("labels", labels)):
        path = folder / f"{name}-idx{array.ndim}-ubyte{suffix}"
        path.write_bytes(gzip.compress(idx(array), mtime=0) if suffix == ".gz" else idx(array))
        paths.append(path)
    return paths


def refusal(path, error=DataError, **options):
    with pytest.raises(error) as caught:
        read(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# ---- IDX images with labels -----------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_images_and_labels(tmp_path, suffix):
    images, labels = pair(tmp_path, IMAGES, LABELS, suffix)
    train, test = read(images, labels=labels)
    np.testing.assert_array_equal(train.X, IMAGES.reshape(4, 6))
    np.testing.assert_array_equal(train.y, LABELS)
    assert (train.X.dtype, train.y.dtype) == (np.uint8, np.int32)
    assert train.scale == float(np.float32(1 / 255))
    assert test is None


def test_images_and_labels_of_other_types(tmp_path):
    images, labels = pair(tmp_path, IMAGES / np.float32(7), LABELS.astype("f8"))
    train, _ = read(images, labels=labels)
    np.testing.assert_array_equal(train.X, (IMAGES / np.float32(7)).reshape(4, 6))
    np.testing.assert_array_equal(train.y, LABELS)
    assert train.X.dtype == np.float32


def test_real_targets_beside_images(tmp_path):
    y = np.array([[0.5, 1], [2, 3], [4, 5], [6, 7]], "f4")
    images, labels = pair(tmp_path, IMAGES, y)
    np.testing.assert_array_equal(read(images, labels=labels, targets="real").train.y, y)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, LABELS[:3], "holds 4 images, but"),
        (LABELS, LABELS, "these are labels, give the file of images"),
        (IMAGES, IMAGES, "these are images, give the file of labels"),
        (IMAGES, LABELS.astype("i1") - np.int8(1), "row 0: the label -1 is negative"),
        (IMAGES, LABELS / np.float32(2), "row 1: the label 0.5 is no whole number"),
        (IMAGES, np.full(4, 7, np.uint8), "all 4 labels are 7: there is nothing to learn"),
        (np.where(IMAGES == 70, np.nan, IMAGES), LABELS, "row 1 has a NaN or an infinity"),
        (np.where(IMAGES == 230, np.inf, IMAGES), LABELS, "row 3 has a NaN or an infinity"),
    ],
)
def test_pairs_that_do_not_fit(tmp_path, images, labels, message):
    paths = pair(tmp_path, images, labels)
    with pytest.raises(DataError) as caught:
        read(paths[0], labels=paths[1])
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_one_class_is_enough_to_evaluate_on(tmp_path):
    images, labels = pair(tmp_path, IMAGES, np.full(4, 7, np.uint8))
    assert read(images, labels=labels, for_training=False).train.n == 4


# ---- folders --------------------------------------------------------------------------------


def fill(folder, mark, suffix, parts=("train", "t10k")):
    for part, stop in (("train", 4), ("t10k", 2)):
        for kind, array in (("images", IMAGES[:stop]), ("labels", LABELS[:stop])):
            if part in parts:
                n = 3 if kind == "images" else 1
                content = gzip.compress(idx(array), mtime=0) if suffix else idx(array)
                (folder / f"{part}-{kind}{mark}idx{n}-ubyte{suffix}").write_bytes(content)


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_with_the_names_of_mnist(tmp_path, mark, suffix):
    fill(tmp_path, mark, suffix)
    train, test = read(tmp_path)
    np.testing.assert_array_equal(train.X, IMAGES.reshape(4, 6))
    np.testing.assert_array_equal(test.X, IMAGES[:2].reshape(2, 6))
    np.testing.assert_array_equal(test.y, LABELS[:2])
    assert test.scale == train.scale == float(np.float32(1 / 255)), "the training set decides"


def test_a_folder_without_a_test_set(tmp_path):
    fill(tmp_path, "-", ".gz", ["train"])
    assert read(tmp_path).test is None


def test_the_folder_of_the_embedded_mnist():
    for got, expected in zip(read(FOLDER), mnist(), strict=True):
        np.testing.assert_array_equal(got.X, expected.X)
        np.testing.assert_array_equal(got.y, expected.y)
        assert got.scale == expected.scale


@pytest.mark.parametrize("lost", ["train-images-idx3", "train-labels-idx1", "t10k-labels-idx1"])
def test_a_folder_in_which_a_file_is_missing(tmp_path, lost):
    fill(tmp_path, "-", "")
    (tmp_path / f"{lost}-ubyte").unlink()
    assert f"there is no {lost}-ubyte (or .gz) in this folder" in refusal(tmp_path)


def test_an_empty_folder(tmp_path):
    assert "there is no train-images-idx3-ubyte" in refusal(tmp_path)


def test_parts_of_different_width(tmp_path):
    fill(tmp_path, "-", "")
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(IMAGES[:2, :2]))
    assert "has 6 features" in refusal(tmp_path)


# ---- which reader ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no.csv", "no.npz", "no.idx", "no", "no.parquet", "no.csv.gz"])
def test_a_missing_file_is_an_os_error(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        read(tmp_path / name)


def test_a_missing_file_of_labels_is_an_os_error(tmp_path):
    images, _ = pair(tmp_path, IMAGES, LABELS)
    with pytest.raises(FileNotFoundError, match="gone"):
        read(images, labels=tmp_path / "gone")


def test_options_that_do_not_fit(tmp_path):
    images, labels = pair(tmp_path, IMAGES, LABELS)
    table = tmp_path / "t.csv"
    table.write_text("0,1\n1,2\n")
    assert "IDX images need the file of their labels" in refusal(images, UsageError)
    assert "only IDX images and .npy samples have" in refusal(table, UsageError, labels=labels)
    assert "only IDX images and .npy samples have" in refusal(tmp_path, UsageError, labels=labels)
    assert "only a table" in refusal(images, UsageError, labels=labels, weight_column="w")
    assert "only a table" in refusal(tmp_path, UsageError, label_columns=("last",))


def test_values_that_are_none(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("0,1\n1,2\n")
    with pytest.raises(UsageError, match="did you mean 'classes'"):
        read(table, targets="class")
    with pytest.raises(UsageError, match="max_bytes must be a whole number >= 1"):
        read(table, max_bytes=0)


def test_nothing_is_written(tmp_path):
    fill(tmp_path, "-", ".gz")
    (tmp_path / "t.csv").write_text("0,1\n1,2\n")
    np.savez(tmp_path / "t.npz", x=IMAGES, y=LABELS)
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()}
    for path in (tmp_path, tmp_path / "t.csv", tmp_path / "t.npz"):
        read(path)
    assert before == {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()}


# ---- standardising --------------------------------------------------------------------------


def seen(data, shift, scale):
    return (data.X - shift) * scale


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_standardised_features_have_mean_0_and_deviation_1(dtype):
    X = np.random.default_rng(0).normal(100, [1, 10, 20], (5000, 3)).clip(0, 255).astype(dtype)
    data = Dataset(X, np.zeros(5000, np.int32))
    shift, scale = standardise(data)
    assert shift.dtype == scale.dtype == np.float64
    np.testing.assert_allclose(seen(data, shift, scale).mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(seen(data, shift, scale).std(axis=0), 1, rtol=1e-12)


def test_more_than_a_block_of_rows():
    X = np.random.default_rng(0).integers(0, 256, (3000, 784)).astype(np.uint8)
    shift, scale = standardise(Dataset(X, np.zeros(3000, np.int32)))
    np.testing.assert_allclose(shift, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale, 1 / X.std(axis=0), rtol=1e-12)


def test_a_feature_that_never_changes_gets_the_smallest_scale():
    X = np.array([[0.1, 1, 5], [0.1, 2, 25], [0.1, 3, 45]] * 7)
    data = Dataset(X, np.zeros(21, np.int32))
    assert X[:, 0].std() > 0, "by rounding alone"
    shift, scale = standardise(data)
    assert scale[0] == scale[2] < scale[1]
    np.testing.assert_allclose(seen(data, shift, scale)[:, 0], 0, atol=1e-15)


def test_changes_that_float32_cannot_see_are_none():
    X = np.array([[1e9, 1e-40], [1e9 + 1, 0.0]])
    shift, scale = standardise(Dataset(X, np.array([0, 1])))
    np.testing.assert_array_equal(scale, [1, 1])
    np.testing.assert_allclose(shift, X.mean(axis=0))


def test_features_too_big_to_standardise():
    with pytest.raises(DataError, match="feature 1 has numbers too big"):
        standardise(Dataset(np.array([[1, 1e200], [2, -1e200]]), np.array([0, 1])))


# ---- class weights --------------------------------------------------------------------------


def test_balanced_classes_weigh_the_same():
    y = np.array([0, 0, 0, 2, 2, 5], np.int32)  # of six classes, three occur
    weights = class_weights(y, "balanced")
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 1, 1, 2])
    np.testing.assert_allclose(weights.mean(), 1)


def test_a_weight_for_each_class():
    weights = class_weights(np.array([0, 2, 1, 2], np.uint8), [1, 0, 2.5])
    assert weights.dtype == np.float64
    np.testing.assert_array_equal(weights, [1, 2.5, 0, 2.5])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("equal", "must be 'balanced' or numbers, not 'equal'"),
        ([1, 2], "2 class weights for 3 classes"),
        ([1, 2, 3, 4], "4 class weights for 3 classes"),
        ([], "0 class weights for 3 classes"),
        ([1, -1, 1], "the weight of class 1 must be finite and >= 0, not -1"),
        ([1, 1, float("nan")], "the weight of class 2 must be finite"),
        ([float("inf"), 1, 1], "the weight of class 0 must be finite"),
        ([1, "2", 1], "the weight of class 1 must be finite and >= 0, not '2'"),
        ([0, 1, 0], "the weights of all classes in the data are 0"),
    ],
)
def test_class_weights_that_are_none(spec, message):
    with pytest.raises(UsageError) as caught:
        class_weights(np.array([0, 2, 2]), spec)
    assert message in str(caught.value)


@pytest.mark.parametrize("y", [np.array([0.5, 1]), np.eye(2)])
def test_real_targets_have_no_class_weights(y):
    with pytest.raises(UsageError, match="class labels"):
        class_weights(y, "balanced")
