"""Samples that do not fit on the device: streamed, they give the bits of those that do."""

import itertools
import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from stand_in import NUMPY, Queues, StandIn, StandInLink

import xpnet
from xpnet import DataError, Dataset, Hyperparameters, UsageError, backends, blocks
from xpnet.backends.numpy.recorded import RecordedStep
from xpnet.backends.ring import Ring
from xpnet.cli import cli
from xpnet.evaluation import BATCH, batch_bytes, evaluate_on_device
from xpnet.host_data import HostDataset, bytes_a_sample, placed
from xpnet.source import working_bytes
from xpnet.state import Run, initial_state, to_host
from xpnet.symptoms.origin import find_origin
from xpnet.train import segments

N, N_IN = 203, 6
NETWORK = xpnet.mlp(N_IN, 5, 3, dropout=0.2)


def samples(n=N, dtype=np.uint8, seed=0, **more):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 250, (n, N_IN)).astype(dtype)
    return Dataset(X, rng.integers(0, 3, n), scale=0.01, **more)


def device(data, batches=3, *, dtype="float32", **how):
    """A stand-in without memory for ``data``, but for a ring with halves of ``batches`` batches."""
    hp = Hyperparameters(batch_size=16, dtype=dtype)
    ring_bytes = 2 * batches * 16 * bytes_a_sample(data, dtype)
    return StandIn(working_bytes(NETWORK, hp, data.n) + ring_bytes, ring_bytes, **how)


def tight(**how):
    """A stand-in with little memory: a half of its ring is one batch."""
    return StandIn(1 << 12, 0, **how)


def trained(
    backend, data, network=NETWORK, validation=None, start=None, seconds=1.0, reference=False, **hp
):
    """All the Runs of a training, on the host."""
    hp = Hyperparameters(**{"epochs": 3, "batch_size": 16, **hp})
    runs = segments(
        network,
        data,
        validation,
        hp=hp,
        backend=backend,
        reference=reference,
        start=start,
        segment_seconds=seconds,
    )
    return [to_host(backend, run) for run in runs]


def figures(run):
    return [report._replace(seconds=0, samples_per_second=0) for report in run.reports]


def same(backend, data, **how):
    """The training on ``backend`` is streamed, and ends as the one on NumPy does."""
    ours = trained(backend, data, **how)[-1]
    plain = trained(NUMPY, data, **how)[-1]
    assert backend.links, "it was streamed"
    assert_same(ours, plain)


def assert_same(ours, plain):
    np.testing.assert_array_equal(ours.theta, plain.theta)
    for a, b in zip(ours.state.slots, plain.state.slots, strict=True):
        np.testing.assert_array_equal(a, b)
    assert figures(ours) == figures(plain)


HOSTILE = [("compute", 0), ("copy", 0), *(("random", seed) for seed in range(4))]


