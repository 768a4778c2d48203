"""``xpnet train``: train a network on MNIST, watch it, save it, resume it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import backends, datasets, machine
from ..checkpoint import Model, save
from ..errors import UsageError, check_positive
from ..evaluation import evaluate
from ..files import check_writable, remove_leftovers
from ..state import Run, report
from ..train import SEGMENT_SECONDS, segments
from .configure import configure, training_options
from .display import choose_display
from .options import FILE, Name, Number, common, where
from .saver import Saver
from .signals import stop_signals

__all__ = ["train"]


@click.command()
@training_options
@where
@click.option(
    "--ops",
    type=Name("ops", ["fast", "reference"]),
    default="fast",
    show_default=True,
    help="The backend's fastest primitives, or the plain Array API ones.",
)
@click.option(
    "--save",
    "save_path",
    type=FILE,
    metavar="FILE",
    help="Write the trained model here.",
)
@click.option(
    "--checkpoint",
    "checkpoint_path",
    type=FILE,
    metavar="FILE",
    help="Write a checkpoint here after every epoch and every few seconds.",
)
@click.option(
    "--checkpoint-every",
    type=Number(float, check_positive),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest time between two checkpoints.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint, if there is one.")
@common
def train(
    backend: str,
    device: str | None,
    threads: int | None,
    ops: str,
    save_path: Path | None,
    checkpoint_path: Path | None,
    checkpoint_every: float,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network on the 60,000 images of MNIST and test it on the other 10,000."""
    if threads is not None:
        machine.limit_threads(threads)
    network, hp, config = configure(n_in=784, n_out=10, **options)
    place = backends.get(backend, device)
    if save_path and checkpoint_path and save_path.resolve() == checkpoint_path.resolve():
        raise UsageError("--save and --checkpoint name the same file: give each its own")
    if save_path:
        check_writable(save_path)
        remove_leftovers(save_path)
    record = machine.describe_machine(place, ops)
    saver = Saver(checkpoint_path, checkpoint_every, config, record, resume=resume)
    training_set, test_set = datasets.mnist()

    def model_of(run: Run) -> Model:
        theta = place.to_numpy(run.theta)
        scale, shift = training_set.scale, training_set.shift
        return Model(network, theta, hp.loss, scale, shift, config)

    display = choose_display(as_json, hp.epochs)
    for remark in saver.remarks:
        display.say(remark)
    run: Run | None = None
    with display, stop_signals() as stop:
        for run in segments(
            network,
            training_set,
            hp=hp,
            backend=place,
            reference=ops == "reference",
            start=saver.start,
            segment_seconds=min(SEGMENT_SECONDS, checkpoint_every),
        ):
            if saver.due(run) or stop.signal:  # before it is shown: a pipe may be broken
                saver.save(place, run, model_of(run))
            if run.step == 0:
                display.epoch(run.reports[-1])
            else:
                display.segment(run, report(place, run, hp.loss.classifies))
            stop.leave_if_asked(run, saver.path)
    run = run or saver.start  # a finished one has no segment left
    assert run is not None

    model = model_of(run)
    test = evaluate(network, place.asarray(model.theta), test_set, hp.loss)  # the one look at it
    if save_path:
        save(save_path, model._replace(config={**config, "machine": record}))
    seconds = sum(epoch.seconds for epoch in run.reports)
    samples = sum(epoch.seconds * epoch.samples_per_second for epoch in run.reports)
    display.result(
        backend=place.name,
        device=place.device_name,
        dtype=hp.dtype,
        threads=record["threads"],
        epochs=run.epoch,
        seconds=seconds,
        samples_per_second=samples / seconds,
        train_accuracy=run.reports[(run.kept_epoch or run.epoch) - 1].train_accuracy,
        test_accuracy=test.accuracy,
        test_loss=test.loss,
        parameters=network.n_parameters,
    )
