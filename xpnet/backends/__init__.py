"""The backends: ``get`` one by name, see which are ``available`` and why others are not."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np

from ..errors import BackendError, UsageError, check_choice
from ..types import Array
from .backend import Backend

__all__ = ["BACKENDS", "Backend", "Status", "available", "get", "of"]


class Entry(NamedTuple):
    """The module here that loads a backend, the package of its arrays, and what installs it."""

    module: str
    package: str
    remedy: str


BACKENDS = {
    "numpy": Entry("numpy", "numpy", "pip install numpy"),
    "array-api-strict": Entry("strict", "array_api_strict", "pip install array-api-strict"),
}


class Status(NamedTuple):
    """One backend as seen from this machine; ``reason`` says why it is not usable."""

    name: str
    usable: bool
    device: str
    version: str
    reason: str


def get(name: str = "auto", device: str | None = None) -> Backend:
    """The backend ``name`` on ``device``; ``"auto"`` is NumPy.

    Raises BackendError with the remedy where it is not installed or not usable, and
    UsageError for a name that does not exist.
    """
    name = "numpy" if name == "auto" else check_choice("backend", name, [*BACKENDS, "auto"])
    backend: Backend = module_of(name).load(device)
    return backend


def of(array: Array) -> Backend:
    """The backend and device that ``array`` lives on; no known kind of array raises UsageError."""
    package = type(array).__module__.partition(".")[0]
    for name, entry in BACKENDS.items():
        if entry.package == package:
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
    check_one_cupy()
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
    """Raise BackendError unless the backend multiplies two small matrices rightly."""
    A = np.arange(6, dtype=np.float32).reshape(2, 3)
    product = backend.to_numpy(backend.asarray(A) @ backend.asarray(A).T)
    if product.tolist() != [[5.0, 14.0], [14.0, 50.0]]:
        raise BackendError(
            f"backend {backend.name} multiplied matrices wrongly: {product.tolist()}"
        )


def check_one_cupy() -> None:
    """Raise BackendError where two builds of CuPy are installed, which overwrite each other."""
    names = ("cupy", "cupy-cuda12x", "cupy-cuda13x")
    found = [name for name in names if is_installed(name)]
    if len(found) > 1:
        raise BackendError(
            f"{' and '.join(found)} are both installed and overwrite each other: "
            f"pip uninstall {' '.join(found)}, then install the one for your CUDA"
        )


def is_installed(distribution: str) -> bool:
    import importlib.metadata  # slow to import, and seldom needed

    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
