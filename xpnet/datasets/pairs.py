"""Images and labels in two IDX files, and folders with the four files of MNIST."""

from __future__ import annotations

from pathlib import Path

from ..data import Dataset
from ..errors import DataError
from .idx import read_idx
from .samples import (
    Targets,
    class_labels,
    compact,
    dataset,
    flat,
    real_targets,
    row_of,
)
from .unpack import MAX_BYTES

__all__ = ["read_folder", "read_pair"]


def read_pair(
    images: Path, labels: Path, *, targets: Targets = "classes", max_bytes: int = MAX_BYTES
) -> Dataset:
    """The samples in an IDX file (n, ...), each a row, with the labels (n,) in another.

    Where ``targets`` is "real" the second may be (n, k). Raises DataError where they do not fit.
    """
    X, y = read_idx(images, max_bytes), read_idx(labels, max_bytes)
    if X.ndim < 2:
        raise DataError(f"{images}: shape {X.shape}: these are labels, give the file of images")
    if y.ndim > (2 if targets == "real" else 1):
        raise DataError(f"{labels}: shape {y.shape}: these are images, give the file of labels")
    if len(X) != len(y):
        raise DataError(
            f"{images} holds {len(X):,} images, but {labels} {len(y):,} labels: "
            "give two files that belong together"
        )
    where = row_of(str(labels))
    y = class_labels(y, where) if targets == "classes" else real_targets(y, where)
    return dataset(compact(flat(X), row_of(str(images))), y)


def read_folder(
    folder: Path, *, targets: Targets = "classes", max_bytes: int = MAX_BYTES
) -> tuple[Dataset, Dataset | None]:
    """Training and, if there, test set from the IDX files of a folder, called as MNIST's are.

    Such as train-images-idx3-ubyte, train-labels.idx1-ubyte.gz, t10k-...: with "-" or ".", plain
    or gzipped.
    """
    train = [find(folder, "train-images", 3), find(folder, "train-labels", 1)]
    test = [find(folder, "t10k-images", 3), find(folder, "t10k-labels", 1)]
    names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]
    if any(test):
        names += ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
    found = train + test if any(test) else train
    for name, path in zip(names, found, strict=True):
        if path is None:
            raise DataError(f"{folder}: there is no {name} (or .gz) in this folder: add it")
    pairs = [
        read_pair(images, labels, targets=targets, max_bytes=max_bytes)
        for images, labels in (train, test)
        if images and labels
    ]
    return pairs[0], pairs[1] if len(pairs) > 1 else None


def find(folder: Path, stem: str, n_dimensions: int) -> Path | None:
    """The file with one of the four spellings of its name, if there is one."""
    for mark in "-.":
        for suffix in ("", ".gz"):
            path = folder / f"{stem}{mark}idx{n_dimensions}-ubyte{suffix}"
            if path.exists():
                return path
    return None
