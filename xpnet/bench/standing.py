"""Standings: what the seconds of a contest say, and who did other work than the rest."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .contest import Outcome, Timing
from .contestants import OURS
from .judge import LONG, SHORT
from .limit import LIMIT
from .workloads import Workload

__all__ = ["Spread", "Standing", "conclusion", "other_work", "ranked", "standings"]


class Spread(NamedTuple):
    """A figure over the rounds."""

    median: float
    low: float
    high: float


class Standing(NamedTuple):
    """One contestant in figures; None where it has none.

    ``first`` are the seconds of epoch 1, ``later`` of one of the later epochs, their mean, on
    the clock that counts; ``wall`` are those on the wall. ``to_limit`` and ``to_fastest`` are
    ratios of the later epochs within a round. ``loss`` and ``deviation`` are those of Outcome.
    ``remark`` says why a contestant is not ranked.
    """

    name: str
    first: Spread | None = None
    later: Spread | None = None
    wall: Spread | None = None
    samples_per_second: float | None = None
    to_limit: Spread | None = None
    to_fastest: Spread | None = None
    loss: float | None = None
    deviation: float | None = None
    remark: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is xpnet."""
        return self.name.startswith(OURS)


def standings(
    workload: Workload, outcomes: Sequence[Outcome], clock: str = "cpu", most_off: float = SHORT
) -> list[Standing]:
    """The limit, then the contestants from the fastest on, then those that are not ranked.

    ``clock`` is the one that counts: "cpu", or "wall" where several threads may be used.
    ``most_off`` is how far from float64 the first steps may end.
    """
    later = {o.name: [later_epochs(r, clock) for r in o.rounds] for o in outcomes if not o.failure}
    remarks = {o.name: o.failure or other_work(o, outcomes, most_off) for o in outcomes}
    ranked = [name for name in later if name != LIMIT and not remarks[name]]
    best = min(ranked, key=lambda name: statistics.median(later[name]), default=None)
    table = []
    for outcome in outcomes:
        name = outcome.name
        if outcome.failure:
            table.append(Standing(name, remark=remarks[name]))
            continue
        seconds = spread(later[name])
        table.append(
            Standing(
                name,
                first=spread([getattr(r[0], clock) for r in outcome.rounds]),
                later=seconds,
                wall=spread([later_epochs(r, "wall") for r in outcome.rounds]),
                samples_per_second=workload.samples / seconds.median
                if seconds.median
                else math.inf,
                to_limit=ratios(later[name], later.get(LIMIT)),
                to_fastest=ratios(later[name], later.get(best) if best else None),
                loss=outcome.loss,
                deviation=outcome.deviation,
                remark=remarks[name],
            )
        )

    def place(s: Standing) -> tuple[bool, bool, float]:
        return s.name != LIMIT, bool(s.remark), s.later.median if s.later else math.inf

    return sorted(table, key=place)


def later_epochs(timings: Sequence[Timing], clock: str) -> float:
    """The mean seconds of the epochs after the first, in which denormal numbers show."""
    return statistics.fmean(getattr(timing, clock) for timing in timings[1:])


def spread(figures: Sequence[float]) -> Spread:
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratios(ours: Sequence[float], theirs: Sequence[float] | None) -> Spread | None:
    """Ours to theirs, round by round: both met the same machine there."""
    if not theirs or not all(theirs):
        return None
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def other_work(outcome: Outcome, outcomes: Sequence[Outcome], most_off: float = SHORT) -> str:
    """What shows that ``outcome`` did other work than the rest, or nothing.

    The loss at the end is compared with the median of all, so that nobody is the measure.
    """
    off = outcome.deviation
    if off is not None and not off <= most_off:
        return f"did other work: after the first steps its weights are {off:.0%} off"
    if outcome.loss is None:
        return ""
    usual = statistics.median([o.loss for o in outcomes if o.loss is not None])
    if not abs(outcome.loss - usual) <= LONG * usual:
        return f"did other work: its loss ends at {outcome.loss:.4g}, the others' at {usual:.4g}"
    return ""


def ranked(table: Sequence[Standing]) -> list[Standing]:
    """Those that compete: no limit, no failure, no other work."""
    return [s for s in table if s.name != LIMIT and not s.remark]


def conclusion(table: Sequence[Standing]) -> str:
    """Who won, in one sentence."""
    competing = ranked(table)
    if not competing:
        return "nobody is ranked"
    winner = competing[0]
    ours = [s for s in competing if s.ours]
    theirs = [s for s in competing if not s.ours]
    if not ours or not theirs:
        return f"{winner.name} is the fastest; there was no other to compare it with"
    if winner.ours:
        second = theirs[0]
        return f"{winner.name} wins: {second.name}, the best of the others, takes {times(second)}"
    return f"{winner.name} wins: {ours[0].name}, the best of xpnet, takes {times(ours[0])}"


def times(s: Standing) -> str:
    """How much longer than the winner it takes."""
    if s.to_fastest is None:
        return "longer"
    return f"{s.to_fastest.median:.2f} times as long"
