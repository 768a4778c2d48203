"""NumPy: the backend that works on every machine."""

from __future__ import annotations

from collections.abc import Callable

import array_api_compat.numpy as xp
import numpy as np

from ...errors import check_choice
from ...ops import Ops
from ...types import Array
from ..backend import Backend, Data, State, StepFunction
from ..workspace import Workspace, on_workspace
from . import one_sample, recorded
from .one_sample import OneSampleOps
from .ops import NumpyOps
from .recorded import RecordedStep

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
            return on_workspace(build, OneSampleOps(workspace), workspace)
        step = on_workspace(build, NumpyOps(workspace), workspace)
        return RecordedStep(build, step, workspace) if recorded.suits(build) else step


def load(device: str | None) -> Backend:
    """NumPy, which is always on the CPU."""
    check_choice("device of NumPy", device or "cpu", ["cpu"])
    return NumpyBackend("numpy", xp, version=np.__version__)


def of(_array: Array) -> Backend:
    """The backend of a NumPy array."""
    return load(None)
