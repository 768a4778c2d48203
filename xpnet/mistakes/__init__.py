"""Naming the mistake in somebody's own backpropagation, from its numbers alone."""

from .audit import Audit, audit
from .behaviour import Remark
from .catalogue import CATALOGUE, Mistake
from .explain import explain, explain_gradients
from .explanation import Explanation, Finding
from .problem import Problem
from .rule import Rule

__all__ = [
    "CATALOGUE",
    "Audit",
    "Explanation",
    "Finding",
    "Mistake",
    "Problem",
    "Remark",
    "Rule",
    "audit",
    "explain",
    "explain_gradients",
]
