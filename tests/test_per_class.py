"""``xpnet evaluate --per-class``: what was taken for what, held against scikit-learn's matrix."""

from __future__ import annotations

import json

import numpy as np
import pytest
from commands import passes, the_error
from sklearn.metrics import confusion_matrix

import xpnet
from xpnet.cli.per_class import confusion, print_classes

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=(500, 4))
LABELS = RNG.integers(0, 4, 500)


def check(**change):
    """The matrix is scikit-learn's; ``change`` plants a fault in what is compared."""
    blocks = [LOGITS[:300], LOGITS[300:]]
    ours = confusion(xpnet.SoftmaxCrossEntropy(), change.get("y", LABELS), blocks)
    np.testing.assert_array_equal(ours, confusion_matrix(LABELS, LOGITS.argmax(axis=1)))


def test_it_is_the_matrix_of_scikit_learn():
    check()
    check(y=np.eye(4)[LABELS])


def test_another_label_is_noticed():
    with pytest.raises(AssertionError):
        check(y=np.roll(LABELS, 1))


def test_one_output_has_two_classes():
    z, q = RNG.normal(size=(50, 1)), RNG.integers(0, 2, 50)
    for target in (q, q[:, None].astype(float)):
        ours = confusion(xpnet.BinaryCrossEntropy(), target, [z])
        np.testing.assert_array_equal(ours, confusion_matrix(q, z[:, 0] > 0))


@pytest.mark.parametrize(
    ("loss", "n_out"), [(xpnet.MeanSquaredError(), 1), (xpnet.BinaryCrossEntropy(), 3)]
)
def test_without_one_class_a_sample_there_is_none(loss, n_out):
    with pytest.raises(xpnet.UsageError, match="gives each sample one class"):
        confusion(loss, np.zeros((5, n_out)), [np.zeros((5, n_out))])


def test_the_table_has_a_line_for_each_class_with_samples(capsys):
    print_classes(np.asarray([[3, 1, 0], [0, 0, 0], [0, 0, 1200]]), ["[red]", "none", "blue"])
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in rows(capsys)]
    assert lines == [["[red]", "4", "75.00%", "none (1)"], ["blue", "1,200", "100.00%", ""]]


def rows(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]


@pytest.fixture
def model(tmp_path):
    """A table of three named kinds, and a model trained on it."""
    X = np.random.default_rng(0).normal(size=(90, 2)) + 2 * (np.arange(90) % 3)[:, None]
    kinds = np.asarray(["ash", "elm", "oak"])[np.arange(90) % 3]
    path = tmp_path / "trees.csv"
    path.write_text("".join(f"{k},{a:.6g},{b:.6g}\n" for k, (a, b) in zip(kinds, X, strict=True)))
    return path, tmp_path / "model"


def test_the_command_prints_it_and_gives_it_to_programs(invoke, model):
    data, path = model
    train = ["--epochs", 3, "--hidden", 4, "--threads", 1, "--save", path]
    passes(invoke("train", "--data", data, *train))
    out = passes(invoke("evaluate", path, "--data", data, "--per-class"))
    assert [line.split()[1] for line in out.splitlines() if line[0] == "│"] == ["ash", "elm", "oak"]
    result = json.loads(passes(invoke("evaluate", path, "--data", data, "--per-class", "--json")))
    matrix = np.asarray(result["confusion"])
    assert matrix.sum(axis=1).tolist() == [30, 30, 30]
    assert np.trace(matrix) / 90 == pytest.approx(result["test_accuracy"])
    assert "confusion" not in json.loads(passes(invoke("evaluate", path, "--data", data, "--json")))


def test_a_regression_is_refused(invoke, tmp_path):
    data, path = tmp_path / "t.csv", tmp_path / "model"
    data.write_text("".join(f"{x / 7},{x}\n" for x in range(20)))
    passes(invoke("train", "--data", data, "--loss", "mse", "--epochs", 1, "--save", path))
    code, out, err = invoke("evaluate", path, "--data", data, "--per-class")
    assert (code, out) == (2, "")
    assert "--per-class needs a model" in the_error(err)
