"""Reading somebody's network and gradients: every way to save them, both layouts, every error."""

import io
import zipfile

import numpy as np
import pytest

from xpnet import DataError, UsageError
from xpnet.mistakes import explain_gradients, read
from xpnet.mistakes.read import read_gradients

RNG = np.random.default_rng(0)
WIDTHS = (5, 4, 3)
M = 7


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def parameters(widths=WIDTHS, dtype="float64"):
    """W1 b1 ... of a network with these widths."""
    rng = np.random.default_rng(1)
    named = {}
    for i in range(1, len(widths)):
        named[f"W{i}"] = rng.normal(size=widths[i - 1 : i + 1]).astype(dtype)
        named[f"b{i}"] = rng.normal(size=widths[i]).astype(dtype)
    return named


def backprop(x, Y, p):
    """dW1 db1 dW2 db2 of the mean softmax cross-entropy, one sigmoid layer; no bias is 0."""
    H = sigmoid(x @ p["W1"] + p.get("b1", 0))
    e = np.exp(H @ p["W2"] + p.get("b2", 0))
    D = (e / e.sum(1, keepdims=True) - Y) / np.asarray(len(x), x.dtype)
    d1 = (D @ p["W2"].T) * H * (1 - H)
    return {"dW1": x.T @ d1, "db1": d1.sum(0), "dW2": H.T @ D, "db2": D.sum(0)}


