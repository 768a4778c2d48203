"""The command line: its exit codes, its one line for an error, and what it prints."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from commands import TINY, environment, little_mnist, start, the_error

import xpnet as package
from xpnet import Model, SoftmaxCrossEntropy, backends, cli, datasets, load, mlp, save
from xpnet.checkpoint import load_checkpoint
from xpnet.cli import saver
from xpnet.cli.configure import OPTIONS
from xpnet.cli.options import Number
from xpnet.errors import BackendError, TrainingError
from xpnet.tensorfile import read, write

AUTOMATIC = backends.get("auto").name
train_module = importlib.import_module("xpnet.cli.train")

EPOCH_KEYS = {
    "event",
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "seconds",
    "samples_per_second",
}
RESULT_KEYS = {
    "event",
    "backend",
    "device",
    "dtype",
    "threads",
    "epochs",
    "seconds",
    "samples_per_second",
    "train_accuracy",
    "test_accuracy",
    "test_loss",
    "parameters",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("XPNET_BACKEND", "XPNET_DEVICE", "XPNET_DTYPE", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    """Little data instead of MNIST, in this process."""
    monkeypatch.setattr(datasets, "mnist", little_mnist)


@pytest.fixture
def train(invoke):
    def train(*arguments):
        return invoke(*TINY, *arguments)

    return train


def usage(result):
    code, out, err = result
    assert code == 2, err
    assert out == ""
    return the_error(err)


# ---- the program -----------------------------------------------------------------------------


@pytest.mark.parametrize("start_of_it", [["-m", "xpnet"], None], ids=["module", "script"])
def test_version_both_ways(start_of_it):
    script = os.path.join(os.path.dirname(sys.executable), "xpnet")
    if start_of_it is None and not os.path.exists(script):
        pytest.skip("the script xpnet is not installed beside this Python")
    program = [sys.executable, *start_of_it] if start_of_it else [script]
    done = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"xpnet {package.__version__}\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "command", [[], ["train"], ["evaluate"], ["backends"], ["predict"], ["show"]]
)
def test_help_of_every_command(invoke, command):
    code, out, err = invoke(*command, "--help")
    assert code == 0
    assert out.startswith(f"Usage: {' '.join(['xpnet', *command])}")
    assert err == ""


def test_every_exit_code_is_in_the_help(invoke):
    _, out, _ = invoke("--help")
    text = " ".join(out.split())
    for code in (0, 1, 2, 65, 70, 74, 75, 130, 143):
        assert re.search(rf"[ ;]{code} \w", text)


def test_no_command_shows_the_help_and_one_line_of_error(invoke):
    code, out, err = invoke()
    assert code == 2
    assert out == ""
    assert err.startswith("Usage: xpnet")
    assert the_error(err).startswith("Error: a command is missing")


# ---- unknown names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "wrong", "near"),
    [
        (["trian"], "trian", "train"),
        (["evalute", "x"], "evalute", "evaluate"),
        (["--verison"], "--verison", "--version"),
        (["train", "--epoch", "3"], "--epoch", "--epochs"),
        (["train", "--bakend", "numpy"], "--bakend", "--backend"),
        (["evaluate", "--divice", "x"], "--divice", "--device"),
        (["backends", "--chek"], "--chek", "--check"),
        (["train", "--backend", "nunpy"], "nunpy", "numpy"),
        (["evaluate", "x", "--backend", "nunpy"], "nunpy", "numpy"),
        (["train", "--optimizer", "adan"], "adan", "adam"),
        (["train", "--activation", "rleu"], "rleu", "relu"),
        (["train", "--activation", "relu,tahn"], "tahn", "tanh"),
        (["train", "--schedule", "cosin"], "cosin", "cosine"),
        (["train", "--init", "he_norml"], "he_norml", "he_normal"),
        (["train", "--ops", "fats"], "fats", "fast"),
        (["train", "--device", "cpuu"], "cpuu", "cpu"),
        (["train", "--dtype", "float23"], "float23", "float32"),
        (["train", "--loss", "hubert"], "hubert", "huber"),
        (["train", "--label-colum", "x"], "--label-colum", "--label-column"),
        (["preditc", "x", "y"], "preditc", "predict"),
        (["predict", "x", "y", "--cvs"], "--cvs", "--csv"),
    ],
)
def test_an_unknown_name_is_answered_with_the_near_one(invoke, arguments, wrong, near):
    error = usage(invoke(*arguments))
    assert wrong in error
    assert re.search(rf"[Dd]id you mean (one of: )?'{near}'", error)


@pytest.mark.parametrize(
    ("variable", "wrong", "near"),
    [
        ("XPNET_BACKEND", "nunpy", "numpy"),
        ("XPNET_DEVICE", "cpuu", "cpu"),
        ("XPNET_DTYPE", "float46", "float64"),
    ],
)
def test_an_unknown_name_in_a_variable_too(train, monkeypatch, variable, wrong, near):
    monkeypatch.setenv(variable, wrong)
    error = usage(train())
    assert wrong in error
    assert f"did you mean '{near}'" in error


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "extra"], "extra"),
        (["train", "--lr"], "--lr"),
        (["evaluate"], "MODEL"),
        (["train", "--resume"], "--checkpoint"),
        (["train", "--activation", "relu,tanh", "--hidden", "8"], "--activation"),
        (["train", "--early-stopping", "2", "--validation-split", "0"], "--validation-split"),
        (["train", "--save", "same", "--checkpoint", "./same"], "--checkpoint"),
        (["train", "--label-smoothing", "0.1", "--loss", "mse"], "--label-smoothing"),
        (["train", "--classes", "10", "--loss", "mse"], "--classes"),
        (["train", "--class-weights", "balanced", "--loss", "mse"], "--class-weights"),
        (["train", "--class-weights", "1,2"], "--class-weights"),
        (["train", "--labels", "x"], "--data"),
        (["train", "--label-column", "last"], "--data"),
        (["train", "--weight-column", "w"], "--data"),
        (["train", "--test-split", "0.1"], "--test-split"),
        (["predict", "model"], "FILES"),
        (["predict", "model", "file", "--json", "--csv"], "--csv"),
        (["show"], "MODEL"),
        (["train", "--init", "normal:0"], "normal:0"),
        (["train", "--init", "normal:nan"], "normal:nan"),
        (["train", "--init", "zeros:1"], "zeros:1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(invoke, arguments, named):
    assert named in usage(invoke(*arguments))


# ---- numbers ---------------------------------------------------------------------------------

COUNTS = [
    "--epochs",
    "--batch-size",
    "--early-stopping",
    "--threads",
    "--classes",
    "--max-bytes",
    "--steps",
    "--directions",
    "--coordinates",
    "--rounds",
]
COMMAND_OF = {
    "--steps": "parity",
    "--directions": "gradcheck",
    "--coordinates": "gradcheck",
    "--rounds": "bench",
    "--scale": "explain",
    "--learning-rate": "doctor",
    "--momentum": "doctor",
}
POSITIVE = [
    "--lr",
    "--clip-norm",
    "--clip-value",
    "--checkpoint-every",
    "--scale",
    "--learning-rate",
]
NOT_NEGATIVE = ["--weight-decay", "--l2", "--warmup"]
FRACTIONS = ["--dropout", "--label-smoothing", "--validation-split", "--test-split"]
WRONG = {
    **{flag: ["0", "-1", "nan", "inf", "0.5", "x", ""] for flag in COUNTS},
    **{flag: ["0", "-1", "-0.0", "nan", "inf", "-inf", "1e999", "x", ""] for flag in POSITIVE},
    **{flag: ["-1", "-1e-9", "nan", "inf", "1e999", "x", ""] for flag in NOT_NEGATIVE},
    **{flag: ["1", "1.5", "-0.1", "nan", "inf", "x", ""] for flag in FRACTIONS},
    "--hidden": ["0", "-1", "8,0", "1" + "0" * 18, "8,,8", "nan", "inf", "8.5", "x"],
    "--seed": ["-1", str(2**32), "nan", "inf", "0.5", "x", ""],
    "--momentum": ["1", "1.5", "-0.1", "nan", "inf", "x", ""],
    "--class-weights": ["-1", "1,-1", "nan,1", "inf", "1e999", "1,,2", "x", "", "balance"],
}


@pytest.mark.parametrize(
    ("flag", "value"), [(flag, value) for flag, values in WRONG.items() for value in values]
)
def test_a_senseless_number_is_refused_by_the_name_of_its_option(invoke, flag, value):
    error = usage(invoke(COMMAND_OF.get(flag, "train"), flag, value))
    assert flag.strip("-") in error
    if flag != "--seed":
        assert flag in error


def test_no_numeric_option_is_left_out():
    kinds = ("integer", "float", "widths", "class weights")
    params = [p for name in cli.COMMANDS for p in cli.cli.get_command(None, name).params]
    numeric = [p for p in params if p.type.name in kinds]
    assert {p.opts[0] for p in numeric} == set(WRONG)
    assert all(isinstance(p.type, Number) for p in numeric if p.type.name in kinds[:2])
    assert len(OPTIONS) > len(NOT_NEGATIVE)


@pytest.mark.parametrize("flag", [*NOT_NEGATIVE, *FRACTIONS])
def test_zero_is_fine_where_it_means_none(train, flag):
    code, _, err = train("--epochs", "1", flag, "0")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("flag", ["--batch-size", "--threads", "--early-stopping"])
def test_a_number_that_is_needlessly_large_is_fine(train, flag):
    code, _, err = train("--epochs", "1", flag, 10**30)
    assert (code, err) == (0, "")


# ---- where it computes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "variable", "values", "default"),
    [
        ("dtype", "XPNET_DTYPE", ("float64", "float32"), "float32"),
        ("backend", "XPNET_BACKEND", ("array-api-strict", "numpy"), AUTOMATIC),
        ("device", "XPNET_DEVICE", ("device1", "cpu"), "cpu"),
    ],
)
def test_flag_beats_variable_beats_default(train, monkeypatch, option, variable, values, default):
    always = ["--epochs", "1", "--json"]
    if option == "device":
        always += ["--backend", "array-api-strict"]

    def resolved(*arguments):
        code, out, err = train(*always, *arguments)
        assert code == 0, err
        return json.loads(out.splitlines()[-1])[option]

    in_variable, flag = values
    assert resolved() == default
    monkeypatch.setenv(variable, in_variable)
    assert resolved() == in_variable
    assert resolved(f"--{option}", flag) == flag
    monkeypatch.setenv(variable, "")
    assert resolved() == default


def test_the_resolved_configuration_is_in_the_model(train, tmp_path, monkeypatch):
    monkeypatch.setenv("XPNET_DTYPE", "float64")
    code, _, err = train("--epochs", "1", "--optimizer", "sgd", "--save", tmp_path / "m")
    assert code == 0, err
    model = load(tmp_path / "m")
    config = model.config
    assert model.theta.dtype == np.float64
    assert config["options"]["dtype"] == "float64"
    assert config["options"]["hidden"] == [8]
    assert config["options"]["lr"] == package.SGD().lr
    assert config["hyperparameters"]["optimizer"]["type"] == "sgd"
    assert config["machine"]["backend"] == AUTOMATIC
    assert config["machine"]["device"] == "cpu"
    assert config["machine"]["threads"] == 1


# ---- what train prints -----------------------------------------------------------------------


def json_lines(out):
    return [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]


@pytest.mark.parametrize("split", [0.0, 0.25])
def test_json_lines_have_exactly_the_promised_keys(train, split):
    code, out, err = train("--epochs", "2", "--json", "--validation-split", split)
    assert (code, err) == (0, "")
    *epochs, result = json_lines(out)
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    for epoch in epochs:
        assert set(epoch) == EPOCH_KEYS
        assert epoch["event"] == "epoch"
        assert (epoch["val_loss"] is None) == (epoch["val_accuracy"] is None) == (split == 0)
    assert set(result) == RESULT_KEYS
    assert result["event"] == "result"
    assert result["epochs"] == 2
    assert result["backend"] == AUTOMATIC
    assert result["dtype"] == "float32"
    assert result["parameters"] == mlp(784, 8, 10).n_parameters
    assert 0 <= result["test_accuracy"] <= 1


def test_remarks_never_reach_stdout_with_json(train, tmp_path):
    ready = ["--epochs", "1", "--json", "--checkpoint", tmp_path / "c"]
    train(*ready)
    code, out, err = train(*ready)
    assert code == 0
    assert len(json_lines(out)) == 2
    assert "starting anew" in err


def test_the_result_is_that_of_the_saved_model(train, invoke, tmp_path):
    code, out, err = train(
        "--epochs", "2", "--json", "--save", tmp_path / "m", "--early-stopping", "1"
    )
    assert code == 0, err
    trained = json_lines(out)[-1]
    code, out, err = invoke("evaluate", tmp_path / "m", "--json")
    assert (code, err) == (0, "")
    [evaluated] = json_lines(out)
    for key in ("test_loss", "test_accuracy", "parameters", "dtype"):
        assert evaluated[key] == trained[key]


def test_without_a_terminal_there_is_one_plain_line_an_epoch(train):
    code, out, err = train("--epochs", "3")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["epoch", str(i)] for i in (1, 2, 3)]
    assert "\x1b" not in out
    assert "\r" not in out
    assert "test loss" in out
    assert "accuracy" in out


def test_forced_colours_make_no_terminal_of_a_pipe(train, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    _, out, _ = train("--epochs", "1")
    assert "\x1b" not in out


COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-8]|4[0-8]|9[0-7]|10[0-7])\b[0-9;]*m")


def on_a_terminal(*arguments, **variables):
    """Run xpnet with its stdout on a pseudo-terminal; exit code, what appeared there, stderr."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    ours, theirs = pty.openpty()
    env = environment(TERM="xterm-256color", COLUMNS="140", **variables)
    with start(*arguments, stdout=theirs, env=env) as process:
        os.close(theirs)
        seen = bytearray()
        try:
            while chunk := os.read(ours, 4096):
                seen += chunk
        except OSError:
            pass  # Linux says EIO where the other side has closed
        os.close(ours)
        err = process.stderr.read()
    return process.returncode, seen.decode(), err


