"""NumPy in float64 and another backend side by side: what the fixture ``xp_pair`` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import backends
from ..backends import Backend
from ..errors import UsageError
from ..types import Array, Namespace, NumpyArray
from .cases import convert
from .compare import TOLERANCES, Tolerance, row

__all__ = ["Pair"]


class Pair:
    """``reference`` is NumPy's namespace, ``xp`` that of the other backend.

    ``dtype`` is that of its floats: float64, or float32 where the backend has no float64.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.xp: Namespace = backend.xp
        self.reference: Namespace = backends.get("numpy").xp
        try:
            backend.check_dtype("float64")
            self.dtype = "float64"
        except UsageError:
            self.dtype = "float32"

    def __repr__(self) -> str:
        return f"<numpy beside {self.backend.place}, {self.dtype}>"

    def place(self, value: Any, dtype: str | None = None) -> Any:
        """NumPy arrays, also in nested tuples and lists, as arrays of ``xp``.

        Floats become ``dtype``, by default that of the pair; other kinds stay what they are.
        """
        dtype = dtype or self.dtype
        self.backend.check_dtype(dtype)
        return convert(value, dtype, self.backend.asarray)

    def to_numpy(self, array: Array) -> NumpyArray:
        """An array of ``xp`` on the host; an array of any other library is refused."""
        if not isinstance(array, bool | int | float | complex):
            found = backends.of(array)
            if not found.same_place(self.backend):
                raise UsageError(f"an array of {self.backend.place} became one of {found.place}")
            return self.backend.to_numpy(array)
        return np.asarray(array)

    def assert_close(self, ours: Any, exact: Any, tolerance: float | None = None) -> None:
        """Fail unless ``ours`` of ``xp`` is near ``exact`` of NumPy, each an array or nested ones.

        Near is ||ours - exact|| <= tolerance ||exact||, by default 2e-5 in float32 and 1e-12 in
        float64; what is no float must be equal. NaN is equal to NaN.
        """
        __tracebackhide__ = True
        results, wanted = flat(ours), flat(exact)
        names = list(results)
        assert names == list(wanted), f"{self.backend.place}: {names} and not {list(wanted)}"
        for name in names:
            self.assert_one(name, self.to_numpy(results[name]), np.asarray(wanted[name]), tolerance)

    def assert_one(self, name: str, ours: Array, exact: Array, tolerance: float | None) -> None:
        """Fail unless two host arrays have the same kind and shape, and near values."""
        __tracebackhide__ = True
        where = f"{self.backend.place}, {name}"
        assert ours.shape == exact.shape, f"{where}: shape {ours.shape}, not {exact.shape}"
        kinds = (ours.dtype.kind, exact.dtype.kind)
        assert kinds[0] == kinds[1], f"{where}: dtype {ours.dtype}, and on NumPy {exact.dtype}"
        if kinds[0] == "c":
            ours, exact = np.stack([ours.real, ours.imag]), np.stack([exact.real, exact.imag])
        limit = TOLERANCES.get(("network", str(ours.dtype)), Tolerance(0.0, "it must be equal"))
        if tolerance is not None:
            limit = Tolerance(tolerance, "as asked for")
        found = row(name, self.backend.place, ours, exact, limit)
        assert found.passed, (
            f"{where}: relative error {found.error:.1e} ({found.ulps:.1f} ulp) above "
            f"{found.tolerance:.0e}: {found.reason}"
        )


def flat(value: Any, name: str = "result") -> dict[str, Any]:
    """Every array or number in nested tuples, lists and dicts, by its place."""
    if isinstance(value, tuple | list):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        parts = [flat(part, f"{name}[{key!r}]") for key, part in value.items()]
        return {where: leaf for part in parts for where, leaf in part.items()}
    return {name: value}
