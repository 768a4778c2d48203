"""The words the rest of xpnet is written in: arrays, small records, and three protocols.

Names used everywhere: ``theta`` all parameters as one flat vector, ``g`` dLoss/dtheta, ``x`` a
batch of inputs (one sample a row), ``y`` a layer's output, ``W`` and ``b`` weights (n_in, n_out)
and biases (n_out,), ``saved`` what forward leaves for backward, ``slots`` the vectors that an
optimizer remembers, ``t`` the number of steps done, ``lr`` the learning rate, ``weight`` how much
each sample counts. ``dA`` always means dLoss/dA and has the shape of A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from .ops import Ops

__all__ = [
    "Array",
    "Counters",
    "Feed",
    "Layer",
    "Loss",
    "LossResult",
    "Namespace",
    "Noise",
    "NumpyArray",
    "Optimizer",
    "Params",
]

Array: TypeAlias = Any
"""An array of any Array API namespace."""

NumpyArray: TypeAlias = np.ndarray[Any, Any]
"""One that lies on the host."""

Namespace: TypeAlias = Any
"""A module that follows the Python Array API standard, such as ``array_api_compat.numpy``."""

Params: TypeAlias = dict[str, Array]
"""The parameters of one layer, or their gradients, by name: ``{"W": ..., "b": ...}``."""


class Noise(NamedTuple):
    """Where in the random stream a training step stands: what Dropout needs to draw its mask.

    ``seed`` is the run's seed, ``t`` (1,) int32 the number of steps done before, ``rows`` (m,)
    int32 says which row of the whole batch each row of this part is, and ``layer`` is the
    layer's index in the network.
    """

    seed: int
    t: Array
    rows: Array
    layer: int = 0


class Layer(Protocol):
    """A frozen dataclass of hyperparameters with a forward and a backward; it holds no array."""

    def output_width(self, n_in: int) -> int:
        """Width of the output for inputs of width ``n_in``."""

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter, by name; weight decay is for matrices, not for vectors."""

    def init_params(self, seed: int, layer: int, n_in: int) -> Params:
        """Initial parameters as float64 NumPy arrays."""

    def forward(self, ops: Ops, p: Params, x: Array, noise: Noise | None) -> tuple[Array, Any]:
        """``x`` (m, n_in) -> ``y`` (m, n_out), and what ``backward`` must remember.

        ``noise`` is None outside training.
        """

    def backward(
        self, ops: Ops, p: Params, saved: Any, dy: Array, need_dx: bool
    ) -> tuple[Array | None, Params]:
        """``dy`` (m, n_out) -> ``dx`` (m, n_in), or None unless needed, and the gradients."""


class LossResult(NamedTuple):
    """What a loss says of a batch; its mean is ``loss_sum`` / sum of sample weights."""

    loss_sum: Array
    """Sum over the samples of weight times loss, 0-d."""
    n_correct: Array | None
    """Number of samples classified correctly, 0-d int32; None where nothing is classified."""
    dout: Array
    """d(scale * loss_sum)/dout, with the shape of the network's output."""


class Counters(NamedTuple):
    """What a training counts: its steps, and what happened in the running epoch.

    ``t`` (1,) int32 counts steps, ``position`` (1,) int32 samples of the running epoch.
    ``loss_sum``, ``weight_sum`` and ``n_correct`` are the running epoch's sums, 0-d.
    ``first_bad_step`` (1,) int32 is the first step, counted from 1, whose loss was not finite,
    or 0.
    """

    t: Array
    position: Array
    loss_sum: Array
    weight_sum: Array
    n_correct: Array
    first_bad_step: Array


class Feed(NamedTuple):
    """What a step reads and never writes: a Dataset's parts, and what the epoch brings.

    ``order`` (n,) int32 names its samples one after the other, ``lr`` (epoch_steps,) the learning
    rates of its steps.
    """

    X: Array
    y: Array
    weight: Array | None
    shift: Array | None
    scale: Array | float
    order: Array
    lr: Array


class Loss(Protocol):
    """A frozen dataclass that compares the network's output with the target.

    ``classifies`` says whether it counts correct samples.
    """

    classifies: ClassVar[bool]

    def __call__(
        self, ops: Ops, out: Array, target: Array, weight: Array | None, scale: Array | float
    ) -> LossResult:
        """Loss and gradient of ``scale`` times the weighted sum over the samples.

        With ``scale`` = 1 / sum of weights that is the weighted mean.
        """

    def check_target(self, n_out: int, y: Array) -> None:
        """Raise DataError where targets ``y`` (NumPy) do not fit ``n_out`` outputs."""


class Optimizer(Protocol):
    """A frozen dataclass of hyperparameters; its memory is a tuple of vectors, the slots."""

    n_slots: ClassVar[int]

    @property
    def lr(self) -> float:
        """The base learning rate, which the schedule multiplies."""

    @property
    def weight_decay(self) -> float:
        """Decoupled decay: each step multiplies the weights by 1 - lr * weight_decay."""

    @property
    def l2(self) -> float:
        """Coupled decay: adds l2 * W to the gradient of each weight matrix."""

    def update(
        self, ops: Ops, theta: Array, g: Array, slots: tuple[Array, ...], t: Array, lr: Array
    ) -> tuple[Array, tuple[Array, ...]]:
        """One step; ``theta`` and ``slots`` are donated. ``t`` (1,) is 1 at the first step."""
