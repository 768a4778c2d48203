"""``xpnet evaluate``: a trained model on the MNIST test set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from .. import backends, checkpoint, datasets, evaluation, machine
from .options import FILE, common, emit, where

__all__ = ["evaluate"]


@click.command()
@click.argument("model", type=FILE)
@where
@common
def evaluate(
    model: Path, backend: str, device: str | None, threads: int | None, as_json: bool
) -> None:
    """Loss and accuracy of MODEL on the 10,000 test images of MNIST.

    MODEL is a file of ``xpnet train --save`` or ``--checkpoint``.
    """
    if threads is not None:
        machine.limit_threads(threads)
    place = backends.get(backend, device)
    network, theta, loss, scale, shift, _config = checkpoint.load(model)
    test = dataclasses.replace(datasets.mnist()[1], scale=scale, shift=shift)
    result = evaluation.evaluate(network, place.asarray(theta), test, loss)
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
        click.echo(f"{model}: {accuracy}loss {result.loss:.4f} on {result.n:,} test images")
