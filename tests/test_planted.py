"""The test material for ``explain`` itself: the backprop is right, the planted lines are wrong.

The right one is held against central differences of a loss that is written here from its
definition, the wrong ones against the catalogue's formulas and what follows from them.
"""

import itertools

import numpy as np
import pytest
from planted import (
    MISTAKES,
    NotApplicableError,
    Plant,
    backprop,
    changed,
    choose,
    draw,
    identifiable,
    plants,
)
from planted_catalogue import FACTORS, REGULARISERS
from planted_networks import FUNCTIONS, HIDDEN, OUTPUTS, REDUCTIONS

COMBINATIONS = [(loss, output) for loss, outputs in OUTPUTS.items() for output in outputs]
KINKED = ("relu", "leaky_relu", "elu")

# ---- the right backprop --------------------------------------------------------------------------


def loss_of(case):
    """The declared loss of a case, by its definition."""
    a = case.x
    distance = 1.0
    for layer in range(1, case.n_layers + 1):
        z = a @ case.W[layer]
        z = z if case.b[layer] is None else z + case.b[layer]
        if layer < case.n_layers:
            a = FUNCTIONS[case.activations[layer]](z)
            if case.activations[layer] in KINKED:
                distance = min(distance, np.abs(z).min())
    Y = case.y
    if case.loss == "softmax-xent":
        Y = np.arange(case.k) == Y[:, None] if Y.ndim == 1 else Y
        total = (np.log(np.exp(z).sum(axis=1)) - (Y * z).sum(axis=1)).sum()
    elif case.loss == "sigmoid-bce":
        p, Y = 1.0 / (1.0 + np.exp(-z)), Y.reshape(z.shape)
        total = -(Y * np.log(p) + (1.0 - Y) * np.log(1.0 - p)).sum()
    else:
        e = np.exp(z)
        out = {
            "identity": z,
            "sigmoid": 1.0 / (1.0 + 1.0 / e),
            "tanh": (e - 1.0 / e) / (e + 1.0 / e),
            "softmax": e / e.sum(axis=1)[:, None],
        }[case.output]
        total = ((out - Y.reshape(z.shape)) ** 2).sum()
    return constant(case) * total + case.l2 / 2 * sum((W**2).sum() for W in case.W[1:]), distance


def constant(case):
    """C, as what was declared says it."""
    if "scale" in case.declared:
        return case.declared["scale"]
    n = case.m if case.loss == "softmax-xent" else case.m * case.k
    constants = {"mean": 1 / n, "sum": 1.0, "half-mean": 1 / (2 * n), "half-sum": 0.5}
    return constants[case.declared["reduction"]]


def differences(case, p, h=1e-6):
    """The central differences of the loss by each element of the parameter p of the case."""
    g = np.zeros_like(p)
    for i in np.ndindex(p.shape):
        value = p[i]
        p[i] = value + h
        above = loss_of(case)[0]
        p[i] = value - h
        g[i] = (above - loss_of(case)[0]) / (2 * h)
        p[i] = value
    return g


def assert_right(case):
    gradients = backprop(case)
    names = [f"dW{i}" for i in range(1, case.n_layers + 1)]
    names += [f"db{i}" for i in range(1, case.n_layers + 1) if case.b[i] is not None]
    assert sorted(gradients) == sorted(names)
    for name, g in gradients.items():
        p = (case.W if name[1] == "W" else case.b)[int(name[2:])]
        numeric = differences(case, p)
        assert (g.dtype, g.shape) == (case.dtype, p.shape)
        error = np.linalg.norm(g - numeric)
        assert error < 1e-6 * np.linalg.norm(numeric) + 1e-8 * (1 + case.C), f"{name} of {case}"


def away_from_kinks(seed, **given):
    """The first case from this seed on in which no difference steps over a kink."""
    for attempt in range(20):
        case = draw(seed + 1000 * attempt, dtype="float64", declared=True, **given)
        if loss_of(case)[1] > 1e-4:
            return case
    raise AssertionError("no case found away from kinks")


