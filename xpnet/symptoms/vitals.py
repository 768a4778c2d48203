"""The vitals of a network: what one forward and one backward pass over a probe batch show.

The passes run where the arrays live, with the plain primitives; their results go to the host once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import backends
from ..activations import activation
from ..layers import Dense
from ..losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from ..network import Network
from ..ops import Ops
from ..types import Array, Loss, NumpyArray

__all__ = ["LayerVitals", "Vitals", "vitals"]


SATURATED = 0.04
"""A sigmoid or tanh is saturated where its slope is below this share of its steepest: outside
0.01 .. 0.99, and beyond +-0.98. A gradient that passes it loses a factor of 25 and more."""

STEEPEST: dict[str, tuple[float, Callable[[NumpyArray], NumpyArray]]] = {
    "sigmoid": (0.25, lambda y: y * (1.0 - y)),
    "tanh": (1.0, lambda y: 1.0 - y * y),
}
"""The steepest slope, and the slope at the output y."""


class LayerVitals(NamedTuple):
    """One Dense layer on the probe batch.

    ``dead`` is the share of ReLU units that give 0 for every sample, ``saturated`` the share of
    outputs on a flat end of sigmoid or tanh, ``twins`` the share of units whose incoming weights
    and bias another unit has, too; ``paired`` of those whose weights moved as another's did, not
    counting units that did not move. ``delta`` is the root mean square of dLoss/dz, ``weight`` and
    ``gradient`` are the lengths of W and dLoss/dW, ``update`` is ||W - W before|| / ||W before||.
    ``paired`` and ``update`` are None where nothing was before.
    """

    name: str
    activation: str
    units: int
    dead: float
    saturated: float
    twins: float
    paired: float | None
    delta: float
    weight: float
    gradient: float
    update: float | None


class Vitals(NamedTuple):
    """A network on a probe batch of ``n`` samples after ``epoch`` epochs.

    ``predicted`` and ``labels`` (C,) count the classes of outputs and targets, where one class is
    predicted. ``spread`` is the deviation of the outputs over that of the targets, and
    ``residual`` the mean residual over its root mean square, for regression. ``frozen`` are the
    parameters that have not changed, ``not_finite`` the first thing that is NaN or infinite.
    """

    epoch: int
    n: int
    loss: float
    layers: tuple[LayerVitals, ...]
    predicted: NumpyArray | None
    labels: NumpyArray | None
    spread: float | None
    residual: float | None
    frozen: tuple[str, ...]
    not_finite: str | None


def vitals(
    network: Network,
    theta: Array,
    x: Array,
    y: Array,
    loss: Loss | None = None,
    previous_theta: Array | None = None,
    *,
    epoch: int = 0,
) -> Vitals:
    """The Vitals of ``network`` with the weights ``theta`` (n_theta,) on a probe batch.

    ``x`` (m, n_in) has theta's dtype and ``y`` is as the loss wants; the default loss is softmax
    cross-entropy. ``previous_theta`` are the weights an epoch before, anywhere. Dropout does
    nothing here. Raises UsageError where the arrays do not live in one place.
    """
    backend = backends.common(theta, x, y)
    loss = loss or SoftmaxCrossEntropy()
    with np.errstate(all="ignore"):  # what is not finite is a finding
        found = passes(network, backend.reference_ops(), theta, x, y, loss)
        host = {name: backend.to_numpy(a).astype(np.float64) for name, a in found.items()}
        before = None
        if previous_theta is not None:
            before = backends.of(previous_theta).to_numpy(previous_theta).astype(np.float64)
        return summarise(network, loss, host, before, epoch)


def passes(
    network: Network, ops: Ops, theta: Array, x: Array, y: Array, loss: Loss
) -> dict[str, Array]:
    """Everything one forward and backward pass computes, in the order it is computed in."""
    params, m = network.split(ops.xp, theta), x.shape[0]
    found = {"the input": x, "the targets": y, "theta": theta}
    inputs, saved = [x], []
    for i, (layer, p) in enumerate(zip(network.layers, params, strict=True)):
        out, memory = layer.forward(ops, p, inputs[-1], None)
        found[f"the output of layers.{i}"] = out
        inputs.append(out)
        saved.append(memory)
    result = loss(ops, inputs[-1], y, None, 1.0 / m)
    found["the loss"] = result.loss_sum / m
    dy = result.dout
    for i in reversed(range(len(network.layers))):
        layer, p = network.layers[i], params[i]
        if isinstance(layer, Dense):
            found[f"the gradient at layers.{i}"] = dy * slope(ops, layer, p, inputs[i])
        dy, grads = layer.backward(ops, p, saved[i], dy, True)
        for name, grad in grads.items():
            found[f"the gradient of layers.{i}.{name}"] = grad
    return found


def slope(ops: Ops, layer: Dense, p: dict[str, Array], x: Array) -> Array:
    """f'(z) of a Dense layer for the inputs ``x``."""
    f, z = activation(layer.activation), x @ p["W"] + p["b"]
    return f.derivative(ops.xp, z if f.derivative_of == "z" else f.function(ops.xp, z))


