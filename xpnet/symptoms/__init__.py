"""Symptoms of a run that does not learn, and the doctor who names them.

``doctor`` is the function; ``vitals`` looks inside a network, ``Watch`` does so during a training.
"""

from .doctor import CHECKS, doctor
from .history import History, read_history
from .verdict import Check, Verdict
from .vitals import Vitals, vitals
from .watch import Watch

__all__ = [
    "CHECKS",
    "Check",
    "History",
    "Verdict",
    "Vitals",
    "Watch",
    "doctor",
    "read_history",
    "vitals",
]
