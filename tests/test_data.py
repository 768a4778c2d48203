"""A Dataset: what it refuses, how it is split, and what reaches a device."""

import math

import numpy as np
import pytest

import xpnet
from xpnet import DataError, Dataset, UsageError

N, N_IN, CLASSES = 6, 3, 4


def samples():
    return np.arange(N * N_IN, dtype=np.float32).reshape(N, N_IN)


def labels():
    return np.array([0, 1, 2, 3, 0, 1])


def check(X=None, y=None, weight=None, loss=None, n_in=N_IN, n_out=CLASSES):
    X = samples() if X is None else X
    y = labels() if y is None else y
    return Dataset(X, y, weight).check(n_in, n_out, loss or xpnet.SoftmaxCrossEntropy())


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


# ---- shapes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "y", "weight", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), None, "empty"),
        (np.zeros((6, 3)), np.zeros(5, int), None, r"y has shape \(5,\), but X has 6 samples"),
        (np.zeros((6, 3)), np.zeros(6, int), np.ones(7), r"weight has shape \(7,\)"),
        (np.zeros((6, 3)), np.array(1), None, r"y has shape \(\)"),
        (np.array(1.0), np.zeros(6, int), None, r"X has shape \(\)"),
        (np.zeros(6), np.zeros(6, int), None, r"one row a sample"),
        (np.zeros((6, 28, 28)), np.zeros(6, int), None, r"\(6, 28, 28\)"),
        ([[1.0]], np.zeros(1, int), None, "X must be an array, not a list"),
        (np.zeros((1, 1)), [0], None, "y must be an array, not a list"),
        (np.zeros((1, 1)), np.zeros(1, int), [1.0], "weight must be an array, not a list"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(X, y, weight, message):
    with pytest.raises(DataError, match=message):
        Dataset(X, y, weight)


@pytest.mark.parametrize("scale", [2, np.float32(2), np.float64(2), np.int64(2), 2.0])
def test_a_scale_of_any_kind_of_number_is_a_float(scale):
    data = Dataset(samples(), labels(), scale=scale)
    assert (type(data.scale), data.scale) == (float, 2.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, True, np.float64(-1)])
def test_a_senseless_scale_is_refused(scale):
    with pytest.raises(UsageError, match="scale"):
        Dataset(samples(), labels(), scale=scale)


def test_another_number_of_columns_is_refused():
    with pytest.raises(DataError, match="3 columns, but the network takes 5"):
        check(n_in=5)


# ---- values ------------------------------------------------------------------------------


def test_sound_data_pass_unchanged():
    data = Dataset(samples(), labels(), np.ones(N))
    assert data.check(N_IN, CLASSES, xpnet.SoftmaxCrossEntropy()) is data


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_row_that_is_not_finite_is_named(value):
    X = changed(changed(samples(), (4, 2), value), (5, 0), value)
    with pytest.raises(DataError, match="row 4"):
        check(X)


@pytest.mark.parametrize("dtype", [object, complex, "U3", "datetime64[s]"])
def test_values_that_are_no_real_numbers_are_refused(dtype):
    array = np.zeros((N, N_IN), dtype) if dtype != "U3" else np.full((N, N_IN), "one")
    with pytest.raises(DataError, match="X must hold real numbers"):
        check(array)
    with pytest.raises(DataError, match="y must hold"):
        check(y=array[:, 0])
    with pytest.raises(DataError, match="weights"):
        check(weight=array[:, 0])


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, np.uint64])
@pytest.mark.parametrize("wrong", [4, 100])
def test_the_first_label_out_of_range_is_named_with_its_place(wrong, dtype):
    y = changed(changed(labels().astype(dtype), 3, wrong), 5, wrong)
    with pytest.raises(DataError, match=rf"label {wrong} of sample 3 is outside 0 \.\. 3"):
        check(y=y)


def test_a_negative_label_is_refused():
    with pytest.raises(DataError, match="label -1 of sample 0"):
        check(y=changed(labels(), 0, -1))


@pytest.mark.parametrize(
    "weight",
    [
        changed(np.ones(N), 2, -0.5),
        changed(np.ones(N), 2, math.nan),
        changed(np.ones(N), 2, math.inf),
        np.zeros(N),
        np.ones((N, 1)),
    ],
    ids=["negative", "nan", "infinite", "all 0", "2-d"],
)
def test_senseless_weights_are_refused(weight):
    with pytest.raises(DataError, match="weights must be"):
        check(weight=weight)


