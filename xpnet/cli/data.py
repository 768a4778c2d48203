"""What is done to the samples before a training: split, weighed, scaled and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import click
import numpy as np

from .. import datasets
from ..data import Dataset
from ..errors import (
    DataError,
    UsageError,
    check_count,
    check_fraction,
    check_not_negative,
)
from ..hyperparameters import Hyperparameters
from ..spec import Spec
from ..types import NumpyArray
from .options import Command, Number, remark
from .sources import LABEL_COLUMN, MNIST, describe_data, read_data, refusing_data

__all__ = ["Prepared", "prepare_data", "preparing"]

MOST_CLASSES = 1000
"""More, and more than samples, are taken for a mistake unless --classes asks for them."""


class ClassWeights(click.ParamType[Any]):
    """``balanced``, or a weight >= 0 for each class with commas between them."""

    name = "class weights"
    several = True

    def convert(self, value: Any, param: Any, ctx: Any) -> str | tuple[float, ...]:
        if not isinstance(value, str):
            return tuple(value)
        if value.strip() == "balanced":
            return "balanced"
        try:
            weights = [float(weight) for weight in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is neither 'balanced' nor numbers such as 1,2.5", param, ctx)
        return tuple(check_not_negative(f"each of {param.opts[0]}", w) for w in weights)


def check_classes(flag: str, n: int) -> int:
    """Return ``n`` if a network can have as many outputs; else raise UsageError."""
    if check_count(flag, n) >= 2**31:
        raise UsageError(f"{flag} {n}: that many outputs fit into no memory")
    return n


PREPARING = (
    click.option(
        "--classes",
        type=Number(int, check_classes),
        help="Number of classes.  [default: the highest label + 1, or as many as there are names]",
    ),
    click.option(
        "--class-weights",
        type=ClassWeights(),
        metavar="balanced|W0,W1,...",
        help="Weight of each class in the training loss, named ones in sorted order; balanced lets "
        "all weigh the same.",
    ),
    click.option(
        "--standardise",
        is_flag=True,
        help="Bring each feature to mean 0 and deviation 1; the model remembers how.",
    ),
    click.option(
        "--test-split",
        type=Number(float, check_fraction),
        help="Share of the samples to test on, where the data have no test part.  [default: 0]",
    ),
)


def preparing(command: Command) -> Command:
    """The options that say what is done to the samples before a training."""
    for add in reversed(PREPARING):
        command = add(command)
    return command


class Prepared(NamedTuple):
    """What a training needs to know of its data.

    ``options`` are those that made them, with what was left to a default filled in, and ``spec``
    is what a model file says of the data.
    """

    train: Dataset
    test: Dataset | None
    n_out: int
    options: Spec
    spec: Spec | str


def prepare_data(
    hp: Hyperparameters,
    loss: str,
    *,
    source: Mapping[str, Any],
    names: tuple[str, ...] | None = None,
    classes: int | None,
    class_weights: str | tuple[float, ...] | None,
    standardise: bool,
    test_split: float | None,
) -> Prepared:
    """Read, split, weigh and scale; checked for a network with ``n_out`` outputs.

    ``source`` are the options of ``sources``, ``names`` those of the classes where a trained model
    has them. The test part is scaled as the training part
    is; class weights are for the training part alone.
    """
    if loss != "softmax_xent" and classes is not None:
        raise UsageError(f"--classes is for --loss softmax_xent, not for {loss}")
    train, test = read_data(loss, **source, names=names)
    spec = describe_data(train, test, **source)
    what = MNIST if source["data"] is None else str(source["data"])
    n_out = output_count(train, loss, classes, what)
    with refusing_data(what):
        train.check(train.X.shape[1], n_out, hp.loss)
    if loss == "softmax_xent" and classes is None:
        remark_absent(train.y, n_out, what)
    if test_split:
        if test is not None:
            raise UsageError(f"--test-split: {what} has a test part of its own")
        train, test = train.split(test_split, hp.seed)
    if class_weights is not None:
        weight = weigh(train.y, loss, class_weights, n_out)
        if train.weight is not None:
            weight = weight * train.weight
        train = dataclasses.replace(train, weight=weight)
    if standardise:
        with refusing_data(what):
            shift, scale = datasets.standardise(train)
        train = dataclasses.replace(train, shift=shift, scale=scale)
    with refusing_data(what):
        train = as_trained(train, n_out, hp)
    if test is not None:
        test = dataclasses.replace(test, shift=train.shift, scale=train.scale)
        with refusing_data(f"the test part of {what}"):
            test = as_trained(test, n_out, hp)
    options = {
        "label_column": source["label_column"] or (LABEL_COLUMN if source["data"] else None),
        "weight_column": source["weight_column"],
        "classes": n_out if loss == "softmax_xent" else None,
        "class_weights": class_weights,
        "standardise": standardise,
        "test_split": test_split or 0.0,
    }
    return Prepared(train, test, n_out, options, spec)


def as_trained(part: Dataset, n_out: int, hp: Hyperparameters) -> Dataset:
    """``part`` on the host with the dtypes of training; what is wrong is said now, not late."""
    return part.check(part.X.shape[1], n_out, hp.loss).to(np.asarray, hp.dtype)


def output_count(train: Dataset, loss: str, classes: int | None, what: str) -> int:
    """How many outputs a network needs for the targets y (n,) or (n, k)."""
    y = train.y
    if train.names is not None:
        return named_count(len(train.names), classes, what)
    if y.ndim == 2:
        return int(y.shape[1])
    if loss != "softmax_xent":
        return 1
    found = int(y.max()) + 1
    if classes is None and found > max(MOST_CLASSES, len(y)):
        raise DataError(
            f"{what}: the highest of {len(y):,} labels is {found - 1}: number the classes "
            "0, 1, 2, ..., or train on real targets with --loss mse"
        )
    return classes or found


def remark_absent(y: NumpyArray, n_out: int, what: str) -> None:
    """Say so where labels y (n,) are of some of the classes 0 to n_out - 1 only."""
    if y.ndim != 1:
        return
    absent = np.setdiff1d(np.arange(n_out), y)
    if len(absent):
        from_1 = ": number them from 0" if absent.tolist() == [0] else ""
        of = f"class {absent[0]}" if len(absent) == 1 else f"{len(absent)} of {n_out:,} classes"
        remark(f"{what}: no sample is of {of}, for which the network has an output, too{from_1}")


def named_count(found: int, classes: int | None, what: str) -> int:
    """How many outputs a network needs for as many names of classes as were ``found``."""
    if classes is None and found > MOST_CLASSES:
        raise DataError(
            f"{what}: the labels are {found:,} different names: choose the column of the label "
            f"with --label-column, or give --classes {found} if they are meant"
        )
    if classes not in (None, found):
        raise UsageError(f"--classes {classes}: {what} names {found} classes: leave the option out")
    return found


def weigh(
    y: NumpyArray, loss: str, class_weights: str | tuple[float, ...], n_out: int
) -> NumpyArray:
    """The weight (n,) of each sample by its class, for one label a sample."""
    n_classes = n_out
    if loss == "bce" and n_out == 1 and np.isin(y, (0, 1)).all():
        y, n_classes = y.reshape(-1).astype(np.int32), 2
    elif loss != "softmax_xent":
        raise UsageError(f"--class-weights need one class a sample, but --loss {loss} has none")
    if isinstance(class_weights, str):
        return datasets.class_weights(y, "balanced")
    if len(class_weights) != n_classes:
        raise UsageError(
            f"--class-weights gives {len(class_weights)} weights for {n_classes} classes: "
            "give one each"
        )
    return datasets.class_weights(y, class_weights[: int(y.max()) + 1])
