"""The doctor: each verdict has a planted run that shows it and a near miss that does not."""

import math

import numpy as np
import pytest
from conftest import make_backend
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from xpnet import backends
from xpnet.datasets.idx import read_idx
from xpnet.datasets.mnist import FOLDER
from xpnet.evaluation import evaluate
from xpnet.symptoms import CHECKS, Vitals, Watch, doctor, vitals
from xpnet.symptoms.facts import MNIST
from xpnet.symptoms.verdict import LEVELS
from xpnet.symptoms.vitals import LayerVitals
from xpnet.train import segments

LN10 = math.log(10)
TEN = {"n_classes": 10}
NUMPY = backends.get("numpy")
FIRST_100 = dict(enumerate([13, 14, 6, 11, 11, 5, 11, 10, 8, 11]))
"""Labels per class among the first 100 training images of MNIST."""

HEALTHY = {
    "loss": [0.5329, 0.1322, 0.0790, 0.0425, 0.0185, 0.0089],
    "accuracy": [0.8549, 0.9598, 0.9745, 0.9868, 0.9945, 0.9983],
}


def found(history, **known):
    """The verdicts by name."""
    return {verdict.name: verdict for verdict in doctor(history, **known)}


def losses(*values, **columns):
    return {"loss": list(values), **columns}


def layer(**changes):
    well = LayerVitals("layers.0", "relu", 100, 0.02, 0.0, 0.0, 0.0, 1e-3, 10.0, 0.1, 0.05)
    return well._replace(**changes)


def body(epoch=5, first=None, **changes):
    """Vitals of two layers; ``first`` are the changes of the first one."""
    layers = (layer(**(first or {})), layer(name="layers.1", activation="identity", units=10))
    each = np.full(10, 50)
    well = Vitals(epoch, 500, 2.3, layers, each, each, None, None, (), None)
    return well._replace(**changes)


ILL = losses(2.31, 2.30, 2.32, 2.31, 2.30, accuracy=[0.11, 0.13, 0.12, 0.12, 0.11])
"""A run that learns nothing: what is odd in its vitals is more than a hint."""


def seen(*looks, history=ILL, **known):
    return history, {"vitals": looks, **TEN, **known}


SATURATED = {"activation": "sigmoid", "saturated": 0.97}
ONE_CLASS = np.array([0] * 9 + [500])
SHRINKING = [0.9**k for k in range(20)]
REGRESSION = losses(1.01, 1.0, 1.01, 1.0)

