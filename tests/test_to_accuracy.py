"""``bench/to_accuracy.py``: the same images for everybody, and a run that falls short is marked."""

import importlib.util
import pathlib

import numpy as np
import pytest

import xpnet

SCRIPT = pathlib.Path(__file__).parents[1] / "bench" / "to_accuracy.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("to_accuracy", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_others_read_the_same_images(script):
    for kind, ours in zip(("train", "t10k"), xpnet.mnist(), strict=True):
        X, y = script.images(kind)
        assert np.array_equal(X * 255, ours.X.astype(np.float32))
        assert np.array_equal(y, ours.y)


def test_medians_and_a_run_that_falls_short(script):
    runs = [script.Finish(cpu, 2 * cpu, a, 6) for cpu, a in ((3.0, 0.99), (9.0, 0.98), (4.0, 0.97))]
    assert script.line("xpnet", runs[:2], 0.98).split()[1:] == [
        "6.0", "3.0-9.0", "12.0", "98.00%", "6",
    ]  # fmt: skip
    short = script.line("xpnet", runs, 0.98)
    assert short.split()[1:4] == ["4.0", "3.0-9.0", "8.0"]
    assert short.endswith("did not reach 98%")


def test_xpnet_is_run_as_its_own_command(script):
    command = script.command_of("xpnet-numpy", 0.98, "model")
    assert command[1:4] == ["-m", "xpnet", "train"]
    assert command[4:8] == ["--backend", "numpy", "--threads", "1"]
    assert command[-2:] == ["--save", "model"]
    assert script.command_of("torch", 0.9, "model")[-1] == "model"
