"""``xpnet train --config``: options from a TOML file, and what is refused in one."""

from __future__ import annotations

import json
import re

import pytest
from commands import TINY, little_mnist, the_error

from xpnet import cli, datasets, load
from xpnet.cli import config


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("XPNET_BACKEND", "XPNET_DEVICE", "XPNET_DTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(datasets, "mnist", little_mnist)


@pytest.fixture
def run(capsys, tmp_path):
    """Train with a file of this content: exit code, stdout, stderr."""

    def run(content, *arguments, start=TINY):
        path = tmp_path / "run.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        code = cli.run([str(a) for a in [*start, "--config", path, *arguments]])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def resolved(run, tmp_path):
    """The options of a training with a file of this content, as the model has them."""

    def resolved(content, *arguments, start=("train",)):
        code, _, err = run(content, "--save", tmp_path / "model", *arguments, start=start)
        assert (code, err) == (0, "")
        return load(tmp_path / "model").config["options"]

    return resolved


def test_every_kind_of_option_can_stand_in_a_file(resolved):
    options = resolved(
        """
        # a comment
        hidden = [6, 5]
        activation = ["tanh", "relu"]
        epochs = 1
        lr = 1e-2
        clip-norm = 5          # a whole number for a real one, a hyphen for an underscore
        batch_size = 50
        optimizer = "sgd"
        class-weights = "balanced"
        standardise = true
        seed = 7
        threads = 1
        dtype = "float64"
        """
    )
    assert options["hidden"] == [6, 5]
    assert options["activation"] == ["tanh", "relu"]
    assert (options["epochs"], options["batch_size"], options["seed"]) == (1, 50, 7)
    assert (options["lr"], options["clip_norm"]) == (0.01, 5.0)
    assert (options["optimizer"], options["class_weights"]) == ("sgd", "balanced")
    assert options["standardise"] is True
    assert options["dtype"] == "float64"


@pytest.mark.parametrize(
    ("line", "option", "value"),
    [
        ("hidden = 7", "hidden", [7]),
        ('hidden = "7,3"', "hidden", [7, 3]),
        ('hidden = "none"', "hidden", []),
        ('activation = "tanh"', "activation", ["tanh"]),
        ("class-weights = [1, 2.5, 1, 1, 1, 1, 1, 1, 1, 1]", "class_weights", [1, 2.5, *[1] * 8]),
        ("standardise = false", "standardise", False),
    ],
)
def test_lists_may_be_written_in_more_ways_than_one(resolved, line, option, value):
    start = ["train", "--epochs", "1", "--threads", "1"]
    options = resolved(line, *(["--hidden", "4"] if option != "hidden" else []), start=start)
    assert options[option] == value


def test_flag_beats_variable_beats_file_beats_default(resolved, monkeypatch):
    content = 'epochs = 1\nhidden = 4\nthreads = 1\ndtype = "float64"\nlr = 0.5\noptimizer = "sgd"'
    assert resolved("epochs = 1\nhidden = 4")["dtype"] == "float32"
    assert resolved(content)["dtype"] == "float64"
    monkeypatch.setenv("XPNET_DTYPE", "float32")
    assert resolved(content)["dtype"] == "float32"
    assert resolved(content, "--dtype", "float64")["dtype"] == "float64"
    assert resolved(content)["lr"] == 0.5
    assert resolved(content, "--lr", "0.25")["lr"] == 0.25


def test_files_and_flags_of_a_run_can_stand_in_a_file(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = 'checkpoint = "c"\nresume = true\njson = true\nepochs = 1\nhidden = 4\nsave = "m"'
    for events in (["epoch", "result"], ["result"]):
        code, out, err = run(content, start=["train"])
        assert (code, err) == (0, "")
        assert [json.loads(line)["event"] for line in out.splitlines()] == events
    assert (tmp_path / "c").exists()
    assert (tmp_path / "m").exists()


def test_data_can_be_named_in_a_file(run, tmp_path):
    (tmp_path / "t.csv").write_text("0,1\n1,2\n" * 4)
    code, out, err = run(f'data = "{tmp_path / "t.csv"}"\nlabel-column = ["first"]\njson = true')
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["test_loss"] is None


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("epochs = 1\nbatch_siez = 3", 2, "unknown option 'batch_siez': did you mean 'batch_size'"),
        ("epoch = 1", 1, "did you mean 'epochs'"),
        ("config = 'x'", 1, "unknown option 'config'"),
        ("help = true", 1, "unknown option 'help'"),
        ("debug = true", 1, "unknown option 'debug'"),
        ("[train]\nepochs = 1", 1, "unknown option 'train'"),
        ("\n\n[epochs]\nx = 1", 3, "epochs must be a whole number, not a table"),
        ("# x\nepochs = '3'", 2, "epochs must be a whole number, not '3'"),
        ("epochs = 3.0", 1, "epochs must be a whole number, not 3.0"),
        ("epochs = true", 1, "epochs must be a whole number, not true"),
        ("epochs = [1]", 1, "epochs must be a whole number, not [1]"),
        ("epochs = 0", 1, "--epochs must be a whole number >= 1, not 0"),
        ("lr = '0.1'", 1, "lr must be a number, not '0.1'"),
        ("lr = nan", 1, "--lr must be a finite number > 0"),
        ("lr = 2020-01-01", 1, "lr must be a number, not a date"),
        ("standardise = 1", 1, "standardise must be true or false, not 1"),
        ("optimizer = 3", 1, "optimizer must be a string, not 3"),
        ("optimizer = 'adan'", 1, "did you mean 'adam'"),
        ("hidden = [8, 'x']", 1, "hidden must be a list of whole numbers"),
        ("hidden = []", 1, "hidden must be a list of whole numbers"),
        ("hidden = [8, 0]", 1, "--hidden"),
        ("activation = ['relu', 'tahn']", 1, "did you mean 'tanh'"),
        ("class-weights = [1, -1]", 1, "--class-weights"),
        ("save = 3", 1, "save must be a string, not 3"),
        ("batch-size = 3\nbatch_size = 4", 2, "twice"),
        ("lr.x = 1", 1, "lr must be a number, not a table"),
        ("'lr' = 'x'", 1, "lr must be a number"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(run, tmp_path, content, line, says):
    code, out, err = run(content)
    assert (code, out) == (2, "")
    error = the_error(err)
    assert f"{tmp_path / 'run.toml'}, line {line}: " in error
    assert says in error


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("epochs = 1\nlr = ", 2),
        ("epochs 3", 1),
        ("epochs = 1\nepochs = 2", 2),
        ("x = " + "[" * 99, 1),
    ],
)
def test_what_is_no_toml_is_said_with_file_and_line(run, tmp_path, content, line):
    code, out, err = run(content)
    assert (code, out) == (2, "")
    assert str(tmp_path / "run.toml") in the_error(err)
    assert re.search(rf"line {line}\b|end of document", the_error(err))


def test_deep_nesting_and_bytes_that_are_no_text(run, tmp_path):
    code, _, err = run(b"epochs = 1\nx = '\xff'")
    assert code == 2
    assert "line 2: not UTF-8" in the_error(err)
    code, _, err = run("x = " + "[" * 100_000)
    assert code == 2
    assert "run.toml" in the_error(err)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_file_that_cannot_be_read_is_input_output(capsys, tmp_path, make):
    make(tmp_path / "x.toml")
    assert cli.run(["train", "--config", str(tmp_path / "x.toml")]) == 74
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(tmp_path / "x.toml") in the_error(captured.err)


def test_a_mistake_in_the_file_counts_also_where_a_flag_beats_it(run):
    assert run("epochs = 'x'", "--epochs", "1")[0] == 2


def test_every_option_of_train_has_a_type_for_files():
    command = cli.cli.get_command(None, "train")
    for param in command.params:
        wanted, fits = config.type_of(param)
        assert wanted
        assert not fits({})
        assert not fits(None)