def test_on_a_terminal_there_is_a_live_bar_and_then_a_summary():
    code, out, err = on_a_terminal(*TINY, "--epochs", "3", "--batch-size", "64")
    assert (code, err) == (0, "")
    bar = [line for line in re.split(r"[\r\n]", out) if "━" in line]
    assert len(bar) > 3
    assert COLOUR.search(out)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "\n".join(bar))
    assert re.search(
        r"epoch \d/3 ━+[╸╺]?━* *loss \d+\.\d+ accuracy \d+\.\d+% [\d,]+ samples/s \d+:\d\d:\d\d",
        plain,
    )
    summary = out[out.rindex("━") :]
    assert re.search(rf"6,370 parameters trained for 3 epochs in [\d.]+ s on {AUTOMATIC}", summary)
    assert re.search(r"test loss [\d.]+, accuracy [\d.]+%", summary)


def test_no_color_is_respected_on_a_terminal():
    code, out, _ = on_a_terminal(*TINY, "--epochs", "1", NO_COLOR="1")
    assert code == 0
    assert "━" in out
    assert not COLOUR.search(out)


def test_json_on_a_terminal_is_json_all_the_same():
    code, out, _ = on_a_terminal(*TINY, "--epochs", "1", "--json")
    assert code == 0
    assert [line["event"] for line in json_lines(out)] == ["epoch", "result"]


