"""Driving somebody's training step and noting every parameter before and after it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, UsageError
from ..types import Array
from .problem import as_numbers, coarsest

__all__ = ["Course", "drive", "read_parameters"]

NAME = re.compile(r"[Wb][1-9]\d*")

Params = dict[str, Array]
Read = Callable[[], Mapping[str, Any] | Sequence[Any]]


class Course(NamedTuple):
    """What happened: ``params[t]`` stood before step t, which was given ``batches[t]``.

    ``written`` are the parameters that the step writes, the same unless told otherwise; ``eps``
    is the machine epsilon they are kept in.
    """

    params: list[Params]
    written: list[Params]
    batches: list[tuple[Array, Array]]
    data_changed: bool
    eps: float


def drive(
    step: Callable[..., Any],
    params: Read,
    written: Read | None,
    x: Array,
    y: Array,
    batch_size: int | None,
    n_steps: int,
) -> Course:
    """Run ``n_steps`` steps on one batch after another, the first not at the first sample."""
    m = len(x) if batch_size is None else min(batch_size, len(x))
    eps = precision(written or params)
    course = Course([read_parameters(params)], [read_parameters(written or params)], [], False, eps)
    for t in range(n_steps):
        rows = np.arange((t + 1) * m, (t + 2) * m) % len(x)
        batch = np.array(x[rows]), np.array(y[rows])
        given = batch[0].copy(), batch[1].copy()
        try:
            step(*given)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UsageError(f"your step raised {reason} (step {t + 1}, {m} samples)") from error
        try:
            course.params.append(read_parameters(params))
            course.written.append(read_parameters(written or params))
        except DataError as error:
            raise DataError(f"after step {t + 1} of yours {error}") from error
        course.batches.append(batch)
        if not all(np.array_equal(a, b) for a, b in zip(batch, given, strict=True)):
            course = course._replace(data_changed=True)
    return course


def precision(read: Read) -> float:
    """The machine epsilon of the parameters."""
    given = read()
    arrays = given.values() if isinstance(given, Mapping) else given
    return coarsest([np.asarray(a) for a in arrays if a is not None])


def read_parameters(read: Read) -> Params:
    """A copy of the parameters now: W1, b1 ... from a mapping, or from a list in that order."""
    given = read()
    if not isinstance(given, Mapping):
        given = {f"{'Wb'[i % 2]}{i // 2 + 1}": a for i, a in enumerate(given)}
    wrong = [name for name in given if not NAME.fullmatch(str(name))]
    if wrong or "W1" not in given:
        raise DataError(
            f"your parameters are called {', '.join(map(str, given)) or 'nothing'}: "
            "W1, b1, W2, b2 ... are expected"
        )
    return {str(name): as_numbers(str(name), a) for name, a in given.items() if a is not None}
