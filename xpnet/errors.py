"""The errors xpnet raises: each is one line that says what is wrong, where, and what to do.

``exit_code`` is what the command line returns for it.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable

__all__ = [
    "BackendError",
    "CheckpointError",
    "DataError",
    "DeviceError",
    "OutOfDeviceMemoryError",
    "TrainingError",
    "UsageError",
    "XpnetError",
    "check_choice",
    "check_count",
    "check_fraction",
    "check_not_negative",
    "check_positive",
]


class XpnetError(Exception):
    """Base of all errors raised on purpose by xpnet."""

    exit_code = 1


class UsageError(XpnetError, ValueError):
    """An argument, option or combination of them that makes no sense."""

    exit_code = 2


class BackendError(UsageError):
    """A backend that is not installed or not usable on this machine."""


class DataError(XpnetError, ValueError):
    """Data that cannot be used: wrong format, shape, type or values."""

    exit_code = 65


class CheckpointError(DataError):
    """A model or checkpoint file that is damaged or not one of ours."""


class TrainingError(XpnetError):
    """A training that went wrong, such as a loss that is not finite."""


class DeviceError(XpnetError):
    """A device that failed while it computed: what was saved before is intact."""

    exit_code = 75


class OutOfDeviceMemoryError(XpnetError, MemoryError):
    """A device without enough memory for what it was asked to hold."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which of the ``known`` names is nearest, or list them all."""
    known = sorted(known)
    lower = [k for k in known if k.lower() == name.lower()]
    near = lower or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"


def check_choice(what: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is known; else raise UsageError that suggests the near match."""
    known = list(known)
    if name not in known:
        raise UsageError(f"unknown {what} {name!r}: {did_you_mean(str(name), known)}")
    return name


def check_count(what: str, value: int, *, minimum: int = 1) -> int:
    """Return ``value`` if it is a whole number >= ``minimum``; else raise UsageError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise UsageError(f"{what} must be a whole number >= {minimum}, not {value!r}")
    return value


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number that a float can hold; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def check_positive(what: str, value: float) -> float:
    """Return ``value`` if it is finite and > 0; else raise UsageError."""
    if not (is_number(value) and value > 0):
        raise UsageError(f"{what} must be a finite number > 0, not {value!r}")
    return value


def check_not_negative(what: str, value: float) -> float:
    """Return ``value`` if it is finite and >= 0; else raise UsageError."""
    if not (is_number(value) and value >= 0):
        raise UsageError(f"{what} must be a finite number >= 0, not {value!r}")
    return value


def check_fraction(what: str, value: float) -> float:
    """Return ``value`` if 0 <= value < 1; else raise UsageError."""
    if not (is_number(value) and 0 <= value < 1):
        raise UsageError(f"{what} must be at least 0 and below 1, not {value!r}")
    return value
