"""The lines of a text file, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import DataError
from .unpack import check_size

__all__ = ["blocks"]

BLOCK = 1 << 20
MAX_LINE = 4 << 20
BOM = b"\xef\xbb\xbf"


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
