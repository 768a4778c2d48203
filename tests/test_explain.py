"""explain: which formula gives these gradients? Each answer is checked on code written here."""

from itertools import pairwise

import numpy as np
import pytest

import xpnet
from xpnet.errors import DataError, UsageError
from xpnet.mistakes import CATALOGUE, Problem, explain, explain_gradients
from xpnet.mistakes.deltas import derivatives
from xpnet.mistakes.elements import telling_elements
from xpnet.mistakes.search import Search
from xpnet.mistakes.trace import trace
from xpnet.mistakes.truth import correct_gradients


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class Net:
    """A textbook network with one hidden layer of sigmoids and a softmax."""

    def __init__(self, m=5, widths=(6, 4, 3), seed=0):
        rng = np.random.default_rng(seed)
        n_in, n, k = widths
        self.x, self.y = rng.normal(size=(m, n_in)), rng.integers(0, k, m)
        self.W1, self.b1 = rng.normal(size=(n_in, n)), rng.normal(size=n)
        self.W2, self.b2 = rng.normal(size=(n, k)), rng.normal(size=k)
        self.Y = np.eye(k)[self.y]
        self.Z1 = self.x @ self.W1 + self.b1
        self.H = sigmoid(self.Z1)
        self.Z2 = self.H @ self.W2 + self.b2
        self.P = softmax(self.Z2)

    def problem(self, **declared):
        declared = {"activation": "sigmoid", "reduction": "mean"} | declared
        return Problem(self.x, self.y, [self.W1, self.W2], [self.b1, self.b2], **declared)

    def back(self, delta):
        """Gradients from dZ2, the mean over the samples taken at the end."""
        m = len(self.x)
        hidden = (delta @ self.W2.T) * self.H * (1 - self.H)
        return {
            "dW2": self.H.T @ delta / m,
            "db2": delta.sum(axis=0) / m,
            "dW1": self.x.T @ hidden / m,
            "db1": hidden.sum(axis=0) / m,
        }

    @property
    def right(self):
        return self.back(self.P - self.Y)


def verdicts(explanation):
    return {name: finding.verdict for name, finding in explanation.gradients.items()}


def test_right_gradients_are_correct():
    net = Net()
    explanation = explain_gradients(net.problem(), net.right)
    assert explanation.correct
    assert set(verdicts(explanation).values()) == {"correct"}
    assert explanation.reading == "The loss is read as the mean over the samples."
    assert all(f.identifiable and f.residual < 1e-14 for f in explanation.gradients.values())


@pytest.mark.parametrize("error", [1e-5, 1e-3, 0.1])
def test_a_gradient_that_is_a_little_off_is_not_correct(error):
    net = Net()
    rng = np.random.default_rng(1)
    grads = net.right
    grads["dW1"] = grads["dW1"] * (1 + error * rng.normal(size=grads["dW1"].shape))
    found = explain_gradients(net.problem(), grads).gradients
    assert found["dW1"].verdict == "unexplained"
    assert 0.3 * error < found["dW1"].residual < 3 * error
    assert {found[name].verdict for name in ("dW2", "db2", "db1")} == {"correct"}


LOSSES = {
    "softmax-xent": xpnet.SoftmaxCrossEntropy(),
    "sigmoid-bce": xpnet.BinaryCrossEntropy(),
    "mse": xpnet.MeanSquaredError(),
}


