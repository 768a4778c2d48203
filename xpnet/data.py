"""A Dataset: samples, targets and weights, on the host or on a device.

Pixels that come as uint8 stay uint8; ``Ops.gather`` casts and scales a batch when it is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from . import backends
from .backends import Backend
from .blocks import first_row_not_finite
from .errors import DataError, UsageError, check_fraction, check_positive
from .random import check_seed, split_order
from .types import Array, Loss, NumpyArray

__all__ = ["Dataset"]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """``X`` (n, n_in) of any real dtype, ``y`` (n,) or (n, k), ``weight`` (n,) >= 0 or None.

    ``y`` holds labels (an integer dtype) or real targets, as the loss wants. A network sees
    (X - shift) * scale: ``scale`` is a number or (n_in,), ``shift`` None or (n_in,). All arrays
    are of one library and on one device. ``names`` are those of the classes 0, 1, ..., if they
    have any; text must be numbered first: ``names, y = np.unique(text, return_inverse=True)``.
    Raises DataError or UsageError where these do not fit together.
    """

    X: Array
    y: Array
    weight: Array | None = None
    scale: Array | float = 1.0
    shift: Array | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_scaling(self.shift, self.scale)
        object.__setattr__(self, "scale", number_or_array(self.scale))
        n_rows = int(self.X.shape[0]) if getattr(self.X, "shape", ()) else 0
        for name in ("X", "y", "weight"):
            array = getattr(self, name)
            if array is None and name == "weight":
                continue
            if not hasattr(array, "shape"):
                raise DataError(f"{name} must be an array, not a {type(array).__name__}")
            if len(array.shape) == 0 or array.shape[0] != n_rows:
                raise DataError(f"{name} has shape {array.shape}, but X has {n_rows} samples")
        if len(self.X.shape) != 2:
            raise DataError(
                f"X must have one row a sample and one column a feature, not {self.X.shape}: "
                "X.reshape(len(X), -1)"
            )
        if n_rows == 0:
            raise DataError("the dataset is empty: there is no sample in X")

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.X.shape[0])

    @property
    def backend(self) -> Backend:
        """Where the arrays live; UsageError where they disagree."""
        return backends.common(self.X, self.y, self.weight)

    def on_host(self) -> Dataset:
        """The same with NumPy arrays; what is on the host already is not copied."""
        place = self.backend
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        moved: dict[str, Any] = {
            name: place.to_numpy(value)  # sync: the host's copy is wanted
            for name, value in fields.items()
            if hasattr(value, "shape") and not isinstance(value, np.ndarray)
        }
        return dataclasses.replace(self, **moved) if moved else self

    def prepare(self, n_in: int, n_out: int, loss: Loss, backend: Backend, dtype: str) -> Dataset:
        """Checked and on ``backend`` (see ``check`` and ``to``); X that is there is not copied."""
        host = self.on_host()  # sync: once, before training

        def place(array: Array) -> Array:
            if array is host.X and self.backend.same_place(backend):
                return self.X
            return backend.asarray(array)

        return host.check(n_in, n_out, loss).to(place, dtype)

    def check(self, n_in: int, n_out: int, loss: Loss) -> Dataset:
        """Return self if a network with these widths can be trained on it (NumPy arrays only).

        Raises DataError where shapes differ, a value is not finite or a target does not fit the
        loss.
        """
        if self.X.shape[1] != n_in:
            raise DataError(f"X has {self.X.shape[1]} columns, but the network takes {n_in} inputs")
        for name, array in (("shift", self.shift), ("scale", self.scale)):
            if isinstance(array, np.ndarray) and array.shape != (n_in,):
                raise DataError(f"{name} has shape {array.shape}, but X has {n_in} columns")
        if self.X.dtype.kind not in "uifb":
            raise DataError(f"X must hold real numbers, not {self.X.dtype}")
        row = first_row_not_finite(self.X) if self.X.dtype.kind == "f" else None
        if row is not None:
            raise DataError(f"X must be finite: there is a NaN or an infinity in row {row}")
        if self.y.dtype.kind not in "uifb":
            raise DataError(
                f"y must hold labels or real numbers, not {self.y.dtype}: number the classes by "
                "names, y = np.unique(y, return_inverse=True)"
            )
        loss.check_target(n_out, self.y)
        if self.weight is not None:
            check_weight(self.weight)
        return self

    def rows(self, index: NumpyArray) -> Dataset:
        """The samples in these rows (k,), in this order; they live where the whole does."""
        place = self.backend
        at = place.asarray(np.asarray(index, np.int32))

        def take(array: Array) -> Array:
            return place.xp.take(array, at, axis=0)

        weight = None if self.weight is None else take(self.weight)
        return dataclasses.replace(self, X=take(self.X), y=take(self.y), weight=weight)

    def split(self, fraction: float = 0.1, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Deal the samples at random into two parts; the second gets ``fraction`` of them.

        Which sample goes where depends on ``seed`` and the number of samples alone.
        """
        first, second = self.split_rows(fraction, seed)
        return self.rows(first), self.rows(second)

    def split_rows(self, fraction: float, seed: int) -> tuple[NumpyArray, NumpyArray]:
        """The rows (k,) int32, ascending, of both parts that ``split`` makes."""
        check_fraction("the fraction to split off", fraction)
        order = split_order(check_seed(seed), self.n)
        cut = self.n - round(self.n * fraction)
        if not 0 < cut < self.n:
            raise UsageError(
                f"cannot split {fraction:g} off {self.n} samples: one of the parts would be empty"
            )
        return np.sort(order[:cut]), np.sort(order[cut:])

    def part(self, start: int, m: int) -> tuple[Dataset, int]:
        """A dataset on the device with the ``m`` samples from ``start`` on, and their first row."""
        return self, start

    def to(self, place: Callable[[Array], Array], dtype: str) -> Dataset:
        """For training with ``dtype``, its arrays (NumPy) cast and moved by ``place``.

        Labels (n,) become int32; targets (n, k), real ones, whole ones too big for int32, and
        weights become ``dtype``. X stays as it is, except that floats become ``dtype`` and booleans
        uint8. Raises DataError for a value that is too big for ``dtype``.
        """
        X = as_float("X", self.X, dtype) if self.X.dtype.kind == "f" else self.X
        X = X.astype(np.uint8) if X.dtype.kind == "b" else X
        y = as_target(self.y, dtype)
        weight = None if self.weight is None else place(as_float("weight", self.weight, dtype))
        shift, scale = (
            place(as_float(name, array, dtype)) if hasattr(array, "shape") else array
            for name, array in (("shift", self.shift), ("scale", self.scale))
        )
        return Dataset(place(X), place(y), weight, scale, shift, self.names)


