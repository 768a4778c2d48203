"""Numba: NumPy's arrays, with the element-wise work and small batches compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat.numpy as xp
import numba
import numpy as np

from ...errors import check_choice
from ...ops import Ops
from ..backend import Data, State, StepFunction
from ..numpy import NumpyBackend, recorded
from ..numpy.recorded import RecordedStep, RecordingOps
from ..numpy.recording import bare
from ..workspace import Workspace, on_workspace
from . import samples
from .ops import NumbaOps
from .samples import SampleBySample

__all__ = ["NumbaBackend", "load"]


class RecordingNumbaOps(RecordingOps, NumbaOps):
    """The primitives as ever, recorded call by call."""

    plain = NumbaOps

    def run(self, kernel: Any, *args: Any) -> None:
        self.recording.note(kernel, *bare(args))


class NumbaBackend(NumpyBackend):
    """NumPy's arrays; what is done to them is compiled by Numba where that pays."""

    def ops(self) -> Ops:
        return NumbaOps()

    def compile(
        self, build: Callable[[Ops], StepFunction[State, Data]], *, reference: bool = False
    ) -> StepFunction[State, Data]:
        if reference:
            return super().compile(build, reference=True)
        workspace = Workspace()
        step = on_workspace(build, NumbaOps(workspace), workspace)
        if samples.suits(build):
            return SampleBySample(build, step)
        if recorded.suits(build):
            return RecordedStep(build, step, workspace, RecordingNumbaOps)
        return step


def load(device: str | None) -> NumbaBackend:
    """NumPy's arrays, which are always on the CPU."""
    check_choice("device of Numba", device or "cpu", ["cpu"])
    return NumbaBackend("numba", xp, version=f"{numba.__version__} (NumPy {np.__version__})")
