"""CuPy installed on a machine without a GPU, an everyday case; with the real wheel, in CI."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

from xpnet import Dense, Hyperparameters, Network, backends, mlp
from xpnet.cli import cli, run
from xpnet.errors import BackendError, DeviceError, OutOfDeviceMemoryError, UsageError
from xpnet.step import TrainingStep

cupy = pytest.importorskip("cupy", reason="needs the wheel of CuPy; CI installs it")
if cupy.cuda.is_available():
    pytest.skip("there is a GPU here", allow_module_level=True)

from cuda.pathfinder import DynamicLibNotFoundError

from xpnet.backends import cupy as backend_module
from xpnet.backends.backend import GRAPH, PRECISION
from xpnet.backends.cuda import cublaslt, usable
from xpnet.backends.cuda import cupy as launching
from xpnet.backends.cuda.captured import CapturedStep
from xpnet.backends.cuda.failures import explaining

runtime = cupy.cuda.runtime


def raising(error):
    """A function that only raises ``error``."""

    def function(*_args, **_kwargs):
        raise error

    return function


def no_driver(monkeypatch):
    """This machine, unless it has a driver."""
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: 0)


def no_device(monkeypatch):
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: 13000)


def old_driver(monkeypatch):
    """One that knows CUDA 12 alone, under a CuPy of CUDA 13."""
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: 12080)


def kernel_fails(monkeypatch):
    """CuPy says there is a GPU, and the first kernel meets the missing driver."""
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: 13000)
    monkeypatch.setattr(cupy.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime, "getDeviceCount", lambda: 1)


def no_compiler(monkeypatch):
    """What CuPy raises on the first kernel where NVRTC is not installed."""
    kernel_fails(monkeypatch)
    monkeypatch.setattr(cupy.cuda, "Device", contextlib.nullcontext)
    monkeypatch.setattr(cupy, "arange", raising(DynamicLibNotFoundError("nvrtc")))


STATES = {
    no_driver: "CuPy is installed, but there is no NVIDIA driver: install it",
    old_driver: r"too old: it knows CUDA 12\.8, and this CuPy is of CUDA 13\..*580 or newer",
    no_device: "there is a driver, but it shows no device: look at nvidia-smi",
    kernel_fails: "a kernel failed .*CUDARuntimeError: cudaErrorInsufficientDriver.*nvidia-smi",
    no_compiler: r"but NVRTC, which compiles kernels, is missing: pip install 'xpnet\[cuda13\]'",
}


@pytest.mark.parametrize("state", STATES)
def test_asked_for_by_name_it_says_what_is_missing(monkeypatch, state):
    state(monkeypatch)
    with pytest.raises(BackendError, match=STATES[state]) as caught:
        backends.get("cupy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("state", STATES)
def test_auto_falls_back_on_numpy(monkeypatch, state):
    state(monkeypatch)
    assert backends.get("auto").name == "numpy"


@pytest.mark.parametrize("state", STATES)
def test_the_command_line_lists_it_with_the_reason(monkeypatch, state):
    state(monkeypatch)
    result = CliRunner().invoke(cli, ["backends", "--json"])
    assert result.exit_code == 0
    [line] = [line for line in result.output.splitlines() if '"cupy"' in line]
    assert '"usable": false' in line
    assert "CuPy" in line
    assert run(["backends", "--require", "numpy"]) == 0
    assert run(["backends", "--require", "numpy,cupy"]) == 1


def test_the_command_line_exits_with_2_and_one_line(capfd):
    assert run(["train", "--backend", "cupy"]) == 2
    err = capfd.readouterr().err.strip()
    assert err.startswith("Error: CuPy is installed, but ")
    assert "\n" not in err


def test_the_machine_itself_is_one_of_these():
    with pytest.raises(BackendError):
        backends.get("cupy")


def test_device_names(monkeypatch):
    kernel_fails(monkeypatch)
    for name in ("cuda:x", "gpu", "cuda:-1"):
        with pytest.raises(UsageError, match="write cuda, or cuda:1"):
            backends.get("cupy", name)
    with pytest.raises(UsageError, match="there is no GPU 'cuda:1'"):
        backends.get("cupy", "cuda:1")


@pytest.mark.parametrize(("name", "used"), [("cuda:1", [1]), ("cuda", [0]), (None, [])])
def test_a_gpu_that_is_named_becomes_the_current_one(monkeypatch, name, used):
    """On the current one lies what zeros_like and many other functions make."""

    class Device:
        def __init__(self, number):
            self.id = number

        def use(self):
            seen.append(self.id)

    seen = []
    for check in ("check_driver", "check_device", "check_kernel"):
        monkeypatch.setattr(backend_module, check, lambda *_: None)
    monkeypatch.setattr(cupy.cuda, "Device", Device)
    assert backends.get("cupy", name).device_name == f"cuda:{sum(used)}"
    assert seen == used


def test_two_builds_at_once_are_named(monkeypatch):
    monkeypatch.setattr(usable, "is_installed", lambda name: name != "cupy")
    with pytest.raises(BackendError, match="cupy-cuda12x and cupy-cuda13x are both installed"):
        backends.get("cupy")


def test_a_cupy_of_long_ago_is_named(monkeypatch):
    monkeypatch.setattr(cupy, "__version__", "13.6.0")
    with pytest.raises(BackendError, match=r"CuPy 13\.6\.0 is too old: pip install"):
        backends.get("cupy")


def driver_error(text, status):
    """What the driver raises: made past its initialisation, which wants a driver."""
    kind = cupy.cuda.driver.CUDADriverError
    error = kind.__new__(kind, text)
    error.status = status
    return error


FAILURES = {
    cupy.cuda.memory.OutOfMemoryError(2**35, 2**30, 0): (
        OutOfDeviceMemoryError,
        r"out of memory \(Out of memory allocating 34,359,738,368 bytes .*: lower --batch-size",
    ),
    runtime.CUDARuntimeError(2): (OutOfDeviceMemoryError, r"out of memory \(cudaErrorMemoryAlloc"),
    runtime.CUDARuntimeError(719): (
        DeviceError,
        r"the GPU failed \(cudaErrorLaunchFailure: .*\): look at nvidia-smi; .* --resume",
    ),
    driver_error("CUDA_ERROR_LAUNCH_FAILED: unspecified", 719): (
        DeviceError,
        r"the GPU failed \(CUDA_ERROR_LAUNCH",
    ),
}


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_what_fails_while_it_computes_is_said_in_one_line(failure):
    kind, message = FAILURES[failure]
    with pytest.raises(kind, match=message) as caught, explaining():
        raise failure
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == (75 if kind is DeviceError else 1)


def test_other_errors_stay_what_they_are():
    with pytest.raises(KeyError), explaining():
        raise KeyError("x")


@pytest.fixture
def backend():
    """The backend as it would be, were there a GPU."""
    module = backends.module_of("cupy")
    return module.CupyBackend("cupy", module.xp, device=None, version=cupy.__version__)


def test_data_that_do_not_fit_are_explained(backend, monkeypatch):
    error = cupy.cuda.memory.OutOfMemoryError(2**35, 2**30, 0)
    monkeypatch.setattr(backend, "device", contextlib.nullcontext())
    monkeypatch.setattr(cupy, "array", raising(error))
    with pytest.raises(OutOfDeviceMemoryError):
        backend.from_host([1.0])
    monkeypatch.setattr(cupy, "asnumpy", raising(error))
    with pytest.raises(OutOfDeviceMemoryError):
        backend.to_numpy([1.0])
    with pytest.raises(OutOfDeviceMemoryError):
        backend.loop(raising(error), None, None, 1)


def test_data_lie_row_by_row_whatever_they_did_on_the_host(backend, monkeypatch):
    """A table of pandas has its columns one after the other."""
    monkeypatch.setattr(backend, "device", contextlib.nullcontext())
    monkeypatch.setattr(cupy, "array", np.array)
    placed = backend.from_host(np.asfortranarray([[1, 2, 3], [4, 5, 6]]))
    assert placed.flags.c_contiguous
    assert placed.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_every_precision_is_one_of_the_library():
    assert set(PRECISION) == set(cublaslt.PRECISIONS)


def test_the_backend_is_configured(backend, monkeypatch):
    monkeypatch.setattr(backend, "device", FakeDevice())
    assert (backend.precision, backend.graph, backend.launcher.precision) == (
        "fp32",
        "auto",
        "fp32",
    )
    build = TrainingStep(mlp(4, 3), Hyperparameters(), 2)
    for precision in PRECISION:
        for graph in GRAPH:
            other = backend.configured(precision=precision, graph=graph)
            assert other.launcher.precision == precision
            step = other.compile(build)
            captured = isinstance(step, CapturedStep)
            assert captured == (graph != "never")
            assert not captured or step.required == (graph == "require")
            assert not captured or step.launcher is other.launcher, "its graph has branches"
    with pytest.raises(UsageError, match="unknown precision 'fp23': did you mean 'fp32'"):
        backend.configured(precision="fp23")
    with pytest.raises(UsageError, match="the reference has no precision bf16"):
        backend.configured(precision="bf16").compile(lambda ops: ops, reference=True)


def test_what_a_product_needs_is_had_once_a_device_and_precision():
    """Each prediction makes a backend anew, of the device of its arrays."""
    module = backends.module_of("cupy")
    first = module.on(FakeDevice())
    assert module.on(FakeDevice()).launcher is first.launcher
    assert first.configured(graph="never").launcher is first.launcher
    assert first.configured(precision="tf32").launcher is not first.launcher
    with ThreadPoolExecutor(1) as pool:
        other_threads = pool.submit(lambda: first.launcher).result()
    assert other_threads is not first.launcher, "a product and its bias are two calls"
    second = FakeDevice()
    second.id = 1
    assert module.on(second).launcher is not first.launcher


def test_what_is_not_ours_is_not_captured_unless_it_is_required(backend, monkeypatch):
    class Own(Dense):
        """A layer of somebody's own."""

    monkeypatch.setattr(backend, "device", FakeDevice())
    build = TrainingStep(Network(4, [Own(3)]), Hyperparameters(), 2)
    with pytest.warns(UserWarning, match="not all parts of this training are xpnet's own"):
        assert not isinstance(backend.compile(build), CapturedStep)
    required = backend.configured(graph="require").compile(build)
    assert isinstance(required, CapturedStep)
    assert required.launcher is None, "who knows when somebody else reads a gradient"


class FakeDevice(contextlib.nullcontext):
    """The first GPU."""

    id = 0


def test_a_missing_cublaslt_is_named(monkeypatch):
    pathfinder = launching.importlib.import_module("cuda.pathfinder")
    error = DynamicLibNotFoundError("cublasLt")
    monkeypatch.setattr(pathfinder, "load_nvidia_dynamic_lib", raising(error))
    launching.cublaslt.cache_clear()
    with pytest.raises(BackendError, match=r"cuBLASLt, of the CUDA Toolkit, is missing .*pip inst"):
        launching.CupyLauncher().library  # noqa: B018