@pytest.mark.parametrize("output", ["identity", "tanh", "sigmoid"])
@pytest.mark.parametrize("activation", sorted(xpnet.ACTIVATIONS))
@pytest.mark.parametrize("loss", LOSSES)
def test_what_counts_as_right_is_what_the_engine_computes(loss, activation, output):
    if loss != "mse" and output != "identity":
        return  # the engine's cross-entropies take logits
    network = xpnet.mlp(5, 4, 6, 3, activation=activation, output=output)
    rng = np.random.default_rng(0)
    theta = rng.normal(size=network.n_theta)
    x, y = rng.normal(size=(7, 5)), rng.uniform(size=(7, 3))
    if loss == "softmax-xent":
        y = y / y.sum(axis=1, keepdims=True)
    _, g, _ = xpnet.gradients(network, theta, x, y, loss=LOSSES[loss])
    explanation = explain(network, theta, x, y, g, loss=loss, reduction="mean")
    assert explanation.correct
    params = network.split(np, theta)
    problem = Problem(
        x, y, [p["W"] for p in params], [p["b"] for p in params],
        activation=activation, loss=loss, output=output,
    )  # fmt: skip
    scale = {"softmax-xent": 1 / 7, "sigmoid-bce": 1 / 21, "mse": 2 / 21}[loss]
    for layer, p in enumerate(network.split(np, g), 1):
        for name, expected in p.items():
            mine = scale * correct_gradients(trace(problem))[f"d{name}{layer}"]
            np.testing.assert_allclose(mine, expected, rtol=1e-10, atol=1e-13)


