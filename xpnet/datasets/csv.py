"""Reader of tables of numbers: text with commas, semicolons or tabs between the cells.

NumPy's ``loadtxt`` parses a block of lines fast, but lets NaN, infinity and 1e400 through and says
little of what it refuses. So a block that it refuses, or in which a number is not finite, is read
again by ``parse_cells``, which is slow, strict and names line and column.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ..data import Dataset
from ..errors import DataError, UsageError, did_you_mean
from .samples import (
    NumpyArray,
    Targets,
    class_labels,
    compact,
    dataset,
    real_targets,
    sample_weights,
)
from .unpack import MAX_BYTES, check_size, opened

__all__ = ["read_csv"]

BLOCK = 1 << 20
MAX_LINE = 4 << 20
DELIMITERS = "\t;,"  # in this order: a comma beside one of the others is in a name or a number
BOM = b"\xef\xbb\xbf"


class Table(NamedTuple):
    """What the first line says: how cells are parted, and what stands in which column."""

    path: Path
    delimiter: str
    line: int
    """The number of the first line that is not blank."""
    names: list[str]
    """Of the columns; without a header "1", "2", ..."""
    header: bool
    labels: list[int]
    """Index of each label column."""
    weight: int | None

    @property
    def others(self) -> list[int]:
        """Indices of the columns that are no features."""
        return self.labels + ([] if self.weight is None else [self.weight])

    def cell(self, line: int, column: int) -> str:
        """How a message names a cell."""
        name = f" ({shorten(self.names[column])})" if self.header else ""
        return f"{self.path}: line {line}, column {column + 1}{name}"


class Part(NamedTuple):
    """What a block of m lines holds: X (m, n_in), y (m,) or (m, k), weight (m,) or None."""

    X: NumpyArray
    y: NumpyArray
    weight: NumpyArray | None


def read_csv(
    path: str | Path,
    *,
    label_columns: tuple[str, ...] = ("first",),
    weight_column: str | None = None,
    targets: Targets = "classes",
    max_bytes: int = MAX_BYTES,
) -> Dataset:
    """The samples in a table, one a line; every column is a feature unless it is named here.

    ``label_columns`` are names, or "first" or "last"; in a file without a header (a first line
    that is not all numbers) columns are named "1", "2", ... One gives labels (n,) int32, or reals
    (n,) where ``targets`` is "real"; several give reals (n, k). Raises DataError with line and
    column for what is no finite number, UsageError for a column that is not there.
    """
    path = Path(path)
    parts: list[Part] = []
    table, n_bytes = None, 0
    with opened(path) as file:
        for numbers, lines in blocks(path, file, max_bytes):
            if table is None:
                table = read_first_line(path, numbers[0], lines[0], label_columns, weight_column)
                if table.header:
                    numbers, lines = numbers[1:], lines[1:]
            if lines:
                part = split_columns(table, numbers, parse(table, numbers, lines), targets)
                n_bytes += part.X.nbytes + part.y.nbytes
                check_size(f"{path}: line {numbers[-1]}: the file", n_bytes, max_bytes)
                parts.append(part)
    if table is None:
        raise DataError(f"{path}: the file is empty: it must have one line a sample")
    if not parts:
        raise DataError(f"{path}: no line follows the header: it must have one line a sample")
    weights = [part.weight for part in parts if part.weight is not None]
    return dataset(
        np.concatenate([part.X for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate(weights) if weights else None,
    )


def blocks(path: Path, file: IO[bytes], max_bytes: int) -> Iterator[tuple[list[int], list[str]]]:
    """The lines that are not blank, about a megabyte at a time, and their numbers from 1."""
    number, rest, n_bytes = 1, b"", 0
    while chunk := file.read(BLOCK):
        n_bytes += len(chunk)
        check_size(f"{path}: line {number}: the file", n_bytes, max_bytes)
        data = rest + chunk
        end = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1
        if not end and len(data) > MAX_LINE:
            raise DataError(f"{path}: line {number} is longer than {MAX_LINE:,} bytes: no table")
        lines, rest = data[:end].splitlines(), data[end:]
        yield from decoded(path, number, lines)
        number += len(lines)
    yield from decoded(path, number, rest.splitlines())


def decoded(path: Path, number: int, raw: list[bytes]) -> Iterator[tuple[list[int], list[str]]]:
    """The lines as text without the blank ones, unless all are blank."""
    numbers, lines = [], []
    for i, line in enumerate(raw, number):
        try:
            text = (line.removeprefix(BOM) if i == 1 else line).decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: line {i}, byte {error.start + 1}: no UTF-8 text: save the table as UTF-8"
            ) from error
        if text.strip(" "):
            numbers.append(i)
            lines.append(text)
    if lines:
        yield numbers, lines


# ---- the first line -------------------------------------------------------------------------


def read_first_line(
    path: Path, number: int, line: str, label_columns: tuple[str, ...], weight_column: str | None
) -> Table:
    """Delimiter, column names and roles from the first line, be it a header or a sample."""
    for delimiter in DELIMITERS:
        cells = split_line(path, delimiter, number, line)
        if len(cells) > 1:
            break
    else:
        raise DataError(
            f"{path}: line {number} has one column only: a comma, semicolon or tab must part "
            "label and features"
        )
    header = not all(is_float(cell) for cell in cells)
    names = [cell.strip() for cell in cells] if header else [str(i + 1) for i in range(len(cells))]
    if header:
        check_header(path, number, names)
    labels = [column(path, names, name) for name in label_columns]
    weight = None if weight_column is None else column(path, names, weight_column)
    table = Table(path, delimiter, number, names, header, labels, weight)
    others = table.others
    if not labels or len(set(others)) < len(others):
        raise UsageError(f"{path}: labels and weight must each have a column of their own")
    if len(others) == len(names):
        raise DataError(f"{path}: beside labels and weight there is no column of features")
    return table


def check_header(path: Path, number: int, names: list[str]) -> None:
    """Raise DataError where a first line that is not all numbers is no header either.

    Names are distinct and not empty; some may be whole numbers ("label,0,1,2").
    """
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        if not name:
            why = "is empty"
        elif is_float(name) and not re.fullmatch(r"[0-9]+", name):
            why = f"is the number {shorten(name)}"
        elif name in first:
            why = f"repeats {shorten(name)} of column {first[name] + 1}"
        else:
            first[name] = i
            continue
        j = next(j for j, cell in enumerate(names) if not is_float(cell))
        raise DataError(
            f"{path}: line {number} is neither a sample (column {j + 1} is {shorten(names[j])}) "
            f"nor a header (column {i + 1} {why}): correct one of the two"
        )


def column(path: Path, names: list[str], name: str) -> int:
    """Index of the column called ``name``; "first" and "last" are places, not names."""
    if name in ("first", "last"):
        return 0 if name == "first" else len(names) - 1
    if name not in names:
        hint = did_you_mean(name, ["first", "last", *names[:20]] if len(names) > 20 else names)
        raise UsageError(f"{path}: no column {name!r}: {hint}")
    return names.index(name)


# ---- the other lines ------------------------------------------------------------------------


def parse(table: Table, numbers: list[int], lines: list[str]) -> NumpyArray:
    """The finite numbers in ``lines`` as float64 (m, n_columns)."""
    try:
        block = np.loadtxt(lines, delimiter=table.delimiter, comments=None, ndmin=2)
    except ValueError:
        return parse_cells(table, numbers, lines)
    if block.shape[1] != len(table.names) or not np.isfinite(block).all():
        return parse_cells(table, numbers, lines)
    return block


def parse_cells(table: Table, numbers: list[int], lines: list[str]) -> NumpyArray:
    """What ``parse`` does, cell by cell; it knows quoted cells and names the one that is wrong."""
    block = np.empty((len(lines), len(table.names)))
    for i, (number, line) in enumerate(zip(numbers, lines, strict=True)):
        cells = split_line(table.path, table.delimiter, number, line)
        if len(cells) != len(table.names):
            raise DataError(
                f"{table.path}: line {number} has {len(cells)} cells, but line {table.line} has "
                f"{len(table.names)}: add or remove cells"
            )
        for j, cell in enumerate(cells):
            if not (is_float(cell) and math.isfinite(float(cell))):
                raise DataError(f"{table.cell(number, j)}: {complaint(table, j, cell.strip())}")
            block[i, j] = float(cell)
    return block


def split_line(path: Path, delimiter: str, number: int, line: str) -> list[str]:
    try:
        [cells] = csv.reader([line], delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise DataError(f"{path}: line {number}: damaged cell ({error}): correct it") from error
    return cells


def is_float(cell: str) -> bool:
    """Whether a cell is a number, be it infinite or NaN."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell  # float() takes 1_000 and Arabic digits