@pytest.mark.parametrize(("loss", "output"), COMBINATIONS)
def test_the_backprop_is_right_for_every_declared_loss(loss, output):
    every = itertools.product((*REDUCTIONS, "scale"), (0.0, 0.3), (True, False))
    for seed, (reduction, l2, biases) in enumerate(every):
        given = {"reduction": reduction, "l2": l2, "biases": biases}
        case = away_from_kinks(seed, loss=loss, output=output, n_layers=2, m=(1, 6), **given)
        assert (case.loss, case.output, case.l2, case.b[1] is not None) == (
            loss,
            output,
            l2,
            biases,
        )
        assert_right(case)


@pytest.mark.parametrize("activation", HIDDEN)
def test_the_backprop_is_right_for_every_activation_and_depth(activation):
    for n_layers, square in itertools.product((2, 3, 4), (True, False)):
        given = {"n_layers": n_layers, "square": square}
        case = away_from_kinks(n_layers, activation=activation, m=(1, 6), **given)
        assert (case.n_layers, case.square) == (n_layers, square)
        assert set(case.activations[1:]) == {activation}
        assert_right(case)


def test_the_backprop_is_right_with_an_activation_a_layer():
    cases = [draw(seed, m=2, n_layers=4, dtype="float64", declared=True) for seed in range(30)]
    mixed = [case for case in cases if len(set(case.activations[1:])) > 1]
    for case in mixed[:5]:
        assert_right(away_from_kinks(case.seed, m=2, n_layers=4))


def test_float32_gradients_are_those_of_float64_rounded():
    for seed in range(40):
        single, double = draw(seed, dtype="float32"), draw(seed, dtype="float64")
        exact = backprop(double)
        for name, g in backprop(single).items():
            assert g.dtype == np.float32
            size = np.linalg.norm(exact[name])
            scale = max(np.linalg.norm(other) for other in exact.values())
            assert np.linalg.norm(g - exact[name]) < 2e-5 * size + 1e-6 * scale, (name, str(single))


# ---- the planted lines ---------------------------------------------------------------------------


def small(loss="softmax-xent", **given):
    """A case with all that mistakes need: three square layers, biases, L2."""
    return draw(
        given.pop("seed", 3),
        **{
            "n_layers": 3,
            "square": True,
            "m": 5,
            "dtype": "float64",
            "declared": True,
            "loss": loss,
            "reduction": "mean",
            "l2": 0.1,
            "biases": True,
            "activation": "tanh",
            **given,
        },
    )


def planted(case, name, place, form=""):
    return backprop(case, [Plant(name, place, form)])


def test_the_catalogue_is_complete():
    assert len(MISTAKES) == len(set(MISTAKES)) == 64
    for name in MISTAKES:
        cases = [
            small(loss, l2=l2, square=square, seed=seed)
            for loss in OUTPUTS
            for l2 in (0.0, 0.1)
            for square in (True, False)
            for seed in range(3)
        ]
        assert any(plants(case, name) for case in cases), name


def test_a_mistake_changes_its_own_gradient_or_all_from_its_layer_down():
    for seed in range(12):
        case = draw(seed)
        right = backprop(case)
        for plant in (p for name in MISTAKES for p in plants(case, name)):
            wrong = planted(case, plant.name, plant.place, plant.form)
            differ = {n for n, g in right.items() if not np.array_equal(wrong[n], g)}
            if plant.place == "all":
                assert differ <= set(right)
            elif isinstance(plant.place, str):
                assert differ <= {plant.place}
            else:
                assert all(int(n[2:]) <= plant.place for n in differ)


def test_what_changed_comes_in_the_order_of_backprop():
    case = small()
    assert changed(case, backprop(case)) == []
    assert changed(case, planted(case, "doubled", "db2")) == ["db2"]
    assert changed(case, planted(case, "derivative-missing", 2)) == ["dW2", "db2", "dW1", "db1"]


