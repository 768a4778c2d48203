"""``xpnet evaluate --part``: the samples that a training split off, found again by its model."""

from __future__ import annotations

import numpy as np
import pytest
from commands import lines_of, little_mnist, passes, refused

from xpnet import Model, datasets, mlp, save
from xpnet.checkpoint import load_checkpoint

FAST = ["--hidden", "8", "--epochs", "3", "--threads", "1", "--backend", "numpy"]


@pytest.fixture(autouse=True)
def small_mnist(monkeypatch):
    monkeypatch.setattr(datasets, "mnist", little_mnist)


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    kinds = np.where(X[:, 0] + rng.normal(size=100) > 0, "pine", "oak")
    rows = [f"{k},{','.join(f'{x:.6g}' for x in row)}" for k, row in zip(kinds, X, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["kind,a,b,c", *rows]) + "\n")
    return tmp_path / "t.csv"


@pytest.fixture
def evaluate(invoke, tmp_path):
    def evaluate(*arguments):
        [found] = lines_of(passes(invoke("evaluate", tmp_path / "m", *arguments, "--json")))
        return found

    return evaluate


def trained(invoke, tmp_path, *options):
    """The result of a training, as JSON."""
    save = ["--save", tmp_path / "m", "--checkpoint", tmp_path / "c", "--json"]
    return lines_of(passes(invoke("train", *FAST, *options, *save)))[-1]


@pytest.mark.parametrize("seed", [0, 5])
def test_the_parts_are_those_of_the_training(invoke, evaluate, tmp_path, table, seed):
    split = ["--test-split", "0.2", "--validation-split", "0.25", "--seed", seed]
    result = trained(invoke, tmp_path, "--data", table, "--standardise", *split)
    found = {
        part: evaluate("--data", table, "--part", part) for part in ("train", "validation", "test")
    }
    assert {part: line["samples"] for part, line in found.items()} == {
        "train": 60,
        "validation": 20,
        "test": 20,
    }
    assert found["test"]["test_loss"] == result["test_loss"]
    assert found["test"]["test_accuracy"] == result["test_accuracy"]
    assert found["test"]["part"] == "test"
    reports = load_checkpoint(tmp_path / "c").run.reports
    best = min(reports, key=lambda report: report.val_loss)  # the epoch that the model is of
    assert found["validation"]["test_loss"] == pytest.approx(best.val_loss, rel=1e-6)
    assert found["validation"]["test_accuracy"] == best.val_accuracy
    assert len({line["test_loss"] for line in found.values()}) == 3
    assert evaluate("--data", table)["samples"] == 100
    assert evaluate("--data", table)["part"] is None


def test_the_parts_of_mnist_and_of_an_npz(invoke, evaluate, tmp_path):
    result = trained(invoke, tmp_path, "--validation-split", "0.1")
    assert evaluate("--part", "validation")["samples"] == 30
    assert evaluate("--part", "test")["test_loss"] == result["test_loss"]
    assert evaluate("--part", "train")["samples"] == 270
    train, test = little_mnist()
    np.savez(tmp_path / "t.npz", x=train.X, y=train.y, x_test=test.X, y_test=test.y)
    (tmp_path / "c").unlink()
    trained(invoke, tmp_path, "--data", tmp_path / "t.npz")
    assert evaluate("--data", tmp_path / "t.npz", "--part", "train")["samples"] == 300
    assert evaluate("--data", tmp_path / "t.npz", "--part", "test")["samples"] == 100


def test_a_checkpoint_and_a_moved_table_do_as_well(invoke, tmp_path, table):
    trained(invoke, tmp_path, "--data", table, "--test-split", "0.2")
    table.rename(tmp_path / "moved.csv")
    how = ["--data", tmp_path / "moved.csv", "--part", "test"]
    out = passes(invoke("evaluate", tmp_path / "c", *how))
    assert out.strip().endswith("on 20 samples of the test part")


def test_other_samples_are_refused(invoke, tmp_path, table):
    trained(invoke, tmp_path, "--data", table, "--test-split", "0.2")
    header, first, second, *rest = table.read_text().splitlines()
    table.write_text("\n".join([header, second, first, *rest]))
    error = refused(invoke("evaluate", tmp_path / "m", "--data", table, "--part", "test"), 65)
    assert "not the samples of the training" in error


def test_a_part_that_the_training_had_not_is_refused(invoke, tmp_path, table):
    trained(invoke, tmp_path, "--data", table, "--test-split", "0.2")
    error = refused(invoke("evaluate", tmp_path / "m", "--data", table, "--part", "validation"))
    assert "the training had no validation part" in error
    assert "did you mean 'test'" in refused(
        invoke("evaluate", tmp_path / "m", "--data", table, "--part", "tset")
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"data": "mnist"},
        {"data": 3, "options": {"seed": 0, "test_split": 0.1, "validation_split": 0.1}},
        {"data": "mnist", "options": {"seed": "0", "test_split": 0.1, "validation_split": 0.1}},
        {"data": "mnist", "options": [1]},
    ],
)
def test_a_model_that_says_nothing_of_its_training_is_refused(invoke, tmp_path, config):
    network = mlp(784, 10)
    save(tmp_path / "m", Model(network, network.init(), config=config))
    error = refused(invoke("evaluate", tmp_path / "m", "--part", "test"))
    assert "the model does not say how its samples were split" in error


def test_a_model_of_other_samples_than_mnist_asks_for_them(invoke, tmp_path):
    save(tmp_path / "m", Model(mlp(3, 2), mlp(3, 2).init()))
    error = refused(invoke("evaluate", tmp_path / "m"), 65)
    assert "m takes 3 inputs, and the images of MNIST have 784 pixels: give the samples" in error
