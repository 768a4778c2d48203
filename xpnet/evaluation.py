"""What a trained network says: predictions, its loss and accuracy on a dataset, gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from . import backends
from .backends import Backend
from .data import Dataset, check_dataset, number_or_array
from .errors import DataError
from .host_data import HostDataset, placed
from .losses import SoftmaxCrossEntropy
from .network import Network, check_theta
from .ops import Ops
from .types import Array, Loss, NumpyArray

__all__ = [
    "Evaluation",
    "Say",
    "batch_bytes",
    "evaluate",
    "evaluate_on_device",
    "gradients",
    "predict",
    "predictions",
]

Say: TypeAlias = Callable[[str], object]

BATCH = 1000

ARRAYS_A_LAYER = 8
"""Each as large as its output: results, gradients, and what an activation needs on the way."""

SPARE_BYTES = 2**28
"""For compiled kernels, the library's workspace, and gaps between blocks of memory."""


class Evaluation(NamedTuple):
    """Weighted mean loss over ``n`` samples, and the share that is classified correctly.

    ``accuracy`` counts each sample once, whatever its weight; it is None for regression.
    """

    loss: float
    accuracy: float | None
    n: int


def evaluate(
    network: Network,
    theta: Array,
    dataset: Dataset,
    loss: Loss | None = None,
    *,
    say: Say = lambda _: None,
) -> Evaluation:
    """Loss and accuracy on a dataset; it runs where ``theta`` lives.

    The default loss is softmax cross-entropy. ``say`` is given a line where the samples stay on
    the host because the device's memory is too small. Raises DataError where the data do not fit
    the network or the loss.
    """
    loss = loss or SoftmaxCrossEntropy()
    backend = backends.of(theta)
    with backend.explaining():
        data = within_reach(backend, network, theta, dataset, loss, "the samples to evaluate", say)
        return evaluate_on_device(backend, backend.ops(), network, theta, data, loss)


def within_reach(
    backend: Backend,
    network: Network,
    theta: Array,
    dataset: Dataset,
    loss: Loss,
    what: str,
    say: Say,
) -> Dataset:
    """``dataset`` on the device, or ready to be sent there in parts; ``say`` is then told why."""
    check_theta(network, theta)
    check_dataset("what is evaluated", dataset)
    dtype = str(theta.dtype).rpartition(".")[2]
    reserve = batch_bytes(network, BATCH, dtype)
    data = placed(dataset, network.n_in, network.n_out, loss, backend, dtype, reserve)
    if isinstance(data, HostDataset):
        say(data.reason(what))
    return data


def evaluate_on_device(
    backend: Backend, ops: Ops, network: Network, theta: Array, dataset: Dataset, loss: Loss
) -> Evaluation:
    """``evaluate`` for a dataset that is placed already: see ``placed``."""
    loss_sum, n_correct = 0.0, 0
    weight_sum: Array | float = float(dataset.n) if dataset.weight is None else 0.0
    for out, part, index in outputs(ops, network, theta, dataset):
        weight = None
        if part.weight is not None:
            weight = ops.take(part.weight, index)
            weight_sum = weight_sum + ops.xp.sum(weight)
        result = loss(ops, out, ops.take(part.y, index), weight, 1.0)
        loss_sum = loss_sum + result.loss_sum
        if result.n_correct is not None:
            n_correct = n_correct + result.n_correct
    if dataset.weight is not None:
        weight_sum = backend.to_numpy(weight_sum).item()  # sync: as below
    mean = backend.to_numpy(loss_sum).item() / weight_sum  # sync: the figures are wanted
    if not loss.classifies:
        return Evaluation(mean, None, dataset.n)
    accuracy = backend.to_numpy(n_correct).item() / dataset.n  # sync: as above
    return Evaluation(mean, accuracy, dataset.n)


def outputs(
    ops: Ops, network: Network, theta: Array, dataset: Dataset
) -> Iterator[tuple[Array, Dataset, Array]]:
    """For each batch of a placed dataset the network's output, and of which dataset and rows."""
    for start in range(0, dataset.n, BATCH):
        m = min(BATCH, dataset.n - start)
        part, first = dataset.part(start, m)
        index = ops.rows(first, m)
        x = ops.gather(part.X, index, part.shift, part.scale, theta.dtype)
        yield network.forward(ops, theta, x)[0], part, index


