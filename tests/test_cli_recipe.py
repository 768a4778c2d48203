"""``xpnet recipe``: list, show, run; JSON lines, exit codes, plots, and what is refused."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest
from commands import lines_of, little_mnist, passes, refused, the_error

from xpnet import cli, datasets
from xpnet.cli.recipe import recipe as command
from xpnet.recipes import RECIPES, Band

GATE = "broken-chain-rule"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    for name in ("XPNET_BACKEND", "XPNET_DEVICE", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cli.cli.commands, "recipe", command)
    images = little_mnist()
    monkeypatch.setattr(datasets, "mnist", lambda: images)


@pytest.fixture
def recipe(capsys):
    """Run ``xpnet recipe`` in this process: exit code, stdout, stderr."""

    def recipe(*arguments):
        code = cli.run(["recipe", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return recipe


@pytest.fixture
def short(monkeypatch):
    """The gate's broken run takes ten epochs, and ends where ``low`` to ``high`` says."""

    def short(low, high):
        altered = dataclasses.replace(
            RECIPES[GATE],
            epochs={"broken": 10, "fixed": 10},
            bands={"broken": (Band("outputs", [low] * 4, [high] * 4),), "fixed": ()},
        )
        monkeypatch.setitem(RECIPES, GATE, altered)

    return short


# ---- list and show ---------------------------------------------------------------------------


def test_list(recipe):
    out = passes(recipe("list"))
    assert [line.split()[0] for line in out.splitlines()] == list(RECIPES)
    events = lines_of(passes(recipe("list", "--json")))
    assert [event["recipe"] for event in events] == list(RECIPES)
    assert all(event["event"] == "recipe" and event["bugs"] for event in events)


@pytest.mark.parametrize("name", RECIPES)
def test_show_says_all_there_is_in_80_columns(recipe, name):
    out = passes(recipe("show", name))
    assert max(len(line) for line in out.splitlines()) <= 80
    flat = " ".join(out.split())
    entry = RECIPES[name]
    texts = [*entry.posted, *entry.forensics, *entry.facts.values(), entry.answer]
    for bug in entry.bugs:
        texts += [f"wrong: {bug.wrong}", f"right: {bug.right}", bug.effect]
        texts += [f"{bug.name} (noticed: {bug.noticed}"]
    assert [text for text in texts if " ".join(text.split()) not in flat] == []
    assert out.count("not part of --broken") == sum(not bug.in_broken for bug in entry.bugs)


def test_show_as_json(recipe):
    [event] = lines_of(passes(recipe("show", "fake-momentum", "--json")))
    assert event["event"] == "recipe"
    assert {"facts", "posted", "answer", "forensics", "bands", "epochs"} < set(event)
    assert event["bugs"][0]["name"] == "fake-momentum"
    assert event["bugs"][0]["noticed"] == "nobody"
    assert event["bands"]["broken"][0] == {"figure": "loss", "low": 2.29, "high": 2.293}


# ---- run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_json_is_a_start_rows_and_a_result(recipe, name):
    out = passes(recipe("run", name, "--epochs", 2, "--json"))
    start, *rows, result = lines_of(out)
    assert start["event"] == "start"
    assert start["recipe"] == name
    assert start["bugs"] == sorted(bug.name for bug in RECIPES[name].bugs if bug.in_broken)
    assert {row["event"] for row in rows} == {"epoch"}
    assert rows[-1]["epoch"] == 2
    assert all({"epoch", "loss", "accuracy"} < set(row) for row in rows)
    assert set(result) == {"event", "recipe", "variant", "in_band", "outcome"}
    assert (result["event"], result["recipe"], result["variant"]) == ("result", name, "broken")
    assert result["in_band"] is None
    assert result["outcome"]["loss"] == pytest.approx(rows[-1]["loss"])


@pytest.mark.parametrize("name", RECIPES)
def test_fixed(recipe, name):
    *_, result = lines_of(passes(recipe("run", name, "--fixed", "--epochs", 1, "--json")))
    assert result["variant"] == "fixed"
    assert result["in_band"] is None
    figure = "outputs" if name == GATE else "test_accuracy"
    assert figure in result["outcome"]


def test_text_has_about_twenty_rows_and_ends_with_the_outcome(recipe):
    lines = passes(recipe("run", GATE, "--epochs", 1000)).splitlines()
    assert 20 <= len(lines) - 1 <= 22
    assert lines[0].startswith("epoch 1  loss ")
    assert lines[-2].startswith("epoch 1000  loss ")
    assert lines[-1].startswith(f"{GATE}, broken: loss ")
    assert lines[-1].endswith("; no band for this run")


@pytest.mark.parametrize(
    ("flag", "bugs"),
    [
        (["--only", "tiny-rate,signed-loss"], ["signed-loss", "tiny-rate"]),
        (["--only", " tiny-rate , tiny-rate"], ["tiny-rate"]),
        (
            ["--without", "tiny-rate,signed-loss,frozen-biases"],
            ["bias-per-sample", "product-of-sums", "skipped-weights"],
        ),
    ],
)
def test_only_and_without(recipe, flag, bugs, short):
    short(0.0, 0.0)
    start, *_, result = lines_of(passes(recipe("run", GATE, *flag, "--json")))
    assert start["bugs"] == bugs
    assert start["variant"] == result["variant"] == flag[0].removeprefix("--")
    assert result["in_band"] is None