# ---- checkpoints and resuming ----------------------------------------------------------------


@pytest.fixture
def trained(train, tmp_path):
    """The path of the checkpoint of two finished epochs, and the options that made it."""
    path = tmp_path / "checkpoint"
    options = ["--epochs", "2", "--checkpoint", path]
    code, _, err = train(*options)
    assert code == 0, err
    return path, options


def test_resume_starts_anew_where_there_is_no_checkpoint(train, tmp_path):
    code, out, err = train("--epochs", "1", "--json", "--resume", "--checkpoint", tmp_path / "c")
    assert (code, err) == (0, "")
    assert [line["event"] for line in json_lines(out)] == ["epoch", "result"]
    assert load_checkpoint(tmp_path / "c").run.epoch == 1


def test_resuming_a_finished_training_prints_its_result(train, trained):
    path, options = trained
    before = path.read_bytes()
    code, out, err = train(*options, "--resume", "--json")
    assert (code, err) == (0, "")
    [result] = json_lines(out)
    assert set(result) == RESULT_KEYS
    assert result["epochs"] == 2
    assert path.read_bytes() == before


def test_without_resume_it_starts_anew_and_says_so(train, trained):
    path, options = trained
    code, out, err = train(*options, "--seed", "1")
    assert code == 0
    assert out.count("epoch ") == 2
    assert f"starting anew: {path}" in err
    assert load_checkpoint(path).model.config["options"]["seed"] == 1


