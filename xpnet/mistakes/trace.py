"""One forward pass written out: every array that a backpropagation, right or wrong, could use."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..errors import DataError
from ..types import Array
from .problem import Problem

__all__ = [
    "Trace",
    "derivative",
    "kinked",
    "own_output",
    "softmax",
    "through_softmax",
    "trace",
    "with_slope_at_0",
]


class Trace(NamedTuple):
    """A0 = x;  Z_l = A_{l-1} W_l + b_l;  A_l = f_l(Z_l); all lists start at layer 0.

    ``Z[0]``, ``W[0]``, ``b[0]`` and ``f[0]`` are None. The last A is the output after its
    activation; f of the last layer is None for softmax. ``copies`` are other weights of a layer
    that somebody keeps, ``elsewhere`` the forward pass of samples that are not in the batch.
    """

    A: list[Array]
    Z: list[Array]
    W: list[Array]
    b: list[Array]
    f: list[Any]
    Y: Array
    loss: str
    output: str
    copies: dict[int, Array]
    elsewhere: Trace | None

    @property
    def m(self) -> int:
        return len(self.Y)

    @property
    def L(self) -> int:
        """Number of layers."""
        return len(self.W) - 1

    @property
    def out(self) -> Array:
        return self.A[-1]

    @property
    def logits(self) -> Array:
        return self.Z[-1]


def trace(problem: Problem, dtype: type = np.float64) -> Trace:
    """The forward pass of ``problem``. Raises DataError where the loss is not defined."""
    x, Y = problem.x.astype(dtype), problem.Y.astype(dtype)
    f: list[Any] = [None, *problem.hidden, ACTIVATIONS.get(problem.output)]
    W: list[Array] = [None, *(w.astype(dtype) for w in problem.W)]
    b: list[Array] = [None, *(None if v is None else v.astype(dtype) for v in problem.b)]
    A, Z = [x], [None]
    for l in range(1, len(W)):
        z = A[-1] @ W[l]
        if b[l] is not None:
            z = z + b[l]
        Z.append(z)
        act = f[l]
        A.append(softmax(z) if act is None else act.function(np, z))
    if problem.loss != "mse" and not own_output(problem):
        low, high = float(A[-1].min()), float(A[-1].max())
        if low < 0 or high > 1:
            raise DataError(
                f"{problem.loss} needs outputs between 0 and 1, but {problem.output} gives "
                f"{low:.3g} to {high:.3g}: name the output that the loss is computed from"
            )
    return Trace(A, Z, W, b, f, Y, problem.loss, problem.output, {}, None)


def kinked(problem: Problem) -> bool:
    """Whether a unit stands exactly where its activation has no derivative."""
    t = trace(problem)
    bent = [l for l in range(1, t.L) if t.f[l].name in ("relu", "leaky_relu")]
    return any(bool((t.Z[l] == 0).any()) for l in bent)


def with_slope_at_0(problem: Problem, slope: float) -> Problem:
    """``problem`` with ``slope`` for the derivative of a ReLU at 0, where any in [0, 1] will do."""

    def bent(f: Activation) -> Activation:
        if f.name not in ("relu", "leaky_relu"):
            return f
        at_0 = lambda xp, z: np.where(z == 0, slope, derivative(f, z))  # noqa: E731
        return replace(f, derivative=at_0, derivative_of="z")

    other = copy(problem)
    object.__setattr__(other, "hidden", tuple(bent(f) for f in problem.hidden))
    return other


def own_output(problem: Problem | Trace) -> bool:
    """Whether a cross-entropy stands behind the function it belongs to, as one formula."""
    return (problem.loss, problem.output) in (
        ("softmax-xent", "softmax"),
        ("sigmoid-bce", "sigmoid"),
    )


def softmax(z: Array, axis: int | None = 1) -> Array:
    """exp(z) over its sum along ``axis``, or over the whole array for None."""
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def derivative(f: Activation, z: Array) -> Array:
    """f'(z)."""
    return f.derivative(np, z if f.derivative_of == "z" else f.function(np, z))


def through_softmax(P: Array, dP: Array) -> Array:
    """dLoss/dz from dLoss/dP, for P = softmax(z):  P (dP - sum_c dP_c P_c)."""
    return P * (dP - (dP * P).sum(axis=1, keepdims=True))
