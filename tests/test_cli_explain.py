"""``xpnet explain``: verdicts, exit codes, what people and programs get to read, every error."""

import importlib
import json
import os
import re
import sys

import numpy as np
import pytest
from commands import the_error
from test_explain_read import WAYS, backprop, case, columns, one_hot, parameters, sigmoid

from xpnet import cli
from xpnet.activations import ACTIVATIONS
from xpnet.mistakes import CATALOGUE, Explanation, Finding
from xpnet.mistakes.read import read_gradients

command = importlib.import_module("xpnet.cli.explain")

KEYS = {"gradients", "factor", "reading", "warnings", "correct"}
FINDING_KEYS = {
    "verdict": str, "mistakes": list, "inherited": bool, "residual": (float, type(None)),
    "formula": str, "correct_formula": str, "reason": str, "identifiable": bool,
    "alternatives": list,
}  # fmt: skip


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch, tmp_path):
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def explain(capsys):
    """Save arrays, if there are any, and run the command: exit code, stdout, stderr."""

    def explain(arrays, *options, save=np.savez):
        file = []
        if arrays is not None:
            file = ["mine.npz"]
            save("mine.npz", **arrays)
        code = cli.run(["explain", *file, *map(str, options)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return explain


@pytest.fixture
def found(explain):
    """What ``--json`` prints, after a look at its form and at the exit code."""

    def found(arrays, *options, **how):
        code, out, err = explain(arrays, *options, "--json", **how)
        assert err == ""
        assert len(out.splitlines()) == 1
        result = json.loads(out, parse_constant=pytest.fail)
        assert set(result) == KEYS
        for finding in result["gradients"].values():
            assert set(finding) == set(FINDING_KEYS)
            for key, kind in FINDING_KEYS.items():
                assert isinstance(finding[key], kind), key
            assert finding["verdict"] in {"correct", "unexplained", *CATALOGUE}
        correct = all(f["verdict"] == "correct" for f in result["gradients"].values())
        assert result["correct"] is correct
        assert code == (0 if correct else 1)
        return result

    return found


def only(arrays, gradient):
    """The arrays with no other gradient than this one."""
    return {name: a for name, a in arrays.items() if name == gradient or name[0] != "d"}


def verdicts(result):
    return {name: finding["verdict"] for name, finding in result["gradients"].items()}


RIGHT = dict.fromkeys(["dW2", "db2", "dW1", "db1"], "correct")


def planted(arrays):
    """Three mistakes at once: dW2 negated, db1 one number for all, dW1 summed over the batch."""
    m = len(arrays["x"])
    return {
        **arrays,
        "dW2": -arrays["dW2"],
        "db1": arrays["db1"].sum(),
        "dW1": arrays["dW1"] * arrays["dW1"].dtype.type(m),
    }


PLANTED = {
    "dW2": "negated", "db2": "correct", "dW1": "summed-not-averaged",
    "db1": "one-scalar-for-all-biases",
}  # fmt: skip


# ---- the same verdicts, however the arrays are saved ------------------------------------------


@pytest.mark.parametrize(
    ("save", "dtype"),
    [
        pytest.param(dict, "float64", id="plain"),
        pytest.param(dict, "float32", id="float32"),
        pytest.param(one_hot, "float64", id="one-hot"),
        pytest.param(lambda a: {**a, "y": a["y"][:, None]}, "float64", id="column of labels"),
        pytest.param(lambda a: {**a, "y": a["y"] * 1.0}, "float64", id="labels that are floats"),
        pytest.param(
            lambda a: {n: np.asarray(g, order="F") for n, g in a.items()}, "float32", id="Fortran"
        ),
    ],
)
def test_the_way_to_save_makes_no_difference(found, save, dtype):
    assert verdicts(found(save(case(dtype=dtype)))) == RIGHT
    assert verdicts(found(save(planted(case(dtype=dtype))))) == PLANTED


@pytest.mark.parametrize(("plant", "expected"), [(dict, RIGHT), (planted, PLANTED)])
@pytest.mark.parametrize("way", WAYS)
def test_the_layout_makes_no_difference(found, plant, expected, way):
    arrays = {name: np.asarray(a) for name, a in plant(case()).items()}
    if way == "columns":  # one number for all biases is one in columns, too
        arrays = {**columns({n: a for n, a in arrays.items() if n != "db1"}), "db1": arrays["db1"]}
    else:
        arrays = WAYS[way](arrays)
    result = found(arrays, save=np.savez_compressed)
    assert verdicts(result) == expected
    assert found(arrays, "--layout", "rows" if way == "rows" else "columns") == result


def test_whole_numbers_as_inputs(found):
    arrays = case()
    arrays["x"] = np.arange(35, dtype=np.uint8).reshape(7, 5) % 4
    right = backprop(arrays["x"].astype(float), one_hot(arrays)["y"], arrays)
    assert verdicts(found({**arrays, **right})) == RIGHT
    assert verdicts(found(planted({**arrays, **right}))) == PLANTED


@pytest.mark.parametrize("way", WAYS)
def test_a_transposed_gradient(found, way):
    """It has another shape than its weights unless these are square."""
    for widths in [(5, 4, 3), (5, 3, 3)]:
        arrays = case(widths=widths)
        arrays["dW2"] = arrays["dW2"].T
        result = found(WAYS[way](arrays), "--layout", "rows" if way == "rows" else "columns")
        assert verdicts(result) == {**RIGHT, "dW2": "transposed"}
        assert result["gradients"]["dW2"]["formula"] == "dW2 = dZ2.T @ A1 / m"
        assert result["gradients"]["dW2"]["correct_formula"] == "dW2 = A1.T @ dZ2 / m"


# ---- what is declared ------------------------------------------------------------------------


def test_a_factor_of_all_is_a_reading_unless_the_loss_is_declared(found):
    arrays = case()
    summed = {**arrays, **{name: a * 7 for name, a in arrays.items() if name[0] == "d"}}
    result = found(summed)
    assert result["correct"]
    assert result["factor"] == pytest.approx(1.0)
    assert result["reading"] == "The loss is read as the sum over the samples."
    assert found(summed, "--reduction", "sum")["correct"]
    assert found(summed, "--scale", "1")["correct"]
    for declared in (["--reduction", "mean"], ["--scale", repr(1 / 7)]):
        result = found(summed, *declared)
        assert set(verdicts(result).values()) == {"summed-not-averaged"}
        assert [f["inherited"] for f in result["gradients"].values()] == [False, False, True, True]


def regression(activation, derivative, l2=0.0, lowest=-1):
    """C = 1, tanh outputs, squared error, an L2 term."""
    rng = np.random.default_rng(4)
    p = parameters()
    x, y = rng.normal(size=(6, 5)), rng.uniform(lowest, 1, (6, 3))
    z = x @ p["W1"] + p["b1"]
    A = activation(z)
    out = np.tanh(A @ p["W2"] + p["b2"])
    D = 2 * (out - y) * (1 - out**2)
    d1 = (D @ p["W2"].T) * derivative(z)
    grads = {
        "dW1": x.T @ d1 + l2 * p["W1"], "db1": d1.sum(0),
        "dW2": A.T @ D + l2 * p["W2"], "db2": D.sum(0),
    }  # fmt: skip
    return {"x": x, "y": y, **p, **grads}


TANH = (np.tanh, lambda z: 1 - np.tanh(z) ** 2)
DECLARED = ["--loss", "mse", "--output", "tanh", "--activation", "tanh", "--reduction", "sum"]


def test_everything_declared_otherwise(found):
    assert found(regression(*TANH), *DECLARED)["correct"]
    assert found(regression(*TANH, l2=0.3), *DECLARED, "--l2", "0.3")["correct"]
    result = found(regression(*TANH, l2=0.3), *DECLARED)
    assert {verdicts(result)[name] for name in ("dW1", "dW2")} == {"undeclared-l2"}
    result = found(regression(*TANH), *DECLARED, "--l2", "0.3")
    assert {verdicts(result)[name] for name in ("dW1", "dW2")} == {"missing-l2"}


@pytest.mark.parametrize("loss", ["softmax-xent", "softmax_xent"])
def test_the_loss_in_either_spelling(found, loss):
    assert found(case(), "--loss", loss, "--output", "softmax", "--activation", "sigmoid")[
        "correct"
    ]


def test_an_activation_for_each_layer(found, explain):
    rng = np.random.default_rng(5)
    p = parameters((4, 3, 5, 2))
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 2, (6, 2))
    A = np.tanh(x @ p["W1"] + p["b1"])
    z2 = A @ p["W2"] + p["b2"]
    B = np.maximum(z2, 0)
    D = (sigmoid(B @ p["W3"] + p["b3"]) - y) / 12
    d2 = (D @ p["W3"].T) * (z2 > 0)
    d1 = (d2 @ p["W2"].T) * (1 - A**2)
    grads = {"dW3": B.T @ D, "dW2": A.T @ d2, "dW1": x.T @ d1, "db1": d1.sum(0)}
    arrays = {"x": x, "y": y, **p, **grads}
    declared = ["--loss", "sigmoid_bce", "--activation", "tanh, relu"]
    assert found(arrays, *declared)["correct"]
    _, out, _ = explain(arrays, *declared)
    read_as = "4-3-5-2, tanh,relu, sigmoid with binary cross-entropy, 6 samples"
    assert read_as in " ".join(out.split())
    code, _, err = explain(arrays, "--loss", "sigmoid-bce", "--activation", "tanh,relu,relu")
    assert code == 2
    assert "3 activations do not go with 2 hidden layers" in the_error(err)


# ---- what people read ------------------------------------------------------------------------


def lines_of(result, code):
    """The lines that were printed, with R for each residual that is only rounding."""
    assert result[0] == code, result
    assert result[2] == ""
    lines = result[1].splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in result[1]
    return [re.sub(r"residual (0|\de-1\d)\b", "residual R", line) for line in lines]


def test_correct_gradients(explain):
    lines = lines_of(explain(case()), 0)
    assert " ".join(lines[:2]) == (
        "mine.npz read as: 5-4-3, sigmoid, softmax cross-entropy, 7 samples, layout rows "
        "(x @ W + b)"
    )
    assert lines[2:] == [
        "The loss is read as the mean over the samples.",
        "",
        "dW2  correct",
        "db2  correct",
        "dW1  correct",
        "db1  correct",
        "",
        "All 4 gradients are correct.",
    ]
    assert lines_of(explain(only(case(), "dW1")), 0)[-1] == "The gradient is correct."


def test_wrong_gradients(explain):
    arrays = case()
    arrays["dW2"], arrays["db1"] = arrays["dW2"].T, -arrays["db1"]
    assert lines_of(explain(arrays), 1)[4:] == [
        "dW2  transposed  (residual R)",
        "     The product is the wrong way round; where a layer is square NumPy cannot",
        "     notice.",
        "     yours: dW2 = dZ2.T @ A1 / m",
        "     right: dW2 = A1.T @ dZ2 / m",
        "db2  correct",
        "dW1  correct",
        "db1  negated  (residual R)",
        "     The sign is flipped (Y - P for P - Y, or += for -=): the step goes uphill.",
        "     yours: db1 = -dZ1.sum(axis=0) / m",
        "     right: db1 = dZ1.sum(axis=0) / m",
        "            with dZ1 = (dZ2 @ W2.T) * f'(Z1)",
        "",
        "2 of 4 gradients are wrong; first fix dW2: transposed.",
    ]


def of_another_loss(arrays):
    """dW2 and all that comes after it as from the squared error of the probabilities."""
    p, x, Y = arrays, arrays["x"], one_hot(arrays)["y"]
    H = sigmoid(x @ p["W1"] + p["b1"])
    e = np.exp(H @ p["W2"] + p["b2"])
    P = e / e.sum(1, keepdims=True)
    D = (P - Y) * P * (1 - P) / len(x)
    d1 = (D @ p["W2"].T) * H * (1 - H)
    return {**arrays, "dW1": x.T @ d1, "db1": d1.sum(0), "dW2": H.T @ D, "db2": D.sum(0)}


def test_what_is_inherited_says_from_where(explain, found):
    arrays = of_another_loss(case())
    lines = lines_of(explain(arrays), 1)
    assert lines[4:12] == [
        "dW2  gradient-of-mse  (residual R)",
        "     It is the gradient of the squared error: cross-entropy cancels the output's",
        "     derivative.",
        "     yours: dW2 = A1.T @ dZ2 / m",
        "            with dZ2 = (P - Y) * P * (1 - P)",
        "     right: dW2 = A1.T @ dZ2 / m",
        "            with dZ2 = P - Y",
        "db2  gradient-of-mse  (residual R)",
    ]
    assert lines[18:] == [
        "dW1  gradient-of-mse  (residual R)",
        "     inherited: comes with dZ2, and is right once that is.",
        "db1  gradient-of-mse  (residual R)",
        "     inherited: comes with dZ2, and is right once that is.",
        "",
        "4 of 4 gradients are wrong; first fix dW2: gradient-of-mse.",
    ]
    gradients = found(arrays)["gradients"]
    assert {name: f["inherited"] for name, f in gradients.items()} == {
        "dW2": False, "db2": False, "dW1": True, "db1": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "All 4 gradients are correct."),
        ({"dW1": "negated"}, "1 of 4 gradients is wrong; first fix dW1: negated."),
        ({"db1": "y", "db2": "x"}, "2 of 4 gradients are wrong; first fix db2: x."),
        ({"dW2": "unexplained", "db2": "x"}, "2 of 4 gradients are wrong; first fix db2: x."),
        ({"dW2": "inherited", "dW1": "x"}, "2 of 4 gradients are wrong; first fix dW1: x."),
        ({"dW2": "inherited"}, "1 of 4 gradients is wrong; first fix dW2: inherited."),
    ],
)
def test_the_first_to_fix_is_the_own_mistake_next_to_the_output(wrong, said):
    """Within a layer what has a name comes first."""
    gradients = {}
    for name in ("dW2", "db2", "dW1", "db1"):
        verdict = wrong.get(name, "correct")
        inherited = verdict == "inherited"
        gradients[name] = Finding(verdict, (), inherited, 0.0, "", "", "", True, ())
    assert command.summary(Explanation(gradients, 1.0, "", ())) == said