PLANTED = {
    "flat-loss": [
        (losses(*[2.302585] * 5), {}, "certain"),
        (losses("2.303", "2.303", "2.303"), {}, "likely"),
        (losses(*[2.30260495] * 2, accuracy=[0.0986] * 2), {}, "certain"),
        (losses(*[2.3, 2.3 + 1e-7, 2.3 - 1e-7], accuracy=[0.1] * 3), {}, "certain"),
    ],
    "not-finite": [
        (losses(2.3, 1.9, math.nan), {}, "certain"),
        (losses("inf", "nan"), {}, "certain"),
        (losses(2.3, 1.9, val_loss=[2.3, math.nan]), {}, "certain"),
        (*seen(body(not_finite="the parameter layers.0.W")), "certain"),
    ],
    "diverging": [
        (losses(2.3, 4.0, 9.0, 30.0), TEN, "likely"),
        (losses(2.3, 4.0, 9.0, 30.0, math.nan), TEN, "certain"),
        (losses(0.7, 5.0, 4e5), {}, "certain"),
    ],
    "rising-loss": [(losses(2.3, 2.4, 2.5, 2.6, 2.7), {}, "likely")],
    "learning-rate-too-low": [
        (losses(*(2.3 * (1 - 1e-4 * k) for k in range(10))), {}, "likely"),
        (*seen(body(first={"update": 1e-5})._replace(layers=(layer(update=1e-5),))), "likely"),
    ],
    "learning-rate-too-high": [
        (losses(2.3, 9.0, 2.2, 2.1, 2.0), TEN, "likely"),
        (losses(*[2.3, 1.2] * 10), {}, "likely"),
        (*seen(body(first={"update": 30.0})), "likely"),
    ],
    "constant-prediction": [
        ({"accuracy": ["10.22%"] * 4, "test_accuracy": ["10.1%"] * 4}, {}, "certain"),
        ({"test_accuracy": ["8.92"]}, {"test_labels": dict(enumerate(MNIST["test_accuracy"]))},
         "likely"),
        (*seen(body(predicted=ONE_CLASS)), "certain"),
    ],
    "below-chance": [
        ({"accuracy": [0.02, 0.01, 0.01]}, TEN, "likely"),
        ({"accuracy": [0.1]}, {"labels": [0, 1] * 500}, "likely"),
    ],
    "plateau-at-chance": [
        ({"accuracy": ["12", "13", "14", "14", "13", "12", "12"]}, TEN, "likely"),
        (losses(*np.linspace(2.3033, 2.2917, 20), accuracy=[0.21] * 20), TEN, "likely"),
    ],
    "permuted-labels": [
        ({"accuracy": [0.3, 0.8, 0.99], "val_accuracy": [0.11, 0.10, 0.09]}, TEN, "likely"),
    ],
    "summed-loss": [
        (losses(128 * LN10, 130.0, 60.0), {"batch_size": 128, **TEN}, "certain"),
        (losses(60000 * LN10, 60000.0), TEN, "likely"),
        (losses(1000 * LN10, 300.0), {"labels": np.arange(1000) % 10}, "certain"),
    ],
    "softmax-over-batch": [
        (losses("798288.75", "798261.9", val_loss=["54096.5", "54097.2"]), TEN, "certain"),
        (losses(math.log(1280), 7.0), {"batch_size": 128, **TEN}, "certain"),
        (losses(128 * math.log(1280), 900.0), {"batch_size": 128, **TEN}, "certain"),
    ],
    "large-initial-loss": [(losses(29.98, 10.2, 7.1, 5.5), TEN, "likely")],
    "hidden-state": [(losses(*["3.86"] * 4, accuracy=["10.22 %"] * 4), TEN, "likely")],
    "outputs-at-zero": [
        (losses(2.09203670985, 0.980999805477), TEN, "certain"),
        (losses("2.09", "0.981"), TEN, "likely"),
        (losses(0.2, 0.1), {**TEN, "loss": "mse"}, "hint"),
        (losses(0.2, 0.1000001), {**TEN, "loss": "mse"}, "certain"),
    ],
    "output-stuck-at-one": [(losses(2.409, 1.74539997258), {"labels": FIRST_100}, "certain")],
    "cross-entropy-floor": [
        (losses(2.2, 1.8, 1.6, 1.5, 1.48, 1.47, 1.4695, 1.469, accuracy=[0.97] * 8), TEN,
         "certain"),
        (losses(2.2, 1.8, 1.7, 1.61, 1.605, 1.60, 1.60, 1.60, accuracy=[0.9] * 8), TEN, "likely"),
    ],
    "signed-loss": [
        (losses(1.0, 0.4, -0.2), {}, "likely"),
        (losses(1.0, 0.4, -0.2), {"loss": "mse"}, "certain"),
    ],
    "loss-contradicts-accuracy": [
        (losses(0.99, 0.1, 1.46e-4, accuracy=[0.75] * 3), {"n_classes": 2}, "certain"),
        (losses(2.3, 0.1, accuracy=[0.1, 0.5]), {**TEN, "loss": "softmax_xent"}, "likely"),
    ],
    "summed-gradient": [
        (losses(2.0920, 0.9809998), {**TEN, "learning_rate": 0.4, "batch_size": 100}, "likely"),
        (losses("798288.75", "797869"),
         {**TEN, "learning_rate": 1e-5, "batch_size": 60000, "momentum": 0.9}, "likely"),
        (losses(2.3, 40.0, 90.0), {**TEN, "learning_rate": 0.4, "batch_size": 100}, "hint"),
    ],
    "vanishing-gradient": [
        (losses(2.09, 0.98, **{"Mean Gradient": [0.0321, -5.3e-9]}), TEN, "hint"),
        (losses(2.09, 0.98, grad_norm=[0.0321, 5.3e-9], accuracy=[0.1, 0.11]), TEN, "likely"),
        (*seen(body(first={"delta": 1e-8})), "likely"),
        (*seen(body(first={"delta": 0.0})), "certain"),
    ],
    "exploding-gradient": [
        (losses(2.3, 2.2, 2.1, 2.2, grad_norm=[1, 1.1, 2000, 1]), {}, "likely"),
        (*seen(body(first={"delta": 2.0})), "likely"),
        (*seen(body(first={"delta": 2.0}), history=HEALTHY), "hint"),
    ],
    "shrinking-weights": [
        (losses(*[2.3] * 20, weight_norm=SHRINKING), {}, "likely"),
        (*seen(*(body(k, {"weight": 3.0 * 0.6**k}) for k in range(6))), "likely"),
    ],
    "dead-units": [
        (*seen(body(first={"dead": 1.0})), "certain"),
        (*seen(body(first={"dead": 0.8})), "likely"),
        (*seen(body(first={"dead": 0.8}), history=HEALTHY), "hint"),
        (*seen(body(first={"dead": 0.5})), "hint"),
    ],
    "saturated-units": [
        (*seen(body(first=SATURATED)), "certain"),
        (*seen(body(first=SATURATED), history=HEALTHY), "hint"),
    ],
    "broken-symmetry": [
        (*seen(body(first={"twins": 1.0})), "certain"),
        (*seen(body(first={"twins": 0.6})), "likely"),
        (*seen(body(first={"paired": 1.0})), "certain"),
    ],
    "frozen-parameters": [
        (*seen(body(frozen=("layers.0.W", "layers.0.b"))), "likely"),
        (*seen(body(frozen=("layers.0.W", "layers.0.b", "layers.1.W", "layers.1.b"))), "certain"),
    ],
    "predicts-the-mean": [
        (REGRESSION, {"vitals": [body(spread=0.01, residual=0.001, predicted=None)]}, "likely"),
    ],
    "overfitting": [
        ({"accuracy": [0.6, 0.9, 0.99], "val_accuracy": [0.6012, 0.7034, 0.6843]}, {}, "likely"),
        ({"accuracy": [0.6, 0.9, 0.99], "val_accuracy": [19 / 30, 0.7, 0.8]}, {}, "hint"),
        (losses(1.0, 0.3, 0.05, 0.01, val_loss=[1.0, 0.5, 0.8, 1.2]), {}, "likely"),
        ({**losses(0.5, 0.1, 0.01, val_loss=[0.3, 0.07, 0.14]),
          "accuracy": [0.9, 0.97, 0.99], "val_accuracy": [0.95, 0.98, 0.98]}, {}, "hint"),
    ],
    "validation-leak": [
        (losses(0.5123, 0.3456, 0.2345, val_loss=[0.5123, 0.3456, 0.2345]), {}, "certain"),
        ({"accuracy": [0.7, 0.8, 0.9], "val_accuracy": [1.0] * 3}, {}, "hint"),
    ],
    "validation-easier": [(losses(1.0, 0.5, 0.4, val_loss=[0.6, 0.3, 0.2]), {}, "hint")],
}  # fmt: skip
"""By verdict: runs that show it, what is known of them, and how sure the doctor is."""

