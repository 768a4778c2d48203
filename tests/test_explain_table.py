"""``explain`` names planted mistakes, and accuses no correct gradient.

Networks, gradients and mistakes are those of ``planted``, which knows nothing of xpnet. The whole
table of mistakes and families is made by ``explain_table.py``; its last result is the floor here.
"""

from __future__ import annotations

import itertools
import re

import explain_table
import numpy as np
import pytest
from explain_table import complaints, explained
from planted import MISTAKES, Plant, backprop, choose, draw, identifiable, plants, readings
from planted_networks import HIDDEN, OUTPUTS

from xpnet.mistakes import CATALOGUE


def told(name, count):
    """The first networks in which the mistake is possible and the numbers can tell it."""
    found = []
    for seed in itertools.count(900_000):
        case = draw(seed, n_layers=2, m=(1, 12))
        if plants(case, name) and identifiable(case, [choose(case, name)]):
            found.append(case)
        if len(found) == count:
            return found
    raise AssertionError


# ---- mistakes ------------------------------------------------------------------------------------


def test_the_catalogue_has_every_mistake():
    assert set(MISTAKES) <= {getattr(mistake, "name", mistake) for mistake in CATALOGUE}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name):
    [case] = told(name, 1)
    plant = choose(case, name)
    gradients = backprop(case, [plant])
    assert not complaints(case, plant, gradients, explained(case, gradients)), f"{plant} | {case}"


def test_a_wrong_explanation_is_noticed():
    """The planted fault: what is said of other gradients is held against these."""
    case = draw(3, n_layers=3, m=8, square=True, declared=True, biases=True, l2=0.0)
    plant = Plant("derivative-missing", 2)
    gradients = backprop(case, [plant])
    right = explained(case, backprop(case))
    assert [said[:12] for said in complaints(case, plant, gradients, right)] == [
        "dW2 correct ",
        "db2 correct ",
        "dW1 correct ",
        "db1 correct ",
    ]
    of_all = explained(case, backprop(case, [Plant("negated", "all")]))
    said = complaints(case, Plant("negated", "dW2"), gradients, of_all)
    assert any("db3 is right, not negated" in line for line in said)


# ---- correct gradients ---------------------------------------------------------------------------


def assert_correct(case, gradients, note=""):
    explanation = explained(case, gradients)
    assert explanation.correct, f"{note} {case}: {explanation}"
    verdicts = {name: finding.verdict for name, finding in explanation.gradients.items()}
    assert verdicts == dict.fromkeys(gradients, "correct")
    return explanation


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_correct_gradients_are_not_accused(dtype):
    assert explain_table.accusations(40, dtype) == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_thousand_correct_cases_are_not_accused(dtype):
    assert explain_table.accusations(1000, dtype) == []


@pytest.mark.parametrize("seed", range(4))
def test_the_shape_of_a_bias_is_a_matter_of_taste(seed):
    case = draw(seed, biases=True, m=(3, 20))
    right = backprop(case)
    for shape in ((1, -1), (-1, 1)):
        g = {n: v.reshape(shape) if n.startswith("db") else v for n, v in right.items()}
        assert_correct(case, g, shape)


@pytest.mark.parametrize("seed", range(4))
def test_any_of_the_gradients_are_enough(seed):
    case = draw(seed + 10, m=(3, 20))
    right = backprop(case)
    rng = np.random.default_rng(seed)
    for name in right:
        assert_correct(case, {name: right[name]}, name)
    some = {name: g for name, g in right.items() if rng.random() < 0.5} or right
    assert_correct(case, some, sorted(some))


@pytest.mark.parametrize("seed", range(6))
def test_a_common_factor_is_a_reading_where_none_is_declared(seed):
    """Reported as such; a negative one is not."""
    case = draw(seed + 20, declared=False, m=(3, 20))
    right = backprop(case)
    for factor in (2.0, 0.37, case.m, 1e-3):
        g = {name: g * case.dtype.type(factor) for name, g in right.items()}
        explanation = assert_correct(case, g, factor)
        assert explanation.factor == pytest.approx(factor * case.C, rel=1e-4)
    negative = explained(case, {name: -g for name, g in right.items()})
    assert {finding.verdict for finding in negative.gradients.values()} == {"negated"}


def test_a_mean_may_be_one_over_the_samples_alone():
    case = draw(30, declared=True, reduction="mean", loss="mse", m=7, square=True, l2=0.1)
    over_both, over_samples = readings(case)
    assert pytest.approx(1 / 7) == over_samples.C
    for reading in (over_both, over_samples):
        assert assert_correct(case, backprop(reading)).factor == pytest.approx(reading.C)


def test_a_declared_constant_is_not_read_otherwise():
    for seed, m in ((31, 1), (32, 1), (33, 7)):
        case = draw(seed, declared=True, reduction="half-mean", loss="mse", m=m, square=True)
        g = {name: 3.7 * g for name, g in backprop(case).items()}
        assert not explained(case, g).correct


@pytest.mark.parametrize("loss", OUTPUTS)
@pytest.mark.parametrize("seed", range(3))
def test_another_way_to_compute_it_is_no_mistake(loss, seed):
    """In float32, a sample at a time, columns for rows, exponentials as in the books."""
    case = draw(seed + 40, loss=loss, dtype="float32", m=(2, 32), activation=HIDDEN[2 * seed])
    assert_correct(case, sample_by_sample(case))


