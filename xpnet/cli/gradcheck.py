"""``xpnet gradcheck``: are the gradients right?"""

from __future__ import annotations

from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from .. import backends
from ..checks.gradcheck import BlockCheck
from ..checks.gradcheck import gradcheck as check_gradients
from ..checks.parity import first_batch
from ..errors import XpnetError, check_count
from .options import Number, common, emit
from .subject import build_subject, chosen_backends, subject_options

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
    places = chosen_backends(names or ("numpy",))[0]
    subject = build_subject(model, options)
    hp = subject.hp
    given = click.get_current_context().get_parameter_source("dtype")
    dtype = "float64" if given is click.core.ParameterSource.DEFAULT else hp.dtype
    x, target, weight, noise, theta = first_batch(subject)
    few = slice(MOST_ROWS)
    checks = []
    for place in places:
        for check in check_gradients(
            subject.network,
            theta,
            x[few],
            target[few],
            hp.loss,
            weight=None if weight is None else weight[few],
            noise=noise._replace(rows=np.asarray(noise.rows[few])),
            backend=place,
            dtype=dtype,
            n_directions=directions,
            n_coordinates=coordinates,
            seed=hp.seed,
        ):
            checks.append((place, check))
            if as_json:
                emit(event="check", backend=place.place, dtype=dtype, **check._asdict())
    failed = [check for _, check in checks if not check.passed]
    if as_json:
        emit(event="result", checks=len(checks), failed=len(failed))
    else:
        print_table(checks, dtype)
    if failed:
        blocks = ", ".join(f"{c.block} ({c.where}, error {c.error:.1e})" for c in failed)
        raise XpnetError(f"the gradient is wrong for {blocks}")


def print_table(checks: list[tuple[backends.Backend, BlockCheck]], dtype: str) -> None:
    table = Table("backend", "dtype", "block", "probes", "kinks", "worst error", "")
    for place, check in checks:
        table.add_row(
            place.place, dtype, check.block, str(check.n_checked), str(check.n_kinks),
            f"{check.error:.1e}", "pass" if check.passed else "[bold]FAIL[/bold]",
        )  # fmt: skip
    Console().print(table)