OTHER = {
    "--hidden": "9",
    "--activation": "tanh",
    "--init": "he_uniform",
    "--dropout": "0.1",
    "--loss": "mse",
    "--label-smoothing": "0.1",
    "--optimizer": "sgd",
    "--lr": "0.01",
    "--weight-decay": "0.5",
    "--l2": "0.1",
    "--schedule": "cosine",
    "--warmup": "1",
    "--clip-norm": "1",
    "--clip-value": "1",
    "--epochs": "3",
    "--batch-size": "64",
    "--early-stopping": "2",
    "--validation-split": "0.1",
    "--seed": "1",
    "--dtype": "float64",
}


def test_the_other_options_are_all_training_options():
    assert set(OTHER) == {name for add in OPTIONS for name in option_names(add)}


def option_names(add):
    return add(lambda: None).__click_params__[0].opts


@pytest.mark.parametrize("flag", OTHER)
def test_resuming_with_another_option_is_refused_by_its_name(train, trained, flag):
    path, options = trained
    before = path.read_bytes()
    error = usage(train(*options, "--resume", flag, OTHER[flag]))
    assert f" {flag} is " in error
    assert str(path) in error
    assert path.read_bytes() == before


def test_the_same_options_written_differently_resume(train, trained):
    _, options = trained
    defaults = ["--lr", package.AdamW().lr, "--validation-split", "0", "--activation", "relu"]
    code, _, err = train(*options, "--resume", *defaults)
    assert (code, err) == (0, "")