NEAR = {
    "flat-loss": [
        (losses(2.302585, 2.302585, 2.302595), {}),  # one digit moves
        (losses(2.302585, 2.302585), {}),  # two records are no course
        (losses(2.302585, 2.302585, accuracy=[0.1, 0.2]), {}),
        (losses("2.30", "2.30", accuracy=[0.1, 0.1]), {}),
        (losses(0.0, 0.0, 0.0), {}),  # there is nothing left to learn
        (losses(1e-4, 1e-4, 1e-4, accuracy=[1.0] * 3), {}),
    ],
    "not-finite": [(losses("2.3", "", "1.9", val_loss=["", "2.1", "-"]), {}), seen(body())],
    "diverging": [
        (losses(2.3, 3.0, 5.0, 6.8), TEN),  # less than three times
        (losses(0.01, 0.02, 0.05), {**TEN, "loss": "softmax_xent"}),  # far below ln C
        (losses(2.3, 30.0, 2.2, 2.0), TEN),  # it came back: a leap
    ],
    "rising-loss": [
        (losses(2.3, 2.2, 2.5, 2.6, 2.7), {}),
        (losses(2.3, 2.4, 2.5, 2.6, accuracy=[0.1, 0.2, 0.3, 0.4]), {}),
    ],
    "learning-rate-too-low": [
        (losses(*(2.25 + 0.04 * 0.5**k for k in range(10))), {}),  # it slows down: a plateau
        (losses(*(2.3 - 0.01 * k for k in range(10))), {}),  # 4 %
        (HEALTHY, TEN),
        seen(body(first={"update": 1e-5})),  # another layer moves
    ],
    "learning-rate-too-high": [
        (losses(2.3, 6.8, 2.2, 2.1), TEN),
        (losses(2.3, *[0.02, 0.06] * 10, accuracy=[0.99] * 21), TEN),  # swings of a good network
        (losses(*(0.69 + 0.01 * (-1) ** k for k in range(20))), {}),  # 3 %
        seen(body(1, {"update": 30.0})),  # small weights that grow at first
        seen(body(first={"update": 9.0})),
    ],
    "constant-prediction": [
        ({"accuracy": ["10.23%"] * 4, "test_accuracy": ["10.1%"] * 4},
         {"labels": dict(enumerate(MNIST["accuracy"]))}),  # 10.218 % does not round to this
        ({"accuracy": [0.5, 0.5, 0.5]}, {"labels": [0] * 3 + [1] * 7}),
        seen(body(predicted=np.array([0] * 8 + [1, 499]))),
        seen(body(predicted=ONE_CLASS, labels=ONE_CLASS)),  # and rightly so
    ],
    "below-chance": [
        ({"accuracy": [0.051, 0.051, 0.051]}, TEN),
        ({"accuracy": [0.1, 0.1, 0.0892]}, {"labels": dict(enumerate(MNIST["test_accuracy"]))}),
    ],
    "plateau-at-chance": [
        ({"accuracy": [0.12, 0.14, 0.2, 0.3]}, TEN),
        (losses(0.25, 0.2, 0.15, 0.12, 0.1, accuracy=[0.93] * 5), {"labels": [0] * 93 + [1] * 7}),
        (HEALTHY, TEN),
    ],
    "permuted-labels": [
        ({"accuracy": [0.3, 0.8, 0.99], "val_accuracy": [0.15, 0.20, 0.25]}, TEN),  # overfitting
        ({"accuracy": [0.10, 0.11], "val_accuracy": [0.10, 0.11]}, TEN),  # a plateau
    ],
    "summed-loss": [
        (losses(123 * LN10, 130.0), {"batch_size": 100, **TEN}),
        (losses(29.98, 12.0), TEN),
        (losses(294.7, 120.0), {"batch_size": 128, "loss": "mse", **TEN}),
    ],
    "softmax-over-batch": [
        (losses(790000.0, 780000.0), TEN),
        (losses(2.31, 2.0), {"batch_size": 128, **TEN}),
    ],
    "large-initial-loss": [
        (losses(6.8, 3.0, 2.5), TEN),
        (losses(294.7, 130.0), {"batch_size": 128, **TEN}),  # summed
    ],
    "hidden-state": [
        (losses(*["2.31"] * 4, accuracy=["10.22 %"] * 4), TEN),  # fresh weights, never updated
        (losses(3.86, 3.85, 3.84), TEN),
    ],
    "outputs-at-zero": [
        (losses(2.092, 0.98111), TEN),
        (losses(2.092, 0.980999805477, accuracy=[0.2, 0.9]), TEN),
        (losses(2.092, 0.980999805477), {"n_classes": 3}),
        (losses(2.092, 0.980999805477), {**TEN, "loss": "softmax_xent"}),
    ],
    "output-stuck-at-one": [
        (losses(2.409, 1.74561), {"labels": FIRST_100}),
        (losses(2.409, 1.74539997258), TEN),  # the shares are not known
    ],
    "cross-entropy-floor": [
        (losses(2.2, 1.8, 1.6, 1.5, 1.4, 1.4, 1.4, 1.4, accuracy=[0.97] * 8), TEN),
        (losses(2.2, 2.0, 1.9, 1.8, 1.7, 1.6, accuracy=[0.8] * 6), TEN),  # still falling
        (losses(0.6, 0.4, 0.35, 0.33, 0.33, 0.33, accuracy=[0.86] * 6), {"n_classes": 2}),
        (losses(*[1.6] * 6, accuracy=[0.97] * 6),
         {**TEN, "loss": xpnet.SoftmaxCrossEntropy(smoothing=0.5)}),
    ],
    "signed-loss": [(losses(1.0, 0.4, -0.0), {}), (losses("1.0", "0.0", "-0.0"), {})],
    "loss-contradicts-accuracy": [
        (losses(0.99, 0.1, 0.03, accuracy=[0.75] * 3), {"n_classes": 2}),
        (HEALTHY, {**TEN, "loss": "softmax_xent"}),
    ],
    "summed-gradient": [
        (HEALTHY, {**TEN, "learning_rate": 0.1, "batch_size": 128, "momentum": 0.9}),
        (losses(2.0920, 0.9809998), {**TEN, "learning_rate": 0.004, "batch_size": 100}),
    ],
    "vanishing-gradient": [
        (losses(2.09, 1e-7, grad_norm=[0.03, 1e-9]), {}),  # a minimum
        seen(body(first={"delta": 2e-7})),
        seen(body(first={"delta": 1e-9}), history=HEALTHY),
    ],
    "exploding-gradient": [
        (losses(2.3, 2.2, 2.1, 2.2, grad_norm=[1, 1.1, 900, 1]), {}),
        seen(body(first={"delta": 0.9})),
    ],
    "shrinking-weights": [
        (losses(*[2.3] * 20, weight_norm=[0.25 + 0.75 * w for w in SHRINKING]), {}),
        (losses(*[2.3] * 4, weight_norm=[1.0, 0.3, 0.29, 0.19]), {}),  # no steady factor
    ],
    "dead-units": [seen(body(first={"dead": 0.25}))],
    "saturated-units": [seen(body(first={"activation": "tanh", "saturated": 0.6}))],
    "broken-symmetry": [
        seen(body(first={"twins": 0.4, "paired": 0.4})),
        seen(body(first={"paired": None})),
        seen(body()._replace(layers=(layer(twins=1.0),))),  # outputs may well start equal
    ],
    "frozen-parameters": [seen(body())],
    "predicts-the-mean": [
        (REGRESSION, {"vitals": [body(spread=0.1, residual=0.001, predicted=None)]}),
        (losses(1.0, 0.4), {"vitals": [body(spread=0.04, residual=0.001, predicted=None)]}),
    ],
    "overfitting": [
        ({"accuracy": [0.6, 0.9, 0.99], "val_accuracy": [0.6, 0.8, 0.85]}, {}),
        (losses(1.0, 0.3, 0.1, val_loss=[1.0, 0.5, 0.54]), {}),
    ],
    "validation-leak": [
        (losses(0.5123, 0.3456, 0.2345, val_loss=[0.5123, 0.3456, 0.2346]), {}),
        (losses("0.51", "0.35", "0.23", val_loss=["0.51", "0.35", "0.23"]), {}),  # few digits
        (losses(*[2.302585] * 5, val_loss=[2.302585] * 5), {}),  # nothing moves at all
        ({"accuracy": [0.7, 0.8, 0.9], "val_accuracy": [1.0, 1.0, 0.99]}, {}),
    ],
    "validation-easier": [(losses(1.0, 0.5, 0.4, val_loss=[0.6, 0.3, 0.33]), {})],
}  # fmt: skip
"""By verdict: runs that nearly show it."""


