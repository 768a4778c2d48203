"""Sweeps: how the cost of a sample grows with the batch or with the width of the network."""

from __future__ import annotations

from collections.abc import Mapping

from .record import Measured
from .standing import standings
from .workloads import SWEEPS

__all__ = ["growth"]


def growth(
    sweep: str, measured: Mapping[str, Measured], clock: str
) -> dict[str, list[tuple[int, float]]]:
    """For each contestant the sizes, and the microseconds a sample takes there in later epochs."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for workload in SWEEPS[sweep]:
        if workload.name not in measured:
            continue
        point = measured[workload.name]
        size = int(workload.name.partition("-")[2])
        for s in standings(point.workload, point.outcomes, clock):
            if s.later:
                microseconds = 1e6 * s.later.median / point.workload.samples
                lines.setdefault(s.name, []).append((size, microseconds))
    return lines