def rewrite(path, change):
    tensors, spec = read(path)
    change(tensors, spec)
    write(path, tensors, spec)


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("--precision=tf32", "backend numpy on cpu has no precision tf32: choose fp32, or a GPU"),
        ("--graph=require", "backend numpy replays no graph: choose auto, or backend cupy"),
        ("--precision=fp23", "unknown precision 'fp23': did you mean 'fp32'?"),
        ("--graph=allways", "unknown way with graphs 'allways': choose from auto, never, require"),
    ],
)
def test_a_way_to_compute_that_cannot_be_had(train, option, error):
    code, out, err = train("--backend", "numpy", "--epochs", "1", option)
    assert (code, out) == (2, "")
    assert error in the_error(err)


def test_what_has_no_choice_takes_the_only_one():
    numpy = backends.get("numpy")
    assert numpy.configured(precision="fp32", graph="never") is numpy


@pytest.mark.parametrize(
    ("key", "value"),
    [("threads", 64), ("backend", "cupy"), ("version", "0.1"), ("xpnet", "0.0.1")],
)
def test_resuming_on_another_machine_is_said_and_done(train, trained, key, value):
    path, options = trained
    rewrite(path, lambda tensors, spec: spec["machine"].update({key: value}))
    code, out, err = train(*options, "--resume", "--json")
    assert code == 0
    assert len(json_lines(out)) == 1
    assert re.search(rf"note: {key} was {value} and is (?!None)", err)


