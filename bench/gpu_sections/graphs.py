"""Graphs: what each way to run a step is worth, from call by call to many steps in one graph."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from xpnet.bench.sections import Section
from xpnet.bench.workloads import Workload
from xpnet.source import Resident
from xpnet.state import Run, initial_state, to_device
from xpnet.step import TrainingStep

from .rig import Rig, workloads

__all__ = ["SECTION"]


class Way(NamedTuple):
    """A way to run a step: with which graphs, whether they have branches, and of how many steps."""

    graph: str
    branches: bool = False
    steps_a_graph: int = 1


WAYS = {
    "call by call": Way("never"),
    "one step a graph, in a line": Way("require"),
    "one step a graph, with a branch": Way("require", branches=True),
    "4 steps a graph": Way("require", branches=True, steps_a_graph=4),
    "16 steps a graph": Way("require", branches=True, steps_a_graph=16),
    "64 steps a graph": Way("require", branches=True, steps_a_graph=64),
    "16 steps a graph, in a line": Way("require", steps_a_graph=16),
}


def microseconds(rig: Rig, workload: Workload, way: Way) -> float:
    """Microseconds a step, when many follow each other and the host waits at their end."""
    network, hp = workload.network(), workload.hyperparameters()
    backend = rig.backend(graph=way.graph)
    data = workload.dataset().prepare(network.n_in, network.n_out, hp.loss, backend, hp.dtype)
    step: Any = backend.compile(TrainingStep(network, hp, workload.batch_size))
    step.steps_a_graph = way.steps_a_graph
    if not way.branches:
        step.launcher = None
    source = Resident(data, hp, backend)
    source.begin(0)
    state = to_device(backend, Run(initial_state(network, hp), 0, 0, 1, 0.0, ())).state
    n = rig.size(512, 8)

    def steps() -> None:
        nonlocal state
        state = backend.loop(step, state, source.feed, n)

    return rig.seconds(steps, 1) / n * 1e6


def measured(rig: Rig, workload: Workload) -> dict[str, float]:
    return {name: microseconds(rig, workload, way) for name, way in WAYS.items()}


def parts(rig: Rig) -> Mapping[str, Any]:
    rig.backend()  # without it nothing can begin
    small = [w for w in workloads(rig) if not w.name.startswith(("full", "wide"))]
    return {w.name: functools.partial(measured, rig, w) for w in small}


def lines(results: Mapping[str, Any]) -> list[str]:
    return [
        f"{workload}: {result[name]:,.1f} microseconds a step, {name}"
        for workload, result in results.items()
        for name in WAYS
        if name in result
    ]


SECTION = Section("graphs", "what graphs, branches and steps a graph are worth", 30, parts, lines)
