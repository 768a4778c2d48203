"""``xpnet evaluate``: a trained model on MNIST's test set or on a user's samples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from .. import checkpoint, evaluation
from ..losses import LOSSES
from ..spec import describe
from .options import FILE, common, emit, place_of, remark, where
from .sources import MNIST, read_data, refusing_data, sources

__all__ = ["evaluate"]


@click.command()
@click.argument("model", type=FILE)
@sources
@where
@common
def evaluate(
    model: Path,
    backend: str,
    device: str | None,
    threads: int | None,
    as_json: bool,
    **source: Any,
) -> None:
    """Loss and accuracy of MODEL on samples with labels.

    MODEL is a file of ``xpnet train --save`` or ``--checkpoint``. The samples are the test part
    of the data, or all of them where there is no test part; they are scaled as in training.
    Without --data they are the 10,000 test images of MNIST.
    """
    network, theta, loss, scale, shift, _config, names = checkpoint.load(model)
    place = place_of(backend, device, threads, str(theta.dtype))
    train, test = read_data(
        describe(loss, LOSSES)["type"], **source, names=names, for_training=False
    )
    samples = dataclasses.replace(test or train, scale=scale, shift=shift)
    with refusing_data(str(source["data"] or MNIST)):
        result = evaluation.evaluate(network, place.asarray(theta), samples, loss, say=remark)
    if as_json:
        emit(
            event="result",
            backend=place.name,
            device=place.device_name,
            dtype=str(theta.dtype),
            test_accuracy=result.accuracy,
            test_loss=result.loss,
            samples=result.n,
            parameters=network.n_parameters,
        )
    else:
        accuracy = "" if result.accuracy is None else f"accuracy {result.accuracy:.2%}, "
        what = "samples" if source["data"] else "test images"
        click.echo(f"{model}: {accuracy}loss {result.loss:.4f} on {result.n:,} {what}")
