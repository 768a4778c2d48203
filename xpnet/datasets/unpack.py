"""Opening files that may be gzipped, and reading no more of them than was asked for."""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import DataError

__all__ = ["MAX_BYTES", "check_size", "opened", "read_up_to", "unpacked_suffix"]

MAX_BYTES = 8 << 30
"""How much a file may unpack to unless the caller says otherwise: 8 GiB."""

CHUNK = 1 << 20


def unpacked_suffix(path: Path) -> str:
    """The suffix of ``path`` in lower case, not counting ``.gz``: ``a.CSV.gz`` gives ``.csv``."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """The bytes in a file; one that ends in ``.gz`` is unpacked while it is read.

    Raises DataError, also within the block, where the gzip file is damaged.
    """
    path = Path(path)
    with path.open("rb") as raw:
        if path.suffix.lower() != ".gz":
            yield raw
            return
        try:
            with gzip.open(raw) as file:
                yield file  # type: ignore[misc]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path}: damaged gzip file ({error}); fetch it again") from error


def check_size(where: str, n_bytes: int, max_bytes: int) -> None:
    """Raise DataError where what unpacks to ``n_bytes`` is above the limit."""
    if n_bytes > max_bytes:
        raise DataError(
            f"{where} unpacks to more than the limit of {max_bytes:,} bytes: "
            "raise it with --max-bytes if the file is what you think it is"
        )


def read_up_to(file: IO[bytes], size: int) -> bytearray:
    """The next ``size`` bytes, or as many as there are.

    It takes memory as the bytes come, so that a header which promises terabytes costs nothing.
    """
    body = bytearray()
    while len(body) < size and (chunk := file.read(min(CHUNK, size - len(body)))):
        body += chunk
    return body
