"""Reader of NPY files, NumPy's arrays: the values stay in the file until they are needed.

The header is matched, not evaluated, and what holds Python objects is refused: no byte of such a
file is ever run. Source: numpy.lib.format, version 1.0.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np

from ..data import Dataset
from ..errors import DataError
from ..types import NumpyArray
from .names import class_numbers
from .samples import (
    Targets,
    compact,
    dataset,
    flat,
    real_targets,
    row_of,
)
from .unpack import read_up_to

__all__ = ["Layout", "dtype_of", "header_of", "map_npy", "read_layout", "read_npy"]

MAX_DIMENSIONS = 64  # what NumPy can hold
START = 10  # bytes of an array before its header: magic, version, length of the header


class Layout(NamedTuple):
    """What the header of an array promises."""

    start: int
    """Bytes before the values."""
    dtype: np.dtype
    shape: tuple[int, ...]
    order: Literal["C", "F"]


def read_npy(
    path: Path,
    labels: Path,
    *,
    targets: Targets = "classes",
    names: Sequence[str] | None = None,
) -> Dataset:
    """The samples (n, ...) in an NPY file, each a row, with the labels (n,) in another.

    Where ``targets`` is "real" the second may be (n, k), else it may be text: ``names`` are those
    of the classes, where they are known. The samples are not read into memory if
    they are uint8, or float32 or float64 that are not all whole numbers in 0..255. Raises
    DataError where a file cannot be used, or the two do not fit.
    """
    X, y = map_npy(path), np.array(map_npy(labels, text=targets == "classes"))
    if X.ndim < 2:
        raise DataError(f"{path}: shape {X.shape}: give it one row a sample")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim > (2 if targets == "real" else 1):
        raise DataError(f"{labels}: shape {y.shape}: give it one label a sample")
    if len(X) != len(y):
        raise DataError(f"{path} holds {len(X):,} samples, but {labels} {len(y):,} labels")
    where = row_of(str(labels))
    found = None
    if targets == "classes":
        y, found = class_numbers(y, where, names)
    else:
        y = real_targets(y, where)
    return dataset(compact(flat(X), row_of(str(path))), y, names=found)


def map_npy(path: Path, *, text: bool = False) -> NumpyArray:
    """The array in an NPY file, read-only, its values read when they are looked at."""
    with path.open("rb") as file:
        layout = read_layout(str(path), file, os.fstat(file.fileno()).st_size, text=text)
        dtype = layout.dtype if layout.dtype.kind != "b" else np.dtype(np.uint8)
        return np.asarray(
            np.memmap(file, dtype, "r", layout.start, layout.shape, order=layout.order)
        )


def read_layout(where: str, file: IO[bytes], n_bytes: int, *, text: bool = False) -> Layout:
    """The header at the start of ``file``, checked against its ``n_bytes``."""
    start, header = header_of(where, file)
    dtype = dtype_of(where, header, text=text)
    order = re.search(r"'fortran_order': *(True|False)", header)
    sizes = re.search(r"'shape': *\(([0-9, ]*)\)", header)
    if not (order and sizes):
        raise DataError(f"{where}: no header of an array: write it again with NumPy")
    shape = tuple(int(size[:20]) for size in sizes[1].replace(",", " ").split())
    if 0 in shape or not shape or len(shape) > MAX_DIMENSIONS:
        raise DataError(f"{where}: an array of shape {shape} holds no samples")
    promised, there = math.prod(shape) * dtype.itemsize, n_bytes - start
    if promised != there:
        raise DataError(
            f"{where}: the header promises {promised:,} bytes (shape {shape}), "
            f"but there are {there:,}: the file is damaged"
        )
    return Layout(start, dtype, shape, "F" if order[1] == "True" else "C")


def header_of(where: str, file: IO[bytes]) -> tuple[int, str]:
    """The header of an array and the byte at which it ends."""
    start = file.read(START)
    if len(start) < START or start[:6] != b"\x93NUMPY":
        raise DataError(f"{where} is no array (byte 0): write it again with NumPy")
    if start[6:8] != b"\1\0":
        raise DataError(
            f"{where} has format version {start[6]}.{start[7]} (byte 6), for arrays with fields: "
            "save plain arrays"
        )
    length = int.from_bytes(start[8:10], "little")
    header = read_up_to(file, length)
    if len(header) < length:
        raise DataError(f"{where} ends within its header, at byte {START + len(header)}")
    return START + length, header.decode("latin1")


def dtype_of(where: str, header: str, *, text: bool = False) -> np.dtype:
    """The dtype in a header, if it is one of real numbers, or of ``text`` where that may be."""
    match = re.search(r"'descr': *'([^']*)'", header)
    descr = match[1] if match else "a record"
    if text and re.fullmatch(r"[<>=|]?[US][1-9][0-9]{0,5}", descr):
        return np.dtype(descr)
    if "O" in descr:
        instead = "save numbers, or text by .astype(str)" if text else "save numbers"
        raise DataError(f"{where} holds Python objects, which are never unpickled: {instead}")
    if not re.fullmatch(r"[<>=|]?(b1|[iu][1248]|f[248])", descr):
        raise DataError(f"{where} holds {descr[:20]!r}, not real numbers: convert it to floats")
    return np.dtype(descr)
