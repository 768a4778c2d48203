"""Reading samples to predict: features without labels, from the files that ``read`` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError, UsageError
from ..types import NumpyArray
from .csv import read_csv
from .files import TABLES
from .idx import read_idx
from .npy import map_npy
from .npz import entries_by_name, naming_scheme, opened_archive, read_header, read_values
from .samples import compact, flat, row_of
from .unpack import MAX_BYTES, check_size, unpacked_suffix

__all__ = ["read_features"]


def read_features(
    path: Path, *, label_columns: tuple[str, ...] = (), max_bytes: int = MAX_BYTES
) -> NumpyArray:
    """X (n, n_in) from a table (.csv, .tsv, .txt, also .gz), an .npy, the x of an .npz, or IDX.

    The ``label_columns`` of a table are passed over. Raises as ``read`` does.
    """
    if unpacked_suffix(path) in TABLES:
        columns = label_columns or None
        table = read_csv(path, label_columns=columns, targets=None, max_bytes=max_bytes)
        return np.asarray(table.X)
    if label_columns:
        raise UsageError(f"{path}: only a table ({', '.join(TABLES)}) has label columns")
    readers = {".npz": npz_features, ".npy": npy_features}
    X = readers.get(path.suffix.lower(), idx)(path, max_bytes)
    return compact(flat(X), row_of(str(path)))


def npz_features(path: Path, max_bytes: int) -> NumpyArray:
    """The array x or x_train; there may be others, and need be none."""
    with opened_archive(path) as archive:
        found = entries_by_name(path, archive)
        name = naming_scheme(path, found)["x"]
        check_size(f"{path}: {name}", found[name].file_size, max_bytes)
        X = read_values(path, archive, read_header(path, archive, found[name]))
    if X.ndim < 2:
        raise DataError(f"{path}: {name} has shape {X.shape}: give it one row a sample")
    return X


def npy_features(path: Path, _max_bytes: int) -> NumpyArray:
    """The array, which is not read into memory as a whole."""
    X = map_npy(path)
    if X.ndim < 2:
        raise DataError(f"{path}: shape {X.shape}: give it one row a sample")
    return X


def idx(path: Path, max_bytes: int) -> NumpyArray:
    X = read_idx(path, max_bytes)
    if X.ndim < 2:
        raise DataError(f"{path}: shape {X.shape}: these are labels, give the file of images")
    return X
