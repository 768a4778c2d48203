"""``xpnet doctor`` and ``xpnet train --doctor``: logs of every kind, verdicts, exit codes."""

import contextlib
import gzip
import hashlib
import io
import json
import math

import numpy as np
import pytest
from commands import little_mnist, the_error
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpnet import Dense, LayerNorm, Network, datasets, load, mlp
from xpnet.errors import DataError
from xpnet.symptoms import CHECKS, vitals
from xpnet.symptoms.facts import MNIST
from xpnet.symptoms.log import read_log

POST = "epoch,Train Accuracy,Train Cost,Test Accuracy\n" + "".join(
    f"{i},10.22%,3.86,10.1%\n" for i in range(4)
)
GOOD = "epoch,loss,accuracy\n1,0.53,85.5 %\n2,0.13,96.0 %\n3,0.08,97.4 %\n4,0.04,98.7 %\n"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "mnist", little_mnist)


@pytest.fixture
def doctor(invoke, tmp_path):
    """Run ``xpnet doctor`` on a log, a text or bytes: exit code, stdout, stderr."""

    def doctor(log, *arguments, name="log.csv"):
        path = tmp_path / name
        path.write_bytes(log if isinstance(log, bytes) else log.encode())
        return invoke("doctor", "--csv", path, *arguments)

    return doctor


def verdicts_of(result):
    """The verdicts of one JSON object by name; the exit code goes with them."""
    code, out, err = result
    [line] = out.splitlines()
    event = json.loads(line)
    assert event.pop("event") == "doctor"
    verdicts = {verdict["name"]: verdict for verdict in event.pop("verdicts")}
    assert not event
    keys = {"name", "level", "evidence", "meaning", "remedy"}
    assert all(set(verdict) == keys for verdict in verdicts.values())
    serious = any(verdict["level"] != "hint" for verdict in verdicts.values())
    assert code == int(serious)
    assert err.startswith("Error: the run is not well: ") == serious
    return verdicts


def test_a_post_is_named_for_people(doctor):
    code, out, err = doctor(POST, "--classes", 10)
    assert code == 1
    said = " ".join(out.split())
    assert "4 records of step, accuracy (in percent), loss, test_accuracy (in percent)" in said
    assert "certain: constant-prediction" in said
    assert "the share of class 3 in MNIST" in said
    assert "likely: hidden-state" in said
    error = the_error(err)
    assert error.startswith("Error: the run is not well: flat-loss, constant-prediction, hidden")


def test_a_post_is_named_for_programs(doctor):
    verdicts = verdicts_of(doctor(POST, "--classes", 10, "--json"))
    assert verdicts["flat-loss"]["level"] == "certain"
    assert "3.86" in verdicts["flat-loss"]["evidence"]


def test_a_healthy_log_ends_with_0(doctor):
    code, out, err = doctor(GOOD, "--classes", 10)
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == "nothing is wrong as far as these numbers show"
    assert verdicts_of(doctor(GOOD, "--json")) == {}


def test_a_hint_ends_with_0(doctor):
    log = "loss,val_loss\n0.5,0.3\n0.1,0.07\n0.01,0.08\n"
    verdicts = verdicts_of(doctor(log, "--json"))
    assert {name: v["level"] for name, v in verdicts.items()} == {"overfitting": "hint"}


LOGS = {
    "tabs": POST.replace(",", "\t"),
    "semicolons": POST.replace(",", ";"),
    "byte order mark": "\ufeff" + POST,
    "crlf": POST.replace("\n", "\r\n"),
    "blanks": POST.replace(" ", "_").replace(",", "  ").replace("%", " %"),
    "spaces": POST.replace(",", " , "),
    "quotes": POST.replace("10.22%", '"10.22 %"'),
    "blank lines": POST.replace("\n", "\n\n"),
    "another column": POST.replace("\n", ",12:30\n").replace(",12:30", ",time", 1),
    "no step": "\n".join(line.partition(",")[2] for line in POST.splitlines()),
    "json": "".join(
        json.dumps({"epoch": i, "loss": 3.86, "accuracy": 0.1022, "test_accuracy": 0.101}) + "\n"
        for i in range(4)
    ),
}


LOGS["printed"] = "".join(
    f"Epoch: {i}, Train Accuracy: 10.22%, Train Cost: 3.86, Test Accuracy: 10.1%\n"
    for i in range(4)
)
LOGS["printed by Keras"] = "loading\n" + "".join(
    f"Epoch {i}/4\n1875/1875 - 3s - loss: 3.86 - accuracy: 0.1022 - test_accuracy: 0.101\n"
    for i in range(1, 5)
)


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
def test_logs_of_every_kind_are_read(doctor, log):
    verdicts = verdicts_of(doctor(log, "--classes", 10, "--json"))
    assert {"flat-loss", "constant-prediction", "hidden-state"} <= set(verdicts)


