"""Predictions, figures and gradients: what is of another network or shape is refused."""

import numpy as np
import pytest

import xpnet
from xpnet import DataError, UsageError

N, N_IN, CLASSES = 6, 3, 2
NETWORK = xpnet.mlp(N_IN, 4, CLASSES)
THETA = NETWORK.init()
X = np.linspace(-1, 1, N * N_IN, dtype=np.float32).reshape(N, N_IN)
Y = np.array([0, 1, 0, 1, 1, 0])
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[Y]

USES = {
    "predict": lambda theta: xpnet.predict(NETWORK, theta, X),
    "predictions": lambda theta: list(xpnet.predictions(NETWORK, theta, X)),
    "evaluate": lambda theta: xpnet.evaluate(NETWORK, theta, xpnet.Dataset(X, Y)),
    "gradients": lambda theta: xpnet.gradients(NETWORK, theta, X, Y),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(
    "theta",
    [
        xpnet.mlp(N_IN, 5, 7, CLASSES).init(),
        THETA[:-64],
        THETA[None],
        THETA.astype(int),
        THETA.astype(np.float16),
    ],
    ids=["longer", "shorter", "2-d", "int", "float16"],
)
def test_weights_of_another_network_are_refused(use, theta):
    with pytest.raises(UsageError, match=r"theta must be \(256,\) of float32 or float64"):
        use(theta)


@pytest.mark.parametrize("x", [X[0], X[:, :2], X[:0], X[None]], ids=["1", "narrow", "none", "3-d"])
def test_samples_of_another_shape_are_refused(x):
    with pytest.raises(DataError, match=r"X must be \(m, 3\) with m > 0"):
        xpnet.predict(NETWORK, THETA, x)
    with pytest.raises(DataError, match=r"X must be \(m, 3\) with m > 0"):
        xpnet.gradients(NETWORK, THETA, x, Y)


@pytest.mark.parametrize("wrong", [-1, CLASSES])
def test_a_label_that_is_no_class_has_no_gradient(wrong):
    y = Y.copy()
    y[3] = wrong
    with pytest.raises(DataError, match=f"label {wrong} of sample 3"):
        xpnet.gradients(NETWORK, THETA, X, y)


def test_targets_and_weights_of_other_samples_are_refused():
    with pytest.raises(DataError, match=r"target has shape \(1,\), but x 6 samples"):
        xpnet.gradients(NETWORK, THETA, X, Y[:1])
    with pytest.raises(DataError, match=r"weight has shape \(1,\), but x 6 samples"):
        xpnet.gradients(NETWORK, THETA, X, Y, weight=np.ones(1, np.float32))


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_one_hot_targets_of_any_dtype_are_those_of_float32(dtype, backend):
    def on(array):
        return backend.asarray(array)

    targets = [on(ONE_HOT), on(ONE_HOT.astype(dtype))]
    found = [xpnet.gradients(NETWORK, on(THETA), on(X), target)[1] for target in targets]
    assert np.array_equal(*map(backend.to_numpy, found))
    runs = [
        list(xpnet.fit(NETWORK, xpnet.Dataset(X, y), epochs=1, backend=backend))
        for y in (ONE_HOT, ONE_HOT.astype(dtype))
    ]
    assert np.array_equal(*(backend.to_numpy(run[-1][1]) for run in runs))


def test_arrays_where_a_dataset_should_be_are_told_what_to_do():
    data = xpnet.Dataset(X, Y)
    for use in (
        lambda: next(xpnet.fit(NETWORK, (X, Y))),
        lambda: next(xpnet.fit(NETWORK, data, (X, Y))),
        lambda: xpnet.evaluate(NETWORK, THETA, (X, Y)),
    ):
        with pytest.raises(UsageError, match=r"a Dataset, not a tuple: xpnet.Dataset\(X, y\)"):
            use()


def test_a_dataset_has_targets():
    with pytest.raises(DataError, match="y must be an array, not a NoneType"):
        xpnet.Dataset(X, None)