def case(m=M, widths=WIDTHS, dtype="float64"):
    """Everything that a file needs, in rows: all gradients are correct."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(m, widths[0])).astype(dtype)
    y = np.arange(m) % widths[2]
    p = parameters(widths, dtype)
    return {"x": x, "y": y, **p, **backprop(x, np.eye(widths[2], dtype=dtype)[y], p)}


def one_hot(arrays):
    return {**arrays, "y": np.eye(arrays["W2"].shape[1])[arrays["y"]]}


def columns(arrays):
    """The same arrays as W @ x + b has them: samples and biases in columns."""
    turned = {name: a.T for name, a in arrays.items()}
    return {n: a.reshape(-1, 1) if n.lstrip("d")[0] == "b" else a for n, a in turned.items()}


def turned_weights(arrays):
    """The same arrays as x @ W.T + b has them: samples in rows."""
    return {name: a.T if "W" in name else a for name, a in arrays.items()}


WAYS = {"rows": lambda arrays: arrays, "columns": columns, "x @ W.T": turned_weights}
NAME_OF = {"rows": "rows", "columns": "columns", "x @ W.T": "columns"}


@pytest.fixture
def given(tmp_path):
    """Save arrays, read them again."""

    def given(arrays, save=np.savez, **options):
        save(tmp_path / "mine.npz", **arrays)
        return read_gradients(tmp_path / "mine.npz", **{"activation": "sigmoid", **options})

    return given


@pytest.fixture
def refused(given, tmp_path):
    """The message, without the path, of the DataError that arrays must raise."""

    def refused(arrays, **options):
        with pytest.raises(DataError) as caught:
            given(arrays, **options)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'mine.npz'}: ")
        assert message.count("mine.npz") == 1
        assert "\n" not in message
        return message.partition("mine.npz: ")[2]

    return refused


def same(found, arrays):
    """Whether what was read is ``arrays``, which are in rows."""
    np.testing.assert_allclose(found.problem.x, arrays["x"])
    np.testing.assert_array_equal(found.problem.Y.argmax(1), arrays["y"])
    for i, (W, b) in enumerate(zip(found.problem.W, found.problem.b, strict=True), 1):
        np.testing.assert_array_equal(W, arrays[f"W{i}"])
        if b is not None:
            np.testing.assert_array_equal(b, arrays[f"b{i}"])
    for name, g in found.grads.items():
        np.testing.assert_array_equal(g.reshape(arrays[name].shape), arrays[name])


# ---- what is read ----------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "float64", ">f8"])
def test_every_way_to_save_the_same_arrays(given, save, order, dtype):
    arrays = case(dtype=dtype)
    found = given({n: np.asarray(a, order=order) for n, a in arrays.items()}, save)
    same(found, arrays)
    assert set(found.grads) == {"dW1", "db1", "dW2", "db2"}
    assert found.notes == ()
    assert found.problem.eps == np.finfo(dtype).eps, "the precision is that of the file"
    assert explain_gradients(found.problem, found.grads).correct


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("prepare", [dict, one_hot])
def test_each_layout_is_found_and_may_be_named(given, way, asked, prepare):
    found = given(WAYS[way](prepare(case())), layout=NAME_OF[way] if asked else None)
    same(found, case())
    assert found.layout.name == NAME_OF[way]
    assert found.notes == ()
    assert found.layout.formula == {"rows": "x @ W + b", "columns": "W @ x + b"}.get(
        way, "x @ W.T + b"
    )


@pytest.mark.parametrize("way", ["rows", "columns"])
def test_labels_in_a_row_or_a_column(given, way):
    arrays = WAYS[way](case())
    shape = (M, 1) if way == "rows" else (1, M)
    same(given({**arrays, "y": arrays["y"].reshape(shape)}), case())


def test_labels_that_stand_otherwise_than_x(given):
    arrays = case()
    found = given({**arrays, "y": arrays["y"].reshape(1, -1)})
    same(found, arrays)
    assert found.notes == ("y (1, 7) stands the other way than x and is read as (7, 1)",)
    same(given({**columns(arrays), "y": one_hot(arrays)["y"]}), arrays)


@pytest.mark.parametrize("missing", [["b1", "b2"], ["b1"], ["b2", "db2", "dW2"], ["dW1"]])
def test_biases_and_gradients_may_be_missing(given, missing):
    arrays = {name: a for name, a in case().items() if name not in missing}
    found = given(arrays)
    assert set(found.grads) == {name for name in arrays if name.startswith("d")}
    assert [b is None for b in found.problem.b] == ["b1" in missing, "b2" in missing]


@pytest.mark.parametrize("shape", [(4,), (1, 4), (4, 1)])
@pytest.mark.parametrize("way", WAYS)
def test_a_bias_may_have_an_axis_of_one(given, way, shape):
    arrays = WAYS[way](case())
    arrays |= {name: arrays[name].reshape(shape) for name in ("b1", "db1")}
    found = given(arrays)
    same(found, case())
    assert explain_gradients(found.problem, found.grads).correct


def test_bytes_are_used_as_they_are_and_that_is_said(given):
    arrays = case()
    dark = (np.abs(arrays["x"]) * 40).astype(np.uint8).clip(0, 120)
    assert given({**arrays, "x": dark}).notes == ()
    bright = dark.copy()
    bright[0, 0] = 255
    found = given({**arrays, "x": bright})
    np.testing.assert_array_equal(found.problem.x, bright)
    assert found.notes == (
        "x holds whole numbers up to 255 and is used as it is: if your network sees them scaled, "
        "save that",
    )


def test_images_and_single_samples(given):
    arrays = case(widths=(6, 4, 3))
    found = given({**arrays, "x": arrays["x"].reshape(M, 2, 3)})
    same(found, arrays)
    assert found.notes == ("x (7, 2, 3) is read as (7, 6): a row is a sample",)
    for way, turn in WAYS.items():
        arrays = case(m=1)
        flat = {**arrays, "x": arrays["x"][0], "y": arrays["y"][0]}
        found = given(turn({n: np.asarray(a) for n, a in flat.items()}))
        same(found, arrays)
        assert found.layout.name == NAME_OF[way]
        assert found.notes == ("x (5,) is read as (1, 5): a row is a sample",)
    same(given({**case(m=1), "y": np.array([1, 0, 0])}), case(m=1))
    arrays = case(widths=(1, 4, 3))
    same(given({**arrays, "x": arrays["x"][:, 0]}), arrays)


def test_gradients_of_any_shape(given):
    arrays = case()
    scalar, per_sample = np.float64(0.25), RNG.normal(size=(M, 5, 4))
    found = given({**arrays, "db2": scalar, "dW1": per_sample, "dW2": arrays["dW2"].ravel()})
    assert found.grads["db2"].shape == ()
    np.testing.assert_array_equal(found.grads["dW1"], per_sample)
    np.testing.assert_array_equal(found.grads["dW2"], arrays["dW2"].ravel())


@pytest.mark.parametrize("way", ["columns", "x @ W.T"])
def test_gradients_of_any_shape_are_turned_like_the_weights(given, way):
    arrays = WAYS[way](case())
    per_sample, of_biases = RNG.normal(size=(M, 4, 5)), RNG.normal(size=(3, M))
    odd = {"dW1": per_sample, "db2": of_biases, "dW2": arrays["dW2"].ravel()}
    found = given({**arrays, **odd})
    np.testing.assert_array_equal(found.grads["dW1"], per_sample.transpose(0, 2, 1))
    np.testing.assert_array_equal(found.grads["dW2"], case()["dW2"])
    turned = of_biases.T if way == "columns" else of_biases
    np.testing.assert_array_equal(found.grads["db2"], turned)


# ---- where shapes leave a choice -------------------------------------------------------------


def test_square_matrices_are_rows_unless_told_otherwise(given):
    arrays = case(widths=(4, 4, 4))
    found = given(arrays)
    assert found.layout.name == "rows"
    assert len(found.notes) == 1
    assert "fit both layouts" in found.notes[0]
    assert "--layout columns" in found.notes[0]
    same(found, arrays)
    told = given(turned_weights(arrays), layout="columns")
    same(told, arrays)
    assert told.notes == ()


def test_samples_in_columns_tell_even_of_square_matrices(given):
    found = given(columns(case(widths=(4, 4, 4))))
    assert found.layout == ("columns", "columns")
    assert found.notes == ()


@pytest.mark.parametrize("way", ["columns", "x @ W.T"])
def test_a_square_x_is_told_by_the_targets_or_the_biases(given, way):
    arrays = case(m=5)
    clear = given(WAYS[way](one_hot(arrays)))
    same(clear, arrays)
    assert clear.notes == ()
    guessed = given(WAYS[way](arrays))
    same(guessed, arrays)
    assert len(guessed.notes) == 1
    assert "x (5, 5) is square" in guessed.notes[0]
    assert guessed.layout.formula in guessed.notes[0]


def test_widths_that_read_the_same_backwards(given):
    """5-3-5: both chains hold, and x tells them apart."""
    arrays = case(widths=(5, 3, 5))
    assert given(arrays).layout.name == "rows"
    same(given(columns(arrays)), arrays)


# ---- names -----------------------------------------------------------------------------------


def test_unknown_names_are_left_out_and_named(given):
    extra = {"Z1": 1.0, "lr": 0.1, "X": np.ones(3), "names": np.array(["a"], object)}
    found = given({**case(), **extra})
    same(found, case())
    assert found.notes == ("left out, since nothing has such a name: 'Z1', 'lr', 'X', 'names'",)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("dW2", "dw2"), ("dW2", "DW2"), ("dW2", "dW_2"), ("dW2", "grad_W2"), ("dW2", "W2_grad"),
        ("dW2", "dW02"), ("b1", "B1"), ("db1", "DB1"), ("b1", "b_1"),
    ],
)  # fmt: skip
def test_a_name_that_is_nearly_right(given, name, wrong):
    arrays = case()
    arrays[wrong] = arrays.pop(name)
    assert given(arrays).notes == (f"{wrong!r} was left out: did you mean {name!r}?",)


def test_many_unknown_names_are_one_short_note(given):
    [note] = given({**case(), **{f"n{i}" + "x" * 300: np.ones(1) for i in range(50)}}).notes
    assert note.endswith("and 42 more")
    assert len(note) < 500


# ---- errors ----------------------------------------------------------------------------------


def without(*names):
    return {name: a for name, a in case().items() if name not in names}


def renamed(old, new):
    return {new if name == old else name: a for name, a in case().items()}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (without("x"), "there is no array x: save it with numpy.savez(file, x=..., ...)"),
        (without("y"), "there is no array y: save it"),
        (without("W1", "W2"), "there is no array W1: save it"),
        ({}, "there is no array x"),
        (renamed("x", "X"), "there is no array x; 'X' is there: did you mean 'x'?"),
        (renamed("x", "x_train"), "there is no array x; 'x_train' is there: did you mean 'x'?"),
        (renamed("y", "labels"), "there is no array y; 'labels' is there: did you mean 'y'?"),
        (renamed("W1", "w1"), "there is W2, but no W1; 'w1' is there: did you mean 'W1'?"),
        (renamed("W2", "W3"), "there is W3, but no W2: save it"),
        (renamed("W2", "w2"), "there is b2, but no W2; 'w2' is there: did you mean 'W2'?"),
        (renamed("W1", "W0"), "W0: layers are numbered from 1: save W0, W1 ... as W1, W2 ..."),
        ({**case(), "b3": np.ones(3)}, "there is b3, but no W3: save it"),
        ({**case(), "dW3": np.ones(3)}, "there is dW3, but no W3: save it"),
        (without("dW1", "db1", "dW2", "db2"), "there is no gradient: save dW1, db1 ... as well"),
        (
            {**without("dW1", "db1", "dW2", "db2"), "dw1": case()["dW1"]},
            "there is no gradient; 'dw1' is there: did you mean 'dW1'?",
        ),
    ],
)
def test_names_that_are_missing(refused, arrays, message):
    assert message in refused(arrays)


def with_value(name, place, value):
    arrays = {n: a.copy() for n, a in case().items()}
    arrays[name][place] = value
    return arrays


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("x", np.array([{}], object), "x.npy holds Python objects, which are never unpickled"),
        ("y", np.array(["a"] * M), "y.npy holds '<U1', not real numbers"),
        ("W1", np.ones((5, 4), complex), "W1.npy holds '<c16', not real numbers"),
        ("db2", np.complex64(1), "db2.npy holds '<c8', not real numbers"),
        ("dW1", np.zeros(1, [("a", "f8")]), "dW1.npy holds 'a record', not real numbers"),
        ("x", np.ones((0, 5)), "x.npy: an array of shape (0, 5) holds"),
        ("dW2", np.ones(0), "dW2.npy: an array of shape (0,) holds"),
        ("W1", np.ones(4), "W1 must be a matrix with rows and columns, not of shape (4,)"),
        ("W2", np.ones((4, 3, 1)), "W2 must be a matrix"),
        ("W2", np.float64(1), "W2 must be a matrix"),
        ("b1", np.ones(5), "b1 of shape (5,) does not fit its layer of 4 units"),
        ("b2", np.ones((3, 3)), "b2 of shape (3, 3) does not fit its layer of 3 units"),
        ("b2", np.float64(1), "b2 of shape () does not fit"),
        ("y", np.zeros(6, int), "y (6,) does not go with 7 samples and 3 outputs"),
        ("y", np.zeros((7, 4)), "y (7, 4) does not go with 7 samples and 3 outputs"),
        ("y", np.zeros((7, 3, 1)), "it must be labels (7,) or targets (7, 3)"),
        ("y", np.float64(1), "y () does not go with 7 samples"),
        ("y", np.arange(7), "label 3 of sample 3 is not one of 0 .. 2: the last layer has 3"),
        ("y", np.arange(7) % 3 - 1, "label -1 of sample 0"),
        ("y", np.arange(7) % 2 / 2, "label 0.5 of sample 1"),
        ("y", np.arange(7) % 3 + 1, "the last layer has 3 outputs; subtract 1 if yours start at 1"),
        ("y", np.eye(3)[np.arange(7) % 3] * 2, "must lie between 0 and 1: is the loss mse?"),
        ("x", np.float64(1), "the shapes x (), W1 (5, 4), W2 (4, 3) fit no network"),
        ("x", np.ones((7, 6)), "the shapes x (7, 6), W1 (5, 4), W2 (4, 3) fit no network"),
        ("W2", np.ones((5, 3)), "fail at A1 @ W2"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_used(refused, name, array, message):
    assert message in refused({**case(), name: array})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["x", "W2", "b1", "dW1", "db2"])
def test_numbers_that_are_not_finite(refused, name, value):
    place = (2, 1) if name in ("x", "W2", "dW1") else (2,)
    message = refused(with_value(name, place, value))
    assert message.startswith(f"{name} holds {value} at {list(place)}: only finite numbers will do")
    assert ("exp overflowed" in message) == name.startswith("d")


def test_a_place_is_that_in_the_file(refused):
    arrays = columns(case())
    arrays["W1"][3, 1] = np.nan
    assert "W1 holds nan at [3, 1]" in refused(arrays)


def test_targets_that_are_not_finite(refused):
    arrays = one_hot(case())
    arrays["y"][2, 1] = np.nan
    assert "y holds nan at [2, 1]" in refused(arrays)


def test_what_was_left_out_is_said_beside_an_error(refused):
    message = refused({**case(), "W2": np.ones((5, 3)), "w3": np.ones((3, 3))})
    assert message.startswith("the shapes x (7, 5), W1 (5, 4), W2 (5, 3) fit no network")
    assert message.endswith(" ('w3' was left out: did you mean 'W3'?)")


def test_the_layout_that_was_named_does_not_fit(refused, given):
    message = refused(case(), layout="columns")
    assert message == (
        "the shapes x (7, 5), W1 (5, 4), W2 (4, 3) fit no network in layout columns: columns fail "
        "at W1 @ x, columns fail at x @ W1.T; they fit --layout rows"
    )
    assert refused(columns(case()), layout="rows").endswith("they fit --layout columns")
    with pytest.raises(UsageError, match="unknown layout 'row': did you mean 'rows'"):
        given(case(), layout="row")


def test_neither_layout_fits(refused):
    message = refused({**case(), "W1": np.ones((6, 4))})
    assert message == (
        "the shapes x (7, 5), W1 (6, 4), W2 (4, 3) fit no network in either layout: rows fail at "
        "x @ W1, columns fail at W1 @ x, columns fail at x @ W1.T"
    )


@pytest.mark.parametrize("way", ["rows", "columns"])
@pytest.mark.parametrize("ones", [0, 1])
def test_biases_within_the_weights(refused, way, ones):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(9, 5 + ones)), "y": np.zeros(9, int)}
    arrays |= {"W1": rng.normal(size=(6, 4)), "W2": rng.normal(size=(5, 3)), "dW1": np.ones((6, 4))}
    line = "row"
    if way == "columns":
        arrays, line = {name: a.T for name, a in arrays.items()}, "column"
    hint = f"if one {line} of a W is the bias, save it by itself, as b1, b2 ..."
    assert refused(arrays).endswith(hint)
    for name in ("x", "W2"):
        assert "bias" not in refused({**arrays, name: np.ones((9, 8))})


def test_what_is_declared_wrongly_is_a_usage_error(given):
    for wrong in ({"loss": "bce"}, {"scale": -1}, {"activation": ["relu", "tanh"]}):
        with pytest.raises(UsageError):
            given(case(), **wrong)


# ---- files that nobody vouches for -----------------------------------------------------------


def test_no_npz_at_all(tmp_path):
    for name, content in (("text", b"x,y\n1,2\n"), ("empty", b""), ("zip", b"PK\x05\x06")):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="damaged or no NPZ file"):
            read_gradients(path)
    with pytest.raises(FileNotFoundError):
        read_gradients(tmp_path / "none.npz")
    single = tmp_path / "x.npy"
    np.save(single, np.ones(3))
    with pytest.raises(DataError, match="damaged or no NPZ file"):
        read_gradients(single)


def saved_bytes(arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def refusal_of_bytes(path, content):
    """What is said against a file with this content, or None."""
    path.write_bytes(content)
    try:
        read_gradients(path, activation="sigmoid")
    except DataError as error:
        return str(error)
    return None


def test_damage_anywhere_is_one_clear_line(tmp_path):
    """Bytes changed at random: what is read is whole, or a DataError says what is not."""
    content, path = saved_bytes({**case(), "db2": np.float64(1)}), tmp_path / "d.npz"
    rng, refusals = np.random.default_rng(3), []
    assert refusal_of_bytes(path, content) is None
    for _ in range(150):
        end = rng.integers(1, len(content)) if rng.random() < 0.2 else len(content)
        damaged = bytearray(content[:end])
        for i in rng.integers(0, end, 3):
            damaged[i] = rng.integers(256)
        message = refusal_of_bytes(path, damaged)
        if message is not None:
            refusals.append(message)
            assert message.startswith(f"{path}: ")
            assert "\n" not in message
    assert len(refusals) > 100
    assert len(set(refusals)) > 10


def test_a_single_number_that_is_more(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n"
    lie = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(16)
    path = tmp_path / "lie.npz"
    path.write_bytes(saved_bytes(without("db2")))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("db2.npy", lie)
    with pytest.raises(DataError, match=r"db2.npy: one number is promised, but there is more"):
        read_gradients(path)


def test_a_file_that_unpacks_to_too_much(refused, monkeypatch):
    monkeypatch.setattr(read, "MAX_BYTES", 100)
    assert "unpack to more than 100 bytes: some dozen samples are enough" in refused(case())


def test_two_arrays_of_one_name(tmp_path):
    path = tmp_path / "twice.npz"
    path.write_bytes(saved_bytes(case()))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x.npy", b"")
    with pytest.raises(DataError, match="two arrays are called 'x': keep one of them"):
        read_gradients(path)
