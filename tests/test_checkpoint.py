"""Models and checkpoints on disk: exact, whole or refused, and plain data only."""

from __future__ import annotations

import json
import os
import pickle
import random

import numpy as np
import pytest
import safetensors.numpy

from xpnet import (
    Activation,
    CheckpointError,
    Dataset,
    Dense,
    Dropout,
    Huber,
    LayerNorm,
    Model,
    Network,
    UsageError,
    backends,
    load,
    mlp,
    save,
    tensorfile,
)
from xpnet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from xpnet.hyperparameters import Hyperparameters
from xpnet.optim import OPTIMIZERS
from xpnet.state import to_host
from xpnet.train import segments

NUMPY = backends.get("numpy")
MACHINE = {"backend": "numpy", "threads": 1}


def bits(array):
    return (array.dtype.str, array.shape, array.tobytes())


def content(checkpoint):
    """Everything in a Checkpoint, comparable bit for bit."""
    (network, theta, loss, scale, shift, config, names), run, machine = checkpoint
    arrays = [theta, run.state.theta, *run.state.counters, *run.state.slots]
    kept = None if run.kept is None else bits(run.kept)
    rest = run._replace(state=None, kept=kept)
    return ([bits(a) for a in arrays], network, loss, scale, shift, config, names, rest, machine)


def toy(n=90, seed=5):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    return Dataset(X, (X[:, 0] > X[:, 1]).astype(np.int32), scale=0.5)


def run_of(network, hp, until=None, start=None):
    """The Run after ``until`` short segments, or when until(run) holds, or after the last.

    None where there is no segment left.
    """
    run = None
    loop = segments(network, toy(), hp=hp, backend=NUMPY, start=start, segment_seconds=1e-9)
    for done, newest in enumerate(loop, 1):
        run = newest
        if until and (until(run) if callable(until) else done == until):
            break
    return run and to_host(NUMPY, run)


def checkpoint_of(network, hp, run):
    return Checkpoint(
        Model(network, run.theta, hp.loss, 0.5, None, {"hyperparameters": hp.spec()}),
        run,
        MACHINE,
    )


@pytest.fixture
def tiny(tmp_path):
    """A small checkpoint's path and content."""
    network, hp = Network(3, [Dense(2)]), Hyperparameters(batch_size=2, epochs=2)
    path = tmp_path / "tiny"
    saved = checkpoint_of(network, hp, run_of(network, hp, 5))
    save_checkpoint(path, saved)
    return path, content(saved)


# ---- what is written is what is read -------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_comes_back_exactly(tmp_path, dtype):
    layers = [Dense(5, "gelu", "he_uniform"), LayerNorm(1e-3), Dropout(0.25), Dense(2, "tanh")]
    network = Network(3, layers)
    model = Model(network, network.init(7, dtype), Huber(0.5), 0.1, None, {"note": ["å", 1, None]})
    save(tmp_path / "model", model)
    loaded = load(tmp_path / "model")
    assert bits(loaded.theta) == bits(model.theta)
    assert loaded._replace(theta=None) == model._replace(theta=None)


def test_a_scaling_by_column_comes_back_exactly(tmp_path):
    network = mlp(3, 1)
    scaling = {"scale": np.asarray([1.0, 0.5, 3.0]), "shift": np.asarray([-1.0, 0.0, 7.0])}
    save(tmp_path / "model", Model(network, network.init(), **scaling))
    loaded = load(tmp_path / "model")
    assert bits(loaded.scale) == bits(scaling["scale"])
    assert bits(loaded.shift) == bits(scaling["shift"])
    wrong = {**scaling, "shift": np.zeros(2)}
    save(tmp_path / "model", Model(network, network.init(), **wrong))
    with pytest.raises(CheckpointError, match="what scales the input"):
        load(tmp_path / "model")