@pytest.mark.parametrize("name", FACTORS)
def test_factors(name):
    case = small(m=6, seed=5)
    factor = {
        "negated": -1,
        "summed-not-averaged": 6,
        "averaged-twice": 1 / 6,
        "doubled": 2,
        "halved": 1 / 2,
        "times-half-the-batch": 3,
        "averaged-over-outputs": 1 / case.k,
        "summed-over-outputs": case.k,
        "wrong-factor": 10,
    }[name]
    right = backprop(case)
    for place in ("dW2", "all"):
        whole = planted(case, name, place, "whole")["dW2"]
        np.testing.assert_allclose(whole, factor * right["dW2"])
        data = planted(case, name, place, "data")["dW2"] - case.l2 * case.W[2]
        np.testing.assert_allclose(data, factor * (right["dW2"] - case.l2 * case.W[2]))
    np.testing.assert_allclose(planted(case, name, "db3")["db3"], factor * right["db3"])


@pytest.mark.parametrize("name", REGULARISERS)
def test_regularisers(name):
    case = small(m=4, l2=0.0 if name == "undeclared-l2" else 0.1, seed=9)
    W = case.W[1]
    term = {
        "missing-l2": 0 * W,
        "doubled-l2": 0.2 * W,
        "halved-l2": 0.05 * W,
        "negated-l2": -0.1 * W,
        "l2-averaged": 0.025 * W,
        "wrong-l2": 0.07 * W,
        "undeclared-l2": 0.035 * W,
        "l1-for-l2": 0.1 * np.sign(W),
    }[name]
    data = backprop(case)["dW1"] - case.l2 * W
    for place in ("dW1", "all"):
        np.testing.assert_allclose(planted(case, name, place)["dW1"] - data, term, atol=1e-14)


def test_regularised_biases():
    case = small()
    wrong = planted(case, "regularised-bias", "all")
    for i in (1, 2, 3):
        term = wrong[f"db{i}"] - backprop(case)[f"db{i}"]
        np.testing.assert_allclose(term, 0.1 * case.b[i], atol=1e-14)


def deltas(case):
    """dZ of each layer, from gradients by parameters alone: biases of one sample at a time."""
    rows = []
    for i in range(case.m):
        one = backprop(case, [Plant("not-summed", f"db{layer}") for layer in (1, 2, 3)])
        rows.append([one[f"db{layer}"][i] for layer in (1, 2, 3)])
    return [None, *(np.stack([row[layer] for row in rows]) for layer in range(3))]


def test_wrong_products_of_weights():
    case = small(l2=0.0)
    _, A, _ = case.forward
    a, d = A[1], deltas(case)[2]
    np.testing.assert_allclose(backprop(case)["dW2"], a.T @ d)
    per_sample = np.einsum("si,sj->sij", a, d)
    expected = {
        "transposed": d.T @ a,
        "product-of-sums": np.einsum("si,tj->ij", a, d),
        "not-summed": per_sample,
        "clipped-by-value": None,
        "output-for-input": A[2].T @ d,
        "input-before-activation": case.forward[0][1].T @ d,
    }
    for name, g in expected.items():
        wrong = planted(case, name, "dW2")["dW2"]
        if g is not None:
            np.testing.assert_allclose(wrong, g)
        else:
            assert np.abs(wrong).max() < np.abs(a.T @ d).max()
    for i, which in ((0, "first"), (-1, "last")):
        wrong = planted(case, f"{which}-sample-only", "dW2", "scaled")["dW2"]
        np.testing.assert_allclose(wrong, per_sample[i])
        wrong = planted(case, f"{which}-sample-only", "dW2", "unscaled")["dW2"]
        np.testing.assert_allclose(wrong, per_sample[i] / case.C)
        wrong = planted(case, "stale-activations", "dW2", which)["dW2"]
        np.testing.assert_allclose(wrong, np.outer(a[i], d.sum(axis=0)))
    for shift, which in ((-1, "next"), (1, "previous")):
        wrong = planted(case, "stale-activations", "dW2", which)["dW2"]
        np.testing.assert_allclose(wrong, sum(np.outer(a[(s - shift) % 5], d[s]) for s in range(5)))
    np.testing.assert_array_equal(
        planted(case, "gradient-of-another-layer", "dW2", "3")["dW2"], backprop(case)["dW3"]
    )
    assert not planted(case, "missing", "dW2")["dW2"].any()


