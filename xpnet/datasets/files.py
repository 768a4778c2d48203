"""Reading a dataset from whatever file or folder it is in."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..data import Dataset
from ..errors import DataError, UsageError, check_choice, check_count
from .csv import read_csv
from .names import listed
from .npy import read_npy
from .npz import read_npz
from .pairs import read_folder, read_pair
from .samples import Targets, check_classes
from .unpack import MAX_BYTES, unpacked_suffix

__all__ = ["Parts", "read"]

TABLES = (".csv", ".tsv", ".txt")


class Parts(NamedTuple):
    """The datasets in a file; ``test`` has the scale of ``train``."""

    train: Dataset
    test: Dataset | None


def read(
    path: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    label_columns: tuple[str, ...] = ("first",),
    weight_column: str | None = None,
    targets: Targets = "classes",
    names: Sequence[str] | None = None,
    max_bytes: int = MAX_BYTES,
    for_training: bool = True,
) -> Parts:
    """The samples in a table (.csv, .tsv, .txt, each also .gz), .npz, .npy, IDX files or a folder.

    X is (n, n_in) uint8, float32 or float64 (see ``samples.compact``) with the ``scale`` for it
    (see ``samples.dataset``); y is (n,) int32 labels, or (n,) or (n, k) float64 where ``targets``
    is "real" or several ``label_columns`` are named. Labels that are text, in a table or an array,
    become numbers: in the order of the ``names`` where these are given, else in sorted order; the
    parts hold the names. IDX images (any other name) and .npy need
    the file of their ``labels``; what is in an .npy is read when it is needed. With
    ``for_training`` there must be two classes or more. Nothing is written, and nothing in a file
    is run.

    Raises DataError for a file that cannot be used, UsageError for options that do not fit it,
    OSError for one that cannot be opened.
    """
    path = Path(path)
    path.stat()  # that there is no such file comes before all else
    check_choice("targets", targets, ["classes", "real"])
    check_count("max_bytes", max_bytes)
    is_table = not path.is_dir() and unpacked_suffix(path) in TABLES
    is_npz = not path.is_dir() and path.suffix.lower() == ".npz"
    is_npy = not path.is_dir() and path.suffix.lower() == ".npy"
    is_idx = not (path.is_dir() or is_table or is_npz or is_npy)
    if not is_table and (tuple(label_columns) != ("first",) or weight_column is not None):
        raise UsageError(f"{path}: only a table (.csv, .tsv, .txt) has label and weight columns")
    if is_idx and labels is None:
        raise UsageError(
            f"{path}: IDX images need the file of their labels; other data must be a folder, "
            f"{', '.join(TABLES)}, .npy or .npz"
        )
    if is_npy and labels is None:
        raise UsageError(f"{path}: an .npy file of samples needs the .npy file of their labels")
    if labels is not None and not (is_idx or is_npy):
        raise UsageError(f"{path}: only IDX images and .npy samples have a file of labels")

    test = None
    if is_table:
        train = read_csv(
            path,
            label_columns=tuple(label_columns),
            weight_column=weight_column,
            targets=targets,
            names=names,
            max_bytes=max_bytes,
        )
    elif is_npz:
        train, test = read_npz(path, targets=targets, names=names, max_bytes=max_bytes)
    elif is_npy and labels is not None:
        train = read_npy(path, Path(labels), targets=targets, names=names)
    elif labels is not None:
        train = read_pair(path, Path(labels), targets=targets, max_bytes=max_bytes)
    else:
        train, test = read_folder(path, targets=targets, max_bytes=max_bytes)
    if names is not None and targets == "classes" and train.names is None:
        raise DataError(
            f"{path}: its labels are numbers, but the classes have names: give {listed(names)}"
        )
    return checked(path, train, test, for_training and targets == "classes")


def checked(path: Path, train: Dataset, test: Dataset | None, classes: bool) -> Parts:
    """Both parts, if they fit one network."""
    if classes and train.y.dtype.kind == "i":
        check_classes(path, train)
    if train.weight is not None and not train.weight.any():
        raise DataError(f"{path}: all weights are 0: there is nothing to learn")
    if test is None:
        return Parts(train, None)
    if test.names != train.names:
        raise DataError(
            f"{path}: the labels to train on are numbers, those to test on names, or the other "
            "way round: write them in the same way"
        )
    if test.X.shape[1] != train.X.shape[1] or test.y.shape[1:] != train.y.shape[1:]:
        raise DataError(
            f"{path}: a training sample has {train.X.shape[1]} features and targets of shape "
            f"{train.y.shape[1:]}, but a test sample {test.X.shape[1]} and {test.y.shape[1:]}"
        )
    return Parts(train, dataclasses.replace(test, scale=train.scale))