def test_what_nothing_explains(explain, found):
    arrays = {**case(), "dW1": np.random.default_rng(7).normal(size=(5, 4))}
    lines = lines_of(explain(arrays), 1)
    assert "dW1  unexplained" in lines
    assert "yours:" not in "".join(lines)
    assert "     right: dW1 = x.T @ dZ1 / m" in lines
    assert lines[-1] == "1 of 4 gradients is wrong; first fix dW1: unexplained."
    finding = found({**arrays, "dW1": np.ones((2, 2))})["gradients"]["dW1"]
    assert finding["verdict"] == "unexplained"
    assert finding["residual"] is None, "JSON has no infinity"
    assert not finding["identifiable"]


def test_a_network_that_was_taken_for_another(explain):
    """Where a whole layer is unexplained, the assumptions are named; what was said is not."""
    arrays = only(regression(*TANH), "dW2")
    arrays["dW2"] = arrays["dW2"] + np.eye(*arrays["dW2"].shape)
    asked = ["--loss", "mse", "--output", "tanh"]
    out = " ".join(" ".join(lines_of(explain(arrays, *asked), 1)).split())
    assert "note: is it really sigmoid, squared error of tanh outputs?" in out
    assert "That was assumed; --activation can say otherwise" in out
    out = " ".join(lines_of(explain(arrays, *asked, "--activation", "relu"), 1))
    assert "is it really" not in out
    assert "is it really" not in lines_of(explain(planted(case())), 1)


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        (["--loss", "mse", "--output", "tanh"], "--activation tanh"),
        (["--activation", "tanh"], "--loss mse --output tanh"),
        ([], "--activation tanh --loss mse --output tanh"),
    ],
)
def test_gradients_that_are_right_for_what_was_not_said(explain, found, said, missing):
    """The wrong guess is the command's: no gradient is called wrong in the end."""
    arrays = regression(*TANH, lowest=0)
    last = "All are exactly right for tanh, squared error of tanh outputs: say "
    out = " ".join(" ".join(lines_of(explain(arrays, *said), 1)).split())
    assert out.endswith(f"{last}{missing}.")
    assert "is it really" not in out
    assert f"{last}{missing}." in found(arrays, *said)["warnings"]
    for wrong in ("dW1", "db2"):
        broken = {**arrays, wrong: 1.1 * arrays[wrong]}
        assert "exactly right" not in " ".join(lines_of(explain(broken, *said), 1))
    for wrongly in (EVERYTHING, EVERYTHING[:2]):
        assert "exactly right" not in " ".join(lines_of(explain(arrays, *said, *wrongly), 1))