@pytest.mark.parametrize(
    ("log", "steps", "losses"),
    [
        (LOGS["printed by Keras"], [1, 2, 3, 4], [3.86] * 4),
        ("Epoch 1/9\nEpoch 2/9\nloss: 0.3\nEpoch 3/9\n", [2], [0.3]),
        ("Epoch 1/9\nloss: 0.3\nloss: 0.2\n", [1], [0.3, 0.2]),
    ],
)
def test_a_step_above_its_figures_is_of_their_record(log, steps, losses):
    history = read_log("log", io.BytesIO(log.encode()))
    assert history.n == len(losses)
    assert history.series["step"].values.tolist() == steps
    assert history.series["loss"].values.tolist() == losses


def test_a_gzipped_log(doctor):
    assert verdicts_of(doctor(gzip.compress(POST.encode()), "--json", name="log.csv.gz"))


def test_what_the_training_prints_is_a_log(invoke, tmp_path):
    code, out, _ = invoke(*TINY, "--validation-split", 0.2)
    assert code == 0
    history = read_log(tmp_path / "log", io.BytesIO(out.encode()))
    assert history.n == 3
    lengths = {name: len(series.values) for name, series in history.series.items()}
    assert lengths == {
        "step": 2, "loss": 2, "accuracy": 2, "val_loss": 2, "val_accuracy": 2, "test_loss": 1,
        "test_accuracy": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "log",
    ["2.3\n1.9\nnan\n", "0,2.3\n1,1.9\n2,nan\n", "0\t2.3\n1\t1.9\n2\tinf", "0 2.3\n1 1.9\n2 nan\n"],
)
def test_bare_columns_are_losses(doctor, log):
    assert "record 3 of 3" in verdicts_of(doctor(log, "--json"))["not-finite"]["evidence"]


def test_empty_cells_are_not_nan(doctor):
    for mark in ",\t;":
        log = "loss,val_loss\n2.3,\n1.9,2.0\n,\n1.2,-\n".replace(",", mark)
        assert verdicts_of(doctor(log, "--json")) == {}