def test_tensors_have_the_promised_names_and_metadata(tmp_path):
    network = mlp(3, 4, 2)
    save(tmp_path / "model", Model(network, network.init(1)))
    tensors = safetensors.numpy.load_file(tmp_path / "model")
    shapes = {name: array.shape for name, array in tensors.items()}
    assert shapes == {
        "layers.0.W": (3, 4),
        "layers.0.b": (4,),
        "layers.1.W": (4, 2),
        "layers.1.b": (2,),
    }
    raw = (tmp_path / "model").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    metadata = header["__metadata__"]
    assert set(metadata) == {"format", "sha256", "xpnet"}
    assert len(bytes.fromhex(metadata["sha256"])) == 32
    assert json.loads(metadata["xpnet"])["network"]["n_in"] == 3


def test_the_tensors_of_a_training_have_the_promised_names(sound):
    """Older files have them, too: a change here is another format."""
    tensors, _ = sound
    assert {name: tensors[name].shape for name in tensors if name.startswith("state.")} == {
        "state.theta": (128,),
        "state.slots.0": (128,),
        "state.slots.1": (128,),
        "state.t": (1,),
        "state.position": (1,),
        "state.loss_sum": (),
        "state.weight_sum": (),
        "state.n_correct": (),
        "state.first_bad_step": (1,),
    }


def test_a_checkpoint_comes_back_exactly_and_is_a_model_too(tiny):
    path, saved = tiny
    assert content(load_checkpoint(path)) == saved
    assert bits(load(path).theta) == saved[0][0]


def test_figures_that_are_not_finite_survive(tmp_path):
    network, hp = mlp(3, 2), Hyperparameters(batch_size=30, epochs=2)
    run = run_of(network, hp, 1)
    odd = run.reports[0]._replace(train_loss=float("inf"), val_loss=float("nan"))
    save_checkpoint(tmp_path / "c", checkpoint_of(network, hp, run._replace(reports=(odd,))))
    [report] = load_checkpoint(tmp_path / "c").run.reports
    assert report.train_loss == float("inf")
    assert np.isnan(report.val_loss)
    assert report._replace(train_loss=0, val_loss=0) == odd._replace(train_loss=0, val_loss=0)


@pytest.mark.parametrize("seed", range(6))
def test_a_training_interrupted_anywhere_ends_with_the_same_bits(tmp_path, seed):
    rng = random.Random(seed)
    network = Network(3, [Dense(5, "tanh"), Dropout(0.3), Dense(2)])
    hp = Hyperparameters(
        optimizer=OPTIMIZERS[list(OPTIMIZERS)[seed]](),
        epochs=3,
        batch_size=rng.choice([1, 2, 4]),  # 90 samples: 1 and 2 fit, 4 leaves a smaller batch
        clip_norm=0.5,
        patience=5 if seed % 2 else None,
    )
    whole = run_of(network, hp)
    run, mid_epoch = None, 0
    pieces = 0
    while piece := run_of(network, hp, rng.randint(1, 8), start=run):
        pieces += 1
        mid_epoch += piece.step > 0
        save_checkpoint(tmp_path / "checkpoint", checkpoint_of(network, hp, piece))
        run = load_checkpoint(tmp_path / "checkpoint").run
    assert pieces > 3
    assert mid_epoch > 1
    assert run.epoch == 3
    assert bits(run.theta) == bits(whole.theta)
    assert [r.train_loss for r in run.reports] == [r.train_loss for r in whole.reports]
    assert [r.val_loss for r in run.reports] == [r.val_loss for r in whole.reports]
    assert run.kept_epoch == whole.kept_epoch


def test_a_state_left_out_of_the_checkpoint_would_be_noticed():
    # shows that the test above can fail: without Adam's moments the bits are others
    network, hp = mlp(3, 5, 2), Hyperparameters(epochs=3, batch_size=4)
    whole, half = run_of(network, hp), run_of(network, hp, 2)
    forgetful = tuple(np.zeros_like(slot) for slot in half.state.slots)
    run = run_of(network, hp, start=half._replace(state=half.state._replace(slots=forgetful)))
    assert bits(run.theta) != bits(whole.theta)


