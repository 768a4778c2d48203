"""What ``xpnet parity`` and ``xpnet gradcheck`` check: the options, and the Subject they name."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from .. import backends, checkpoint
from ..checks.compare import usable
from ..checks.subject import Subject
from ..data import Dataset
from ..errors import DataError, UsageError, check_count
from ..losses import LOSSES
from ..network import Network
from ..spec import describe
from .config import config_option
from .configure import network_of, resolve, training_options
from .data import prepare_data, preparing
from .options import Command, Names, Number
from .sources import MNIST, refusing_data, sources

__all__ = ["STEPS", "build_subject", "chosen_backends", "given", "one_line", "subject_options"]

SOURCE = ("data", "labels", "label_column", "weight_column", "max_bytes")
PREPARATION = ("classes", "class_weights", "standardise", "test_split")
MOST_SAMPLES = 4096  # enough for every check, and none takes long


def subject_options(command: Command) -> Command:
    """The options of ``xpnet train`` for network, data and training, and --model."""
    model = click.option(
        "--model",
        metavar="FILE|MODULE:FUNCTION",
        help="A saved model, or a function of yours that returns a Network, or a Network and a "
        "Dataset; options of the network are not used then.  [default: the network that the other "
        "options describe]",
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
    help="Steps of the training that are compared one by one, at most those of an epoch.",
)


def build_subject(model: str | None, options: Mapping[str, Any], n_steps: int = 20) -> Subject:
    """The Subject that ``--model`` or the options of network and data describe.

    A saved model brings its loss and what scales its input; a function may bring its samples.
    Raises UsageError, DataError or CheckpointError where there is no such thing or it does not fit.
    """
    options = dict(options)
    source = {name: options.pop(name) for name in SOURCE}
    preparation = {name: options.pop(name) for name in PREPARATION}
    hp, options = resolve(options)
    own, saved = None, None
    if model is not None and is_function(model):
        own = call_function(model)
    elif model is not None:
        saved = load_model(model, options["loss"])
        hp = dataclasses.replace(hp, loss=saved.loss)
    loss = describe(hp.loss, LOSSES)["type"]
    fixed = own or saved
    if own is not None and own.data is not None:
        refuse_reading(str(model), {**source, **preparation})
        network, data = own.network, own.data.on_host()
        what = f"--model {model} with --loss {loss}"
    else:
        if fixed is not None and loss == "softmax_xent":
            preparation["classes"] = preparation["classes"] or fixed.network.n_out
        names = None if saved is None else saved.names
        prepared = prepare_data(hp, loss, source=source, names=names, **preparation)
        data = prepared.train
        n_in, n_out = data.X.shape[1], prepared.n_out
        network = network_of(n_in, n_out, options) if fixed is None else fixed.network
        what = str(source["data"] or MNIST) + (f" for {model}" if model else "")
    if saved is not None:
        data = dataclasses.replace(data, scale=saved.scale, shift=saved.shift)
    if data.n > MOST_SAMPLES:
        data = data.rows(np.arange(MOST_SAMPLES))
    with refusing_data(what):
        data = data.check(network.n_in, network.n_out, hp.loss).to(np.asarray, hp.dtype)
    return Subject(network, data, hp, n_steps, None if saved is None else saved.theta)


def load_model(path: str, loss: str) -> checkpoint.Model:
    """A saved model; ``loss`` is refused where it was asked for and is not the model's."""
    saved = checkpoint.load(path)
    trained = describe(saved.loss, LOSSES)["type"]
    if given("loss") and loss != trained:
        raise UsageError(f"{path} was trained with {trained}, not {loss}: leave --loss out")
    if not np.isfinite(saved.theta).all():
        raise DataError(f"{path}: its weights are not finite: train it anew with a lower --lr")
    return saved


def refuse_reading(model: str, reading: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that reads or prepares samples: ``model`` brings its own."""
    for name, value in reading.items():
        if name != "max_bytes" and value not in (None, False):
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"--model {model} brings its own samples: leave {flag} out")


def given(name: str) -> bool:
    """Whether a flag, a variable or a file gave the option its value, and not its default."""
    context = click.get_current_context(silent=True)
    source = context and context.get_parameter_source(name)
    return source not in (None, click.core.ParameterSource.DEFAULT)


class Own(NamedTuple):
    """What a function of the user's returns."""

    network: Network
    data: Dataset | None


def is_function(model: str) -> bool:
    """Whether ``--model`` names MODULE:FUNCTION and not a file."""
    return ":" in model and not Path(model).exists()


def call_function(name: str) -> Own:
    """What MODULE:FUNCTION returns; modules in the working directory are found, too.

    What it prints goes to stderr: stdout is for results.
    """
    module_name, _, function_name = name.partition(":")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = getattr(importlib.import_module(module_name), function_name)()
    except (Exception, SystemExit) as error:  # it is somebody else's code
        raise UsageError(f"--model {name} cannot be called: {one_line(error)}") from error
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)
    network, data = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if not isinstance(network, Network) or not isinstance(data, Dataset | None):
        raise UsageError(
            f"--model {name} returned a {type(result).__name__}, not a Network, or a Network and "
            "a Dataset"
        )
    return Own(network, data)


def one_line(error: BaseException) -> str:
    """The kind of an exception and its message, without line ends and control characters."""
    words = f"{type(error).__name__}: {error}".split()
    return "".join(c for c in " ".join(words) if c.isprintable())


def chosen_backends(
    names: tuple[str, ...] | None,
) -> tuple[list[backends.Backend], list[tuple[str, str]]]:
    """The backends to check, and those passed over with the reason; float64 is made possible."""
    backends.allow_float64()
    return usable(None if names is None else list(dict.fromkeys(names)))
