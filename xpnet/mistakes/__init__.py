"""Naming the mistake in somebody's own backpropagation, from its numbers alone."""

from .catalogue import CATALOGUE, Mistake
from .explain import explain, explain_gradients
from .explanation import Explanation, Finding
from .problem import Problem

__all__ = [
    "CATALOGUE",
    "Explanation",
    "Finding",
    "Mistake",
    "Problem",
    "explain",
    "explain_gradients",
]
