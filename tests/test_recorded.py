"""The recorded step: bit for bit what the step itself does, on whatever xpnet is made of."""

import numpy as np
import pytest
from conftest import relative_error

import xpnet
from xpnet import Dense, Dropout, Hyperparameters, LayerNorm, Network, backends, mlp
from xpnet.activations import ACTIVATIONS, Activation
from xpnet.backends.numba.ops import NumbaOps
from xpnet.backends.numpy import recorded
from xpnet.backends.numpy.ops import NumpyOps
from xpnet.backends.numpy.recorded import RecordedStep
from xpnet.backends.numpy.recording import Recorded, Recording
from xpnet.backends.workspace import Workspace, on_workspace
from xpnet.losses import (
    BinaryCrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)
from xpnet.optim import SGD, AdamW, Momentum, Nesterov, RMSprop
from xpnet.schedules import Constant, Cosine, Exponential, OneCycle, Step
from xpnet.source import epoch_rates
from xpnet.state import begin_epoch, initial_state
from xpnet.step import TrainingStep
from xpnet.types import Feed

N, BATCH, STEPS = 96, 8, 12
NUMPY, NUMBA = backends.get("numpy"), backends.get("numba")
PLAIN = {"numpy": NumpyOps, "numba": NumbaOps}

NETWORKS = {
    **{name: mlp(6, 7, 4, activation=name) for name in ACTIVATIONS},
    "dropout": mlp(6, 8, 7, 4, dropout=0.3),
    "layer norm": Network(6, [Dense(9, "relu"), LayerNorm(), Dense(4)]),
    "last is an activation": mlp(6, 5, 4, output="tanh"),
    "dropout first": Network(6, [Dropout(0.2), Dense(4)]),
}

SETTINGS = {
    "sgd": {"optimizer": SGD(0.1), "schedule": Constant()},
    "sgd l2": {"optimizer": SGD(0.1, l2=0.01), "schedule": Step(1.0, 0.5)},
    "momentum": {"optimizer": Momentum(0.1), "schedule": Cosine(warmup=0.5)},
    "nesterov": {"optimizer": Nesterov(0.1), "schedule": Exponential(0.5)},
    "rmsprop": {"optimizer": RMSprop(0.01), "schedule": OneCycle()},
    "adamw": {"optimizer": AdamW(0.01, weight_decay=0.1)},
    "clip norm": {"optimizer": AdamW(0.01), "clip_norm": 0.05},
    "clip value": {"optimizer": Momentum(0.1), "clip_value": 0.01},
    "smoothing": {"loss": SoftmaxCrossEntropy(smoothing=0.1)},
    "bce": {"loss": BinaryCrossEntropy()},
    "mse": {"loss": MeanSquaredError()},
    "mae": {"loss": MeanAbsoluteError()},
    "huber": {"loss": Huber(0.3)},
}


def feed(*, labels=True, weighted=False, scaled=False, dtype="float32", epoch=0) -> Feed:
    rng = np.random.default_rng(5)
    X = rng.integers(0, 9, (N, 6)).astype("uint8")
    y = rng.integers(0, 4, N).astype("int32") if labels else rng.random((N, 4)).astype(dtype)
    weight = rng.random(N).astype(dtype) if weighted else None
    shift = rng.random(6).astype(dtype) if scaled else None
    scale = rng.random(6).astype(dtype) if scaled else 0.125
    return Feed(X, y, weight, shift, scale, order(epoch), np.full(STEPS, 0.1, dtype))


def order(epoch):
    return np.random.default_rng(epoch).permutation(N).astype(np.int32)


def step_of(network, dtype="float32", **settings):
    hp = Hyperparameters(epochs=3, batch_size=BATCH, dtype=dtype, **settings)
    build = TrainingStep(network, hp, BATCH)
    return build, initial_state(network, hp)


def epochs(build, feeds):
    """The feeds with the learning rates of their epochs."""
    for epoch, feed in enumerate(feeds):
        yield feed._replace(lr=epoch_rates(NUMPY, build.hp, epoch, N))


def plain(build, backend):
    """The step by the primitives themselves."""
    workspace = Workspace()
    return on_workspace(build, PLAIN[backend.name](workspace), workspace)


def plainly(build, state, feeds, backend=NUMPY):
    """All steps by the primitives themselves, epoch after epoch."""
    step = plain(build, backend)
    for feed in epochs(build, feeds):
        state = NUMPY.loop(step, begin_epoch(NUMPY, state), feed, STEPS)
    return state


def recorded_all(build, state, feeds, backend=NUMPY):
    step = backend.compile(build)
    assert isinstance(step, RecordedStep)
    for feed in epochs(build, feeds):
        state = begin_epoch(NUMPY, state)
        for n in (1, 5, STEPS - 6):
            state = NUMPY.loop(step, state, feed, n)
    assert step.calls, "a step was recorded"
    return state


