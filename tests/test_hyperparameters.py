"""Hyperparameters: what they refuse, and the way through JSON and back."""

import dataclasses
import json
import math

import pytest

import xpnet
from xpnet import DataError, Hyperparameters, UsageError

NO_COUNT = [0, -1, 1.5, math.nan, math.inf, "3", True]
NOT_POSITIVE = [0.0, -1.0, math.nan, math.inf, "1", True]
REFUSED = {
    "epochs": [*NO_COUNT, None],
    "batch_size": [*NO_COUNT, None],
    "seed": [-1, 2**32, 0.5, math.nan, "0", None],
    "dtype": ["float16", "f4", "int32", "", None, float],
    "clip_norm": NOT_POSITIVE,
    "clip_value": NOT_POSITIVE,
    "patience": NO_COUNT,
    "validation_split": [-0.1, 1.0, 1.5, math.nan, "0.1", True],
    "loss": ["mse", xpnet.Huber],
    "optimizer": ["adam", xpnet.Adam],
    "schedule": ["cosine", xpnet.Cosine],
}


def test_every_field_refuses_senseless_values():
    for field in dataclasses.fields(Hyperparameters):
        for value in REFUSED[field.name]:
            with pytest.raises(UsageError):
                Hyperparameters(**{field.name: value})


@pytest.mark.parametrize("name", ["loss", "optimizer", "schedule"])
def test_a_name_in_place_of_an_object_is_explained(name):
    with pytest.raises(UsageError, match=rf"{name} must be an object, such as xpnet\.\w+\(\)"):
        Hyperparameters(**{name: REFUSED[name][0]})


@pytest.mark.parametrize(
    ("given", "meant"),
    [("epoch", "epochs"), ("batchsize", "batch_size"), ("optimiser", "optimizer"), ("sed", "seed")],
)
def test_an_unknown_hyperparameter_suggests_the_near_match(given, meant):
    with pytest.raises(UsageError, match=f"unknown hyperparameter '{given}': .*'{meant}'"):
        Hyperparameters.of(**{given: 1})


def test_of_sets_what_is_given_and_leaves_the_rest():
    hp = Hyperparameters.of(epochs=3, optimizer=xpnet.SGD(0.5))
    assert hp == dataclasses.replace(Hyperparameters(), epochs=3, optimizer=xpnet.SGD(0.5))


@pytest.mark.parametrize(
    ("values", "fraction"),
    [
        ({}, 0.0),
        ({"patience": 2}, 0.1),
        ({"validation_split": 0.25}, 0.25),
        ({"validation_split": 0.25, "patience": 2}, 0.25),
        ({"validation_split": 0.0, "patience": 2}, 0.0),
    ],
)
def test_early_stopping_splits_off_a_tenth_unless_told(values, fraction):
    assert Hyperparameters(**values).split_fraction == fraction


EXAMPLES = [
    Hyperparameters(),
    Hyperparameters(
        loss=xpnet.Huber(delta=0.7),
        optimizer=xpnet.Nesterov(lr=1 / 3, mu=0.1, weight_decay=1e-300, l2=0.1),
        schedule=xpnet.OneCycle(warmup=0.5, rise=0.1, start=0.0, end=1e-7),
        epochs=17,
        batch_size=1,
        seed=2**32 - 1,
        dtype="float64",
        clip_norm=1e-3,
        clip_value=1.0,
        patience=4,
        validation_split=0.2,
    ),
]


@pytest.mark.parametrize("hp", EXAMPLES, ids=["defaults", "all set"])
def test_hyperparameters_survive_json(hp):
    text = json.dumps(hp.spec(), allow_nan=False)
    assert Hyperparameters.from_spec(json.loads(text)) == hp


def test_the_second_example_differs_from_the_defaults_everywhere():
    first, second = EXAMPLES
    for field in dataclasses.fields(Hyperparameters):
        assert getattr(first, field.name) != getattr(second, field.name)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": 0}, UsageError, "epochs"),
        ({"epoch": 3}, UsageError, "did you mean 'epochs'"),
        ({"loss": {"type": "hubert"}}, UsageError, "did you mean 'huber'"),
        ({"loss": "huber"}, DataError, "'huber' is no description of one of .*huber"),
        ({"optimizer": {"type": "sgd", "rate": 1}}, DataError, "sgd does not fit.*rate"),
        ({"schedule": {"type": "step", "every": -1}}, UsageError, "-1"),
    ],
)
def test_a_damaged_spec_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        Hyperparameters.from_spec({**Hyperparameters().spec(), **change})
