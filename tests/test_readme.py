"""The README's Python example and what it says of the source."""

import csv
import pathlib
import re
import types

import numpy as np
import pytest
from sklearn import datasets
from test_pytest_plugin import EXAMPLE

import xpnet
from xpnet.cli import EXIT_CODES, run
from xpnet.mistakes import CATALOGUE
from xpnet.recipes import RECIPES

ROOT = pathlib.Path(xpnet.__file__).parent.parent
README = ROOT / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="needs a checkout with its README")


def text():
    return README.read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [example] = re.findall(r"```python\n(.*?)```", text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 12
    names = {}
    exec(example, names)
    accuracy = float(re.search(r"test accuracy ([\d.]+)", capsys.readouterr().out)[1])
    assert accuracy > 0.95
    assert np.array_equal(names["model"].theta, names["theta"])


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_the_way_to_the_named_bug_is_ten_lines_and_prints_what_it_says(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    part = text().split("## My network does not learn")[1].split("\n## ")[0]
    [example, drive] = re.findall(r"```py\n(.*?)```", part, re.DOTALL)
    assert len(example.splitlines()) <= 10
    train, _ = xpnet.mnist()
    rng = np.random.default_rng(0)
    names = {
        "np": np,
        "softmax": softmax,
        "x_train": train.X / 255,
        "y_train": train.y,
        "W1": rng.normal(size=(784, 10)),
        "b1": rng.normal(size=10),
        "W2": rng.normal(size=(10, 10)),
        "b2": rng.normal(size=10),
    }
    exec(example, names)
    [command] = re.findall(r"`xpnet (explain mine.npz [^`]*)`", part)
    assert run(command.split()) == 1
    assert capsys.readouterr().out.strip() in part
    made = RECIPES["transposed-gradient"].bench(rows=20).network
    net = types.SimpleNamespace(step=made.step, parameters=made.params)
    exec(
        drive, {"xpnet": xpnet, "net": net, "x": train.X[:20] / 255, "y": np.eye(10)[train.y[:20]]}
    )
    assert "dW2  transposed" in capsys.readouterr().out


def iris(path):
    """Fisher's irises as a table with the names of the species in the last column."""
    flowers = datasets.load_iris()
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*flowers.feature_names, "species"])
        for x, c in zip(flowers.data.tolist(), flowers.target, strict=True):
            rows.writerow([*x, flowers.target_names[c]])


def test_the_table_of_irises_is_learnt_as_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    iris(tmp_path / "iris.csv")
    commands = re.findall(r"^xpnet (.*iris\.csv.*)$", text(), re.MULTILINE)
    assert [run(command.split()) for command in commands] == [0, 0, 0]
    printed = capsys.readouterr().out
    shown = re.findall(r"^(iris\.\w+[: ].*\D)([\d.]+)(%| on 30 .*)$", text(), re.MULTILINE)
    assert len(shown) == 4
    for before, number, after in shown:
        [found] = re.findall(rf"^{re.escape(before)}([\d.]+){re.escape(after)}$", printed, re.M)
        assert float(found) == pytest.approx(float(number), rel=0.02), before


def test_the_number_of_mistakes_is_what_it_says():
    assert f"knows {len(CATALOGUE)} mistakes" in text()


def test_the_two_commands_stand_alone():
    commands = [line for line in text().splitlines() if line.startswith("python3 -m venv")]
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/xpnet train",
        'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/pytest',
    ]


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!http)([^)]+)\)", text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_exit_code_is_listed():
    listed = {int(code) for code in re.findall(r"\| (\d+) \|", text())}
    assert listed == set(EXIT_CODES)


def test_the_table_of_backends_is_what_the_command_prints(capsys):
    assert run(["backends", "--markdown"]) == 0
    assert capsys.readouterr().out.strip() in text()


def test_the_fixture_is_shown_as_it_is_tested():
    assert EXAMPLE.strip() in text()


def test_every_activation_is_listed():
    assert all(re.search(rf"\b{name}\b", text()) for name in xpnet.ACTIVATIONS)