EVERYTHING = ["--activation", "relu", "--loss", "mse", "--output", "identity"]


def test_softmax_of_one_output_is_refused(explain):
    arrays = {**case(widths=(5, 4, 1)), "y": np.arange(7) % 2}
    code, out, err = explain(arrays)
    assert (code, out) == (65, "")
    out = the_error(err)
    assert "softmax of one output is always 1" in out
    assert "sigmoid-bce" in out


def test_what_the_data_cannot_tell(explain, found):
    lines = lines_of(explain(case(m=1)), 0)
    out = " ".join(" ".join(lines).split())
    assert "dW2 correct these data cannot tell it from: summed-not-averaged, " in out
    assert "warning: A batch of 1 hides sums taken for means" in out
    assert lines[-1] == "All 4 gradients are correct."
    result = found(case(m=1))
    assert result["correct"]
    assert not result["gradients"]["dW2"]["identifiable"]
    assert "summed-not-averaged" in result["gradients"]["dW2"]["alternatives"]
    assert any("batch of 1" in warning for warning in result["warnings"])


def test_notes_on_the_file_are_printed_and_among_the_warnings(explain, found):
    arrays = {**case(widths=(4, 4, 4)), "lr": 0.1}
    out = " ".join(" ".join(lines_of(explain(arrays), 0)).split())
    notes = [
        "left out, since nothing has such a name: 'lr'",
        "these shapes fit both layouts; they are read as rows: --layout columns reads W as "
        "(n_out, n_in)",
    ]
    for note in notes:
        assert f"note: {note}" in out
    assert found(arrays)["warnings"][:2] == notes