def test_some_weights_may_be_0():
    assert check(weight=changed(np.zeros(N), 0, 1.0)).n == N


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (xpnet.SoftmaxCrossEntropy(), np.full((N, CLASSES), -0.25)),
        (xpnet.SoftmaxCrossEntropy(), np.full((N, CLASSES + 1), 0.2)),
        (xpnet.BinaryCrossEntropy(), np.full((N, CLASSES), 1.5)),
        (xpnet.BinaryCrossEntropy(), np.full((N, CLASSES), -0.5)),
        (xpnet.MeanSquaredError(), np.zeros(N)),
        (xpnet.MeanSquaredError(), np.full((N, CLASSES), math.nan)),
        (xpnet.Huber(), np.full((N, CLASSES), math.inf)),
    ],
)
def test_targets_that_do_not_fit_the_loss_are_refused(loss, y):
    with pytest.raises(DataError, match="target"):
        check(y=y, loss=loss)


# ---- splitting ---------------------------------------------------------------------------


def numbered(n):
    """A dataset whose sample i holds i everywhere."""
    i = np.arange(n)
    return Dataset(np.stack([i, i], axis=1), i, i + 0.0, scale=0.5)


@pytest.mark.parametrize(
    ("n", "fraction", "second"), [(10, 0.1, 1), (11, 0.5, 6), (1000, 0.25, 250)]
)
def test_a_split_deals_each_sample_to_one_part(n, fraction, second):
    parts = numbered(n).split(fraction, seed=3)
    assert [part.n for part in parts] == [n - second, second]
    np.testing.assert_array_equal(np.sort(np.concatenate([p.y for p in parts])), np.arange(n))
    for part in parts:  # the rows stay together, and keep their order and scale
        np.testing.assert_array_equal(part.X, np.stack([part.y, part.y], axis=1))
        np.testing.assert_array_equal(part.weight, part.y)
        assert (np.diff(part.y) > 0).all()
        assert part.scale == 0.5


def test_a_split_depends_on_the_seed_and_is_not_a_slice():
    data = numbered(1000)
    first = data.split(0.2, seed=0)[1].y
    np.testing.assert_array_equal(data.split(0.2, seed=0)[1].y, first)
    again = data.split(0.2, seed=1)[1].y
    # Two random fifths share a fifth of their samples: 40 with a standard deviation of 5.
    assert 15 < len(np.intersect1d(first, again)) < 65
    assert 400 < first.mean() < 600  # 499.5 +- 18


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, math.nan])
def test_a_split_refuses_what_is_no_fraction(fraction):
    with pytest.raises(UsageError, match="fraction"):
        numbered(10).split(fraction)


@pytest.mark.parametrize(("n", "fraction"), [(10, 0.0), (10, 0.01), (10, 0.99), (1, 0.5)])
def test_a_split_refuses_an_empty_part(n, fraction):
    with pytest.raises(UsageError, match="would be empty"):
        numbered(n).split(fraction)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5])
def test_a_split_refuses_what_is_no_seed(seed):
    with pytest.raises(UsageError, match="seed"):
        numbered(10).split(0.5, seed=seed)


# ---- on the way to a device ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("X", "y", "X_dtype", "y_dtype"),
    [
        (np.uint8, np.uint8, "uint8", "int32"),
        (np.float64, np.int64, None, "int32"),
        (np.float16, np.float64, None, None),
        (np.float32, np.float32, None, None),
        (np.bool_, np.bool_, "uint8", "int32"),
    ],
)
def test_what_is_placed_has_the_dtypes_of_training(X, y, X_dtype, y_dtype, dtype):
    placed = []

    def place(array):
        placed.append(array)
        return array

    data = Dataset(np.ones((N, N_IN), X), np.ones(N, y), np.ones(N), scale=0.5).to(place, dtype)
    assert len(placed) == 3
    assert data.X.dtype == (X_dtype or dtype)
    assert data.y.dtype == (y_dtype or dtype)
    assert data.weight.dtype == dtype
    assert data.scale == 0.5
    for array in (data.X, data.y, data.weight):
        assert (array == 1).all()


@pytest.mark.parametrize("edge", [2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**40])
def test_big_whole_numbers_as_regression_targets_do_not_wrap(edge):
    data = Dataset(np.ones((2, 1)), np.array([edge, 7])).check(1, 1, xpnet.MeanSquaredError())
    y = data.to(lambda a: a, "float64").y
    assert y.tolist() == [edge, 7]
    assert y.dtype == ("int32" if -(2**31) <= edge < 2**31 else "float64")


def test_values_too_big_for_float32_are_refused_and_named():
    X = changed(np.ones((N, N_IN)), (4, 1), 1e39)
    data = check(X)
    assert data.to(lambda a: a, "float64").X[4, 1] == 1e39
    with pytest.raises(DataError, match="row 4"):
        data.to(lambda a: a, "float32")


def test_a_dataset_arrives_on_every_backend(backend):
    data = Dataset(samples(), labels()).to(backend.asarray, "float32")
    np.testing.assert_array_equal(backend.to_numpy(data.X), samples())
    np.testing.assert_array_equal(backend.to_numpy(data.y), labels())
    assert data.n == N
