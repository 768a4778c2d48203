"""Sweeps: how the cost of a sample changes with the batch and grows with the parameters."""

from __future__ import annotations

from collections.abc import Mapping

from .limit import n_parameters
from .record import Measured
from .standing import standings
from .workloads import SWEEPS

__all__ = ["growth"]


def growth(
    sweep: str, measured: Mapping[str, Measured], clock: str
) -> dict[str, list[tuple[int, float]]]:
    """For each contestant the sizes, and the microseconds a sample takes there in later epochs.

    The size is that of the batch, or in the sweep of widths the number of parameters. Contestants
    stand as they were named, whoever is faster where.
    """
    lines: dict[str, list[tuple[int, float]]] = {}
    for workload in SWEEPS[sweep]:
        if workload.name not in measured:
            continue
        point = measured[workload.name]
        size = workload.batch_size if sweep == "batch" else n_parameters(workload.widths)
        found = {s.name: s for s in standings(point.workload, point.outcomes, clock)}
        for s in (found[outcome.name] for outcome in point.outcomes):
            if s.later:
                microseconds = 1e6 * s.later.median / point.workload.samples
                lines.setdefault(s.name, []).append((size, microseconds))
    return lines
