"""A lock on a file that one process at a time may write, which ends with its holder.

It is the system's lock (flock) on a file beside it: that file may be left over where its holder
was killed, the lock is not.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import UsageError
from .files import is_special, real_path

__all__ = ["sole_writer"]

ATTEMPTS = 100  # enough for as many holders that end in the very moment


@contextlib.contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Within, no other process on this machine is a sole writer of ``path``.

    Raises UsageError where one is already. Where nothing can be locked (no flock, a folder or a
    file system that does not let us) there is no lock.
    """
    path = real_path(path)
    lock = path.with_name(f".{path.name}.lock")
    descriptor = None if is_special(path) else acquire(path, lock)
    try:
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                lock.unlink()  # before it is released: afterwards it may be another's
            os.close(descriptor)


def acquire(path: Path, lock: Path) -> int | None:
    """The descriptor of ``lock``, locked; None where that is not possible."""
    try:
        import fcntl  # which Windows does not have
    except ImportError:
        return None
    for _ in range(ATTEMPTS):
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise UsageError(
                f"{path} is in use by another training: wait until it has ended, or name another "
                "file"
            ) from error
        except OSError:
            os.close(descriptor)
            return None
        if is_file_of(descriptor, lock):
            return descriptor
        os.close(descriptor)  # its holder removed it between our opening and locking it
    return None


def is_file_of(descriptor: int, path: Path) -> bool:
    """Whether ``path`` still names the file that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
