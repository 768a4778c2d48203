"""``xpnet predict``: samples from every kind of file, pictures of digits, and what is printed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys

import numpy as np
import pytest
from commands import the_error

import xpnet
from xpnet import (
    BinaryCrossEntropy,
    MeanSquaredError,
    Model,
    SoftmaxCrossEntropy,
    backends,
    mlp,
    save,
)
from xpnet.datasets import images

PIL_Image = pytest.importorskip("PIL.Image", reason="the extra 'image' is not installed")

SCALE = float(np.float32(1 / 255))


@pytest.fixture
def predict(invoke):
    """The predictions of a model, as JSON, and the result line."""

    def predict(*arguments):
        code, out, err = invoke("predict", *arguments, "--json")
        assert (code, err) == (0, "")
        *predictions, result = (json.loads(line) for line in out.splitlines())
        assert {line["event"] for line in predictions} <= {"prediction"}
        assert result["event"] == "result"
        assert result["samples"] == len(predictions)
        return predictions, result

    return predict


@pytest.fixture
def refused(invoke):
    def refused(*arguments, code=65):
        found, out, err = invoke("predict", *arguments)
        assert (found, out) == (code, "")
        return the_error(err)

    return refused


@pytest.mark.parametrize("scale", [2, np.float32(2)])
def test_kernels_are_given_a_number_as_a_float(scale, monkeypatch):
    """They tell a number from an array by its type."""
    given, backend = [], xpnet.backends.get("numpy")
    ops = backend.ops()
    gather = ops.gather
    monkeypatch.setattr(ops, "gather", lambda *a: given.append(type(a[3])) or gather(*a))
    monkeypatch.setattr(backend, "ops", lambda: ops)
    monkeypatch.setattr(xpnet.backends, "common", lambda *arrays: backend)
    network = xpnet.mlp(3, 2)
    theta, X = network.init(), np.ones((4, 3), np.float32)
    out = xpnet.predict(network, theta, X, scale)
    np.testing.assert_allclose(out, xpnet.predict(network, theta, 2 * X), rtol=1e-6)
    assert given == [float, float]


def linear(path, W, b=0.0, loss=None, scale=1.0, shift=None, dtype="float32", config=None):
    """Save a model whose output is (x - shift) * scale W + b."""
    W = np.asarray(W, dtype)
    network = mlp(*W.shape)
    theta = network.flatten([{"W": W, "b": np.full(W.shape[1], b, dtype)}])
    loss = loss or SoftmaxCrossEntropy()
    save(path, Model(network, theta, loss, scale, shift, config or {}))
    return path


X = np.array([[1.0, 2.0, 0.5], [-3.0, 0.0, 4.0], [0.0, 0.0, 0.25]])
W = np.array([[1.0, -1.0], [0.5, 2.0], [0.25, 1.0]])


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def text_of(X, *columns, header=None):
    rows = np.column_stack([*columns, X])
    lines = [",".join(f"{value:.9g}" for value in row) for row in rows]
    return "\n".join([*([header] if header else []), *lines]) + "\n"


@pytest.fixture
def model(tmp_path):
    return linear(tmp_path / "model", W)


# ---- files of samples ------------------------------------------------------------------------


def make_table(folder):
    (folder / "x.csv").write_text(text_of(X, header="a,b,c"))
    return folder / "x.csv"


def make_table_with_labels(folder):
    (folder / "x.tsv").write_text(text_of(X, [9, 9, 9], header="label,a,b,c").replace(",", "\t"))
    return folder / "x.tsv", "--label-column", "label"


def make_bare_table(folder):
    (folder / "x.csv.gz").write_bytes(gzip.compress(text_of(X).encode(), mtime=0))
    return folder / "x.csv.gz"


def make_npz(folder):
    np.savez(folder / "x.npz", x=X)
    return folder / "x.npz"


def make_npz_with_labels(folder):
    np.savez(folder / "x.npz", x_train=X.reshape(3, 1, 3), y_train=[0, 0, 1], other=["text"])
    return folder / "x.npz"


@pytest.mark.parametrize(
    "make",
    [make_table, make_table_with_labels, make_bare_table, make_npz, make_npz_with_labels],
)
def test_probabilities_are_the_softmax_of_the_output(predict, model, tmp_path, make):
    file = make(tmp_path)
    file, *options = file if isinstance(file, tuple) else (file,)
    predictions, result = predict(model, file, *options)
    expected = softmax(X @ W)
    assert [p["row"] for p in predictions] == [0, 1, 2]
    assert {p["file"] for p in predictions} == {str(file)}
    for found, p in zip(predictions, expected, strict=True):
        np.testing.assert_allclose(found["probabilities"], p, rtol=1e-5)
        assert found["class"] == p.argmax()
        assert found["probability"] == pytest.approx(p.max(), rel=1e-5)
    assert result["files"] == 1
    assert result["backend"] == backends.get("auto").name
    assert result["dtype"] == "float32"
    assert result["parameters"] == 8


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_images_are_rows_of_bytes(predict, tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 2, 3))
    content = bytes([0, 0, 8, 3, *(b for n in pixels.shape for b in (0, 0, 0, n))])
    content += pixels.astype(np.uint8).tobytes()
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(content, mtime=0) if suffix else content)
    W = np.random.default_rng(1).normal(size=(6, 3))
    predictions, _ = predict(linear(tmp_path / "m", W, scale=SCALE), path)
    expected = softmax(pixels.reshape(4, 6) * SCALE @ W)
    found = [p["probabilities"] for p in predictions]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_scaling_of_the_model_is_applied(predict, tmp_path):
    np.savez(tmp_path / "x.npz", x=X)
    shift, scale = np.array([1.0, 2, 3], np.float32), np.array([2.0, 0.5, 4], np.float32)
    model = linear(tmp_path / "m", W, loss=MeanSquaredError(), shift=shift, scale=scale)
    predictions, _ = predict(model, tmp_path / "x.npz")
    found = [p["values"] for p in predictions]
    np.testing.assert_allclose(found, (X - shift) * scale @ W, rtol=1e-5)


def test_several_files_in_their_order(predict, model, tmp_path):
    np.savez(tmp_path / "x.npz", x=X[:2])
    table = make_table(tmp_path)
    predictions, result = predict(model, tmp_path / "x.npz", table)
    assert [p["file"] for p in predictions] == [str(tmp_path / "x.npz")] * 2 + [str(table)] * 3
    assert [p["row"] for p in predictions] == [0, 1, 0, 1, 2]
    assert result["files"] == 2


def test_one_feature_needs_no_delimiter(predict, tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n-2.5\n")
    model = linear(tmp_path / "m", [[2.0]], 0.5, MeanSquaredError())
    predictions, _ = predict(model, tmp_path / "x.csv")
    assert [p["values"] for p in predictions] == [[2.5], [-4.5]]


def test_float64_models_predict_in_float64(predict, tmp_path):
    np.savez(tmp_path / "x.npz", x=X)
    model = linear(tmp_path / "m", W / 3, loss=MeanSquaredError(), dtype="float64")
    predictions, result = predict(model, tmp_path / "x.npz")
    assert result["dtype"] == "float64"
    np.testing.assert_allclose([p["values"] for p in predictions], X @ W / 3, rtol=1e-14)


def test_more_samples_than_a_batch(predict, model, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.tile(X, (800, 1)))
    assert predict(model, tmp_path / "x.npz")[1]["samples"] == 2400


# ---- what is printed -------------------------------------------------------------------------


def rows_of(out):
    return list(csv.reader(io.StringIO(out)))


def test_a_table_of_classes(invoke, model, tmp_path):
    file = make_table(tmp_path)
    code, out, err = invoke("predict", model, file, "--csv")
    assert (code, err) == (0, "")
    header, *rows = rows_of(out)
    assert header == ["file", "row", "class", "probability"]
    best = softmax(X @ W).max(axis=1)
    assert [row[:3] for row in rows] == [[str(file), str(i), "1"] for i in range(3)]
    np.testing.assert_allclose([float(row[3]) for row in rows], best, rtol=1e-5)


def test_plain_text(invoke, model, tmp_path):
    file = make_table(tmp_path)
    code, out, err = invoke("predict", model, file)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{file} row 0: 1  {softmax(X @ W)[0, 1]:.2%}"
    assert "\x1b" not in out


def test_yes_or_no_are_the_classes_0_and_1(predict, invoke, tmp_path):
    np.savez(tmp_path / "x.npz", x=X)
    model = linear(tmp_path / "m", W[:, :1], loss=BinaryCrossEntropy())
    p = 1 / (1 + np.exp(-(X @ W[:, :1])[:, 0]))
    predictions, _ = predict(model, tmp_path / "x.npz")
    assert [found["class"] for found in predictions] == (p > 0.5).astype(int).tolist()
    np.testing.assert_allclose([f["probabilities"][1] for f in predictions], p, rtol=1e-5)
    _, out, _ = invoke("predict", model, tmp_path / "x.npz", "--csv")
    assert rows_of(out)[0] == ["file", "row", "class", "probability"]


def test_several_labels_each_have_a_probability(predict, invoke, tmp_path):
    np.savez(tmp_path / "x.npz", x=X)
    model = linear(tmp_path / "m", W, loss=BinaryCrossEntropy())
    p = 1 / (1 + np.exp(-(X @ W)))
    predictions, _ = predict(model, tmp_path / "x.npz")
    np.testing.assert_allclose([f["probabilities"] for f in predictions], p, rtol=1e-5)
    assert [f["labels"] for f in predictions] == (p > 0.5).astype(int).tolist()
    _, out, _ = invoke("predict", model, tmp_path / "x.npz", "--csv")
    assert rows_of(out)[0] == ["file", "row", "probability_0", "probability_1"]
    _, out, _ = invoke("predict", model, tmp_path / "x.npz")
    assert f"0: {p[0, 0]:.2%} 1: {p[0, 1]:.2%}" in out


@pytest.mark.parametrize(("n_out", "header"), [(1, ["value"]), (2, ["value_0", "value_1"])])
def test_a_regression_gives_values(invoke, tmp_path, n_out, header):
    np.savez(tmp_path / "x.npz", x=X)
    model = linear(tmp_path / "m", W[:, :n_out], loss=MeanSquaredError())
    _, out, _ = invoke("predict", model, tmp_path / "x.npz", "--csv")
    first, *rows = rows_of(out)
    assert first == ["file", "row", *header]
    found = [[float(cell) for cell in row[2:]] for row in rows]
    np.testing.assert_allclose(found, X @ W[:, :n_out], rtol=1e-6)
    _, out, _ = invoke("predict", model, tmp_path / "x.npz")
    assert len(out.splitlines()) == 3


def test_logits_beyond_exp_are_no_matter(predict, tmp_path):
    np.savez(tmp_path / "x.npz", x=X * 1e6)
    for loss in (SoftmaxCrossEntropy(), BinaryCrossEntropy()):
        model = linear(tmp_path / "m", W, loss=loss)
        for prediction in predict(model, tmp_path / "x.npz")[0]:
            assert np.isfinite(prediction["probabilities"]).all()


def test_an_output_that_is_not_finite_is_null(predict, tmp_path):
    np.savez(tmp_path / "x.npz", x=X * 1e30)
    model = linear(tmp_path / "m", W * 1e30, loss=MeanSquaredError())
    with np.errstate(all="ignore"):
        predictions, _ = predict(model, tmp_path / "x.npz")
    assert None in predictions[0]["values"]


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", b"1,2\n3,4\n", "X has 2 columns, but the network takes 3 inputs"),
        ("x.csv", b"a,b,c\n1,2,x\n", "line 2"),
        ("x.csv", b"", "empty"),
        ("x.csv", b"1,2,nan\n", "line 1"),
        ("x.csv", b"1,2,1e300\n", "too big for float32"),
        ("x.npz", b"no zip", "x.npz"),
        ("x.idx", b"\0\0\x08\x01\0\0\0\x02ab", "labels"),
        ("x.idx", b"nonsense", "no IDX file"),
        ("x", b"", "no IDX file (it begins with nothing, not 00 00"),
        ("x.csv", b"0,1,2,3\n1,3,4,5\n", "4 columns of features, but the network takes 3 inputs"),
        ("x.tsv.gz", gzip.compress(b"0\t1\t2\t3\n", mtime=0), "the label, with --label-column"),
        ("x.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF", "(it begins ff d8 ff e0, not"),
        ("x.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF", "must be a PNG"),
        ("x.png", b"\x89PNG\r\n\x1a\nnothing", "no PNG image"),
    ],
)
def test_bad_files_are_refused(refused, model, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    error = refused(model, tmp_path / name)
    assert says in error
    assert str(tmp_path / name) in error


def test_a_bad_file_spoils_all_before_anything_is_printed(refused, model, tmp_path):
    (tmp_path / "bad.csv").write_text("1,2\n")
    refused(model, make_table(tmp_path), tmp_path / "bad.csv", "--json")
    refused(model, make_table(tmp_path), tmp_path / "bad.csv", "--csv")


def test_arrays_by_other_names_are_refused(refused, model, tmp_path):
    np.savez(tmp_path / "x.npz", features=X)
    assert "no array x" in refused(model, tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", x=X[0])
    assert "one row a sample" in refused(model, tmp_path / "x.npz")


def test_columns_of_what_has_none_or_others(refused, model, tmp_path):
    error = refused(model, make_npz(tmp_path), "--label-column", "y", code=2)
    assert "label columns" in error
    error = refused(model, make_table(tmp_path), "--label-column", "d", code=2)
    assert "no column 'd'" in error


def test_too_large_a_file_is_refused(refused, model, tmp_path):
    assert "--max-bytes" in refused(model, make_npz(tmp_path), "--max-bytes", "20")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_files_that_cannot_be_opened_are_input_output(refused, model, tmp_path, make):
    make(tmp_path / "x")
    assert str(tmp_path / "x") in refused(model, tmp_path / "x", code=74)
    assert str(tmp_path / "x") in refused(tmp_path / "x", make_table(tmp_path), code=74)


# ---- pictures --------------------------------------------------------------------------------


def png(path, pixels, mode=None, **settings):
    PIL_Image.fromarray(np.asarray(pixels, np.uint8)).convert(mode or "L").save(path, **settings)
    return path


def drawing(digit, rng, side=160, ground=255, ink=0):
    """An image of MNIST, enlarged, in dark ink on a light sheet, somewhere off the centre."""
    large = PIL_Image.fromarray(digit).resize((side, side), PIL_Image.Resampling.BICUBIC)
    share = np.asarray(large) / 255
    sheet = np.zeros((side + int(rng.integers(20, 200)), side + int(rng.integers(20, 200))))
    top, left = (int(rng.integers(0, n - side)) for n in sheet.shape)
    sheet[top : top + side, left : left + side] = share
    return np.rint(ground + (ink - ground) * sheet).astype(np.uint8)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A briefly trained model of real digits, and the test set."""
    train, test = xpnet.mnist()
    some = train.rows(np.arange(12_000))
    network = mlp(784, 64, 10)
    *_, (_, theta) = xpnet.fit(network, some, epochs=3)
    path = tmp_path_factory.mktemp("digits") / "model"
    save(path, Model(network, theta, scale=train.scale, config={"data": "mnist"}))
    return path, test


