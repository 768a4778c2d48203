"""Reader of IDX files, the format of MNIST, plain or gzipped.

The file is a magic number 0 0 TYPE NDIM, then NDIM sizes as big-endian uint32, then the values
in row-major order. Source: the description that came with MNIST (LeCun, Cortes and Burges).
"""

from __future__ import annotations

import math
import os
from typing import IO

import numpy as np

from ..errors import DataError
from ..types import NumpyArray
from .unpack import MAX_BYTES, check_size, opened, read_up_to

__all__ = ["read_idx"]

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 64  # what NumPy can hold


def read_idx(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> NumpyArray:
    """The array in an IDX file, in the machine's byte order; ``.gz`` is unpacked.

    Raises DataError, which names the file, where it is damaged, is no IDX file, unpacks to more
    than ``max_bytes`` or holds another number of values than its header promises.
    """
    with opened(path) as file:
        return parse(os.fspath(path), file, max_bytes)


def parse(path: str, file: IO[bytes], max_bytes: int) -> NumpyArray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[3] == 0:
        raise DataError(
            f"{path}: no IDX file (it begins {magic.hex(' ') or 'with nothing'}, not 00 00 TYPE "
            "NDIM): the name of a table ends in .csv, of arrays in .npz or .npy; a picture, for "
            "xpnet predict alone, must be a PNG"
        )
    if magic[2] not in TYPES:
        known = ", ".join(f"0x{code:02x}" for code in TYPES)
        raise DataError(f"{path}: there is no IDX type 0x{magic[2]:02x} (byte 2), only {known}")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(f"{path}: the file ends within its header, at byte {4 + len(header)}")
    dtype = np.dtype(TYPES[magic[2]])
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    n_bytes = math.prod(shape) * dtype.itemsize
    if 0 in shape or len(shape) > MAX_DIMENSIONS:
        raise DataError(f"{path}: the header promises an array of shape {shape}; it is damaged")
    check_size(f"{path}: the header promises an array of shape {shape}, which", n_bytes, max_bytes)
    body = read_up_to(file, n_bytes)
    if len(body) < n_bytes:
        found = f"only {len(body):,}"
    elif file.read(1):
        found = "more"
    else:
        return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    raise DataError(
        f"{path}: the header promises {n_bytes:,} bytes of values, but there are {found}"
    )