@pytest.mark.parametrize(
    ("arrays", "declared", "said"),
    [
        (columns(case()), {}, "layout columns (W @ x + b); formulas are those of rows, x @ W + b"),
        (WAYS["x @ W.T"](case()), {}, "layout columns (x @ W.T + b); formulas are those of rows"),
        ({n: a for n, a in case().items() if n not in ("b1", "b2")}, {}, "no biases, layout"),
        ({n: a for n, a in case().items() if n != "b1"}, {}, "7 samples, biases b2, layout"),
        (case(), {"l2": 0.01}, "7 samples, L2 0.01, layout rows"),
        (case(m=1), {}, "softmax cross-entropy, 1 sample, layout rows"),
        (case(), {"output": "sigmoid"}, "5-4-3, sigmoid, cross-entropy of sigmoid outputs"),
    ],
)
def test_the_header_says_what_was_assumed(tmp_path, arrays, declared, said):
    np.savez("mine.npz", **arrays)
    read = read_gradients("mine.npz", **{"activation": "sigmoid", **declared})
    assert said in command.assumed(read)


def test_a_network_of_one_layer(explain):
    rng = np.random.default_rng(8)
    x, y, W = rng.normal(size=(6, 4)), rng.normal(size=6), rng.normal(size=(4, 1))
    D = (x @ W)[:, 0] - y
    _, out, _ = explain({"x": x, "y": y, "W1": W, "dW1": x.T @ D}, "--loss", "mse")
    assert "read as: 4-1, squared error of identity outputs, 6 samples, no biases" in out
    assert "The gradient is correct." in out


