"""How near results of a backend are to exact ones: the row of every parity table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import backends
from ..backends import Backend
from ..errors import BackendError, UsageError
from ..types import Array
from .cases import convert, leaves

__all__ = ["TOLERANCES", "Row", "Tolerance", "compare", "relative_error", "row", "usable"]


class Tolerance(NamedTuple):
    """How large a relative error may be, and why."""

    limit: float
    reason: str


EXACT = Tolerance(0.0, "integers and random bits are the same everywhere")
TOLERANCES = {
    ("op", "float32"): Tolerance(1e-6, "sums of tens of terms, each rounded to 6e-8"),
    ("op", "float64"): Tolerance(1e-14, "sums of tens of terms, each rounded to 1e-16"),
    ("network", "float32"): Tolerance(2e-5, "some hundred roundings of 6e-8, and cancellation"),
    ("network", "float64"): Tolerance(1e-12, "some hundred roundings of 1e-16, and cancellation"),
    ("course", "float32"): Tolerance(1e-4, "rounding, which each step of 20 amplifies"),
    ("course", "float64"): Tolerance(1e-9, "rounding, which each step amplifies"),
    ("accuracy", "float32"): Tolerance(5e-3, "the weights part, what is learnt does not"),
    ("accuracy", "float64"): Tolerance(5e-3, "a sample or two may lie on the border"),
}
"""The tolerances of all parity checks, by kind of check and dtype."""


class Row(NamedTuple):
    """One line of a parity table: ``error`` is ||ours - exact|| / ||exact||."""

    check: str
    backend: str
    error: float
    tolerance: float
    reason: str
    ulps: float
    passed: bool
    note: str = ""


def usable(names: Sequence[str] | None = None) -> tuple[list[Backend], list[tuple[str, str]]]:
    """The named backends, or every usable one; and those passed over with the reason.

    A backend asked for by name that is not usable raises BackendError.
    """
    if names is not None:
        return [backends.get(name) for name in names], []
    found, missing = [], []
    for name in backends.BACKENDS:
        try:
            found.append(backends.get(name))
        except BackendError as error:
            missing.append((name, str(error)))
    return found, missing


def relative_error(ours: Array, exact: Array, least: float = 0.0) -> float:
    """||ours - exact|| / max(||exact||, least) in float64; infinite where ours is not finite.

    What is infinite or NaN on both sides is equal.
    """
    ours, exact = np.asarray(ours, np.float64), np.asarray(exact, np.float64)
    if ours.shape != exact.shape:
        return float("inf")
    same = (ours == exact) | (np.isnan(ours) & np.isnan(exact))
    if same.all():
        return 0.0
    with np.errstate(all="ignore"):
        size = max(float(np.linalg.norm(exact[~np.isnan(exact)])), least, 1e-300)
        error = float(np.linalg.norm((ours - exact)[~same])) / size
    return error if np.isfinite(error) else float("inf")


def row(
    check: str,
    backend: str,
    ours: Array,
    exact: Array,
    tolerance: Tolerance,
    note: str = "",
    least: float = 0.0,
) -> Row:
    """Compare two host arrays; what is not a float must be equal."""
    if exact.dtype.kind != "f":
        tolerance = EXACT
    error = relative_error(ours, exact, least)
    ulps = error / float(np.finfo(ours.dtype).eps) if ours.dtype.kind == "f" else error
    passed = error <= tolerance.limit
    return Row(check, backend, error, tolerance.limit, tolerance.reason, ulps, passed, note)


def compare(
    fn: Callable[..., Any],
    args: Sequence[Any],
    *,
    backends: Sequence[str] | None = None,
    dtype: str = "float32",
    tolerance: float | None = None,
    name: str | None = None,
) -> list[Row]:
    """Run an Array API function on several backends and compare each with NumPy in float64.

    ``args`` are NumPy arrays, which are moved to each backend (floats as ``dtype``), and anything
    else, which is passed as it is; ``fn`` returns an array or nested tuples of arrays. The default
    tolerance is that of a primitive. Raises UsageError or BackendError for a backend that is
    unknown or not usable or a ``fn`` that returns no array, and whatever ``fn`` raises.
    """
    name = name or str(getattr(fn, "__name__", "function"))
    limit = TOLERANCES["op", dtype]
    if tolerance is not None:
        limit = Tolerance(tolerance, "as asked for")
    reference, *_ = usable(["numpy"])[0]
    exact = [reference.to_numpy(a) for a in leaves(fn(*convert(tuple(args), np.float64)))]
    if not exact:
        raise UsageError(f"{name} returned no array: there is nothing to compare")
    rows = []
    for backend in usable(backends)[0]:
        backend.check_dtype(dtype)
        results = leaves(fn(*convert(tuple(args), dtype, backend.asarray)))
        for i, (ours, wanted) in enumerate(zip(results, exact, strict=True)):
            check = name if len(exact) == 1 else f"{name}[{i}]"
            rows.append(row(check, backend.place, backend.to_numpy(ours), wanted, limit))
    return rows
