"""``xpnet train``: train a network on MNIST or one's own data, watch it, save it, resume it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import machine
from ..checkpoint import Model, save
from ..errors import UsageError, check_positive
from ..evaluation import evaluate
from ..files import check_writable, remove_leftovers
from ..lock import sole_writer
from ..state import Run, report
from ..symptoms import Watch
from ..train import SEGMENT_SECONDS, segments
from .config import config_option
from .configure import describe_training, network_of, resolve, training_options
from .data import prepare_data, preparing
from .display import choose_display
from .doctor import show_verdicts, watching
from .options import FILE, Name, Number, common, computing, place_of, where
from .saver import Saver
from .signals import stop_signals
from .sources import sources

__all__ = ["train"]


SOURCE = ("data", "labels", "label_column", "weight_column", "max_bytes")
PREPARING = ("classes", "class_weights", "standardise", "test_split")


@click.command()
@sources
@preparing
@training_options
@where
@computing
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
@click.option(
    "--doctor",
    "ask_doctor",
    is_flag=True,
    help="Look inside the network after each epoch, and say at the end what is wrong.",
)
@config_option
@common
def train(
    backend: str,
    device: str | None,
    threads: int | None,
    precision: str,
    graph: str,
    ops: str,
    save_path: Path | None,
    checkpoint_path: Path | None,
    checkpoint_every: float,
    resume: bool,
    ask_doctor: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network on samples, and test it on others.

    Without --data it learns the 60,000 images of MNIST and is tested on the other 10,000.
    """
    source = {name: options.pop(name) for name in SOURCE}
    preparation = {name: options.pop(name) for name in PREPARING}
    hp, options = resolve(options)
    place = place_of(backend, device, threads, hp.dtype)
    place = place.configured(precision=precision, graph=graph)
    check_apart(
        {
            "--data": source["data"],
            "--labels": source["labels"],
            "--save": save_path,
            "--checkpoint": checkpoint_path,
        }
    )
    if save_path:
        check_writable(save_path)
        remove_leftovers(save_path)
    if checkpoint_path:
        click.get_current_context().with_resource(sole_writer(checkpoint_path))
    record = machine.describe_machine(place, ops)
    saver = Saver(checkpoint_path, checkpoint_every, record, resume=resume)
    data = prepare_data(hp, options["loss"], source=source, **preparation)
    training_set, test_set = data.train, data.test
    network = network_of(training_set.X.shape[1], data.n_out, options)
    config = describe_training({**options, **data.options}, data.spec, network, hp)
    start = saver.start(config)

    def model_of(run: Run) -> Model:
        theta = place.to_numpy(run.theta)
        scale, shift = training_set.scale, training_set.shift
        return Model(network, theta, hp.loss, scale, shift, config, training_set.names)

    display = choose_display(as_json, hp.epochs)
    for remark in saver.remarks:
        display.say(remark)
    reference = ops == "reference"
    watch = None
    if ask_doctor:
        watch = Watch(network, training_set, hp, place, start=start, reference=reference)
    run: Run | None = None
    with place.explaining(), watching(watch, as_json), display, stop_signals() as stop:
        for run in segments(
            network,
            training_set,
            hp=hp,
            backend=place,
            reference=reference,
            start=start,
            segment_seconds=min(SEGMENT_SECONDS, checkpoint_every),
            say=display.say,
        ):
            if saver.due(run) or stop.signal:  # before it is shown: a pipe may be broken
                saver.save(place, run, model_of(run))
            if watch is not None:
                watch.observe(run)
            if run.step == 0:
                display.epoch(run.reports[-1])
            else:
                display.segment(run, report(place, run, hp.loss.classifies))
            stop.leave_if_asked(run, saver.path)
    run = run or start  # a finished one has no segment left
    assert run is not None

    model = model_of(run)
    test = None
    if test_set is not None:  # the one look at it
        test = evaluate(network, place.asarray(model.theta), test_set, hp.loss, say=display.say)
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
        test_accuracy=test.accuracy if test else None,
        test_loss=test.loss if test else None,
        parameters=network.n_parameters,
    )
    if watch is not None:
        show_verdicts(watch.verdicts(test_set, test), as_json)


def check_apart(paths: dict[str, Path | None]) -> None:
    """Raise UsageError where two of the flags name one file: it would be written over."""
    flags: dict[Path, str] = {}
    for flag, path in paths.items():
        if path and (other := flags.setdefault(path.resolve(), flag)) != flag:
            raise UsageError(f"{other} and {flag} name the same file: give each its own")
