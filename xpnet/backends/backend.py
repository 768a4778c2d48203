"""A backend: one Array API namespace on one device, and how a step runs there."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np

from ..errors import UsageError, check_choice
from ..ops import Ops
from ..random import permutation
from ..types import Array, Namespace, NumpyArray
from .link import Link

__all__ = ["GRAPH", "PRECISION", "Backend", "ManySteps"]

PRECISION = ("fp32", "tf32", "bf16")
"""How matrices of float32 may be multiplied: as they are, or rounded to 10 or 7 bits before."""

GRAPH = ("auto", "require", "never")
"""Whether a step is replayed as one graph: where possible, or always (else an error), or never."""

State = TypeVar("State")
Data = TypeVar("Data")
StepFunction = Callable[[State, Data], State]


class ManySteps(ABC):
    """A compiled step that can do n of itself at once."""

    @abstractmethod
    def many(self, state: Any, data: Any, n: int) -> Any:
        """``n`` steps; the state is donated."""

    def __call__(self, state: Any, data: Any) -> Any:
        return self.many(state, data, 1)


class Backend:
    """The plain backend: arrays of ``xp`` on ``device``, the reference Ops, a for-loop.

    Vendors subclass it. ``name`` and ``device_name`` are what the user reads; ``version`` is
    that of the library behind. ``ring_bytes`` is the memory that streamed samples may take,
    ``precision`` one of PRECISION.
    """

    ring_bytes = 2**27
    precision = "fp32"

    def __init__(
        self,
        name: str,
        xp: Namespace,
        *,
        device: Any = None,
        device_name: str = "cpu",
        version: str,
    ) -> None:
        self.name = name
        self.xp = xp
        self.device = device
        self.device_name = device_name
        self.version = version

    @property
    def precisions(self) -> Sequence[str]:
        """Those of PRECISION that can be had here."""
        return ("fp32",)

    def configured(self, *, precision: str = "fp32", graph: str = "auto") -> Backend:
        """A backend like this that multiplies with ``precision`` and replays as ``graph`` says.

        See PRECISION and GRAPH. Raises UsageError for what cannot be had here.
        """
        check_choice("precision", precision, PRECISION)
        check_choice("way with graphs", graph, GRAPH)
        if precision not in self.precisions:
            raise UsageError(
                f"backend {self.place} has no precision {precision}: choose fp32, or a GPU"
            )
        if graph == "require":
            raise UsageError(f"backend {self.name} replays no graph: choose auto, or backend cupy")
        if precision == self.precision:
            return self
        other = copy.copy(self)
        other.precision = precision
        return other

    def explaining(self) -> AbstractContextManager[Any]:
        """Within, a failure of the device becomes a DeviceError or an OutOfDeviceMemoryError."""
        return nullcontext()

    @property
    def place(self) -> str:
        """Name and device, as the user reads them: ``torch on cuda:0``."""
        return f"{self.name} on {self.device_name}"

    def same_place(self, other: Backend) -> bool:
        """Whether arrays of both can be computed with together."""
        return self.place == other.place

    def ops(self) -> Ops:
        """The fastest primitives this backend has; each call allocates its results."""
        return self.reference_ops()

    def reference_ops(self) -> Ops:
        """The plain Array API primitives."""
        return Ops(self.xp, self.device)

    def check_dtype(self, dtype: str) -> None:
        """Raise UsageError, with the remedy, where arrays of ``dtype`` cannot be had here."""

    def asarray(self, array: Array) -> Array:
        """``array`` on the device, copied, with the same dtype.

        It may be of NumPy or, on the same kind of device, of any library with DLPack.
        """
        if isinstance(array, np.ndarray):
            return self.from_host(array)
        return self.xp.asarray(self.xp.from_dlpack(array), copy=True)

    def from_host(self, host: NumpyArray) -> Array:
        """A copy of ``host`` on the device."""
        return self.xp.asarray(host, device=self.device, copy=True)

    def to_numpy(self, array: Array) -> NumpyArray:
        """A copy of ``array`` on the host. Waits for the device."""
        return np.array(array)  # sync: this is the one way back to the host

    def free_bytes(self) -> int | None:
        """Memory that is left for arrays; None where they are the host's, or nobody knows."""
        return None

    def link(self) -> Link:
        """A new way for samples to the device; only for a backend that knows ``free_bytes``."""
        raise NotImplementedError(f"samples are not streamed to {self.place}")

    def permutation(self, seed: int, epoch: int, n: int) -> Array:
        """``random.permutation`` on the device."""
        return permutation(self.xp, seed, epoch, n, self.device)

    def compile(
        self, build: Callable[[Ops], StepFunction[State, Data]], *, reference: bool = False
    ) -> StepFunction[State, Data]:
        """The step that ``build`` makes of the primitives, made fast where the backend can.

        The state given to the step is donated. Arrays the step returns may be overwritten by
        the next call.
        """
        return build(self.reference_ops() if reference else self.ops())

    def loop(self, step: StepFunction[State, Data], state: State, data: Data, n: int) -> State:
        """``n`` steps; returns without waiting for the device.

        NumPy's warnings are off: the step itself records what is not finite.
        """
        with np.errstate(all="ignore"):
            if isinstance(step, ManySteps):
                done: State = step.many(state, data, n)
                return done
            for _ in range(n):
                state = step(state, data)
        return state