def test_standard_input(invoke, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(POST.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert "flat-loss" in verdicts_of(invoke("doctor", "--csv", "-", "--json"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    code, _, err = invoke("doctor", "--csv", "-")
    assert code == 65
    assert "standard input: the log is empty" in the_error(err)


def test_labels_from_files_of_every_kind(doctor, tmp_path):
    log = "loss,test accuracy\n2.09,8.92\n"
    labels = np.repeat(np.arange(10, dtype=np.uint8), MNIST["test_accuracy"])
    np.save(tmp_path / "labels.npy", labels)
    np.savetxt(tmp_path / "labels.csv", labels, fmt="%d", header="label", comments="")
    np.savetxt(tmp_path / "onehot.txt", np.eye(10, dtype=int)[labels], fmt="%d", delimiter=",")
    idx = b"\0\0\x08\x01" + len(labels).to_bytes(4, "big") + labels.tobytes()
    (tmp_path / "labels.idx1-ubyte").write_bytes(idx)
    for name in ("labels.npy", "labels.csv", "onehot.txt", "labels.idx1-ubyte"):
        for option in ("--labels", "--test-labels"):
            verdicts = verdicts_of(doctor(log, option, tmp_path / name, "--json"))
            assert verdicts["constant-prediction"]["level"] == "likely"
            assert verdicts["constant-prediction"]["evidence"].endswith("the share of class 5")


def test_what_else_is_known_lets_it_see_more(doctor):
    log = f"loss\n{128 * math.log(10)}\n200\n100\n"
    known = ("--classes", 10, "--batch-size", 128, "--learning-rate", 0.1, "--momentum", 0.9)
    verdicts = verdicts_of(doctor(log, *known, "--json"))
    assert verdicts["summed-loss"]["level"] == "certain"
    assert "0.1 * 128 / 0.1 = 128" in verdicts["summed-gradient"]["evidence"]
    assert "summed-loss" not in verdicts_of(doctor(log, *known, "--loss", "mse", "--json"))


def test_the_list_has_every_verdict(invoke):
    code, out, err = invoke("doctor", "--list")
    assert (code, err) == (0, "")
    assert [line.partition(":")[0] for line in out.splitlines()] == list(CHECKS)
    code, out, _ = invoke("doctor", "--list", "--json")
    assert [json.loads(line)["name"] for line in out.splitlines()] == list(CHECKS)


WRONG = {
    "an empty log": ("", "the log is empty"),
    "only blank lines": ("\n \n", "the log is empty"),
    "a header alone": ("epoch,loss\n", "the history is empty"),
    "no known column": ("a,b\n1,2\n", "no column is called loss or accuracy, but 'a, b'"),
    "steps alone": ("epoch,lr\n1,0.1\n", "no loss and no accuracy"),
    "a ragged line": ("epoch,loss\n1,2.3\n2,2.2,7\n", "line 3 has 3 cells, but there are 2"),
    "a short line": ("epoch,loss,accuracy\n1,2.3\n", "line 2 has 2 cells, but there are 3"),
    "a text among numbers": (
        "epoch,loss\n1,2.3\n2,much\n",
        "loss of record 2 is no number: 'much'",
    ),
    "many bare columns": ("1,2,3\n", "3 columns without a header"),
    "two that do not count": ("0.5,2.3\n0.6,2.2\n", "2 columns without a header"),
    "an accuracy of 200": ("loss,accuracy\n1,200\n", "accuracy is 200"),
    "an open quote": ('epoch,loss\n1,"2.3\n', "line 2: damaged cell"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff\xfe", "no UTF-8 text"),
    "half an object": ('{"loss": 1.0}\n{"loss": \n', "line 2 is no JSON object"),
    "no object": ('{"loss": 1.0}\n[1]\n', "line 2 is no JSON object"),
    "deep nesting": ('{"loss": 1.0}\n' + "[" * 100_000 + "\n", "line 2 is no JSON object"),
    "a damaged gzip": (b"\x1f\x8b no", "damaged gzip"),
}


@pytest.mark.parametrize(("log", "said"), WRONG.values(), ids=WRONG)
def test_bad_logs_are_refused_in_one_line(doctor, log, said):
    name = "log.csv.gz" if "gzip" in said else "log.csv"
    code, out, err = doctor(log, name=name)
    assert (code, out) == (65, "")
    assert said in the_error(err)
    assert name in err


BAD_LABELS = {
    "out of range": (np.array([0, 3, 10]), "label 10 of sample 2 is no whole number in 0 .. 9"),
    "negative": (np.array([0, -3]), "label -3 of sample 1"),
    "fractions": (np.array([0.5]), "label 0.5 of sample 0"),
    "none": (np.zeros(0), "give one class label a sample"),
    "of three axes": (np.zeros((2, 2, 2)), "shape (2, 2, 2)"),
    "texts": (np.array(["a"]), "give one class label a sample"),
    "objects": (np.array([{}]), "no .npy file of numbers"),
}


@pytest.mark.parametrize(("labels", "said"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused_in_one_line(doctor, tmp_path, labels, said):
    np.save(tmp_path / "y.npy", labels, allow_pickle=True)
    code, _, err = doctor(GOOD, "--classes", 10, "--labels", tmp_path / "y.npy")
    assert code == 65
    assert said in the_error(err)
    assert "y.npy" in err


@pytest.mark.parametrize(
    ("name", "content"), [("y.npy", b"no"), ("y.csv", b"a\nb\n"), ("y", b"no")]
)
def test_files_that_hold_no_labels(doctor, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    code, _, err = doctor(GOOD, "--labels", tmp_path / name)
    assert code == 65
    assert name in the_error(err)


def test_files_that_are_not_there(invoke, doctor):
    code, _, err = invoke("doctor", "--csv", "nowhere.csv")
    assert code == 74
    assert "nowhere.csv" in the_error(err)
    code, _, err = doctor(GOOD, "--labels", "nowhere.npy")
    assert code == 74
    assert "nowhere.npy" in the_error(err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--csv FILE is missing"),
        (["--classes", "1"], "--classes must be a whole number >= 2"),
        (["--batch-size", "0"], "--batch-size"),
        (["--learning-rate", "0"], "--learning-rate"),
        (["--momentum", "1"], "--momentum"),
        (["--loss", "softmax"], "did you mean 'softmax_xent'"),
    ],
)
def test_senseless_options_are_refused(invoke, arguments, said):
    code, _, err = invoke("doctor", *arguments)
    assert code == 2
    assert said in the_error(err)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(st.binary(max_size=60), st.text('0123456789.,;\n\t%-e{}":lossacc', max_size=60)))
def test_no_bytes_make_the_reader_stumble(tmp_path, content):
    log = io.BytesIO(content if isinstance(content, bytes) else content.encode())
    with contextlib.suppress(DataError):
        assert read_log(tmp_path / "log", log).n > 0


# ---- xpnet train --doctor ----------------------------------------------------------------------

TINY = ["train", "--hidden", "8", "--threads", "1", "--epochs", "2"]


def blobs_file(tmp_path):
    """A table of three clouds of points that are easily told apart."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    X = 3 * rng.normal(size=(3, 4))[y] + rng.normal(size=(300, 4))
    path = tmp_path / "blobs.csv"
    np.savetxt(path, np.column_stack([y, X]), delimiter=",", fmt=["%d"] + ["%.4f"] * 4)
    return path


def test_a_healthy_training_with_the_doctor(invoke, tmp_path):
    options = ["--data", blobs_file(tmp_path), "--test-split", 0.2, "--lr", 0.01, "--epochs", 8]
    options += ["--batch-size", 16]
    code, out, err = invoke(*TINY, *options, "--doctor")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "nothing is wrong as far as these numbers show"
    code, out, _ = invoke(*TINY, *options, "--doctor", "--json")
    *_, result, verdicts = map(json.loads, out.splitlines())
    assert result["event"] == "result"
    assert verdicts == {"event": "doctor", "verdicts": []}


@pytest.mark.parametrize(
    "options",
    [[], ["--dropout", "0.3"], ["--early-stopping", "2"], ["--backend", "array-api-strict"]],
)
def test_the_doctor_changes_no_bit_of_the_model(invoke, tmp_path, options):
    digests = []
    for extra in ([], ["--doctor"]):
        path = tmp_path / "model.safetensors"
        code, _, err = invoke(*TINY, *options, *extra, "--save", path)
        assert (code, err) == (0, "")
        model = load(path)
        config = {**model.config, "machine": None}  # it tells every BLAS the tests have loaded
        digests.append((hashlib.sha256(model.theta.tobytes()).hexdigest(), config))
    assert digests[0] == digests[1]


def test_a_broken_training_is_named(invoke):
    code, out, _ = invoke(*TINY, "--init", "zeros", "--doctor", "--json")
    verdicts = {v["name"]: v for v in json.loads(out.splitlines()[-1])["verdicts"]}
    assert code == 0
    assert verdicts["broken-symmetry"]["level"] == "certain"
    assert "frozen-parameters" in verdicts


def test_the_origin_of_a_nan_comes_before_the_error(invoke):
    diverges = ["--optimizer", "sgd", "--lr", "1e30", "--doctor"]
    code, out, err = invoke(*TINY, *diverges)
    assert code == 1
    assert "certain: not-finite" in out
    assert "at step 2 of epoch 1" in out
    assert "the loss is no longer finite at step 2" in the_error(err)
    code, out, _ = invoke(*TINY, *diverges, "--json")
    assert code == 1
    assert json.loads(out.splitlines()[-1])["verdicts"][0]["name"] == "not-finite"


def test_a_resumed_training_can_be_watched(invoke):
    checkpointed = [*TINY, "--checkpoint", "run.safetensors", "--doctor", "--json"]
    code, _, _ = invoke(*checkpointed)
    assert code == 0
    code, out, _ = invoke(*checkpointed, "--resume")  # nothing is left to do
    assert code == 0
    assert json.loads(out.splitlines()[-1])["event"] == "doctor"


def test_json_lines_of_a_training_are_a_log(invoke, doctor, tmp_path):
    code, out, _ = invoke(*TINY, "--init", "zeros", "--epochs", 6, "--json")
    assert code == 0
    history = read_log(tmp_path / "log", io.BytesIO(out.encode()))
    assert history.n == 6
    assert len(history.series["loss"].values) == 6
    assert len(history.series["test_accuracy"].values) == 1
    assert "plateau-at-chance" in verdicts_of(doctor(out, "--classes", 10, "--json"))


def test_regression_can_be_watched(invoke, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    np.savez(tmp_path / "real.npz", x=X, y=X @ rng.normal(size=(3, 2)))
    options = ["--data", tmp_path / "real.npz", "--loss", "mse", "--lr", 0.01, "--epochs", 10]
    code, out, err = invoke(*TINY, *options, "--batch-size", 16, "--doctor")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "nothing is wrong as far as these numbers show"


def test_vitals_cover_networks_with_dropout_and_norm():
    """Layers that are not Dense are passed through."""
    network = Network(4, [Dense(8, "tanh"), LayerNorm(), Dense(3)])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 4)).astype(np.float32)
    seen = vitals(network, network.init(0), x, rng.integers(0, 3, 20).astype(np.int32))
    assert [layer.name for layer in seen.layers] == ["layers.0", "layers.2"]
    assert (
        vitals(mlp(4, 8, 3, dropout=0.5), mlp(4, 8, 3).init(0), x, np.zeros(20, np.int32)).n == 20
    )
