"""Backpropagation against central differences, jax.grad, and itself in other precisions."""

import array_api_compat.numpy as compat_numpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import relative_error
from problems import LOSSES, NETWORKS, Problem

import xpnet
from xpnet.ops import Ops

CASES = [
    (network, loss, weighted)
    for network in NETWORKS
    for loss in LOSSES
    for weighted in (False, True)
]


def central_differences(f, a, h=3e-6):
    """df/da for each element of ``a``, whose error is of the order of h^2 and 1e-16 / h."""
    grad = np.zeros_like(a)
    for i in np.ndindex(a.shape):
        plus, minus = a.copy(), a.copy()
        plus[i] += h
        minus[i] -= h
        grad[i] = (f(plus) - f(minus)) / (2 * h)
    return grad


def analytic(problem, ops, dtype=np.float64):
    weight = None if problem.weight is None else problem.weight.astype(dtype)
    return problem.network.loss_and_grad(
        ops,
        problem.theta.astype(dtype),
        problem.x.astype(dtype),
        problem.target if problem.target.dtype == np.int32 else problem.target.astype(dtype),
        problem.loss,
        weight=weight,
        noise=problem.noise(),
        need_dx=True,
    )


@pytest.mark.parametrize(("network", "loss", "weighted"), CASES)
def test_gradients_equal_central_differences(network, loss, weighted):
    problem = Problem(network, loss, weighted)
    ops = Ops(compat_numpy)
    _, g, dx = analytic(problem, ops)
    inside = np.zeros(g.shape, bool)
    for block in problem.network.blocks:
        inside[block.offset : block.end] = True
    numeric = central_differences(
        lambda theta: problem.loss_of(ops, theta, problem.x), problem.theta
    )
    assert relative_error(g[inside], numeric[inside]) <= 1e-7
    assert not g[~inside].any()
    numeric = central_differences(lambda x: problem.loss_of(ops, problem.theta, x), problem.x)
    assert relative_error(dx, numeric) <= 1e-7


def test_a_wrong_derivative_does_not_pass():
    """The planted fault: a derivative that is off by one part in a thousand."""
    problem = Problem("tanh", "mse")
    wrong = xpnet.Activation(
        "wrong", lambda xp, z: xp.tanh(z), lambda xp, y: 1.001 * (1.0 - y * y), "y"
    )
    problem.network = xpnet.mlp(5, 4, 2, activation=wrong)
    ops = Ops(compat_numpy)
    _, g, _ = analytic(problem, ops)
    numeric = central_differences(
        lambda theta: problem.loss_of(ops, theta, problem.x), problem.theta
    )
    assert relative_error(g, numeric) > 1e-5


# ---- jax.grad, with the forward pass written anew in jax.nn ----------------------------------

JAX_ACTIVATIONS = {
    "identity": lambda z: z,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": lambda z: jax.nn.leaky_relu(z, 0.01),
    "elu": jax.nn.elu,
    "gelu": lambda z: jax.nn.gelu(z, approximate=True),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
}


