"""Writing a file so that, whatever happens, either the old or the new one is there, whole."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["check_writable", "remove_leftovers", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file beside ``path``, force it to disk, rename it to ``path``.

    What is there already and is no plain file (a pipe, a device) is written to directly.
    Raises OSError; then the old file is untouched and no temporary file is left.
    """
    path = Path(os.path.realpath(path))  # through a symbolic link to the file behind it
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as special:
            special.write(content)
        return
    with temporary_beside(path) as temporary:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A temporary file's name beside ``path``; an error removes it, and names ``path``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def sync_folder(folder: Path) -> None:
    """Force the folder's entries to disk, so that a rename survives a power cut (POSIX only)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that writers of ``path`` left when they were killed."""
    path = Path(os.path.realpath(path))
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_writable(path: Path) -> None:
    """Raise OSError now where ``write_atomically`` would raise it later."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        return
    with temporary_beside(path) as temporary:
        temporary.touch()
        temporary.unlink()