def check_dataset(what: str, data: object) -> None:
    """Raise UsageError unless ``data`` is a Dataset."""
    if not isinstance(data, Dataset):
        raise UsageError(
            f"{what} must be a Dataset, not a {type(data).__name__}: xpnet.Dataset(X, y)"
        )


def check_scaling(shift: Array | None, scale: Array | float) -> None:
    """Raise unless shift is None or finite, and scale a number > 0 or an array of them.

    Arrays on a device have been checked on the host.
    """
    if isinstance(scale, Real) or not hasattr(scale, "shape"):
        check_positive("the scale of a dataset", scale)  # type: ignore[arg-type]
    elif isinstance(scale, np.ndarray) and not (np.isfinite(scale).all() and (scale > 0).all()):
        raise DataError("the scale of a dataset must be finite and > 0 for every column")
    if isinstance(shift, np.ndarray) and not np.isfinite(shift).all():
        raise DataError("the shift of a dataset must be finite for every column")


def number_or_array(scale: Array | float) -> Array | float:
    """A number of any type, NumPy's too, as a float, since kernels tell it from an array."""
    return float(scale) if isinstance(scale, Real) else scale


def check_weight(w: Array) -> None:
    """Raise DataError unless ``w`` (NumPy) can be the weights of samples."""
    real = w.ndim == 1 and w.dtype.kind in "uifb"
    if not (real and np.isfinite(w).all() and (w >= 0).all() and w.sum() > 0):
        raise DataError("weights must be (n,), finite, not negative and not all 0")


def as_target(y: Array, dtype: str) -> Array:
    """``y`` (NumPy) as int32 where it may hold labels, else as ``dtype``."""
    return y.astype(np.int32) if may_be_labels(y) else as_float("y", y, dtype)


def may_be_labels(y: Array) -> bool:
    """Whether ``y`` (NumPy) is one whole number a sample, and int32 can hold them."""
    whole = y.ndim == 1 and y.dtype.kind in "uib"
    return whole and bool(y.min() >= -(2**31) and y.max() < 2**31)


def as_float(name: str, array: Array, dtype: str, first_row: int = 0) -> Array:
    """``array`` (NumPy) as ``dtype``; raises DataError where that makes a number infinite.

    Its rows are counted from ``first_row``.
    """
    with np.errstate(over="ignore"):
        cast = array.astype(dtype, copy=False)
    if cast is not array and not np.isfinite(cast).all():
        row = first_row + int(np.argwhere(~np.isfinite(cast))[0][0])
        raise DataError(f"{name} has a number in row {row} that is too big for {dtype}: scale it")
    return cast
