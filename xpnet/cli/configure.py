"""The options of network and training, and the Network and Hyperparameters they make."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
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
from ..initializers import INITIALIZERS, check_initializer
from ..layers import Dense, Dropout
from ..losses import LOSSES
from ..network import Network
from ..optim import OPTIMIZERS
from ..random import check_seed
from ..schedules import SCHEDULES
from ..spec import Spec, network_spec
from ..types import Layer
from .options import Command, Name, Names, Number, Widths

__all__ = ["describe_training", "network_of", "resolve", "training_options"]

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
        "--loss",
        type=Name("loss", LOSSES),
        default="softmax_xent",
        help="softmax_xent for one class of several; bce for yes or no, or several labels a "
        "sample; mse, mae or huber for real targets.",
    ),
    option(
        "--label-smoothing",
        type=FRACTION,
        default=0.0,
        help="Share of a target spread evenly over the classes.",
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


def training_options(command: Command) -> Command:
    """Give ``command`` all OPTIONS, in their order."""
    for add in reversed(OPTIONS):
        command = add(command)
    return command


NETWORK_OPTIONS = ("hidden", "activation", "init", "dropout")


def resolve(options: Mapping[str, Any]) -> tuple[Hyperparameters, Spec]:
    """The Hyperparameters, and all of OPTIONS with what was left to a default filled in."""
    options = dict(options)
    check_initializer(options["init"])
    hp = hyperparameters_of(**{k: v for k, v in options.items() if k not in NETWORK_OPTIONS})
    hp = dataclasses.replace(hp, validation_split=hp.split_fraction)
    options.update(
        activation=one_each(options["hidden"], options["activation"]),
        lr=hp.optimizer.lr,
        weight_decay=hp.optimizer.weight_decay,
        validation_split=hp.split_fraction,
    )
    return hp, options


def describe_training(
    options: Spec, data: Spec | str, network: Network, hp: Hyperparameters
) -> Spec:
    """What goes into the model as JSON, so that a resumed run can compare it."""
    config = {
        "options": options,
        "data": data,
        "network": network_spec(network),
        "hyperparameters": hp.spec(),
    }
    return dict(json.loads(json.dumps(config)))


def one_each(hidden: tuple[int, ...], activation: tuple[str, ...]) -> tuple[str, ...]:
    """The activation of each hidden layer."""
    if len(activation) == 1:
        activation *= len(hidden)
    if len(activation) != len(hidden):
        raise UsageError(
            f"--activation names {len(activation)} functions for {len(hidden)} hidden layers: "
            "give one for all, or one each"
        )
    return activation


def network_of(n_in: int, n_out: int, options: Mapping[str, Any]) -> Network:
    """The network that the resolved ``options`` describe, for these widths."""
    layers: list[Layer] = []
    for width, f in zip(options["hidden"], options["activation"], strict=True):
        layers.append(Dense(width, f, options["init"]))
        if options["dropout"]:
            layers.append(Dropout(options["dropout"]))
    return Network(n_in, [*layers, Dense(n_out, init=options["init"])])


def hyperparameters_of(
    *,
    loss: str,
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
    if label_smoothing and loss != "softmax_xent":
        raise UsageError(f"--label-smoothing is for --loss softmax_xent, not for {loss}")
    given = {"lr": lr, "weight_decay": weight_decay, "l2": l2}
    return Hyperparameters(
        loss=LOSSES[loss](label_smoothing) if label_smoothing else LOSSES[loss](),
        optimizer=OPTIMIZERS[optimizer](**{k: v for k, v in given.items() if v is not None}),
        schedule=SCHEDULES[schedule](warmup=warmup),
        patience=early_stopping,
        **same_name,
    )