def test_colour_where_it_is_wanted(explain, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    _, out, _ = explain(planted(case()))
    assert "\x1b[1;31mdW2  negated" in out
    assert "\x1b[32mdb2  correct" in out


# ---- the catalogue ---------------------------------------------------------------------------


def test_the_list_has_every_mistake(explain):
    lines = lines_of(explain(None, "--list"), 0)
    for name in CATALOGUE:
        assert f"  {name}" in lines
    assert lines[-1] == f"{len(CATALOGUE)} mistakes"
    assert len(CATALOGUE) >= 30
    at = lines.index("  transposed")
    assert lines[at + 1 : at + 5] == [
        "    The product is the wrong way round; where a layer is square NumPy cannot",
        "    notice.",
        "    wrong: dW[l] = dZ[l].T @ A[l-1]",
        "    right: dW[l] = A[l-1].T @ dZ[l]",
    ]
    assert "{" not in "".join(lines)
    titles = [line for line in lines if line and line[0] != " "][1:-1]
    assert titles == [
        "A constant before a gradient",
        "The product for the weights",
        "The sum over the samples",
        "The sum for the biases",
        "The regulariser",
        "The delta of the output",
        "The step back through a layer",
    ]


def test_the_list_as_json_lines(explain):
    code, out, err = explain(None, "--list", "--json")
    assert (code, err) == (0, "")
    mistakes = [json.loads(line) for line in out.splitlines()]
    assert [mistake["name"] for mistake in mistakes] == list(CATALOGUE)
    for mistake in mistakes:
        assert set(mistake) == {"event", "name", "where", "wrong", "right", "reason"}
        assert mistake["event"] == "mistake"
        assert all(mistake.values())
        assert "{" not in "".join(mistake.values())


# ---- errors ----------------------------------------------------------------------------------


def refused(result, code):
    assert result[0] == code, result
    assert result[1] == ""
    return the_error(result[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "bce"], "'--loss': unknown loss 'bce': did you mean 'sigmoid-bce'?"),
        (["--loss", "cross_entropy"], "unknown loss 'cross_entropy': did you mean 'softmax-xent'?"),
        (["--loss", "softmax-xnet"], "did you mean 'softmax-xent'?"),
        (["--loss", "huber"], "choose from mse, sigmoid-bce, softmax-xent"),
        (
            ["--activation", "tahn"],
            "'--activation': unknown activation 'tahn': did you mean 'tanh'",
        ),
        (["--activation", "relu,"], "unknown activation ''"),
        (["--output", "softmx"], "did you mean 'softmax'?"),
        (["--reduction", "average"], "unknown reduction 'average'"),
        (["--reduction", "half_mean"], "did you mean 'half-mean'?"),
        (["--reduction", "mean", "--scale", "1"], "reduction and scale say the same thing"),
        (["--scale", "0"], "--scale must be a finite number > 0, not 0.0"),
        (["--scale", "x"], "--scale"),
        (["--l2", "-1"], "--l2 must be a finite number >= 0, not -1.0"),
        (["--layout", "colums"], "unknown layout 'colums': did you mean 'columns'?"),
        (["--lis"], "--list"),
        (["--list"], "--list prints the catalogue and reads no file: leave mine.npz out"),
        (["another.npz"], "another.npz"),
    ],
)
def test_options_that_make_no_sense(explain, options, message):
    assert message in refused(explain(case(), *options), 2)


