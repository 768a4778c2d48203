"""Reader of tables of numbers, whose labels may be names, with commas, semicolons or tabs.

NumPy's ``loadtxt`` parses a block of lines fast, but lets NaN, infinity and 1e400 through and says
little of what it refuses. So a block that it refuses, or in which a number is not finite, is read
again by ``parse_cells``, which is slow, strict and names line and column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data import Dataset
from ..errors import DataError
from ..types import NumpyArray
from .columns import Table, is_float, read_first_line, shorten, split_line
from .lines import blocks
from .names import Numbering, PassedOver, are_names, not_a_number
from .samples import (
    Targets,
    class_labels,
    compact,
    dataset,
    real_targets,
    sample_weights,
)
from .unpack import MAX_BYTES, check_size, opened

__all__ = ["read_csv"]


class Part(NamedTuple):
    """What a block of m lines holds: X (m, n_in), y (m,) or (m, k), weight (m,) or None."""

    X: NumpyArray
    y: NumpyArray
    weight: NumpyArray | None


def read_csv(
    path: str | Path,
    *,
    label_columns: tuple[str, ...] | None = ("first",),
    weight_column: str | None = None,
    targets: Targets | None = "classes",
    names: Sequence[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Dataset:
    """The samples in a table, one a line; every column is a feature unless it is named here.

    ``label_columns`` are names, or "first" or "last"; in a file without a header (a first line
    that is not all numbers but for the label) columns are named "1", "2", ... One gives labels
    (n,) int32, or reals (n,) where ``targets`` is "real"; several give reals (n, k), None stands
    for no label. Labels may be text: ``names`` are those of the classes, where they are known.
    Where ``targets`` is None, the ``label_columns`` are passed over. Raises DataError with line
    and column for what is no finite number, UsageError for a column that is not there.
    """
    path = Path(path)
    parts: list[Part] = []
    text: dict[int, Numbering] | None = None
    table, n_bytes = None, 0
    may_be_text = targets is None or (targets == "classes" and len(label_columns or ()) == 1)
    with opened(path) as file:
        for numbers, lines in blocks(path, file, max_bytes):
            if table is None:
                table = read_first_line(
                    path, numbers[0], lines[0], label_columns, weight_column, may_be_text
                )
                if table.header:
                    numbers, lines = numbers[1:], lines[1:]
            if lines:
                if text is None:
                    first = split_line(path, table.delimiter, numbers[0], lines[0])
                    text = text_columns(table, first, targets, names)
                block = parse(table, numbers, lines, text)
                part = split_columns(table, numbers, block, targets)
                n_bytes += part.X.nbytes + part.y.nbytes
                check_size(f"{path}: line {numbers[-1]}: the file", n_bytes, max_bytes)
                parts.append(part)
    if table is None:
        raise DataError(f"{path}: the file is empty: it must have one line a sample")
    if not parts:
        raise DataError(f"{path}: no line follows the header: it must have one line a sample")
    weights = [part.weight for part in parts if part.weight is not None]
    y, found = np.concatenate([part.y for part in parts]), None
    if text and targets == "classes":
        [numbering] = text.values()
        check_first_line(table, numbering)
        y, found = numbering.finish(y)
    return dataset(
        np.concatenate([part.X for part in parts]),
        y,
        np.concatenate(weights) if weights else None,
        found,
    )


def text_columns(
    table: Table, first: list[str], targets: Targets | None, names: Sequence[str] | None
) -> dict[int, Numbering]:
    """The label columns that hold text, as the cells of the ``first`` sample tell."""
    if targets is None:
        return {j: PassedOver() for j in table.labels}
    if table.may_be_text:
        [j] = table.labels
        if are_names("".join(first[j : j + 1]).strip(), names):
            return {j: Numbering(names)}
    return {}


def check_first_line(table: Table, numbering: Numbering) -> None:
    """Raise DataError where the first line was taken for a header, and may be a sample."""
    [j] = table.labels
    if table.could_be_a_sample and table.names[j] in numbering.codes:
        raise DataError(
            f"{table.path}: line {table.line} reads as a header, but {shorten(table.names[j])} is "
            "a class, too: write a header above it"
        )


def parse(
    table: Table, numbers: list[int], lines: list[str], text: Mapping[int, Numbering]
) -> NumpyArray:
    """The finite numbers in ``lines`` as float64 (m, n_columns); in place of ``text`` its own."""
    drafts = {j: numbering.draft() for j, numbering in text.items()}
    converters: dict[int | str, Callable[[str], Any]] = {j: d.number for j, d in drafts.items()}
    try:
        block = np.loadtxt(
            lines, delimiter=table.delimiter, comments=None, ndmin=2, converters=converters or None
        )
    except ValueError:
        return parse_cells(table, numbers, lines, text)
    if block.shape[1] != len(table.names) or not np.isfinite(block).all():
        return parse_cells(table, numbers, lines, text)
    if not all(numbering.takes(drafts[j]) for j, numbering in text.items()):
        return parse_cells(table, numbers, lines, text)
    return block


def parse_cells(
    table: Table, numbers: list[int], lines: list[str], text: Mapping[int, Numbering]
) -> NumpyArray:
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
            if j in text:
                if wrong := text[j].complaint(cell.strip()):
                    raise DataError(f"{table.cell(number, j)}: {wrong}")
                block[i, j] = text[j].number(cell)
                continue
            if not (is_float(cell) and math.isfinite(float(cell))):
                raise DataError(f"{table.cell(number, j)}: {complaint(table, j, cell.strip())}")
            block[i, j] = float(cell)
    return block


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
    if column not in table.labels:
        return (
            f"{shorten(cell)} is no number: turn text into numbers, remove the column, or name it "
            "with --label-column if it is the label"
        )
    if table.may_be_text:
        return not_a_number(cell)
    return f"{shorten(cell)} is no number: names of classes are for --loss softmax_xent alone"


def split_columns(
    table: Table, numbers: list[int], block: NumpyArray, targets: Targets | None
) -> Part:
    """Features, targets and weights of a block."""

    def where(i: int) -> str:
        return f"{table.path}: line {numbers[i]}"

    X = compact(np.delete(block, table.others, axis=1), where)
    y = block[:, table.labels]
    if len(table.labels) == 1:
        y = class_labels(y[:, 0], where) if targets == "classes" else real_targets(y[:, 0], where)
    weight = None if table.weight is None else sample_weights(block[:, table.weight], where)
    return Part(X, y, weight)
