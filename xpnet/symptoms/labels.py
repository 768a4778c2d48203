"""Reading the labels of a data set, which tell what share each class has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..datasets.columns import is_float, sniff, split_line
from ..datasets.idx import read_idx
from ..datasets.lines import blocks
from ..datasets.unpack import MAX_BYTES, opened, unpacked_suffix
from ..errors import DataError
from ..types import NumpyArray
from .facts import class_counts

__all__ = ["read_labels"]


def read_labels(path: Path, n_classes: int | None = None) -> NumpyArray:
    """Labels (n,) or one-hot (n, C) from a .npy file, a text of numbers, or an IDX file.

    Raises DataError, which names the file, where it holds no labels in 0 .. n_classes - 1, and
    OSError where there is no such file.
    """
    suffix = unpacked_suffix(path)
    if suffix == ".npy":
        labels = read_npy(path)
    elif suffix in (".csv", ".tsv", ".txt"):
        labels = read_text(path)
    else:
        labels = read_idx(path)
    class_counts(labels, n_classes, str(path))
    return labels


def read_npy(path: Path) -> NumpyArray:
    """The array in a .npy file; one of Python objects is refused, for it would be unpickled."""
    with opened(path) as file:
        try:
            array = np.load(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{path}: no .npy file of numbers ({reason})") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: several arrays: save the labels alone with numpy.save")
    return array


def read_text(path: Path) -> NumpyArray:
    """One label a line, or one-hot cells; a first line without a number is a header."""
    with opened(path) as file:
        lines = [line for _, some in blocks(path, file, MAX_BYTES) for line in some]
    if not lines:
        raise DataError(f"{path}: the file is empty: it must have one label a line")
    delimiter = sniff(lines[0])
    if not any(is_float(cell) for cell in split_line(path, delimiter, 1, lines[0])):
        lines = lines[1:]
    try:
        return np.loadtxt(lines, delimiter=delimiter, comments=None, ndmin=1)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: one label a line, and nothing else ({reason})") from error
