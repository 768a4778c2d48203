"""The optimizers, decay and clipping against their formulas in NumPy and against PyTorch."""

import dataclasses
import math

import numpy as np
import pytest
from conftest import BACKENDS, make_backend, relative_error

import xpnet
from xpnet import Hyperparameters, UsageError
from xpnet.step import descend

STEPS = 10
NETWORK = xpnet.Network(130, [xpnet.Dense(130), xpnet.LayerNorm(), xpnet.Dense(2)])
"""Matrices and vectors, in a theta longer than what NumpyOps works on at a time."""

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}  # ten updates, each rounded a few times


@pytest.fixture(params=BACKENDS)
def place(request):
    """A backend and its primitives; ``numpy-reference`` has the plain ones."""
    backend = make_backend(request.param)
    plain = request.param.endswith("-reference")
    return backend, backend.reference_ops() if plain else backend.ops()


# ---- the formulas, as PyTorch's documentation has them ------------------------------------


def sgd(o, theta, g, slots, t, lr):
    return theta - lr * g, []


def momentum(o, theta, g, slots, t, lr):
    b = o.mu * slots[0] + g if t > 1 else g
    return theta - lr * b, [b]


def nesterov(o, theta, g, slots, t, lr):
    b = o.mu * slots[0] + g if t > 1 else g
    return theta - lr * (g + o.mu * b), [b]


def rmsprop(o, theta, g, slots, t, lr):
    v = o.rho * slots[0] + (1 - o.rho) * g**2
    return theta - lr * g / (np.sqrt(v) + o.eps), [v]


def adam(o, theta, g, slots, t, lr):
    m = o.beta1 * slots[0] + (1 - o.beta1) * g
    v = o.beta2 * slots[1] + (1 - o.beta2) * g**2
    m_hat, v_hat = m / (1 - o.beta1**t), v / (1 - o.beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + o.eps), [m, v]


CASES = {
    "sgd": (xpnet.SGD(lr=0.3), sgd),
    "sgd-l2": (xpnet.SGD(lr=0.3, l2=0.1), sgd),
    "sgd-decay": (xpnet.SGD(lr=0.3, weight_decay=0.1), sgd),
    "momentum": (xpnet.Momentum(lr=0.1, mu=0.8), momentum),
    "momentum-l2": (xpnet.Momentum(lr=0.1, mu=0.8, l2=0.2), momentum),
    "nesterov": (xpnet.Nesterov(lr=0.1, mu=0.7), nesterov),
    "nesterov-l2": (xpnet.Nesterov(lr=0.1, mu=0.7, l2=0.2), nesterov),
    "rmsprop": (xpnet.RMSprop(lr=0.02, rho=0.9, eps=1e-3), rmsprop),
    "rmsprop-l2": (xpnet.RMSprop(lr=0.02, rho=0.9, eps=1e-3, l2=0.1), rmsprop),
    "adam": (xpnet.Adam(lr=0.02, beta1=0.8, beta2=0.95, eps=1e-3), adam),
    "adam-defaults": (xpnet.Adam(), adam),
    "adam-l2": (xpnet.Adam(lr=0.02, eps=1e-3, l2=0.3), adam),
    "adamw": (xpnet.AdamW(lr=0.02, eps=1e-3, weight_decay=0.2), adam),
}


def problem():
    """The initial theta, a gradient for each step and a learning rate factor for each."""
    rng = np.random.default_rng(0)
    theta = NETWORK.init(1, "float64")
    gradients = [
        NETWORK.flatten(
            [
                {name: rng.normal(size=a.shape) for name, a in p.items()}
                for p in NETWORK.split(np, theta)
            ]
        )
        for _ in range(STEPS)
    ]
    return theta, gradients, rng.uniform(0.5, 1.5, STEPS)


def is_weight():
    """True where theta holds an element of a matrix."""
    params = NETWORK.split(np, np.zeros(NETWORK.n_theta))
    marks = [{name: np.full(a.shape, a.ndim == 2) for name, a in p.items()} for p in params]
    return NETWORK.flatten(marks).astype(bool)


