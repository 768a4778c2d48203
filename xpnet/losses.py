"""Losses: how far the network's output is from the target, and the gradient of that.

Every loss returns its sum over the samples and the gradient of ``scale`` times that sum, so that
the parts of a batch can be added up; with scale = 1 / sum of weights it is the gradient of the
mean. Losses own the softmax and the sigmoid: the network's last layer gives raw logits.
``types.Loss`` says what each method takes and gives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .errors import DataError, check_fraction, check_positive
from .ops import Ops
from .types import Array, LossResult, Namespace

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "Huber",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SoftmaxCrossEntropy",
]


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """-sum_c q_c ln softmax(out)_c, for one of C classes; formulas in ``Ops.softmax_xent``.

    Targets: labels (m,) of an integer dtype, or distributions (m, C). ``smoothing`` s moves
    the share s of each target to the uniform distribution (Szegedy et al. 2016).
    """

    smoothing: float = 0.0
    classifies: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fraction("label smoothing", self.smoothing)

    def __call__(
        self, ops: Ops, out: Array, target: Array, weight: Array | None, scale: Array | float
    ) -> LossResult:
        return ops.softmax_xent(out, target, weight, scale, self.smoothing)

    def check_target(self, n_out: int, y: Array) -> None:
        if y.ndim == 1 and y.dtype.kind == "f":
            raise DataError(f"class labels must be whole numbers, not {y.dtype}: y.astype(int)")
        if y.ndim == 1:
            check_labels(n_out, y)
        else:
            check_matrix(n_out, y)
            if y.size and not (y >= 0).all():
                raise DataError("target distributions must not be negative")


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Mean over the outputs z of ln(1 + exp(z)) - q z; formulas in ``Ops.sigmoid_xent``.

    For one output (binary) or k independent labels (multi-label); a sample is classified
    correctly when all its labels are. Targets q: (m, k), or (m,) where k = 1, in [0, 1].
    """

    classifies: ClassVar[bool] = True

    def __call__(
        self, ops: Ops, out: Array, target: Array, weight: Array | None, scale: Array | float
    ) -> LossResult:
        return ops.sigmoid_xent(out, like_output(ops, out, target), weight, scale)

    def check_target(self, n_out: int, y: Array) -> None:
        check_matrix(n_out, y)
        if y.size and not ((y >= 0) & (y <= 1)).all():
            raise DataError("targets of binary cross-entropy must lie between 0 and 1")


class RegressionLoss(ABC):
    """A loss of the residual r = out - target alone: the mean over the k outputs of l(r).

    dout = scale w_i l'(r) / k for sample i. Targets: (m, k), or (m,) where k = 1.
    """

    classifies: ClassVar[bool] = False

    @abstractmethod
    def of_residual(self, xp: Namespace, r: Array) -> tuple[Array, Array]:
        """l(r) and l'(r) for each residual."""

    def __call__(
        self, ops: Ops, out: Array, target: Array, weight: Array | None, scale: Array | float
    ) -> LossResult:
        loss, dloss = self.of_residual(ops.xp, out - like_output(ops, out, target))
        return reduce(ops, loss, dloss, weight, scale)

    def check_target(self, n_out: int, y: Array) -> None:
        check_matrix(n_out, y)


@dataclass(frozen=True)
class MeanSquaredError(RegressionLoss):
    """Mean over the outputs of l(r) = r^2; l'(r) = 2 r."""

    def of_residual(self, xp: Namespace, r: Array) -> tuple[Array, Array]:
        return r * r, 2.0 * r


@dataclass(frozen=True)
class MeanAbsoluteError(RegressionLoss):
    """Mean over the outputs of l(r) = |r|; l'(r) = sign(r)."""

    def of_residual(self, xp: Namespace, r: Array) -> tuple[Array, Array]:
        return xp.abs(r), xp.sign(r)


@dataclass(frozen=True)
class Huber(RegressionLoss):
    """Mean over the outputs of l(r) = r^2/2 where |r| <= delta, else delta (|r| - delta/2).

    l'(r) = r clipped to [-delta, delta]. (Huber 1964.)
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        check_positive("the delta of Huber", self.delta)

    def of_residual(self, xp: Namespace, r: Array) -> tuple[Array, Array]:
        near = xp.abs(r) <= self.delta
        far_loss = self.delta * (xp.abs(r) - 0.5 * self.delta)
        return (
            xp.where(near, 0.5 * r * r, far_loss),
            xp.where(near, r, self.delta * xp.sign(r)),
        )


def reduce(
    ops: Ops, loss: Array, dloss: Array, weight: Array | None, scale: Array | float
) -> LossResult:
    """From l and l' of each output (m, k): the mean over k, then the weighted sum over m."""
    k = loss.shape[1]
    per_sample = ops.xp.sum(loss, axis=1) / k
    dout = scale * dloss / k
    if weight is not None:
        per_sample = weight * per_sample
        dout = ops.xp.expand_dims(weight, axis=1) * dout
    return LossResult(ops.xp.sum(per_sample), None, dout)


def like_output(ops: Ops, out: Array, target: Array) -> Array:
    """``target`` with the shape and dtype of ``out``; (m,) becomes a column."""
    return ops.xp.astype(ops.xp.reshape(target, out.shape), out.dtype)


def check_labels(n_classes: int, y: Array) -> None:
    """Raise DataError unless all labels ``y`` (m,) lie in 0 .. n_classes - 1."""
    wrong = np.flatnonzero((y < 0) | (y >= n_classes))
    if wrong.size:
        i = int(wrong[0])
        raise DataError(
            f"label {y[i]} of sample {i} is outside 0 .. {n_classes - 1}: "
            "the network needs one output per class"
        )


def check_matrix(n_out: int, y: Array) -> None:
    """Raise DataError unless targets ``y`` are finite and (m, n_out), or (m,) for one output."""
    if y.ndim not in (1, 2) or (y.shape[1] if y.ndim == 2 else 1) != n_out:
        raise DataError(f"targets of shape {y.shape} do not fit a network with {n_out} outputs")
    if not np.isfinite(y).all():
        raise DataError("targets must be finite: there is a NaN or an infinity among them")


LOSSES: dict[str, Callable[..., Any]] = {
    "softmax_xent": SoftmaxCrossEntropy,
    "bce": BinaryCrossEntropy,
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
}
"""The losses that a model file and the command line can name."""
