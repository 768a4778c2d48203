"""``xpnet evaluate``: a trained model on MNIST's test set or on a user's samples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from .. import checkpoint, evaluation
from ..errors import DataError
from ..losses import LOSSES
from ..spec import describe
from .options import FILE, Name, common, emit, place_of, remark, where
from .parts import PARTS, part_of_training
from .per_class import confusion, print_classes
from .sources import MNIST, read_data, refusing_data, sources

__all__ = ["evaluate"]


@click.command()
@click.argument("model", type=FILE)
@sources
@click.option(
    "--part",
    type=Name("part", PARTS),
    help="The samples that the training had as this part, given the same data: those of its "
    "--validation-split or --test-split, or those it learnt from.",
)
@click.option(
    "--per-class",
    is_flag=True,
    help="Also show of each class how many are right; with --json, the matrix of what was taken "
    "for what.",
)
@where
@common
def evaluate(
    model: Path,
    part: str | None,
    per_class: bool,
    backend: str,
    device: str | None,
    threads: int | None,
    as_json: bool,
    **source: Any,
) -> None:
    """Loss and accuracy of MODEL on samples with labels.

    MODEL is a file of ``xpnet train --save`` or ``--checkpoint``. The samples are the test part
    of the data, or all of them where there is no test part, unless --part names those of the
    training; they are scaled as in training, and class weights play no part.
    Without --data they are the 10,000 test images of MNIST.
    """
    network, theta, loss, scale, shift, config, names = checkpoint.load(model)
    place = place_of(backend, device, threads, str(theta.dtype))
    train, test = read_data(
        describe(loss, LOSSES)["type"], **source, names=names, for_training=False
    )
    if source["data"] is None and train.X.shape[1] != network.n_in:
        raise DataError(
            f"{model} takes {network.n_in} inputs, and the images of MNIST have "
            f"{train.X.shape[1]} pixels: give the samples with --data"
        )
    chosen = part_of_training(part, train, test, config, source) if part else test or train
    samples = dataclasses.replace(chosen, scale=scale, shift=shift)
    with refusing_data(str(source["data"] or MNIST)):
        result = evaluation.evaluate(network, place.asarray(theta), samples, loss, say=remark)
        matrix = None
        if per_class:
            inputs = samples.X, samples.scale, samples.shift
            outputs = evaluation.predictions(network, place.asarray(theta), *inputs)
            matrix = confusion(loss, samples.y, outputs)
    if as_json:
        emit(
            event="result",
            backend=place.name,
            device=place.device_name,
            dtype=str(theta.dtype),
            test_accuracy=result.accuracy,
            test_loss=result.loss,
            part=part,
            samples=result.n,
            parameters=network.n_parameters,
            **({} if matrix is None else {"confusion": matrix.tolist()}),
        )
    else:
        accuracy = "" if result.accuracy is None else f"accuracy {result.accuracy:.2%}, "
        what = "samples" if source["data"] or part else "test images"
        what += f" of the {part} part" if part else ""
        click.echo(f"{model}: {accuracy}loss {result.loss:.4f} on {result.n:,} {what}")
        if matrix is not None:
            print_classes(matrix, names)
