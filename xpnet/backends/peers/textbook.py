"""Textbook NumPy: backpropagation as a careful learner writes it down from the formulas."""

from __future__ import annotations

import numpy as np

from ...types import Array
from . import Work

__all__ = ["Peer"]


class Peer:
    """Lists of float32 arrays and one NumPy expression a formula, temporaries and all.

    Nobody reads the value of the loss, so only its gradient is computed.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.X = work.X.astype(np.float32) * np.float32(work.scale)
        self.y = work.y
        self.Ws = [W.copy() for W, _ in work.parameters]
        self.bs = [b.copy() for _, b in work.parameters]
        # the memory of the optimizer, for all matrices and then all vectors
        self.ms = [np.zeros_like(A) for A in self.Ws + self.bs]
        self.vs = [np.zeros_like(A) for A in self.Ws + self.bs]
        self.t = 0

    def epoch(self, order: Array) -> None:
        size = self.work.batch_size
        with np.errstate(over="ignore"):  # exp(-z) may be infinite, and 1 / (1 + inf) is 0
            for start in range(0, len(order), size):
                index = order[start : start + size]
                whole = len(index) == len(self.X)  # as it lies: nothing is copied
                x, y = (self.X, self.y) if whole else (self.X[index], self.y[index])
                self.descend(self.gradients(x, y))

    def gradients(self, x: Array, y: Array) -> list[Array]:
        """dWs and then dbs for the mean loss of a batch: forward, then backward."""
        m, last = len(x), len(self.Ws) - 1
        activations = [x]
        for i, (W, b) in enumerate(zip(self.Ws, self.bs, strict=True)):
            z = activations[-1] @ W + b
            activations.append(self.activate(z) if i < last else z)

        logits = activations.pop()
        if self.work.loss == "softmax_xent":
            e = np.exp(logits - logits.max(axis=1, keepdims=True))
            dz = e / e.sum(axis=1, keepdims=True)
            dz[np.arange(m), y] -= 1
        else:
            dz = 1 / (1 + np.exp(-logits)) - y
        dz /= m

        dWs: list[Array] = []
        dbs: list[Array] = []
        for i in range(last, -1, -1):
            dWs.insert(0, activations[i].T @ dz)
            dbs.insert(0, dz.sum(axis=0))
            if i > 0:
                dz = (dz @ self.Ws[i].T) * self.derivative(activations[i])
        return dWs + dbs

    def activate(self, z: Array) -> Array:
        """The activation of the hidden layers."""
        return np.maximum(z, 0) if self.work.activation == "relu" else 1 / (1 + np.exp(-z))

    def derivative(self, a: Array) -> Array:
        """The derivative of the activation where it has the value ``a``."""
        return a > 0 if self.work.activation == "relu" else a * (1 - a)

    def descend(self, grads: list[Array]) -> None:
        """One step of the optimizer."""
        work = self.work
        self.t += 1
        for i, (A, g) in enumerate(zip(self.Ws + self.bs, grads, strict=True)):
            if work.optimizer == "sgd":
                A -= work.lr * g
            elif work.optimizer == "momentum":
                self.ms[i] = work.mu * self.ms[i] + g
                A -= work.lr * self.ms[i]
            else:
                if A.ndim > 1:
                    A -= work.lr * work.weight_decay * A
                self.ms[i] = work.beta1 * self.ms[i] + (1 - work.beta1) * g
                self.vs[i] = work.beta2 * self.vs[i] + (1 - work.beta2) * g**2
                m_hat = self.ms[i] / (1 - work.beta1**self.t)
                v_hat = self.vs[i] / (1 - work.beta2**self.t)
                A -= work.lr * m_hat / (np.sqrt(v_hat) + work.eps)

    def parameters(self) -> list[tuple[Array, Array]]:
        return [(W.copy(), b.copy()) for W, b in zip(self.Ws, self.bs, strict=True)]
