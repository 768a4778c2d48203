"""NumPy: the default, on every machine."""

from __future__ import annotations

from collections.abc import Callable

import array_api_compat.numpy as xp
import numpy as np

from ...errors import check_choice
from ...ops import Ops
from ...types import Array
from ..backend import Backend, Data, State, StepFunction
from . import one_sample, recorded
from .one_sample import OneSampleOps
from .ops import NumpyOps
from .recorded import RecordedStep
from .workspace import Workspace

__all__ = ["NumpyBackend", "NumpyOps", "load", "of"]


class NumpyBackend(Backend):
    """NumPy, whose compiled steps have a workspace."""

    def ops(self) -> Ops:
        return NumpyOps()

    def same_place(self, other: Backend) -> bool:
        return isinstance(other, NumpyBackend)

    def compile(
        self, build: Callable[[Ops], StepFunction[State, Data]], *, reference: bool = False
    ) -> StepFunction[State, Data]:
        if reference:
            return build(self.reference_ops())
        workspace = Workspace()
        if one_sample.suits(build):
            return self.with_workspace(build, OneSampleOps(workspace), workspace)
        step = self.with_workspace(build, NumpyOps(workspace), workspace)
        return RecordedStep(build, step, workspace) if recorded.suits(build) else step

    def with_workspace(
        self, build: Callable[[Ops], StepFunction[State, Data]], ops: Ops, workspace: Workspace
    ) -> StepFunction[State, Data]:
        """The step made of such primitives, which find their memory where it was last time."""
        step = build(ops)

        def compiled(state: State, data: Data) -> State:
            workspace.restart()
            return step(state, data)

        return compiled


def load(device: str | None) -> Backend:
    """NumPy, which is always on the CPU."""
    check_choice("device of NumPy", device or "cpu", ["cpu"])
    return NumpyBackend("numpy", xp, version=np.__version__)


def of(_array: Array) -> Backend:
    """The backend of a NumPy array."""
    return load(None)