@pytest.mark.parametrize(("late", "seed"), HOSTILE)
@pytest.mark.parametrize("batches", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("n", [193, 203, 208])
def test_streamed_training_is_training(n, batches, late, seed):
    same(device(samples(n), batches, late=late, seed=seed), samples(n))


@pytest.mark.parametrize("n", [1, 15, 16, 17, 32, 33, 48, 49])
def test_few_batches(n):
    for late, seed in HOSTILE:
        same(tight(late=late, seed=seed), samples(n))


def targets(n=N):
    return np.random.default_rng(1).random((n, 3))


KINDS = {
    "float32": samples(dtype=np.float32),
    "float64": samples(dtype=np.float64),
    "int16": samples(dtype=np.int16),
    "bool": Dataset(samples().X > 100, samples().y),
    "big-endian": samples(dtype=">f4"),
    "by columns": Dataset(np.asfortranarray(samples().X), samples().y),
    "weights": samples(weight=np.linspace(0, 2, N)),
    "columns scaled": Dataset(
        samples().X, samples().y, scale=np.linspace(0.01, 0.02, N_IN), shift=np.arange(N_IN) * 9.0
    ),
    "distributions": Dataset(samples().X, targets() / targets().sum(axis=1, keepdims=True)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_samples(kind, dtype):
    for late, seed in HOSTILE[:3]:
        backend = device(KINDS[kind], dtype=dtype, late=late, seed=seed)
        same(backend, KINDS[kind], dtype=dtype)
        assert backend.links[0].lengths == [96] * len(backend.links[0].lengths)


def test_targets_of_several_columns_and_weights():
    data = Dataset(samples().X, targets(), weight=np.linspace(0.5, 2, N), scale=0.01)
    same(device(data), data, loss=xpnet.MeanSquaredError(), optimizer=xpnet.Momentum())


@pytest.mark.parametrize("late", ["compute", "copy"])
def test_the_plain_primitives_read_the_ring_as_well(late):
    same(device(samples(), late=late), samples(), reference=True)


def test_one_batch_of_all_samples_is_taken_as_it_lies():
    same(tight(), samples(), batch_size=1000)


@pytest.mark.parametrize("late", ["compute", "copy"])
def test_segments_of_any_length(late):
    for seconds in (1e-9, 1e-4, 1e-3):
        same(device(samples(), 2, late=late), samples(), seconds=seconds)


def test_a_training_goes_on_in_the_middle_of_an_epoch():
    runs = trained(device(samples()), samples(), seconds=1e-9)
    steps = [run.step for run in runs]
    assert set(steps) == set(range(13))
    for start in runs[::5]:
        again = trained(device(samples(), late="copy"), samples(), start=start)
        if again:
            assert_same(again[-1], runs[-1])


@pytest.mark.parametrize("late", ["compute", "copy"])
def test_early_stopping_reads_a_validation_set_on_the_host(late):
    data, other = samples(), samples(2300, seed=5, weight=np.linspace(0, 2, 2300))
    backend = device(data, late=late)
    same(backend, data, validation=other, patience=2, epochs=6)
    assert backend.largest <= 2300 * 4, "never the validation set as a whole"


def test_memory_mapped_samples(tmp_path):
    data = samples()
    np.save(tmp_path / "x.npy", data.X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    same(device(data), Dataset(mapped, data.y, scale=0.01))


SPLIT = {"validation_split": 0.3, "patience": 3, "epochs": 5}


@pytest.mark.parametrize("kind", ["float32", "weights", "columns scaled", "by columns"])
@pytest.mark.parametrize("batch_size", [16, 1000])
def test_a_validation_set_that_is_split_off(kind, batch_size):
    for late, seed in HOSTILE[:3]:
        backend = tight(late=late, seed=seed)
        ours = trained(backend, KINDS[kind], batch_size=batch_size, **SPLIT)[-1]
        first, second = KINDS[kind].split(0.3, 0)
        assert_same(
            ours, trained(NUMPY, first, NETWORK, second, batch_size=batch_size, **SPLIT)[-1]
        )
        [link] = backend.links
        n_train = N - round(0.3 * N)
        assert set(link.lengths) == {32 if batch_size == 16 else n_train}, "one half is enough"


def test_a_training_with_a_split_goes_on_in_the_middle_of_an_epoch():
    runs = trained(tight(), samples(), seconds=1e-9, **SPLIT)
    for start in runs[4:9]:
        assert_same(trained(tight(), samples(), start=start, **SPLIT)[-1], runs[-1])


@pytest.mark.parametrize("memory", [1 << 17, 1 << 30])
def test_a_split_brings_mapped_samples_into_memory_only_where_they_fit(tmp_path, memory):
    rng, n = np.random.default_rng(0), 40_000
    X = mapped(tmp_path, rng.integers(0, 250, (n, 300), dtype=np.uint8))
    data = Dataset(X, rng.integers(0, 3, n, dtype=np.int32), scale=0.01)
    tracemalloc.start()
    trained(StandIn(memory, 0), data, xpnet.mlp(300, 3), batch_size=100, **{**SPLIT, "epochs": 1})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (peak < X.nbytes / 2) == (memory == 1 << 17)


def test_what_is_split_off_is_said_and_checked():
    lines = said_of_a_split(samples())
    assert [line.partition(", beside")[0] for line in lines] == [
        "the samples (1.4 kB)", "the validation samples (610 bytes)",
    ]  # fmt: skip
    first, _ = samples().split_rows(0.3, 0)
    weight = np.ones(N)
    weight[first] = 0
    with pytest.raises(DataError, match="not all 0"):
        said_of_a_split(samples(weight=weight))


def said_of_a_split(data):
    lines = []
    hp = Hyperparameters(**{**SPLIT, "epochs": 1})
    list(segments(NETWORK, data, hp=hp, backend=tight(), say=lines.append))
    return lines


def test_samples_that_two_threads_gather(monkeypatch):
    monkeypatch.setattr(blocks, "SHARED_BYTES", 0)
    for late, seed in HOSTILE[:3]:
        same(device(samples(), late=late, seed=seed), samples())


def test_a_recorded_step_stays_recorded(monkeypatch):
    recordings = []
    record = RecordedStep.record
    monkeypatch.setattr(RecordedStep, "record", lambda s: recordings.append(1) or record(s))
    backend = device(samples(192), 5)
    trained(backend, samples(192))
    assert backend.links
    assert recordings == [1]


def test_the_next_half_is_sent_while_the_steps_run():
    link = StandInLink(Queues("copy"))
    X = np.arange(12.0)
    ring = Ring(link, [X], [X.dtype], batch_size=2, batches=2, n=12)
    ring.begin(np.arange(12))
    assert list(ring.portions(0, 2)) == [2]
    assert [ring.holds, len(link.queues.items["copy"])] == [[0, 1], 6], "beyond what was asked for"
    assert list(ring.portions(2, 3)) == [2, 1]
    assert ring.holds == [2, 1]


def test_the_step_whose_loss_breaks_is_found_among_streamed_samples():
    data = Dataset(np.ones((N, N_IN), np.float32), samples().y)
    data.X[77] = 3e38 * np.sign(NETWORK.split(np, NETWORK.init(0))[0]["W"][:, 0])
    hp = Hyperparameters(batch_size=16)
    found = []
    for backend in (NUMPY, device(data, late="compute"), device(data, late="copy")):
        run = Run(initial_state(NETWORK, hp), 0, 0, 13, 0.0, ())
        reserve = working_bytes(NETWORK, hp, N)
        there = placed(data, N_IN, 3, hp.loss, backend, hp.dtype, reserve)
        assert isinstance(there, HostDataset) == (backend is not NUMPY)
        found.append(find_origin(NETWORK, there, hp, backend, run, True))
    assert found[0] is not None
    assert found[1:] == found[:1] * 2


@pytest.mark.cupy
def test_on_a_gpu_streamed_training_is_training(monkeypatch):
    backend, data = backends.get("cupy"), samples(20_003)
    plain = trained(backend, data)
    backend.ring_bytes = 60_000
    free = working_bytes(NETWORK, Hyperparameters(batch_size=16), data.n) + backend.ring_bytes
    monkeypatch.setattr(backend, "free_bytes", lambda: free)
    assert said(backend, data)
    streamed = trained(backend, data, seconds=0.01)
    assert_same(streamed[-1], plain[-1])


# ---- when, and what is said ------------------------------------------------------------------


def said(backend, data, **how):
    lines = []
    hp = Hyperparameters(epochs=1, batch_size=16)
    for _ in segments(NETWORK, data, hp=hp, backend=backend, say=lines.append, **how):
        pass
    return lines


def test_what_fits_is_placed_and_nothing_is_said():
    backend = StandIn(1 << 30, 0)
    assert said(backend, samples(), validation=samples()) == []
    assert not backend.links
    assert backend.largest == N * N_IN


def test_what_does_not_fit_is_said_with_the_reason():
    lines = said(StandIn(3_000_000, 0), samples(), validation=samples(1000))
    assert lines == [
        "the samples (2.0 kB), beside 269.1 MB to work with, do not fit into the free memory of "
        "the GPU (3.0 MB): they are streamed from the host",
        "the validation samples (10.0 kB), beside 269.1 MB to work with, do not fit into the free "
        "memory of the GPU (3.0 MB): they are streamed from the host",
    ]


def test_a_set_that_a_ring_would_hold_is_placed():
    backend = StandIn(3000, ring_bytes=N * (N_IN + 4))
    assert said(backend, samples()) == []


def test_batches_too_large_for_the_device_are_refused():
    with pytest.raises(UsageError, match=r"two batches of 16 samples .320 bytes. do not fit .*319"):
        said(StandIn(319, 0), samples())
    assert said(StandIn(320, 0), samples())


def test_a_test_set_stays_on_the_host_too():
    theta, other = NETWORK.init(0), samples(2300)
    backend = tight()
    loss = xpnet.SoftmaxCrossEntropy()
    reserve = batch_bytes(NETWORK, BATCH, "float32")
    data = placed(other, N_IN, 3, loss, backend, "float32", reserve)
    assert isinstance(data, HostDataset)
    found = evaluate_on_device(backend, backend.ops(), NETWORK, theta, data, loss)
    assert found == xpnet.evaluate(NETWORK, theta, other)


KINDS_TO_READ = {
    "uint8": samples(2300),
    "float32": samples(2300, dtype=np.float32),
    "float64": samples(2300, dtype=np.float64),
    "int16": samples(2300, dtype=np.int16),
    "columns scaled": Dataset(
        samples(2300).X, samples(2300).y, None, np.linspace(0.01, 0.02, N_IN), np.arange(N_IN) * 9.0
    ),
    "one batch": samples(BATCH),
    "one sample": samples(1),
}


def weights_live_on(backend, monkeypatch):
    """Whatever evaluates takes theta for an array of the stand-in, and no other array."""
    monkeypatch.setattr("xpnet.evaluation.backends", SimpleNamespace(of=lambda _: backend))


def mapped(folder, X):
    """X as an array in a file."""
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("kind", KINDS_TO_READ)
def test_what_is_read_in_parts_gives_the_same_bits(monkeypatch, tmp_path, kind):
    data, theta = KINDS_TO_READ[kind], NETWORK.init(0)
    plain = xpnet.evaluate(NETWORK, theta, data)
    dtypes = data.to(np.asarray, "float32")
    logits = xpnet.predict(NETWORK, theta, dtypes.X, dtypes.scale, dtypes.shift)
    lines = []
    backend = tight()
    weights_live_on(backend, monkeypatch)
    X = mapped(tmp_path, data.X)
    there = Dataset(X, data.y, None, data.scale, data.shift)
    assert xpnet.evaluate(NETWORK, theta, there, say=lines.append) == plain
    blocks = list(xpnet.predictions(NETWORK, theta, X, data.scale, data.shift, say=lines.append))
    assert {len(block) for block in blocks[:-1]} <= {BATCH}
    np.testing.assert_array_equal(np.concatenate(blocks), logits)
    assert backend.largest <= BATCH * N_IN * 4, "never the samples as a whole"
    assert [line.partition(" (")[0] for line in lines] == [
        "the samples to evaluate", "the samples to predict",
    ]  # fmt: skip


def test_what_fits_is_predicted_at_once(monkeypatch):
    data, theta, lines = samples(2300), NETWORK.init(0), []
    backend = StandIn(1 << 30, 0)
    weights_live_on(backend, monkeypatch)
    np.concatenate(list(xpnet.predictions(NETWORK, theta, data.X, say=lines.append)))
    assert lines == []
    assert backend.largest == data.X.nbytes


def test_predictions_do_not_bring_mapped_samples_into_memory(tmp_path):
    X, network = mapped(tmp_path, np.zeros((20_000, 300), np.uint8)), xpnet.mlp(300, 3)
    theta = network.init(0)
    tracemalloc.start()
    n = sum(len(block) for block in xpnet.predictions(network, theta, X))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == len(X)
    assert peak < X.nbytes / 2, "a block, and a few bytes a sample for labels that nobody sees"


def test_samples_to_predict_that_do_not_fit_the_network_are_refused():
    theta, X = NETWORK.init(0), samples(20, dtype=np.float32).X
    with pytest.raises(DataError, match="X has 5 columns, but the network takes 6"):
        next(xpnet.predictions(NETWORK, theta, X[:, 1:]))
    X[17, 0] = np.nan
    with pytest.raises(DataError, match="row 17"):
        next(xpnet.predictions(NETWORK, theta, X))


def test_samples_too_big_for_the_dtype_are_refused_before_the_training(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 64)
    X = np.zeros((N, N_IN))
    X[150, 2] = 1e300
    with pytest.raises(DataError, match="row 150 that is too big for float32"):
        said(tight(), Dataset(X, samples().y))


def test_the_command_line_says_it(tmp_path, monkeypatch):
    data = samples(dtype=np.float32)
    np.savez(tmp_path / "data.npz", x=data.X + 0.5, y=data.y)
    command = ["train", "--data", tmp_path / "data.npz", "--hidden", "4", "--batch-size", "16"]
    command += ["--json", "--backend", "numpy", "--epochs", "3"]

    def run():
        result = CliRunner().invoke(cli, list(map(str, command)))
        assert result.exit_code == 0, result.output
        epochs = [json.loads(line) for line in result.stdout.splitlines()]
        return [epoch.get("train_loss") for epoch in epochs], result.stderr

    plain, quiet = run()
    assert quiet == ""
    monkeypatch.setattr("xpnet.cli.train.place_of", lambda *_: tight())
    streamed, remark = run()
    assert streamed == plain
    assert remark.startswith("the samples (5.7 kB), beside ")
    assert remark.endswith(" of the GPU (4.1 kB): they are streamed from the host\n")


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_the_command_line_reads_in_parts_what_does_not_fit(tmp_path, monkeypatch, command):
    data, path = samples(2300), tmp_path / "x.npy"
    np.save(path, data.X)
    np.save(tmp_path / "y.npy", data.y)
    xpnet.save(tmp_path / "model", xpnet.Model(NETWORK, NETWORK.init(0), scale=data.scale))
    files = {"evaluate": ["--data", path, "--labels", tmp_path / "y.npy"], "predict": [path]}

    def run():
        words = [command, tmp_path / "model", *files[command], "--json", "--backend", "numpy"]
        result = CliRunner().invoke(cli, list(map(str, words)))
        assert result.exit_code == 0, result.output
        *lines, last = result.stdout.splitlines()
        return lines, {**json.loads(last), "backend": "", "device": ""}, result.stderr

    lines, last, quiet = run()
    assert quiet == ""
    backend = tight()
    monkeypatch.setattr(f"xpnet.cli.{command}.place_of", lambda *_: backend)
    weights_live_on(backend, monkeypatch)
    *found, remark = run()
    assert found == [lines, last]
    assert remark.startswith(f"the samples to {command} (")
    assert remark.endswith(" of the GPU (4.1 kB): they are streamed from the host\n")
    assert backend.largest <= BATCH * N_IN


# ---- planted faults --------------------------------------------------------------------------


def forgetting(method, queue=None):
    """A link on which ``method`` (on ``queue``) does nothing."""

    def forgotten(self, *arguments):
        if queue is not None and arguments[0] != queue:
            return getattr(StandInLink, method)(self, *arguments)
        return None

    return type("Forgetting", (StandInLink,), {method: forgotten})


FAULTS = {
    "the steps do not wait for the samples": ("copy", forgetting("wait", "compute")),
    "the copy does not wait for the steps": ("compute", forgetting("wait", "copy")),
    "the host does not wait for the copy": ("copy", forgetting("synchronize")),
    "the end of a copy is not recorded": ("copy", forgetting("record", "copy")),
    "the end of the steps is not recorded": ("compute", forgetting("record", "compute")),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("batches", [1, 3])
def test_a_wait_left_out_is_noticed(fault, batches):
    late, link = FAULTS[fault]
    data = samples(dtype=np.float32)
    assert differs(device(data, batches, late=late, link=link), data)
    found = [differs(device(data, batches, seed=seed, link=link), data) for seed in range(8)]
    assert any(found), "at random, too"


def differs(backend, data):
    try:
        ours = trained(backend, data, epochs=2)[-1]
    except (xpnet.TrainingError, IndexError):  # NaN, or a label that is none
        return True
    assert backend.links
    return not np.array_equal(ours.theta, trained(NUMPY, data, epochs=2)[-1].theta)


def plant_freed_before_the_steps(ring, first, n):
    for k in itertools.repeat(1, n):
        number = first // ring.batches
        half = ring.halves[number % len(ring.halves)]
        ring.send(number)
        ring.link.wait("compute", half.copied)
        ring.link.record("compute", half.freed)
        yield k
        ring.send(number + 1)
        first += k


def plant_nothing_sent_anew(ring, order, begin=Ring.begin):
    holds = getattr(ring, "holds", None)
    begin(ring, order)
    ring.holds = holds or ring.holds


def plant_used_memory(link, queue, event, record=StandInLink.record):
    """The first two records, which wait for what was done with the memory before."""
    link.records = getattr(link, "records", 0) + 1
    if link.records > 2:
        record(link, queue, event)


PLANTED = {
    "freed before the steps": (Ring, "portions", plant_freed_before_the_steps, N),
    "the samples of the last epoch": (Ring, "begin", plant_nothing_sent_anew, 32),
    "memory that is still in use": (StandInLink, "record", plant_used_memory, N),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_noticed(monkeypatch, fault):
    owner, name, planted, n = PLANTED[fault]
    data = samples(n, dtype=np.float32)
    assert not differs(tight(late="compute"), data)
    monkeypatch.setattr(owner, name, planted)
    assert differs(tight(late="compute"), data)
