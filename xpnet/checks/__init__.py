"""Checks that prove something about a network, a backend or a training.

``compare`` and ``gradcheck`` are functions; ``parity`` is the module of the whole comparison.
"""

from . import parity
from .compare import compare
from .gradcheck import gradcheck

__all__ = ["compare", "gradcheck", "parity"]
