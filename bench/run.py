"""Measure xpnet beside every installed peer on the same work: see README.md in this folder.

python bench/run.py --out bench/records/<date>-<what>
python bench/run.py --check
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from xpnet.backends import peers
from xpnet.bench import contestants, record
from xpnet.bench.campaign import campaign
from xpnet.bench.limit import LIMIT
from xpnet.bench.plot import check_plot, plot_sweeps, plot_workloads
from xpnet.bench.regression import check
from xpnet.bench.table import memory_table, sweep_table, table
from xpnet.bench.workloads import SWEEPS, WORKLOADS, scaled
from xpnet.cli.options import Names, Number
from xpnet.errors import XpnetError, check_count

HERE = Path(__file__).resolve().parent
QUICK = 0.1


class Threads(click.ParamType[int]):
    """A number of threads, or ``all``."""

    name = "1|all|N"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if value == "all":
            return os.cpu_count() or 1
        count: int = Number(int, check_count).convert(value, param, ctx)
        return count


@click.command()
@click.option(
    "--workloads",
    type=Names("workload", WORKLOADS),
    metavar="NAME,...",
    default=tuple(WORKLOADS),
    help="[default: all]",
)
@click.option(
    "--contestants",
    "names",
    type=Names("contestant", contestants.entrants()),
    metavar="NAME,...",
    help="[default: all that are installed]",
)
@click.option("--rounds", type=Number(int, check_count), default=5, show_default=True)
@click.option("--epochs", type=Number(int, check_count), default=4, show_default=True)
@click.option("--threads", type=Threads(), default="1", show_default=True)
@click.option("--sweeps", is_flag=True, help="Also how the cost grows with batch and width.")
@click.option("--memory", "with_memory", is_flag=True, help="Also the peak memory of each.")
@click.option("--quick", is_flag=True, help="A tenth of the samples, three rounds.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the record.")
@click.option("--resume", is_flag=True, help="Go on with a record that was interrupted.")
@click.option("--check", "checking", is_flag=True, help="Only compare with ceilings.json.")
def main(threads: int, checking: bool, **options: Any) -> None:
    """Measure xpnet beside every installed peer, and print tables."""
    environment = peers.thread_environment(threads)
    if any(os.environ.get(name) != value for name, value in environment.items()):
        # libraries read them when they are loaded, and NumPy is loaded by now
        command = [sys.executable, *sys.argv]
        sys.exit(subprocess.call(command, env={**os.environ, **environment}))  # noqa: S603
    try:
        if checking:
            regression()
        else:
            measure(threads=threads, **options)
    except XpnetError as error:
        raise click.ClickException(str(error)) from error


def regression() -> None:
    """Exit with 1 where xpnet takes longer beside the matrix products than ceilings.json allows."""
    ceilings = json.loads((HERE / "ceilings.json").read_text(encoding="utf-8"))
    wanted = {
        workload: {name: ceiling for name, ceiling in names.items() if contestants.installed(name)}
        for workload, names in ceilings.items()
    }
    failed = [v for v in check(wanted, say=click.echo) if not v.passed]
    if failed:
        raise click.ClickException("; ".join(map(str, failed)))


def measure(
    workloads: tuple[str, ...],
    names: tuple[str, ...] | None,
    rounds: int,
    epochs: int,
    threads: int,
    sweeps: bool,
    with_memory: bool,
    quick: bool,
    out: Path | None,
    resume: bool,
) -> None:
    """The whole campaign, with its record in ``out``."""
    clock = "cpu" if threads == 1 else "wall"
    chosen = names or contestants.names()
    setup = record.Setup(
        contestants=(LIMIT, *(name for name in chosen if name != LIMIT)),
        rounds=3 if quick else rounds,
        epochs=epochs,
        threads=threads,
        clock=clock,
        share=QUICK if quick else 1.0,
    )
    kept = record.Record(out, setup, resume=resume)
    facts = {**record.environment(threads), **record.commit(HERE.parent)}
    if out is not None:
        check_plot(out / "plot.png")
    kept.write("environment.json", facts)
    title = f"{facts['processor']}, {threads} thread{'s'[: threads > 1]}"
    log: list[str] = []

    def say(lines: list[str]) -> None:
        log.extend([*lines, ""])
        kept.write("log.txt", "\n".join(log))
        click.echo("\n".join([*lines, ""]))

    def progress(text: str) -> None:
        click.echo(text, err=True)

    say([f"$ {command_line()}", title])
    parts = [scaled(WORKLOADS[name], setup.share) for name in workloads]
    for entry in campaign(kept, parts, with_memory=with_memory, say=progress):
        say(table(entry, clock))
        if entry.memory:
            say(memory_table(entry))
    if out is not None:
        entries = [kept.measured[name] for name in workloads]
        plot_workloads(entries, clock, title, out / "plot.png")
    if sweeps:
        for sweep, points in SWEEPS.items():
            for entry in campaign(kept, points, judged=False, say=progress):
                progress(f"{entry.workload.name} is done")
            say(sweep_table(sweep, kept.measured, clock))
        if out is not None:
            plot_sweeps(kept.measured, clock, title, out / "sweeps.png")


def command_line() -> str:
    """The command as anyone would give it: without the folder, which is this machine's business."""
    words = list(sys.argv[1:])
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    words = [word for word in words if not word.startswith("--out=") and word != "--resume"]
    return shlex.join(["python", "bench/run.py", *words])


if __name__ == "__main__":
    main()
