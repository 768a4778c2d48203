"""Reading a log of numbers: a table with or without a header, JSON lines, or printed lines.

It is tolerant of what people's logs look like: commas, semicolons or tabs; empty cells, ``nan``
and ``12.1 %``; but a line of another length or a text among the numbers is refused.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import IO, Any

from ..datasets.columns import is_float, shorten, sniff, split_line
from ..datasets.lines import blocks
from ..datasets.unpack import MAX_BYTES, opened
from ..errors import DataError
from .columns import canonical
from .history import History, read_history
from .prose import is_prose, prose_rows

__all__ = ["read_log"]

FIRST_LINES = 20
"""Lines among which a log that is no table must name a figure; a program may greet first."""

BARE = {1: ("loss",), 2: ("step", "loss")}
"""What the columns of a table without a header are."""


def read_log(path: Path, file: IO[bytes] | None = None) -> History:
    """The History in the log at ``path``, or in ``file``, which ``path`` is a name for.

    A file that ends in .gz is unpacked. Raises DataError, which names the line, where it is no
    log of numbers, and OSError where there is no such file.
    """
    if file is None:
        with opened(path) as file:
            return read_log(path, file)
    numbers: list[int] = []
    lines: list[str] = []
    for some_numbers, some_lines in blocks(path, file, MAX_BYTES):
        numbers += some_numbers
        lines += some_lines
    if not lines:
        raise DataError(f"{path}: the log is empty: it must have one line a record")
    if lines[0].lstrip().startswith("{"):
        rows: Any = json_rows(path, numbers, lines)
    elif any(is_prose(line) for line in lines[:FIRST_LINES]):
        rows = prose_rows(lines)
    else:
        rows = table_rows(path, numbers, lines)
    try:
        return read_history(rows)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def table_rows(path: Path, numbers: list[int], lines: list[str]) -> dict[str, list[str]]:
    """The columns of a table, by the names in its header or those of BARE."""
    delimiter = sniff(lines[0])
    if len(split_line(path, delimiter, numbers[0], lines[0])) == 1:  # blanks may part the cells
        lines = ["\t".join(re.sub(r"\s+%", "%", line).split()) for line in lines]
        delimiter = sniff(lines[0])
    cells = [
        split_line(path, delimiter, number, line)
        for number, line in zip(numbers, lines, strict=True)
    ]
    names = [name.strip() for name in cells[0]]
    if any(is_number(name) for name in names):
        names = bare_names(path, cells)
    else:
        numbers, cells = numbers[1:], cells[1:]
        if not any(canonical(name) for name in names):
            raise DataError(
                f"{path}: line {numbers[0] - 1 if numbers else 1}: no column is called loss or "
                f"accuracy, but {shorten(', '.join(names))}: name the columns in the first line"
            )
    for number, row in zip(numbers, cells, strict=True):
        if len(row) != len(names):
            raise DataError(
                f"{path}: line {number} has {len(row)} cells, but there are {len(names)} columns: "
                "add or remove cells"
            )
    columns: dict[str, list[str]] = {}
    for i, name in enumerate(names):
        columns.setdefault(name, [row[i] for row in cells])
    return columns


def is_number(cell: str) -> bool:
    """Whether a cell is a number, a percentage among them."""
    return is_float(cell.strip().removesuffix("%").strip())


def bare_names(path: Path, cells: list[list[str]]) -> list[str]:
    """The names of the columns of a table without a header: one of losses, or steps and losses."""
    width = len(cells[0])
    steps = [row[0] for row in cells]
    counting = all(is_float(s) and float(s) == int(float(s)) for s in steps if is_number(s))
    if width not in BARE or (width == 2 and not counting):
        raise DataError(
            f"{path}: {width} columns without a header: name them in the first line, such as "
            "epoch,loss,accuracy"
        )
    return list(BARE[width])


def json_rows(path: Path, numbers: list[int], lines: list[str]) -> list[dict[str, Any]]:
    """The records among JSON lines: the epochs that ``xpnet train --json`` writes, or any objects.

    What the line of the result says of the test set goes with the last epoch.
    """
    rows: list[dict[str, Any]] = []
    for number, line in zip(numbers, lines, strict=True):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number} is no JSON object ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number} is no JSON object: one a line, please")
        event = row.pop("event", "epoch")
        if event == "epoch":
            rows.append(row)
        elif event == "result" and rows:
            rows[-1] |= {k: v for k, v in row.items() if k in ("test_loss", "test_accuracy")}
    return rows