def test_a_state_without_its_optimizers_slots_is_refused(train, trained):
    path, options = trained
    rewrite(path, lambda tensors, spec: tensors.pop("state.slots.1"))
    code, out, err = train(*options, "--resume")
    assert (code, out) == (65, "")
    assert str(path) in the_error(err)


def test_checkpoints_are_written_within_an_epoch_too(train, tmp_path, monkeypatch):
    seen = []
    real = saver.save_checkpoint
    monkeypatch.setattr(
        saver, "save_checkpoint", lambda path, c: (seen.append(c.run.step), real(path, c))
    )
    ready = ["--epochs", "2", "--batch-size", "18", "--checkpoint", tmp_path / "c"]
    code, _, err = train(*ready, "--checkpoint-every", "1e-9")
    assert code == 0, err
    assert max(seen) > 0
    assert seen.count(0) == 2
    seen.clear()
    code, _, err = train(*ready, "--checkpoint-every", "1e9")
    assert code == 0, err
    assert seen == [0, 0]


# ---- evaluate and backends -------------------------------------------------------------------


def test_evaluate_reads_models_and_checkpoints(train, invoke, trained, tmp_path):
    path, options = trained
    train(*options, "--resume", "--save", tmp_path / "model")
    results = []
    for file in (tmp_path / "model", path):
        code, out, err = invoke("evaluate", file, "--json")
        assert (code, err) == (0, "")
        results += json_lines(out)
    assert results[0] == results[1]
    code, out, _ = invoke("evaluate", path)
    assert code == 0
    assert re.search(r"accuracy [\d.]+%, loss [\d.]+ on 100 test images", out)


def test_evaluate_scales_the_images_as_the_model_wants_them(invoke, tmp_path):
    network = mlp(784, 10)
    theta = network.init(0)
    by_scale = []
    for scale in (1.0, 1e-6):
        save(tmp_path / "m", Model(network, theta, SoftmaxCrossEntropy(), scale))
        by_scale.append(json_lines(invoke("evaluate", tmp_path / "m", "--json")[1])[0]["test_loss"])
    assert by_scale[1] == pytest.approx(np.log(10), rel=1e-3)  # logits of almost 0
    assert by_scale[0] > 2 * by_scale[1]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, 74),
        (lambda path: path.mkdir(), 74),
        (lambda path: path.write_bytes(b"damaged"), 65),
        (lambda path: save(path, Model(mlp(3, 2), mlp(3, 2).init())), 65),
        (lambda path: save(path, Model(mlp(784, 2), mlp(784, 2).init())), 65),
    ],
    ids=["missing", "folder", "damaged", "other inputs", "too few outputs"],
)
def test_evaluate_says_what_is_wrong_with_a_model(invoke, tmp_path, make, code):
    make(tmp_path / "model")
    found, out, err = invoke("evaluate", tmp_path / "model")
    assert (found, out) == (code, "")
    the_error(err)


@pytest.mark.parametrize("damage", [b"damaged", b""])
def test_a_damaged_checkpoint_is_never_overwritten(train, tmp_path, damage):
    (tmp_path / "c").write_bytes(damage)
    code, out, err = train("--epochs", "1", "--resume", "--checkpoint", tmp_path / "c")
    assert (code, out) == (65, "")
    assert str(tmp_path / "c") in the_error(err)
    assert (tmp_path / "c").read_bytes() == damage