def test_explain_reads_gradients_by_name_too_and_names_the_mistake():
    network = xpnet.mlp(5, 4, 3, activation="tanh")
    theta = network.init(0, "float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 5)), rng.integers(0, 3, 7)
    _, g, _ = xpnet.gradients(network, theta, x, y)
    grads = {"dW2": -network.split(np, g)[1]["W"]}
    found = explain(network, theta, x, y, grads, reduction="mean").gradients
    assert found["dW2"].verdict == "negated"


def test_explain_refuses_layers_it_does_not_know():
    network = xpnet.mlp(5, 4, 3, dropout=0.5)
    theta = network.init(0, "float64")
    with pytest.raises(UsageError, match="Dense layers only"):
        explain(network, theta, np.zeros((2, 5)), np.zeros(2, int), theta)


# ---- how a loss is read ------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1.0, 5.0, 0.5, 0.37, 1e-4])
def test_without_a_declaration_a_common_factor_is_a_reading(factor):
    net = Net()
    grads = {name: factor * g for name, g in net.right.items()}
    explanation = explain_gradients(net.problem(reduction=None), grads)
    assert explanation.correct
    assert explanation.factor == pytest.approx(factor / 5)


@pytest.mark.parametrize("factor", [-1.0, -5.0, -0.37])
def test_a_common_negative_factor_is_negated(factor):
    net = Net()
    grads = {name: factor * g for name, g in net.right.items()}
    explanation = explain_gradients(net.problem(reduction=None), grads)
    assert set(verdicts(explanation).values()) == {"negated"}


def test_different_factors_are_a_mistake_even_without_a_declaration():
    net = Net()
    grads = net.right | {"dW1": 0.37 * net.right["dW1"]}
    found = verdicts(explain_gradients(net.problem(reduction=None), grads))
    assert found == {"dW2": "correct", "db2": "correct", "dW1": "wrong-factor", "db1": "correct"}


def test_a_declared_mean_makes_a_sum_a_mistake_and_a_declared_sum_does_not():
    net = Net()
    grads = {name: 5 * g for name, g in net.right.items()}
    assert explain_gradients(net.problem(reduction="sum"), grads).correct
    assert explain_gradients(net.problem(reduction=None, scale=1.0), grads).correct
    found = explain_gradients(net.problem(), grads).gradients
    assert {f.verdict for f in found.values()} == {"summed-not-averaged"}
    assert found["dW2"].formula.startswith("dW2 = A1.T @ dZ2  with")
    assert found["dW2"].correct_formula.startswith("dW2 = A1.T @ dZ2 / m  with")


def test_softmax_may_be_said_twice_and_counts_once():
    net = Net()
    for output in (None, "softmax", "identity"):
        assert explain_gradients(net.problem(output=output), net.right).correct


def test_a_probability_loss_behind_another_output():
    """-sum y ln sigmoid(z): dZ = -y (1 - sigmoid(z)), by hand."""
    net = Net()
    delta = -net.Y * (1 - sigmoid(net.Z2))
    assert explain_gradients(net.problem(output="sigmoid"), net.back(delta)).correct
    with pytest.raises(DataError, match="needs outputs between 0 and 1, but tanh"):
        explain_gradients(net.problem(output="tanh"), net.right)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_any_slope_of_relu_at_0_is_right(slope):
    """A row of zeros and no biases: its hidden units stand exactly at 0."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 6)), rng.integers(0, 3, 5)
    x[2] = 0
    W1, W2 = rng.normal(size=(6, 4)), rng.normal(size=(4, 3))
    Z1 = x @ W1
    delta = (softmax(np.maximum(Z1, 0) @ W2) - np.eye(3)[y]) / 5
    hidden = (delta @ W2.T) * np.where(Z1 == 0, slope, Z1 > 0)
    grads = {"dW2": np.maximum(Z1, 0).T @ delta, "dW1": x.T @ hidden, "db1": hidden.sum(axis=0)}
    problem = Problem(x, y, [W1, W2], [np.zeros(4), None], activation="relu", reduction="mean")
    assert explain_gradients(problem, grads).correct


def test_gradients_from_float32_are_known_though_they_are_kept_in_float64():
    net = Net(m=32, widths=(20, 16, 4))
    rng = np.random.default_rng(1)
    grads = {}
    for name, g in net.right.items():
        noise = 3e-6 * rng.normal(size=g.shape)  # as much as sums in float32 are off
        grads[name] = (g * (1 + noise)).astype(np.float32).astype(np.float64)
    assert explain_gradients(net.problem(), grads).correct
    finer = {name: g * (1 + 1e-9) for name, g in grads.items()}
    assert not explain_gradients(net.problem(), finer).correct


# ---- the posts ---------------------------------------------------------------------------------


def squares(m):
    """The third post: 2-5-2, sigmoids, no biases, cost sum (h - y)^2 / m, gradient not averaged."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(m, 2)), rng.uniform(size=(m, 2))
    W1, W2 = rng.normal(size=(2, 5)), rng.normal(size=(5, 2))
    H = sigmoid(x @ W1)
    out = sigmoid(H @ W2)
    d3 = (out - y) * out * (1 - out)
    d2 = (d3 @ W2.T) * H * (1 - H)
    grads = {"dW1": x.T @ d2, "dW2": H.T @ d3}
    problem = Problem(
        x, y, [W1, W2], activation="sigmoid", loss="mse", output="sigmoid", scale=1 / m
    )
    return problem, grads


def test_a_sum_for_twice_the_mean_is_named_and_a_batch_of_2_hides_it():
    for m in (3, 4, 100):
        found = explain_gradients(*squares(m)).gradients
        assert {f.verdict for f in found.values()} == {
            "times-half-the-batch" if m != 4 else "doubled"
        }
    explanation = explain_gradients(*squares(2))
    assert explanation.correct
    assert not any(f.identifiable for f in explanation.gradients.values())
    assert "times-half-the-batch" in explanation.gradients["dW1"].alternatives
    assert any("batch of 2 hides a factor m/2" in warning for warning in explanation.warnings)


def test_a_numeric_gradient_with_its_sign_flipped_is_negated():
    problem, grads = squares(100)
    numeric = {name: -2 / 100 * g for name, g in grads.items()}
    found = explain_gradients(problem, numeric).gradients
    assert {f.verdict for f in found.values()} == {"negated"}


def test_a_square_layer_hides_a_transpose_from_numpy_but_not_from_us():
    net = Net(widths=(6, 3, 3))
    explanation = explain_gradients(net.problem(), net.right | {"dW2": net.right["dW2"].T})
    assert explanation.gradients["dW2"].verdict == "transposed"
    assert explanation.gradients["dW2"].formula.startswith("dW2 = dZ2.T @ A1 / m")
    assert any("Layer 2 is square (3 x 3)" in warning for warning in explanation.warnings)


def test_one_scalar_for_all_biases_before_a_softmax_is_zero():
    net = Net()
    scalar = (net.P - net.Y).sum() / 5
    for g in (scalar, np.full(3, scalar)):
        found = explain_gradients(net.problem(), net.right | {"db2": g}).gradients
        assert found["db2"].mistakes in (("one-scalar-for-all-biases",), ("missing",))
        assert abs(scalar) < 1e-15


def test_the_gradient_on_logits_is_inherited_by_the_first_layer():
    net = Net()
    explanation = explain_gradients(net.problem(reduction=None), net.back(net.Z2 - net.Y))
    assert set(verdicts(explanation).values()) == {"logits-for-outputs"}
    assert {n: f.inherited for n, f in explanation.gradients.items()} == {
        "dW2": False, "db2": False, "dW1": True, "db1": True,
    }  # fmt: skip
    assert "dZ2 = Z2 - Y" in explanation.gradients["dW1"].formula
    assert "dZ2 = P - Y" in explanation.gradients["dW1"].correct_formula


def test_an_own_mistake_comes_before_the_inherited_one():
    net = Net()
    grads = net.back(net.Z2 - net.Y)
    m, delta = 5, net.Z2 - net.Y
    grads["dW1"] = net.x.T @ (delta @ net.W2.T) / m
    found = explain_gradients(net.problem(), grads).gradients["dW1"]
    assert found.mistakes == ("derivative-missing", "logits-for-outputs")
    assert not found.inherited


def test_everything_at_once_is_taken_apart():
    net = Net()
    delta = net.Z2 - net.Y
    hidden = (delta @ net.W2.T) * net.H * (1 - net.H)
    grads = {
        "dW2": delta.T @ net.H,
        "db2": -delta.sum(axis=0) / 5,
        "dW1": -net.x.T @ hidden / 5,
        "db1": hidden.sum() / 5,
    }
    found = explain_gradients(net.problem(), grads).gradients
    assert set(found["dW2"].mistakes) == {"transposed", "summed-not-averaged", "logits-for-outputs"}
    assert set(found["db2"].mistakes) == {"negated", "logits-for-outputs"}
    assert set(found["dW1"].mistakes) == {"negated", "logits-for-outputs"}
    assert set(found["db1"].mistakes) == {"one-scalar-for-all-biases", "logits-for-outputs"}


# ---- what the data cannot tell -----------------------------------------------------------------


def test_a_batch_of_1_is_said_to_hide_things():
    net = Net(m=1)
    explanation = explain_gradients(net.problem(), net.right)
    assert explanation.correct
    assert not any(f.identifiable for f in explanation.gradients.values())
    assert any("batch of 1 hides" in warning for warning in explanation.warnings)


def test_a_gradient_that_is_zero_on_these_data_is_said_to_show_nothing():
    net = Net()
    x = np.zeros_like(net.x)
    problem = Problem(x, net.y, [net.W1, net.W2], activation="sigmoid", reduction="mean")
    explanation = explain_gradients(problem, {"dW1": np.zeros((6, 4))})
    assert explanation.correct
    assert any("The right dW1 is zero" in warning for warning in explanation.warnings)


def test_gradients_of_some_layers_only():
    net = Net()
    for name, g in net.right.items():
        assert explain_gradients(net.problem(), {name: g}).correct
    only = explain_gradients(net.problem(), {"dW1": net.back(net.Z2 - net.Y)["dW1"]})
    assert only.gradients["dW1"].verdict == "logits-for-outputs"
    assert not only.gradients["dW1"].inherited  # no later gradient has shown it


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1), (-1,)])
def test_biases_and_their_gradients_of_any_shape(shape):
    net = Net()
    problem = Problem(
        net.x, net.y, [net.W1, net.W2], [net.b1.reshape(shape), net.b2.reshape(shape)],
        activation="sigmoid", reduction="mean",
    )  # fmt: skip
    grads = {n: g.reshape(shape) if n[1] == "b" else g for n, g in net.right.items()}
    assert explain_gradients(problem, grads).correct


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((5, 7))}, r"x \(5, 7\) and W1 \(6, 4\) do not fit together"),
        ({"W2": np.zeros((3, 3))}, r"W1 \(6, 4\) and W2 \(3, 3\) do not fit together"),
        ({"b1": np.zeros(5)}, r"b1 of shape \(5,\) does not fit its layer of 4 units"),
        ({"y": np.array([0, 1, 2, 3, 0])}, "label 3 of sample 3 is not one of 0 .. 2"),
        ({"y": np.array([0, 1, 2, -1, 0])}, "label -1 of sample 3"),
        ({"y": np.zeros(4, int)}, r"y of shape \(4,\) does not go with 5 samples"),
        ({"y": np.zeros((5, 2))}, "y has 2 columns, the last layer 3 outputs"),
        ({"x": np.full((5, 6), np.nan)}, r"x holds nan at \[0, 0\]"),
        ({"x": np.zeros(6)}, "x must be a matrix"),
        ({"W1": np.zeros((6, 4), complex)}, "W1 must hold real numbers, not complex128"),
        ({"y": np.full((5, 3), 2.0)}, "must lie between 0 and 1"),
    ],
)
def test_arrays_that_fit_no_network_are_refused_in_one_line(change, message):
    net = Net()
    for name, value in change.items():
        setattr(net, name, value)
    with pytest.raises(DataError, match=message) as refused:
        net.problem()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        ({"output": "relu"}, "unknown output 'relu'"),
        ({"reduction": "average"}, "unknown reduction 'average'"),
        ({"activation": "sigmod"}, "did you mean 'sigmoid'"),
        ({"activation": ["relu", "relu"]}, "2 activations do not go with 1 hidden layers"),
        ({"scale": 1.0}, "give one of them"),
        ({"reduction": None, "scale": -1.0}, "the scale must be a finite number > 0"),
        ({"l2": -1.0}, "the L2 factor"),
    ],
)
def test_declarations_that_make_no_sense_are_refused(declared, message):
    with pytest.raises(UsageError, match=message):
        Net().problem(**declared)


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({}, "there are no gradients"),
        ({"dW3": np.zeros((3, 3))}, "dW3 is no gradient of this network: it has 2 layers"),
        ({"dw1": np.zeros((6, 4))}, "dw1 is no gradient"),
        ({"dW1": np.full((6, 4), np.inf)}, r"dW1 holds inf at \[0, 0\]"),
        ({"dW1": np.zeros(0)}, "dW1 is empty"),
    ],
)
def test_gradients_that_are_none_are_refused(grads, message):
    with pytest.raises(DataError, match=message):
        explain_gradients(Net().problem(), grads)