def test_drawings_are_read_as_the_digits_they_show(predict, digits, tmp_path):
    path, test = digits
    rng = np.random.default_rng(0)
    files, originals = [], []
    for i in range(20):
        original = test.X[i].reshape(28, 28)
        originals.append(png(tmp_path / f"original{i}.png", original))
        files.append(png(tmp_path / f"{i}.png", drawing(original, rng)))
    expected, _ = predict(path, *originals)
    found, _ = predict(path, *files)
    assert {p["done"] for p in expected} == {"as it is"}
    same = [a["class"] == b["class"] for a, b in zip(expected, found, strict=True)]
    assert sum(same) >= 18
    for p in found:
        assert p["done"].startswith("inverted, the ")
        assert "centred by mass" in p["done"]


def test_an_image_as_mnist_has_it_stays_as_it_is(predict, digits, tmp_path):
    path, test = digits
    np.savez(tmp_path / "x.npz", x=test.X[:5])
    files = [png(tmp_path / f"{i}.png", test.X[i].reshape(28, 28)) for i in range(5)]
    from_arrays, _ = predict(path, tmp_path / "x.npz")
    from_images, _ = predict(path, *files)
    for array, image in zip(from_arrays, from_images, strict=True):
        np.testing.assert_allclose(image["probabilities"], array["probabilities"], rtol=1e-5)