# ---- damage ----------------------------------------------------------------------------------


def outcome(path, raw):
    """ "refused", or the content that was read from a file with these bytes."""
    path.write_bytes(raw)
    try:
        return content(load_checkpoint(path))
    except CheckpointError:
        return "refused"


def test_a_file_cut_off_after_any_byte_is_refused(tiny):
    path, _ = tiny
    raw = path.read_bytes()
    for length in range(len(raw)):
        assert outcome(path, raw[:length]) == "refused", f"cut after {length} bytes"
    assert outcome(path, raw + b"\0") == "refused"


def flipped(raw, i):
    changed = bytearray(raw)
    changed[i] ^= 1 << random.Random(i).randrange(8)
    return bytes(changed)


def test_a_flipped_bit_in_any_byte_never_gives_other_numbers(tiny):
    path, saved = tiny
    raw = path.read_bytes()
    for i in range(len(raw)):
        assert outcome(path, flipped(raw, i)) in ("refused", saved), f"a bit of byte {i}"


def test_without_the_hash_a_flipped_bit_would_be_noticed(tiny, monkeypatch):
    path, saved = tiny
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    stored = header["__metadata__"]["sha256"]
    monkeypatch.setattr(tensorfile, "fingerprint", lambda tensors, metadata: stored)
    assert outcome(path, raw) == saved
    assert outcome(path, flipped(raw, len(raw) - 100)) not in ("refused", saved)


@pytest.mark.parametrize("raw", [b"", b"\0" * 8, b"\xff" * 64, b"not a model", b"{}"])
def test_what_is_no_model_is_refused(tmp_path, raw):
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(CheckpointError, match="x: damaged"):
        load(tmp_path / "x")


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "trap").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError):
        load(tmp_path / "trap")
    assert not (tmp_path / "sprung").exists()


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    safetensors.numpy.save_file({"layers.0.W": np.zeros((1, 1))}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not written by xpnet"):
        load(tmp_path / "foreign")


def test_a_file_of_a_later_format_is_refused_with_the_remedy(tmp_path, monkeypatch):
    network = mlp(2, 1)
    monkeypatch.setattr(tensorfile, "FORMAT", tensorfile.FORMAT + 1)
    save(tmp_path / "later", Model(network, network.init()))
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="pip install --upgrade"):
        load(tmp_path / "later")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load(tmp_path / "nothing")


# ---- a right hash over nonsense --------------------------------------------------------------


def set_in(*path):
    """A change that sets spec[path[0]][path[1]]... to the last of ``path``."""

    def change(tensors, spec):
        *keys, last, value = path
        for key in keys:
            spec = spec[key]
        spec[last] = value

    return change


def without(*path):
    def change(tensors, spec):
        *keys, last = path
        for key in keys:
            spec = spec[key]
        del spec[last]

    return change


def tensor(name, make):
    def change(tensors, spec):
        tensors[name] = make(tensors[name])

    return change


def drop(name):
    return lambda tensors, spec: tensors.pop(name)