def test_a_gradient_of_a_shape_that_nothing_has_is_unexplained():
    net = Net()
    found = explain_gradients(net.problem(), net.right | {"dW1": np.ones((7, 9))}).gradients
    assert found["dW1"].verdict == "unexplained"
    assert "it has the shape (7, 9), the right one (6, 4)" in found["dW1"].reason


# ---- the catalogue -----------------------------------------------------------------------------


def test_the_catalogue_has_at_least_thirty_mistakes_and_says_all_about_each():
    assert len(CATALOGUE) >= 30
    for name, mistake in CATALOGUE.items():
        assert name == mistake.name == name.lower()
        assert mistake.wrong != mistake.right
        assert mistake.reason.endswith(".")
        mistake.reason.format(l=2, p=1, n=3)


def test_an_explanation_reads_as_text():
    net = Net()
    text = str(explain_gradients(net.problem(), net.right | {"dW2": -net.right["dW2"]}))
    assert "dW2  negated: The sign is flipped" in text
    assert "dW1  correct" in text


def test_where_nothing_explains_the_last_layer_the_data_are_to_be_checked():
    """Another batch behind all gradients, behind one gradient, and behind the first layer alone."""
    net, fewer = Net(seed=3), Net(seed=3)
    fewer.P = Net(seed=4).P
    said = "are x, y, W and b what your code had"
    for names, expected in (
        (["dW2", "db2", "dW1", "db1"], "Nothing explains dW2 and db2: " + said),
        (["dW2"], None),
        (["dW1", "db1"], None),
    ):
        grads = net.right | {name: fewer.back(fewer.P - fewer.Y)[name] for name in names}
        found = explain_gradients(net.problem(), grads)
        assert {found.gradients[name].verdict for name in names} == {"unexplained"}
        about = [warning for warning in found.warnings if said in warning]
        assert [w.startswith(expected) for w in about] == ([True] if expected else [])
    named = explain_gradients(net.problem(), net.right | {"dW2": -net.right["dW2"]})
    assert not any(said in warning for warning in named.warnings)


