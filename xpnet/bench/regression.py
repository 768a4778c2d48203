"""The regression check: xpnet beside the matrix products, as a ratio, never in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .contest import Build, Clock, contest
from .contestants import build as build_contestant
from .limit import LIMIT
from .standing import standings
from .workloads import WORKLOADS, scaled

__all__ = ["Verdict", "check"]

SHARE = 0.1
ROUNDS, EPOCHS = 5, 3


class Verdict(NamedTuple):
    """How many times as long as the matrix products a contestant takes, and how many it may.

    ``ratio`` is None where it did not run: ``remark`` says why.
    """

    workload: str
    name: str
    ratio: float | None
    ceiling: float
    remark: str = ""

    @property
    def passed(self) -> bool:
        return self.ratio is not None and self.ratio <= self.ceiling

    def __str__(self) -> str:
        if self.ratio is None:
            return f"{self.workload}: {self.name} was not measured: {self.remark}"
        what = "passes" if self.passed else "FAILS"
        return (
            f"{self.workload}: {self.name} takes {self.ratio:.2f} times as long as the matrix "
            f"products alone, at most {self.ceiling:g} allowed: {what}"
        )


def check(
    ceilings: Mapping[str, Mapping[str, float]],
    *,
    retries: int = 1,
    judged: bool = True,
    build: Build = build_contestant,
    clock: Clock | None = None,
    say: Callable[[str], Any] = lambda text: None,
) -> list[Verdict]:
    """A Verdict for each contestant of each workload in ``ceilings``.

    What fails is measured once more before it counts: another program may have disturbed it.
    """
    verdicts = []
    for workload, names in ceilings.items():
        for attempt in range(1 + retries):
            found = verdicts_on(workload, names, judged, build, clock)
            for verdict in found:
                say(f"{verdict}{' (second attempt)' if attempt else ''}")
            if all(verdict.passed for verdict in found):
                break
        verdicts += found
    return verdicts


def verdicts_on(
    workload: str,
    ceilings: Mapping[str, float],
    judged: bool,
    build: Build,
    clock: Clock | None,
) -> list[Verdict]:
    """Measure one workload."""
    part = scaled(WORKLOADS[workload], SHARE)
    outcomes = contest(
        part,
        [LIMIT, *ceilings],
        rounds=ROUNDS,
        epochs=EPOCHS,
        judged=judged,
        build=build,
        clock=clock,
    )
    found = {s.name: s for s in standings(part, outcomes)}

    def verdict(name: str) -> Verdict:
        s = found[name]
        ratio = s.to_limit.median if s.to_limit and not s.remark else None
        return Verdict(
            workload, name, ratio, ceilings[name], s.remark or "no limit to compare with"
        )

    return [verdict(name) for name in ceilings]
