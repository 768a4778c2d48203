"""Somebody's network and gradients from an .npz file: x, y, W1, b1 ... and dW1, db1 ...

The file is read as carefully as a dataset: no byte of it is run, and what it promises is checked
before it is unpacked.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..datasets.npy import dtype_of, header_of
from ..datasets.npz import Entry, opened_archive, read_header, read_values
from ..errors import DataError
from ..types import Array
from .layout import Arrays, Layout, in_rows
from .problem import Problem, as_matrix, as_numbers

__all__ = ["Given", "read_gradients"]

MAX_BYTES = 4 << 30

NUMBER = r"([1-9][0-9]{0,3})"
PARAMETER = re.compile(rf"[Wb]{NUMBER}")
GRADIENT = re.compile(rf"d[Wb]{NUMBER}")

NEARLY = re.compile(r"(d|g|grad)?[_.]?([wb])[_.]?0*([0-9]{1,4})[_.]?(grad)?", re.IGNORECASE)
"""What people call a weight, a bias, or the gradient of one."""

ALSO_CALLED = {"x_train": "x", "inputs": "x", "y_train": "y", "labels": "y", "targets": "y"}

BRIGHTEST = 127
"""Above it whole numbers are pixels, which few networks see as they are."""

SHOWN = 8
"""Names in one message."""


class Given(NamedTuple):
    """What a file holds, turned into rows; ``notes`` say what was left out or assumed."""

    problem: Problem
    grads: dict[str, Array]
    layout: Layout
    notes: tuple[str, ...]


def read_gradients(
    path: str | os.PathLike[str], *, layout: str | None = None, **declared: Any
) -> Given:
    """The network in an .npz file and the gradients that somebody computed for it.

    Arrays: ``x`` and ``y``; ``W1 b1 ... WL bL``, of which biases may be missing; any of
    ``dW1 db1 ... dWL dbL``, in any shape. ``layout`` is rows, columns, or None for what fits, see
    ``layout``; ``declared`` is activation, loss, output, reduction, scale and l2 as for
    ``Problem``. Arrays of other names are left out with a note. Raises DataError, which names the
    file and the array, for anything that cannot be used, and OSError where there is no such file.
    """
    path = Path(path)
    with opened_archive(path) as archive:
        notes: list[str] = []
        with refusing(path, notes):
            arrays = read_arrays(path, archive, notes)
    with refusing(path, notes):
        check_values(arrays)
        n = sum(name.startswith("W") for name in arrays)
        given = Arrays(
            x=arrays["x"],
            y=arrays["y"],
            W=[arrays[f"W{l}"] for l in range(1, n + 1)],
            b=[arrays.get(f"b{l}") for l in range(1, n + 1)],
            grads={name: a for name, a in arrays.items() if GRADIENT.fullmatch(name)},
        )
        turned, found, decided = in_rows(given, layout)
        problem = Problem(turned.x, turned.y, turned.W, turned.b, **declared)
    if given.x.dtype.kind in "iu" and given.x.max() > BRIGHTEST:
        decided.append(
            f"x holds whole numbers up to {given.x.max()} and is used as it is: if your network "
            "sees them scaled, save that"
        )
    return Given(problem, dict(turned.grads), found, (*notes, *decided))


@contextlib.contextmanager
def refusing(path: Path, notes: list[str]) -> Iterator[None]:
    """Let a DataError within name the file, and say which of its arrays were left out."""
    try:
        yield
    except DataError as error:
        text = str(error).removeprefix(f"{path}: ")
        left_out = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(f"{path}: {text}{left_out}") from error


# ---- arrays by name --------------------------------------------------------------------------


def read_arrays(path: Path, archive: zipfile.ZipFile, notes: list[str]) -> dict[str, Array]:
    """The arrays we know; ``notes`` gets those we do not, and all names are checked first."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in entries:
            raise DataError(f"two arrays are called {name[:40]!r}: keep one of them")
        entries[name] = info
    known = {name: info for name, info in entries.items() if is_known(name)}
    unknown = [name for name in entries if name not in known]
    check_names(set(known), unknown)
    notes += left_out(unknown, set(known))
    if sum(info.file_size for info in known.values()) > MAX_BYTES:
        raise DataError(
            f"its arrays unpack to more than {MAX_BYTES:,} bytes: some dozen samples are enough"
        )
    return {name: read_array(path, archive, info) for name, info in known.items()}


