"""What somebody declares about a network: its data, weights, activations and loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..activations import Activation, activation
from ..errors import DataError, UsageError, check_choice, check_not_negative, check_positive
from ..types import Array

__all__ = ["LOSSES", "OUTPUTS", "REDUCTIONS", "Problem"]

LOSSES = ("softmax-xent", "sigmoid-bce", "mse")
OUTPUTS = ("identity", "sigmoid", "softmax", "tanh")
REDUCTIONS = ("mean", "sum", "half-mean", "half-sum")


@dataclass(frozen=True)
class Problem:
    """A batch, a network of dense layers and a declared loss, all in float64 on the host.

    The declared loss is C sum_i sum_c loss(O_ic, Y_ic) + l2/2 sum of the squared weights. With
    ``scale`` C is given; with ``reduction`` it is 1 (sum), 1/m (mean over the samples) or
    1/(m k) (over the outputs as well), or half of that; with neither any C > 0 will do.

    ``x`` (m, n_in); ``y`` labels (m,) or targets (m, k); ``W`` matrices (n_in, n_out), one a
    layer; ``b`` vectors (n_out,) or None, or None for no biases at all. ``activation`` is that
    of the hidden layers, or one for each. ``output`` stands before the loss; None is what the
    loss is usually written for. Raises DataError for arrays that fit no network.
    """

    x: Array
    Y: Array
    W: tuple[Array, ...]
    b: tuple[Array | None, ...]
    hidden: tuple[Activation, ...]
    loss: str
    output: str
    scales: tuple[float, ...]
    l2: float
    eps: float

    def __init__(
        self,
        x: Array,
        y: Array,
        W: Sequence[Array],
        b: Sequence[Array | None] | None = None,
        *,
        activation: str | Activation | Sequence[str | Activation] = "relu",
        loss: str = "softmax-xent",
        output: str | None = None,
        reduction: str | None = None,
        scale: float | None = None,
        l2: float = 0.0,
    ) -> None:
        check_choice("loss", loss, LOSSES)
        if not len(W):
            raise DataError("there is no weight matrix: a network needs W1")
        biases = [None] * len(W) if b is None else list(b)
        given = [np.asarray(a) for a in (x, *W, *biases) if a is not None]
        matrices = tuple(as_matrix(f"W{l}", w) for l, w in enumerate(W, 1))
        inputs = as_matrix("x", x)
        check_chain(inputs, matrices)
        targets = as_targets(np.asarray(y), len(inputs), matrices[-1].shape[1], loss)
        vectors = tuple(
            None if v is None else as_vector(f"b{l}", v, matrices[l - 1].shape[1])
            for l, v in enumerate(biases, 1)
        )
        if len(vectors) != len(matrices):
            raise DataError(f"{len(matrices)} weight matrices do not go with {len(vectors)} biases")
        own = output_before(loss, output)
        if own == "softmax" and matrices[-1].shape[1] == 1:
            raise DataError(
                "softmax of one output is always 1 and learns nothing: for one output declare "
                "the loss sigmoid-bce or mse"
            )
        set_field = object.__setattr__
        set_field(self, "x", inputs)
        set_field(self, "Y", targets)
        set_field(self, "W", matrices)
        set_field(self, "b", vectors)
        set_field(self, "hidden", hidden_activations(activation, len(matrices) - 1))
        set_field(self, "loss", loss)
        set_field(self, "output", own)
        set_field(self, "scales", declared_scales(loss, reduction, scale, *targets.shape))
        set_field(self, "l2", check_not_negative("the L2 factor", l2))
        set_field(self, "eps", coarsest(given))

    @property
    def m(self) -> int:
        """Number of samples."""
        return len(self.x)

    @property
    def n_layers(self) -> int:
        return len(self.W)

    @property
    def n_outputs(self) -> int:
        return int(self.Y.shape[1])


def coarsest(arrays: Sequence[Array]) -> float:
    """The largest machine epsilon among floating arrays, or float64's."""
    return max([epsilon(a) for a in arrays if a.dtype.kind == "f"], default=epsilon(np.zeros(0)))


def epsilon(a: Array) -> float:
    """The machine epsilon of an array: of the dtype its numbers have, or seem to come from.

    Numbers in float64 that float32 can hold, and that are not whole, were computed in float32.
    """
    with np.errstate(over="ignore"):
        rounded = a.astype(np.float32)
    if a.dtype == np.float64 and np.array_equal(a, rounded) and (a != np.floor(a)).any():
        return float(np.finfo(np.float32).eps)
    return float(np.finfo(a.dtype).eps)


