"""``xpnet backends``: what can be computed with on this machine, and what is missing."""

from __future__ import annotations

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..backends import BACKENDS, Status, available
from ..errors import XpnetError
from .options import Names, common, emit

__all__ = ["backends"]


@click.command()
@click.option("--check", is_flag=True, help="Run a matrix product on each.")
@click.option(
    "--require",
    type=Names("backend", BACKENDS),
    default=(),
    metavar="NAME,...",
    help="Fail unless these are usable.",
)
@click.option("--markdown", is_flag=True, help="Print what each is, as a table for documents.")
@common
def backends(check: bool, require: tuple[str, ...], markdown: bool, as_json: bool) -> None:
    """List the backends: usable here, or why not."""
    if markdown:
        click.echo(markdown_table())
        return
    statuses = available(check=check)
    if as_json:
        for status in statuses:
            emit(event="backend", **status._asdict())
    else:
        print_table(statuses)
    for status in statuses:
        if status.name in require and not status.usable:
            raise XpnetError(status.reason)
    if check:
        loaded = {status.name for status in available() if status.usable}
        for status in statuses:
            if status.name in loaded and not status.usable:
                raise XpnetError(f"the check failed: {status.reason}")


def markdown_table() -> str:
    """What each backend runs on and what installs it, the same on every machine."""
    rows = [("backend", "runs on", "a segment of steps is", "install"), ("---",) * 4]
    rows += [
        (f"`{name}`", entry.devices, entry.segment, f"`{entry.remedy}`")
        for name, entry in BACKENDS.items()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def print_table(statuses: list[Status]) -> None:
    table = Table("backend", "usable", "device", "version", "")
    for status in statuses:
        table.add_row(
            status.name,
            "yes" if status.usable else "no",
            status.device,
            status.version,
            escape(status.reason),
        )
    Console().print(table)
