"""Initial weights against the formulas of the papers, and what a Network makes of them."""

import math

import numpy as np
import pytest

import xpnet
from xpnet import UsageError
from xpnet.initializers import INITIALIZERS, check_initializer, initial_weights

N_IN, N_OUT = 400, 250

# The variance each paper asks for.
VARIANCE = {
    "he": 2 / N_IN,  # He et al. 2015, eq. 10
    "glorot": 2 / (N_IN + N_OUT),  # Glorot and Bengio 2010, eq. 12
    "lecun": 1 / N_IN,  # LeCun et al. 1998, eq. 16
}
NORMAL = {
    **{f"{name}_normal": math.sqrt(variance) for name, variance in VARIANCE.items()},
    "normal": 1.0,
    "normal:0.05": 0.05,
}
UNIFORM = {
    "he_uniform": math.sqrt(6 / N_IN),
    "glorot_uniform": math.sqrt(6 / (N_IN + N_OUT)),
    "lecun_uniform": math.sqrt(3 / N_IN),
    "uniform": 1.0,
    "uniform:0.2": 0.2,
}
RELATIVES = ["relu", "leaky_relu", "elu", "gelu", "silu", "softplus"]


def weights(init, activation="identity", seed=0, stream=0):
    return initial_weights(init, activation, seed, stream, (N_IN, N_OUT))


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("init", NORMAL)
def test_normal_weights_have_their_standard_deviation(init, seed):
    W = weights(init, seed=seed)
    std, n = NORMAL[init], W.size
    assert W.shape == (N_IN, N_OUT)
    assert W.dtype == np.float64
    assert abs(W.mean()) < 4.5 * std / math.sqrt(n)  # standard errors of a normal sample
    assert abs(W.std() - std) < 4.5 * std / math.sqrt(2 * n)
    assert 4 * std < np.abs(W).max() < 7 * std  # not truncated; 100,000 draws reach 4.4 std


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("init", UNIFORM)
def test_uniform_weights_fill_their_interval(init, seed):
    W = weights(init, seed=seed)
    limit, n = UNIFORM[init], W.size
    assert W.shape == (N_IN, N_OUT)
    # The chance that n draws leave 10/n of either end empty is exp(-5), of 20/n exp(-10).
    assert -limit < W.min() < -limit * (1 - 20 / n)
    assert limit * (1 - 20 / n) < W.max() < limit
    assert abs(W.mean()) < 4.5 * limit / math.sqrt(3 * n)
    assert abs((W**2).mean() - limit**2 / 3) < 4.5 * limit**2 * math.sqrt(4 / 45 / n)


def test_every_initializer_is_tested_here():
    assert {*NORMAL, *UNIFORM, "auto", "zeros"} >= set(INITIALIZERS)


@pytest.mark.parametrize("activation", sorted(xpnet.ACTIVATIONS))
def test_auto_follows_the_activation(activation):
    expected = "he_normal" if activation in RELATIVES else "glorot_uniform"
    np.testing.assert_array_equal(weights("auto", activation), weights(expected))


def test_zeros_are_zeros():
    W = weights("zeros")
    assert W.shape == (N_IN, N_OUT)
    assert not W.any()


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("he_norml", r"did you mean 'he_normal'"),
        ("", r"unknown initializer"),
        ("he_normal:2", r"he_normal takes no number"),
        ("zeros:1", r"zeros takes no number"),
        ("normal:0", r"normal:0"),
        ("normal:-1", r"normal:-1"),
        ("normal:nan", r"normal:nan"),
        ("uniform:inf", r"uniform:inf"),
        ("uniform:wide", r"uniform:wide"),
        (5, r"unknown initializer"),
        ("normal:1:2", r"normal:1:2"),
    ],
)
def test_a_senseless_initializer_is_refused(init, message):
    for refuses in (lambda: check_initializer(init), lambda: xpnet.Dense(3, init=init)):
        with pytest.raises(UsageError, match=message):
            refuses()


# ---- in a network ------------------------------------------------------------------------


def matrices(network, seed, dtype="float64"):
    return [p["W"] for p in network.split(np, network.init(seed, dtype)) if "W" in p]


def test_layers_and_seeds_draw_different_numbers():
    network = xpnet.mlp(50, 50, 50, 50, init="normal")
    drawn = [*matrices(network, 0), *matrices(network, 1)]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4.5 / 50


def test_a_seed_gives_the_same_weights_again():
    network = xpnet.mlp(20, 30, 10, dropout=0.5)
    np.testing.assert_array_equal(network.init(3), network.init(3))
    assert (network.init(3) != network.init(4)).any()


@pytest.mark.parametrize("init", ["auto", *NORMAL, *UNIFORM])
def test_both_dtypes_start_at_the_same_float32_numbers(init):
    network = xpnet.mlp(20, 30, 10, init=init)
    single, double = network.init(5, "float32"), network.init(5, "float64")
    assert single.dtype == np.float32
    assert double.dtype == np.float64
    np.testing.assert_array_equal(double, single.astype(np.float64))
    (W, _), (exact, _) = (
        matrices(network, 5),
        (initial_weights(init, "relu", 5, 1 << 20, (20, 30)), 0),
    )
    np.testing.assert_array_equal(W, exact.astype(np.float32))


def test_biases_start_at_0_and_norms_at_1():
    network = xpnet.Network(6, [xpnet.Dense(4), xpnet.LayerNorm(), xpnet.Dense(2)])
    first, norm, last = network.split(np, network.init(0))
    assert not first["b"].any()
    assert not last["b"].any()
    assert (norm["gamma"] == 1).all()
    assert not norm["beta"].any()
