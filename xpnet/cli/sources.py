"""Where samples come from: the option --data and those beside it, and the files they name."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import datasets
from ..data import Dataset
from ..datasets.unpack import MAX_BYTES
from ..errors import DataError, UsageError, check_count
from ..spec import Spec
from .options import FILE, Command, Number, Texts

__all__ = [
    "LABEL_COLUMN",
    "MNIST",
    "describe_data",
    "label_column",
    "max_bytes",
    "read_data",
    "refusing_data",
    "sources",
]

LABEL_COLUMN = ("first",)
MNIST = "mnist"


def label_column(help_text: str) -> Callable[[Command], Command]:
    """The option --label-column, which ``help_text`` explains."""
    return click.option(
        "--label-column", type=Texts(), metavar="first|last|NAME,...", help=help_text
    )


max_bytes = click.option(
    "--max-bytes",
    type=Number(int, check_count),
    default=MAX_BYTES,
    show_default="8 GiB",
    help="Refuse files that unpack to more.",
)


def sources(command: Command) -> Command:
    """The options that say which samples to read."""
    for add in (
        max_bytes,
        click.option("--weight-column", metavar="NAME", help="Column with each sample's weight."),
        label_column(
            "Column of a table that holds the label, a number or a name; several for several "
            "labels or targets a sample, which are numbers.  [default: first]"
        ),
        click.option(
            "--labels", type=FILE, metavar="FILE", help="Labels of IDX images or .npy samples."
        ),
        click.option(
            "--data",
            type=FILE,
            metavar="PATH",
            help="Samples: a table (.csv, .tsv, .txt, also .gz), an .npz with x, y and perhaps "
            "x_test, y_test, an .npy (read as it is needed) or an IDX file, both with --labels, or "
            "a folder with the four files of MNIST.  [default: the MNIST that comes with xpnet]",
        ),
    ):
        command = add(command)
    return command


def read_data(
    loss: str,
    *,
    data: Path | None,
    labels: Path | None,
    label_column: tuple[str, ...] | None,
    weight_column: str | None,
    max_bytes: int,
    names: tuple[str, ...] | None = None,
    for_training: bool = True,
) -> tuple[Dataset, Dataset | None]:
    """The training and the test part, if there is one, of what the options of ``sources`` name.

    ``names`` are those that a trained model has for its classes.
    """
    if data is None:
        given = {
            "--labels": labels,
            "--label-column": label_column,
            "--weight-column": weight_column,
        }
        for flag, value in given.items():
            if value is not None:
                raise UsageError(f"{flag} says how to read --data PATH: give that, too")
        if names is not None:
            raise UsageError(
                "the classes of the model have names, those of MNIST none: give --data"
            )
        return datasets.mnist()
    columns = label_column or LABEL_COLUMN
    if loss == "softmax_xent" and len(columns) > 1:
        raise UsageError(
            "--label-column names several columns, but --loss softmax_xent wants one: "
            "choose bce for several labels, or mse, mae, huber for several targets"
        )
    train, test = datasets.read(
        data,
        labels=labels,
        label_columns=columns,
        weight_column=weight_column,
        targets="classes" if loss == "softmax_xent" else "real",
        names=names,
        max_bytes=max_bytes,
        for_training=for_training,
    )
    if train.names is not None and names is None and not for_training:
        raise DataError(
            f"{data}: its labels are names, but the model knows its classes by number: "
            "write 0, 1, 2, ... as in training"
        )
    return train, test


def describe_data(
    train: Dataset, test: Dataset | None, *, data: Path | None, labels: Path | None, **_how: Any
) -> Spec | str:
    """What a model file says of the data: where they were, and what tells them from others."""
    if data is None:
        return MNIST
    digest = hashlib.sha256("".join(f"{name}\n" for name in train.names or ()).encode())
    for part in (train, test):
        for array in (part.X, part.y, part.weight) if part is not None else ():
            if array is not None:
                digest.update(f"{array.dtype.str} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).data)
    return {
        "path": str(data),
        "labels": None if labels is None else str(labels),
        "sha256": digest.hexdigest(),
        "samples": train.n,
        "test_samples": 0 if test is None else test.n,
        "range": [float(train.X.min()), float(train.X.max())],
    }


@contextlib.contextmanager
def refusing_data(what: str) -> Iterator[None]:
    """Let a DataError within say which data it is about."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{what}: {error}") from error