@pytest.mark.parametrize("ground", [255, 200])
def test_the_preparation_gives_back_what_mnist_has(digits, ground):
    _, test = digits
    rng = np.random.default_rng(1)
    errors = []
    for i in range(20):
        original = test.X[i].reshape(28, 28).astype(float)
        digit = images.mnist_digit(drawing(test.X[i].reshape(28, 28), rng, 280, ground, 30))
        assert digit.pixels.dtype == np.uint8
        errors.append(abs(digit.pixels - original).mean() / original.mean())
    assert np.median(errors) < 0.25


def test_light_on_dark_is_scaled_but_not_inverted(digits):
    picture = np.zeros((100, 60), np.uint8)
    picture[10:50, 20:30] = 180
    digit = images.mnist_digit(picture)
    assert digit.done == "the 10 x 40 box around the digit scaled to 5 x 20, centred by mass"
    rows, columns = (np.flatnonzero((digit.pixels > 26).any(axis=axis)) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (4, 23)
    assert (columns[0], columns[-1]) == (12, 16)
    assert digit.pixels.max() == 255


def test_a_light_image_of_28_by_28_is_inverted(digits):
    _, test = digits
    original = test.X[0].reshape(28, 28)
    digit = images.mnist_digit(255 - original)
    assert digit.done.startswith("inverted")
    assert abs(digit.pixels.astype(int) - original).mean() < 0.2 * original.mean()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 3), (28, 28), (400, 300)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_without_ink_is_refused(shape, level):
    if shape == (28, 28) and level == 0:
        return
    with pytest.raises(xpnet.DataError, match="blank"):
        images.mnist_digit(np.full(shape, level, np.uint8))