def descend_n(place, optimizer, theta, gradients, factors, dtype, first_t=1, slots=None, **clip):
    """theta and slots on the host after descending along the gradients."""
    backend, ops = place

    def device(a, dtype=dtype):
        placed = backend.asarray(np.asarray(a, dtype))
        return backend.xp.asarray(placed, copy=True)  # all of it is donated

    hp = Hyperparameters(optimizer=optimizer, **clip)
    theta = device(theta)
    slots = tuple(device(s) for s in slots or [np.zeros(NETWORK.n_theta)] * optimizer.n_slots)
    for t, (g, factor) in enumerate(zip(gradients, factors, strict=True), first_t):
        lr = optimizer.lr * device([factor])
        now = device([t], "int32")
        theta, slots = descend(ops, NETWORK, hp, theta, device(g), slots, now, lr)
    return backend.to_numpy(theta), [backend.to_numpy(slot) for slot in slots]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_an_optimizer_follows_its_formula(place, case, dtype):
    optimizer, formula = CASES[case]
    theta, gradients, factors = problem()
    got, got_slots = descend_n(place, optimizer, theta, gradients, factors, dtype)
    assert got.dtype == dtype

    weights = is_weight()
    slots = [np.zeros_like(theta)] * optimizer.n_slots
    for t, (g, factor) in enumerate(zip(gradients, factors, strict=True), 1):
        lr = optimizer.lr * factor
        theta = np.where(weights, theta * (1 - lr * optimizer.weight_decay), theta)
        g = g + np.where(weights, optimizer.l2 * theta, 0)
        theta, slots = formula(optimizer, theta, g, slots, t, lr)
    assert relative_error(got, theta) < TOLERANCE[dtype]
    assert [(slot.dtype, slot.shape) for slot in got_slots] == [(dtype, theta.shape)] * len(slots)


TORCH = {
    xpnet.SGD: ("SGD", lambda o: {}),
    xpnet.Momentum: ("SGD", lambda o: {"momentum": o.mu}),
    xpnet.Nesterov: ("SGD", lambda o: {"momentum": o.mu, "nesterov": True}),
    xpnet.RMSprop: ("RMSprop", lambda o: {"alpha": o.rho, "eps": o.eps}),
    xpnet.Adam: ("Adam", lambda o: {"betas": (o.beta1, o.beta2), "eps": o.eps}),
    xpnet.AdamW: ("AdamW", lambda o: {"betas": (o.beta1, o.beta2), "eps": o.eps}),
}


