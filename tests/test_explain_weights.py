"""explain: gradients that add up the samples with other weights are named, and no others are."""

import numpy as np
import pytest
from planted import backprop, draw
from planted_backprop import Backprop
from test_explain import Net, sigmoid, softmax, verdicts

from xpnet.mistakes import Problem, explain_gradients, weights
from xpnet.mistakes.layout import Arrays, in_rows
from xpnet.mistakes.problem import coarsest
from xpnet.mistakes.search import Search
from xpnet.mistakes.story import Story
from xpnet.mistakes.weights import weighted_story

M = 8


def weighted(net, w):
    """The mean of the samples, each times its w."""
    return net.back((net.P - net.Y) * np.asarray(w)[:, None])


def net():
    return Net(m=M, widths=(6, 5, 3), seed=2)


def without(*samples):
    w = np.ones(M)
    w[list(samples)] = 0.0
    return w


CASES = {
    "the last left out": (without(7), "samples-left-out", "from 0: sample 7; the constant"),
    "divided by the rest": (without(7) * 8 / 7, "samples-left-out", "by 7 in place of 8."),
    "only two": (without(0, 2, 3, 4, 6, 7), "samples-left-out", "0, 2, 3, 4, 6 and 1 more; the"),
    "one twice": (2 - without(3), "samples-counted-twice", "sample 3 counts 2 times; the constant"),
    "drawn again": (
        np.array([0, 1, 2, 0, 1, 1, 3, 0]), "samples-counted-twice",
        "sample 0 counts 0 times, sample 2 counts 2 times, sample 3 counts 0 times, "
        "sample 6 counts 3 times, sample 7 counts 0 times; the constant",
    ),
    "twice, divided by all nine": (
        (2 - without(3)) * 8 / 9, "samples-counted-twice", "it is divided by 9 in place of 8.",
    ),
    "of classes": (
        np.array([0.5, 1.2, 2.2])[net().y], "weighted-by-class",
        "0.470588 in class 0, 1.12941 in class 1, 2.07059 in class 2.",
    ),
    "of each": (
        np.array([0.3, 1.1, 0.7, 0.25, 1.9, 0.8, 0.35, 2.6]), "weighted-samples",
        "from sample 0 on: 0.3, 1.1, 0.7, 0.25, 1.9 and 3 more.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_what_the_weights_say_is_named(case, dtype):
    w, name, said = CASES[case]
    grads = {n: g.astype(dtype) for n, g in weighted(net(), w).items()}
    for declared in ({}, {"reduction": None}):
        found = explain_gradients(net().problem(**declared), grads).gradients
        assert {f.verdict for f in found.values()} == {name}
        assert {f.mistakes for f in found.values()} == {(name,)}
        assert [n for n, f in found.items() if f.inherited] == ["dW1", "db1"]
        assert dtype == "float32" or said in found["dW2"].reason
        assert "each row times its w: " in found["dW1"].formula


def test_a_sum_over_fewer_is_two_mistakes_where_a_mean_is_declared():
    grads = {name: M * g for name, g in weighted(net(), without(7)).items()}
    found = explain_gradients(net().problem(), grads).gradients
    for finding in found.values():
        assert finding.mistakes == ("samples-left-out", "summed-not-averaged")
    negated = {name: -g for name, g in grads.items()}
    found = explain_gradients(net().problem(reduction=None), negated).gradients
    assert {f.mistakes for f in found.values()} == {("samples-left-out", "negated")}


def test_a_class_that_counts_twice_may_be_weighted_as_well():
    grads = weighted(net(), np.array([1, 2, 1])[net().y])
    found = explain_gradients(net().problem(), grads).gradients
    for finding in found.values():
        assert finding.verdict == "samples-counted-twice"
        assert finding.alternatives == ("weighted-by-class",)


def test_equal_weights_are_a_factor():
    grads = weighted(net(), np.full(M, 0.3))
    found = explain_gradients(net().problem(), grads)
    assert set(verdicts(found).values()) == {"wrong-factor"}
    assert weighting_of(net().problem(), grads) is None
    assert weighting_of(net().problem(), weighted(net(), without(7))) is not None


def test_what_has_another_name_keeps_it():
    """A delta that leaves the targets out is, of one output, the right one with class weights."""
    rng = np.random.default_rng(0)
    x, y, W = rng.normal(size=(8, 9)), np.arange(8) % 2, np.zeros((9, 1))
    problem = Problem(x, y, [W], loss="sigmoid-bce", reduction="mean")
    grads = {"dW1": x.T @ np.full((8, 1), 0.5) / 8}
    assert verdicts(explain_gradients(problem, grads)) == {"dW1": "targets-missing"}
    assert weighting_of(problem, grads).names == ("weighted-by-class",)


def weighting_of(problem, grads):
    """What ``weights`` makes of the last layer, whatever else explains it."""
    search = Search(problem, grads, 0.0)
    equations = weights.equations_of(search, [b for b in search.blocks if b.layer == search.t.L])
    return None if equations is None else weights.weighting_of(search, equations)


def test_a_gradient_that_is_a_little_off_has_no_weights():
    for off, solved in ((1e-9, True), (1e-4, False)):
        grads = weighted(net(), without(7))
        rng = np.random.default_rng(0)
        grads["dW2"] = grads["dW2"] * (1 + off * rng.normal(size=(5, 3)))
        search = Search(net().problem(), grads, 0.0)
        equations = weights.equations_of(search, search.blocks[:2])
        assert (equations.solved(np.eye(M)) is not None) == solved


def test_only_what_every_gradient_shows_is_told():
    """The same weights in all: else nothing is said, also where one layer is right."""
    fewer, others = weighted(net(), without(7)), weighted(net(), without(6))
    for one in (net().right, others):
        mixed = fewer | {name: one[name] for name in ("dW1", "db1")}
        found = verdicts(explain_gradients(net().problem(), mixed))
        assert found["dW2"] == found["db2"] == "unexplained"
        mixed = fewer | {"db2": one["db2"]}
        assert verdicts(explain_gradients(net().problem(), mixed))["dW2"] == "unexplained"


def test_a_sample_of_zeros_does_not_show_in_the_first_weights():
    """Left out of XOR, (0, 0) changes everything but dW1."""
    black = net()
    black.x[7] = 0.0
    problem = Problem(black.x, black.y, [black.W1, black.W2], activation="sigmoid")
    H = sigmoid(black.x @ black.W1)
    P = softmax(H @ black.W2)
    black.H = H
    delta = P - black.Y
    right, fewer = black.back(delta), black.back(delta * without(7)[:, None])
    for one in (fewer, fewer | {"dW1": right["dW1"]}):
        assert verdicts(explain_gradients(problem, one)) == {
            "dW2": "samples-left-out", "db2": "samples-left-out",
            "dW1": "correct", "db1": "samples-left-out",
        }  # fmt: skip


def test_a_mistake_in_an_earlier_layer_is_named_beside_it():
    grads = weighted(net(), without(7))
    found = explain_gradients(net().problem(), grads | {"dW1": -grads["dW1"]}).gradients
    assert found["dW1"].mistakes == ("negated", "samples-left-out")
    assert verdicts(explain_gradients(net().problem(), grads))["dW1"] == "samples-left-out"


def test_any_of_the_gradients_of_the_last_layer_are_enough():
    grads = weighted(net(), without(7))
    for names in (["dW2"], ["dW2", "dW1"], ["dW2", "db2"]):
        some = {name: grads[name] for name in names}
        found = verdicts(explain_gradients(net().problem(), some))
        assert set(found.values()) == {"samples-left-out"}
    assert verdicts(explain_gradients(net().problem(), {"db2": grads["db2"]})) != {
        "db2": "samples-left-out"
    }


@pytest.mark.parametrize(("l2", "mistakes"), [(0.1, ()), (0.05, ("doubled-l2",))])
def test_the_penalty_has_no_weights(l2, mistakes):
    """It stands beside the sum, right or wrong."""
    grads = weighted(net(), without(7))
    for name, W in (("dW1", net().W1), ("dW2", net().W2)):
        grads[name] = grads[name] + 0.1 * W
    found = explain_gradients(net().problem(l2=l2), grads).gradients
    assert set(found["dW2"].mistakes) == {"samples-left-out", *mistakes}
    assert found["db2"].mistakes == ("samples-left-out",)


@pytest.mark.parametrize("biases", [True, False])
def test_in_columns_and_without_biases(biases):
    one = net()
    if not biases:
        one.H = sigmoid(one.x @ one.W1)
        one.P = softmax(one.H @ one.W2)
    grads = {n: g.T for n, g in weighted(one, without(7)).items() if biases or n[1] == "W"}
    b = [one.b1, one.b2] if biases else [None, None]
    turned, layout, _ = in_rows(Arrays(one.x.T, one.y, [one.W1.T, one.W2.T], b, grads))
    assert layout.name == "columns"
    problem = Problem(turned.x, turned.y, turned.W, turned.b, activation="sigmoid")
    found = verdicts(explain_gradients(problem, turned.grads))
    assert found == dict.fromkeys(grads, "samples-left-out")


@pytest.mark.parametrize(("m", "names"), [(9, "both"), (10, "left out"), (11, "neither")])
def test_as_many_weights_as_equations_prove_nothing_unless_they_are_simple(m, names):
    """4 hidden units and a bias, 3 classes of which 2 are free: 10 equations."""
    small = Net(m=m, widths=(6, 4, 3), seed=1)
    left_out = np.arange(m) < m - 1
    weighting = weighting_of(small.problem(), weighted(small, left_out))
    assert (weighting is not None) == (names != "neither")
    any_weights = np.random.default_rng(0).uniform(0.2, 2.0, m)
    weighting = weighting_of(small.problem(), weighted(small, any_weights))
    assert (weighting is not None) == (names == "both")


def test_two_samples_that_are_the_same_cannot_be_told_apart():
    twin = net()
    for name in ("x", "y", "Y", "H", "P"):
        getattr(twin, name)[1] = getattr(twin, name)[0]
    assert weighting_of(twin.problem(), weighted(twin, without(1))) is None
    assert weighting_of(net().problem(), weighted(net(), without(1))) is not None


def test_of_one_output_any_wrong_delta_has_other_weights():
    rng = np.random.default_rng(0)
    x, Y, W = rng.normal(size=(6, 9)), rng.normal(size=(6, 1)), rng.normal(size=(9, 1))
    problem = Problem(x, Y, [W], loss="mse", reduction="sum")
    for power, name in ((1, "correct"), (3, "unexplained")):
        found = explain_gradients(problem, {"dW1": x.T @ (2 * (x @ W - Y) ** power)})
        assert verdicts(found) == {"dW1": name}
    left_out = {"dW1": x[:-1].T @ (2 * (x @ W - Y))[:-1]}
    assert verdicts(explain_gradients(problem, left_out)) == {"dW1": "samples-left-out"}


def test_large_batches_and_layers_are_left_alone(monkeypatch):
    grads = weighted(net(), without(7))
    assert weighting_of(net().problem(), grads) is not None
    for limit, value in (("MOST_SAMPLES", M - 1), ("MOST_NUMBERS", 18 * M - 1)):
        with monkeypatch.context() as patch:
            patch.setattr(weights, limit, value)
            assert weighting_of(net().problem(), grads) is None


# ---- nothing else is given to weights -----------------------------------------------------------


class Other(Backprop):
    """A backpropagation whose delta of the output nothing in the catalogue gives."""

    kind = "left out"

    def output_delta(self):
        right, rng = super().output_delta(), np.random.default_rng(self.case.seed)
        shares = rng.random(right.shape)
        return {
            "left out": lambda: right * (rng.random((len(right), 1)) < 0.7),
            "dropout": lambda: right * (shares < 0.7),
            "cubic": lambda: right**3,
            "another target": lambda: shares / shares.sum(axis=1, keepdims=True) - self.case.Y,
            "clipped": lambda: np.clip(right, *np.quantile(right, [0.3, 0.7])),
            "noise": lambda: rng.normal(size=right.shape),
        }[self.kind]().astype(right.dtype)


def named(case, grads):
    """What the weights are called if nothing else explains a gradient; None for nothing."""
    search = Search(Problem(**case.problem), grads, coarsest([*grads.values()]))
    nothing = Story(1.0, dict.fromkeys(grads), {name: [] for name in grads}, 99.0)
    story = weighted_story(search, nothing)
    return None if story is nothing else [one.names[0] for one in story.best.values()]


@pytest.mark.parametrize(
    "kind", ["right", "noise in all", "dropout", "cubic", "another target", "clipped", "noise"]
)
def test_what_nothing_explains_stays_unexplained(kind):
    """Of 500 networks, with all gradients and with the last layer's alone."""
    said = []
    for seed in range(40_000, 40_500):
        case = draw(seed, m=(1, 40))
        if kind == "dropout" and case.k == 1:
            continue  # there it leaves samples out
        other = Other(case, ())
        other.kind = kind
        grads = backprop(case) if kind in ("right", "noise in all") else other.gradients()
        if kind == "noise in all":
            rng = np.random.default_rng(seed)
            grads = {name: rng.normal(size=g.shape).astype(g.dtype) for name, g in grads.items()}
        last = {name: g for name, g in grads.items() if int(name[2:]) == case.n_layers}
        said += [f"{case}: {one}" for g in (grads, last) if (one := named(case, g))]
    assert said == []


def test_weights_are_found_where_the_same_is_asked():
    """The planted fault of the test above: samples left out of the same networks."""
    cases = [draw(seed, m=(1, 40)) for seed in range(40_000, 40_060)]
    found = [named(case, Other(case, ()).gradients()) for case in cases]
    assert sum(one is not None for one in found) > 15
    assert {name for one in found if one for name in one} == {"samples-left-out"}