def test_a_dot_and_a_line_find_room(digits):
    for shape in ((200, 3), (3, 200), (9, 9)):
        picture = np.full((220, 220), 255, np.uint8)
        picture[5 : 5 + shape[0], 7 : 7 + shape[1]] = 0
        digit = images.mnist_digit(picture)
        assert digit.pixels.shape == (28, 28)
        assert digit.pixels.max() == 255


def test_ink_at_one_end_stays_within_the_image():
    picture = np.zeros((200, 200), np.uint8)
    picture[20:60, 20:180] = 255
    picture[60:180, 90:91] = 40
    digit = images.mnist_digit(picture)
    assert digit.pixels.shape == (28, 28)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_gives_grey_levels(tmp_path, mode):
    pixels = np.where(np.eye(12) > 0, 255, 0).astype(np.uint8)
    if mode == "I;16":
        PIL_Image.fromarray(pixels.astype(np.uint16) * 257).save(tmp_path / "x.png")
    else:
        png(tmp_path / "x.png", pixels, mode)
    assert images.is_png(tmp_path / "x.png")
    np.testing.assert_array_equal(images.read_png(tmp_path / "x.png"), pixels)


def test_what_is_transparent_becomes_white(tmp_path):
    pixels = np.zeros((5, 5, 4), np.uint8)
    pixels[2, 2, 3] = 255
    PIL_Image.fromarray(pixels).save(tmp_path / "x.png")
    grey = images.read_png(tmp_path / "x.png")
    assert grey[2, 2] == 0
    assert grey.sum() == 24 * 255


