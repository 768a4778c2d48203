"""The backends: ``get`` one by name, see which are ``available`` and why others are not."""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from ..errors import BackendError, UsageError, check_choice
from ..types import Array
from .backend import Backend

__all__ = [
    "BACKENDS",
    "Backend",
    "Status",
    "accelerated",
    "allow_float64",
    "available",
    "common",
    "get",
    "of",
]


class Entry(NamedTuple):
    """A backend: its module here, the package of its arrays, and what the user should know."""

    module: str
    package: str
    remedy: str
    devices: str
    segment: str


BACKENDS = {
    "numpy": Entry(
        "numpy", "numpy", "pip install xpnet", "CPU", "a loop of in-place steps on reused buffers"
    ),
    "numba": Entry(
        "numba", "numba", "pip install 'xpnet[numba]'", "CPU", "compiled loops, on NumPy's arrays"
    ),
    "cupy": Entry(
        "cupy",
        "cupy",
        "pip install 'xpnet[cuda13]'",
        "NVIDIA GPUs",
        "a captured step, replayed",
    ),
    "torch": Entry(
        "torch",
        "torch",
        "pip install 'xpnet[torch]'",
        "CPU, NVIDIA GPUs",
        "a loop of queued steps",
    ),
    "jax": Entry("jax", "jax", "pip install 'xpnet[jax]'", "CPU, GPUs, TPUs", "one compiled loop"),
    "array-api-strict": Entry(
        "strict",
        "array_api_strict",
        "pip install array-api-strict",
        "CPU, and two that stand in for GPUs",
        "a loop of steps, for tests",
    ),
}

AUTOMATIC = ("cupy", "numba", "numpy")
"""What ``"auto"`` tries, in this order; the last always works."""


class Status(NamedTuple):
    """One backend as seen from this machine; ``reason`` says why it is not usable."""

    name: str
    usable: bool
    device: str
    version: str
    reason: str


def get(name: str = "auto", device: str | None = None) -> Backend:
    """The backend ``name`` on ``device``; ``"auto"`` is the first of AUTOMATIC that works here.

    Raises BackendError with the remedy where it is not installed or not usable, and
    UsageError for a name that does not exist.
    """
    if check_choice("backend", name, [*BACKENDS, "auto"]) == "auto":
        return automatic(device)
    backend: Backend = module_of(name).load(device)
    return backend


def automatic(device: str | None) -> Backend:
    """The first of AUTOMATIC that is usable; NumPy always is, but only on the CPU."""
    for name in AUTOMATIC[:-1]:
        with contextlib.suppress(BackendError):
            return get(name, device)
    return get(AUTOMATIC[-1], device)


def accelerated(backend: Backend) -> Backend:
    """The fastest backend for the arrays of ``backend``: Numba for NumPy's, if it is here."""
    if backend.name == "numpy":
        with contextlib.suppress(BackendError):
            return get("numba")
    return backend


def common(*arrays: Array | None) -> Backend:
    """The one backend and device that all ``arrays`` live on; None is passed over.

    Raises UsageError where two disagree.
    """
    found = [of(array) for array in arrays if array is not None]
    for other in found[1:]:
        if not other.same_place(found[0]):
            raise UsageError(
                f"arrays live on different backends, {found[0].place} and {other.place}: "
                "move them to one"
            )
    return found[0]


def allow_float64() -> None:
    """Let every backend compute in float64; for programs, before the first backend is loaded."""
    os.environ.setdefault("JAX_ENABLE_X64", "1")


def of(array: Array) -> Backend:
    """The backend and device that ``array`` lives on; no known kind of array raises UsageError."""
    try:
        namespace = array_namespace(array).__name__.removeprefix("array_api_compat.")
    except TypeError:
        namespace = ""
    for name, entry in BACKENDS.items():
        if entry.package == namespace.partition(".")[0]:
            backend: Backend = module_of(name).of(array)
            return backend
    raise UsageError(f"a {type(array).__name__} is no array of {', '.join(BACKENDS)}")


def module_of(name: str) -> Any:
    """The module here for the backend ``name``, once what it stands on can be imported."""
    entry = BACKENDS[name]
    try:
        importlib.import_module(entry.package)
    except ImportError as error:
        raise BackendError(f"backend {name} is not installed ({error}): {entry.remedy}") from error
    return importlib.import_module(f".{entry.module}", __name__)


def available(*, check: bool = False) -> list[Status]:
    """Every backend xpnet knows, usable here or not; ``check`` runs a matrix product on each."""
    statuses = []
    for name in BACKENDS:
        try:
            backend = get(name)
            if check:
                check_product(backend)
        except BackendError as error:
            statuses.append(Status(name, False, "", "", str(error)))
        else:
            statuses.append(Status(name, True, backend.device_name, backend.version, ""))
    return statuses


def check_product(backend: Backend) -> None:
    """Raise BackendError unless the backend multiplies two small matrices correctly."""
    A = np.arange(6, dtype=np.float32).reshape(2, 3)
    product = backend.to_numpy(backend.asarray(A) @ backend.asarray(A).T)
    if product.tolist() != [[5.0, 14.0], [14.0, 50.0]]:
        raise BackendError(
            f"backend {backend.name} multiplied matrices wrongly: {product.tolist()}"
        )