def test_a_saturated_unit_that_is_half_rounding_accuses_nobody():
    """In float32 1 - a of a sigmoid near 1 has one digit: its gradient is right, but only about."""
    x = np.array([[15.18], [200.0], [-300.0]], np.float32)
    W = [np.array([[1.0, -4.0]], np.float32), np.array([[0.3, -0.2], [0.7, 0.4]], np.float32)]
    b, Y = [np.zeros(2, np.float32)] * 2, np.eye(2, dtype=np.float32)[[0, 1, 1]]
    with np.errstate(over="ignore"):
        A = 1 / (1 + np.exp(-(x @ W[0])))
    delta = (A @ W[1] - Y) / np.float32(3)
    hidden = (delta @ W[1].T) * A * (1 - A)
    grads = {"dW1": x.T @ hidden, "db1": hidden.sum(axis=0)}
    problem = Problem(x, Y, W, b, activation="sigmoid", loss="mse", reduction="mean")
    exact = correct_gradients(trace(problem))["db1"] / 3
    assert 0.01 < np.linalg.norm(grads["db1"] - exact) / np.linalg.norm(exact) < 0.5
    assert explain_gradients(problem, grads).correct
    wrong = {name: 100 * g for name, g in grads.items()}
    assert not explain_gradients(problem, wrong).correct