def summarise(
    network: Network, loss: Loss, host: dict[str, NumpyArray], before: NumpyArray | None, epoch: int
) -> Vitals:
    """The figures of what ``passes`` found, all on the host in float64."""
    theta = host.pop("theta")
    parts = {"the input": host.pop("the input"), "the targets": host.pop("the targets")}
    frozen = []
    for block in network.blocks:
        name = f"layers.{block.layer}.{block.name}"
        part = slice(block.offset, block.end)
        parts[f"the parameter {name}"] = theta[part]
        if before is not None and np.array_equal(theta[part], before[part]):
            frozen.append(name)
    bad = next((k for k, v in {**parts, **host}.items() if not np.isfinite(v).all()), None)
    params = network.split(np, theta)
    old = None if before is None else network.split(np, before)
    layers = tuple(
        layer_vitals(i, layer, params[i], None if old is None else old[i], host)
        for i, layer in enumerate(network.layers)
        if isinstance(layer, Dense)
    )
    out, y = host[f"the output of layers.{len(network.layers) - 1}"], parts["the targets"]
    predicted, labels = classes_of(loss, out, y)
    spread, residual = None, None
    if not loss.classifies:
        r = out - y.reshape(out.shape)
        spread = ratio(deviation(out), deviation(y.reshape(out.shape)))
        residual = ratio(abs(float(r.mean())), rms(r))
    return Vitals(
        epoch, len(out), float(host["the loss"]), layers, predicted, labels, spread, residual,
        tuple(frozen), bad,
    )  # fmt: skip


def layer_vitals(
    i: int,
    layer: Dense,
    p: dict[str, NumpyArray],
    old: dict[str, NumpyArray] | None,
    host: dict[str, NumpyArray],
) -> LayerVitals:
    y, W, f = host[f"the output of layers.{i}"], p["W"], activation(layer.activation).name
    saturated, moved = 0.0, None if old is None else W - old["W"]
    if f in STEEPEST:
        steepest, slope_at = STEEPEST[f]
        saturated = float((slope_at(y) < SATURATED * steepest).mean())
    return LayerVitals(
        name=f"layers.{i}",
        activation=f,
        units=layer.n_out,
        dead=float((y <= 0).all(axis=0).mean()) if f == "relu" else 0.0,
        saturated=saturated,
        twins=share_of_twins(W, p["b"]),
        paired=None if moved is None else share_of_twins(moved[:, moved.any(axis=0)], None),
        delta=rms(host[f"the gradient at layers.{i}"]),
        weight=norm(W),
        gradient=norm(host[f"the gradient of layers.{i}.W"]),
        update=None if old is None or moved is None else ratio(norm(moved), norm(old["W"])),
    )  # fmt: skip


def share_of_twins(W: NumpyArray, b: NumpyArray | None) -> float:
    """The share of units whose weights (a column of W) and bias another one has, to 7 digits.

    Units of zeros count as well, for they are as equal as units can be.
    """
    columns = W if b is None else np.vstack([W, b])
    largest = np.abs(columns).max(initial=0.0)
    if columns.shape[1] < 2 or not np.isfinite(largest):
        return 0.0
    rounded = np.round(columns / (largest or 1.0), 7) + 0.0  # -0.0 becomes 0.0
    units = Counter(column.tobytes() for column in np.ascontiguousarray(rounded.T))
    return sum(n for n in units.values() if n > 1) / sum(units.values())


def classes_of(
    loss: Loss, out: NumpyArray, y: NumpyArray
) -> tuple[NumpyArray | None, NumpyArray | None]:
    """How often each class is predicted, and how often it is right; None without classes."""
    if isinstance(loss, SoftmaxCrossEntropy):
        n, predicted = out.shape[1], out.argmax(axis=1)
        labels = y if y.ndim == 1 else y.argmax(axis=1)
    elif isinstance(loss, BinaryCrossEntropy) and out.shape[1] == 1:
        n, predicted, labels = 2, out[:, 0] > 0, y.ravel() > 0.5
    else:
        return None, None
    return tuple(np.bincount(c.astype(np.int64), minlength=n) for c in (predicted, labels))  # type: ignore[return-value]


def norm(a: NumpyArray) -> float:
    """The root of the sum of squares."""
    return float(np.linalg.norm(a))


def rms(a: NumpyArray) -> float:
    """The root mean square."""
    return math.sqrt(float((a * a).mean()))


def deviation(a: NumpyArray) -> float:
    """The root mean square distance of the rows (m, k) from their mean."""
    return rms(a - a.mean(axis=0))


def ratio(a: float, b: float) -> float:
    """a / b, where 0 / 0 is 0."""
    return a / b if b else (0.0 if a == 0 else math.inf)
