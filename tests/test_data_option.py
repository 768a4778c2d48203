"""``xpnet train`` and ``xpnet evaluate`` on a user's own files, from end to end."""

from __future__ import annotations

import gzip
import importlib
import json
import os

import numpy as np
import pytest
from commands import little_mnist, the_error

from xpnet import DataError, Dataset, Huber, datasets, load
from xpnet.checkpoint import load_checkpoint
from xpnet.cli import sources

train_module = importlib.import_module("xpnet.cli.train")

FAST = ["--hidden", "8", "--epochs", "2", "--threads", "1"]


@pytest.fixture(autouse=True)
def small_mnist(monkeypatch):
    monkeypatch.setattr(datasets, "mnist", little_mnist)


@pytest.fixture
def train(invoke, tmp_path):
    """Train on a file: the result, as JSON, of a training that must succeed."""

    def train(path, *arguments):
        save = ["--save", tmp_path / "model"]
        code, out, err = invoke("train", "--data", path, *FAST, *save, "--json", *arguments)
        assert (code, err) == (0, "")
        return json.loads(out.splitlines()[-1])

    return train


@pytest.fixture
def refused(invoke, tmp_path):
    """Train on a file that must be refused: the exit code and the message; nothing is written."""

    def refused(path, *arguments):
        before = sorted(os.listdir(tmp_path))
        files = ["--save", tmp_path / "model", "--checkpoint", tmp_path / "checkpoint"]
        code, out, err = invoke("train", "--data", path, *FAST, *files, *arguments)
        assert out == ""
        assert sorted(os.listdir(tmp_path)) == before
        return code, the_error(err)

    return refused


def table(path, X, *columns, header=None):
    """Write columns, and behind them the features X, as a table."""
    rows = np.column_stack([*columns, X])
    lines = [",".join(f"{value:.9g}" for value in row) for row in rows]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return path


