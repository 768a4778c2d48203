"""Labels that are names: numbered in sorted order, kept with the model, and refused if unknown."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from commands import lines_of, passes, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from xpnet import (
    BinaryCrossEntropy,
    CheckpointError,
    DataError,
    Dataset,
    Model,
    SoftmaxCrossEntropy,
    UsageError,
    fit,
    load,
    mlp,
    save,
    tensorfile,
)
from xpnet.checkpoint import load_checkpoint
from xpnet.datasets import read

FAST = ["--hidden", "8", "--epochs", "2", "--threads", "1", "--backend", "numpy"]
NAMES = ("ash", "birch", "cedar")
CELLS = ["cedar,1.5,2", "ash,3,4", "birch,5,6", "ash,7,8"]
NUMBERS = [2, 0, 1, 0]
X = np.array([[1.5, 2], [3, 4], [5, 6], [7, 8]])


def text(lines, header="tree,a,b"):
    return "\n".join([*([header] if header else []), *lines]) + "\n"


def table(folder, lines=CELLS, header="tree,a,b", name="t.csv"):
    (folder / name).write_text(text(lines, header))
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("names")


# ---- tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        text(CELLS),
        text(CELLS, header=None),
        text(CELLS).replace(",", ";"),
        text(CELLS).replace("cedar", '"cedar"'),
        text(CELLS).replace("ash", " ash "),
        text(CELLS).replace("\n", "\r\n"),
    ],
)
def test_names_are_numbered_in_sorted_order(folder, content):
    (folder / "t.csv").write_bytes(content.encode())
    data = read(folder / "t.csv").train
    assert data.names == NAMES
    assert data.y.tolist() == NUMBERS
    assert data.y.dtype == np.int32
    np.testing.assert_array_equal(data.X, X)


WORDS = st.text(st.characters(blacklist_categories=("C", "Z")), min_size=1, max_size=5).filter(
    lambda word: not word.startswith(("\ufeff",))
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(words=st.lists(WORDS, min_size=2, max_size=9), seed=st.integers(0, 9))
def test_the_numbers_are_those_of_numpy_unique(folder, words, seed):
    words = [f"x{word}" for word in words]  # no number
    names, y = np.unique(words, return_inverse=True)
    with (folder / "round.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", "a", "b"])
        writer.writerows([word, i, 0.5] for i, word in enumerate(words))
    np.savez(folder / "round.npz", x=np.ones((len(words), 2)), y=words)
    for file in ("round.csv", "round.npz"):
        data = read(folder / file, for_training=False).train
        assert data.names == tuple(names.tolist())
        assert data.y.tolist() == y.tolist()


def test_names_in_blocks_of_a_megabyte_share_their_numbers(folder):
    path = table(folder, ["b,1.5,2", "c,3,4"] * 90_000 + ["a,5,6", '"b",5,6', "a,5,6"])
    data = read(path).train
    assert data.names == ("a", "b", "c")
    assert data.y[[0, 1, -3, -2, -1]].tolist() == [1, 2, 0, 1, 0]
    assert np.bincount(data.y).tolist() == [2, 90_001, 90_000]


@pytest.mark.parametrize(
    ("lines", "y"), [(["0,1", "1,2"], [0, 1]), (["3.0,1", "1,2"], [3, 1]), (["2,1", "1,2"], [2, 1])]
)
def test_numbers_stay_what_they_are(folder, lines, y):
    data = read(table(folder, lines, header=None)).train
    assert (data.y.tolist(), data.names) == (y, None)


@pytest.mark.parametrize(
    ("content", "column", "header"),
    [
        ("5.1,3.5,oak\n4.9,3,elm\n", "last", False),
        ("5.1,3.5,oak\n4.9,3,elm\n", "3", False),
        ("oak,5,5\nelm,3,4\n", "first", False),
        ("label,0,1\noak,5,5\nelm,3,4\n", "first", True),
        ("label,0,1\n1,5,5\n0,3,4\n", "label", True),
        ("0,1,label\n5,5,oak\n3,4,elm\n", "label", True),
    ],
)
def test_a_first_line_is_a_sample_if_only_its_label_is_text(folder, content, column, header):
    (folder / "t.csv").write_text(content)
    data = read(folder / "t.csv", label_columns=(column,)).train
    assert data.n == 2
    assert data.X.shape == (2, 2)


def test_a_header_that_may_be_a_sample_is_not_passed_over_in_silence(folder):
    path = table(folder, ["oak,5,6", "elm,3,4", "oak,7,8"], header=None)
    with pytest.raises(
        DataError, match=r"line 1 reads as a header, but 'oak' is a class, too: wri"
    ):
        read(path)


MIXED = "write all labels as numbers, or all as names"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (",1,2", "line 6, column 1 ('tree'): the label is empty: fill it in"),
        ('"",1,2', "line 6, column 1 ('tree'): the label is empty: fill it in"),
        (
            "7,1,2",
            f"line 6, column 1 ('tree'): '7' is a number, but the first label is a name: {MIXED}",
        ),
        ("nan,1,2", f"'nan' is a number, but the first label is a name: {MIXED}"),
        ("a\x1b[31m,1,2", "'a\\x1b[31m' has a character that cannot be printed"),
        ("oak,1", "line 6 has 2 cells, but line 1 has 3"),
        ("oak,x,2", "line 6, column 2 ('a'): 'x' is no number"),
        ("oak,nan,2", "line 6, column 2 ('a'): 'nan' is not finite"),
    ],
)
def test_what_is_no_name_is_refused_with_its_line(folder, line, says):
    with pytest.raises(DataError) as caught:
        read(table(folder, [*CELLS, line]))
    assert says in str(caught.value)


def test_a_name_among_numbers_is_refused_with_its_line(folder):
    with pytest.raises(DataError, match=rf"line 3, column 1 .* but the first label is: {MIXED}"):
        read(table(folder, ["0,1,2", "one,2,3"]))


def test_all_labels_of_one_name_are_nothing_to_learn(folder):
    with pytest.raises(DataError, match="all 2 labels are 'oak'"):
        read(table(folder, ["oak,1,2", "oak,2,3"]))


def test_known_names_keep_their_numbers(folder):
    known = ("cedar", "oak", "ash")
    data = read(table(folder, ["ash,1,2", "cedar,3,4"]), names=known).train
    assert (data.y.tolist(), data.names) == ([2, 0], known)


UNKNOWN = "unknown class {}: choose from 'ash', 'birch', 'cedar'"


@pytest.mark.parametrize("name", ["Ash", "oak", "1", "bir"])
def test_an_unknown_name_is_refused_with_its_line_and_the_known_ones(folder, name):
    path = table(folder, ["cedar,1,2", "", f"{name},3,4"])
    with pytest.raises(DataError) as caught:
        read(path, names=NAMES)
    assert str(caught.value) == f"{path}: line 4, column 1 ('tree'): {UNKNOWN.format(repr(name))}"


def test_a_long_list_of_known_names_is_cut(folder):
    with pytest.raises(DataError) as caught:
        read(table(folder), names=[f"name{i}" for i in range(5000)])
    assert "'name9' and 4990 more" in str(caught.value)


# ---- arrays ----------------------------------------------------------------------------------


def arrays(folder, y, **more):
    np.savez(folder / "t.npz", x=X, y=y, **more)
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", y)
    yield read(folder / "t.npz").train
    yield read(folder / "x.npy", labels=folder / "y.npy").train


@pytest.mark.parametrize("dtype", ["U", "S", ">U7", "U20"])
def test_arrays_of_text(folder, dtype):
    for data in arrays(folder, np.array(["cedar", "ash", "birch", "ash"]).astype(dtype)):
        assert (data.names, data.y.tolist()) == (NAMES, NUMBERS)


def test_bytes_are_utf_8(folder):
    y = np.array(["ä".encode(), b"b", "ö".encode(), b"b"])
    for data in arrays(folder, y):
        assert data.names == ("b", "ä", "ö")
    for wrong in (
        np.array([b"a", b"\xff", b"a", b"b"]),
        np.array([1, 0x110000, 2, 3], "<u4").view("<U1"),
    ):
        with pytest.raises(DataError, match="row 1: the label is no text"):
            list(arrays(folder, wrong))


def test_text_that_is_numbers_gives_these_numbers(folder):
    for data in arrays(folder, np.array(["3", "1.0", "0", "0"])):
        assert (data.names, data.y.tolist()) == (None, [3, 1, 0, 0])
    with pytest.raises(DataError, match=f"y: row 3: 'oak' is no number.*{MIXED}"):
        list(arrays(folder, np.array(["3", "1.0", "0", "oak"])))


def test_the_test_part_has_the_names_of_the_training_part(folder):
    y = np.array(["cedar", "ash", "birch", "ash"])
    np.savez(folder / "t.npz", x=X, y=y, x_test=X[:2], y_test=["cedar", "cedar"])
    assert read(folder / "t.npz").test.y.tolist() == [2, 2]
    np.savez(folder / "t.npz", x=X, y=y, x_test=X[:2], y_test=["cedar", "oak"])
    with pytest.raises(DataError, match=r"y_test: row 1: unknown class 'oak': choose from 'ash'"):
        read(folder / "t.npz")
    for one, other in ((y, [0, 1]), (NUMBERS, ["a", "b"])):
        np.savez(folder / "t.npz", x=X, y=one, x_test=X[:2], y_test=other)
        with pytest.raises(DataError, match="write them in the same way"):
            read(folder / "t.npz")


def test_features_and_real_targets_are_no_text(folder):
    y = np.array(["cedar", "ash", "birch", "ash"])
    np.savez(folder / "t.npz", x=X, y=y)
    with pytest.raises(DataError, match="not real numbers"):
        read(folder / "t.npz", targets="real")
    np.savez(folder / "t.npz", x=X.astype(str), y=y)
    with pytest.raises(DataError, match="not real numbers"):
        read(folder / "t.npz")


# ---- in Python -------------------------------------------------------------------------------


def test_the_way_from_text_to_a_dataset_that_the_error_names():
    text = np.array(["cedar", "ash", "birch", "ash"])
    network = mlp(2, 3)
    with pytest.raises(DataError, match=r"names, y = np.unique\(y, return_inverse=True\)"):
        next(fit(network, Dataset(X, text)))
    names, y = np.unique(text, return_inverse=True)
    data = Dataset(X, y, names=tuple(names.tolist()))
    assert data.rows(np.array([1])).names == data.split(0.5)[0].names == NAMES
    next(fit(network, data, epochs=1))


def test_names_come_back_from_a_file(tmp_path):
    network = mlp(2, 3)
    save(tmp_path / "m", Model(network, network.init(), names=("b", "ä", "c d")))
    assert load(tmp_path / "m").names == ("b", "ä", "c d")
    save(tmp_path / "m", Model(network, network.init()))
    assert load(tmp_path / "m").names is None
    yes_or_no = mlp(2, 1)
    save(tmp_path / "m", Model(yes_or_no, yes_or_no.init(), BinaryCrossEntropy(), names=("n", "y")))
    assert load(tmp_path / "m").names == ("n", "y")


NO_NAMES = [["a", "b"], ["a", "b", "b"], ["a", "b", ""], ["a", "b", 3], ["a", "b", "\x1b"], "abc"]


@pytest.mark.parametrize("names", NO_NAMES)
def test_names_that_are_none_are_not_written(tmp_path, names):
    network = mlp(2, 3)
    with pytest.raises(UsageError, match="name"):
        save(tmp_path / "m", Model(network, network.init(), names=names))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("names", [*NO_NAMES, 3, {}, [["a"], ["b"], ["c"]]])
def test_a_file_with_other_names_is_refused(tmp_path, names):
    network = mlp(2, 3)
    save(tmp_path / "m", Model(network, network.init(), names=NAMES))
    tensors, spec = tensorfile.read(tmp_path / "m")
    tensorfile.write(tmp_path / "m", tensors, {**spec, "names": names})
    with pytest.raises(CheckpointError, match="m: "):
        load(tmp_path / "m")


def test_a_file_from_before_there_were_names_is_read(tmp_path):
    network = mlp(2, 3)
    save(tmp_path / "m", Model(network, network.init()))
    tensors, spec = tensorfile.read(tmp_path / "m")
    del spec["names"]
    tensorfile.write(tmp_path / "m", tensors, spec)
    assert load(tmp_path / "m").names is None


# ---- from the command line -------------------------------------------------------------------


@pytest.fixture
def trees(tmp_path):
    """A table of sixty trees of three kinds that a network can tell apart."""
    rng = np.random.default_rng(0)
    kinds = rng.permutation(60) % 3
    features = rng.normal(size=(60, 2)) + 4 * np.eye(3)[kinds][:, :2]
    lines = [f"{a:.6g},{b:.6g},{NAMES[c]}" for (a, b), c in zip(features, kinds, strict=True)]
    return table(tmp_path, lines, header="a,b,tree"), kinds


@pytest.fixture
def model(invoke, trees, tmp_path):
    path, _ = trees
    how = ["--label-column", "tree", "--epochs", "30", "--lr", "0.05", "--batch-size", "10"]
    passes(invoke("train", "--data", path, *FAST, *how, "--save", tmp_path / "m"))
    return tmp_path / "m"


def test_predictions_have_the_names(invoke, trees, model):
    path, kinds = trees
    how = [model, path, "--label-column", "tree"]
    *found, _ = lines_of(passes(invoke("predict", *how, "--json")))
    assert [NAMES[line["class"]] for line in found] == [line["name"] for line in found]
    assert np.mean([line["class"] == kind for line, kind in zip(found, kinds, strict=True)]) > 0.8
    header, *rows = csv.reader(io.StringIO(passes(invoke("predict", *how, "--csv"))))
    assert header == ["file", "row", "class", "name", "probability"]
    assert [row[2:4] for row in rows] == [[str(line["class"]), line["name"]] for line in found]
    first = passes(invoke("predict", *how)).splitlines()[0]
    assert first == f"{path} row 0: {found[0]['name']}  {found[0]['probability']:.2%}"


def test_a_class_of_a_yes_or_no_has_its_name(invoke, tmp_path):
    network = mlp(2, 1)
    theta = network.init() * 0
    save(tmp_path / "m", Model(network, theta, BinaryCrossEntropy(), names=("no", "yes")))
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert "no  50.00%" in passes(invoke("predict", tmp_path / "m", tmp_path / "x.csv"))


def test_show_lists_the_names(invoke, model):
    assert "classes: 0 ash, 1 birch, 2 cedar" in passes(invoke("show", model))
    [found] = lines_of(passes(invoke("show", model, "--json")))
    assert found["names"] == list(NAMES)


def test_evaluate_gives_the_names_their_numbers_whatever_the_order(invoke, trees, model, tmp_path):
    path, _ = trees
    header, *lines = path.read_text().splitlines()
    ways = {
        "all": lines,
        "other order": sorted(lines, key=lambda line: line[-4:], reverse=True),
        "fewer": [line for line in lines if "ash" not in line],
    }
    for way, some in ways.items():
        other = table(tmp_path, some, header, "other.csv")
        how = ["--data", other, "--label-column", "tree", "--json"]
        [found] = lines_of(passes(invoke("evaluate", model, *how)))
        assert found["test_accuracy"] > 0.8, way
    other = table(tmp_path, [*lines, "1,2,oak"], header, "other.csv")
    error = refused(invoke("evaluate", model, "--data", other, "--label-column", "tree"), 65)
    assert f"other.csv: line 62, column 3 ('tree'): {UNKNOWN.format(repr('oak'))}" in error


def test_numbers_and_names_are_not_taken_for_one_another(invoke, trees, model, tmp_path):
    path, kinds = trees
    np.savez(tmp_path / "t.npz", x=np.ones((60, 2)), y=kinds)
    error = refused(invoke("evaluate", model, "--data", tmp_path / "t.npz"), 65)
    assert "its labels are numbers, but the classes have names: give 'ash', 'birch'" in error
    passes(invoke("train", "--data", tmp_path / "t.npz", *FAST, "--save", tmp_path / "other"))
    error = refused(
        invoke("evaluate", tmp_path / "other", "--data", path, "--label-column", "tree"), 65
    )
    assert "the model knows its classes by number" in error
    assert "have names, those of MNIST none: give --data" in refused(invoke("evaluate", model))


def test_a_checkpoint_keeps_the_names_and_refuses_others(invoke, trees, tmp_path):
    path, _ = trees
    how = ["--label-column", "tree", "--checkpoint", tmp_path / "c", "--resume"]
    passes(invoke("train", "--data", path, *FAST, *how))
    assert load_checkpoint(tmp_path / "c").model.names == NAMES
    passes(invoke("train", "--data", path, *FAST, *how))
    path.write_text(path.read_text().replace("birch", "beech").replace("ash", "apple"))
    assert "made with other data" in refused(invoke("train", "--data", path, *FAST, *how))


@pytest.mark.parametrize("options", [[], ["--classes", "3"], ["--class-weights", "1,2,3"]])
def test_options_that_go_with_names(invoke, trees, options):
    passes(invoke("train", "--data", trees[0], "--label-column", "tree", *FAST, *options))


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--label-column", "tree", "--classes", "4"], 2, "names 3 classes: leave the option out"),
        (["--label-column", "tree", "--loss", "mse"], 65, "for --loss softmax_xent alone"),
        (["--label-column", "tree", "--loss", "bce"], 65, "for --loss softmax_xent alone"),
        (["--label-column", "tree,a", "--loss", "bce"], 65, "for --loss softmax_xent alone"),
        ([], 65, "or name it with --label-column if it is the label"),
    ],
)
def test_options_that_do_not(invoke, trees, options, code, says):
    assert says in refused(invoke("train", "--data", trees[0], *FAST, *options), code)


def test_a_column_of_other_text_is_taken_for_a_mistake(invoke, tmp_path):
    path = table(tmp_path, [f"name {i},{i},2" for i in range(1001)])
    error = refused(invoke("train", "--data", path, *FAST), 65)
    assert "the labels are 1,001 different names: choose the column" in error
    passes(invoke("train", "--data", path, *FAST, "--classes", 1001, "--epochs", 1))


def test_the_doctor_calls_a_class_by_its_name(invoke, tmp_path):
    """Features far from 0, and steps too small: the largest output is the same for all samples."""
    rows = [f"{NAMES[i % 3]},{1000 + i},{2000 - i}" for i in range(60)]
    path = table(tmp_path, rows)
    out = passes(invoke("train", "--data", path, *FAST, "--lr", "1e-12", "--doctor", "--json"))
    said = " ".join(verdict["evidence"] for verdict in json.loads(out.splitlines()[-1])["verdicts"])
    assert any(f"given class {c} ({name})" in said for c, name in enumerate(NAMES)), said


@pytest.mark.slow
def test_parity_and_gradcheck_know_the_names_of_a_model(invoke, trees, model):
    how = ["--model", model, "--data", trees[0], "--label-column", "tree", "--json"]
    out = passes(invoke("gradcheck", *how))
    assert json.loads(out.splitlines()[-1])
    assert load(model).loss == SoftmaxCrossEntropy()