@pytest.mark.torch
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", [case for case in CASES if case != "sgd-decay"])
def test_an_optimizer_agrees_with_pytorch(place, case, dtype):
    torch = pytest.importorskip("torch")
    optimizer = CASES[case][0]
    theta, gradients, factors = problem()
    got, _ = descend_n(place, optimizer, theta, gradients, factors, dtype)

    def tensors(vector):
        params = NETWORK.split(np, vector.astype(dtype))
        return [{name: torch.tensor(a) for name, a in p.items()} for p in params]

    params = tensors(theta)
    flat = [(name, tensor) for p in params for name, tensor in p.items()]
    matrices = [tensor for _, tensor in flat if tensor.ndim == 2]
    vectors = [tensor for _, tensor in flat if tensor.ndim == 1]
    name, arguments = TORCH[type(optimizer)]
    groups = [
        {"params": matrices, "weight_decay": optimizer.l2 or optimizer.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    peer = getattr(torch.optim, name)(groups, lr=1.0, **arguments(optimizer))
    for g, factor in zip(gradients, factors, strict=True):
        for p, grads in zip(params, tensors(g), strict=True):
            for key, tensor in p.items():
                tensor.grad = grads[key]
        for group in peer.param_groups:
            group["lr"] = optimizer.lr * factor
        peer.step()
    expected = NETWORK.flatten([{k: v.numpy() for k, v in p.items()} for p in params])
    assert relative_error(got, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize(
    "optimizer", [xpnet.SGD(weight_decay=0.5), xpnet.SGD(l2=0.5), xpnet.AdamW(), xpnet.Adam(l2=1.0)]
)
def test_decay_spares_biases_and_norm_parameters(place, optimizer):
    theta = np.ones(NETWORK.n_theta)
    got, _ = descend_n(place, optimizer, theta, [np.zeros_like(theta)], [1.0], "float64")
    params = NETWORK.split(np, got)
    for p in params:
        for name, a in p.items():
            if name == "W":
                assert (a < 1).all()
            else:
                assert (a == 1).all()


# ---- clipping ------------------------------------------------------------------------------


def clipped(place, g, **clip):
    """The gradient that the update sees: theta falls by it at a learning rate of 1."""
    zero = np.zeros(NETWORK.n_theta)
    theta, _ = descend_n(place, xpnet.SGD(lr=1.0), zero, [g], [1.0], "float64", **clip)
    return -theta


@pytest.mark.parametrize("norm", [1e-4, 0.5, 1.0, 2.0, 1e6])
def test_clipping_by_norm_shortens_a_long_gradient_alone(place, norm):
    g = problem()[1][0]
    g *= norm / np.linalg.norm(g)
    expected = g / (norm + 1e-6) if norm > 1.0 + 1e-9 else g
    got = clipped(place, g, clip_norm=1.0)
    assert relative_error(got, expected) < (2e-6 if norm == 1.0 else 1e-12)


def test_clipping_by_value_limits_each_component(place):
    g = problem()[1][0]
    expected = [min(max(component, -0.3), 0.3) for component in g.tolist()]
    np.testing.assert_array_equal(clipped(place, g, clip_value=0.3), expected)


def test_values_are_clipped_before_the_norm(place):
    g = problem()[1][0]
    expected = np.clip(g, -0.3, 0.3)
    expected /= np.linalg.norm(expected) + 1e-6
    assert relative_error(clipped(place, g, clip_value=0.3, clip_norm=1.0), expected) < 1e-12


@pytest.mark.parametrize("clip", [{"clip_value": 0.3}, {"clip_norm": 1.0}])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # comparing with NaN
def test_clipping_does_not_hide_a_nan(place, clip):
    g = problem()[1][0]
    g[3] = math.nan
    assert math.isnan(clipped(place, g, **clip)[3])


@pytest.mark.torch
@pytest.mark.parametrize("norm", [1e-3, 0.5, 2.0, 1e6])
def test_clipping_agrees_with_pytorch(place, norm):
    torch = pytest.importorskip("torch")
    g = problem()[1][0]
    g *= norm / np.linalg.norm(g)
    for clip, function in (
        ({"clip_norm": 1.0}, torch.nn.utils.clip_grad_norm_),
        ({"clip_value": 0.01}, torch.nn.utils.clip_grad_value_),
    ):
        tensor = torch.zeros(len(g), dtype=torch.float64)
        tensor.grad = torch.tensor(g)
        function([tensor], *clip.values())
        assert relative_error(clipped(place, g, **clip), tensor.grad.numpy()) < 1e-12


# ---- denormals -----------------------------------------------------------------------------

WITH_SLOTS = {name: CASES[name][0] for name in ("momentum", "nesterov", "rmsprop", "adam", "adamw")}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", WITH_SLOTS)
@pytest.mark.parametrize("t", [1, 63, 64, 65, 127, 128, 640])
def test_tiny_slots_become_0_every_64_steps(place, name, t, dtype):
    optimizer = WITH_SLOTS[name]
    slot = np.zeros(NETWORK.n_theta)
    slot[:4] = [1e-31, 1e-35, 1e-29, 0.5]
    zero = np.zeros(NETWORK.n_theta)
    slots = [slot] * optimizer.n_slots
    _, slots = descend_n(place, optimizer, zero, [zero], [1.0], dtype, first_t=t, slots=slots)
    for slot in slots:
        survives = [t % 64 != 0, t % 64 != 0, True, True]
        assert (slot[:4] != 0).tolist() == survives
        assert not slot[4:].any()


@pytest.mark.parametrize("name", ["momentum", "nesterov", "adam"])
def test_negative_moments_are_flushed_by_their_size(place, name):
    optimizer = WITH_SLOTS[name]
    first = np.zeros(NETWORK.n_theta)
    first[:2] = [-1e-31, -0.5]
    zero = np.zeros_like(first)
    slots = [first, zero][: optimizer.n_slots]
    _, (slot, *_) = descend_n(
        place, optimizer, zero, [zero], [1.0], "float64", first_t=64, slots=slots
    )
    assert slot[0] == 0
    assert slot[1] < -0.1


@pytest.mark.parametrize("reference", [False, True], ids=["numpy", "reference"])
@pytest.mark.parametrize("name", ["momentum", "nesterov", "rmsprop", "adam"])
def test_no_denormals_arise_in_1000_steps_without_gradient(name, reference):
    backend = make_backend("numpy")
    ops = backend.reference_ops() if reference else backend.ops()
    optimizer = {
        "momentum": xpnet.Momentum(),
        "nesterov": xpnet.Nesterov(),
        "rmsprop": xpnet.RMSprop(rho=0.9),
        "adam": xpnet.Adam(beta2=0.9),
    }[name]
    start = np.float32(10.0) ** np.arange(-37, 1, dtype=np.float32)
    theta, zero = np.ones_like(start), np.zeros_like(start)
    slots = tuple(start.copy() for _ in range(optimizer.n_slots))
    lr = np.ones(1, np.float32)
    for t in range(64, 1065):
        now = np.array([t], np.int32)
        theta, slots = optimizer.update(ops, theta, zero.copy(), slots, now, lr)
        for slot in slots:
            assert not ((slot != 0) & (np.abs(slot) < np.finfo(np.float32).tiny)).any()
    assert all(not slot.any() for slot in slots)  # 0.9^1000 is 1e-46


# ---- senseless hyperparameters ---------------------------------------------------------------

REFUSED = {
    "lr": [0.0, -0.1, math.nan, math.inf],
    "weight_decay": [-0.1, math.nan, math.inf],
    "l2": [-0.1, math.nan, math.inf],
    "mu": [-0.1, 1.0, math.nan, math.inf],
    "rho": [-0.1, 1.0, math.nan, math.inf],
    "beta1": [-0.1, 1.0, math.nan, math.inf],
    "beta2": [-0.1, 1.0, math.nan, math.inf],
    "eps": [0.0, -1e-8, math.nan, math.inf],
}


@pytest.mark.parametrize("cls", list(TORCH), ids=lambda cls: cls.__name__)
def test_every_field_refuses_senseless_values(cls):
    for field in dataclasses.fields(cls):
        for value in REFUSED[field.name]:
            with pytest.raises(UsageError, match=str(value)):
                cls(**{field.name: value})