def test_what_was_done_is_in_every_output(invoke, digits, tmp_path):
    path, test = digits
    file = png(tmp_path / "x.png", drawing(test.X[0].reshape(28, 28), np.random.default_rng(0)))
    _, out, _ = invoke("predict", path, file)
    assert f"{file}: " in out
    assert "(inverted, the " in out
    code, out, err = invoke("predict", path, file, "--csv")
    assert code == 0
    assert len(rows_of(out)) == 2
    assert err.startswith(f"{file}: inverted, the ")


def test_models_of_other_sizes_take_images_of_their_size(predict, refused, tmp_path):
    pixels = np.array([[0, 51, 255], [102, 0, 0]], np.uint8)
    file = png(tmp_path / "x.png", pixels)
    W = np.arange(6.0).reshape(6, 1)
    model = linear(tmp_path / "m", W, loss=MeanSquaredError(), scale=SCALE)
    [found], _ = predict(model, file)
    assert found["values"][0] == pytest.approx(pixels.ravel() @ W[:, 0] / 255, rel=1e-5)
    assert found["done"] == "as it is"
    other = linear(tmp_path / "other", np.ones((7, 1)), loss=MeanSquaredError())
    assert "3 x 2 pixels, but the network takes 7 inputs" in refused(other, file)


@pytest.mark.parametrize(
    ("scale", "config", "black", "white"),
    [
        (SCALE, {}, 0, 255),
        (1.0, {}, 0, 1),
        (1 / 16, {}, 0, 16),
        (1.0, {"data": {"range": [-1.0, 1.0]}}, -1, 1),
        (1.0, {"data": {"range": [0, 255]}}, 0, 255),
        (1.0, {"data": {"range": "wide"}}, 0, 1),
        (1.0, {"data": ["anything"]}, 0, 1),
        (np.full(4, 0.5, np.float32), {}, 0, 255),
        (np.full(4, 0.5, np.float32), {"data": "mnist"}, 0, 255),
    ],
)
def test_black_and_white_are_those_of_the_training(predict, tmp_path, scale, config, black, white):
    file = png(tmp_path / "x.png", [[0, 255], [51, 0]])
    config = dict(config)
    model = linear(tmp_path / "m", np.eye(4), 0, MeanSquaredError(), scale, None, config=config)
    [found], _ = predict(model, file)
    levels = np.array([black, white, black + (white - black) / 5, black])
    np.testing.assert_allclose(found["values"], levels * scale, rtol=1e-5)


