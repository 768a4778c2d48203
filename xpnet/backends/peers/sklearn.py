"""scikit-learn: ``MLPClassifier``, an epoch being one ``partial_fit``."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier

from ...errors import BackendError
from ...types import Array
from . import Work

__all__ = ["Peer"]


class Peer:
    """The classifier with the initial weights put in, shown the samples in their order.

    It has no decoupled decay: ``adamw`` is done as Adam without decay, which is a little less
    work. Its Adam adds eps before the correction for the start at 0, which shows only where
    gradients are nearly as small as eps. Picking the samples into their order is part of the
    epoch, as it is in its own shuffling. Two classes have one output there, so two softmax
    outputs raise BackendError.
    """

    def __init__(self, work: Work) -> None:
        n_out = len(work.parameters[-1][1])
        if (work.loss == "softmax_xent") != (n_out > 2):
            raise BackendError(
                f"peer scikit-learn has no {work.loss} with {n_out} outputs: "
                "bce needs 1, softmax_xent 3 or more"
            )
        self.X = work.X.astype(np.float32) * np.float32(work.scale)
        self.y = work.y if work.loss == "softmax_xent" else work.y[:, 0].astype(np.int32)
        self.model = MLPClassifier(
            hidden_layer_sizes=[len(b) for _, b in work.parameters[:-1]],
            activation={"relu": "relu", "sigmoid": "logistic"}[work.activation],
            solver="adam" if work.optimizer == "adamw" else "sgd",
            alpha=0.0,
            batch_size=min(work.batch_size, len(self.X)),
            learning_rate_init=work.lr,
            shuffle=False,
            momentum=work.mu if work.optimizer == "momentum" else 0.0,
            nesterovs_momentum=False,
            beta_1=work.beta1,
            beta_2=work.beta2,
            epsilon=work.eps,
        )
        # The first call makes weights and an optimizer: both are replaced, the latter by the
        # next call.
        few = slice(work.batch_size)
        self.model.partial_fit(self.X[few], self.y[few], classes=np.arange(max(n_out, 2)))
        del self.model._optimizer
        self.model.coefs_ = [W.copy() for W, _ in work.parameters]
        self.model.intercepts_ = [b.copy() for _, b in work.parameters]

    def epoch(self, order: Array) -> None:
        whole = self.model.batch_size == len(order)  # as it lies: nothing is copied
        X, y = (self.X, self.y) if whole else (self.X[order], self.y[order])
        self.model.partial_fit(X, y)

    def parameters(self) -> list[tuple[Array, Array]]:
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return [(W.copy(), b.copy()) for W, b in pairs]
