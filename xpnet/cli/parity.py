"""``xpnet parity``: do the backends agree?"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ..backends import Backend
from ..checks.compare import Row
from ..checks.parity import parity as rows_of
from ..checks.subject import Subject
from ..errors import XpnetError
from ..files import check_writable, write_atomically
from .options import FILE, common, emit
from .subject import (
    STEPS,
    build_subject,
    chosen_backends,
    given,
    one_line,
    subject_options,
)

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
    dtypes = (subject.hp.dtype,) if given("dtype") else ("float32", "float64")
    rows: list[tuple[str, Row]] = []
    for place in places:
        for dtype in dtypes:
            for row in checked(subject, place, dtype):
                rows.append((dtype, row))
                if as_json:
                    emit(event="check", dtype=dtype, **row._asdict())
    failed = [(dtype, row) for dtype, row in rows if not row.passed]
    if as_json:
        emit(event="result", checks=len(rows), failed=len(failed), skipped=dict(missing))
    else:
        print_table(rows, show_all)
        for name, reason in missing:
            click.echo(f"passed over {name}: {reason}")
        click.echo(f"{len(rows)} checks, {len(failed)} failed")
    if junit:
        write_atomically(junit, junit_report(rows, missing))
    if failed:
        dtype, row = failed[0]
        note = f" ({row.note})" if row.note else ""
        raise XpnetError(
            f"{len(failed)} of {len(rows)} checks failed, the first on {row.backend} in {dtype}: "
            f"{row.check}{note}"
        )


def checked(subject: Subject, place: Backend, dtype: str) -> Iterator[Row]:
    """The rows of one backend and dtype; an exception, such as of a layer of the user's, fails."""
    subject = subject._replace(hp=dataclasses.replace(subject.hp, dtype=dtype))
    last = "the start"
    try:
        with np.errstate(all="ignore"):
            for row in rows_of(subject, place):
                last = row.check
                yield row
    except (XpnetError, MemoryError):
        raise
    except Exception as error:  # whatever one backend does not do is a result, too
        reason = "no exception is allowed"
        note = one_line(error)
        yield Row(f"after {last}", place.place, math.inf, 0.0, reason, math.inf, False, note)


def print_table(rows: list[tuple[str, Row]], show_all: bool) -> None:
    """For each dtype the worst error of each kind of check, or of each check, on every backend."""
    console = Console()
    for dtype in dict.fromkeys(dtype for dtype, _ in rows):
        console.print(table([row for d, row in rows if d == dtype], dtype, show_all))
    reasons = {(row.tolerance, row.reason) for _, row in rows if row.tolerance}
    for limit, reason in sorted(reasons):
        click.echo(f"{limit:.0e}: {reason}")
    for dtype, row in rows:
        if not row.passed:
            note = f"; {row.note}" if row.note else ""
            click.echo(
                f"FAIL {row.backend}, {dtype}, {row.check}: error {row.error:.1e} "
                f"({row.ulps:.1f} ulp) above {row.tolerance:.0e}{note}"
            )


def table(rows: list[Row], dtype: str, show_all: bool) -> Table:
    """The rows of one dtype: narrow enough for five backends on a terminal of 80 columns."""
    places = list(dict.fromkeys(row.backend for row in rows))
    check = Column("check", min_width=len("primitives"))
    width = None if len(places) < 5 else len("1.2e-07")
    errors = [Column(place, overflow="fold", width=width) for place in places]
    table = Table(check, "limit", *errors, title=dtype, title_justify="left")
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.check if show_all else kind_of(row)].append(row)
    for name, group in groups.items():
        cells = []
        for place in places:
            mine = [row for row in group if row.backend == place]
            cells.append(verdict(mine))
        count = max(sum(row.backend == place for row in group) for place in places)
        title = f"{name} ({count})" if count > 1 else name
        table.add_row(escape(title), f"{group[0].tolerance:.0e}", *cells)
    return table


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


def junit_report(rows: list[tuple[str, Row]], missing: list[tuple[str, str]]) -> bytes:
    """The rows as JUnit XML, one test case each; a backend passed over is a skipped one."""
    suite = ElementTree.Element(
        "testsuite",
        name="xpnet parity",
        tests=str(len(rows) + len(missing)),
        failures=str(sum(not row.passed for _, row in rows)),
        errors="0",
        skipped=str(len(missing)),
    )
    for dtype, row in rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{row.backend} {dtype}", name=row.check
        )
        if not row.passed:
            message = f"error {row.error:.3e} above {row.tolerance:.0e}; {row.note or row.reason}"
            ElementTree.SubElement(case, "failure", message=message)
    for name, reason in missing:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name="usable")
        ElementTree.SubElement(case, "skipped", message=reason)
    text: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text
