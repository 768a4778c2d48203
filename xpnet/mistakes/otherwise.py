"""Of which other network or loss are somebody's gradients exactly right? Most guesses are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..errors import DataError
from ..types import Array
from .deltas import correct_output_delta
from .fit import fit
from .problem import Problem, coarsest
from .rule import common
from .trace import trace
from .truth import correct_gradients

__all__ = ["right_otherwise"]

PAIRS = (
    ("softmax-xent", "softmax"),
    ("sigmoid-bce", "sigmoid"),
    ("mse", "identity"),
    ("mse", "sigmoid"),
    ("mse", "tanh"),
    ("mse", "softmax"),
)
"""Losses, each with what people put before it."""


def right_otherwise(
    problem: Problem, grads: Mapping[str, Array], *, activation: bool, loss: bool
) -> Problem | None:
    """``problem`` declared so that all ``grads`` are right but for one factor, or None.

    Its ``activation``, its ``loss``, or both may be others.
    """
    eps = max(problem.eps, coarsest([np.asarray(g) for g in grads.values()]))
    for other in others(problem, activation, loss):
        try:
            if are_right(other, grads, eps):
                return other
        except DataError:  # a loss that is not defined for these outputs
            continue
    return None


def others(problem: Problem, activation: bool, loss: bool) -> Iterator[Problem]:
    """The same with one activation for all hidden layers, and with the usual losses."""
    hidden = [problem.hidden]
    if activation and problem.hidden:
        hidden += [(f,) * len(problem.hidden) for f in ACTIVATIONS.values()]
    shares = bool(((problem.Y >= 0) & (problem.Y <= 1)).all())
    pairs = [(problem.loss, problem.output)]
    if loss:
        pairs += [
            (name, output)
            for name, output in PAIRS
            if (shares or name == "mse") and (output != "softmax" or problem.n_outputs > 1)
        ]
    for functions in hidden:
        for name, output in pairs:
            yield declared(problem, functions, name, output)


def declared(problem: Problem, hidden: tuple[Activation, ...], loss: str, output: str) -> Problem:
    other = copy(problem)
    for field, value in (("hidden", hidden), ("loss", loss), ("output", output)):
        object.__setattr__(other, field, value)
    return other


def are_right(problem: Problem, grads: Mapping[str, Array], eps: float) -> bool:
    """Whether ``grads`` are those of ``problem`` times one positive factor."""
    t = trace(problem)
    dZ = correct_output_delta(t).terms[0]
    last = {f"dW{t.L}": t.A[-2].T @ dZ, f"db{t.L}": dZ.sum(axis=0)}
    first_look = {name: g for name, g in last.items() if name in grads}
    if first_look and factor(problem, grads, first_look, eps) is None:
        return False  # the way back through the layers costs the most
    truth = correct_gradients(t)
    return factor(problem, grads, {name: truth[name] for name in grads}, eps) is not None


def factor(
    problem: Problem, grads: Mapping[str, Array], truth: Mapping[str, Array], eps: float
) -> float | None:
    """The one positive factor between ``truth`` and ``grads``, or None."""
    factors, sure = [], False
    for name, right in truth.items():
        columns = [right]
        if name[1] == "W" and problem.l2:
            columns.append(problem.W[int(name[2:]) - 1])
        found = fit(np.asarray(grads[name], np.float64), columns, 0.0, eps)
        if found is None:
            return None
        if found.c[0] or np.any(right):
            factors.append(float(found.c[0]))
        sure = sure or found.determined
    return common(factors) if sure and min(factors) > 0 else None
