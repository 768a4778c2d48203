"""Training: what a step reads, what an epoch visits, and that runs are the same everywhere."""

import itertools

import array_api_strict
import numpy as np
import pytest
from conftest import HostReadError, make_backend, no_host_reads, relative_error

import xpnet
from xpnet import backends
from xpnet.backends.backend import Backend
from xpnet.state import to_host
from xpnet.train import segments


def digits(n=300, n_in=20, n_classes=3, seed=0):
    """A small problem that can be learnt: classes with different means, as uint8 pixels."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(60, 200, (n_classes, n_in))
    y = rng.integers(0, n_classes, n).astype(np.uint8)
    X = np.clip(centres[y] + rng.normal(0, 20, (n, n_in)), 0, 255).astype(np.uint8)
    return xpnet.Dataset(X, y, scale=float(np.float32(1 / 255)))


NETWORK = xpnet.mlp(20, 16, 3, dropout=0.2)


def train(backend, network=NETWORK, data=None, reference=False, validation=None, **hp):
    """The last Run of a training, on the host."""
    hp = xpnet.Hyperparameters(**{"epochs": 2, "batch_size": 32, **hp})
    data = data or digits()
    for run in segments(network, data, validation, hp=hp, backend=backend, reference=reference):
        last = to_host(backend, run)
    return last


def test_training_learns(backend):
    train_set, test_set = digits().split(0.3)
    *_, (report, theta) = xpnet.fit(
        NETWORK,
        train_set,
        optimizer=xpnet.Adam(lr=0.02),
        epochs=8,
        batch_size=16,
        backend=backend,
    )
    assert report.epoch == 8
    assert report.train_accuracy > 0.8
    assert xpnet.evaluate(NETWORK, theta, test_set).accuracy > 0.9


# ---- the same everywhere --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["array-api-strict", "device1"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reference_ops_give_the_same_bits_everywhere(name, dtype):
    hp = {"dtype": dtype, "clip_norm": 0.5, "patience": 5}
    ours = train(backends.get("numpy"), reference=True, **hp)
    strict = train(make_backend(name), reference=True, **hp)
    assert ours.state.theta.tobytes() == strict.state.theta.tobytes()
    assert [r[:5] for r in ours.reports] == [r[:5] for r in strict.reports]


def test_fast_ops_follow_the_reference_in_float64():
    reference = train(backends.get("numpy"), reference=True, dtype="float64")
    fast = train(backends.get("numpy"), dtype="float64")
    assert relative_error(fast.state.theta, reference.state.theta) < 1e-10
    assert fast.reports[-1].train_loss == pytest.approx(reference.reports[-1].train_loss, rel=1e-12)


OPTIMIZERS = [
    xpnet.SGD(lr=0.3, l2=1e-3),
    xpnet.Momentum(),
    xpnet.Nesterov(),
    xpnet.RMSprop(lr=0.01),
    xpnet.Adam(lr=0.02),
    xpnet.AdamW(lr=0.02),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_every_optimizer_learns_and_follows_the_reference(optimizer):
    hp = {"dtype": "float64", "optimizer": optimizer, "clip_value": 0.5, "epochs": 6}
    reference = train(backends.get("numpy"), reference=True, **hp)
    fast = train(backends.get("numpy"), **hp)
    assert relative_error(fast.state.theta, reference.state.theta) < 1e-10
    assert fast.reports[-1].train_accuracy > 0.6
    assert fast.reports[-1].train_loss < fast.reports[0].train_loss


# ---- the fake GPU ---------------------------------------------------------------------------


class GuardedBackend(type(backends.get("array-api-strict"))):
    """Within a segment, reading any array on the host raises."""

    def loop(self, step, state, data, n):
        with no_host_reads():
            return Backend.loop(self, step, state, data, n)


def guarded(device="device1"):
    native = array_api_strict.Device(device)
    return GuardedBackend(
        "array-api-strict", array_api_strict, device=native, device_name=device, version=""
    )


HP_OF_ALL_PATHS = [
    {},
    {"clip_norm": 0.1, "clip_value": 0.01, "optimizer": xpnet.SGD(l2=0.1, weight_decay=0.1)},
    {"optimizer": xpnet.Nesterov(), "schedule": xpnet.Cosine(warmup=1)},
    {"optimizer": xpnet.RMSprop(), "schedule": xpnet.Step(), "patience": 1},
    {"loss": xpnet.SoftmaxCrossEntropy(smoothing=0.1), "schedule": xpnet.Exponential()},
]


@pytest.mark.parametrize("hp", HP_OF_ALL_PATHS)
def test_a_segment_never_waits_for_the_device(hp):
    run = train(guarded(), **hp)
    assert run.epoch == 2


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (xpnet.BinaryCrossEntropy(), np.random.default_rng(0).random((300, 3))),
        (xpnet.MeanSquaredError(), np.random.default_rng(0).random((300, 3))),
        (xpnet.MeanAbsoluteError(), np.random.default_rng(0).random((300, 3))),
        (xpnet.Huber(), np.random.default_rng(0).random((300, 3))),
    ],
)
def test_no_loss_waits_for_the_device(loss, y):
    data = digits()
    data = xpnet.Dataset(data.X, y, weight=np.linspace(0.5, 1, 300), scale=data.scale)
    assert train(guarded(), data=data, loss=loss).epoch == 2


@pytest.mark.parametrize("f", sorted(xpnet.ACTIVATIONS))
def test_no_activation_waits_for_the_device(f):
    network = xpnet.Network(20, [xpnet.Dense(8, f), xpnet.LayerNorm(), xpnet.Dense(3)])
    assert train(guarded(), network=network, epochs=1).epoch == 1


@pytest.mark.parametrize("read", [float, bool, int, list, np.asarray, np.from_dlpack])
def test_a_host_read_in_a_segment_is_noticed(read):
    """The planted fault: an activation that looks at a value."""

    def f(xp, z):
        read(xp.sum(z))
        return z

    nosy = xpnet.Activation("nosy", f, lambda xp, z: xp.ones_like(z))
    network = xpnet.mlp(20, 4, 3, activation=nosy)
    with pytest.raises(HostReadError):
        train(guarded(), network=network)


@pytest.mark.parametrize("hp", HP_OF_ALL_PATHS)
def test_float32_training_needs_no_float64(hp):
    """On this device any float64 array raises; ours must not make one on the way."""
    run = train(guarded("no_float64"), **hp)
    theta, slots, counters = run.state
    arrays = [theta, *slots, counters.loss_sum, counters.weight_sum]
    assert {a.dtype for a in arrays} == {np.dtype("float32")}


def test_float64_is_noticed_there():
    with pytest.raises(Exception, match="float64"):
        train(guarded("no_float64"), dtype="float64")


# ---- epochs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "batch_size"), [(300, 32), (300, 100), (5, 2), (7, 1), (3, 300)])
def test_an_epoch_sees_every_sample_once(backend, n, batch_size):
    """A linear unit with loss sum(out) has a gradient that counts the samples of a batch."""
    data = xpnet.Dataset(np.eye(n, dtype=np.float32), np.zeros((n, 1), np.float32))
    network = xpnet.Network(n, [xpnet.Dense(1, init="zeros")])
    # |out - 0| with out = W_i > 0 has gradient 1 / m for W_i, once for each visit of sample i
    hp = {
        "loss": xpnet.MeanAbsoluteError(),
        "optimizer": xpnet.SGD(lr=1.0),
        "schedule": xpnet.Constant(),
        "epochs": 1,
        "batch_size": batch_size,
        "dtype": "float64",
    }
    seen = np.zeros(n, int)

    class Counting(Backend):
        def loop(self, step, state, data, k):
            for _ in range(k):
                position = int(backend.to_numpy(state.counters.position)[0])
                state = step(state, data)
                after = int(backend.to_numpy(state.counters.position)[0])
                seen[backend.to_numpy(data.order)[position:after]] += 1
            return state

    counting = Counting(backend.name, backend.xp, device=backend.device, version="")
    counting.to_numpy, counting.asarray = backend.to_numpy, backend.asarray
    run = train(counting, network=network, data=data, **hp)
    assert (seen == 1).all()
    assert int(run.state.counters.t[0]) == -(-n // min(batch_size, n))


def test_each_step_has_masks_of_its_own():
    seen = []

    class Watched(xpnet.Dropout):
        def forward(self, ops, p, x, noise):
            seen.append((int(noise.t[0]), noise.rows.tolist()))
            return super().forward(ops, p, x, noise)

    network = xpnet.Network(20, [Watched(0.2), xpnet.Dense(3)])
    train(backends.get("numpy"), network, digits(150), reference=True)
    rows = [32, 32, 32, 32, 22]
    assert seen == [(t, list(range(m))) for t, m in enumerate(rows + rows)]


def test_the_order_depends_on_seed_and_epoch_alone():
    orders = {}

    class Recording(type(backends.get("numpy"))):
        def loop(self, step, state, data, n):
            orders.setdefault((hp["seed"], hp["batch_size"]), set()).add(data.order.tobytes())
            return super().loop(step, state, data, n)

    numpy = backends.get("numpy")
    for hp in (
        {"seed": 0, "batch_size": 32},
        {"seed": 0, "batch_size": 50},
        {"seed": 1, "batch_size": 32},
    ):
        train(Recording("numpy", numpy.xp, version=""), **hp)
    assert len(orders[0, 32]) == 2, "two epochs, two orders"
    assert orders[0, 32] == orders[0, 50]
    assert not orders[0, 32] & orders[1, 32]


@pytest.fixture
def step_by_step(monkeypatch):
    """Runs of ``segments`` with one step in each."""
    monkeypatch.setattr("xpnet.train.FIRST_SEGMENT_STEPS", 1)

    def runs(**arguments):
        hp = xpnet.Hyperparameters(epochs=2, batch_size=32, patience=3)
        numpy = backends.get("numpy")
        return segments(NETWORK, digits(), hp=hp, backend=numpy, segment_seconds=1e-9, **arguments)

    return runs


def test_segments_do_not_change_the_result(step_by_step):
    whole = train(backends.get("numpy"), patience=3)
    pieces = list(step_by_step())
    assert len(pieces) == 2 * 9, "270 samples in batches of 32"
    assert pieces[-1].state.theta.tobytes() == whole.state.theta.tobytes()


@pytest.mark.parametrize("stop", [1, 3, 8, 9, 10, 15])
def test_a_run_that_goes_on_is_the_run(step_by_step, stop):
    *_, whole = step_by_step()
    run = next(itertools.islice(step_by_step(), stop - 1, None))
    *_, resumed = step_by_step(start=to_host(backends.get("numpy"), run))
    assert resumed.state.theta.tobytes() == whole.state.theta.tobytes()
    assert resumed.kept.tobytes() == whole.kept.tobytes()
    assert [r[:5] for r in resumed.reports] == [r[:5] for r in whole.reports]


# ---- figures --------------------------------------------------------------------------------


def test_reports_hold_what_they_say(backend):
    """With a learning rate of next to nothing, running means are means."""
    data = digits()
    still = xpnet.SGD(lr=1e-30)
    network = xpnet.mlp(20, 16, 3)
    [(report, theta)] = xpnet.fit(
        network, data, data, optimizer=still, epochs=1, batch_size=32, backend=backend
    )
    evaluation = xpnet.evaluate(network, theta, data)
    assert report.train_loss == pytest.approx(evaluation.loss, rel=1e-5)
    assert report.val_loss == pytest.approx(evaluation.loss, rel=1e-6)
    assert report.train_accuracy == report.val_accuracy == evaluation.accuracy
    logits = backend.to_numpy(xpnet.predict(network, theta, backend.asarray(data.X), data.scale))
    assert evaluation.accuracy == (logits.argmax(axis=1) == data.y).mean()
    assert evaluation.n == 300
    assert report.samples_per_second == pytest.approx(300 / report.seconds)


def test_weights_of_samples_count():
    """A weight of 2 is the sample twice; a weight of 0 is no sample."""
    data = digits(1200)  # more than one batch of an evaluation
    weight = np.tile([2.0, 0.0, 1.0], 400)
    twice = np.repeat(np.arange(1200), weight.astype(int))
    network = xpnet.mlp(20, 8, 3)
    theta = network.init(0, "float64")
    weighted = xpnet.Dataset(data.X, data.y, weight=weight, scale=data.scale)
    assert xpnet.evaluate(network, theta, weighted).loss == pytest.approx(
        xpnet.evaluate(network, theta, data.rows(twice)).loss, rel=1e-12
    )
    _, g, _ = xpnet.gradients(network, theta, data.X / 255, data.y.astype(np.int32), weight=weight)
    _, g_twice, _ = xpnet.gradients(
        network, theta, data.X[twice] / 255, data.y[twice].astype(np.int32)
    )
    assert relative_error(g, g_twice) < 1e-13


def test_a_batch_without_weight_changes_nothing():
    data = digits(64)
    weight = np.zeros(64)
    weight[:1] = 1.0
    data = xpnet.Dataset(data.X, data.y, weight=weight, scale=data.scale)
    run = train(backends.get("numpy"), data=data, optimizer=xpnet.SGD(), epochs=1)
    assert np.isfinite(run.state.theta).all()
    assert np.isfinite(run.reports[0].train_loss)


def test_regression_has_no_accuracy(backend):
    data = digits()
    data = xpnet.Dataset(data.X, data.y.astype(np.float32), scale=data.scale)
    network = xpnet.mlp(20, 16, 1, activation="tanh")
    hp = {"loss": xpnet.MeanSquaredError(), "optimizer": xpnet.Adam(lr=0.02), "epochs": 6}
    *_, (report, theta) = xpnet.fit(network, data, data, batch_size=16, backend=backend, **hp)
    assert report.train_accuracy is None
    assert report.val_accuracy is None
    evaluation = xpnet.evaluate(network, theta, data, xpnet.MeanSquaredError())
    assert evaluation.accuracy is None
    assert evaluation.loss < np.var(data.y) / 2


# ---- early stopping -------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_weights():
    data = digits(200)
    noisy = np.random.default_rng(0).permutation(data.y)
    data = xpnet.Dataset(data.X, noisy, scale=data.scale)  # nothing to learn but by heart
    train_set, validation = data.split(0.5)
    fast = {"optimizer": xpnet.Adam(lr=0.01), "schedule": xpnet.Constant(), "dtype": "float64"}
    reports, thetas = zip(
        *xpnet.fit(xpnet.mlp(20, 64, 3), train_set, validation, epochs=50, patience=3, **fast),
        strict=True,
    )
    losses = [report.val_loss for report in reports]
    best = int(np.argmin(losses))
    assert len(reports) == best + 1 + 3
    assert len(reports) < 50
    kept = xpnet.evaluate(xpnet.mlp(20, 64, 3), thetas[-1], validation)
    assert kept.loss == pytest.approx(losses[best], rel=1e-12)


def test_patience_splits_a_tenth_off():
    [(report, _)] = xpnet.fit(xpnet.mlp(20, 3), digits(), epochs=1, patience=1)
    assert report.val_loss is not None
    [(report, _)] = xpnet.fit(xpnet.mlp(20, 3), digits(), epochs=1)
    assert report.val_loss is None


def test_theta_that_fit_yields_is_not_overwritten():
    pairs = xpnet.fit(NETWORK, digits(), epochs=2, batch_size=32)
    _, first = next(pairs)
    kept = first.copy()
    _, second = next(pairs)
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)


# ---- what goes wrong ------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_and_names_the_step(backend):
    hp = {"optimizer": xpnet.SGD(lr=1e30), "schedule": xpnet.Constant(), "epochs": 3}
    with pytest.raises(
        xpnet.TrainingError, match=r"no longer finite at step (\d+) .*learning rate"
    ) as caught:
        train(backend, **hp)
    step = int(str(caught.value).split("step ")[1].split()[0])
    numpy = backends.get("numpy")
    state, first_bad = train_steps(numpy, step, **hp), step
    assert int(state.counters.first_bad_step[0]) == first_bad
    assert int(train_steps(numpy, step - 1, **hp).counters.first_bad_step[0]) == 0


def train_steps(backend, n, **hp):
    """The state after ``n`` steps of a training, checked by nobody."""
    from xpnet.random import permutation
    from xpnet.source import epoch_rates
    from xpnet.state import initial_state
    from xpnet.step import TrainingStep
    from xpnet.types import Feed

    hp = xpnet.Hyperparameters(batch_size=32, **hp)
    data = digits()
    step = backend.compile(TrainingStep(NETWORK, hp, 32))
    order = permutation(backend.xp, 0, 0, data.n)
    rates = epoch_rates(backend, hp, 0, data.n)
    feed = Feed(data.X, data.y.astype(np.int32), None, None, data.scale, order, rates)
    return backend.loop(step, initial_state(NETWORK, hp), feed, n)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.full(300, 3, np.uint8)}, "label 3 of sample 0 is outside 0 .. 2"),
        ({"X": np.zeros((300, 19), np.uint8)}, "19 columns, but the network takes 20"),
        ({"X": np.full((300, 20), np.nan)}, "NaN or an infinity in row 0"),
    ],
)
def test_data_that_do_not_fit_are_refused(change, message):
    data = digits()
    bad = xpnet.Dataset(**{"X": data.X, "y": data.y, **change})
    with pytest.raises(xpnet.DataError, match=message):
        next(xpnet.fit(NETWORK, bad))
    with pytest.raises(xpnet.DataError, match=message):
        next(xpnet.fit(NETWORK, data, bad))
    with pytest.raises(xpnet.DataError, match=message):
        xpnet.evaluate(NETWORK, NETWORK.init(0), bad)


def test_an_unknown_hyperparameter_suggests_the_near_match():
    with pytest.raises(xpnet.UsageError, match="did you mean 'batch_size'"):
        next(xpnet.fit(NETWORK, digits(), batchsize=3))


def test_data_are_never_written_to():
    data = digits()
    for array in (data.X, data.y):
        array.flags.writeable = False
    assert train(backends.get("numpy"), data=data, validation=data).epoch == 2
