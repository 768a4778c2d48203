"""thinc: its layers on NumpyOps, each with its own backward, and its optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
from thinc.api import SGD, Adam, Linear, NumpyOps, Relu, Sigmoid, Softmax_v2, chain

from ...errors import BackendError
from ...types import Array
from . import Work

__all__ = ["Peer"]

HIDDEN = {"relu": Relu, "sigmoid": Sigmoid}


class Peer:
    """A chain of layers, dLoss/dlogits given to its backward by hand, as thinc wants it.

    It has no momentum: that raises BackendError. Its Adam adds eps before the correction for
    the start at 0, which shows only where gradients are nearly as small as eps. NumPy's BLAS is
    chosen for the products: it is faster than the one thinc brings.
    """

    def __init__(self, work: Work) -> None:
        if work.optimizer == "momentum":
            raise BackendError("peer thinc has no SGD with momentum: choose sgd or adamw")
        self.work = work
        self.X = work.X.astype(np.float32) * np.float32(work.scale)
        self.y = work.y
        self.ops = NumpyOps(use_blis=False)
        layers = []
        for i, (W, b) in enumerate(work.parameters):
            if i < len(work.parameters) - 1:
                layer: Any = HIDDEN[work.activation](len(b), len(W))
            else:
                layer = (Softmax_v2 if work.loss == "softmax_xent" else Linear)(len(b), len(W))
            layer.ops = self.ops
            layer.initialize()
            layer.set_param("W", np.ascontiguousarray(W.T))
            layer.set_param("b", b.copy())
            layers.append(layer)
        self.layers = layers
        self.model: Any = layers[0] if len(layers) == 1 else chain(*layers)
        self.optimizer = make_optimizer(work)
        self.keep = 1.0 - work.lr * work.weight_decay if work.optimizer == "adamw" else 1.0

    def epoch(self, order: Array) -> None:
        size = self.work.batch_size
        for start in range(0, len(order), size):
            index = order[start : start + size]
            m = len(index)
            x, y = (self.X, self.y) if m == len(self.X) else (self.X[index], self.y[index])
            out, backprop = self.model.begin_update(x)
            if self.work.loss == "softmax_xent":
                dlogits = out
                dlogits[np.arange(m), y] -= 1.0
            else:
                dlogits = self.ops.sigmoid(out) - y
            dlogits /= m
            backprop(dlogits)
            self.model.finish_update(self.update)

    def update(self, key: Any, weights: Array, gradient: Array) -> Any:
        """The optimizer's step on one parameter, after the decay of a matrix.

        thinc's own decay would come after the step, and would need a temporary.
        """
        if self.keep != 1.0 and key[1] == "W":
            weights *= self.keep
        return self.optimizer(key, weights, gradient)

    def parameters(self) -> list[tuple[Array, Array]]:
        return [
            (layer.get_param("W").T.copy(), layer.get_param("b").copy()) for layer in self.layers
        ]


def make_optimizer(work: Work) -> Any:
    """SGD or Adam, without the clipping and the averages that are on by default."""
    if work.optimizer == "sgd":
        return SGD(work.lr, L2=0.0, grad_clip=0.0, use_averages=False)
    return Adam(
        work.lr,
        L2=0.0,
        beta1=work.beta1,
        beta2=work.beta2,
        eps=work.eps,
        grad_clip=0.0,
        use_averages=False,
    )
