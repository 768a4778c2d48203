"""The options that decide what is trained, and the network and Hyperparameters they make."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import click

from ..activations import ACTIVATIONS
from ..errors import (
    UsageError,
    check_count,
    check_fraction,
    check_not_negative,
    check_positive,
)
from ..hyperparameters import Hyperparameters
from ..initializers import INITIALIZERS
from ..layers import Dense, Dropout
from ..losses import SoftmaxCrossEntropy
from ..network import Network
from ..optim import OPTIMIZERS
from ..random import check_seed
from ..schedules import SCHEDULES
from ..spec import Spec, network_spec
from ..types import Layer
from .options import Name, Names, Number, Widths

__all__ = ["configure", "training_options"]


COUNT = Number(int, check_count)
POSITIVE = Number(float, check_positive)
NOT_NEGATIVE = Number(float, check_not_negative)
FRACTION = Number(float, check_fraction)
SEED = Number(int, lambda _flag, seed: check_seed(seed))


def option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, show_default=settings.get("default") is not None, **settings)


OPTIONS = (
    option(
        "--hidden", type=Widths(), default="256,128", help="Widths of the hidden layers, or none."
    ),
    option(
        "--activation",
        type=Names("activation", ACTIVATIONS),
        default="relu",
        help="Of the hidden layers: one for all, or one each with commas between them.",
    ),
    option(
        "--init",
        default="auto",
        help=f"Initial weights: {', '.join(INITIALIZERS)} (normal:STD, uniform:LIMIT).",
    ),
    option(
        "--dropout",
        type=FRACTION,
        default=0.0,
        help="Share of a hidden layer dropped in training.",
    ),
    option(
        "--label-smoothing",
        type=FRACTION,
        default=0.0,
        help="Share of a target spread evenly.",
    ),
    option("--optimizer", type=Name("optimizer", OPTIMIZERS), default="adamw", help="Update rule."),
    option(
        "--lr",
        type=POSITIVE,
        help="Highest learning rate.  [default: the optimizer's]",
    ),
    option(
        "--weight-decay",
        type=NOT_NEGATIVE,
        help="Decoupled decay.  [default: the optimizer's]",
    ),
    option(
        "--l2",
        type=NOT_NEGATIVE,
        default=0.0,
        help="L2 penalty on the weights.",
    ),
    option(
        "--schedule",
        type=Name("schedule", SCHEDULES),
        default="one-cycle",
        help="How the learning rate changes.",
    ),
    option(
        "--warmup",
        type=NOT_NEGATIVE,
        default=0.0,
        help="Epochs in which the learning rate first rises.",
    ),
    option("--clip-norm", type=POSITIVE, help="Longest gradient."),
    option("--clip-value", type=POSITIVE, help="Largest component of a gradient."),
    option("--epochs", type=COUNT, default=6, help="Passes over the training set."),
    option("--batch-size", type=COUNT, default=128, help="Samples a step."),
    option(
        "--early-stopping",
        type=COUNT,
        metavar="N",
        help="Stop after N epochs without a lower validation loss.",
    ),
    option(
        "--validation-split",
        type=FRACTION,
        help="Share of the training set to validate on.  [default: 0, with --early-stopping 0.1]",
    ),
    option(
        "--seed",
        type=SEED,
        default=0,
        help="Of weights, batches and dropout.",
    ),
    option(
        "--dtype",
        type=Name("dtype", ["float32", "float64"]),
        default="float32",
        envvar="XPNET_DTYPE",
        show_envvar=True,
        help="Precision.",
    ),
)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` all OPTIONS, in their order."""
    for add in reversed(OPTIONS):
        command = add(command)
    return command


def configure(*, n_in: int, n_out: int, **options: Any) -> tuple[Network, Hyperparameters, Spec]:
    """The network, the Hyperparameters, and both as the JSON that goes into the model.

    Its ``options`` are those given or implied, by name, so that a resumed run can compare them.
    """
    network = network_of(n_in, n_out, **{name: options[name] for name in NETWORK_OPTIONS})
    hp = hyperparameters_of(
        **{name: value for name, value in options.items() if name not in NETWORK_OPTIONS}
    )
    hp = dataclasses.replace(hp, validation_split=hp.split_fraction)
    options.update(
        activation=[f.activation for f in network.layers[:-1] if isinstance(f, Dense)],
        lr=hp.optimizer.lr,
        weight_decay=hp.optimizer.weight_decay,
        validation_split=hp.split_fraction,
    )
    config = {
        "options": options,
        "data": "mnist",
        "network": network_spec(network),
        "hyperparameters": hp.spec(),
    }
    return network, hp, json.loads(json.dumps(config))


NETWORK_OPTIONS = ("hidden", "activation", "init", "dropout")


def network_of(
    n_in: int,
    n_out: int,
    hidden: tuple[int, ...],
    activation: tuple[str, ...],
    init: str,
    dropout: float,
) -> Network:
    if len(activation) == 1:
        activation *= len(hidden)
    if len(activation) != len(hidden):
        raise UsageError(
            f"--activation names {len(activation)} functions for {len(hidden)} hidden layers: "
            "give one for all, or one each"
        )
    layers: list[Layer] = []
    for width, f in zip(hidden, activation, strict=True):
        layers.append(Dense(width, f, init))
        if dropout:
            layers.append(Dropout(dropout))
    return Network(n_in, [*layers, Dense(n_out, init=init)])


def hyperparameters_of(
    *,
    label_smoothing: float,
    optimizer: str,
    lr: float | None,
    weight_decay: float | None,
    l2: float,
    schedule: str,
    warmup: float,
    early_stopping: int | None,
    **same_name: Any,
) -> Hyperparameters:
    if early_stopping and same_name["validation_split"] == 0:
        raise UsageError("--early-stopping needs a --validation-split above 0 to watch")
    given = {"lr": lr, "weight_decay": weight_decay, "l2": l2}
    return Hyperparameters(
        loss=SoftmaxCrossEntropy(label_smoothing),
        optimizer=OPTIMIZERS[optimizer](**{k: v for k, v in given.items() if v is not None}),
        schedule=SCHEDULES[schedule](warmup=warmup),
        patience=early_stopping,
        **same_name,
    )