def test_a_blank_or_huge_image_is_refused(refused, digits, tmp_path):
    path, _ = digits
    file = png(tmp_path / "x.png", np.full((40, 40), 255, np.uint8))
    error = refused(path, file)
    assert "blank" in error
    assert str(file) in error
    assert "--max-bytes" in refused(path, file, "--max-bytes", 100)


def test_a_truncated_or_changed_image_is_refused(digits, tmp_path):
    _, test = digits
    file = png(tmp_path / "x.png", test.X[0].reshape(28, 28))
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:n] for n in range(8, len(whole) - 12, 9)]
    for _ in range(150):
        bytes_ = bytearray(whole)
        bytes_[int(rng.integers(8, len(whole)))] = int(rng.integers(256))
        damaged.append(bytes(bytes_))
    messages = []
    for content in damaged:
        file.write_bytes(content)
        try:
            images.read_png(file, 1 << 20)
        except xpnet.DataError as error:
            messages.append(str(error))
    assert len(messages) > len(damaged) // 2
    assert all(message.startswith(str(file)) for message in messages)


def test_without_pillow_the_remedy_is_named(refused, model, tmp_path, monkeypatch):
    file = png(tmp_path / "x.png", np.zeros((2, 2), np.uint8))
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install 'xpnet[image]'" in refused(model, file, code=2)
