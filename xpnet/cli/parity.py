"""``xpnet parity``: do the backends agree?"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..checks.compare import Row
from ..checks.parity import parity as rows_of
from ..errors import XpnetError
from ..files import check_writable, write_atomically
from .options import FILE, common, emit
from .subject import STEPS, build_subject, chosen_backends, subject_options

__all__ = ["parity"]


@click.command()
@subject_options
@STEPS
@click.option("--all", "show_all", is_flag=True, help="Show every row, not the worst of a kind.")
@click.option("--junit", type=FILE, metavar="FILE", help="Also write a JUnit report.")
@common
def parity(
    model: str | None,
    names: tuple[str, ...] | None,
    steps: int,
    show_all: bool,
    junit: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare backends with the plain primitives on NumPy in float64.

    The random stream bit for bit, every primitive, layer, loss and gradient, the optimizer's
    update, a training of some steps, and what it has learnt; in float32 and float64 unless
    --dtype says which. Exit code 1 if anything failed.
    """
    if junit:
        check_writable(junit)
    places, missing = chosen_backends(names)
    subject = build_subject(model, options, steps)
    given = (
        click.get_current_context().get_parameter_source("dtype")
        is not click.core.ParameterSource.DEFAULT
    )
    dtypes = (subject.hp.dtype,) if given else ("float32", "float64")
    rows: list[tuple[str, Row]] = []
    for place in places:
        for dtype in dtypes:
            hp = dataclasses.replace(subject.hp, dtype=dtype)
            for row in rows_of(subject._replace(hp=hp), place):
                rows.append((dtype, row))
                if as_json:
                    emit(event="check", dtype=dtype, **row._asdict())
    failed = [row for _, row in rows if not row.passed]
    if as_json:
        skipped = dict(missing)
        emit(event="result", checks=len(rows), failed=len(failed), skipped=skipped)
    else:
        print_table(rows, show_all)
        for name, reason in missing:
            click.echo(f"passed over {name}: {reason}")
        click.echo(f"{len(rows)} checks, {len(failed)} failed")
    if junit:
        write_atomically(junit, junit_report(rows))
    if failed:
        first = failed[0]
        where = f" ({first.note})" if first.note else ""
        raise XpnetError(f"{len(failed)} of {len(rows)} checks failed: {first.check}{where}")


def print_table(rows: list[tuple[str, Row]], show_all: bool) -> None:
    """The worst error of each kind of check, or of each check, on every backend."""
    places = list(dict.fromkeys(row.backend for _, row in rows))
    table = Table("dtype", "check", "tolerance", *places)
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for dtype, row in rows:
        groups[dtype, row.check if show_all else kind_of(row)].append(row)
    for (dtype, name), group in groups.items():
        cells = []
        for place in places:
            mine = [row for row in group if row.backend == place]
            cells.append(verdict(mine))
        count = len(group) // len(places)
        title = f"{name} ({count})" if count > 1 else name
        table.add_row(dtype, escape(title), f"{group[0].tolerance:.0e}", *cells)
    console = Console()
    console.print(table)
    reasons = {row.tolerance: row.reason for _, row in rows if row.tolerance}
    for tolerance, reason in sorted(reasons.items()):
        click.echo(f"{tolerance:.0e}: {reason}")
    for dtype, row in rows:
        if not row.passed:
            note = f"; {row.note}" if row.note else ""
            click.echo(
                f"FAIL {row.backend}, {dtype}, {row.check}: error {row.error:.1e} "
                f"({row.ulps:.1f} ulp) above {row.tolerance:.0e}{note}"
            )


def verdict(rows: list[Row]) -> str:
    """The worst error of several rows, or how many of them failed."""
    failed = sum(not row.passed for row in rows)
    if not rows:
        return ""
    return f"[bold]{failed} FAILED[/bold]" if failed else f"{max(row.error for row in rows):.1e}"


KINDS = {
    "op": "primitives",
    "order": "orders of samples",
    "dropout": "dropout masks",
    "gradient": "gradient",
    "course": "course of the training",
}


def kind_of(row: Row) -> str:
    """What a check has in common with its like: the first word of its name says."""
    words = row.check.split()
    if words[0] == "layer":
        return f"layers, {words[-1]}"
    return KINDS.get(words[0], row.check)


def junit_report(rows: list[tuple[str, Row]]) -> bytes:
    """The rows as JUnit XML, one test case each."""
    failed = sum(not row.passed for _, row in rows)
    suite = ElementTree.Element(
        "testsuite", name="xpnet parity", tests=str(len(rows)), failures=str(failed)
    )
    for dtype, row in rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{row.backend} {dtype}", name=row.check
        )
        if not row.passed:
            message = f"error {row.error:.3e} above {row.tolerance:.0e}; {row.note or row.reason}"
            ElementTree.SubElement(case, "failure", message=message)
    text: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text