def test_no_file(explain):
    assert "FILE is missing: name an .npz" in refused(explain(None), 2)
    assert "none.npz: No such file" in refused(explain(None, "none.npz"), 74)


@pytest.mark.parametrize("mode", [[], ["--json"]])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dW1": np.full((5, 4), np.nan)}, "mine.npz: dW1 holds nan at [0, 0]: only finite"),
        ({"y": np.full(7, 3)}, "label 3 of sample 0 is not one of 0 .. 2"),
        ({"W2": np.ones((5, 3))}, "the shapes x (7, 5), W1 (5, 4), W2 (5, 3) fit no network"),
        ({"x": np.array([{}], object)}, "x.npy holds Python objects, which are never unpickled"),
        ({"dW3": np.ones(3)}, "there is dW3, but no W3"),
    ],
)
def test_bad_data_are_one_line_and_exit_code_65(explain, changes, message, mode):
    assert message in refused(explain({**case(), **changes}, *mode), 65)


def test_outputs_that_no_cross_entropy_can_use(explain):
    error = refused(explain(case(), "--output", "tanh"), 65)
    assert "softmax-xent needs outputs between 0 and 1, but tanh gives" in error


def test_numbers_beyond_all_bounds_are_no_warning(found):
    """A softmax of logits in the millions: what overflows is NumPy's business, not the user's."""
    arrays = only(case(), "dW2")
    arrays |= {"W2": arrays["W2"] * 1e6, "W1": arrays["W1"] * 1e3}
    assert set(verdicts(found(arrays))) == {"dW2"}


def test_the_help_names_every_choice(explain):
    code, out, _ = explain(None, "--help")
    assert code == 0
    text = " ".join(out.split())
    for name in ACTIVATIONS:
        assert name in text
    assert "softmax-xent|sigmoid-bce|mse" in text
    assert "[default: sigmoid]" in text
    assert "[default: softmax-xent]" in text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("mode", [[], ["--json"]])
def test_a_full_disk_is_one_line(explain, monkeypatch, mode):
    with monkeypatch.context() as patch, open("/dev/full", "w") as full:
        patch.setattr(sys, "stdout", full)
        code, _, err = explain(None, "--list", *mode)
    assert code == 74
    assert "standard output: No space left on device" in the_error(err)
