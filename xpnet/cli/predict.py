"""``xpnet predict``: what a trained model says of samples and pictures."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from .. import checkpoint, evaluation
from ..backends import Backend
from ..checkpoint import Model
from ..datasets.features import read_features
from ..datasets.files import TABLES
from ..datasets.images import BOX, SIDE, is_png, mnist_digit, read_png
from ..datasets.unpack import unpacked_suffix
from ..errors import DataError, UsageError
from ..types import NumpyArray
from .options import FILE, common, emit, place_of, remark, where
from .sources import MNIST, label_column, max_bytes, refusing_data
from .verdicts import Verdicts, verdicts_of

__all__ = ["predict"]


class Samples(NamedTuple):
    """The rows X (n, n_in) of a file; ``done`` says what was done to a picture, or nothing."""

    path: Path
    X: NumpyArray
    done: str


@click.command()
@click.argument("model", type=FILE)
@click.argument("files", type=FILE, nargs=-1, required=True)
@label_column("Columns of a table that are no features, such as its label.  [default: none]")
@max_bytes
@where
@click.option("--csv", "as_csv", is_flag=True, help="Print a table of comma-separated values.")
@common
def predict(
    model: Path,
    files: tuple[Path, ...],
    label_column: tuple[str, ...] | None,
    max_bytes: int,
    backend: str,
    device: str | None,
    threads: int | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """What MODEL says of every sample in FILES.

    FILES are tables of features (.csv, .tsv, .txt, also .gz), .npz files with an array x, .npy
    and IDX files, and PNG images. Samples are scaled as in training.

    A picture of a digit, for a model of 28 x 28 pixels, is made to look like MNIST's: white on
    black, scaled to fit 20 x 20, centred by its mass. It stays as it is where it is 28 x 28 and
    white on black.

    A class is printed, by its name if it has one, with its probability; several labels
    with one each; a regression's values as they are.
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other: choose one")
    trained = checkpoint.load(model)
    place = place_of(backend, device, threads, str(trained.theta.dtype))
    samples = [read_samples(path, trained, label_column or (), max_bytes) for path in files]
    found = [
        verdicts_of(trained.loss, outputs(trained, place, part), trained.names) for part in samples
    ]
    if as_json:
        print_json(samples, found)
        emit(
            event="result",
            backend=place.name,
            device=place.device_name,
            dtype=str(trained.theta.dtype),
            files=len(files),
            samples=sum(len(part.X) for part in samples),
            parameters=trained.network.n_parameters,
        )
    elif as_csv:
        print_csv(samples, found)
    else:
        print_text(samples, found)


def read_samples(
    path: Path, model: Model, label_columns: tuple[str, ...], max_bytes: int
) -> Samples:
    """The samples in a file of data, or the one in a picture."""
    n_in = model.network.n_in
    if path.is_dir() or not is_png(path):
        X = read_features(path, label_columns=label_columns, max_bytes=max_bytes)
        if unpacked_suffix(path) in TABLES and X.shape[1] > n_in:
            raise DataError(
                f"{path}: {X.shape[1]} columns of features, but the network takes {n_in} inputs: "
                "name the others, such as that of the label, with --label-column"
            )
        return Samples(path, X, "")
    picture = read_png(path, max_bytes)
    done = "as it is"
    if n_in == SIDE * SIDE:
        with refusing_data(str(path)):
            picture, done = mnist_digit(picture)
    elif picture.size != n_in:
        height, width = picture.shape
        raise DataError(
            f"{path}: an image of {width} x {height} pixels, but the network takes {n_in} inputs: "
            f"scale it to as many pixels (only digits for 784 inputs are scaled to {BOX} x {BOX})"
        )
    black, white = levels(model)
    if (black, white) != (0, 255):
        return Samples(path, black + picture.reshape(1, -1) * ((white - black) / 255), done)
    return Samples(path, picture.reshape(1, -1), done)


def levels(model: Model) -> tuple[float, float]:
    """The numbers that were black and white in training: the extremes of the data.

    A model that does not tell, such as one saved from Python, has black 0, and a white that one
    ``scale`` for all pixels brings to 1, else 255.
    """
    match model.config.get("data"):
        case {"range": [int() | float() as black, int() | float() as white]}:
            return black, white
        case str() as name if name == MNIST:
            return 0, 255
    return 0, 255 if hasattr(model.scale, "shape") else round(1 / model.scale, 3)


def outputs(model: Model, place: Backend, samples: Samples) -> NumpyArray:
    """The network's output (n, n_out) in float64, on the host."""
    network, theta, _loss, scale, shift, *_ = model
    with refusing_data(str(samples.path)):
        blocks = evaluation.predictions(
            network, place.asarray(theta), samples.X, scale, shift, say=remark
        )
        return np.concatenate(list(blocks)).astype(np.float64)


def print_json(samples: list[Samples], found: list[Verdicts]) -> None:
    for part, verdicts in zip(samples, found, strict=True):
        done = {"done": part.done} if part.done else {}
        for row, verdict in enumerate(verdicts.as_json()):
            emit(event="prediction", file=str(part.path), row=row, **verdict, **done)


def print_csv(samples: list[Samples], found: list[Verdicts]) -> None:
    """The header and the rows; what was done to pictures goes to stderr."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "row", *found[0].header])
    for part, verdicts in zip(samples, found, strict=True):
        if part.done:
            remark(f"{part.path}: {part.done}")
        writer.writerows([part.path, i, *cells] for i, cells in enumerate(verdicts.cells()))


def print_text(samples: list[Samples], found: list[Verdicts]) -> None:
    for part, verdicts in zip(samples, found, strict=True):
        one = len(part.X) == 1
        note = f"  ({part.done})" if part.done else ""
        for row, text in enumerate(verdicts.texts()):
            print(f"{part.path}{'' if one else f' row {row}'}: {text}{note}")