# ---- large gradients ----------------------------------------------------------------------------


def large(dtype, seed=0, m=20, widths=(60, 30, 30, 5)):
    """A problem whose weight gradients are compared at some of their elements first."""
    rng = np.random.default_rng(seed)
    W = [rng.normal(size=shape) / shape[0] ** 0.5 for shape in pairwise(widths)]
    b = [0.1 * rng.normal(size=n) for n in widths[1:]]
    x, y = rng.normal(size=(m, widths[0])), rng.integers(0, widths[-1], m)
    single = [[a.astype(dtype) for a in arrays] for arrays in ([x], W, b)]
    return Problem(single[0][0], y, single[1], single[2], activation="relu")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("turned", [False, True])
def test_what_gives_a_gradient_gives_the_elements_compared_first(dtype, turned):
    problem, compared = large(dtype), 0
    grads = {name: g.T if turned else g for name, g in correct_gradients(trace(problem)).items()}
    for layer in (1, 2):
        for n in (0, 1):
            for delta, way, extras in hypotheses_on(problem, grads, layer, n):
                parts = [way.of(dZ) for dZ in delta.terms] + [a for _, a in extras]
                g = sum(c * part for c, part in zip((0.7, -0.2, 0.1), parts, strict=False))
                search = Search(problem, {f"dW{layer}": g.astype(dtype).astype(np.float64)}, 0.0)
                [block] = search.blocks
                if (
                    way.some is None
                    or search.fitted(block, parts[: len(delta.terms)], extras) is None
                ):
                    continue
                compared += 1
                assert search.plausible(block, delta, way, extras), (layer, delta.made, way.made)
    assert compared > 50


def hypotheses_on(problem, grads, layer, n):
    search = Search(problem, grads, 0.0)
    [block] = [block for block in search.blocks if block.name == f"dW{layer}"]
    return list(search.hypotheses(block, n))


def test_the_derivatives_of_a_layer_are_computed_once(monkeypatch):
    made = []
    count = lambda t, layer: made.append(layer) or derivatives(t, layer)  # noqa: E731
    monkeypatch.setattr("xpnet.mistakes.hypotheses.derivatives", count)
    problem = large(np.float64, m=6, widths=(4, 4, 3, 2))
    rng = np.random.default_rng(1)
    grads = {f"dW{i}": rng.normal(size=w.shape) for i, w in enumerate(problem.W, 1)}
    assert set(verdicts(explain_gradients(problem, grads)).values()) == {"unexplained"}
    assert sorted(made) == [1, 2]


def test_elements_that_are_zero_are_not_compared_first():
    g = np.zeros((40, 30))
    assert telling_elements(g + 1.0).size == 64
    g[3, :5] = 1.0
    assert sorted(telling_elements(g)) == [90, 91, 92, 93, 94]
    assert sorted(telling_elements(g.ravel())) == [90, 91, 92, 93, 94]
