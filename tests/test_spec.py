"""Every layer, loss, optimizer and schedule survives JSON; what does not fit is refused."""

import dataclasses
import json
import math

import numpy as np
import pytest

import xpnet
from xpnet import DataError, UsageError
from xpnet.layers import LAYERS
from xpnet.losses import LOSSES
from xpnet.optim import OPTIMIZERS
from xpnet.schedules import SCHEDULES
from xpnet.spec import build, describe, network_from_spec, network_spec

# Every class of every table with all its fields set to something else than the default.
EXAMPLES = [
    (xpnet.Dense(7, "gelu", "uniform:0.25"), LAYERS),
    (xpnet.Dropout(0.3), LAYERS),
    (xpnet.LayerNorm(1e-3), LAYERS),
    (xpnet.SoftmaxCrossEntropy(0.1), LOSSES),
    (xpnet.BinaryCrossEntropy(), LOSSES),
    (xpnet.MeanSquaredError(), LOSSES),
    (xpnet.MeanAbsoluteError(), LOSSES),
    (xpnet.Huber(1 / 3), LOSSES),
    (xpnet.SGD(1 / 7, 0.2, 0.3), OPTIMIZERS),
    (xpnet.Momentum(1 / 7, 0.2, 0.3, mu=0.4), OPTIMIZERS),
    (xpnet.Nesterov(1 / 7, 0.2, 0.3, mu=0.4), OPTIMIZERS),
    (xpnet.RMSprop(1 / 7, 0.2, 0.3, rho=0.4, eps=1e-300), OPTIMIZERS),
    (xpnet.Adam(1 / 7, 0.2, 0.3, beta1=0.4, beta2=0.5, eps=1e-300), OPTIMIZERS),
    (xpnet.AdamW(1 / 7, 0.2, 0.3, beta1=0.4, beta2=0.5, eps=1e-300), OPTIMIZERS),
    (xpnet.Constant(0.5), SCHEDULES),
    (xpnet.Step(0.5, every=2.5, gamma=0.1), SCHEDULES),
    (xpnet.Exponential(0.5, gamma=0.1), SCHEDULES),
    (xpnet.Cosine(0.5), SCHEDULES),
    (xpnet.OneCycle(0.5, rise=0.1, start=0.2, end=1e-300), SCHEDULES),
]
NAMES = [type(thing).__name__ for thing, _ in EXAMPLES]


def test_the_examples_are_complete():
    for table in (LAYERS, LOSSES, OPTIMIZERS, SCHEDULES):
        assert {type(thing) for thing, its in EXAMPLES if its is table} == set(table.values())
    for thing, _ in EXAMPLES:
        for field in dataclasses.fields(thing):
            assert getattr(thing, field.name) != field.default


@pytest.mark.parametrize(("thing", "table"), EXAMPLES, ids=NAMES)
def test_everything_survives_json(thing, table):
    spec = describe(thing, table)
    again = build(json.loads(json.dumps(spec, allow_nan=False)), table)
    assert again == thing
    assert type(again) is type(thing)
    assert set(spec) == {"type", *(field.name for field in dataclasses.fields(thing))}


@pytest.mark.parametrize(("thing", "table"), EXAMPLES, ids=NAMES)
def test_an_unknown_field_is_refused_and_named(thing, table):
    with pytest.raises(DataError, match=r"does not fit this version.*colour"):
        build({**describe(thing, table), "colour": 1}, table)


@pytest.mark.parametrize(("thing", "table"), EXAMPLES, ids=NAMES)
def test_an_unknown_name_suggests_the_near_match(thing, table):
    spec = describe(thing, table)
    misspelt = spec["type"] + "q"
    with pytest.raises(UsageError, match=f"unknown type '{misspelt}': did you mean "):
        build({**spec, "type": misspelt}, table)


@pytest.mark.parametrize("spec", [{}, {"type": None}, {"type": ["adam"]}, {"type": "SGD"}])
def test_a_type_that_is_none_is_refused(spec):
    with pytest.raises(UsageError, match="unknown type"):
        build(spec, OPTIMIZERS)


@pytest.mark.parametrize("spec", [None, 5, "adam", ["adam"], [["type", "adam"]]])
def test_what_is_no_description_is_refused(spec):
    with pytest.raises(DataError, match="is no description of one of sgd, momentum"):
        build(spec, OPTIMIZERS)


def test_nothing_is_called_by_a_name_in_a_file():
    for name in ("builtins.print", "os.system", "__import__", "xpnet.optim.SGD"):
        with pytest.raises(UsageError, match="unknown type"):
            build({"type": name}, OPTIMIZERS)


def test_an_object_of_no_table_cannot_be_saved():
    class Own(xpnet.SGD):
        pass

    with pytest.raises(UsageError, match="a Own cannot be saved: it is not one of sgd"):
        describe(Own(), OPTIMIZERS)


NO_NUMBERS = [math.nan, math.inf, "1", None, True, [1.0]]


@pytest.mark.parametrize(
    ("cls", "field", "values"),
    [
        (xpnet.Dense, "n_out", [0, -3, 1.5, *NO_NUMBERS]),
        (xpnet.Dropout, "rate", [-0.1, 1.0, 2.0, *NO_NUMBERS]),
        (xpnet.LayerNorm, "eps", [0.0, -1e-5, *NO_NUMBERS]),
        (xpnet.SoftmaxCrossEntropy, "smoothing", [-0.1, 1.0, *NO_NUMBERS]),
        (xpnet.Huber, "delta", [0.0, -1.0, *NO_NUMBERS]),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_numbers_of_layers_and_losses_must_make_sense(cls, field, values):
    for value in values:
        with pytest.raises(UsageError):
            cls(**{field: value})


# ---- networks ------------------------------------------------------------------------------


def test_a_network_survives_json():
    network = xpnet.Network(
        5,
        [
            xpnet.Dropout(0.2),
            xpnet.Dense(7, "tanh", "normal:0.1"),
            xpnet.LayerNorm(1e-3),
            xpnet.Dense(3, xpnet.ACTIVATIONS["silu"]),
            xpnet.Dense(2),
        ],
    )
    again = network_from_spec(json.loads(json.dumps(network_spec(network), allow_nan=False)))
    assert network_spec(again) == network_spec(network)
    np.testing.assert_array_equal(again.init(3), network.init(3))
    x = np.random.default_rng(0).normal(size=(4, 5))
    ops = xpnet.backends.get("numpy").ops()
    theta = network.init(3, "float64")
    np.testing.assert_array_equal(
        again.forward(ops, theta, x)[0], network.forward(ops, theta, x)[0]
    )


CUBE = xpnet.Activation("cube", lambda xp, z: z**3, lambda xp, z: 3.0 * z**2)


def test_an_activation_of_ones_own_is_supplied_by_its_name():
    spec = json.loads(json.dumps(network_spec(xpnet.mlp(3, 4, 2, activation=CUBE))))
    assert spec["layers"][0]["activation"] == "cube"
    assert network_from_spec(spec, [CUBE]).layers[0].activation is CUBE
    with pytest.raises(UsageError, match="unknown activation 'cube'"):
        network_from_spec(spec)


@pytest.mark.parametrize("n_in", [0, -1, 2.0, "3", None])
def test_a_senseless_width_of_the_input_is_refused(n_in):
    spec = network_spec(xpnet.mlp(3, 2))
    with pytest.raises(UsageError, match="the width of the input"):
        network_from_spec({**spec, "n_in": n_in})