def batch_bytes(network: Network, m: int, dtype: str) -> int:
    """About the memory that a step on ``m`` samples needs beside the samples and the weights."""
    return ARRAYS_A_LAYER * sum(network.widths) * m * np.dtype(dtype).itemsize + SPARE_BYTES


def predict(
    network: Network,
    theta: Array,
    X: Array,
    scale: Array | float = 1.0,
    shift: Array | None = None,
) -> Array:
    """The network's output (m, n_out) for (X - shift) * scale, where theta lives and of its dtype.

    These are logits if the network was trained with a cross-entropy. ``X`` (m, n_in) is of any
    real dtype; ``scale`` and ``shift`` are as in ``Dataset``. Raises UsageError where X and theta
    live in different places or theta does not fit the network, DataError where X does not.
    """
    backend = backends.common(theta, X)
    check_fits(network, theta, X)
    ops, scale = backend.ops(), number_or_array(scale)
    blocks = []
    with backend.explaining():
        for start in range(0, X.shape[0], BATCH):
            index = ops.rows(start, min(BATCH, X.shape[0] - start))
            x = ops.gather(X, index, shift, scale, theta.dtype)
            blocks.append(network.forward(ops, theta, x)[0])
        return backend.xp.concat(blocks, axis=0)


def predictions(
    network: Network,
    theta: Array,
    X: NumpyArray,
    scale: NumpyArray | float = 1.0,
    shift: NumpyArray | None = None,
    *,
    say: Say = lambda _: None,
) -> Iterator[NumpyArray]:
    """``predict`` for samples on the host, memory-mapped or not: its results (m, n_out) in blocks.

    The blocks are NumPy arrays; it runs where ``theta`` lives. ``say`` is as in ``evaluate``.
    Raises DataError where the samples do not fit the network.
    """
    backend = backends.of(theta)
    dataset = Dataset(X, np.zeros(len(X), np.uint8), scale=scale, shift=shift)
    loss = SoftmaxCrossEntropy()  # which takes these labels, whatever the network has learned
    with backend.explaining():
        data = within_reach(backend, network, theta, dataset, loss, "the samples to predict", say)
        for out, _part, _index in outputs(backend.ops(), network, theta, data):
            yield backend.to_numpy(out)  # sync: the results are wanted


def gradients(
    network: Network,
    theta: Array,
    x: Array,
    target: Array,
    loss: Loss | None = None,
    weight: Array | None = None,
) -> tuple[Array, Array, Array]:
    """The mean loss (0-d) of a batch, dLoss/dtheta (n_theta,) and dLoss/dx (m, n_in).

    ``x`` (m, n_in) has theta's dtype, ``weight`` (m,) makes it a weighted mean. Raises UsageError
    where the arrays live in different places or theta does not fit the network, DataError where
    the others do not; the values of targets on a device are not looked at.
    """
    ops = backends.common(theta, x, target, weight).ops()
    loss = loss or SoftmaxCrossEntropy()
    check_fits(network, theta, x)
    for name, array in (("target", target), ("weight", weight)):
        if array is not None and tuple(array.shape[:1]) != (x.shape[0],):
            raise DataError(f"{name} has shape {tuple(array.shape)}, but x {x.shape[0]} samples")
    if isinstance(target, np.ndarray):  # a label too high would be one of the next sample
        loss.check_target(network.n_out, target)
    if len(target.shape) > 1:
        target = ops.xp.astype(target, theta.dtype, copy=False)
    result, g, dx = network.loss_and_grad(ops, theta, x, target, loss, weight=weight, need_dx=True)
    total = x.shape[0] if weight is None else ops.xp.sum(weight)
    return result.loss_sum / total, g, dx


def check_fits(network: Network, theta: Array, X: Array) -> None:
    """Raise UsageError or DataError unless ``theta`` and ``X`` (m, n_in) are for ``network``."""
    check_theta(network, theta)
    if len(X.shape) != 2 or X.shape[0] == 0 or X.shape[1] != network.n_in:
        raise DataError(
            f"X must be (m, {network.n_in}) with m > 0 for this network, not {tuple(X.shape)}"
        )