def as_numbers(name: str, a: Any) -> Array:
    """``a`` in float64; DataError unless it holds finite numbers."""
    array = np.asarray(a)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must hold real numbers, not {array.dtype}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        overflow = "; often an exp overflowed: subtract each row's maximum before softmax"
        raise DataError(
            f"{name} holds {array[place]} at {list(place)}: only finite numbers will do"
            f"{overflow if name.startswith('d') else ''}"
        )
    return array


def as_matrix(name: str, a: Any) -> Array:
    array = as_numbers(name, a)
    if array.ndim != 2 or not array.size:
        raise DataError(
            f"{name} must be a matrix with rows and columns, not of shape {array.shape}"
        )
    return array


def as_vector(name: str, a: Any, n: int) -> Array:
    """``a``, (n,) or (1, n) or (n, 1), as (n,)."""
    array = as_numbers(name, a)
    if array.size != n or max(array.shape, default=1) != n:
        raise DataError(
            f"{name} of shape {array.shape} does not fit its layer of {n} units: it must be ({n},)"
        )
    return array.reshape(-1)


def check_chain(x: Array, W: Sequence[Array]) -> None:
    """Raise DataError unless x W1 W2 ... can be multiplied."""
    width, before = x.shape[1], f"x {x.shape}"
    for l, w in enumerate(W, 1):
        if w.shape[0] != width:
            raise DataError(
                f"{before} and W{l} {w.shape} do not fit together: W{l} needs {width} rows, "
                "one for each input of its layer (layout columns: as many columns)"
            )
        width, before = w.shape[1], f"W{l} {w.shape}"


def as_targets(y: Array, m: int, k: int, loss: str) -> Array:
    """Targets (m, k) in float64; labels (m,) become one-hot rows."""
    if len(y) != m if y.ndim else True:
        raise DataError(f"y of shape {y.shape} does not go with {m} samples")
    labels = y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1 and k > 1)
    if labels and k > 1:
        classes = as_numbers("y", y).reshape(-1)
        wrong = np.flatnonzero((classes != np.floor(classes)) | (classes < 0) | (classes >= k))
        if wrong.size:
            i = int(wrong[0])
            from_1 = "; subtract 1 if yours start at 1" if classes.min() >= 1 else ""
            raise DataError(
                f"y: label {classes[i]:g} of sample {i} is not one of 0 .. {k - 1}: "
                f"the last layer has {k} outputs{from_1}"
            )
        return np.eye(k)[classes.astype(int)]
    targets = as_numbers("y", y).reshape(m, -1)
    if targets.shape[1] != k:
        raise DataError(f"y has {targets.shape[1]} columns, the last layer {k} outputs")
    if loss != "mse" and not ((targets >= 0) & (targets <= 1)).all():
        raise DataError(f"y: targets of {loss} must lie between 0 and 1: is the loss mse?")
    return targets


def hidden_activations(
    given: str | Activation | Sequence[str | Activation], n: int
) -> tuple[Activation, ...]:
    """The activations of ``n`` hidden layers from one, or from one for each."""
    names = [given] if isinstance(given, str | Activation) else list(given)
    if len(names) == 1:
        names *= n
    if len(names) != n:
        raise UsageError(
            f"{len(names)} activations do not go with {n} hidden layers: "
            "give one for all, or one for each"
        )
    return tuple(activation(name) for name in names)


def output_before(loss: str, output: str | None) -> str:
    """The function between the last pre-activation and the loss.

    Cross-entropies bring their own: the identity before them is the same as nothing said.
    """
    own = {"softmax-xent": "softmax", "sigmoid-bce": "sigmoid", "mse": "identity"}[loss]
    if output is None:
        return own
    check_choice("output", output, OUTPUTS)
    return own if output == "identity" else output


def declared_scales(
    loss: str, reduction: str | None, scale: float | None, m: int, k: int
) -> tuple[float, ...]:
    """The constants C that the declaration allows; none for "any"."""
    if reduction is not None and scale is not None:
        raise UsageError("reduction and scale say the same thing: give one of them")
    if scale is not None:
        return (check_positive("the scale", scale),)
    if reduction is None:
        return ()
    check_choice("reduction", reduction, REDUCTIONS)
    half = 0.5 if reduction.startswith("half") else 1.0
    if reduction.endswith("sum"):
        return (half,)
    if loss == "softmax-xent" or k == 1:
        return (half / m,)
    return (half / (m * k), half / m)
