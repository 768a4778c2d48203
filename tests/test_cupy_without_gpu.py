"""CuPy installed on a machine without a GPU, an everyday case; with the real wheel, in CI."""

import pytest
from click.testing import CliRunner

from xpnet import backends
from xpnet.cli import cli, run
from xpnet.errors import BackendError, UsageError

cupy = pytest.importorskip("cupy", reason="needs the wheel of CuPy; CI installs it")
if cupy.cuda.is_available():
    pytest.skip("there is a GPU here", allow_module_level=True)

runtime = cupy.cuda.runtime


def no_driver(monkeypatch):
    """This machine, unless it has a driver."""
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: 0)


def no_device(monkeypatch):
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: 13000)


def kernel_fails(monkeypatch):
    """CuPy says there is a GPU, and the first kernel meets the missing driver."""
    monkeypatch.setattr(cupy.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime, "getDeviceCount", lambda: 1)


STATES = {
    no_driver: "CuPy is installed, but there is no NVIDIA driver: install it",
    no_device: "there is a driver, but it shows no device: look at nvidia-smi",
    kernel_fails: "a kernel failed .*CUDARuntimeError: cudaErrorInsufficientDriver.*580 or newer",
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


def test_two_builds_at_once_are_named(monkeypatch):
    module = backends.module_of("cupy")
    monkeypatch.setattr(module, "is_installed", lambda name: name != "cupy")
    with pytest.raises(BackendError, match="cupy-cuda12x and cupy-cuda13x are both installed"):
        backends.get("cupy")
