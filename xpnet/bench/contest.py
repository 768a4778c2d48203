"""The contest: contestants take turns, epoch by epoch and round by round, and are timed."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..errors import XpnetError, check_count
from .contestants import Contestant
from .contestants import build as build_contestant
from .judge import EPOCHS, deviation, mean_loss, short, truth
from .workloads import Workload

__all__ = ["Clock", "Outcome", "Timing", "contest", "reason"]

Build = Callable[[str, Workload], Contestant]

MOST_CHARACTERS = 200
"""Of the reason why a contestant failed."""

PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][\w.+~-]+){2,}")
"""A path of this machine, which is nobody's business who reads a record."""


class Clock(NamedTuple):
    """Where seconds come from: of the process on all its threads, and on the wall."""

    cpu: Callable[[], float] = time.process_time
    wall: Callable[[], float] = time.perf_counter


class Timing(NamedTuple):
    """Seconds of one epoch."""

    cpu: float
    wall: float


class Outcome(NamedTuple):
    """What became of one contestant.

    ``rounds`` holds a Timing for each epoch of each round, ``loss`` is that of the last of them.
    ``deviation`` is how far it is from where float64 is after the first steps (see ``judge``).
    ``failure`` says why there is nothing, else it is empty.
    """

    name: str
    rounds: list[list[Timing]]
    loss: float | None = None
    deviation: float | None = None
    failure: str = ""


def contest(
    workload: Workload,
    names: Sequence[str],
    *,
    rounds: int = 5,
    epochs: int = 4,
    judged: bool = True,
    build: Build = build_contestant,
    clock: Clock | None = None,
    say: Callable[[str], Any] = lambda text: None,
) -> list[Outcome]:
    """Measure the contestants ``names`` on ``workload``; their outcomes, in the order of ``names``.

    Every round each of them is built anew and trains ``epochs`` epochs. They take turns after every
    epoch, and the next round begins with the next of them, so that whatever else the
    machine does meets all alike. Building is not timed; the garbage collector is off while the
    clock runs. One that fails is out, and the others go on. ``judged``: each first trains the
    first steps of the workload, which says whether it does the same work (see ``judge``).
    """
    check_count("rounds", rounds)
    check_count("epochs", epochs, minimum=2)
    outcomes = {name: Outcome(name, []) for name in names}
    if judged:
        say("the first steps")
        judge(workload, outcomes, build)
    for k in range(rounds):
        say(f"round {k + 1} of {rounds}")
        one_round(workload, outcomes, k, epochs, build, clock or Clock())
    return list(outcomes.values())


def judge(workload: Workload, outcomes: dict[str, Outcome], build: Build) -> None:
    """Let each contestant train the first steps, and note how far it ends from float64."""
    start = short(workload)
    true, initial = truth(start)
    for name, outcome in outcomes.items():
        with surviving(outcomes, name, {}):
            contestant = build(name, start)
            for _ in range(EPOCHS):
                contestant.epoch()
            parameters = contestant.parameters()
            if parameters:
                off = deviation(start, parameters, true, initial)
                outcomes[name] = outcome._replace(deviation=off)


def one_round(
    workload: Workload,
    outcomes: dict[str, Outcome],
    k: int,
    epochs: int,
    build: Build,
    clock: Clock,
) -> None:
    """Round ``k``: all that are still there are built, then take turns."""
    names = list(outcomes)
    turn = k % len(names)
    running: dict[str, Contestant] = {}
    for name in [*names[turn:], *names[:turn]]:
        if not outcomes[name].failure:
            with surviving(outcomes, name, running):
                running[name] = build(name, workload)
                outcomes[name].rounds.append([])
    gc.collect()
    for _ in range(epochs):
        for name in list(running):
            with surviving(outcomes, name, running):
                outcomes[name].rounds[-1].append(timed(running[name], clock))
    for name, contestant in list(running.items()):
        with surviving(outcomes, name, running):
            parameters = contestant.parameters()
            if parameters:
                loss = mean_loss(workload, parameters)
                outcomes[name] = outcomes[name]._replace(loss=loss)


@contextmanager
def surviving(
    outcomes: dict[str, Outcome], name: str, running: dict[str, Contestant]
) -> Iterator[None]:
    """Within, whatever goes wrong with the contestant ``name`` only puts it out of the contest."""
    try:
        yield
    except Exception as error:  # its library may raise anything
        outcomes[name] = Outcome(name, [], failure=reason(error))
        running.pop(name, None)


def reason(error: Exception) -> str:
    """What went wrong, in one line without a path."""
    what = str(error) if isinstance(error, XpnetError) else f"{type(error).__name__}: {error}"
    return PATH.sub("...", " ".join(what.split()))[:MOST_CHARACTERS]


def timed(contestant: Contestant, clock: Clock) -> Timing:
    """Train for one epoch and say how long it took."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        cpu, wall = clock.cpu(), clock.wall()
        contestant.epoch()
        return Timing(clock.cpu() - cpu, clock.wall() - wall)
    finally:
        if was_on:
            gc.enable()