def assert_equal(a, b):
    """Equal states, bit for bit."""
    np.testing.assert_array_equal(a.theta, b.theta)
    np.testing.assert_array_equal(a.slots, b.slots)
    for name, x, y in zip(a.counters._fields, a.counters, b.counters, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)


def same(network, settings, backend=NUMPY, **data):
    dtype = data.get("dtype", "float32")
    feeds = [feed(**data)]
    feeds += [feeds[0]._replace(order=order(epoch)) for epoch in (1, 2)]
    expected = plainly(*step_of(network, dtype, **settings), feeds, backend)
    found = recorded_all(*step_of(network, dtype, **settings), feeds, backend)
    assert_equal(expected, found)
    assert found.theta.dtype == dtype
    assert not np.array_equal(found.theta, step_of(network, dtype, **settings)[1].theta)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_and_activation(name, dtype):
    same(NETWORKS[name], {}, dtype=dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_every_rule_and_loss(name, weighted):
    labels = "loss" not in SETTINGS[name] or name == "smoothing"
    same(NETWORKS["relu"], SETTINGS[name], labels=labels, weighted=weighted)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"sgd"}))
def test_numba_is_recorded_as_well(name):
    """All but plain descent, which is a loop of its own there."""
    labels = "loss" not in SETTINGS[name] or name == "smoothing"
    same(NETWORKS["relu"], SETTINGS[name], NUMBA, labels=labels)
    same(NETWORKS["dropout"], SETTINGS[name], NUMBA, labels=labels, dtype="float64")


LARGE = 2050
"""Enough samples for five parts, the last of two."""


def one_large_batch(weighted, dtype="float32"):
    """A step on all samples at once, and its feed."""
    network, rng = mlp(70, 5, 4), np.random.default_rng(0)
    X, y = rng.integers(0, 256, (LARGE, 70)).astype(np.uint8), rng.integers(0, 4, LARGE)
    weight = rng.random(LARGE).astype(dtype) if weighted else None
    build = TrainingStep(network, Hyperparameters(batch_size=LARGE, dtype=dtype), LARGE)
    order = np.arange(LARGE, dtype=np.int32)
    lr = np.full(1, 0.01, dtype)
    return build, Feed(X, y.astype(np.int32), weight, None, 1 / 255, order, lr)


@pytest.mark.parametrize("backend", [NUMPY, NUMBA], ids=["numpy", "numba"])
@pytest.mark.parametrize("weighted", [False, True])
def test_parts_are_counted_as_the_whole_is(backend, weighted):
    build, large = one_large_batch(weighted, "float64")
    whole = backend.compile(build, reference=True)(initial_state(build.network, build.hp), large)
    parts = backend.loop(backend.compile(build), initial_state(build.network, build.hp), large, 1)
    assert relative_error(parts.theta, whole.theta) < 1e-12
    counted, expected = parts.counters, whole.counters
    for name in ("loss_sum", "weight_sum"):
        assert relative_error(getattr(counted, name), getattr(expected, name)) < 1e-12, name
    for name in ("t", "position", "n_correct", "first_bad_step"):
        np.testing.assert_array_equal(getattr(counted, name), getattr(expected, name), name)
    assert counted.position[0] == LARGE


@pytest.mark.parametrize("backend", [NUMPY, NUMBA], ids=["numpy", "numba"])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_large_batch_is_recorded_in_parts(backend, weighted):
    """It is all of an epoch: the step is called once at a time."""
    build, large = one_large_batch(weighted)
    found = []
    for step in (plain(build, backend), backend.compile(build)):
        state = initial_state(build.network, build.hp)
        for _ in range(6):
            state = backend.loop(step, begin_epoch(backend, state), large, 1)
        found.append(state)
    assert step.recorded
    assert_equal(*found)
    assert found[0].counters.t[0] == 6


@pytest.mark.parametrize("name", ["gelu", "dropout", "layer norm"])
def test_parts_whose_arrays_would_all_be_kept_are_not_recorded(name):
    build = TrainingStep(NETWORKS[name], Hyperparameters(batch_size=LARGE), LARGE)
    assert not recorded.suits(build)
    assert recorded.suits(TrainingStep(NETWORKS[name], Hyperparameters(), BATCH))


def test_a_loss_on_many_outputs_is_not_recorded_part_by_part():
    hp = Hyperparameters(batch_size=4096)
    assert recorded.suits(TrainingStep(mlp(70, 500), hp, 4096))
    assert not recorded.suits(TrainingStep(mlp(70, 1000), hp, 4096))
    assert recorded.suits(TrainingStep(mlp(70, 1000), hp, 512)), "as large a part"


def test_standardised_columns_and_distributions():
    same(NETWORKS["tanh"], {}, scaled=True)
    same(NETWORKS["tanh"], {}, labels=False)