HUGE = 10**400
LAYER = ("network", "layers", 0)
REPORT = ("progress", "reports", 0)
MODEL_NONSENSE = {
    **{f"without {key}": without(key) for key in ("network", "loss", "scale", "config")},
    **{f"network {v!r:.9}": set_in("network", v) for v in (None, 3, "x", [], {}, {"n_in": 3})},
    **{f"n_in {v!r:.9}": set_in("network", "n_in", v) for v in (0, -1, 2, "3", None, 1e99, HUGE)},
    **{f"layers {v!r:.9}": set_in("network", "layers", v) for v in (None, 3, "ab", [], [3], [[]])},
    **{f"n_out {v!r:.9}": set_in(*LAYER, "n_out", v) for v in (0, 3, "2", None, [], HUGE)},
    **{f"type {v!r:.9}": set_in(*LAYER, "type", v) for v in ("os.system", "dropout", None, [])},
    **{f"activation {v!r}": set_in(*LAYER, "activation", v) for v in ("rleu", 3, None, [], {})},
    **{f"init {v!r}": set_in(*LAYER, "init", v) for v in ("x", 3, None, [], "normal:x")},
    "an unknown field": set_in(*LAYER, "colour", "red"),
    "a huge rate": set_in("network", "layers", 1, "rate", HUGE),
    "a wrong rate": set_in("network", "layers", 1, "rate", "half"),
    **{f"loss {v!r}": set_in("loss", v) for v in (None, "mse", 3, {}, {"type": "x"}, [1])},
    **{f"smoothing {v!r}": set_in("loss", "smoothing", v) for v in (1, -1, "a", None, [])},
    **{f"scale {v!r:.9}": set_in("scale", v) for v in (0, -1, "a", None, [], HUGE)},
    **{f"config {v!r}": set_in("config", v) for v in (None, 3, "abc")},
    "no W": drop("layers.0.W"),
    "no b": drop("layers.0.b"),
    "W transposed": tensor("layers.0.W", lambda a: a.T),
    "W flat": tensor("layers.0.W", np.ravel),
    "b too long": tensor("layers.0.b", lambda a: np.append(a, a)),
    "b 0-d": tensor("layers.0.b", lambda a: a[0]),
    **{
        f"{name} {dtype}": tensor(name, lambda a, dtype=dtype: a.astype(dtype))
        for name in ("layers.0.W", "layers.0.b")
        for dtype in ("float16", "float64", "int32", "bool", "uint8")
    },
}
STATE_NONSENSE = {
    "without machine": without("machine"),
    **{f"machine {v!r}": set_in("machine", v) for v in (None, 3, "abc")},
    **{f"progress {v!r}": set_in("progress", v) for v in (None, 3, "abc", [], {})},
    **{
        f"{name} {v!r:.9}": set_in("progress", name, v)
        for name in ("epoch", "step", "epoch_steps", "kept_epoch")
        for v in (-1, 0.5, "1", None, [], True, HUGE)
        if (name, v) != ("epoch_steps", HUGE)  # a long epoch, but an epoch
    },
    **{f"seconds {v!r:.9}": set_in("progress", "seconds", v) for v in ("x", None, [], HUGE)},
    **{f"reports {v!r}": set_in("progress", "reports", v) for v in (None, 3, [], [3], [{}])},
    **{f"train_loss {v!r:.9}": set_in(*REPORT, "train_loss", v) for v in ("x", [], HUGE)},
    "an unknown figure": set_in(*REPORT, "colour", 1),
    "no seconds": without(*REPORT, "seconds"),
    "no theta": drop("state.theta"),
    "no t": drop("state.t"),
    "no first slot": drop("state.slots.0"),
    "theta short": tensor("state.theta", lambda a: a[:-1]),
    "theta float64": tensor("state.theta", lambda a: a.astype(np.float64)),
    "slot short": tensor("state.slots.1", lambda a: a[:-1]),
    "slot int32": tensor("state.slots.1", lambda a: a.astype(np.int32)),
    "t 0-d": tensor("state.t", lambda a: a[0]),
    "t int64": tensor("state.t", lambda a: a.astype(np.int64)),
    "loss_sum 1-d": tensor("state.loss_sum", lambda a: a[None]),
}