def complaint(table: Table, column: int, cell: str) -> str:
    """What is wrong with a cell that is no finite number, and what to do."""
    if not cell:
        return "the cell is empty: fill it in or remove the line"
    if is_float(cell):
        if any(digit in cell for digit in "0123456789"):
            return f"{shorten(cell)} is too big for a float64: scale the column"
        return f"{shorten(cell)} is not finite: fill it in or remove the line"
    if is_float(cell.replace(",", ".")):
        return f"{shorten(cell)} is no number: write a decimal point, not a comma"
    if column in table.labels:
        return f"{shorten(cell)} is no number: number the classes 0, 1, 2, ..."
    return f"{shorten(cell)} is no number: turn text into numbers or remove the column"


def shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def split_columns(table: Table, numbers: list[int], block: NumpyArray, targets: Targets) -> Part:
    """Features, targets and weights of a block."""

    def where(i: int) -> str:
        return f"{table.path}: line {numbers[i]}"

    X = compact(np.delete(block, table.others, axis=1), where)
    y = block[:, table.labels]
    if len(table.labels) == 1:
        y = class_labels(y[:, 0], where) if targets == "classes" else real_targets(y[:, 0], where)
    weight = None if table.weight is None else sample_weights(block[:, table.weight], where)
    return Part(X, y, weight)
