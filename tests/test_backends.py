"""Which backend is chosen, what is said of one that cannot be used, and what follows X."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import HostReadError, make_backend, relative_error
from test_train import HP_OF_ALL_PATHS, digits, train

import xpnet
from xpnet import backends
from xpnet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from xpnet.errors import BackendError, UsageError
from xpnet.state import to_host
from xpnet.train import segments

NETWORK = xpnet.mlp(20, 8, 3)


def placed(backend, data):
    """The dataset with arrays of the backend."""
    weight = None if data.weight is None else backend.asarray(data.weight)
    return xpnet.Dataset(backend.asarray(data.X), backend.asarray(data.y), weight, scale=data.scale)


def same_place(array, backend):
    return backends.of(array).same_place(backend)


# ---- everything follows X -------------------------------------------------------------------


def test_results_live_where_the_inputs_live(backend):
    data = placed(backend, digits())
    [(report, theta)] = xpnet.fit(NETWORK, data, epochs=1, batch_size=50)
    assert same_place(theta, backend)
    logits = xpnet.predict(NETWORK, theta, data.X, data.scale)
    assert same_place(logits, backend)
    assert xpnet.evaluate(NETWORK, theta, data).loss < report.train_loss * 2
    x = backend.xp.astype(data.X, theta.dtype) * data.scale
    y = backend.xp.astype(data.y, backend.xp.int32)
    loss, g, dx = xpnet.gradients(NETWORK, theta, x, y)
    assert all(same_place(a, backend) for a in (loss, g, dx))
    assert dx.shape == x.shape


def test_data_of_a_backend_train_as_the_same_data_from_the_host(backend):
    host = digits()
    ours = backends.accelerated(backend)
    [(_, theta)] = xpnet.fit(NETWORK, host, epochs=1, batch_size=50, backend=ours)
    [(_, same)] = xpnet.fit(NETWORK, placed(backend, host), epochs=1, batch_size=50)
    assert backend.to_numpy(theta).tobytes() == backend.to_numpy(same).tobytes()


def test_a_split_lives_where_the_whole_does(backend):
    ours = placed(backend, digits()).split(0.25, seed=3)
    for part, host in zip(ours, digits().split(0.25, seed=3), strict=True):
        assert same_place(part.X, backend)
        assert np.array_equal(backend.to_numpy(part.X), host.X)
        assert np.array_equal(backend.to_numpy(part.y), host.y)


def test_a_standardised_dataset_follows_too(backend):
    host = digits()
    scaling = {"scale": np.linspace(0.004, 0.01, 20), "shift": np.linspace(50.0, 100.0, 20)}
    plain = xpnet.Dataset(host.X, host.y, **scaling)
    there = placed(backend, host)
    there = xpnet.Dataset(there.X, there.y, **{k: backend.asarray(v) for k, v in scaling.items()})
    ours = backends.accelerated(backend)
    [(_, theta)] = xpnet.fit(NETWORK, plain, epochs=1, batch_size=50, backend=ours)
    [(_, same)] = xpnet.fit(NETWORK, there, epochs=1, batch_size=50)
    assert backend.to_numpy(theta).tobytes() == backend.to_numpy(same).tobytes()


def test_arrays_of_numpy_train_on_numba_where_it_is_installed(monkeypatch):
    numpy, strict = backends.get("numpy"), backends.get("array-api-strict")
    assert backends.accelerated(numpy).name == "numba"
    assert backends.accelerated(strict) is strict
    monkeypatch.setitem(sys.modules, "numba", None)
    assert backends.accelerated(numpy) is numpy


def test_arrays_that_disagree_are_refused():
    strict = make_backend("array-api-strict")
    device1 = make_backend("device1")
    data = digits()
    here, there = placed(strict, data), placed(device1, data)
    theta = strict.asarray(NETWORK.init(0))
    message = "array-api-strict on cpu and .*: move them to one"
    with pytest.raises(UsageError, match=message):
        xpnet.predict(NETWORK, theta, there.X)
    with pytest.raises(UsageError, match=message):
        xpnet.predict(NETWORK, theta, data.X)
    with pytest.raises(UsageError, match=message):
        xpnet.gradients(NETWORK, theta, strict.asarray(np.zeros((2, 20))), there.y[:2])
    with pytest.raises(UsageError, match=message):
        next(xpnet.fit(NETWORK, xpnet.Dataset(here.X, there.y)))
    with pytest.raises(UsageError, match=message):
        next(xpnet.fit(NETWORK, here, there))


def test_what_is_no_array_is_refused():
    class Table:
        shape = (3, 20)

    with pytest.raises(UsageError, match="a Table is no array of numpy, "):
        xpnet.predict(NETWORK, Table(), digits().X)


def test_dlpack_in_and_out(backend):
    if backend.device_name in ("device1",):
        pytest.skip("array-api-strict does not export from its make-believe devices")
    theta = backend.asarray(NETWORK.init(0))
    out = np.from_dlpack(theta) if backend.device_name == "cpu" else backend.to_numpy(theta)
    assert np.array_equal(out, NETWORK.init(0))
    strict = make_backend("array-api-strict")
    if backend.device_name == "cpu":
        into = backend.asarray(strict.asarray(NETWORK.init(0)))
        assert same_place(into, backend)
        assert np.array_equal(backend.to_numpy(into), NETWORK.init(0))


def test_a_copy_of_the_host_is_a_copy(backend):
    """Training overwrites its state; the caller's array must not change with it."""
    host = np.zeros(100, np.float32)
    array = backend.asarray(host)
    host[:] = 1.0
    assert not backend.to_numpy(array).any()
    back = backend.to_numpy(array)
    back[:] = 2.0
    assert not backend.to_numpy(array).any()


