"""Workloads: the trainings that are measured, the same for xpnet and for every peer."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from .. import backends, datasets
from ..backends.peers import Work
from ..data import Dataset
from ..errors import UsageError
from ..hyperparameters import Hyperparameters
from ..losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from ..network import Network, mlp
from ..optim import SGD, AdamW, Momentum
from ..schedules import Constant
from ..source import epoch_order
from ..types import Array, Loss, NumpyArray

__all__ = ["SWEEPS", "WORKLOADS", "Workload", "scaled"]

ENDLESS = 10**6
"""Epochs of the training that is told to xpnet: more than are ever measured."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """One training: ``n`` samples of ``data`` ("mnist" or "xor"), a network and its rule.

    ``widths`` are those of the input and of every layer; hidden layers have ``activation``.
    ``optimizer`` is "sgd", "momentum" or "adamw", its learning rate is constant. One measured
    epoch is ``passes`` passes over the samples, several where one would be too short to measure.
    """

    name: str
    widths: tuple[int, ...]
    activation: str
    batch_size: int
    optimizer: str
    lr: float
    n: int
    data: str = "mnist"
    passes: int = 1

    @property
    def loss(self) -> str:
        """The loss by its name in ``LOSSES``: a single output says yes or no."""
        return "bce" if self.widths[-1] == 1 else "softmax_xent"

    @property
    def samples(self) -> int:
        """Samples that are trained on in one measured epoch."""
        return self.n * self.passes

    @property
    def batches(self) -> list[int]:
        """The sizes of the batches of one pass, in order."""
        m = min(self.batch_size, self.n)
        return [m] * (self.n // m) + [self.n % m] * (self.n % m > 0)

    @property
    def n_slots(self) -> int:
        """Vectors like theta that the optimizer remembers."""
        return {"sgd": 0, "momentum": 1, "adamw": 2}[self.optimizer]

    def describe(self) -> str:
        """In words: ``784-256-128-10 relu, batch 128, adamw, 60,000 samples an epoch``."""
        layers = "-".join(map(str, self.widths))
        passes = f" in {self.passes} passes" if self.passes > 1 else ""
        return (
            f"{layers} {self.activation}, batch {min(self.batch_size, self.n):,}, "
            f"{self.optimizer}, {self.samples:,} samples an epoch{passes}"
        )

    def network(self) -> Network:
        """The network, for xpnet."""
        return mlp(self.widths[0], *self.widths[1:], activation=self.activation)

    def hyperparameters(self) -> Hyperparameters:
        """The rest of the training, for xpnet."""
        loss: Loss = BinaryCrossEntropy() if self.loss == "bce" else SoftmaxCrossEntropy()
        rules = {"sgd": SGD(self.lr), "momentum": Momentum(self.lr), "adamw": AdamW(self.lr)}
        return Hyperparameters(
            loss=loss,
            optimizer=rules[self.optimizer],
            schedule=Constant(),
            epochs=ENDLESS,
            batch_size=self.batch_size,
        )

    def dataset(self) -> Dataset:
        """The samples, on the host."""
        return samples(self.data, self.n)

    def initial(self) -> list[tuple[Array, Array]]:
        """W and b of each layer before the first step, as xpnet draws them with seed 0."""
        network = self.network()
        params = network.split(np, network.init(0))
        return [(p["W"].copy(), p["b"].copy()) for p in params]

    def work(self) -> Work:
        """The same training, for a peer."""
        data = self.dataset()
        y = data.y.astype(np.int32) if self.loss == "softmax_xent" else data.y
        rule = AdamW()
        return Work(
            X=data.X, y=y, scale=float(data.scale), loss=self.loss, parameters=self.initial(),
            activation=self.activation, batch_size=min(self.batch_size, self.n),
            optimizer=self.optimizer, lr=self.lr, mu=Momentum().mu, beta1=rule.beta1,
            beta2=rule.beta2, eps=rule.eps, weight_decay=rule.weight_decay,
        )  # fmt: skip

    def order(self, k: int) -> NumpyArray:
        """The order in which pass ``k`` visits the samples, (n,) int32: that of xpnet's engine."""
        numpy = backends.get("numpy")
        return np.asarray(epoch_order(numpy, self.hyperparameters(), k, self.n))


@functools.lru_cache(maxsize=4)
def samples(data: str, n: int) -> Dataset:
    """The first ``n`` images of MNIST, or ``n`` rows of the truth table of XOR, over and over."""
    if data == "xor":
        row = np.arange(n)
        X = np.stack([row // 2 % 2, row % 2], axis=1).astype(np.float32)
        return Dataset(X, (X[:, :1] != X[:, 1:]).astype(np.float32))
    whole, _ = datasets.mnist()
    if n > whole.n:
        raise UsageError(f"MNIST has {whole.n:,} training images: take at most as many, not {n:,}")
    if n == whole.n:
        return whole
    # copies, so that the rest does not stay in memory
    return dataclasses.replace(whole, X=whole.X[:n].copy(), y=whole.y[:n].copy())


def scaled(workload: Workload, share: float) -> Workload:
    """The same with this share of the samples, but two batches at least; a full batch stays one."""
    n = max(1, round(workload.n * share))
    if workload.batch_size < workload.n:
        n = max(n, 2 * workload.batch_size)
    return dataclasses.replace(workload, n=min(n, workload.n))


DEEP = (784, 256, 128, 10)

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("online", (784, 200, 10), "sigmoid", 1, "sgd", 0.1, 4_000),
        Workload("full", (784, 10, 10), "relu", 60_000, "sgd", 0.1, 60_000, passes=5),
        Workload("classic-adamw", DEEP, "relu", 128, "adamw", 1e-3, 60_000),
        Workload("classic-momentum", DEEP, "relu", 128, "momentum", 0.1, 60_000),
        Workload("wide", (784, 2048, 2048, 10), "relu", 1024, "adamw", 1e-3, 12_288),
        Workload("tiny", (2, 6, 1), "sigmoid", 4, "sgd", 0.5, 8_000, "xor"),
    )
}
"""The workloads by name; the learning rate of ``tiny`` is high because XOR needs it."""


def of_batch(m: int) -> Workload:
    n = min(max(1024, 64 * m), 16_384)
    return Workload(f"batch-{m}", DEEP, "relu", m, "momentum", 0.01, n)


def of_width(w: int) -> Workload:
    n = min(max(1024, 2**21 // w // 128 * 128), 8192)
    return Workload(f"width-{w}", (784, w, w, 10), "relu", 128, "momentum", 0.01, n)


SWEEPS = {
    "batch": [of_batch(2**k) for k in range(14)],
    "width": [of_width(2**k) for k in range(4, 13)],
}
"""How the cost grows: batches of 1 to 8192 samples, and hidden layers of 16 to 4096 units."""
