"""Which formula gives these gradients? From arrays, or from a network of xpnet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..activations import activation
from ..errors import DataError, UsageError
from ..layers import Dense
from ..network import Network
from ..types import Array
from .explanation import Explanation, explanation_of
from .problem import Problem, as_numbers, coarsest
from .search import Search
from .story import best_story
from .trace import kinked, with_slope_at_0
from .weights import weighted_story

__all__ = ["explain", "explain_gradients"]

SLOPES_AT_0 = (1.0, 0.5)
"""What else than 0 people take for the derivative of ReLU at 0; each is right."""

NAME = re.compile(r"d[Wb][1-9]\d*")


def explain_gradients(problem: Problem, grads: Mapping[str, Array]) -> Explanation:
    """Name what is wrong, if anything, in each of somebody's gradients of ``problem``.

    ``grads`` maps dW1, db1 ... to arrays; any of them may be missing, and they may have any
    shape. Raises DataError for gradients of layers that there are none of, and for NaN.
    """
    if not grads:
        raise DataError("there are no gradients to explain: dW1, db1 ... are expected")
    arrays = {}
    for name, g in grads.items():
        if not NAME.fullmatch(name) or int(name[2:]) > problem.n_layers:
            raise DataError(
                f"{name} is no gradient of this network: it has {problem.n_layers} layers, "
                f"so dW1 ... dW{problem.n_layers} and db1 ... db{problem.n_layers}"
            )
        arrays[name] = as_numbers(name, g)
        if not arrays[name].size:
            raise DataError(f"{name} is empty")
    eps = coarsest([np.asarray(g) for g in grads.values()])
    search = Search(problem, arrays, eps)
    story = best_story(search)
    for slope in SLOPES_AT_0 if story.cost and kinked(problem) else ():
        other = Search(with_slope_at_0(problem, slope), arrays, eps)
        cheaper = best_story(other)
        if cheaper.cost < story.cost:
            search, story = other, cheaper
    return explanation_of(search, weighted_story(search, story))


def explain(
    network: Network,
    theta: Array,
    x: Array,
    y: Array,
    grads: Array | Mapping[str, Array],
    **declared: Any,
) -> Explanation:
    """Name what is wrong in somebody's gradients of a ``network`` of Dense layers.

    Arrays are NumPy's: ``theta`` (n_theta,), a batch ``x`` (m, n_in) and ``y``, and ``grads``: a
    vector like theta, or arrays named dW1, db1 ... ``declared`` are loss, output, reduction,
    scale and l2 as for ``Problem``. Raises UsageError for a network with other layers.
    """
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    if len(dense) != len(network.layers):
        raise UsageError(
            "explain knows networks of Dense layers only, without Dropout or LayerNorm"
        )
    params = network.split(np, np.asarray(theta))
    *hidden, last = [activation(layer.activation) for layer in dense]
    if last.name != "identity":
        declared.setdefault("output", last.name)
    problem = Problem(
        x, y, [p["W"] for p in params], [p["b"] for p in params], activation=hidden, **declared
    )
    if not isinstance(grads, Mapping):
        g = np.asarray(grads)
        if g.shape != (network.n_theta,):
            raise DataError(f"gradients of shape {g.shape} are not like theta ({network.n_theta},)")
        parts = network.split(np, g)
        grads = {f"d{name}{l}": a for l, p in enumerate(parts, 1) for name, a in p.items()}
    return explain_gradients(problem, grads)