def test_every_verdict_has_a_planted_run_and_a_near_miss():
    assert set(PLANTED) == set(NEAR) == set(CHECKS)
    assert all(PLANTED.values())
    assert all(NEAR.values())


@pytest.mark.parametrize(
    ("name", "i"), [(name, i) for name, runs in PLANTED.items() for i in range(len(runs))]
)
def test_a_planted_run_is_named(name, i):
    history, known, level = PLANTED[name][i]
    verdicts = doctor(history, **known)
    [verdict] = [v for v in verdicts if v.name == name]
    assert verdict.level == level, verdict
    assert verdict.serious == (level != "hint")
    assert any(c.isdigit() for c in verdict.evidence) or "the parameter" in verdict.evidence
    ranks = [LEVELS.index(v.level) for v in verdicts]
    assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize(
    ("name", "i"), [(name, i) for name, runs in NEAR.items() for i in range(len(runs))]
)
def test_a_near_miss_is_not(name, i):
    history, known = NEAR[name][i]
    assert name not in found(history, **known)


def test_each_text_is_one_sentence_without_loose_ends():
    for check in CHECKS.values():
        assert check.name == check.name.lower()
        assert check.find.__doc__
        for text in (check.meaning, check.remedy):
            assert text[0].isupper()
            assert text.endswith((".", "?"))


# ---- the five posts ----------------------------------------------------------------------------


def test_shadowed_weights():
    post = {
        "Train Accuracy": ["10.22%"] * 4,
        "Train Cost": ["3.86"] * 4,
        "Test Accuracy": ["10.1%"] * 4,
    }
    verdicts = found(post, n_classes=10)
    assert {"flat-loss", "constant-prediction", "hidden-state"} <= set(verdicts)
    assert "class 3 in MNIST" in verdicts["constant-prediction"].evidence
    assert "6,131 of 60,000" in verdicts["constant-prediction"].evidence
    labels = {name: dict(enumerate(counts)) for name, counts in MNIST.items()}
    told = found(post, labels=labels["accuracy"], test_labels=labels["test_accuracy"])
    assert told["constant-prediction"].level == "certain"
    assert told["constant-prediction"].evidence.endswith("the share of class 3")


