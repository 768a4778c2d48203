"""Gradients against central differences, block by block: is this backpropagation right?

Differences are taken on NumPy in float64 through the plain primitives; the gradient that is
checked may be of any backend and dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import backends
from ..backends import Backend
from ..errors import DataError, check_count
from ..losses import SoftmaxCrossEntropy
from ..network import Network
from ..types import Array, Loss, Noise
from .slope import slope

__all__ = ["BlockCheck", "gradcheck"]

TOLERANCE = {
    "float64": 1e-6,  # differences in float64 are good to about 1e-8 of a typical gradient
    "float32": 2e-3,  # sums of float32 are good to 1e-6 of their largest terms, not of themselves
}


class BlockCheck(NamedTuple):
    """What was found of one block: a parameter such as ``layers.0.W``, or the input ``x``.

    ``error`` is the worst of (|analytic - numeric| - u) / max(|analytic|, |numeric|, typical) over
    ``n_checked`` directions and coordinates, where u is how far the difference itself may be off
    (see ``slope``) and typical is ||g|| / sqrt(n) of the block. ``where`` names the worst of them.
    ``n_kinks`` were passed over: the loss has two slopes there, and either is right.
    """

    block: str
    n_checked: int
    n_kinks: int
    error: float
    where: str
    passed: bool


class Probe(NamedTuple):
    """A direction (of unit length) in which the slope is taken, and its name."""

    name: str
    direction: Array


def gradcheck(
    network: Network,
    theta: Array,
    x: Array,
    target: Array,
    loss: Loss | None = None,
    *,
    weight: Array | None = None,
    noise: Noise | None = None,
    backend: Backend | None = None,
    dtype: str = "float64",
    n_directions: int = 4,
    n_coordinates: int = 12,
    seed: int = 0,
) -> list[BlockCheck]:
    """Compare dLoss/dtheta and dLoss/dx of a batch with central differences, for each block.

    All arrays are NumPy's: ``theta`` (n_theta,), ``x`` (m, n_in), ``target`` and ``weight`` as the
    loss wants. The gradient is computed on ``backend`` in ``dtype``, the differences on NumPy in
    float64. In each block ``n_directions`` random directions and ``n_coordinates`` coordinates,
    half of them those with the largest gradient, are tried. Raises DataError where the loss is
    not finite.
    """
    check_count("the number of directions", n_directions)
    check_count("the number of coordinates", n_coordinates)
    loss = loss or SoftmaxCrossEntropy()
    theta, x = theta.astype(np.float64), x.astype(np.float64)
    total = float(len(x)) if weight is None else float(weight.sum())
    reference = backends.get("numpy").reference_ops()

    def value(theta: Array, x: Array) -> float:
        out, _ = network.forward(reference, theta, x, noise)
        return float(loss(reference, out, target, weight, 1.0).loss_sum) / total

    if not np.isfinite(value(theta, x)):
        raise DataError("the loss is not finite: there is no gradient to check")
    g, dx = gradient_on(
        backend or backends.get("numpy"), dtype, network, theta, x, target, loss, weight, noise
    )
    rng = np.random.default_rng(seed)
    checks = []
    for block in network.blocks:
        part = slice(block.offset, block.end)

        def along(v: Array, s: float, part: slice = part) -> float:
            moved = theta.copy()
            moved[part] += s * v
            return value(moved, x)

        probes = choose_probes(g[part], n_directions, n_coordinates, rng)
        checks.append(
            check_block(f"layers.{block.layer}.{block.name}", along, g[part], probes, dtype)
        )
    probes = choose_probes(dx.ravel(), n_directions, n_coordinates, rng)
    along_x = lambda v, s: value(theta, x + s * v.reshape(x.shape))  # noqa: E731
    return [*checks, check_block("x", along_x, dx.ravel(), probes, dtype)]


def gradient_on(
    backend: Backend,
    dtype: str,
    network: Network,
    theta: Array,
    x: Array,
    target: Array,
    loss: Loss,
    weight: Array | None,
    noise: Noise | None,
) -> tuple[Array, Array]:
    """dLoss/dtheta and dLoss/dx as the backend computes them in ``dtype``, on the host."""
    backend.check_dtype(dtype)

    def place(array: Array) -> Array:
        kind = dtype if array.dtype.kind == "f" else np.int32
        return backend.asarray(np.asarray(array, kind))

    if noise is not None:
        noise = noise._replace(t=place(noise.t), rows=place(noise.rows))
    _, g, dx = network.loss_and_grad(
        backend.ops(),
        place(theta),
        place(x),
        place(target),
        loss,
        weight=None if weight is None else place(weight),
        noise=noise,
        need_dx=True,
    )
    return backend.to_numpy(g).astype(np.float64), backend.to_numpy(dx).astype(np.float64)


def choose_probes(
    g: Array, n_directions: int, n_coordinates: int, rng: np.random.Generator
) -> list[Probe]:
    """Random directions, coordinates with the largest gradient, and random coordinates."""
    probes = []
    for i in range(n_directions):
        v = rng.normal(size=g.size)
        probes.append(Probe(f"direction {i}", v / np.linalg.norm(v)))
    largest = np.argsort(-np.abs(g))[: n_coordinates // 2]
    others = rng.permutation(g.size)[: n_coordinates - len(largest)]
    for i in dict.fromkeys([*largest.tolist(), *others.tolist()]):
        v = np.zeros(g.size)
        v[i] = 1.0
        probes.append(Probe(f"element {i}", v))
    return probes


def check_block(
    name: str, along: Callable[[Array, float], float], g: Array, probes: list[Probe], dtype: str
) -> BlockCheck:
    """Compare g . v with the slope of the loss along v, for every probe v."""
    typical = float(np.linalg.norm(g) / np.sqrt(g.size))
    worst, where, n_kinks = 0.0, "", 0
    for probe in probes:
        analytic = float(g @ probe.direction)
        numeric = slope(lambda s, v=probe.direction: along(v, s))  # type: ignore[misc]
        if numeric.kink:
            n_kinks += 1
            continue
        size = max(abs(analytic), abs(numeric.value), typical, 1e-12)
        error = max(0.0, abs(analytic - numeric.value) - numeric.error) / size
        if not error <= worst:
            worst, where = error, probe.name
    return BlockCheck(name, len(probes) - n_kinks, n_kinks, worst, where, worst <= TOLERANCE[dtype])
