"""``xpnet show``: what it says of models and checkpoints."""

from __future__ import annotations

import json

import numpy as np
import pytest
from commands import TINY, little_mnist, the_error

from xpnet import (
    Dense,
    Dropout,
    Huber,
    LayerNorm,
    Model,
    Network,
    backends,
    cli,
    datasets,
    mlp,
    save,
)
from xpnet.tensorfile import FORMAT


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("XPNET_BACKEND", "XPNET_DEVICE", "XPNET_DTYPE", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(datasets, "mnist", little_mnist)


@pytest.fixture
def show(capsys):
    def show(*arguments):
        code = cli.run(["show", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return show


@pytest.fixture
def trained(tmp_path, capsys):
    files = ["--save", tmp_path / "m", "--checkpoint", tmp_path / "c"]
    how = ["--epochs", "1", "--dropout", "0.25", "--dtype", "float64", "--label-smoothing", "0.1"]
    assert cli.run([str(a) for a in [*TINY, *how, *files]]) == 0
    capsys.readouterr()
    return tmp_path / "m", tmp_path / "c"


def test_a_trained_model_in_words(show, trained):
    code, out, err = show(trained[0])
    assert (code, err) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    assert [row for row in rows if row] == [
        ["layers.0", "dense", "8", "relu", "6,280"],
        ["layers.1", "dropout (rate 0.25)", "8", "", ""],
        ["layers.2", "dense", "10", "identity", "90"],
    ]
    assert "6,370 in float64, 784 inputs, 10 outputs" in out
    assert "loss: softmax_xent, smoothing 0.1" in out
    assert "times 0.00392157 (1/255)" in out
    assert "data: mnist" in out
    assert "trained with: " in out
    for option in ("--hidden 8", "--dropout 0.25", "--dtype float64", "--optimizer adamw"):
        assert f" {option} " in out
    assert f"trained on: {backends.get('auto').name} " in out
    assert f"a model, safetensors, format {FORMAT}" in out


def test_a_checkpoint_says_how_far_it_is(show, trained):
    code, out, err = show(trained[1])
    assert (code, err) == (0, "")
    assert "progress: 1 epochs and 0 of 3 steps done" in out
    assert "a checkpoint, safetensors" in out


def test_the_same_for_programs(show, trained):
    code, out, err = show(trained[1], "--json")
    assert (code, err) == (0, "")
    [found] = [json.loads(line) for line in out.splitlines()]
    assert found["event"] == "result"
    assert found["kind"] == "checkpoint"
    assert found["format"] == FORMAT
    assert found["dtype"] == "float64"
    assert (found["inputs"], found["outputs"], found["parameters"]) == (784, 10, 6370)
    assert [layer["parameters"] for layer in found["layers"]] == [6280, 0, 90]
    assert [layer["width"] for layer in found["layers"]] == [8, 8, 10]
    assert [layer["type"] for layer in found["layers"]] == ["dense", "dropout", "dense"]
    assert found["loss"] == {"type": "softmax_xent", "smoothing": 0.1}
    assert found["options"]["dropout"] == 0.25
    assert found["progress"]["epoch"] == 1
    assert found["scale"] == pytest.approx(1 / 255)
    assert found["shift"] is None
    assert found["data"] == "mnist"


def test_a_model_from_python_needs_no_history(show, tmp_path):
    network = Network(4, [Dense(3, "tanh"), LayerNorm(), Dropout(0.5), Dense(2)])
    shift, scale = np.arange(4, dtype=np.float32), np.full(4, 0.5, np.float32)
    save(tmp_path / "m", Model(network, network.init(), Huber(2.0), scale, shift))
    code, out, err = show(tmp_path / "m")
    assert (code, err) == (0, "")
    assert "layer_norm (eps 1e-05)" in out
    assert "huber, delta 2" in out
    assert "(x - shift) * scale" in out
    assert "trained" not in out
    found = json.loads(show(tmp_path / "m", "--json")[1])
    assert found["shift"] == [0, 1, 2, 3]
    assert found["scale"] == [0.5] * 4
    assert found["options"] is None
    assert found["machine"] is None


@pytest.mark.parametrize(
    "config",
    [
        {"data": 5, "options": ["x"], "machine": "mine"},
        {"data": {}, "options": {}, "machine": {}},
        {"data": [], "options": {"hidden": [], "activation": [], "x": None}, "machine": 0},
        {"data": "[bold]x[/]", "options": {"a": {"b": 1}}},
    ],
)
def test_whatever_a_config_holds(show, tmp_path, config):
    save(tmp_path / "m", Model(mlp(2, 2), mlp(2, 2).init(), scale=1.0, config=config))
    code, out, err = show(tmp_path / "m")
    assert (code, err) == (0, "")
    assert "input: as it is" in out
    assert show(tmp_path / "m", "--json")[0] == 0


def test_flags_are_shown_as_they_are_written(show, tmp_path):
    options = {"hidden": [], "activation": [], "standardise": True, "resume": False, "lr": 0.5}
    config = {"options": {**options, "class_weights": [1.0, 2.0], "clip_norm": None}}
    save(tmp_path / "m", Model(mlp(2, 2), mlp(2, 2).init(), config=config))
    assert (
        "trained with: --hidden none --standardise --lr 0.5 --class-weights 1.0,2.0\n"
        in show(tmp_path / "m")[1]
    )


def test_data_of_ones_own_are_named(show, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("0,1\n1,2\n" * 4)
    model = str(tmp_path / "m")
    how = ["--data", str(tmp_path / "t.csv"), "--test-split", "0.25", "--standardise"]
    assert cli.run([*TINY, *how, "--epochs", "1", "--save", model]) == 0
    capsys.readouterr()
    out = show(model)[1]
    assert f"data: {tmp_path / 't.csv'}, 8 samples" in out
    assert "--standardise" in out
    assert "--test-split 0.25" in out


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, 74),
        (lambda path: path.mkdir(), 74),
        (lambda path: path.write_bytes(b""), 65),
        (lambda path: path.write_bytes(b"no model at all"), 65),
    ],
)
def test_what_is_no_model_is_refused(show, tmp_path, make, code):
    make(tmp_path / "m")
    found, out, err = show(tmp_path / "m")
    assert (found, out) == (code, "")
    assert str(tmp_path / "m") in the_error(err)