# ---- choosing -------------------------------------------------------------------------------


def test_auto_is_the_first_that_works(monkeypatch):
    chosen = backends.get("auto")
    usable = [status.name for status in backends.available() if status.usable]
    assert chosen.name == next(name for name in backends.AUTOMATIC if name in usable)
    monkeypatch.setattr(backends, "AUTOMATIC", ("array-api-strict", "numpy"))
    assert backends.get("auto").name == "array-api-strict"


def test_unknown_names_suggest_the_near_match():
    with pytest.raises(UsageError, match="did you mean 'numpy'"):
        backends.get("nmupy")
    with pytest.raises(UsageError, match="did you mean 'cpu'"):
        backends.get("numpy", "cpv")
    with pytest.raises(UsageError, match="did you mean 'device1'"):
        backends.get("array-api-strict", "devise1")


def test_a_jax_device_that_is_not_here_is_refused():
    with pytest.raises(BackendError, match="JAX has no device 'cpu:7': choose from cpu"):
        backends.get("jax", "cpu:7")


def test_a_backend_that_is_not_installed_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match=r"torch is not installed.*pip install 'xpnet\[torch\]'"):
        backends.get("torch")
    status = next(s for s in backends.available() if s.name == "torch")
    assert not status.usable
    assert "pip install" in status.reason


def test_a_backend_that_multiplies_wrongly_is_reported(monkeypatch):
    """The planted fault: a product that is off by one."""

    class Wrong(type(backends.get("numpy"))):
        def to_numpy(self, array):
            return super().to_numpy(array) + 1

    wrong = Wrong("numpy", np, version="")
    monkeypatch.setattr(backends.module_of("numpy"), "load", lambda device: wrong)
    status = next(s for s in backends.available(check=True) if s.name == "numpy")
    assert "multiplied matrices wrongly" in status.reason


def test_available_lists_every_backend_once():
    statuses = backends.available(check=True)
    assert [status.name for status in statuses] == list(backends.BACKENDS)
    assert all(status.usable != bool(status.reason) for status in statuses)
    assert {"numpy", "jax", "array-api-strict"} <= {s.name for s in statuses if s.usable}