def test_wrong_products_of_weights_that_are_not_square():
    case = small(square=False, l2=0.0)
    a, d = case.forward[1][1], deltas(case)[2]
    assert planted(case, "transposed", "dW2")["dW2"].shape == case.W[2].shape[::-1]
    wrong = planted(case, "reshaped-not-transposed", "dW2")["dW2"]
    np.testing.assert_allclose(wrong.ravel(), (d.T @ a).ravel())
    assert wrong.shape == case.W[2].shape


def test_wrong_inputs():
    case = small(l2=0.0)
    x, d = case.x, deltas(case)[1]
    for form, wrong in {
        "times 255": 255 * x,
        "over 255": x / 255,
        "centred": x - x.mean(axis=0),
        "standardised": (x - x.mean(axis=0)) / x.std(axis=0),
    }.items():
        g = planted(case, "wrong-input-scaling", "dW1", form)["dW1"]
        np.testing.assert_allclose(g, wrong.T @ d, atol=1e-14)


def test_wrong_sums_of_biases():
    case = small()
    d, n = deltas(case)[2], case.k

    def db(name, form=""):
        return planted(case, name, "db2", form)["db2"]

    np.testing.assert_allclose(db("one-scalar-for-all-biases", "sum"), d.sum())
    np.testing.assert_allclose(db("one-scalar-for-all-biases", "mean repeated"), [d.sum() / n] * n)
    np.testing.assert_allclose(db("wrong-axis"), [row.sum() for row in d])
    np.testing.assert_allclose(db("bias-from-weights", "whole"), backprop(case)["dW2"].sum(axis=0))
    np.testing.assert_allclose(db("first-sample-only", "scaled"), d[0])


def output_delta(case, name, form=""):
    """What the planted line gives for dZ of the last layer, without C."""
    plant = Plant(name, case.n_layers, form)
    return backprop(case, [plant, Plant("not-summed", "db3")])["db3"] / case.C


def test_wrong_deltas_of_cross_entropy():
    case = small()
    Y, Z = case.Y, case.forward[0][3]
    e = np.exp(Z)
    P = e / e.sum(axis=1)[:, None]
    for name, form, delta in (
        ("labels-off-by-one", "up", P - Y[:, [-1, *range(case.k - 1)]]),
        ("labels-off-by-one", "down", P - Y[:, [*range(1, case.k), 0]]),
        ("targets-of-another-sample", "next", P - Y[[1, 2, 3, 4, 0]]),
        ("targets-of-another-sample", "previous", P - Y[[4, 0, 1, 2, 3]]),
        ("targets-missing", "", P),
        ("logits-for-outputs", "", Z - Y),
        ("sigmoid-for-softmax", "", 1 / (1 + 1 / e) - Y),
        ("softmax-over-batch", "", e / e.sum() - Y),
        ("softmax-wrong-axis", "", e / e.sum(axis=0) - Y),
        ("hard-predictions", "", (Z.max(axis=1)[:, None] == Z) - Y),
        ("gradient-of-mae", "", np.sign(P - Y)),
        ("loss-for-gradient", "", (P - Y) * (P - Y)),
        ("gradient-of-mse", "", (P - Y) * P * (1 - P)),
        ("cross-entropy-without-softmax", "", -Y / P),
    ):
        np.testing.assert_allclose(output_delta(case, name, form), delta, err_msg=name, atol=1e-14)


def test_wrong_deltas_of_binary_cross_entropy():
    case = small("sigmoid-bce")
    Y, e = case.Y, np.exp(case.forward[0][3])
    O = e / (1 + e)  # noqa: E741
    for name, delta in (
        ("softmax-for-sigmoid", e / e.sum(axis=1)[:, None] - Y),
        ("cross-entropy-without-softmax", (O - Y) / (O - O * O)),
    ):
        np.testing.assert_allclose(output_delta(case, name), delta, err_msg=name)


