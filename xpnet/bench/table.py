"""What was measured as plain text, for a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .limit import LIMIT
from .record import Measured
from .standing import Spread, Standing, conclusion, standings
from .sweep import growth

__all__ = ["memory_table", "sweep_table", "table"]

HEADER = [
    "contestant", "epoch 1 s", "later s", "from", "to", "wall s", "samples/s",
    "x limit", "from", "to", "x fastest", "loss", "off",
]  # fmt: skip
SIZES = {"batch": "batch", "width": "parameters"}
SLACK = 100 * 10**6
"""Bytes that a peak of memory may exceed the bound by: what libraries need for themselves."""


def table(measured: Measured, clock: str) -> list[str]:
    """The standings of one workload, who is not ranked and why, the bytes, the conclusion."""
    workload = measured.workload
    ranking = standings(workload, measured.outcomes, clock)
    rounds = max(len(outcome.rounds) for outcome in measured.outcomes)
    moved = measured.moved.total
    return [
        f"{workload.name}: {workload.describe()}",
        f"{clock} seconds an epoch, medians of {rounds} rounds; later: epochs 2 and on",
        *columns([HEADER, *(row(s) for s in ranking if s.later)]),
        *(f"{s.name} is not ranked: {s.remark}" for s in ranking if s.remark),
        f"an epoch moves at least {moved / 1e9:.3g} GB: {moved / measured.bandwidth:.3g} s at the "
        f"{measured.bandwidth / 1e9:.3g} GB/s with which one core copies a step's memory here",
        conclusion(ranking),
    ]


def row(s: Standing) -> list[str]:
    """The cells of one contestant."""
    return [
        s.name,
        *figures(s.first)[:1],
        *figures(s.later),
        *figures(s.wall)[:1],
        f"{s.samples_per_second:,.0f}" if s.samples_per_second else "",
        *figures(s.to_limit),
        "" if s.name == LIMIT else figures(s.to_fastest)[0],
        "" if s.loss is None else f"{s.loss:.4f}",
        "" if s.deviation is None else f"{s.deviation:.0e}",
    ]


def figures(spread: Spread | None) -> list[str]:
    return [""] * 3 if spread is None else [f"{value:.3g}" for value in spread]


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows with columns of equal width: the first flush left, figures flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def sweep_table(sweep: str, measured: Mapping[str, Measured], clock: str) -> list[str]:
    """What a sample costs each contestant at every size of a sweep."""
    costs = growth(sweep, measured, clock)
    sizes = sorted({size for points in costs.values() for size, _ in points})
    by_size = {name: {size: f"{cost:.3g}" for size, cost in costs[name]} for name in costs}
    rows = [[f"{size:,}", *(by_size[name].get(size, "") for name in costs)] for size in sizes]
    return [f"{sweep}: {clock} microseconds a sample", *columns([[SIZES[sweep], *costs], *rows])]


def memory_table(measured: Measured) -> list[str]:
    """The peak memory of each contestant beside the bound."""
    bound = measured.memory_bound
    rows = [[name, *peak_cells(peak, bound)] for name, peak in (measured.memory or {}).items()]
    return [
        f"{measured.workload.name}: peak memory in MB beyond the interpreter with its libraries; "
        f"parameters, slots, data and two batches of activations are {bound / 1e6:.0f} MB",
        *columns([["contestant", "peak", "more", ""], *rows]),
    ]


def peak_cells(peak: int | str, bound: int) -> list[str]:
    if isinstance(peak, str):
        return ["", "", peak]
    verdict = "within 100 MB" if peak <= bound + SLACK else "MORE THAN 100 MB"
    return [f"{peak / 1e6:.0f}", f"{(peak - bound) / 1e6:+.0f}", verdict]