def test_transposed_gradient():
    course = ["12", *["13"] * 9, *["14"] * 10, *["13"] * 10, *["12"] * 10]
    assert found({"accuracy": course}, n_classes=10)["plateau-at-chance"].level == "likely"
    ascent = [29.98, 20.1, 15.3, 12.2, 9.9, 8.1, 7.1, 5.0, 4.0, 3.09]
    verdicts = found(losses(*ascent, accuracy=[0.12] * 10), n_classes=10)
    assert {"plateau-at-chance", "large-initial-loss"} <= set(verdicts)


def test_summed_gradient():
    post = [
        {"Iteration": 0, "Cost": 2.09203670985, "Mean Gradient": 0.0321241229793},
        {"Iteration": 100, "Cost": 0.980999805477, "Mean Gradient": -5.29639499854e-09,
         "Test accuracy": 8.92},
    ]  # fmt: skip
    known = {"test_labels": dict(enumerate(MNIST["test_accuracy"])), "labels": FIRST_100}
    verdicts = found(post, **known, learning_rate=0.4, batch_size=100)
    assert verdicts["outputs-at-zero"].level == "certain"
    assert "0.99^2 + 9 * 0.01^2" in verdicts["outputs-at-zero"].evidence
    assert "892 of 10,000: the share of class 5" in verdicts["constant-prediction"].evidence
    assert "= 40" in verdicts["summed-gradient"].evidence
    other = found(losses(2.40881492228, 1.74539997258), labels=FIRST_100)
    assert "3 or 4 or 6 or 9" in other["output-stuck-at-one"].evidence
    for good in ((4.07208963507, 0.613310215166), (5.67535252616, 0.381080434935)):
        assert not {"outputs-at-zero", "output-stuck-at-one"} & set(
            found(losses(*good), labels=FIRST_100)
        )


def test_fake_momentum():
    first = {
        "loss": [798288.7537714319, 798261.8584179751, 798252.1191081362, 797869.3890292909],
        "val_loss": [54096.50409967187, 54097.23663558976, 54095.5016235736, 54061.02482142968],
        "val_accuracy": ["12.1 %", "12.1 %", "12.1 %", "21.26 %"],
    }
    verdict = found(first, n_classes=10)["softmax-over-batch"]
    assert verdict.level == "certain"
    assert "m = 60,000" in verdict.evidence
    assert "m = 5,000" in verdict.evidence
    second = {
        "loss": [2.3033276613180695, 2.3021765614184284, 2.302371681532198, 2.2985702635977137,
                 2.2977277198903883, 2.291884965880953, 2.2918549799506307, 2.2916983481535644],
        "val_accuracy": [10.96, 10.96, 10.96, 18.52, 19.78, 21.08, 21.08, 21.060000000000002],
    }  # fmt: skip
    assert found(second, n_classes=10)["plateau-at-chance"].level == "likely"


def test_broken_chain_rule():
    """The signed sum of residuals comes to 0 while a quarter of the gate is wrong."""
    residual = [0.9928, 0.4, 0.05, 3 - (0.69641759 + 0.754652 + 0.75447178 + 0.79431198)]
    verdicts = found(losses(*residual, accuracy=[0.75] * 4), labels=[0, 1, 1, 1])
    assert verdicts["loss-contradicts-accuracy"].level == "certain"
    assert "signed-loss" in found(losses(0.99, 0.2, -0.01, -0.05))


def test_the_counts_of_mnist_are_those_of_the_data():
    for part, column in (("train", "accuracy"), ("t10k", "test_accuracy")):
        labels = read_idx(FOLDER / f"{part}-labels.idx1-ubyte.gz")
        assert np.bincount(labels).tolist() == list(MNIST[column])


# ---- what a history may be ------------------------------------------------------------------


def test_a_healthy_run_is_left_in_peace_in_every_form():
    rows = [dict(zip(HEALTHY, pair, strict=True)) for pair in zip(*HEALTHY.values(), strict=True)]
    reports = [
        xpnet.Report(i + 1, row["loss"], row["accuracy"], None, None, 1.5, 4e4)
        for i, row in enumerate(rows)
    ]
    theta = np.zeros(3)
    percents = {"Loss": HEALTHY["loss"], "acc (%)": [100 * a for a in HEALTHY["accuracy"]]}
    forms = [HEALTHY, rows, reports, [(r, theta) for r in reports], HEALTHY["loss"], percents]
    forms += [np.array(HEALTHY["loss"], np.float32), {k: tuple(v) for k, v in HEALTHY.items()}]
    for form in forms:
        assert doctor(form, n_classes=10) == []


@pytest.mark.parametrize(
    "column",
    ["val_loss", "Validation Loss", "valLoss", "valid_loss", "loss/val", "Val cost", "eval_loss"],
)
def test_usual_names_of_columns_are_known(column):
    equal = [0.5123, 0.3456, 0.2345]
    run = {"epoch": [1, 2, 3], "Train-Loss": equal, column: equal}
    assert "loss and val_loss" in found(run)["validation-leak"].evidence


