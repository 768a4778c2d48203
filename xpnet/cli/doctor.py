"""``xpnet doctor``: what is wrong with a run, from a log of its numbers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ..errors import (
    TrainingError,
    UsageError,
    XpnetError,
    check_count,
    check_fraction,
    check_positive,
)
from ..losses import LOSSES
from ..symptoms import CHECKS, History, Verdict, Watch
from ..symptoms import doctor as examine
from ..symptoms.labels import read_labels
from ..symptoms.log import read_log
from .options import FILE, Name, Number, common, emit

__all__ = ["doctor", "show_verdicts", "watching"]

STDIN = Path("-")
STYLES = {"certain": "bold red", "likely": "bold yellow", "hint": "bold cyan"}


def check_classes(flag: str, n: int) -> int:
    return check_count(flag, n, minimum=2)


@click.command()
@click.option(
    "--csv",
    "log",
    type=FILE,
    metavar="FILE",
    help="The log: a table with a header such as epoch,loss,accuracy, one bare column of losses, "
    "lines as programs print them (epoch 3, loss: 0.41), or those of xpnet train --json; - is "
    "standard input.",
)
@click.option("--classes", type=Number(int, check_classes), help="Number of classes.")
@click.option(
    "--labels",
    type=FILE,
    metavar="FILE",
    help="Labels of the training set: .npy, IDX, or a text with one a line.",
)
@click.option(
    "--test-labels", type=FILE, metavar="FILE", help="Labels of the test set, in the same way."
)
@click.option("--loss", type=Name("loss", LOSSES), help="What the loss is.")
@click.option("--batch-size", type=Number(int, check_count), help="Samples a step.")
@click.option("--learning-rate", type=Number(float, check_positive), help="As in the program.")
@click.option(
    "--momentum", type=Number(float, check_fraction), default=0.0, help="As in the program."
)
@click.option("--list", "show_list", is_flag=True, help="Print every verdict there is, and stop.")
@common
def doctor(
    log: Path | None,
    classes: int | None,
    labels: Path | None,
    test_labels: Path | None,
    show_list: bool,
    as_json: bool,
    **known: Any,
) -> None:
    """Say what is wrong with a run, from a log of its loss and accuracy.

    Each verdict comes with its evidence, what it means and what to do. What else is known of the
    run lets it see more. Exit code 1 if a verdict is more than a hint. xpnet train --doctor looks
    inside the network, too.
    """
    if show_list:
        list_checks(as_json)
        return
    if log is None:
        raise UsageError("--csv FILE is missing: which log is it about? (- is standard input)")
    where = (Path("standard input"), sys.stdin.buffer) if log == STDIN else (log, None)
    history = read_log(*where)
    verdicts = examine(
        history,
        n_classes=classes,
        labels=None if labels is None else read_labels(labels, classes),
        test_labels=None if test_labels is None else read_labels(test_labels, classes),
        **known,
    )
    if not as_json:
        click.echo(describe_history(history))
    show_verdicts(verdicts, as_json)
    serious = [verdict.name for verdict in verdicts if verdict.serious]
    if serious:
        raise XpnetError(f"the run is not well: {', '.join(serious)}")


def list_checks(as_json: bool) -> None:
    for check in CHECKS.values():
        if as_json:
            emit(event="check", name=check.name, meaning=check.meaning, remedy=check.remedy)
        else:
            click.echo(f"{check.name}: {check.meaning}")


def describe_history(history: History) -> str:
    """What was read of a log."""
    names = [f"{name} (in percent)" if name in history.percent else name for name in history.series]
    ignored = f"; not used: {', '.join(history.ignored)}" if history.ignored else ""
    return f"{history.n} records of {', '.join(names)}{ignored}"


@contextlib.contextmanager
def watching(watch: Watch | None, as_json: bool) -> Iterator[None]:
    """Where the training within stops because of a NaN, say first where that came from."""
    try:
        yield
    except TrainingError:
        if watch is not None:
            show_verdicts(watch.verdicts(failed=True), as_json)
        raise


def show_verdicts(verdicts: list[Verdict], as_json: bool) -> None:
    """Print the verdicts, or one JSON object with all of them."""
    if as_json:
        emit(event="doctor", verdicts=[verdict._asdict() for verdict in verdicts])
        return
    console = Console(highlight=False)
    if not verdicts:
        console.print("nothing is wrong as far as these numbers show")
    for verdict in verdicts:
        title = Text.assemble((verdict.level, STYLES[verdict.level]), f": {verdict.name}")
        console.print(title)
        for text in (verdict.evidence, verdict.meaning, verdict.remedy):
            console.print(Padding(Text(text), (0, 0, 0, 4)))
