"""MNIST: 60,000 training and 10,000 test images of handwritten digits, inside the package.

By Yann LeCun and Corinna Cortes, after NIST's Special Databases 1 and 3; CC BY-SA 3.0, see
LICENSE beside this file. The four files are those its authors published.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ...data import Dataset
from ...errors import DataError
from ...types import NumpyArray
from ..idx import read_idx

__all__ = ["mnist"]

FOLDER = Path(__file__).parent

SHA256 = {
    "train-images.idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels.idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images.idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels.idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the decompressed bytes, header included."""

SCALE = float(np.float32(1 / 255))


def mnist(folder: Path = FOLDER) -> tuple[Dataset, Dataset]:
    """The training and the test set: X (n, 784) uint8 0..255, y (n,) uint8 0..9, scale 1/255.

    Raises DataError where a file is not, byte for byte, the published one.
    """
    return part(folder, "train"), part(folder, "t10k")


def part(folder: Path, name: str) -> Dataset:
    images = read_checked(folder / f"{name}-images.idx3-ubyte.gz")
    labels = read_checked(folder / f"{name}-labels.idx1-ubyte.gz")
    return Dataset(images.reshape(len(images), -1), labels, scale=SCALE)


def read_checked(path: Path) -> NumpyArray:
    array = read_idx(path)
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
    digest = hashlib.sha256(header)
    digest.update(array.data)
    if digest.hexdigest() != SHA256[path.stem]:
        raise DataError(
            f"{path}: not the published MNIST file (SHA-256 differs); install xpnet again"
        )
    return array