def sample_by_sample(case):
    """The correct gradients, added up over samples in float32; activations by their definitions."""
    one, half = np.float32(1), np.float32(0.5)
    c = np.float32(np.sqrt(2 / np.pi))

    def sigma(z):
        return one / (one + np.exp(-z))

    def bent(z):
        return np.tanh(c * (z + np.float32(0.044715) * z * z * z))

    functions = {
        "identity": (lambda z: z, lambda z: one + 0 * z),
        "sigmoid": (sigma, lambda z: np.exp(-z) * sigma(z) * sigma(z)),
        "tanh": (lambda z: 2 * sigma(2 * z) - 1, lambda z: one / np.cosh(z) ** 2),
        "relu": (lambda z: z * (z > 0), lambda z: (z >= 0) * one),
        "leaky_relu": (
            lambda z: np.maximum(z, z * np.float32(0.01)),
            lambda z: np.where(z >= 0, one, np.float32(0.01)),
        ),
        "elu": (
            lambda z: np.where(z > 0, z, np.exp(z) - one),
            lambda z: np.where(z >= 0, one, np.exp(z)),
        ),
        "gelu": (
            lambda z: half * z * (one + bent(z)),
            lambda z: (
                half * (one + bent(z))
                + half * z * (one - bent(z) ** 2) * c * (one + np.float32(0.134145) * z * z)
            ),
        ),
        "silu": (lambda z: z / (one + np.exp(-z)), lambda z: sigma(z) + z * sigma(z) * sigma(-z)),
        "softplus": (lambda z: np.log(one + np.exp(z)), sigma),
    }
    g = {name: np.zeros_like(v) for name, v in backprop(case).items()}
    last = case.n_layers
    for i in reversed(range(case.m)):
        a, z = [case.x[i]], [None]
        for layer in range(1, last + 1):
            z.append(case.W[layer].T.dot(a[-1]))
            if case.b[layer] is not None:
                z[layer] += case.b[layer]
            if layer < last:
                a.append(functions[case.activations[layer]][0](z[layer]))
        e = np.exp(z[last])
        out = e / e.sum() if case.output == "softmax" else functions[case.output][0](z[last])
        delta = out - case.Y[i]
        if case.loss == "mse" and case.output == "softmax":
            delta = 2 * (np.diag(out) - np.outer(out, out)).dot(delta)
        elif case.loss == "mse":
            delta = 2 * delta * functions[case.output][1](z[last])
        for layer in range(last, 0, -1):
            g[f"dW{layer}"] += np.outer(a[layer - 1], delta)
            if case.b[layer] is not None:
                g[f"db{layer}"] += delta
            if layer > 1:
                slope = functions[case.activations[layer - 1]][1](z[layer - 1])
                delta = case.W[layer].dot(delta) * slope
    for name in g:
        g[name] *= np.float32(case.C)
        if name.startswith("dW"):
            g[name] += np.float32(case.l2) * case.W[int(name[2:])]
    return g


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_at_a_kink_either_slope_is_right(activation, share):
    """Black images and no biases: z is exactly 0, and z >= 0 is as good as z > 0."""
    case = draw(50, n_layers=3, m=12, activation=activation, biases=False, dtype="float32")
    case.x[: int(share * case.m)] = 0.0
    assert_correct(case, backprop(case), "z > 0")
    assert_correct(case, sample_by_sample(case), "z >= 0")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_gradients_of_dead_layers_are_correct(dtype, l2):
    """Nothing of the data comes through: the gradient is 0, or its L2 term alone."""
    case = draw(60, n_layers=3, m=1, activation="relu", dtype=dtype, declared=True, l2=l2)
    case.x[:] = 0.0
    assert_correct(case, backprop(case), "black image")
    case = draw(61, n_layers=3, m=6, activation="relu", dtype=dtype, declared=True, l2=l2)
    case.W[2][:] = -np.abs(case.W[2])
    if case.b[2] is not None:
        case.b[2][:] = -np.abs(case.b[2])
    assert_correct(case, backprop(case), "dead units")


@pytest.mark.parametrize("seed", range(4))
def test_saturated_outputs_are_not_accused(seed):
    """float32 has few digits left in 1 - tanh(z)**2: the gradients are rough, but right."""
    outputs = ("sigmoid", "tanh", "softmax", "sigmoid")
    case = draw(seed + 70, loss="mse", output=outputs[seed], dtype="float32", m=(3, 20))
    case.W[-1][:] *= 4
    assert_correct(case, backprop(case))


# ---- the table -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_table_of_identification_stands():
    """Every mistake is named at least as often as in the kept table, and in 95 of 100 cases."""
    table = explain_table.singles(1)
    floor = explain_table.FLOOR.read_text(encoding="utf-8")
    for name, row in table.rows.items():
        [kept] = re.findall(rf"^{name} +\d+ +([\d.]+)", floor, re.MULTILINE)
        rate = 100 * row["all"].hits / row["all"].total
        lost = [line for line in table.failures if line.startswith(f"{name} at")]
        assert rate >= max(95.0, float(kept) - 0.05), "\n".join(lost)


@pytest.mark.slow
def test_pairs_of_mistakes_are_named():
    _, both, failures = explain_table.pairs(100)
    assert both.hits >= 80, "\n".join(failures)
