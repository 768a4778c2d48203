"""What the doctor says: a Verdict; and the Check that comes to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .case import Case

__all__ = ["LEVELS", "Check", "Finding", "Verdict"]

LEVELS = ("hint", "likely", "certain")
"""How sure a verdict is, in rising order. A hint may be true of a healthy run, too."""


class Finding(NamedTuple):
    """What a check has seen: how sure it is, and the figures in one sentence."""

    level: str
    evidence: str


class Check(NamedTuple):
    """A symptom that has a name; ``find`` returns None where a run does not show it.

    ``meaning`` is the mechanism and ``remedy`` what to do, each in one sentence.
    """

    name: str
    meaning: str
    remedy: str
    find: Callable[[Case], Finding | None]


class Verdict(NamedTuple):
    """A symptom found in a run. ``level`` is one of LEVELS; ``evidence`` are the figures."""

    name: str
    level: str
    evidence: str
    meaning: str
    remedy: str

    @property
    def serious(self) -> bool:
        """Whether it is more than a hint."""
        return self.level != LEVELS[0]
