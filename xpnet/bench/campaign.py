"""A campaign: one workload after the other, each on record as soon as it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import memory
from .contest import Build, Clock, contest
from .contestants import build as build_contestant
from .limit import LIMIT, bandwidth, bytes_per_epoch, working_set
from .record import Measured, Record, Setup
from .workloads import Workload

__all__ = ["campaign", "measure"]

Say = Callable[[str], Any]


def campaign(
    record: Record,
    workloads: Iterable[Workload],
    *,
    with_memory: bool = False,
    say: Say = lambda text: None,
    **settings: Any,
) -> Iterator[Measured]:
    """Measure what the record does not hold yet; yield each workload when it is done.

    ``settings`` are those of ``measure``.
    """
    for workload in workloads:
        if workload.name not in record.measured:
            measured = measure(workload, record.setup, say=say, **settings)
            if with_memory:
                say(f"{workload.name}: memory")
                names = [name for name in record.setup.contestants if name != LIMIT]
                peaks = {name: memory.peak(name, workload) for name in names}
                measured = measured._replace(memory=peaks, memory_bound=memory.bound(workload))
            record.add(measured)
        yield record.measured[workload.name]


def measure(
    workload: Workload,
    setup: Setup,
    *,
    judged: bool = True,
    build: Build = build_contestant,
    clock: Clock | None = None,
    say: Say = lambda text: None,
) -> Measured:
    """The contest on one workload, and the limits that are computed."""
    outcomes = contest(
        workload,
        setup.contestants,
        rounds=setup.rounds,
        epochs=setup.epochs,
        judged=judged,
        build=build,
        clock=clock,
        say=lambda text: say(f"{workload.name}: {text}"),
    )
    moved = bytes_per_epoch(workload)
    return Measured(workload, outcomes, moved, bandwidth(working_set(workload)))
