"""The History of a run: named series of numbers, from reports, rows or columns.

A log printed with two decimals says less than one with ten, so a series remembers how it was
rounded. A value that is missing is left out; one that is NaN or infinite is kept: it was recorded.
"""

from __future__ import annotations

import decimal
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, UsageError
from ..types import NumpyArray
from .columns import ACCURACIES, KNOWN, LOSSES, canonical

__all__ = ["History", "Series", "read_history"]


MISSING = ("", "-", "--", "na", "n/a", "none", "null")
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
ROW = "a history is a sequence of reports, of mappings or of losses, or a mapping of columns"


class Series(NamedTuple):
    """The recorded values (n,) float64 of one column, and half a unit of their last digit."""

    values: NumpyArray
    half: float

    @property
    def last(self) -> float:
        return float(self.values[-1])

    @property
    def finite(self) -> NumpyArray:
        """The values up to the first that is not finite."""
        bad = np.flatnonzero(~np.isfinite(self.values))
        return self.values[: bad[0]] if bad.size else self.values


class History(NamedTuple):
    """Series by the names in ``columns.KNOWN``, of ``n`` records; accuracies lie in 0 .. 1.

    ``percent`` are the accuracies that were recorded in percent, ``ignored`` the columns that
    say nothing here.
    """

    series: Mapping[str, Series]
    n: int
    percent: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def get(self, name: str) -> Series | None:
        """The series called ``name``, if anything finite or not was recorded."""
        return self.series.get(name)


class Cell(NamedTuple):
    """A number as it was written: ``exponent`` is that of its last digit."""

    value: float
    exponent: int
    percent: bool


def read_history(history: Any) -> History:
    """A History from a sequence of reports, mappings or losses, or a mapping of columns.

    What ``fit`` yields will do as well. Raises DataError where there is no record or a value is
    no number, UsageError for what is no history at all.
    """
    if isinstance(history, History):
        return history
    columns, n = columns_of(history)
    cells: dict[str, list[Cell]] = {}
    ignored = []
    for name, values in columns.items():
        known = canonical(name)
        if known is None or known in cells:
            ignored.append(name)
            continue
        found = [read_cell(name, i, value) for i, value in enumerate(values)]
        recorded = [cell for cell in found if cell is not None]
        if recorded:
            marked = known in ACCURACIES and "%" in name
            cells[known] = [c._replace(percent=c.percent or marked) for c in recorded]
    if not set(cells) & {*LOSSES, *ACCURACIES}:
        raise DataError(
            f"no loss and no accuracy among the columns {', '.join(columns) or '(none)'}: "
            f"name them {', '.join(KNOWN[:6])}"
        )
    percent = tuple(name for name in ACCURACIES if name in cells and in_percent(cells[name]))
    series = {name: series_of(name, found, name in percent) for name, found in cells.items()}
    return History(series, n, percent, tuple(ignored))


def columns_of(history: Any) -> tuple[Mapping[str, Sequence[Any]], int]:
    """The columns by their own names, and the number of records."""
    if isinstance(history, Mapping):
        columns = {str(name): listed(values, str(name)) for name, values in history.items()}
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            names = ", ".join(f"{name} {len(values)}" for name, values in columns.items())
            raise DataError(f"the columns of the history differ in length: {names}")
        rows, n = columns, max(lengths, default=0)
    else:
        records = [row_of(row) for row in listed(history, "the history")]
        names_seen = dict.fromkeys(name for row in records for name in row)
        rows, n = {name: [row.get(name) for row in records] for name in names_seen}, len(records)
    if n == 0:
        raise DataError("the history is empty: give at least one record with a loss or an accuracy")
    return rows, n


def listed(values: Any, name: str) -> list[Any]:
    """``values`` as a list; UsageError for a text, a number or an array of several columns."""
    shape = getattr(values, "shape", (0,))
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or len(shape) != 1:
        raise UsageError(f"{name} must be a sequence, not a {type(values).__name__}: {ROW}")
    return list(values)


def row_of(row: Any) -> dict[str, Any]:
    """One record by the names of its columns."""
    if isinstance(row, tuple) and len(row) == 2 and hasattr(row[0], "_asdict"):
        row = row[0]  # a Report and the weights, as ``fit`` yields them
    if hasattr(row, "_asdict"):
        row = row._asdict()
    if isinstance(row, Mapping):
        return {str(name): value for name, value in row.items()}
    if row is None or isinstance(row, str | numbers.Real):
        return {"loss": row}
    raise UsageError(f"a {type(row).__name__} is no record: {ROW}")


def read_cell(name: str, record: int, value: Any) -> Cell | None:
    """The number in a cell, or None where nothing was recorded; DataError for anything else."""
    if value is None:
        return None
    text = str(value.item() if getattr(value, "shape", None) == () else value).strip()
    if text.lower() in MISSING:
        return None
    percent = text.endswith("%")
    text = text.removesuffix("%").strip()
    if THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    try:
        exact = decimal.Decimal(text)
        number = float(exact)
    except (decimal.InvalidOperation, ValueError):
        exact = None
    if exact is None or "_" in text:
        raise DataError(f"{name} of record {record + 1} is no number: {str(value)[:40]!r}")
    exponent = exact.as_tuple().exponent
    return Cell(number, exponent if isinstance(exponent, int) else 0, percent)


def in_percent(cells: list[Cell]) -> bool:
    """Whether accuracies are percentages: marked so, or above 1."""
    return any(c.percent or (math.isfinite(c.value) and c.value > 1) for c in cells)


def series_of(name: str, cells: list[Cell], percent: bool) -> Series:
    """The series of these cells, accuracies as shares; DataError for what is no share."""
    scale = 0.01 if percent else 1.0
    values = scale * np.array([cell.value for cell in cells])
    exponents = [cell.exponent for cell in cells if math.isfinite(cell.value)]
    half = scale * 0.5 * 10.0 ** min(exponents, default=0)
    if name in ACCURACIES:
        wrong = np.flatnonzero((values < 0) | (values > 1))
        if wrong.size:
            value = cells[int(wrong[0])].value
            raise DataError(f"{name} is {value:g}: an accuracy lies in 0 .. 1, or in 0 .. 100 %")
    if name == "grad_norm":
        values = np.abs(values)  # some log the mean gradient, with its sign
    return Series(values, half)
