"""Reader of IDX files, the format of MNIST, plain or gzipped.

The file is a magic number 0 0 TYPE NDIM, then NDIM sizes as big-endian uint32, then the values
in row-major order. Source: the description that came with MNIST (LeCun, Cortes and Burges).
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import DataError

__all__ = ["read_idx"]

UNSIGNED_BYTE = 0x08
MAX_BYTES = 8 << 30
MAX_DIMENSIONS = 64  # what NumPy can hold
CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """The uint8 array in an IDX file; a file that ends in ``.gz`` is unpacked.

    Raises DataError, which names the file, where it is damaged, is no IDX file of bytes, or
    holds another number of values than its header promises.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            if path.suffix == ".gz":
                with gzip.open(raw) as file:
                    return parse(path, file)  # type: ignore[arg-type]
            return parse(path, raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error}); fetch it again") from error


def parse(path: Path, file: BinaryIO) -> np.ndarray[Any, Any]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[3] == 0:
        raise DataError(f"{path}: no IDX file: it must begin 00 00 TYPE NDIM, not {magic.hex(' ')}")
    if magic[2] != UNSIGNED_BYTE:
        raise DataError(f"{path}: IDX type 0x{magic[2]:02x} is not supported, only 0x08 (bytes)")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(f"{path}: the file ends within its header")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    size = math.prod(shape)
    if 0 in shape or size > MAX_BYTES or len(shape) > MAX_DIMENSIONS:
        raise DataError(f"{path}: the header promises an array of shape {shape}; it is damaged")
    body = bytearray()
    while len(body) <= size and (chunk := file.read(min(CHUNK, size + 1 - len(body)))):
        body += chunk
    if len(body) != size:
        found = "more" if len(body) > size else len(body)
        raise DataError(f"{path}: the header promises {size} values, but there are {found}")
    return np.frombuffer(bytes(body), np.uint8).reshape(shape)
