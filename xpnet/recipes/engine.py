"""The fixed networks: built from the engine, run on the whole batch or by ``fit``."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ..backends import Backend
from ..data import Dataset
from ..network import Network
from ..optim import SGD
from ..schedules import Constant
from ..train import fit
from ..types import Array, Loss
from .descent import Outcome, Row, marks

__all__ = ["Engine", "fitted"]


class Engine:
    """A network of the engine as a ``Learner``: plain gradient descent at the rate ``lr``.

    It spares a full batch the shuffling and copying that ``fit`` does for small ones.
    """

    def __init__(
        self, place: Backend, network: Network, loss: Loss, lr: float, seed: int, dtype: str
    ) -> None:
        self.ops, self.network, self.loss = place.ops(), network, loss
        theta = network.init(seed, dtype)
        self.optimizer = SGD(lr)
        self.arrays = {
            "theta": place.asarray(theta),
            "t": place.asarray(theta[:1] * 0),
            "lr": place.asarray(theta[:1] * 0 + lr),
        }

    def learn(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Forward, loss, backward, update: the mean loss, and the outputs."""
        theta, t, lr = self.arrays["theta"], self.arrays["t"], self.arrays["lr"]
        out, saved = self.network.forward(self.ops, theta, x)
        result = self.loss(self.ops, out, y, None, 1.0 / x.shape[0])
        _, g = self.network.backward(self.ops, theta, saved, result.dout)
        theta, _ = self.optimizer.update(self.ops, theta, g, (), t, lr)
        self.arrays = {"theta": theta, "t": t + 1, "lr": lr}
        return result.loss_sum / x.shape[0], out

    def predict(self, x: Array) -> Array:
        """The outputs (m, k)."""
        return self.network.forward(self.ops, self.arrays["theta"], x)[0]


def fitted(
    place: Backend,
    network: Network,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    epochs: int,
    **hyperparameters: Any,
) -> Generator[Row, None, tuple[Array, Outcome]]:
    """Train with ``fit`` at a constant rate; yields rows, returns theta and the last figures."""
    how = {**hyperparameters, "epochs": epochs, "schedule": Constant()}
    wanted = set(marks(epochs))
    theta, figures = None, {}
    for report, theta in fit(network, train, validation, backend=place, **how):  # noqa: B007
        figures = {"loss": report.train_loss, "accuracy": report.train_accuracy}
        if report.val_loss is not None:
            figures |= {"val_loss": report.val_loss, "val_accuracy": report.val_accuracy}
        if report.epoch in wanted:
            yield {"epoch": report.epoch, **figures}
    return theta, figures
