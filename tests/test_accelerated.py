"""Compiled segments end where the plain step ends: block by block, sample by sample, reused memory.

The oracle is the reference step in float64 on NumPy, which autodiff and finite differences check.
"""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import relative_error

import xpnet
from xpnet import backends, random
from xpnet.backends.backend import ManySteps
from xpnet.backends.jax import BlockOps, Blocks, compiled, shuffle
from xpnet.backends.numba import samples
from xpnet.backends.numba.ops import is_thin
from xpnet.checks.cases import convert, leaves, primitive_cases
from xpnet.ops import Ops
from xpnet.random import permutation
from xpnet.source import epoch_rates
from xpnet.state import initial_state, map_arrays
from xpnet.step import TrainingStep
from xpnet.types import Feed

N = 40
RNG = np.random.default_rng(7)
X = np.where(RNG.random((N, 12)) < 0.5, 0, RNG.integers(0, 256, (N, 12))).astype(np.uint8)
LABELS = RNG.integers(0, 4, N).astype(np.int32)
BITS = RNG.integers(0, 2, N).astype(np.float64)


def run(backend, network, y=LABELS, batch_size=1, n=20, reference=False, feed=None, **hp):
    """The state, on the host, after ``n`` steps in two segments."""
    hp = xpnet.Hyperparameters(batch_size=batch_size, dtype="float64", **hp)
    build = TrainingStep(network, hp, batch_size)
    step = backend.compile(build, reference=reference)
    copy = backend.asarray
    values = {"weight": None, "shift": None, "scale": 1 / 255, **(feed or {})}
    rates = epoch_rates(backends.get("numpy"), hp, 0, N)
    parts = Feed(X=X, y=y, order=permutation(np, 3, 0, N), lr=rates, **values)
    parts = map_arrays(copy, parts)
    state = map_arrays(copy, initial_state(network, hp))
    for part in (n // 2, n - n // 2):
        state = backend.loop(step, state, parts, part)
    return map_arrays(backend.to_numpy, state), step


def check_equal(state, exact, limit=1e-12):
    assert relative_error(state.theta, exact.theta) < limit
    for a, b in zip(state.slots, exact.slots, strict=True):
        assert relative_error(a, b) < limit
    check_counters(state.counters, exact.counters, limit)
    assert state.theta.dtype == exact.theta.dtype
    assert state.counters.loss_sum.dtype == exact.counters.loss_sum.dtype


def check_counters(counters, exact, limit):
    for name in ("loss_sum", "weight_sum"):
        assert relative_error(getattr(counters, name), getattr(exact, name)) < limit, name
    for name in ("t", "position", "n_correct", "first_bad_step"):
        assert np.array_equal(getattr(counters, name), getattr(exact, name)), name


def both(name, *args, **kwargs):
    exact, _ = run(backends.get("numpy"), *args, reference=True, **kwargs)
    state, step = run(backends.get(name), *args, **kwargs)
    return state, exact, step


SGD = {"optimizer": xpnet.SGD(lr=0.5)}
PLAIN = xpnet.mlp(12, 9, 4)

OPTIMIZERS = [
    xpnet.SGD(lr=0.3, weight_decay=0.1),
    xpnet.Momentum(lr=0.1, l2=0.01),
    xpnet.Nesterov(lr=0.1),
    xpnet.RMSprop(),
    xpnet.AdamW(),
]


SLOW_JAX = pytest.param("jax", marks=pytest.mark.slow)  # it compiles anew for each


@pytest.mark.parametrize("name", ["numpy", "numba", SLOW_JAX])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_every_optimizer_clipped(name, optimizer, batch_size):
    n = min(70, N // batch_size) if batch_size > 1 else 40
    state, exact, _ = both(
        name,
        PLAIN,
        optimizer=optimizer,
        batch_size=batch_size,
        n=n,
        clip_norm=0.7,
        clip_value=0.4,
    )
    check_equal(state, exact)


@pytest.mark.parametrize("name", ["numpy", "numba", SLOW_JAX])
@pytest.mark.parametrize("activation", ["identity", "relu", "sigmoid", "tanh", "gelu"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_plain_descent_on_few_samples(name, activation, batch_size):
    network = xpnet.mlp(12, 9, 7, 4, activation=activation)
    state, exact, step = both(name, network, batch_size=batch_size, n=12, **SGD)
    check_equal(state, exact)
    fast = isinstance(step, samples.SampleBySample)
    assert fast == (name == "numba" and activation != "gelu")


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("y", [BITS, BITS[:, None]], ids=["vector", "column"])
def test_one_logit(name, y):
    network = xpnet.mlp(12, 5, 1, activation="tanh")
    loss = xpnet.BinaryCrossEntropy()
    state, exact, _ = both(name, network, y=y, batch_size=4, n=10, loss=loss, **SGD)
    check_equal(state, exact)


@pytest.mark.parametrize(
    "feed",
    [
        {"weight": RNG.random(N)},
        {"shift": RNG.random(12), "scale": RNG.random(12) + 0.5},
        {"scale": RNG.random(12) + 0.5},
    ],
    ids=["weights", "standardised", "scales"],
)
@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_data_that_the_fast_ways_do_not_cover(name, feed):
    state, exact, _ = both(name, PLAIN, feed=feed, **SGD)
    check_equal(state, exact)


def test_a_schedule_is_followed_within_the_loop():
    schedule = xpnet.OneCycle()
    state, exact, step = both("numba", PLAIN, schedule=schedule, epochs=2, n=40, **SGD)
    assert isinstance(step, samples.SampleBySample)
    check_equal(state, exact)


def test_compiled_blocks_end_where_the_vector_ends():
    state, exact, _ = both("jax", PLAIN, optimizer=xpnet.AdamW(), batch_size=8, n=5, clip_norm=0.7)
    check_equal(state, exact)


@pytest.mark.parametrize("name", ["numpy", "numba", "jax"])
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_the_first_bad_step_is_the_same(name):
    network = xpnet.mlp(12, 9, 4, activation="identity")
    state, exact, _ = both(name, network, optimizer=xpnet.SGD(lr=1e30), n=20)
    assert exact.counters.first_bad_step > 1
    assert state.counters.first_bad_step == exact.counters.first_bad_step


# ---- what the loop must refuse -----------------------------------------------------------------


def builds(network=PLAIN, batch_size=1, **hp):
    return TrainingStep(network, xpnet.Hyperparameters(**{**SGD, **hp}), batch_size)


def test_the_loop_takes_what_it_can_do():
    assert samples.suits(builds())
    assert samples.suits(builds(batch_size=8)), "small products"
    assert not samples.suits(builds(xpnet.mlp(784, 200, 10), batch_size=32))


@pytest.mark.parametrize(
    "build",
    [
        builds(optimizer=xpnet.Momentum()),
        builds(optimizer=xpnet.SGD(weight_decay=0.1)),
        builds(optimizer=xpnet.SGD(l2=0.1)),
        builds(clip_norm=1.0),
        builds(clip_value=1.0),
        builds(loss=xpnet.SoftmaxCrossEntropy(smoothing=0.1)),
        builds(loss=xpnet.MeanSquaredError()),
        builds(loss=xpnet.BinaryCrossEntropy()),
        builds(xpnet.mlp(12, 9, 1)),
        builds(xpnet.mlp(12, 9, 4, activation="gelu")),
        builds(xpnet.mlp(12, 9, 4, dropout=0.5)),
        builds(xpnet.Network(12, [xpnet.LayerNorm(), xpnet.Dense(4)])),
        lambda ops: None,
    ],
)
def test_the_loop_refuses_everything_else(build):
    assert not samples.suits(build)


def test_a_subclass_of_an_optimizer_is_not_mistaken():
    @dataclasses.dataclass(frozen=True)
    class Uphill(xpnet.SGD):
        def update(self, ops, theta, g, slots, t, lr):
            return ops.sgd(theta, g, -lr), ()

    for name in ("numpy", "numba"):
        state, exact, _ = both(name, PLAIN, optimizer=Uphill(lr=0.1))
        check_equal(state, exact)


# ---- planted faults in the loop ----------------------------------------------------------------


WRITTEN = {"forward": 3, "activate": 0, "through": 0, "times_transpose": 2, "descend": 0}
"""The parts of the loop, and which argument each writes to."""


@pytest.mark.parametrize("name", WRITTEN)
def test_a_fault_in_any_part_of_the_loop_is_found(name, monkeypatch):
    """Python runs the loop here, so that its parts can be exchanged."""
    for part in (*WRITTEN, "loss_and_gradient"):
        monkeypatch.setattr(samples, part, getattr(samples, part).py_func)
    monkeypatch.setattr(samples, "run_steps", samples.run_steps.py_func)
    network = xpnet.mlp(12, 9, 7, 4, activation="sigmoid")
    state, exact, _ = both("numba", network, n=4, **SGD)
    check_equal(state, exact)

    right = getattr(samples, name)

    def slightly_wrong(*args):
        right(*args)
        args[WRITTEN[name]][0] *= 1.001

    monkeypatch.setattr(samples, name, slightly_wrong)
    state, exact, _ = both("numba", network, n=4, **SGD)
    with pytest.raises(AssertionError):
        check_equal(state, exact)


# ---- blocks ------------------------------------------------------------------------------------

LAYOUT = ((0, 64, 192), ((6, 8), (100,), (50,)))
VECTORS = {
    "scale_by": [0],
    "clip_value": [0],
    "sgd": [0, 1],
    "momentum": [0, 1, 2],
    "rmsprop": [0, 1, 2],
    "adam": [0, 1, 2, 3],
}


def cut(vector):
    """The first numbers of a vector as Blocks, the gaps between them left out."""
    return Blocks(Ops(np).unpack(vector[:256], *LAYOUT), LAYOUT[0], 256)


def together(result):
    if isinstance(result, tuple):
        return [part for r in result for part in together(r)]
    return [Ops(np).pack(result.blocks, result.offsets, result.n)]


@pytest.mark.parametrize("op", VECTORS)
def test_a_primitive_on_blocks_is_that_on_the_vector(op):
    inside = np.zeros(256, bool)
    for offset, shape in zip(*LAYOUT, strict=True):
        inside[offset : offset + np.prod(shape)] = True
    for case, arguments in primitive_cases()[op].items():
        arguments = convert(arguments, np.float64)
        ours = [cut(a) if i in VECTORS[op] else a for i, a in enumerate(arguments)]
        exact = leaves(getattr(Ops(np), op)(*arguments))
        for a, b in zip(together(getattr(BlockOps(np), op)(*ours)), exact, strict=True):
            assert relative_error(a[inside], b[:256][inside]) < 1e-14, case
            assert not a[~inside].any()


def test_decay_spares_the_blocks_that_are_no_weights():
    v, theta = (RNG.normal(size=256) for _ in range(2))
    result = BlockOps(np).add_weights(cut(v), 0.1, cut(theta), 64)
    exact = Ops(np).add_weights(v, 0.1, theta, 64)
    assert np.allclose(result.blocks[0].ravel(), exact[:48], rtol=1e-15)
    assert np.array_equal(result.blocks[1], v[64:164])


def test_the_length_of_blocks():
    v = RNG.normal(size=256)
    exact = sum((block**2).sum() for block in cut(v).blocks)
    assert np.isclose(BlockOps(np).square_sum(cut(v)), exact, rtol=1e-14)


def test_the_compiled_shuffle_is_that_of_numpy():
    """On a CPU the order comes from NumPy; a GPU or TPU computes it with this."""
    device = jax.devices("cpu")[0]
    words = [random.word(jax.numpy, w, device) for w in (7, random.ORDER, 3)]
    order = shuffle(tuple(words[:2]), words[2], 300, device)
    assert np.array_equal(order, permutation(np, 7, 3, 300))


def test_an_equal_step_is_compiled_once():
    device = jax.devices("cpu")[0]
    one = compiled(builds(), device, reference=False)
    assert compiled(builds(), device, reference=False) is one
    assert compiled(builds(batch_size=2), device, reference=False) is not one
    assert compiled(builds(), device, reference=True) is not one
    assert isinstance(one, ManySteps)


@pytest.mark.parametrize("m", [1, 2, 7, 16])
@pytest.mark.parametrize("n_out", [1, 4, 5, 7, 10, 16])
def test_thin_products_of_any_size_are_those_of_numpy(m, n_out):
    x, W, dz = (RNG.normal(size=shape) for shape in [(m, 64), (64, n_out), (m, n_out)])
    ops = backends.get("numba").ops()
    assert is_thin(x, W)
    assert relative_error(ops.product(x, W), np.einsum("ij,jk->ik", x, W)) < 1e-14
    assert relative_error(ops.weight_grad(x, dz), np.einsum("ij,ik->jk", x, dz)) < 1e-14
