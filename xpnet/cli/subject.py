"""What ``xpnet parity`` and ``xpnet gradcheck`` check: the options, and the Subject they name."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import backends, checkpoint
from ..checks.compare import usable
from ..checks.subject import Subject
from ..data import Dataset
from ..errors import DataError, UsageError, XpnetError, check_count
from ..network import Network
from .config import config_option
from .configure import network_of, resolve, training_options
from .data import prepare_data, preparing
from .options import Command, Names, Number
from .sources import sources

__all__ = ["build_subject", "chosen_backends", "subject_options"]

SOURCE = ("data", "labels", "label_column", "weight_column", "max_bytes")
PREPARATION = ("classes", "class_weights", "standardise", "test_split")
MOST_SAMPLES = 4096  # enough for every check, and none takes long


def subject_options(command: Command) -> Command:
    """The options of ``xpnet train`` for network, data and training, and --model."""
    model = click.option(
        "--model",
        metavar="FILE|MODULE:FUNCTION",
        help="A saved model, or a function of yours that returns a Network, or a Network and a "
        "Dataset.  [default: the network that the other options describe]",
    )
    chosen = click.option(
        "--backends",
        "names",
        type=Names("backend", backends.BACKENDS),
        metavar="NAME,...",
        help="Backends to check.  [default: every usable one]",
    )
    batch = sources(preparing(training_options(config_option(command))))
    return chosen(model(batch))


STEPS = click.option(
    "--steps",
    type=Number(int, check_count),
    default=20,
    show_default=True,
    help="Steps of the training that are compared one by one.",
)


def build_subject(model: str | None, options: Mapping[str, Any], n_steps: int = 20) -> Subject:
    """The Subject that ``--model`` or the options of network and data describe.

    Raises UsageError, DataError or CheckpointError where there is no such thing or it does not fit.
    """
    options = dict(options)
    source = {name: options.pop(name) for name in SOURCE}
    preparation = {name: options.pop(name) for name in PREPARATION}
    hp, options = resolve(options)
    theta = None
    own = call_function(model) if model and is_function(model) else None
    if own is not None and own[1] is not None:
        network, data = own[0], own[1].on_host()
    else:
        prepared = prepare_data(hp, options["loss"], source=source, **preparation)
        data = prepared.train
        network = network_of(data.X.shape[1], prepared.n_out, options)
    if own is not None:
        network = own[0]
    elif model is not None:
        network, theta, loss, scale, shift, _ = checkpoint.load(model)
        if type(loss) is not type(hp.loss):
            raise UsageError(f"{model} was trained with another loss: give it with --loss")
        data = Dataset(data.X, data.y, data.weight, scale, shift)
    if data.n > MOST_SAMPLES:
        data = data.rows(np.arange(MOST_SAMPLES))
    data.check(network.n_in, network.n_out, hp.loss)
    return Subject(network, data, hp, n_steps, theta)


def is_function(model: str) -> bool:
    """Whether ``--model`` names MODULE:FUNCTION and not a file."""
    return ":" in model and not Path(model).exists()


def call_function(name: str) -> tuple[Network, Dataset | None]:
    """What MODULE:FUNCTION returns; modules in the working directory are found, too."""
    module_name, _, function_name = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), function_name)
        result = function()
    except XpnetError:
        raise
    except Exception as error:  # it is somebody else's code
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"--model {name} cannot be called: {what}") from error
    finally:
        sys.path.remove(os.getcwd())
    network, data = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(network, Network) or not isinstance(data, Dataset | None):
        raise UsageError(
            f"--model {name} returned a {type(result).__name__}, not a Network, or a Network and "
            "a Dataset"
        )
    return network, data


def chosen_backends(
    names: tuple[str, ...] | None,
) -> tuple[list[backends.Backend], list[tuple[str, str]]]:
    """The backends to check, and those passed over with the reason; float64 is made possible."""
    backends.allow_float64()
    found, missing = usable(names)
    if not found:
        raise DataError("no backend to check")
    return found, missing