def test_slots_are_flushed_as_often():
    network = NETWORKS["relu"]
    feeds = [feed(epoch=epoch) for epoch in range(1)] * 7  # 84 steps: one flush, at step 64
    settings = {"optimizer": Momentum(1e-20, mu=0.9), "schedule": Constant()}
    plain, state = step_of(network, **settings)
    state.slots[0][:3] = 1e-31
    twin, twin_state = step_of(network, **settings)
    twin_state.slots[0][:3] = 1e-31
    a, b = plainly(plain, state, feeds), recorded_all(twin, twin_state, feeds)
    np.testing.assert_array_equal(a.slots[0], b.slots[0])


def test_other_weights_or_data_are_recorded_anew():
    build, state = step_of(NETWORKS["relu"])
    step = NUMPY.compile(build)
    [first] = epochs(build, [feed()])
    NUMPY.loop(step, state, first, 6)
    calls = step.calls
    _, fresh = step_of(NETWORKS["relu"])
    other = first._replace(X=first.X[::-1].copy())
    found = NUMPY.loop(step, fresh, other, STEPS)
    assert step.calls is not calls
    expected = plainly(*step_of(NETWORKS["relu"]), [other])
    np.testing.assert_array_equal(found.theta, expected.theta)


def test_the_step_at_which_the_loss_breaks_is_noticed():
    network, settings = mlp(6, 4), {"loss": MeanSquaredError(), "optimizer": SGD(1e9)}
    data = feed(labels=False)
    expected = plainly(*step_of(network, **settings), [data])
    found = recorded_all(*step_of(network, **settings), [data])
    assert expected.counters.first_bad_step[0] == found.counters.first_bad_step[0] > 0


class Counting(Dense):
    """A layer of somebody's own."""


@pytest.mark.parametrize(
    "network",
    [
        Network(6, [Counting(4)]),
        mlp(6, 4, output=Activation("own", lambda xp, z: z, lambda xp, z: 1.0 + 0.0 * z)),
    ],
    ids=["layer", "activation"],
)
def test_what_is_not_ours_is_run_every_time(network):
    build, _ = step_of(network)
    assert not recorded.suits(build)
    assert not isinstance(NUMPY.compile(build), RecordedStep)


def test_large_batches_are_not_recorded():
    build, _ = step_of(mlp(80_000, 4))
    assert not recorded.suits(build)


def test_default_training_on_numpy_is_recorded(monkeypatch):
    recordings = []
    record = RecordedStep.record
    monkeypatch.setattr(
        RecordedStep, "record", lambda self, *a: recordings.append(1) or record(self, *a)
    )
    data = xpnet.Dataset(feed().X, feed().y)
    for _ in xpnet.fit(NETWORKS["relu"], data, backend="numpy", epochs=3, batch_size=BATCH):
        pass
    assert recordings == [1]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda a: bool(a),
        lambda a: float(a[0]),
        lambda a: np.asarray(a),
        lambda a: np.add(a, 1, out=np.empty(3)),
        lambda a: np.zeros(3).__setitem__(slice(None), a),
    ],
)
def test_what_depends_on_a_value_is_refused(attempt):
    with pytest.raises(TypeError):
        attempt(Recorded(np.arange(3.0), Recording()))


def replayed(operation):
    """``operation`` recorded on [1, 2, 3], and then done on [4, 6, 5]."""
    recording = Recording()
    memory = np.asarray([1.0, 2.0, 3.0])
    result = operation(Recorded(memory, recording))
    memory[:] = 4.0, 6.0, 5.0
    for call in recording.calls:
        call()
    return result.array


@pytest.mark.parametrize(
    "operation",
    [
        lambda a: a + 1,
        lambda a: 1 - a * a,
        lambda a: np.where(a > 4.5, a, np.zeros_like(a)),
        lambda a: np.sum(a * a),
        lambda a: np.max(a, keepdims=True),
        lambda a: np.concatenate([a, a[::-1]]),
        lambda a: np.dot(a, a),
        lambda a: a.astype(np.float32).reshape(3, 1).T,
        lambda a: a[np.asarray([2, 0])],
        lambda a: a[1],
        lambda a: a.take(np.asarray([1, 1])),
        lambda a: np.clip(a, 4.5, 5.5),
        lambda a: a.argmax(axis=0),
    ],
)
def test_operations_read_the_memory_anew(operation):
    now = np.asarray([4.0, 6.0, 5.0])
    expected = operation(now)
    if isinstance(expected, np.ndarray) and expected.base is now:
        expected = expected.copy()
    np.testing.assert_array_equal(replayed(operation), expected)


def test_a_call_left_out_is_noticed(monkeypatch):
    record = RecordedStep.record

    def forgetful(self, *args):
        done = record(self, *args)
        del self.calls[len(self.calls) // 2]
        return done

    monkeypatch.setattr(RecordedStep, "record", forgetful)
    with pytest.raises(AssertionError):
        same(NETWORKS["relu"], {})
