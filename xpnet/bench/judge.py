"""The judge: plain float64 NumPy, sharing no code with xpnet or a peer, that says who did the work.

Rounding alone drives equal float32 trainings apart. So each contestant first trains a few steps of
the workload, two short epochs, and must come out where float64 does: for every W and b the
distance from there, relative to that from the start, is at most ``SHORT``. That shows which
samples form a batch, whether the last, smaller one counts, and every part of the update.
Seen: 3e-6; with AdamW, which makes large steps of small gradients, up to 5e-3, and up to 4e-2
for libraries that have no decoupled decay. The planted faults begin at 1e-1.

After epochs the losses of equal trainings lie up to a sixth apart. They must agree
with the others' within ``LONG``, which shows who later stops learning.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from ..types import Array
from .workloads import Workload

__all__ = [
    "EPOCHS",
    "LONG",
    "SHORT",
    "deviation",
    "mean_loss",
    "short",
    "true_parameters",
    "truth",
]

SHORT = 0.06
LONG = 0.3

Parameters = Sequence[tuple[Array, Array]]

MOST_SAMPLES = 2048
MOST_FLOPS = 20 * 10**9
EPOCHS = 2
"""Of the short training: the second one takes the samples in another order."""


def short(workload: Workload) -> Workload:
    """The first steps: 10 to 100 batches of at most 128 and a smaller one; a full batch stays one.

    A large network takes fewer.
    """
    if workload.batch_size >= workload.n:
        return dataclasses.replace(workload, n=min(workload.n, 1024))
    n = min(1344, max(60, MOST_FLOPS // (6 * EPOCHS * workload.network().n_parameters)))
    m = min(workload.batch_size, 128, 2 * n // 5)
    n = min(n, max(10, min(100, 1280 // m)) * m + max(1, m // 2), workload.n)
    return dataclasses.replace(workload, batch_size=m, n=n)


def deviation(
    workload: Workload, parameters: Parameters, true: Parameters, initial: Parameters | None = None
) -> float:
    """How far the worst W or b is from the true one: max ||W - true|| / ||true - initial||.

    ``initial`` are the workload's own, where they are at hand already.
    """
    everything = zip(parameters, true, initial or workload.initial(), strict=True)
    return max(
        float(np.linalg.norm(found.astype(np.float64) - right) / np.linalg.norm(right - start))
        for layer in everything
        for found, right, start in zip(*layer, strict=True)
    )


@functools.lru_cache(maxsize=1)  # a workload is measured in each precision, one after the other
def truth(workload: Workload) -> tuple[Parameters, Parameters]:
    """``true_parameters``, and those before the first step; for large networks it takes seconds."""
    return true_parameters(workload), workload.initial()


def true_parameters(workload: Workload) -> Parameters:
    """W and b of each layer after ``EPOCHS`` epochs of the workload in float64."""
    params = [A.astype(np.float64) for layer in workload.initial() for A in layer]
    memory = [(np.zeros_like(A), np.zeros_like(A)) for A in params]
    data = workload.dataset()
    X = data.X.astype(np.float64) * data.scale
    t = 0
    for k in range(EPOCHS * workload.passes):
        order = workload.order(k)
        for start in range(0, workload.n, workload.batch_size):
            index = order[start : start + workload.batch_size]
            grads = gradients(workload, params, X[index], data.y[index])
            t += 1
            for A, g, (m, v) in zip(params, grads, memory, strict=True):
                A += update(workload, A, g, m, v, t)
    return list(zip(params[::2], params[1::2], strict=True))


def update(workload: Workload, A: Array, g: Array, m: Array, v: Array, t: int) -> Array:
    """What is added to W or b; ``m`` and ``v`` are what the optimizer remembers."""
    lr = workload.lr
    if workload.optimizer == "adamw":
        m += 0.1 * (g - m)
        v += 0.001 * (g * g - v)
        decay = 0.01 * A if A.ndim == 2 else 0.0
        # the weights decay first, as in Loshchilov and Hutter's code; to this order it is the same
        return -lr * (decay + m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8))
    m *= 0.9 if workload.optimizer == "momentum" else 0.0
    m += g
    return -lr * m


def gradients(workload: Workload, params: Sequence[Array], x: Array, y: Array) -> list[Array]:
    """dW and db of each layer for the mean loss of a batch."""
    a = outputs(workload, params, x)
    z = a[-1]
    if workload.loss == "bce":
        dz = 1 / (1 + np.exp(-z)) - y
    else:
        p = np.exp(z - z.max(axis=1, keepdims=True))
        dz = p / p.sum(axis=1, keepdims=True) - np.eye(z.shape[1])[y]
    dz = dz / len(x)
    grads: list[Array] = []
    for i in reversed(range(len(params) // 2)):
        grads = [a[i].T @ dz, dz.sum(axis=0), *grads]
        slope = a[i] > 0 if workload.activation == "relu" else a[i] * (1 - a[i])
        dz = dz @ params[2 * i].T * slope
    return grads


def outputs(workload: Workload, params: Sequence[Array], x: Array) -> list[Array]:
    """The input, the output of each hidden layer, and the logits."""
    a = [x]
    for i in range(0, len(params), 2):
        z = a[-1] @ params[i] + params[i + 1]
        if i == len(params) - 2:
            return [*a, z]
        a.append(np.maximum(z, 0) if workload.activation == "relu" else 1 / (1 + np.exp(-z)))
    return a


def mean_loss(workload: Workload, parameters: Parameters) -> float:
    """The mean loss on the first 2048 training samples, whoever trained W and b of each layer."""
    data = workload.dataset()
    x = data.X[:MOST_SAMPLES].astype(np.float64) * data.scale
    y = data.y[:MOST_SAMPLES]
    with np.errstate(all="ignore"):
        z = outputs(workload, [A.astype(np.float64) for pair in parameters for A in pair], x)[-1]
        if workload.loss == "bce":
            return float((np.logaddexp(0, z) - y * z).mean())
        z = z - z.max(axis=1, keepdims=True)
        return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), y]).mean())