def test_in_its_band_or_not(recipe, short):
    short(0.4, 0.6)
    for flags in ([], ["--broken"]):
        assert passes(recipe("run", GATE, *flags)).endswith("; in its band\n")
        assert lines_of(passes(recipe("run", GATE, *flags, "--json")))[-1]["in_band"] is True
    short(0.6, 0.7)
    code, out, err = recipe("run", GATE, "--json")
    assert code == 1
    assert lines_of(out)[-1]["in_band"] is False
    error = the_error(err)
    assert f"Error: {GATE}, broken, ended outside its band: outputs [0.5" in error
    assert "(expected [0.6, 0.6, 0.6, 0.6] to [0.7, 0.7, 0.7, 0.7])" in error
    code, out, _ = recipe("run", GATE)
    assert code == 1
    assert out.endswith("; OUTSIDE ITS BAND\n")
    for flags in (["--epochs", 10], ["--seed", 0], ["--only", "tiny-rate"]):
        assert lines_of(passes(recipe("run", GATE, *flags, "--json")))[-1]["in_band"] is None


def test_the_seed_decides_the_start(recipe):
    outcomes = [
        lines_of(passes(recipe("run", GATE, "--epochs", 3, "--seed", seed, "--json")))[-1][
            "outcome"
        ]
        for seed in (0, 0, 1)
    ]
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_another_backend(recipe):
    arguments = ["run", GATE, "--epochs", 3, "--json", "--backend"]
    numpy, strict = (
        lines_of(passes(recipe(*arguments, backend))) for backend in ("numpy", "array-api-strict")
    )
    assert strict[0]["backend"] == "array-api-strict"
    assert np.allclose(numpy[-1]["outcome"]["outputs"], strict[-1]["outcome"]["outputs"])


def test_code_that_stops_is_one_line(recipe):
    result = recipe("run", "transposed-gradient", "--only", "sum-over-outputs")
    assert "the update of b2 has shape (300,), but b2 has shape (10,)" in refused(result, 1)


def test_a_loss_that_is_not_finite_is_null(recipe, monkeypatch):
    def rows(*_):
        yield {"epoch": 1, "loss": float("nan"), "accuracy": 0.1}
        return {"loss": float("inf"), "outputs": [float("nan")] * 4}

    monkeypatch.setitem(RECIPES, GATE, dataclasses.replace(RECIPES[GATE], broken=rows))
    code, out, _ = recipe("run", GATE, "--json")
    _, row, result = lines_of(out)
    assert code == 1
    assert row["loss"] is None
    assert result["outcome"] == {"loss": None, "outputs": [None] * 4}
    assert result["in_band"] is False


# ---- plots -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start"), [("run.png", b"\x89PNG"), ("run.svg", b"<?xml"), ("Run.PDF", b"%PDF")]
)
def test_plot(recipe, tmp_path, name, start):
    passes(recipe("run", "fake-momentum", "--epochs", 2, "--plot", name))
    assert (tmp_path / name).read_bytes().startswith(start)


def test_plots_that_cannot_be_drawn_are_refused_before_the_run(recipe, monkeypatch):
    monkeypatch.setattr(importlib.import_module("xpnet.cli.recipe"), "follow", pytest.fail)
    for path, code, message in (
        ("nowhere/run.png", 74, "nowhere/run.png: No such file or directory: check the path"),
        ("run.pgn", 2, "run.pgn: the name says what kind of picture to draw: did you mean 'p"),
        ("run", 2, "run: the name says what kind of picture to draw: choose from"),
    ):
        assert message in refused(recipe("run", GATE, "--plot", path), code)


def test_without_matplotlib(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    error = refused(recipe("run", GATE, "--epochs", 1, "--plot", "run.png"))
    assert "a plot takes matplotlib" in error
    assert "pip install 'xpnet[plot]'" in error


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a command is missing"),
        (["rum"], "unknown command 'rum': did you mean 'run'?"),
        (["run"], "Missing argument 'NAME'"),
        (["run", "fake-momentun"], "unknown recipe 'fake-momentun': did you mean 'fake-momentum'?"),
        (["show", "x"], "unknown recipe 'x': choose from broken-chain-rule, fake-momentum"),
        (["run", GATE, "--broken", "--fixed"], "--broken and --fixed exclude each other"),
        (["run", GATE, "--fixed", "--only", "tiny-rate"], "--fixed and --only exclude each other"),
        (["run", GATE, "--only", "tiny-rat"], "'tiny-rat': did you mean 'tiny-rate'?"),
        (["run", GATE, "--without", "x"], "unknown bug of broken-chain-rule 'x': choose from"),
        (["run", GATE, "--only", ""], "one of the names is empty"),
        (["run", GATE, "--epochs", "0"], "--epochs must be a whole number >= 1, not 0"),
        (["run", GATE, "--epochs", "x"], "'x' is no whole number"),
        (["run", GATE, "--seed", "-1"], "seed must be a whole number >= 0, not -1"),
        (["run", GATE, "--backend", "nunpy"], "'nunpy': did you mean 'numpy'?"),
        (["run", GATE, "--backend", "numpy", "--device", "gpu"], "unknown device of NumPy 'gpu'"),
    ],
)
def test_refused(recipe, arguments, message):
    assert message in refused(recipe(*arguments))


def test_a_backend_that_is_not_installed(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    error = refused(recipe("run", GATE, "--backend", "torch"))
    assert "backend torch is not installed" in error
    assert "pip install 'xpnet[torch]'" in error