def jax_loss(name, out, target):
    """The loss of each sample."""
    if name.startswith("softmax"):
        q = target if target.ndim == 2 else jax.nn.one_hot(target, out.shape[1])
        if name == "softmax-smoothed":
            q = 0.9 * q + 0.1 / out.shape[1]
        return -jnp.sum(q * jax.nn.log_softmax(out), axis=1)
    q = target.reshape(out.shape)
    if name.startswith("bce"):
        p = jax.nn.sigmoid(out)
        return -jnp.mean(q * jnp.log(p) + (1 - q) * jnp.log(1 - p), axis=1)
    if name == "mse":
        return jnp.mean((out - q) ** 2, axis=1)
    if name == "mae":
        return jnp.mean(jnp.abs(out - q), axis=1)
    r = jnp.abs(out - q)
    return jnp.mean(jnp.where(r <= 0.7, r**2 / 2, 0.7 * (r - 0.35)), axis=1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", JAX_ACTIVATIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_equal_those_of_jax(network, loss, weighted):
    problem = Problem(network, loss, weighted)
    result, g, dx = analytic(problem, Ops(compat_numpy))
    params = problem.network.split(np, problem.theta)
    weight = np.ones(len(problem.x)) if problem.weight is None else problem.weight

    def mean_loss(params, x):
        h = JAX_ACTIVATIONS[network](x @ params[0]["W"] + params[0]["b"])
        out = h @ params[1]["W"] + params[1]["b"]
        return jnp.sum(weight * jax_loss(loss, out, problem.target)) / jnp.sum(weight)

    with jax.enable_x64(True):
        value, (grads, jax_dx) = jax.value_and_grad(mean_loss, argnums=(0, 1))(params, problem.x)
        grads = [{name: np.asarray(a) for name, a in p.items()} for p in grads]
    assert result.loss_sum / weight.sum() == pytest.approx(float(value), rel=1e-13)
    assert relative_error(g, problem.network.flatten(grads)) < 1e-13
    assert relative_error(dx, jax_dx) < 1e-13


@pytest.mark.parametrize(("network", "loss", "weighted"), CASES)
def test_float32_gradients_are_near_those_in_float64(network, loss, weighted):
    """Within 2e-5: a hundred roundings of 6e-8 each, and some cancellation in the loss."""
    problem = Problem(network, loss, weighted)
    numpy_ops = xpnet.backends.get("numpy").ops()
    exact = analytic(problem, Ops(compat_numpy))
    for ops in (Ops(compat_numpy), numpy_ops):
        single = analytic(problem, ops, np.float32)
        assert single.g.dtype == single.dx.dtype == np.float32
        assert relative_error(single.g, exact.g) < 2e-5
        assert relative_error(single.dx, exact.dx) < 2e-5


def test_theta_holds_weights_first_and_aligned_blocks():
    network = xpnet.Network(5, [xpnet.Dense(3, "relu"), xpnet.LayerNorm(), xpnet.Dense(2)])
    assert [(b.layer, b.name) for b in network.blocks] == [
        (0, "W"), (2, "W"), (0, "b"), (1, "gamma"), (1, "beta"), (2, "b"),
    ]  # fmt: skip
    assert all(block.offset % 64 == 0 for block in network.blocks)
    assert network.n_weights == network.blocks[2].offset
    assert network.n_parameters == 5 * 3 + 3 + 3 + 3 + 3 * 2 + 2
    assert network.n_theta % 64 == 0


def test_split_and_flatten_are_inverse():
    network = xpnet.mlp(5, 4, 3)
    theta = network.init(seed=7)
    assert np.array_equal(network.flatten(network.split(np, theta)), theta)
    network.split(np, theta)[0]["W"][...] = 5.0
    assert (theta[:20] == 5.0).all(), "on NumPy, the parts are views of theta"


def test_forward_outside_training_drops_nothing():
    network = xpnet.mlp(5, 8, 3, dropout=0.9)
    plain = xpnet.mlp(5, 8, 3)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    theta = plain.init(1)
    ops = Ops(compat_numpy)
    assert np.array_equal(network.forward(ops, theta, x)[0], plain.forward(ops, theta, x)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: xpnet.Network(5, []), "at least one layer"),
        (lambda: xpnet.Network(5, [xpnet.Dropout(0.5)]), "at least one layer"),
        (lambda: xpnet.Network(5, xpnet.Dense(1)), r"must be a list such as \[Dense\(10\)\]"),
        (lambda: xpnet.Network(5, ["dense"]), r"not \['dense'\]"),
        (lambda: xpnet.Network(0, [xpnet.Dense(1)]), "input must be a whole number"),
        (lambda: xpnet.mlp(5), "at least one layer"),
        (lambda: xpnet.mlp(5, 0), "Dense layer must be a whole number"),
        (lambda: xpnet.mlp(5, 2.5), "Dense layer must be a whole number"),
        (lambda: xpnet.mlp(5, 3, 2, activation="rleu"), "did you mean 'relu'"),
        (lambda: xpnet.mlp(5, 3, 2, dropout=1.0), "dropout rate"),
        (lambda: xpnet.mlp(5, 3, 2, init="he_norml"), "did you mean 'he_normal'"),
        (lambda: xpnet.LayerNorm(0.0), "eps of LayerNorm"),
    ],
)
def test_networks_that_make_no_sense_are_refused(make, message):
    with pytest.raises(xpnet.UsageError, match=message):
        make()