WRONG = [
    ([], xpnet.DataError, "empty"),
    ({}, xpnet.DataError, "empty"),
    ({"loss": []}, xpnet.DataError, "empty"),
    ({"epoch": [1, 2]}, xpnet.DataError, "no loss and no accuracy"),
    ({"loss": [1.0], "accuracy": [0.1, 0.2]}, xpnet.DataError, "differ in length"),
    ({"loss": [1.0, "much"]}, xpnet.DataError, "loss of record 2 is no number: 'much'"),
    ({"loss": [True]}, xpnet.DataError, "no number"),
    ({"accuracy": [0.5, 120.0]}, xpnet.DataError, "accuracy is 120"),
    ({"accuracy": [0.5, -0.1]}, xpnet.DataError, "accuracy is -0.1"),
    ("2.3", xpnet.UsageError, "must be a sequence"),
    (2.3, xpnet.UsageError, "must be a sequence"),
    (np.zeros((3, 2)), xpnet.UsageError, "must be a sequence"),
    ([[1.0, 2.0]], xpnet.UsageError, "no record"),
]


@pytest.mark.parametrize(("history", "error", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_history_is_refused(history, error, said):
    with pytest.raises(error, match=said):
        doctor(history)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"n_classes": 1}, "number of classes"),
        ({"labels": [0, 1, 11], "n_classes": 10}, "label 11 of sample 2"),
        ({"labels": [0, -1]}, "label -1 of sample 1"),
        ({"labels": [0.5, 1]}, "label 0.5 of sample 0"),
        ({"labels": []}, "labels"),
        ({"labels": ["a"]}, "labels"),
        ({"labels": {0: -3}}, "counts"),
        ({"loss": "softmx_xent"}, "did you mean 'softmax_xent'"),
        ({"batch_size": 0}, "batch size"),
        ({"learning_rate": -1}, "learning rate"),
        ({"momentum": 1.0}, "momentum"),
    ],
)
def test_senseless_facts_are_refused(known, said):
    with pytest.raises((xpnet.DataError, xpnet.UsageError), match=said):
        doctor(HEALTHY, **known)


def test_labels_may_come_as_counts_or_one_hot():
    labels = np.repeat(np.arange(10), list(FIRST_100.values()))
    run = losses(2.409, 1.74539997258)
    verdicts = [doctor(run, labels=y) for y in (labels, FIRST_100, np.eye(10)[labels])]
    assert verdicts[0] == verdicts[1] == verdicts[2] != []


odd = st.sampled_from(["", "nan", "1e400", "3.1", 0, 1, 2**70])
numbers = st.one_of(st.none(), st.floats(), st.floats(0, 1), odd)
columns = st.sampled_from(["loss", "val_loss", "grad_norm", "weight_norm", "lr", "epoch"])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.dictionaries(columns, numbers), max_size=8),
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.sampled_from([None, 2, 10]),
)
def test_no_numbers_make_it_stumble(rows, accuracies, n_classes):
    rows = [{**row, "accuracy": a} for row, a in zip(rows, accuracies, strict=False)]
    try:
        verdicts = doctor(rows, n_classes=n_classes, batch_size=32, learning_rate=0.1)
    except xpnet.DataError:
        return
    assert all(v.level in LEVELS and v.evidence for v in verdicts)


# ---- trainings with the engine ----------------------------------------------------------------


def blobs(n=400, n_classes=4, seed=0):
    """Clouds of points, one a class."""
    rng = np.random.default_rng(seed)
    centres = 2 * np.random.default_rng(99).normal(size=(n_classes, 6))
    y = rng.integers(0, n_classes, n).astype(np.int32)
    return xpnet.Dataset((centres[y] + rng.normal(size=(n, 6))).astype(np.float32), y)


def watched(network, data, theta=None, test=None, backend=NUMPY, **settings):
    """The verdicts on a training, by name; from the weights ``theta`` if given."""
    hp = xpnet.Hyperparameters.of(**{"epochs": 6, "batch_size": 32, **settings})
    watch, start = Watch(network, data, hp, backend), None
    if theta is not None:
        start = watch.run._replace(state=watch.run.state._replace(theta=theta))
        watch = Watch(network, data, hp, backend, start=start)
    try:
        for run in segments(network, data, hp=hp, backend=backend, start=start):
            watch.observe(run)
    except xpnet.TrainingError:
        return {v.name: v for v in watch.verdicts(failed=True)}
    evaluation = None if test is None else evaluate(network, run.theta, test, hp.loss)
    return {v.name: v for v in watch.verdicts(test, evaluation)}


NETWORK = xpnet.mlp(6, 16, 8, 4)
SGD = {"optimizer": xpnet.SGD(lr=0.05), "schedule": xpnet.Constant()}


def serious(verdicts):
    return {v.name: v.evidence for v in verdicts.values() if v.serious}


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": xpnet.AdamW(lr=0.01)},
        {"optimizer": xpnet.Momentum(lr=0.02), "validation_split": 0.2},
        {**SGD, "epochs": 12},
        {"optimizer": xpnet.AdamW(lr=0.01), "dtype": "float64", "batch_size": 400, "epochs": 40},
    ],
)
def test_healthy_trainings_raise_no_alarm(settings):
    assert not serious(watched(NETWORK, blobs(), test=blobs(100, seed=1), **settings))


def test_healthy_regression_and_binary_raise_no_alarm():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6)).astype(np.float32)
    y = (np.tanh(X[:, :1]) + 0.1 * rng.normal(size=(400, 1))).astype(np.float32)
    network = xpnet.mlp(6, 16, 1)
    for loss, targets in ((xpnet.MeanSquaredError(), y), (xpnet.BinaryCrossEntropy(), y > 0)):
        data = xpnet.Dataset(X, targets.astype(np.float32))
        for optimizer in (xpnet.AdamW(lr=0.01), xpnet.Momentum(lr=0.05)):
            assert not serious(watched(network, data, loss=loss, optimizer=optimizer, epochs=10))


