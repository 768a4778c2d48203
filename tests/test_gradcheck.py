"""The gradient check passes what is right, finds what is wrong, and does not blame kinks."""

import numpy as np
import pytest
from problems import LOSSES, NETWORKS, Problem

import xpnet
from xpnet import backends
from xpnet.backends.numpy import NumpyBackend, NumpyOps
from xpnet.checks import gradcheck
from xpnet.checks.slope import slope


def check(problem, **options):
    """A short check: few probes, as there are many problems."""
    options = {"n_directions": 2, "n_coordinates": 4, **options}
    return gradcheck(
        problem.network,
        problem.theta,
        problem.x,
        problem.target,
        problem.loss,
        weight=problem.weight,
        noise=problem.noise(),
        **options,
    )


def failed(checks):
    return [c.block for c in checks if not c.passed]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", NETWORKS)
def test_right_gradients_pass(network, loss):
    checks = check(Problem(network, loss, weighted=True))
    assert failed(checks) == []
    assert [c.block for c in checks][-1] == "x"
    assert all(c.n_checked > 0 for c in checks)


@pytest.mark.parametrize("network", ["tanh", "relu", "layer-norm", "dropout"])
def test_float32_and_other_backends_pass(backend, network):
    problem = Problem(network, "softmax-labels", weighted=True)
    assert failed(check(problem, backend=backend, dtype="float32")) == []
    assert failed(check(problem, backend=backend)) == []


# ---- planted faults, and the block that must be blamed ---------------------------------------


class Negated(NumpyOps):
    def affine_grad(self, dy, saved, W, f, need_dx):
        dx, dW, db = super().affine_grad(dy, saved, W, f, need_dx)
        return dx, -dW if W.shape[1] == 4 else dW, db


class TooLarge(NumpyOps):
    def affine_grad(self, dy, saved, W, f, need_dx):
        dx, dW, db = super().affine_grad(dy, saved, W, f, need_dx)
        return dx, dW, db * 1.001


class OneWrongElement(NumpyOps):
    def affine_grad(self, dy, saved, W, f, need_dx):
        dx, dW, db = super().affine_grad(dy, saved, W, f, need_dx)
        dW = dW.copy()
        dW.flat[np.argmax(np.abs(dW))] *= 1.01
        return dx, dW, db


class WrongDx(NumpyOps):
    def affine_grad(self, dy, saved, W, f, need_dx):
        dx, dW, db = super().affine_grad(dy, saved, W, f, need_dx)
        return dx * 1.0001, dW, db


class NoDerivative(NumpyOps):
    def affine_grad(self, dy, saved, W, f, need_dx):
        return super().affine_grad(dy, saved, W, xpnet.ACTIVATIONS["identity"], need_dx)


class StaleMask(NumpyOps):
    def dropout(self, x, noise, rate):
        self.calls = getattr(self, "calls", 0) + 1
        late = noise._replace(t=noise.t + (self.calls > 1))
        return super().dropout(x, late, rate)


class FloatSixteen(NumpyOps):
    def affine_grad(self, dy, saved, W, f, need_dx):
        dx, dW, db = super().affine_grad(dy, saved, W, f, need_dx)
        return dx, dW.astype(np.float16).astype(dW.dtype), db


FAULTS = {
    Negated: ("tanh", {"layers.0.W"}),
    TooLarge: ("tanh", {"layers.0.b", "layers.1.b"}),
    OneWrongElement: ("tanh", {"layers.0.W", "layers.1.W"}),
    WrongDx: ("tanh", {"layers.0.W", "layers.0.b", "x"}),
    NoDerivative: ("tanh", {"layers.0.W", "layers.0.b", "x"}),
    StaleMask: ("dropout", {"layers.0.W", "layers.0.b", "x"}),
    FloatSixteen: ("tanh", {"layers.0.W", "layers.1.W"}),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("loss", ["softmax-labels", "mse", "bce-multilabel"])
def test_planted_faults_are_found_in_their_place(fault, loss):
    class Faulty(NumpyBackend):
        def ops(self):
            return fault()

    network, blamed = FAULTS[fault]
    backend = Faulty("numpy", backends.get("numpy").xp, version="")
    checks = check(Problem(network, loss, weighted=True), backend=backend)
    assert set(failed(checks)) == blamed


# ---- kinks ----------------------------------------------------------------------------------


def test_a_relu_that_is_exactly_0_is_counted_and_not_blamed():
    """Rows of zeros and biases of 0: every hidden unit sits on its kink."""
    network = xpnet.mlp(5, 4, 3)
    x = np.zeros((3, 5))
    checks = gradcheck(network, network.init(0), x, np.asarray([0, 0, 1], np.int32))
    assert failed(checks) == []
    kinks = {c.block: c.n_kinks for c in checks}
    assert kinks["layers.0.b"] > 0
    assert kinks["x"] > 0
    assert kinks["layers.1.b"] == 0


def test_a_fault_beside_kinks_is_still_found():
    class Faulty(NumpyBackend):
        def ops(self):
            return TooLarge()

    network = xpnet.mlp(5, 4, 3)
    x = np.random.default_rng(0).normal(size=(6, 5))
    x[0] = 0.0
    backend = Faulty("numpy", backends.get("numpy").xp, version="")
    labels = np.asarray([0, 1, 2, 0, 1, 2], np.int32)
    checks = gradcheck(network, network.init(0), x, labels, backend=backend)
    assert "layers.1.b" in failed(checks)


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (np.exp, 1.0),
        (lambda s: np.sin(1e3 * s), 1e3),
        (lambda s: 5.0 + 1e-6 * s, 1e-6),
        (lambda s: s**3, 0.0),
        (lambda s: abs(s - 1e-3), -1.0),
        (lambda s: max(s + 1e-5, 0.0), 1.0),
    ],
)
def test_slopes_lie_within_their_error(f, derivative):
    found = slope(lambda s: float(f(s)))
    assert abs(found.value - derivative) <= found.error
    assert found.error < 1e-6 * max(1.0, derivative)
    assert not found.kink


@pytest.mark.parametrize("f", [abs, lambda s: max(s, 0.0), lambda s: s + 1e-3 * abs(s)])
def test_a_kink_at_0_is_seen(f):
    assert slope(f).kink


# ---- what cannot be checked -----------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_refused():
    problem = Problem("tanh", "mse")
    problem.theta = np.full_like(problem.theta, np.nan)
    with pytest.raises(xpnet.DataError, match="the loss is not finite"):
        check(problem)


def test_senseless_counts_are_refused():
    with pytest.raises(xpnet.UsageError, match="number of directions"):
        check(Problem("tanh", "mse"), n_directions=0)


def test_checks_are_the_same_every_time():
    problem = Problem("relu", "softmax-labels")
    assert check(problem) == check(problem)
