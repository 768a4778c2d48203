"""The limit of a workload: the matrix products alone, and the bytes that a step must move."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..types import Array
from .workloads import Workload

__all__ = [
    "FLOAT",
    "LIMIT",
    "Bytes",
    "Products",
    "bandwidth",
    "bytes_per_epoch",
    "n_parameters",
    "products",
    "working_set",
]

LIMIT = "products"
"""The name of the limit among the contestants."""

FLOAT = 4  # bytes of a float32


class Product(NamedTuple):
    """One matrix product of a step: C (m, n) = A (m, k) @ B (k, n), written into ``C``."""

    what: str
    A: Array
    B: Array
    C: Array

    @property
    def flops(self) -> int:
        m, k = self.A.shape
        return int(2 * m * k * self.B.shape[1])

    def call(self) -> Callable[[], Any]:
        """The product as NumPy computes it fastest: for one row, no matrix product at all.

        ``dot`` and ``matmul`` end in the same BLAS, but ``dot`` gets there sooner.
        """
        A, B, C = self.A, self.B, self.C
        if A.shape[0] == 1:  # x W and dz W.T
            return lambda: np.dot(A[0], B, out=C[0])
        if A.shape[1] == 1:  # x.T dz
            return lambda: np.multiply(A, B, out=C)
        return lambda: np.dot(A, B, out=C)


def products(widths: tuple[int, ...], m: int) -> Iterator[Product]:
    """The products of one training step on a batch of ``m``, in the order of backpropagation.

    For each layer y = x W; then, from the last to the first, dW = x.T dz and dx = dz W.T, the
    latter not for the first layer. Memory is that of a step: each array exists once.
    """
    rng = np.random.default_rng(0)

    def filled(*shape: int) -> Array:  # around 1, so that no product meets a denormal number
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)

    x = [filled(m, width) for width in widths]
    dx = [filled(m, width) for width in widths]
    W = [filled(*shape) / np.float32(shape[0]) for shape in layers(widths)]
    dW = [np.empty_like(weights) for weights in W]
    for i in range(len(W)):
        yield Product(f"y{i + 1}", x[i], W[i], x[i + 1])
    for i in reversed(range(len(W))):
        yield Product(f"dW{i + 1}", x[i].T, dx[i + 1], dW[i])
        if i:
            yield Product(f"dx{i + 1}", dx[i + 1], W[i].T, dx[i])


def layers(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    """The shape (n_in, n_out) of each layer's weights."""
    return list(itertools.pairwise(widths))


def n_parameters(widths: tuple[int, ...]) -> int:
    """Weights and biases of all layers."""
    return sum(n_in * n_out + n_out for n_in, n_out in layers(widths))


class Products:
    """The matrix products of an epoch and nothing else, by NumPy's BLAS.

    Only a training with other products, or without those of pixels that are 0, can take less time.
    """

    def __init__(self, workload: Workload) -> None:
        sizes = workload.batches * workload.passes
        calls = {m: [p.call() for p in products(workload.widths, m)] for m in set(sizes)}
        self.steps = [calls[m] for m in sizes]
        for step in calls.values():
            for call in step:
                call()

    def epoch(self) -> None:
        for step in self.steps:
            for call in step:
                call()

    def parameters(self) -> list[tuple[Array, Array]]:
        return []


class Bytes(NamedTuple):
    """Bytes that one epoch reads and writes, by what they are."""

    weights: int
    gradient: int
    slots: int
    data: int
    activations: int

    @property
    def total(self) -> int:
        return sum(self)


def bytes_per_epoch(workload: Workload) -> Bytes:
    """What an epoch must move if every product and every update moves its arrays just once.

    With P parameters, P1 of them in the first layer, S slots and a batch of m, in float32, a step
    moves 4 bytes for each of::

        weights      4 P - P1     read forward, read for dx, read and written by the update
        gradient     2 P          written, read
        slots        2 S P        read, written
        data         3 m n_in     the batch written, read for y and for dW; and its samples read
        activations  7 m hidden   y written, read by the next layer, for dW and for f'; dz written,
                                  read for dW and for dx
                     5 m n_out    logits written and read; dz written, read for dW and for dx
    """
    widths, data = workload.widths, workload.dataset()
    P, P1 = n_parameters(widths), n_parameters(widths[:2])
    steps = len(workload.batches) * workload.passes
    sample = data.X[:1].nbytes + data.y[:1].nbytes
    return Bytes(
        weights=steps * FLOAT * (4 * P - P1),
        gradient=steps * FLOAT * 2 * P,
        slots=steps * FLOAT * 2 * workload.n_slots * P,
        data=workload.samples * (sample + FLOAT * 3 * widths[0]),
        activations=workload.samples * FLOAT * (7 * sum(widths[1:-1]) + 5 * widths[-1]),
    )


def working_set(workload: Workload) -> int:
    """Bytes that a step touches: theta, gradient and slots, and one batch of y and dy."""
    P, m = n_parameters(workload.widths), workload.batches[0]
    return FLOAT * (P * (2 + workload.n_slots) + 2 * m * sum(workload.widths))


def bandwidth(n_bytes: int, *, seconds: float = 0.1) -> float:
    """Bytes per second that one core reads and writes while it copies an array onto another.

    Both together have ``n_bytes``, so what fits in a cache is measured there. The best of many
    copies within ``seconds``.
    """
    source = np.ones(max(n_bytes, 2**16) // 2, np.uint8)
    target = np.empty_like(source)
    np.copyto(target, source)
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best