def two_blobs(n=60, seed=0):
    """Two classes that a line parts: X (n, 3), y (n,)."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return rng.normal(size=(n, 3)) + 3 * y[:, None], y


def idx(path, array):
    """Write a uint8 array as an IDX file."""
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


# ---- every kind of file ----------------------------------------------------------------------


def test_a_table_is_learnt_and_evaluated(train, invoke, tmp_path):
    path = table(tmp_path / "t.csv", *two_blobs())
    result = train(path, "--epochs", 30, "--lr", 0.02, "--batch-size", 10)
    assert result["train_accuracy"] > 0.9
    assert result["test_accuracy"] is None
    assert result["test_loss"] is None
    assert load(tmp_path / "model").network.n_out == 2
    code, out, err = invoke("evaluate", tmp_path / "model", "--data", path, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["samples"] == 60
    assert json.loads(out)["test_accuracy"] > 0.9
    code, out, _ = invoke("evaluate", tmp_path / "model", "--data", path)
    assert code == 0
    assert "on 60 samples" in out


def test_without_a_test_part_the_summary_says_nothing_of_one(invoke, tmp_path):
    path = table(tmp_path / "t.csv", *two_blobs())
    code, out, err = invoke("train", "--data", path, *FAST)
    assert (code, err) == (0, "")
    assert "test" not in out


@pytest.mark.parametrize("keras", [False, True])
def test_an_npz_is_tested_on_its_test_part(train, invoke, tmp_path, keras):
    X, y = two_blobs()
    names = ("x_train", "y_train") if keras else ("x", "y")
    parts = {**dict(zip(names, (X[:40], y[:40]), strict=True)), "x_test": X[40:], "y_test": y[40:]}
    np.savez(tmp_path / "t.npz", **parts)
    result = train(tmp_path / "t.npz")
    code, out, err = invoke("evaluate", tmp_path / "model", "--data", tmp_path / "t.npz", "--json")
    assert (code, err) == (0, "")
    evaluated = json.loads(out)
    assert evaluated["samples"] == 20
    assert evaluated["test_loss"] == result["test_loss"]
    assert evaluated["test_accuracy"] == result["test_accuracy"]


def test_idx_files_and_folders_of_them(train, invoke, tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 4, 5)), np.arange(30) % 3
    folder = tmp_path / "four"
    folder.mkdir()
    idx(folder / "train-images-idx3-ubyte.gz", images[:20])
    idx(folder / "train-labels-idx1-ubyte.gz", labels[:20])
    idx(folder / "t10k-images-idx3-ubyte.gz", images[20:])
    idx(folder / "t10k-labels-idx1-ubyte.gz", labels[20:])
    assert train(folder)["test_loss"] is not None
    model = load(tmp_path / "model")
    assert (model.network.n_in, model.network.n_out) == (20, 3)
    assert model.scale == pytest.approx(1 / 255)
    result = train(
        folder / "train-images-idx3-ubyte.gz", "--labels", folder / "train-labels-idx1-ubyte.gz"
    )
    assert result["test_loss"] is None
    config = load(tmp_path / "model").config
    assert config["data"]["labels"] == str(folder / "train-labels-idx1-ubyte.gz")
    assert config["data"]["range"] == [0, 255]


def test_columns_are_chosen_by_place_and_by_name(train, tmp_path):
    X, y = two_blobs()
    path = table(tmp_path / "t.csv", X, y, np.ones(60), header="kind,w,a,b,c")
    reports = [
        train(path, "--weight-column", "w"),
        train(path, "--weight-column", "w", "--label-column", "kind"),
        train(path, "--weight-column", "w", "--label-column", "first"),
    ]
    assert len({report["train_accuracy"] for report in reports}) == 1
    path = table(tmp_path / "last.csv", y, X)
    train(path, "--label-column", "last")
    assert load(tmp_path / "model").network.n_in == 3


# ---- what is learnt --------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_regression_has_no_accuracies(train, invoke, tmp_path, loss):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    path = table(tmp_path / "t.csv", X, 2 * X[:, 0] - X[:, 1] + 0.5)
    how = ["--loss", loss, "--test-split", 0.25, "--batch-size", 10, "--lr", 0.05]
    first = train(path, *how, "--epochs", 1)
    result = train(path, *how, "--epochs", 40)
    assert result["train_accuracy"] is None
    assert result["test_accuracy"] is None
    assert result["test_loss"] < 0.3 * first["test_loss"]
    model = load(tmp_path / "model")
    assert model.network.n_out == 1
    assert loss != "huber" or model.loss == Huber()
    evaluate = ["evaluate", tmp_path / "model", "--data", path]
    assert json.loads(invoke(*evaluate, "--json")[1])["test_accuracy"] is None
    assert "accuracy" not in invoke(*evaluate)[1]


def test_regression_with_several_outputs(train, tmp_path):
    X = np.random.default_rng(0).normal(size=(50, 2))
    path = table(tmp_path / "t.csv", X, X.sum(axis=1), X[:, 0] - 1, header="u,v,a,b")
    train(path, "--loss", "mse", "--label-column", "u,v")
    network = load(tmp_path / "model").network
    assert (network.n_in, network.n_out) == (2, 2)


def test_several_labels_a_sample(train, invoke, tmp_path):
    X = np.random.default_rng(0).normal(size=(80, 2))
    path = table(tmp_path / "t.csv", X, X[:, 0] > 0, X[:, 1] > 0, header="u,v,a,b")
    how = ["--label-column", "u,v"]
    result = train(path, "--loss", "bce", *how, "--epochs", 40, "--batch-size", 10, "--lr", 0.05)
    assert result["train_accuracy"] > 0.8
    assert load(tmp_path / "model").network.n_out == 2
    code, out, _ = invoke("evaluate", tmp_path / "model", "--data", path, *how, "--json")
    assert code == 0
    assert json.loads(out)["test_accuracy"] > 0.8


@pytest.fixture
def trained_on(monkeypatch):
    """The training sets that reach the training loop."""
    seen = []
    real = train_module.segments

    def segments(network, train, *arguments, **settings):
        seen.append(train)
        return real(network, train, *arguments, **settings)

    monkeypatch.setattr(train_module, "segments", segments)
    return seen


def test_standardised_features_have_mean_0_and_deviation_1(train, invoke, tmp_path, trained_on):
    X, y = two_blobs()
    X = X * [1, 100, 1e-3] + [0, 1e3, 5]
    result = train(table(tmp_path / "t.csv", X, y), "--standardise", "--test-split", 0.5)
    [seen] = trained_on
    assert seen.n == 30
    scaled = (seen.X - seen.shift) * seen.scale
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-3)
    model = load(tmp_path / "model")
    np.testing.assert_array_equal(model.shift, seen.shift)
    np.testing.assert_array_equal(model.scale, seen.scale)
    assert np.isfinite(result["test_loss"])


@pytest.mark.parametrize("backend", ["array-api-strict", "jax"])
def test_standardised_on_another_backend(train, invoke, tmp_path, backend):
    path = table(tmp_path / "t.csv", *two_blobs())
    how = ["--standardise", "--test-split", 0.5, "--dtype", "float64"]
    here = train(path, *how)
    there = train(path, *how, "--backend", backend)
    assert there["backend"] == backend
    assert there["test_loss"] == pytest.approx(here["test_loss"], rel=1e-9)
    for command in (["evaluate", tmp_path / "model", "--data"], ["predict", tmp_path / "model"]):
        more = ["--label-column", "1"] if command[0] == "predict" else []
        code, _, err = invoke(*command, path, *more, "--backend", backend)
        assert (code, err) == (0, "")


def test_the_scaling_of_the_model_is_used_to_evaluate(train, invoke, tmp_path):
    X, y = two_blobs()
    X = X * 100 + 1e3
    np.savez(tmp_path / "t.npz", x=X[:40], y=y[:40], x_test=X[40:], y_test=y[40:])
    result = train(tmp_path / "t.npz", "--standardise")
    np.savez(tmp_path / "other.npz", x=X[40:], y=y[40:])
    _, out, _ = invoke("evaluate", tmp_path / "model", "--data", tmp_path / "other.npz", "--json")
    assert json.loads(out)["test_loss"] == pytest.approx(result["test_loss"], rel=1e-6)


def test_class_weights_and_sample_weights_multiply(train, tmp_path, trained_on):
    X, y = two_blobs(40)
    y = (np.arange(40) < 10).astype(int)
    w = np.linspace(0.5, 2, 40)
    path = table(tmp_path / "t.csv", X, y, w, header="y,w,a,b,c")
    train(path, "--weight-column", "w", "--class-weights", "balanced")
    train(path, "--weight-column", "w", "--class-weights", "3,0.5")
    train(path, "--label-column", "y,w", "--loss", "mse")
    balanced, given, without = trained_on
    np.testing.assert_allclose(balanced.weight, w * np.where(y, 2, 2 / 3), rtol=1e-6)
    np.testing.assert_allclose(given.weight, w * np.where(y, 0.5, 3), rtol=1e-6)
    assert without.weight is None


def test_class_weights_for_yes_or_no(train, tmp_path, trained_on):
    X, y = two_blobs(40)
    train(table(tmp_path / "t.csv", X, y), "--loss", "bce", "--class-weights", "1,4")
    np.testing.assert_array_equal(trained_on[0].weight, np.where(y, 4, 1))


def test_class_weights_change_the_training_and_not_the_test(train, invoke, tmp_path):
    X, y = two_blobs()
    np.savez(tmp_path / "t.npz", x=X, y=y, x_test=X, y_test=y)
    result = train(tmp_path / "t.npz", "--class-weights", "100,1")
    _, out, _ = invoke("evaluate", tmp_path / "model", "--data", tmp_path / "t.npz", "--json")
    assert json.loads(out)["test_loss"] == result["test_loss"]


def test_a_sample_without_weight_does_not_count(train, tmp_path):
    """Samples with weight 0 and wrong labels leave the training as it is without their loss."""
    X, y = two_blobs(40)
    wrong = np.where(np.arange(40) % 4 < 2, y, 1 - y)
    w = (np.arange(40) % 4 < 2).astype(float)
    losses = []
    for labels in (y, wrong):
        path = table(tmp_path / "t.csv", X, labels, w, header="y,w,a,b,c")
        train(path, "--weight-column", "w", "--checkpoint", tmp_path / "c", "--batch-size", 40)
        losses.append(load_checkpoint(tmp_path / "c").run.reports[-1].train_loss)
        os.remove(tmp_path / "c")
    assert losses[0] == losses[1]


def test_a_test_split_is_seeded_and_not_trained_on(train, tmp_path, trained_on):
    path = table(tmp_path / "t.csv", *two_blobs())
    for seed in (0, 0, 1):
        assert train(path, "--test-split", 0.25, "--seed", seed)["test_loss"] is not None
    first, again, other = trained_on
    assert first.n == 45
    np.testing.assert_array_equal(first.X, again.X)
    assert not np.array_equal(first.X, other.X)


def test_classes_may_be_more_than_the_labels_show(train, tmp_path):
    path = table(tmp_path / "t.csv", *two_blobs())
    train(path, "--classes", 5, "--class-weights", "1,2,3,4,5")
    assert load(tmp_path / "model").network.n_out == 5


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ((1, 2), "no sample is of class 0, for which the network has an output, too: number them"),
        ((0, 2), "no sample is of class 1, for which the network has an output, too\n"),
        ((2, 5), "no sample is of 4 of 6 classes"),
        ((0, 1), None),
    ],
)
def test_classes_without_a_sample_are_remarked(invoke, tmp_path, labels, says):
    X, y = two_blobs()
    path = table(tmp_path / "t.csv", X, np.asarray(labels)[y.astype(int)])
    code, _, err = invoke("train", "--data", path, *FAST)
    assert code == 0
    assert f"{path}: {says}" in err if says else err == ""


def test_mnist_is_prepared_the_same_way(invoke, tmp_path, trained_on):
    how = ["--standardise", "--class-weights", "balanced", "--save", tmp_path / "m"]
    code, _, err = invoke("train", *FAST, *how)
    assert (code, err) == (0, "")
    assert trained_on[0].weight is not None
    assert load(tmp_path / "m").scale.shape == (784,)
    assert load(tmp_path / "m").config["data"] == "mnist"


def test_float64_reaches_the_weights(train, tmp_path):
    result = train(table(tmp_path / "t.csv", *two_blobs()), "--dtype", "float64")
    assert result["dtype"] == "float64"
    assert load(tmp_path / "model").theta.dtype == np.float64


# ---- what is refused -------------------------------------------------------------------------


def csv_with(text):
    def make(folder):
        (folder / "t.csv").write_text(text)
        return folder / "t.csv"

    return make


def npz_with(**arrays):
    def make(folder):
        np.savez(folder / "t.npz", **arrays)
        return folder / "t.npz"

    return make


X4, Y4 = np.eye(4) + 0.5, np.arange(4) % 2


@pytest.mark.parametrize(
    ("make", "arguments", "says"),
    [
        (csv_with(""), [], "t.csv"),
        (csv_with("label,a\n"), [], "t.csv"),
        (csv_with("0,1\n1,x\n"), [], "line 2"),
        (csv_with("0,1\n1,nan\n"), [], "line 2"),
        (csv_with("0,1\n1,2,3\n"), [], "line 2"),
        (csv_with("0,1\n-1,2\n"), [], "line 2"),
        (csv_with("0,1\n0.5,2\n"), [], "line 2"),
        (csv_with("0,1\n0,2\n"), [], "all 2 labels"),
        (csv_with("0,1\n9,2\n"), ["--classes", "5"], "t.csv: label 9 of sample 1"),
        (csv_with("0,1\n5000,2\n"), [], "highest of 2 labels is 5000"),
        (csv_with("0,1\n2,2\n"), ["--loss", "bce"], "between 0 and 1"),
        (csv_with("0,1e300\n1,2\n"), [], "too big for float32"),
        (csv_with("0,1,0\n1,2,0\n"), ["--weight-column", "3"], "weights are 0"),
        (csv_with("0,1,-1\n1,2,1\n"), ["--weight-column", "3"], "line 1"),
        (csv_with("0,1\n1,2\n" * 100), ["--max-bytes", "100"], "--max-bytes"),
        (npz_with(x=X4, y=Y4, x_test=X4, y_test=Y4 + 1), [], "the test part of"),
        (npz_with(x=X4, y=Y4, x_test=X4[:, :3], y_test=Y4), [], "features"),
        (npz_with(x=X4, y=Y4[:3]), [], "samples"),
        (npz_with(x=X4 + 1e300, y=Y4), ["--standardise"], "too big"),
        (lambda folder: folder / "nothing.bin", ["--labels", "y"], "nothing.bin"),
        (lambda folder: folder, [], "train-images"),
    ],
)
def test_bad_data_is_one_line_and_nothing_is_written(refused, tmp_path, make, arguments, says):
    path = make(tmp_path)
    code, error = refused(path, *arguments)
    assert says in error
    assert code == (65 if path.exists() else 74)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--label-column", "nobody"], "no column 'nobody'"),
        (["--label-column", "kidn"], "did you mean 'kind'"),
        (["--label-column", "kind,a"], "--loss softmax_xent"),
        (["--label-column", "kind,,a"], "empty"),
        (["--weight-column", "kind"], "column of their own"),
        (["--labels", "labels"], "labels"),
        (["--test-split", "0.001"], "cannot split"),
        (["--class-weights", "1,2,3"], "3 weights for 2 classes"),
        (["--class-weights", "0,0"], "nothing to learn"),
        (["--classes", "5", "--class-weights", "1,2"], "2 weights for 5 classes"),
        (["--classes", "9" * 30], "no memory"),
        (["--class-weights", "1,2", "--loss", "huber"], "--class-weights"),
    ],
)
def test_options_that_do_not_fit_the_data(refused, tmp_path, arguments, says):
    arguments = (
        arguments if "--label-column" in arguments else [*arguments, "--label-column", "kind"]
    )
    path = table(tmp_path / "t.csv", two_blobs()[0], two_blobs()[1], header="kind,a,b,c")
    code, error = refused(path, *arguments)
    assert code == 2
    assert says in error


def test_a_test_part_is_not_split_off_twice(refused, tmp_path):
    path = npz_with(x=X4, y=Y4, x_test=X4, y_test=Y4)(tmp_path)
    code, error = refused(path, "--test-split", 0.5)
    assert code == 2
    assert "a test part of its own" in error


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0,1,2\n1,2,3\n", "network takes 3 inputs"),
        ("0,1,2,3\n2,4,5,6\n", "label 2 of sample 1 is outside 0 .. 1"),
        ("0,1,2,3\n1,4,x,6\n", "line 2"),
    ],
)
def test_evaluate_says_what_does_not_fit_the_model(train, invoke, tmp_path, text, says):
    train(table(tmp_path / "t.csv", *two_blobs()))
    (tmp_path / "other.csv").write_text(text)
    code, out, err = invoke("evaluate", tmp_path / "model", "--data", tmp_path / "other.csv")
    assert (code, out) == (65, "")
    assert says in the_error(err)
    assert "other.csv" in err


def test_a_model_is_evaluated_on_samples_of_one_class(train, invoke, tmp_path):
    train(table(tmp_path / "t.csv", *two_blobs()))
    (tmp_path / "ones.csv").write_text("1,2,3,4\n1,3,2,2\n")
    code, _, err = invoke("evaluate", tmp_path / "model", "--data", tmp_path / "ones.csv")
    assert (code, err) == (0, "")


# ---- the data belong to the run --------------------------------------------------------------


@pytest.fixture
def resumable(invoke, tmp_path):
    """A table, and a function that trains on one with a checkpoint and --resume."""

    def resume(path, *arguments):
        checkpoint = ["--checkpoint", tmp_path / "c", "--resume"]
        code, _, err = invoke("train", "--data", path, *FAST, *checkpoint, *arguments)
        return code, err

    X, y = two_blobs()
    path = table(tmp_path / "t.csv", abs(X), y)
    assert resume(path) == (0, "")
    return path, resume


def test_the_same_samples_elsewhere_resume(resumable, tmp_path):
    path, resume = resumable
    os.rename(path, tmp_path / "moved.csv")
    assert resume(tmp_path / "moved.csv") == (0, "")


def test_other_samples_are_refused(resumable, tmp_path):
    path, resume = resumable
    before = (tmp_path / "c").read_bytes()
    X, y = two_blobs()
    X[17, 2] += 1e-3
    code, err = resume(table(path, abs(X), y))
    assert code == 2
    assert "was made with other data" in the_error(err)
    assert (tmp_path / "c").read_bytes() == before


def test_mnist_instead_of_a_file_is_refused(resumable, invoke, tmp_path):
    code, _, err = invoke("train", *FAST, "--checkpoint", tmp_path / "c", "--resume")
    assert code == 2
    assert "mnist here" in the_error(err)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--classes", "5"),
        ("--class-weights", "balanced"),
        ("--test-split", "0.25"),
        ("--label-column", "1"),
        ("--weight-column", "4"),
        ("--loss", "mse"),
        ("--standardise", None),
    ],
)
def test_other_preparations_are_refused_by_name(resumable, flag, value):
    path, resume = resumable
    code, err = resume(path, *([flag] if value is None else [flag, value]))
    assert code == 2
    assert f" {flag} is " in the_error(err)


def test_the_same_preparations_written_differently_resume(resumable):
    path, resume = resumable
    same = ["--label-column", "first", "--classes", "2", "--test-split", "0"]
    assert resume(path, *same) == (0, "")


def test_the_fingerprint_sees_values_shapes_and_dtypes():
    def fingerprint(X, y):
        spec = sources.describe_data(Dataset(X, y), None, data="x", labels=None)
        return spec["sha256"]

    X, y = np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(3)
    others = [
        (X + 1, y),
        (X.reshape(3, 4).astype(np.float64), y),
        (X.view(np.int32), y),
        (X[:, ::-1], y),
        (X, y[::-1]),
    ]
    prints = [fingerprint(*pair) for pair in [(X, y), *others]]
    assert len(set(prints)) == len(prints)
    assert fingerprint(np.asfortranarray(X), y) == prints[0]


def test_data_errors_say_which_data():
    with pytest.raises(DataError, match=r"^here: wrong$"), sources.refusing_data("here"):
        raise DataError("wrong")