@pytest.fixture
def three_backends(monkeypatch):
    """Two backends that are quickly loaded and one that is not installed."""
    known = {name: backends.BACKENDS[name] for name in ("numpy", "array-api-strict")}
    known["abacus"] = known["numpy"]._replace(package="abacus", remedy="pip install abacus")
    monkeypatch.setattr(backends, "BACKENDS", known)


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_backends_lists_all_of_them(invoke, three_backends, check):
    code, out, err = invoke("backends", "--json", *check)
    assert (code, err) == (0, "")
    lines = json_lines(out)
    assert [line["name"] for line in lines] == list(backends.BACKENDS)
    assert [line["usable"] for line in lines] == [True, True, False]
    assert lines[0]["version"] == np.__version__
    assert "pip install abacus" in lines[2]["reason"]
    code, out, err = invoke("backends", *check)
    assert (code, err) == (0, "")
    for name in backends.BACKENDS:
        assert name in out


def test_backends_check_fails_where_a_product_is_wrong(invoke, three_backends, monkeypatch):
    def wrong(backend):
        if backend.name == "numpy":
            raise BackendError("backend numpy multiplied matrices wrongly")

    monkeypatch.setattr(backends, "check_product", wrong)
    assert invoke("backends")[0] == 0
    code, out, err = invoke("backends", "--check", "--json")
    assert code == 1
    assert "numpy" in the_error(err)
    assert next(line for line in json_lines(out) if line["name"] == "numpy")["usable"] is False


# ---- what goes wrong -------------------------------------------------------------------------


def test_a_training_that_diverges_names_the_step_and_spares_the_checkpoint(train, tmp_path):
    path = tmp_path / "c"
    wild = ["--optimizer", "sgd", "--lr", "1e20", "--schedule", "constant"]
    ready = ["--batch-size", "2", "--checkpoint-every", "1e-9", "--checkpoint", path]
    code, _, err = train(*wild, *ready)
    assert code == 1
    assert re.search(r"step \d+ .*learning rate", the_error(err))
    assert not path.exists() or np.isfinite(load_checkpoint(path).model.theta).all()


def test_the_last_good_checkpoint_survives_a_divergence(train, tmp_path, monkeypatch):
    real = train_module.segments

    def diverging(*arguments, **settings):
        yield next(iter(real(*arguments, **settings)))
        raise TrainingError("the loss is no longer finite at step 17")

    monkeypatch.setattr(train_module, "segments", diverging)
    code, _, err = train("--checkpoint", tmp_path / "c", "--checkpoint-every", "1e-9")
    assert code == 1
    assert "step 17" in the_error(err)
    assert np.isfinite(load_checkpoint(tmp_path / "c").model.theta).all()


@pytest.mark.parametrize("error", [RuntimeError("odd"), AssertionError(), ValueError("a\nb")])
@pytest.mark.parametrize("command", [["train"], ["evaluate"], ["predict"], ["backends"]])
def test_an_internal_error_is_one_line_and_code_70(invoke, monkeypatch, tmp_path, command, error):
    if command[0] in ("evaluate", "predict"):
        save(tmp_path / "m", Model(mlp(784, 10), mlp(784, 10).init()))
        command = [*command, tmp_path / "m", *([tmp_path / "x"] if command[0] == "predict" else [])]

    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr(backends, "get", fail)
    code, out, err = invoke(*command)
    assert (code, out) == (70, "")
    assert type(error).__name__ in the_error(err)
    code, _, err = invoke(*command, "--debug")
    assert code == 70
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("Error: internal error")


def test_a_usage_error_shows_its_traceback_only_with_debug(invoke):
    assert "Traceback" not in invoke("train", "--lr", "0")[2]
    assert "Traceback" in invoke("train", "--lr", "0", "--debug")[2]
    assert "Traceback" not in invoke("train", "--lr", "0")[2]


def test_too_little_memory_is_said_with_the_remedy(train, monkeypatch):
    def fail(*arguments, **settings):
        raise MemoryError

    monkeypatch.setattr(train_module, "segments", fail)
    code, _, err = train()
    assert code == 1
    assert "--batch-size" in the_error(err)


def test_an_interrupt_outside_the_training_is_one_line(invoke, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "mnist", interrupt)
    code, out, err = invoke("train")
    assert (code, out) == (130, "")
    assert the_error(err).startswith("Error: interrupted")
