"""Writing a file so that, whatever happens, either the old or the new one is there, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["check_writable", "remove_leftovers", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file beside ``path``, force it to disk, rename it to ``path``.

    What is there already and is no plain file (a pipe, a device) is written to directly.
    Raises OSError; then the old file is untouched and no temporary file is left.
    """
    path = real_path(path)
    if is_special(path):
        with naming(path), path.open("wb") as special:
            special.write(content)
        return
    with naming(path), temporary_beside(path) as temporary:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)


def real_path(path: Path) -> Path:
    """``path`` itself, or the file behind it where it is a symbolic link."""
    return Path(os.path.realpath(path))


def is_special(path: Path) -> bool:
    """Whether ``path`` is there and is neither a plain file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError within name ``path``: a failed write names no file, others the temporary."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """The name of a temporary file beside ``path``; whatever goes wrong removes the file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
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
    path = real_path(path)
    # not a glob: "run.*.tmp" would also take the files of a path called "run.1"
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+\.tmp")
    for entry in path.parent.iterdir():
        if left.fullmatch(entry.name):
            with contextlib.suppress(OSError):
                entry.unlink()


def check_writable(path: Path) -> None:
    """Raise OSError now where ``write_atomically`` would raise it later."""
    path = real_path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if is_special(path):
        return
    with naming(path), temporary_beside(path) as temporary:
        temporary.touch()
        temporary.unlink()
