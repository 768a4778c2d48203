"""``xpnet gradcheck``: are the gradients right?"""

from __future__ import annotations

from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Column, Table

from ..backends import Backend
from ..checks.gradcheck import BlockCheck
from ..checks.gradcheck import gradcheck as check_gradients
from ..checks.parity import first_batch
from ..checks.subject import Subject
from ..errors import XpnetError, check_count
from .options import Number, common, emit
from .subject import build_subject, chosen_backends, given, one_line, subject_options

__all__ = ["gradcheck"]

MOST_ROWS = 32  # a gradient is wrong on few samples as on many
COUNT = Number(int, check_count)


@click.command()
@subject_options
@click.option("--directions", type=COUNT, default=4, show_default=True, help="A block, at random.")
@click.option("--coordinates", type=COUNT, default=12, show_default=True, help="A block.")
@common
def gradcheck(
    model: str | None,
    names: tuple[str, ...] | None,
    directions: int,
    coordinates: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare gradients with central differences in float64, for every parameter block.

    The differences are taken on NumPy; the gradient is that of each backend, in --dtype, which is
    float64 unless it is given. Exit code 1 if one is wrong.
    """
    places, missing = chosen_backends(names)
    subject = build_subject(model, options)
    dtype = subject.hp.dtype if given("dtype") else "float64"
    checks: list[tuple[Backend, BlockCheck]] = []
    for place in places:
        for check in checked(subject, place, dtype, directions, coordinates):
            checks.append((place, check))
            if as_json:
                emit(event="check", backend=place.place, dtype=dtype, **check._asdict())
    failed = [(place, check) for place, check in checks if not check.passed]
    if as_json:
        emit(event="result", checks=len(checks), failed=len(failed), skipped=dict(missing))
    else:
        print_table(checks)
        for name, reason in missing:
            click.echo(f"passed over {name}: {reason}")
        kinks = sum(check.n_kinks for _, check in checks)
        click.echo(
            f"{len(checks)} blocks in {dtype}, {len(failed)} failed; {kinks} probes met a kink; "
            "errors are beyond those of the differences themselves"
        )
    if failed:
        blocks = ", ".join(
            f"{check.block} on {place.place} ({check.where}, error {check.error:.1e})"
            for place, check in failed
        )
        raise XpnetError(f"the gradient is wrong for {blocks}")


def checked(
    subject: Subject, place: Backend, dtype: str, directions: int, coordinates: int
) -> list[BlockCheck]:
    """What is found of each block, on the first samples of the first batch."""
    few = slice(MOST_ROWS)
    try:
        with np.errstate(all="ignore"):
            x, target, weight, noise, theta = first_batch(subject)
            return check_gradients(
                subject.network,
                theta,
                x[few],
                target[few],
                subject.hp.loss,
                weight=None if weight is None else weight[few],
                noise=noise._replace(rows=np.asarray(noise.rows[few])),
                backend=place,
                dtype=dtype,
                n_directions=directions,
                n_coordinates=coordinates,
                seed=subject.hp.seed,
            )
    except (XpnetError, MemoryError):
        raise
    except Exception as error:  # such as of a layer of the user's
        raise XpnetError(f"no gradient on {place.place}: {one_line(error)}") from error


def print_table(checks: list[tuple[Backend, BlockCheck]]) -> None:
    whole = (Column(name, no_wrap=True) for name in ("backend", "block"))  # within 80 columns
    table = Table(*whole, "probes", "kinks", Column("worst error", no_wrap=True), "")
    for place, check in checks:
        table.add_row(
            place.place, check.block, str(check.n_checked), str(check.n_kinks),
            f"{check.error:.1e}", "pass" if check.passed else "[bold]FAIL[/bold]",
        )  # fmt: skip
    Console().print(table)
