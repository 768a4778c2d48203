"""The right gradients, and how far rounding alone may move somebody's away from them."""

from __future__ import annotations

import numpy as np

from ..types import Array
from .deltas import correct_output_delta, residual, right_derivative, steps_back
from .problem import Problem
from .trace import Trace, own_output, trace

__all__ = ["correct_deltas", "correct_gradients", "error_at", "rounding"]

SMALLEST = 1e-8
"""Rounding in float64 is taken for at least this share of what it is in float32."""


def correct_deltas(t: Trace) -> dict[int, Array]:
    """dZ of every layer, for C = 1."""
    delta = correct_output_delta(t)
    deltas = {t.L: delta.terms[0]}
    for l in range(t.L - 1, 0, -1):
        delta = next(steps_back(t, delta, [right_derivative(t, l)], 0))
        deltas[l] = delta.terms[0]
    return deltas


def error_at(t: Trace, l: int) -> Array | None:
    """dLoss/dA of layer ``l``, for C = 1; None where the loss owns the output's activation."""
    if l < t.L:
        return correct_deltas(t)[l + 1] @ t.W[l + 1].T
    return None if own_output(t) else residual(t, t.out, t.Y)


def correct_gradients(t: Trace) -> dict[str, Array]:
    """dW and db of every layer, for C = 1 and without L2."""
    grads = {}
    for l, dZ in correct_deltas(t).items():
        grads[f"dW{l}"], grads[f"db{l}"] = t.A[l - 1].T @ dZ, dZ.sum(axis=0)
    return grads


def rounding(problem: Problem, t: Trace, truth: dict[str, Array], eps: float) -> dict[str, float]:
    """The size of rounding in each right gradient for a machine epsilon ``eps``.

    It is what the same formulas in float32 show, and a rounding of every term of the sums, both
    scaled to ``eps``.
    """
    single = float(np.finfo(np.float32).eps)
    scale = max(eps / single, SMALLEST)
    with np.errstate(all="ignore"):
        rough = correct_gradients(trace(problem, np.float32))
    deltas = correct_deltas(t)
    noise = {}
    for name, exact in truth.items():
        l = int(name[2:])
        gap = np.linalg.norm(np.nan_to_num(rough[name].astype(np.float64)) - exact)
        A, dZ = np.abs(t.A[l - 1]), np.abs(deltas[l])
        terms = A.T @ dZ if name[1] == "W" else dZ.sum(axis=0)
        seen = min(float(gap), float(np.linalg.norm(exact)))
        noise[name] = scale * (seen + single * float(np.linalg.norm(terms)))
    return noise
