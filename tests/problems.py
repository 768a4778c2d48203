"""Small problems for gradient tests: every activation, every loss, every kind of target."""

from __future__ import annotations

import numpy as np

import xpnet
from xpnet.types import Noise

M, N_IN, HIDDEN = 7, 5, 4


def labels(rng, k):
    return rng.integers(0, k, M).astype(np.int32)


def distributions(rng, k):
    q = rng.random((M, k))
    return q / q.sum(axis=1, keepdims=True)


LOSSES = {
    "softmax-labels": (xpnet.SoftmaxCrossEntropy(), 3, labels),
    "softmax-distributions": (xpnet.SoftmaxCrossEntropy(), 3, distributions),
    "softmax-smoothed": (xpnet.SoftmaxCrossEntropy(smoothing=0.1), 3, labels),
    "bce-binary": (xpnet.BinaryCrossEntropy(), 1, lambda rng, k: rng.integers(0, 2, M) * 1.0),
    "bce-multilabel": (
        xpnet.BinaryCrossEntropy(),
        3,
        lambda rng, k: rng.integers(0, 2, (M, k)) * 1.0,
    ),
    "mse": (xpnet.MeanSquaredError(), 2, lambda rng, k: rng.normal(size=(M, k))),
    "mae": (xpnet.MeanAbsoluteError(), 2, lambda rng, k: rng.normal(size=(M, k))),
    "huber": (xpnet.Huber(delta=0.7), 2, lambda rng, k: rng.normal(size=(M, k))),
}

NETWORKS = {
    **{
        name: lambda k, name=name: xpnet.mlp(N_IN, HIDDEN, k, activation=name)
        for name in sorted(xpnet.ACTIVATIONS)
    },
    "deep": lambda k: xpnet.mlp(N_IN, 6, HIDDEN, 3, k, activation="tanh"),
    "linear": lambda k: xpnet.mlp(N_IN, k),
    "output": lambda k: xpnet.mlp(N_IN, HIDDEN, k, activation="silu", output="tanh"),
    "dropout": lambda k: xpnet.mlp(N_IN, 8, k, activation="tanh", dropout=0.3),
    "input-dropout": lambda k: xpnet.Network(
        N_IN, [xpnet.Dropout(0.2), xpnet.Dense(HIDDEN, "gelu"), xpnet.Dense(k)]
    ),
    "layer-norm": lambda k: xpnet.Network(
        N_IN, [xpnet.Dense(6, "tanh"), xpnet.LayerNorm(), xpnet.Dense(k)]
    ),
    "norm-first": lambda k: xpnet.Network(
        N_IN, [xpnet.LayerNorm(), xpnet.Dense(6, "sigmoid"), xpnet.LayerNorm(), xpnet.Dense(k)]
    ),
    "own": lambda k: xpnet.mlp(
        N_IN,
        HIDDEN,
        k,
        activation=xpnet.Activation("cube", lambda xp, z: z**3, lambda xp, z: 3.0 * z**2),
    ),
}


class Problem:
    """A network, a batch and a loss, in float64 on the host, away from kinks."""

    def __init__(self, network_name, loss_name, weighted=False):
        self.loss, k, make_target = LOSSES[loss_name]
        self.network = NETWORKS[network_name](k)
        for seed in range(100):
            rng = np.random.default_rng(seed)
            self.x = rng.normal(size=(M, N_IN))
            self.target = make_target(rng, k)
            self.weight = rng.random(M) + 0.1 if weighted else None
            self.theta = rng.normal(size=self.network.n_theta) * 0.7
            if self.distance_to_kink() > 1e-3:
                return
        raise AssertionError("no problem found away from kinks")

    def noise(self, xp=np, device=None):
        """The same dropout masks every time."""
        return Noise(
            3,
            xp.asarray([11], dtype=xp.int32, device=device),
            xp.arange(M, dtype=xp.int32, device=device),
        )

    def distance_to_kink(self):
        """The least |z| of a ReLU and |r| or ||r| - delta| of a loss."""
        ops = xpnet.backends.get("numpy").ops()
        out, saved = self.network.forward(ops, self.theta, self.x, self.noise())
        distances = [1.0]
        params = self.network.split(np, self.theta)
        for layer, p, memory in zip(self.network.layers, params, saved, strict=True):
            if getattr(layer, "activation", None) in ("relu", "leaky_relu", "elu"):
                distances.append(np.abs(memory[0] @ p["W"] + p["b"]).min())
        if isinstance(self.loss, xpnet.MeanAbsoluteError | xpnet.Huber):
            r = np.abs(out - self.target)
            distances += [r.min(), np.abs(r - getattr(self.loss, "delta", 1e9)).min()]
        return min(distances)

    def loss_of(self, ops, theta, x):
        """The mean loss, from the forward pass alone."""
        out, _ = self.network.forward(ops, theta, x, self.noise())
        total = M if self.weight is None else self.weight.sum()
        return self.loss(ops, out, self.target, self.weight, 1.0).loss_sum / total
