"""What the first line of a table says: the delimiter, and which column is what."""

from __future__ import annotations

import contextlib
import csv
import re
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, UsageError, did_you_mean

__all__ = ["Table", "is_float", "read_first_line", "shorten", "split_line"]

MAX_COMPARED = 10_000  # names looked through for the one that was meant
DELIMITERS = "\t;,"  # in this order: a comma beside one of the others is in a name or a number


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
    may_be_text: bool
    """Whether labels may be text."""

    @property
    def others(self) -> list[int]:
        """Indices of the columns that are no features."""
        return self.labels + ([] if self.weight is None else [self.weight])

    @property
    def could_be_a_sample(self) -> bool:
        """Whether the header is whole numbers but for the label: a class may stand there, too."""
        rest = [name for j, name in enumerate(self.names) if j not in self.labels]
        return self.header and self.may_be_text and all(map(is_whole, rest))

    def cell(self, line: int, column: int) -> str:
        """How a message names a cell."""
        name = f" ({shorten(self.names[column])})" if self.header else ""
        return f"{self.path}: line {line}, column {column + 1}{name}"


def read_first_line(
    path: Path,
    number: int,
    line: str,
    label_columns: tuple[str, ...] | None,
    weight_column: str | None,
    may_be_text: bool = False,
) -> Table:
    """Delimiter, column names and roles from the first line, which may be a header or a sample.

    Where ``label_columns`` is None there are features only. A sample is all numbers, but for its
    labels where these ``may_be_text``.
    """
    delimiter = sniff(line)
    cells = split_line(path, delimiter, number, line)
    if len(cells) == 1 and label_columns is not None:
        raise DataError(
            f"{path}: line {number} has one column only: a comma, semicolon or tab must part "
            "label and features"
        )
    header = not is_sample(cells, label_columns if may_be_text else None)
    names = [cell.strip() for cell in cells] if header else [str(i + 1) for i in range(len(cells))]
    if header:
        check_header(path, number, names, label_columns or ())
    labels = [column(path, names, name) for name in label_columns or ()]
    weight = None if weight_column is None else column(path, names, weight_column)
    table = Table(path, delimiter, number, names, header, labels, weight, may_be_text)
    others = table.others
    if label_columns == () or len(set(others)) < len(others):
        raise UsageError(f"{path}: labels and weight must each have a column of their own")
    if len(others) == len(names):
        raise DataError(f"{path}: beside labels and weight there is no column of features")
    return table


def sniff(line: str) -> str:
    """The first delimiter that parts the line in two cells or more; else a comma."""
    for delimiter in DELIMITERS:
        with contextlib.suppress(csv.Error):  # it stands inside quotes
            if len(next(csv.reader([line], delimiter=delimiter, strict=True))) > 1:
                return delimiter
    return ","


def is_sample(cells: list[str], text_columns: tuple[str, ...] | None) -> bool:
    """Whether a first line is a sample: numbers in all but the ``text_columns``.

    Distinct whole numbers beside text are names of columns, such as those of "label,0,1,2".
    """
    if all(is_float(cell) for cell in cells):
        return True
    places = {"first": 0, "last": len(cells) - 1}
    places |= {str(j + 1): j for j in range(len(cells))}
    text = {places.get(name, -1) for name in text_columns or ()}
    rest = [cell.strip() for j, cell in enumerate(cells) if j not in text]
    if not all(is_float(cell) for cell in rest):
        return False
    return not (all(map(is_whole, rest)) and len(set(rest)) == len(rest))


def check_header(path: Path, number: int, names: list[str], label_columns: tuple[str, ...]) -> None:
    """Raise DataError where a first line that is not all numbers is no header either.

    Names are distinct and not empty; some may be whole numbers ("label,0,1,2"). A line with the
    name of one of the ``label_columns`` was meant as a header.
    """
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        if not name:
            why = "is empty"
        elif is_float(name) and not is_whole(name):
            why = f"is the number {shorten(name)}"
        elif name in first:
            why = f"repeats {shorten(name)} of column {first[name] + 1}"
        else:
            first[name] = i
            continue
        if set(label_columns) & set(names):
            raise DataError(
                f"{path}: line {number}: column {i + 1} of the header {why}: give each column a "
                "name of its own"
            )
        j = next(j for j, cell in enumerate(names) if not is_float(cell))
        raise DataError(
            f"{path}: line {number} is neither a sample (column {j + 1} is {shorten(names[j])}) "
            f"nor a header (column {i + 1} {why}): correct one of the two, or name the column of "
            "the label with --label-column"
        )


def column(path: Path, names: list[str], name: str) -> int:
    """Index of the column called ``name``; "first" and "last" are places, not names."""
    if name in ("first", "last"):
        return 0 if name == "first" else len(names) - 1
    if name in names:
        return names.index(name)
    if all(is_float(known) for known in names):
        raise UsageError(f"{path}: no column {name!r}: without a header choose 1 .. {len(names)}")
    hint = did_you_mean(name, names[:MAX_COMPARED])
    raise UsageError(f"{path}: no column {name!r}: {hint[:200]}{'...' * (len(hint) > 200)}")


def split_line(path: Path, delimiter: str, number: int, line: str) -> list[str]:
    """The cells of a line, without their quotes; raises DataError where a quote is not closed."""
    try:
        [cells] = csv.reader([line], delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise DataError(f"{path}: line {number}: damaged cell ({error}): correct it") from error
    return cells


def is_float(cell: str) -> bool:
    """Whether a cell is a number; infinite and NaN count as numbers."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip().isascii() and "_" not in cell  # float() takes 1_000 and Arabic digits


def is_whole(cell: str) -> bool:
    """Whether a cell is a whole number as the names of columns are: digits, and nothing else."""
    return re.fullmatch(r"[0-9]+", cell) is not None


def shorten(text: str) -> str:
    """``text`` in quotes for a message, of 40 characters at most."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
