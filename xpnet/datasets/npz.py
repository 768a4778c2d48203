"""Reader of NPZ files, NumPy's zip archives of arrays, made for files that nobody vouches for.

The zip directory and the header of each array are read and compared first, and what they promise
is summed, before anything is unpacked; ``npy`` reads the headers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..data import Dataset
from ..errors import DataError
from ..types import NumpyArray
from .names import class_numbers
from .npy import read_layout
from .samples import (
    Targets,
    compact,
    dataset,
    flat,
    real_targets,
    row_of,
    sample_weights,
)
from .unpack import MAX_BYTES, check_size, read_up_to

__all__ = ["read_npz"]

NAMES = [
    {"x": "x", "y": "y", "x_test": "x_test", "y_test": "y_test", "weight": "weight"},
    {"x": "x_train", "y": "y_train", "x_test": "x_test", "y_test": "y_test", "weight": "weight"},
]
"""What the arrays are called: plainly, or as Keras does."""

LABELS = ("y", "y_test")

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What zipfile raises for damaged files."""

MAX_RATIO = 1032  # no deflated byte unpacks to more


class Entry(NamedTuple):
    """An array in the archive: where it is and what its header promises."""

    info: zipfile.ZipInfo
    start: int
    """Bytes before the values."""
    dtype: np.dtype
    shape: tuple[int, ...]
    order: Literal["C", "F"]


def read_npz(
    path: str | os.PathLike[str],
    *,
    targets: Targets = "classes",
    names: Sequence[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[Dataset, Dataset | None]:
    """Training and test set from arrays x, y and, if there, x_test, y_test, weight.

    Keras' names x_train and y_train do as well, and so do capitals. x (n, ...) becomes (n, n_in),
    y is (n,), or (n, k) where ``targets`` is "real", else perhaps text; ``names`` are those of the
    classes, where they are known. weight goes with x. Raises DataError, which names the file and
    the array, for anything that cannot be used.
    """
    path = Path(path)
    with opened_archive(path) as archive:
        arrays = read_arrays(path, archive, max_bytes, text=targets == "classes")
    train = part(path, arrays, "x", "y", targets, names)
    if "x_test" not in arrays:
        return train, None
    return train, part(path, arrays, "x_test", "y_test", targets, train.names)


@contextlib.contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive in a file; whatever a damaged one sets off within becomes a DataError."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            yield archive
    except DataError:
        raise
    except DAMAGE as error:
        raise damaged(path, error) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a seek to where no file can be
            raise
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: damaged or no NPZ file ({reason}): write it again with numpy.savez")


def read_arrays(
    path: Path, archive: zipfile.ZipFile, max_bytes: int, *, text: bool
) -> dict[str, NumpyArray]:
    """The arrays we know, by the plain names; all that is promised is checked before reading.

    Labels may be ``text``.
    """
    wanted = choose(path, entries_by_name(path, archive))
    check_size(f"{path}: the arrays", sum(i.file_size for i in wanted.values()), max_bytes)
    entries = {
        name: read_header(path, archive, info, text=text and name in LABELS)
        for name, info in wanted.items()
    }
    return {name: read_values(path, archive, entry) for name, entry in entries.items()}


def entries_by_name(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The entries of the archive by array name in lower case."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy").lower()
        if name in found:
            raise DataError(f"{path}: two arrays are called {name!r}: keep one of them")
        found[name] = info
    return found


def choose(path: Path, found: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The entries that we read; raises DataError where one is missing or they are ambiguous."""
    names = naming_scheme(path, found)
    wanted = {plain: found[name] for plain, name in names.items() if name in found}
    for x, y in (("x", "y"), ("x_test", "y_test")):
        if (x in wanted) != (y in wanted):
            there, missing = (x, y) if x in wanted else (y, x)
            raise DataError(f"{path}: holds {names[there]}, but no {names[missing]}: save both")
    return wanted


def naming_scheme(path: Path, found: dict[str, zipfile.ZipInfo]) -> dict[str, str]:
    """Which of NAMES the archive goes by."""
    schemes = [names for names in NAMES if names["x"] in found]
    if len(schemes) > 1:
        raise DataError(f"{path}: holds both x and x_train: keep one of them")
    if not schemes:
        there = ", ".join(repr(name) for name in list(found)[:10]) or "nothing"
        raise DataError(f"{path}: no array x or x_train, but {there}: save it with x=..., y=...")
    return schemes[0]


# ---- one array ------------------------------------------------------------------------------


def read_header(
    path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, text: bool = False
) -> Entry:
    """Check an entry against its header: what it holds, and that its size is what it promises."""
    where = f"{path}: {info.filename}"
    if info.flag_bits & 1:
        raise DataError(f"{where} is encrypted: write it again with numpy.savez")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{where}: compression {info.compress_type} is not supported: "
            "write it again with numpy.savez_compressed"
        )
    with archive.open(info) as file:
        layout = read_layout(where, file, info.file_size, text=text)
    if info.file_size > MAX_RATIO * (info.compress_size + 1):
        raise DataError(
            f"{where}: {info.compress_size:,} bytes cannot unpack to {info.file_size:,}: "
            "the file is damaged"
        )
    return Entry(info, *layout)


def read_values(path: Path, archive: zipfile.ZipFile, entry: Entry) -> NumpyArray:
    with archive.open(entry.info) as file:
        file.read(entry.start)
        n_bytes = entry.info.file_size - entry.start
        body = read_up_to(file, n_bytes)
    if len(body) < n_bytes:
        raise DataError(
            f"{path}: {entry.info.filename} ends at byte {entry.start + len(body)}: "
            "the file is damaged"
        )
    dtype = entry.dtype if entry.dtype.kind != "b" else np.dtype(np.uint8)
    array: NumpyArray = np.frombuffer(body, dtype).reshape(entry.shape, order=entry.order)
    return array.astype(dtype.newbyteorder("="), copy=False)


# ---- the parts ------------------------------------------------------------------------------


def part(
    path: Path,
    arrays: dict[str, NumpyArray],
    x: str,
    y: str,
    targets: Targets,
    names: Sequence[str] | None,
) -> Dataset:
    """The Dataset of two arrays, and of the weight where there is one and x is for training."""
    X, labels = arrays[x], arrays[y]
    if X.ndim < 2:
        raise DataError(f"{path}: {x} has shape {X.shape}: give it one row a sample")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if len(labels) != len(X):
        raise DataError(f"{path}: {x} has {len(X):,} samples, but {y} has {len(labels):,}")
    where, found = row_of(f"{path}: {y}"), None
    if targets == "real":
        if labels.ndim > 2:
            raise DataError(f"{path}: {y} has shape {labels.shape}, not (n,) or (n, k)")
        labels = real_targets(labels, where)
    elif labels.ndim == 1:
        labels, found = class_numbers(labels, where, names)
    else:
        raise DataError(
            f"{path}: {y} has shape {labels.shape}: give labels (n,), "
            f"of rows with a single 1 by {y}.argmax(axis=1)"
        )
    weight = arrays.get("weight") if x == "x" else None
    if weight is not None:
        if weight.shape != (len(X),):
            raise DataError(f"{path}: weight has shape {weight.shape}, not ({len(X)},) as {x} has")
        weight = sample_weights(weight, row_of(f"{path}: weight"))
    return dataset(compact(flat(X), row_of(f"{path}: {x}")), labels, weight, found)