def test_wrong_deltas_of_squared_error():
    case = small("mse", output="sigmoid")
    Y, O = case.Y, case.forward[2]  # noqa: E741
    slope = O - O * O
    for name, form, delta in (
        ("gradient-of-mae", "", np.sign(O - Y) * slope),
        ("gradient-of-mae", "times 2", 2 * np.sign(O - Y) * slope),
        ("loss-for-gradient", "", (O - Y) ** 2 * slope),
        ("derivative-missing", "", 2 * (O - Y)),
        ("derivative-twice", "", 2 * (O - Y) * slope**2),
    ):
        np.testing.assert_allclose(output_delta(case, name, form), delta, err_msg=name, atol=1e-14)
    case = small("mse", output="softmax")
    P = case.forward[2]
    delta = output_delta(case, "softmax-jacobian-diagonal")
    np.testing.assert_allclose(delta, 2 * (P - case.Y) * (P - P * P), atol=1e-14)


def hidden_delta(case, name, form=""):
    return backprop(case, [Plant(name, 1, form), Plant("not-summed", "db1")])["db1"]


def test_wrong_steps_back():
    case = small(l2=0.0)
    Z, A, _ = case.forward
    W, dW, above = case.W, backprop(case)["dW2"], deltas(case)[2]
    dA, a = above @ W[2].T, A[1]
    slope, s = 1 - a**2, 1 / (1 + np.exp(-Z[1]))
    for name, form, delta in (
        ("derivative-missing", "", dA),
        ("derivative-of-activation", "", dA * (1 - np.tanh(a) ** 2)),
        ("derivative-twice", "", dA * slope**2),
        ("activation-for-derivative", "", dA * a),
        ("derivative-of-another-activation", "sigmoid", dA * s * (1 - s)),
        ("derivative-of-another-activation", "sigmoid of A", dA * a * (1 - a)),
        ("derivative-of-another-activation", "relu", dA * (Z[1] > 0)),
        ("derivative-from-another-layer", "2", dA * (1 - A[2] ** 2)),
        ("stale-derivative", "previous", dA * slope[[4, 0, 1, 2, 3]]),
        ("stale-derivative", "first", dA * slope[0]),
        ("weights-missing", "sum", above.sum(axis=1)[:, None] * slope),
        ("weights-missing", "as it is", above * slope),
        ("weights-transposed", "", above @ W[2] * slope),
        ("weights-of-another-layer", "3", above @ W[3].T * slope),
        ("weights-already-updated", "0.1", above @ (W[2] - 0.1 * dW).T * slope),
    ):
        np.testing.assert_allclose(hidden_delta(case, name, form), delta, err_msg=name)
    column = a.T @ (1 - A[2] ** 2) @ backprop(case)["dW3"].sum(axis=1)
    for row in planted(case, "weight-gradient-passed-back", "dW2")["dW2"].T:
        np.testing.assert_allclose(row, column)


def test_two_mistakes_are_both_made():
    case = small(l2=0.0)
    both = backprop(case, [Plant("transposed", "dW2"), Plant("negated", "dW2")])["dW2"]
    np.testing.assert_array_equal(both, -planted(case, "transposed", "dW2")["dW2"])
    both = backprop(case, [Plant("derivative-missing", 2), Plant("doubled", "dW1")])
    np.testing.assert_allclose(both["dW1"], 2 * planted(case, "derivative-missing", 2)["dW1"])


def test_what_there_is_no_room_for_is_refused():
    case = small("mse", square=False)
    for wrong in (
        [Plant("softmax-over-batch", 3)],
        [Plant("weights-transposed", 1)],
        [Plant("doubled", "dW1", "data"), Plant("halved", "dW1", "data")],
        [Plant("undeclared-l2", "dW1")],
    ):
        with pytest.raises(NotApplicableError):
            backprop(case, wrong)
    with pytest.raises(NotApplicableError):
        choose(case, "labels-off-by-one")


# ---- what can be told ----------------------------------------------------------------------------


def can_tell(case, name, place, form=""):
    return identifiable(case, [Plant(name, place, form)])