def test_a_learning_rate_of_100():
    verdicts = watched(NETWORK, blobs(), **{**SGD, "optimizer": xpnet.SGD(lr=100.0)})
    assert {"diverging", "learning-rate-too-high", "dead-units"} & set(serious(verdicts))
    assert "learning-rate-too-low" not in verdicts


def test_a_learning_rate_of_a_millionth():
    verdicts = watched(NETWORK, blobs(), **{**SGD, "optimizer": xpnet.SGD(lr=1e-6)})
    assert "learning-rate-too-low" in serious(verdicts)


def test_relu_that_died_of_its_bias():
    params = NETWORK.split(np, NETWORK.init(0))
    params[0]["b"][:] = -1e3
    verdicts = serious(watched(NETWORK, blobs(), NETWORK.flatten(params), **SGD))
    assert "16 of the 16 units of layers.0" in verdicts["dead-units"]
    assert "constant-prediction" in verdicts
    assert "layers.0.W" in verdicts["frozen-parameters"]


def test_sigmoid_that_is_saturated_from_the_start():
    network = xpnet.mlp(6, 16, 4, activation="sigmoid", init="normal:200")
    verdicts = serious(watched(network, blobs(), **SGD))
    assert "layers.0" in verdicts["saturated-units"]


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_weights_that_all_start_at_zero(activation):
    network = xpnet.mlp(6, 16, 4, activation=activation, init="zeros")
    verdicts = serious(watched(network, blobs(), **SGD))
    assert "100 % of the 16 units of layers.0 have" in verdicts["broken-symmetry"]


def test_a_gradient_that_vanishes_on_its_way():
    network = xpnet.mlp(6, *[8] * 10, 4, activation="sigmoid")
    assert "vanishing-gradient" in serious(watched(network, blobs(), **SGD))


def test_shuffled_labels():
    data, rng = blobs(200), np.random.default_rng(0)
    data = xpnet.Dataset(data.X, rng.permutation(data.y))
    network = xpnet.mlp(6, 96, 4)
    test = xpnet.Dataset(blobs(400, seed=3).X, rng.integers(0, 4, 400).astype(np.int32))
    adam = {"optimizer": xpnet.AdamW(lr=0.01), "epochs": 100}
    assert "permuted-labels" in serious(watched(network, data, test=test, **adam))
    assert "plateau-at-chance" in serious(watched(NETWORK, data, **SGD))


def test_validation_samples_copied_from_the_training_set():
    data, held = blobs(300), blobs(100, seed=4)
    copied = data.rows(range(100))
    reports = [report for report, _ in xpnet.fit(NETWORK, data, copied, epochs=5)]
    verdict = found(reports, train=data, validation=copied)["validation-leak"]
    assert verdict.level == "certain"
    assert "100 of the 100 validation samples" in verdict.evidence
    assert "validation-leak" not in found(reports, train=data, validation=held)
    half = xpnet.Dataset(np.concatenate([copied.X[:50], held.X[:50]]), held.y)
    assert found(reports, train=data, validation=half)["validation-leak"].level == "certain"