def in_second_epoch(run):
    return run.epoch == 1


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The tensors and the spec of a checkpoint that is in its second epoch."""
    network = Network(3, [Dense(2, "relu"), Dropout(0.1)])
    hp = Hyperparameters(batch_size=4, epochs=2)
    path = tmp_path_factory.mktemp("sound") / "checkpoint"
    save_checkpoint(path, checkpoint_of(network, hp, run_of(network, hp, in_second_epoch)))
    return tensorfile.read(path)


def crafted(path, sound, change):
    tensors, spec = sound
    tensors, spec = dict(tensors), json.loads(json.dumps(spec))
    change(tensors, spec)
    tensorfile.write(path, tensors, spec)
    return path


def test_the_crafted_file_is_sound_before_it_is_changed(tmp_path, sound):
    path = crafted(tmp_path / "c", sound, lambda tensors, spec: None)
    assert load_checkpoint(path).run.epoch == 1


@pytest.mark.parametrize("change", MODEL_NONSENSE.values(), ids=MODEL_NONSENSE)
def test_nonsense_under_a_right_hash_is_refused(tmp_path, sound, change):
    path = crafted(tmp_path / "crafted", sound, change)
    for read in (load, load_checkpoint):
        with pytest.raises(CheckpointError, match="crafted: "):
            read(path)


@pytest.mark.parametrize("change", STATE_NONSENSE.values(), ids=STATE_NONSENSE)
def test_a_senseless_training_state_under_a_right_hash_is_refused(tmp_path, sound, change):
    path = crafted(tmp_path / "crafted", sound, change)
    with pytest.raises(CheckpointError, match="crafted: "):
        load_checkpoint(path)


@pytest.mark.parametrize("text", ["", "{", "3", "null", '"x"', "[" * 100_000, "[[1, 2, 3]]"])
def test_a_spec_that_is_no_json_object_is_refused(tmp_path, text):
    metadata = {"format": str(tensorfile.FORMAT), "xpnet": text}
    metadata["sha256"] = tensorfile.fingerprint({}, metadata)
    (tmp_path / "x").write_bytes(safetensors.numpy.save({}, metadata))
    with pytest.raises(CheckpointError, match="x: "):
        load(tmp_path / "x")


def test_a_model_without_training_state_cannot_be_resumed(tmp_path):
    network = mlp(2, 1)
    save(tmp_path / "model", Model(network, network.init()))
    with pytest.raises(CheckpointError, match="model: a finished model, not a checkpoint"):
        load_checkpoint(tmp_path / "model")


# ---- what cannot be written ------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, np.ones(2)])
def test_a_config_that_json_cannot_hold_is_refused_and_the_old_file_stays(tmp_path, value):
    network = mlp(2, 1)
    save(tmp_path / "model", Model(network, network.init()))
    before = (tmp_path / "model").read_bytes()
    with pytest.raises(UsageError, match="JSON"):
        save(tmp_path / "model", Model(network, network.init(), config={"value": value}))
    assert (tmp_path / "model").read_bytes() == before


@pytest.mark.parametrize(
    "change", [lambda a: a[:-1], lambda a: a[None], lambda a: a.astype(np.float16)]
)
def test_a_theta_that_does_not_fit_its_network_is_refused(tmp_path, change):
    network = mlp(2, 1)
    with pytest.raises(UsageError, match="theta must be"):
        save(tmp_path / "model", Model(network, change(network.init())))
    assert not (tmp_path / "model").exists()


# ---- activations of one's own ----------------------------------------------------------------

CUBE = Activation("cube", lambda xp, z: z * z * z, lambda xp, z: 3.0 * z * z)


def test_an_activation_of_ones_own_must_be_supplied_again(tmp_path):
    network = Network(3, [Dense(4, CUBE), Dense(2)])
    save(tmp_path / "model", Model(network, network.init(3)))
    loaded = load(tmp_path / "model", activations=[CUBE])
    assert loaded.network == network
    assert bits(loaded.theta) == bits(network.init(3))
    with pytest.raises(CheckpointError, match=r"'cube'.*load\(path, activations=\[...\]\)"):
        load(tmp_path / "model")


def test_an_activation_of_ones_own_cannot_take_the_name_of_a_built_in_one():
    # it would be saved by its name, and loaded as the other one: other numbers
    with pytest.raises(UsageError, match="'relu'"):
        Dense(2, Activation("relu", CUBE.function, CUBE.derivative))


def test_a_supplied_activation_that_is_not_used_does_no_harm(tmp_path):
    network = mlp(3, 2)
    save(tmp_path / "model", Model(network, network.init()))
    assert load(tmp_path / "model", activations=[CUBE]).network == network