def test_a_batch_of_one_hides_what_sums_over_it():
    case = small(m=1, l2=0.0)
    for name in ("product-of-sums", "not-summed", "summed-not-averaged", "stale-activations"):
        for plant in plants(case, name):
            assert not identifiable(case, [plant])
    assert can_tell(case, "derivative-missing", 2)


def test_a_batch_of_two_hides_half_of_it():
    case = small(m=2)
    assert not can_tell(case, "times-half-the-batch", "dW2", "data")
    assert not can_tell(case, "summed-not-averaged", "dW2", "data")  # that is doubled, too
    assert can_tell(small(m=3, seed=4), "times-half-the-batch", "dW2", "data")


def test_a_bias_alone_cannot_tell_a_factor_without_a_name():
    seed = next(s for s in range(50) if small("sigmoid-bce", square=False, seed=s).k == 1)
    case = small("sigmoid-bce", square=False, seed=seed)
    assert not can_tell(case, "wrong-factor", "db3")
    assert can_tell(case, "negated", "db3")
    assert can_tell(case, "wrong-factor", "dW3", "whole")


def test_without_a_declared_constant_a_common_factor_is_a_reading():
    case = small(declared=False)
    for name in ("doubled", "summed-not-averaged", "wrong-factor"):
        assert not can_tell(case, name, "all")
        assert can_tell(case, name, "dW2") or name == "summed-not-averaged"
    assert can_tell(case, "negated", "all")
    case = small(declared=False, biases=False, n_layers=2)
    assert not can_tell(case, "doubled", "dW1")  # or the other one is halved
    assert can_tell(small(biases=False, n_layers=2), "doubled", "dW1", "whole")


def test_a_mean_may_be_one_over_the_outputs_or_not():
    case = small("mse", m=3)
    assert case.k == 11
    assert not can_tell(case, "summed-over-outputs", "all", "data")
    assert not can_tell(case, "summed-over-outputs", "all", "whole")  # or lambda is k times it
    assert can_tell(case, "averaged-over-outputs", "all", "data")
    assert can_tell(case, "summed-over-outputs", "dW1", "data")
    assert can_tell(small("mse", m=3, reduction="sum"), "summed-over-outputs", "all", "data")


def test_softmax_hides_the_scalar_bias_behind_zeros():
    """Rows of softmax and of one-hot labels both sum to 1: their difference sums to 0."""
    case = small()
    assert not can_tell(case, "missing", "db3")
    assert can_tell(case, "missing", "db2")


def test_a_clipped_gradient_must_show_its_limit():
    case = small(l2=0.0)
    assert can_tell(case, "clipped-by-value", "dW2")
    seed = next(s for s in range(99) if small("sigmoid-bce", square=False, seed=s).W[3].size == 2)
    case = small("sigmoid-bce", square=False, seed=seed, l2=0.0)
    assert not can_tell(case, "clipped-by-value", "dW3")


def test_rounding_alone_tells_nothing():
    """Rows of a softmax's dW sum to 0, so in float32 what is handed back is its rounding."""
    seeds = [s for s in range(30) if small(seed=s, dtype="float32", l2=0.0, m=20).W[3].size > 8]
    for seed in seeds[:5]:
        case = small(seed=seed, dtype="float32", l2=0.0, m=20)
        assert np.abs(planted(case, "weight-gradient-passed-back", "dW2")["dW2"]).max() > 0
        assert not can_tell(case, "weight-gradient-passed-back", "dW2")
        assert can_tell(case, "weight-gradient-passed-back", "dW1")


def test_a_pair_is_not_told_from_what_one_mistake_does():
    case = small(l2=0.0)
    assert identifiable(case, [Plant("transposed", "dW2"), Plant("negated", "dW1")])
    assert not identifiable(case, [Plant("negated", "dW2"), Plant("missing", "dW2")])


def test_most_plants_can_be_told():
    """Else the table of identification would be one of nothing."""
    told, made = 0, 0
    for seed in range(8):
        case = draw(seed, m=(5, 64))
        for name in MISTAKES:
            if plants(case, name):
                made += 1
                told += identifiable(case, [choose(case, name)])
    assert told > 0.85 * made