def test_samples_of_few_whole_features_are_no_leak():
    """They have doubles in the training set itself."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (500, 3)).astype(np.uint8)
    data = xpnet.Dataset(X, (X.sum(axis=1) > 3).astype(np.int32))
    train, held = data.split(0.2)
    reports = [report for report, _ in xpnet.fit(xpnet.mlp(3, 8, 2), train, held, epochs=5)]
    assert "validation-leak" not in found(reports, train=train, validation=held)


@pytest.mark.parametrize("name", ["numpy", "device1", pytest.param("jax", marks=pytest.mark.slow)])
def test_the_origin_of_a_nan_is_found_to_the_step(name):
    backend, far = make_backend(name), {**SGD, "optimizer": xpnet.SGD(lr=1e30)}
    verdicts = watched(NETWORK, blobs(), backend=backend, **far)
    assert verdicts["not-finite"].level == "certain"
    assert "at step 2 of epoch 1 the output of layers." in verdicts["not-finite"].evidence
    slow = watched(NETWORK, blobs(), **{**SGD, "optimizer": xpnet.SGD(lr=1e3)})
    assert "loss grows from" in slow["diverging"].evidence


def test_the_loss_itself_may_be_the_origin():
    """The square of 1e25 is no float32, though 1e25 is."""
    data = blobs()
    far = xpnet.Dataset(data.X, np.full((data.n, 1), 1e25, np.float32))
    verdicts = watched(xpnet.mlp(6, 4, 1), far, loss=xpnet.MeanSquaredError(), **SGD)
    assert "at step 1 of epoch 1 the loss is the first" in verdicts["not-finite"].evidence


def test_watching_does_not_change_a_training():
    hp = xpnet.Hyperparameters(epochs=3, batch_size=32)
    network = xpnet.mlp(6, 16, 4, dropout=0.2)
    last = {}
    for looking in (False, True):
        watch = Watch(network, blobs(), hp, NUMPY) if looking else None
        for run in segments(network, blobs(), hp=hp, backend=NUMPY):
            if watch is not None:
                watch.observe(run)
        last[looking] = run
    assert last[False].state.theta.tobytes() == last[True].state.theta.tobytes()
    assert [r[:5] for r in last[False].reports] == [r[:5] for r in last[True].reports]
    assert len(watch.vitals) == 4


EVERYWHERE = [
    "numpy-readonly",
    "array-api-strict",
    "device1",
    pytest.param("jax", marks=pytest.mark.slow),  # it compiles every operation
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("cupy", marks=pytest.mark.cupy),
]


# ---- vitals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERYWHERE)
def test_vitals_are_the_same_on_every_backend(name):
    backend = make_backend(name)
    network, data = xpnet.mlp(6, 8, 4), blobs(64)
    theta, before = network.init(0), network.init(1)
    exact = vitals(network, theta, data.X, data.y, previous_theta=before)
    place = backend.asarray
    ours = vitals(network, place(theta), place(data.X), place(data.y), previous_theta=place(before))
    assert ours.loss == pytest.approx(exact.loss, rel=1e-5)
    assert ours.predicted.tolist() == exact.predicted.tolist()
    for a, b in zip(ours.layers, exact.layers, strict=True):
        assert a[:3] == b[:3]
        assert a[3:] == pytest.approx(b[3:], rel=1e-4)


def test_vitals_are_what_plain_numpy_computes():
    """An oracle of its own: a network of one hidden layer written out."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    network = xpnet.mlp(3, 5, 2, activation="tanh")
    theta = network.flatten(
        [{"W": rng.normal(size=s), "b": rng.normal(size=s[1])} for s in ((3, 5), (5, 2))]
    )
    (p, q), before = network.split(np, theta), 0.5 * theta
    h = np.tanh(x @ p["W"] + p["b"])
    out = h @ q["W"] + q["b"]
    dout = 2 * (out - y) / out.size
    dz = (dout @ q["W"].T) * (1 - h * h)
    seen = vitals(network, theta, x, y, xpnet.MeanSquaredError(), before, epoch=3)
    first, last = seen.layers
    assert seen.loss == pytest.approx(np.square(out - y).mean())
    assert first.saturated == pytest.approx((1 - h * h < 0.04).mean())
    assert first.delta == pytest.approx(np.sqrt(np.square(dz).mean()))
    assert last.delta == pytest.approx(np.sqrt(np.square(dout).mean()))
    assert first.gradient == pytest.approx(np.linalg.norm(x.T @ dz))
    assert first.weight == pytest.approx(np.linalg.norm(p["W"]))
    assert first.update == pytest.approx(1.0)
    assert (first.twins, first.paired) == (0, 0)
    assert seen.spread == pytest.approx(np.std(out - out.mean(0)) / np.std(y - y.mean(0)))
    assert (seen.epoch, seen.n, seen.predicted, seen.frozen) == (3, 50, None, ())


def test_vitals_name_what_is_not_finite_first():
    data = blobs(32)
    params = NETWORK.split(np, NETWORK.init(0))
    params[1]["W"][2, 3] = np.nan
    assert vitals(NETWORK, NETWORK.flatten(params), data.X, data.y).not_finite == (
        "the parameter layers.1.W"
    )
    X = data.X.copy()
    X[3, 1] = np.inf
    assert vitals(NETWORK, NETWORK.init(0), X, data.y).not_finite == "the input"
    params[1]["W"][:] = params[0]["W"][:] = 1e30
    seen = vitals(NETWORK, NETWORK.flatten(params), data.X, data.y)
    assert seen.not_finite == "the output of layers.1"


def test_vitals_see_parameters_that_did_not_change():
    data, theta = blobs(32), NETWORK.init(0)
    seen = vitals(NETWORK, theta, data.X, data.y, previous_theta=theta)
    assert len(seen.frozen) == 6
    moved = theta.copy()
    moved[NETWORK.blocks[0].offset] += 1
    assert "layers.0.W" not in vitals(NETWORK, theta, data.X, data.y, None, moved).frozen


def test_vitals_see_units_that_move_as_one():
    """As where one sum stands for all units; dead units, which do not move, do not count."""
    network, data = xpnet.mlp(6, 8, 4), blobs(32)
    params = network.split(np, network.init(0).copy())
    for layer, change in ((0, np.ones((6, 1))), (1, np.arange(32.0).reshape(8, 4))):
        params[layer]["W"] = params[layer]["W"] - change
    params[0]["W"][:, :3] += 1  # these three are back where they were
    theta = network.flatten(params)
    first, last = vitals(network, theta, data.X, data.y, None, network.init(0)).layers
    assert (first.paired, first.twins, last.paired) == (1.0, 0.0, 0.0)


def test_arrays_of_two_backends_are_refused():
    data = blobs(8)
    with pytest.raises(xpnet.UsageError, match="different backends"):
        vitals(NETWORK, backends.get("array-api-strict").asarray(NETWORK.init(0)), data.X, data.y)


# ---- MNIST ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnist():
    return xpnet.mnist()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_the_default_training_on_mnist_raises_no_alarm(mnist, seed):
    train, test = mnist
    network = xpnet.mlp(784, 256, 128, 10)
    assert not serious(watched(network, train, test=test, seed=seed, batch_size=128))


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("optimizer", [xpnet.SGD(lr=0.1), xpnet.Momentum()])
def test_other_good_trainings_on_mnist_raise_no_alarm(mnist, activation, optimizer):
    network = xpnet.mlp(784, 64, 10, activation=activation)
    settings = {"optimizer": optimizer, "epochs": 2, "validation_split": 0.1}
    assert not serious(watched(network, mnist[0], test=mnist[1], **settings))