def test_float64_on_jax_names_the_variable():
    """In a process of its own: the library never switches JAX's precision."""
    script = (
        "import numpy as np, xpnet\n"
        "data = xpnet.Dataset(np.ones((4, 2)), np.asarray([0, 1, 0, 1]))\n"
        "try:\n"
        "    next(xpnet.fit(xpnet.mlp(2, 2), data, backend='jax', dtype='float64'))\n"
        "except xpnet.UsageError as error:\n"
        "    print(error)\n"
    )
    environment = {"PATH": "", "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert "JAX_ENABLE_X64=1" in result.stdout


# ---- the same network everywhere ------------------------------------------------------------


def test_float64_training_agrees_with_numpy(backend):
    """Every rounding is 1e-16; two epochs of 20 steps leave it below 1e-9."""
    hp = {"epochs": 2, "batch_size": 32, "dtype": "float64"}
    network = xpnet.mlp(20, 16, 3, dropout=0.2)
    *_, (ours, _) = xpnet.fit(network, digits(), backend="numpy", **hp)
    *_, (theirs, theta) = xpnet.fit(network, digits(), backend=backend, **hp)
    assert theirs.train_loss == pytest.approx(ours.train_loss, rel=1e-9)
    assert theirs.train_accuracy == ours.train_accuracy
    *_, (_, wanted) = xpnet.fit(network, digits(), backend="numpy", **hp)
    assert relative_error(backend.to_numpy(theta), wanted) < 1e-9


def test_float32_training_agrees_with_numpy_for_twenty_steps(backend):
    hp = {"epochs": 2, "batch_size": 30}
    *_, (ours, _) = xpnet.fit(NETWORK, digits(), backend="numpy", **hp)
    *_, (theirs, _) = xpnet.fit(NETWORK, digits(), backend=backend, **hp)
    assert theirs.train_loss == pytest.approx(ours.train_loss, rel=1e-4)


def test_a_checkpoint_of_one_backend_goes_on_on_another(backend, tmp_path):
    hp = xpnet.Hyperparameters(epochs=2, batch_size=32, dtype="float64", patience=4)
    network = xpnet.mlp(20, 16, 3, dropout=0.2)
    numpy = backends.get("numpy")
    *_, whole = segments(network, digits(), hp=hp, backend=numpy)
    for writer, reader in ((numpy, backend), (backend, numpy)):
        run = next(segments(network, digits(), hp=hp, backend=writer, segment_seconds=1e-9))
        run = to_host(writer, run)
        model = xpnet.Model(network, run.theta)
        save_checkpoint(tmp_path / "c", Checkpoint(model, run, {}))
        start = load_checkpoint(tmp_path / "c").run
        *_, resumed = segments(network, digits(), hp=hp, backend=reader, start=start)
        assert resumed.reports[-1].train_loss == pytest.approx(
            whole.reports[-1].train_loss, rel=1e-9
        )
        assert relative_error(reader.to_numpy(resumed.theta), whole.theta) < 1e-9


def test_a_model_of_the_first_format_loads_for_ever():
    """The file was written by xpnet 0.1.0 and is never written again."""
    model = xpnet.load(pathlib.Path(__file__).parent / "data" / "format-1.safetensors")
    assert [type(layer).__name__ for layer in model.network.layers] == [
        "Dense", "LayerNorm", "Dropout", "Dense",
    ]  # fmt: skip
    assert model.loss == xpnet.SoftmaxCrossEntropy(smoothing=0.1)
    assert np.array_equal(model.theta, model.network.init(seed=7))
    assert model.shift.tolist() == [1.0, 2.0, 3.0]
    assert model.scale.tolist() == [0.5, 0.25, 0.125]
    assert model.config == {"note": "the first format"}


# ---- no wait within a segment ---------------------------------------------------------------
# JAX proves it by compiling the segment; array-api-strict's stand-in is in test_train.


@pytest.fixture
def guarded_torch():
    """PyTorch whose tensors cannot be read on the host while a segment runs."""
    torch = pytest.importorskip("torch")
    backend = backends.get("torch")
    names = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__")

    def refuse(self, *args, **kwargs):
        raise HostReadError("a step must not wait for the device")

    class Guarded(type(backend)):
        def loop(self, step, state, data, n):
            with pytest.MonkeyPatch.context() as patch:
                for name in (*names, "__array__", "nonzero"):
                    patch.setattr(torch.Tensor, name, refuse)
                # as on a GPU, whose values the host cannot see
                patch.setattr(type(backend.ops()), "sees_values", lambda self, array: False)
                return super().loop(step, state, data, n)

    return Guarded(
        "torch", backend.xp, device=backend.device, device_name="cpu", version=backend.version
    )


@pytest.mark.torch
@pytest.mark.parametrize("hp", HP_OF_ALL_PATHS)
def test_a_segment_of_torch_never_waits(guarded_torch, hp):
    assert train(guarded_torch, **hp).epoch == 2


@pytest.mark.torch
def test_a_wait_in_a_segment_of_torch_is_noticed(guarded_torch):
    """The planted fault: an activation that looks at a value."""

    def f(xp, z):
        assert float(xp.sum(z)) is not None
        return z

    nosy = xpnet.Activation("nosy", f, lambda xp, z: xp.ones_like(z))
    with pytest.raises(HostReadError):
        train(guarded_torch, network=xpnet.mlp(20, 4, 3, activation=nosy))
