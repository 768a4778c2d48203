"""``xpnet bench``: how fast is it here, beside everything else that is installed?"""

from __future__ import annotations

import os
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table

from ..backends import peers
from ..bench import contestants
from ..bench.campaign import measure
from ..bench.limit import LIMIT
from ..bench.plot import check_plot, plot_workloads
from ..bench.record import Measured, Setup, environment
from ..bench.standing import Spread, Standing, conclusion, standings
from ..bench.workloads import WORKLOADS, scaled
from ..errors import check_count
from .options import FILE, Name, Names, Number, common, emit

__all__ = ["bench"]

USUAL = ("classic-adamw", "online")
SHARE = 0.1
EPOCHS = 3
COUNT = Number(int, check_count)


@click.command()
@click.option(
    "--workload",
    "workloads",
    type=Name("workload", [*WORKLOADS, "all"]),
    multiple=True,
    help=f"May be given several times.  [default: {' and '.join(USUAL)}]",
)
@click.option(
    "--contestants",
    "chosen",
    type=Names("contestant", contestants.entrants()),
    metavar="NAME,...",
    help="Who takes part.  [default: xpnet on every usable backend and every other library that "
    "is installed]",
)
@click.option(
    "--rounds", type=COUNT, default=3, show_default=True, help="Turns that each of them has."
)
@click.option("--threads", type=COUNT, default=1, show_default=True, help="Of all contestants.")
@click.option("--full", is_flag=True, help="With all samples, not a tenth of them.")
@click.option(
    "--save", "picture", type=FILE, metavar="FILE", help="Draw the result, such as bench.png."
)
@common
def bench(
    workloads: tuple[str, ...],
    chosen: tuple[str, ...] | None,
    rounds: int,
    threads: int,
    full: bool,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Train with xpnet and with everything else here, in turn, and say who is the fastest.

    All do the same work: the same data, batches, initial weights and update rule. The limit is
    the time of the matrix products alone. With one thread the seconds are those of the process,
    with several those on the wall.
    """
    if picture:
        check_plot(picture)
    os.environ.update(peers.thread_environment(threads))  # before other libraries are loaded
    peers.set_threads(threads)
    names = [name for name in chosen or contestants.names() if name != LIMIT]
    peers.set_threads(threads)  # for those that are loaded now
    setup = Setup(
        (LIMIT, *names), rounds, EPOCHS, threads, "cpu" if threads == 1 else "wall",
        1.0 if full else SHARE,
    )  # fmt: skip
    wanted = list(WORKLOADS) if "all" in workloads else dict.fromkeys(workloads or USUAL)
    done: list[Measured] = []
    for name in wanted:
        part = scaled(WORKLOADS[name], setup.share)
        measured = measure(part, setup, say=lambda text: click.echo(text, err=True))
        done.append(measured)
        show(measured, setup.clock, as_json)
    if picture:
        title = f"{environment(threads)['processor']}, {threads} thread{'s'[: threads > 1]}"
        plot_workloads(done, setup.clock, title, picture)


def show(measured: Measured, clock: str, as_json: bool) -> None:
    """One workload, as a table or as JSON lines."""
    workload = measured.workload
    ranking = standings(workload, measured.outcomes, clock)
    if not as_json:
        Console().print(table_of(ranking, workload.describe(), clock))
        for s in ranking:
            if s.remark:
                click.echo(f"{s.name} is not ranked: {s.remark}")
        click.echo(f"{workload.name}: {conclusion(ranking)}\n")
        return
    for s in ranking:
        figures = {
            key: value._asdict() if isinstance(value, Spread) else value
            for key, value in s._asdict().items()
        }
        emit(event="contestant", workload=workload.name, **figures)
    emit(
        event="result",
        workload=workload.name,
        description=workload.describe(),
        clock=clock,
        bytes_per_epoch=measured.moved.total,
        bandwidth=measured.bandwidth,
        conclusion=conclusion(ranking),
    )


def table_of(ranking: list[Standing], title: str, clock: str) -> Table:
    """A row for each contestant that ran; figures are those of the epochs after the first."""
    heads = (f"{clock} s", "wall s", "samples/s", "x fastest", "x limit", "loss")
    figures = [Column(head, justify="right", no_wrap=True) for head in heads]
    table = Table(Column("", no_wrap=True), *figures, title=title)
    for s in ranking:
        if s.later and s.wall and s.samples_per_second:
            table.add_row(
                s.name,
                f"{s.later.median:.3g}",
                f"{s.wall.median:.3g}",
                f"{s.samples_per_second:,.0f}",
                "" if s.name == LIMIT or not s.to_fastest else f"{s.to_fastest.median:.2f}",
                f"{s.to_limit.median:.2f}" if s.to_limit else "",
                "" if s.loss is None else f"{s.loss:.4f}",
                style="bold" if s.ours else "",
            )
    return table