def is_known(name: str) -> bool:
    return name in ("x", "y") or bool(PARAMETER.fullmatch(name) or GRADIENT.fullmatch(name))


def check_names(known: set[str], unknown: list[str]) -> None:
    """Raise DataError unless there are x, y, W1 ... WL without a gap, and a gradient."""
    layers = {int(name[1:]) for name in known if re.fullmatch(rf"W{NUMBER}", name)}
    if "W0" in unknown:
        raise DataError("W0: layers are numbered from 1: save W0, W1 ... as W1, W2 ...")
    for name in ("x", "y", "W1"):
        if name not in known and not (name == "W1" and layers):
            raise DataError(f"there is no array {name}{instead(name, unknown)}")
    first_gap = next(l for l in itertools.count(1) if l not in layers)
    if first_gap < max(layers):
        raise DataError(
            f"there is W{max(layers)}, but no W{first_gap}{instead(f'W{first_gap}', unknown)}"
        )
    for name in sorted(known - {"x", "y"}):
        l = name.lstrip("dWb")
        if int(l) not in layers:
            raise DataError(f"there is {name}, but no W{l}{instead(f'W{l}', unknown)}")
    if not any(GRADIENT.fullmatch(name) for name in known):
        likely = [name for name in unknown if GRADIENT.fullmatch(meant(name) or "")]
        hint = instead(str(meant(likely[0])), unknown) if likely else ": save dW1, db1 ... as well"
        raise DataError(f"there is no gradient{hint}")


def instead(name: str, unknown: list[str]) -> str:
    """What the file may have in place of ``name``, or what to do."""
    for other in unknown:
        if meant(other) == name:
            return f"; {other[:40]!r} is there: did you mean {name!r}?"
    return f": save it with numpy.savez(file, {name}=..., ...)"


def meant(name: str) -> str | None:
    """The name we know that a ``name`` we do not know looks like."""
    lower = name.lower()
    if lower in ("x", "y"):
        return lower
    if lower in ALSO_CALLED:
        return ALSO_CALLED[lower]
    match = NEARLY.fullmatch(name)
    if match is None or int(match[3]) == 0:
        return None
    d = "d" if match[1] or match[4] else ""
    return f"{d}{'W' if match[2] in 'Ww' else 'b'}{int(match[3])}"


def left_out(unknown: list[str], known: set[str]) -> list[str]:
    """Notes on the arrays of unknown names."""
    notes, plain = [], []
    for name in unknown:
        near = meant(name)
        if near is None or near in known:
            plain.append(repr(name[:40]))
        else:
            notes.append(f"{name[:40]!r} was left out: did you mean {near!r}?")
    if plain:
        more = f" and {len(plain) - SHOWN} more" if len(plain) > SHOWN else ""
        notes.append(f"left out, since nothing has such a name: {', '.join(plain[:SHOWN])}{more}")
    return notes


# ---- one array -------------------------------------------------------------------------------


def read_array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """The values of an entry; unlike a dataset it may be a single number of no axes."""
    where = f"{path}: {info.filename}"
    with archive.open(info) as file:
        start, header = header_of(where, file)
    if not re.search(r"'shape': *\(\)", header):
        return read_values(path, archive, read_header(path, archive, info))
    dtype = dtype_of(where, header)
    if info.file_size - start != dtype.itemsize:
        raise DataError(f"{where}: one number is promised, but there is more: the file is damaged")
    return read_values(path, archive, Entry(info, start, dtype, (), "C"))


def check_values(arrays: dict[str, Array]) -> None:
    """Raise DataError where an array is not finite, or where weights are no matrix.

    It is done before anything is turned, so that a place is where it is in the file.
    """
    for name, a in arrays.items():
        (as_matrix if name.startswith("W") else as_numbers)(name, a)
