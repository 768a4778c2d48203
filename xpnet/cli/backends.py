"""``xpnet backends``: what can be computed with on this machine, and what is missing."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from ..backends import available
from .options import common, emit

__all__ = ["backends"]


@click.command()
@click.option("--check", is_flag=True, help="Run a matrix product on each.")
@common
def backends(check: bool, as_json: bool) -> None:
    """List the backends: usable here, or why not."""
    statuses = available(check=check)
    if as_json:
        for status in statuses:
            emit(event="backend", **status._asdict())
        return
    table = Table("backend", "usable", "device", "version", "")
    for status in statuses:
        table.add_row(
            status.name,
            "yes" if status.usable else "no",
            status.device,
            status.version,
            status.reason,
        )
    Console().print(table)
