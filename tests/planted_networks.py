"""Random networks as somebody would save them: data, parameters and the declared options.

Plain NumPy, independent of xpnet. Rows are samples; Z_l = A_{l-1} W_l + b_l, A_l = f_l(Z_l),
A_0 = x, and O is the output. Lists that belong to layers start at 1: ``Z[0]`` is None.

The loss is C times the sum over samples and outputs, plus lambda/2 times the sum of all W**2.
"mean" is C = 1/m for cross-entropy with softmax and 1/(m k) for the others; "half-" halves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

SQRT_2_PI = np.sqrt(2.0 / np.pi).item()


def sigmoid(z):
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def softmax(z, axis=1):
    """Along ``axis``; None is the whole array."""
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def gelu(z):
    return 0.5 * z * (1.0 + np.tanh(SQRT_2_PI * (z + 0.044715 * z**3)))


def gelu_derivative(z):
    T = np.tanh(SQRT_2_PI * (z + 0.044715 * z**3))
    return 0.5 * (1.0 + T) + 0.5 * z * (1.0 - T**2) * SQRT_2_PI * (1.0 + 3.0 * 0.044715 * z**2)


def step(z, low):
    """1 where z > 0, else ``low``."""
    return np.where(z > 0, z.dtype.type(1), z.dtype.type(low))


FUNCTIONS = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: z * step(z, 0.01),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "gelu": gelu,
    "silu": lambda z: z * sigmoid(z),
    "softplus": lambda z: np.logaddexp(z, z.dtype.type(0)),
}

DERIVATIVES = {
    "identity": np.ones_like,
    "sigmoid": lambda z: sigmoid(z) * (1.0 - sigmoid(z)),
    "tanh": lambda z: 1.0 - np.tanh(z) ** 2,
    "relu": lambda z: step(z, 0.0),
    "leaky_relu": lambda z: step(z, 0.01),
    "elu": lambda z: np.where(z > 0, z.dtype.type(1), np.exp(np.minimum(z, 0))),
    "gelu": gelu_derivative,
    "silu": lambda z: sigmoid(z) * (1.0 + z * (1.0 - sigmoid(z))),
    "softplus": sigmoid,
}

HIDDEN = tuple(name for name in FUNCTIONS if name != "identity")
OUTPUTS = {
    "softmax-xent": ("softmax",),
    "sigmoid-bce": ("sigmoid",),
    "mse": ("identity", "sigmoid", "tanh", "softmax"),
}
REDUCTIONS = ("mean", "sum", "half-mean", "half-sum")


@dataclass(frozen=True, eq=False)
class Case:
    """Data, parameters and what is declared about the loss; ``b[l]`` is None without biases.

    ``declared`` is how ``C`` was declared: {"reduction": ...}, {"scale": C} or nothing.
    """

    seed: int
    x: np.ndarray
    y: np.ndarray
    W: list
    b: list
    activations: list
    loss: str
    output: str
    C: float
    declared: dict
    l2: float
    one_hot: bool

    @property
    def n_layers(self):
        return len(self.W) - 1

    @property
    def m(self):
        return len(self.x)

    @property
    def k(self):
        return self.W[-1].shape[1]

    @property
    def dtype(self):
        return self.x.dtype

    @property
    def square(self):
        return all(W.shape[0] == W.shape[1] for W in self.W[1:])

    @cached_property
    def Y(self):
        """Targets (m, k); labels become one-hot rows."""
        if self.loss == "softmax-xent" and self.y.ndim == 1:
            return np.eye(self.k, dtype=self.dtype)[self.y]
        return self.y.reshape(self.m, self.k).astype(self.dtype)

    def f(self, layer):
        """The name of the activation whose derivative backprop needs at ``layer``."""
        return self.activations[layer] if layer < self.n_layers else self.output

    @cached_property
    def forward(self):
        """Z, A and O; A stops before the output."""
        Z, A = [None], [self.x]
        for layer in range(1, self.n_layers + 1):
            z = A[-1] @ self.W[layer]
            Z.append(z if self.b[layer] is None else z + self.b[layer])
            if layer < self.n_layers:
                A.append(FUNCTIONS[self.activations[layer]](Z[layer]))
        O = softmax(Z[-1]) if self.output == "softmax" else FUNCTIONS[self.output](Z[-1])  # noqa: E741
        return Z, A, O

    @property
    def problem(self):
        """What somebody says about the network, as keyword arguments."""
        hidden = self.activations[1:]
        return {
            "x": self.x,
            "y": self.y,
            "W": self.W[1:],
            "b": self.b[1:],
            "activation": hidden[0] if len(set(hidden)) == 1 else list(hidden),
            "loss": self.loss,
            "output": self.output if self.loss == "mse" or self.seed % 2 else None,
            "l2": self.l2,
            **self.declared,
        }

    def __str__(self):
        widths = "-".join(str(n) for n in (self.x.shape[1], *(W.shape[1] for W in self.W[1:])))
        biases = "".join("-" if b is None else "b" for b in self.b[1:])
        hidden = ",".join(self.activations[1:])
        return (
            f"seed {self.seed}: {widths} {biases} m={self.m} {self.dtype} {hidden} {self.loss}"
            f"/{self.output} C={self.C:.4g} {self.declared or 'undeclared'} l2={self.l2:.3g}"
        )


def draw(
    seed,
    *,
    n_layers=None,
    square=None,
    m=None,
    dtype=None,
    declared=None,
    loss=None,
    output=None,
    reduction=None,
    activation=None,
    l2=None,
    biases=None,
):
    """The random case of a seed; what is given is not drawn. ``m`` may be a range (low, high).

    Where the constant is not declared there is no L2 term: with a constant of one's own for the
    data, a factor before lambda would be no mistake.
    """
    rng = np.random.default_rng([seed, 5])

    def choose(options, given=None):
        drawn = options[rng.integers(len(options))]
        return drawn if given is None else given

    n_layers = choose((2, 3, 4), n_layers)
    loss = choose(tuple(OUTPUTS), loss)
    output = choose(OUTPUTS[loss], output)
    widths = draw_widths(rng, n_layers, choose((True, False), square), loss, output)
    low, high = m if isinstance(m, tuple) else (m or 1, m or 64)
    m = int(rng.integers(low, high + 1))
    dtype = np.dtype(choose(("float32", "float64"), dtype))
    x = draw_inputs(rng, m, widths[0]).astype(dtype)

    W, b = [None], [None]
    has_bias = biases if biases is not None else rng.random() < 0.75
    mixed = biases is None and rng.random() < 0.1
    for n_in, n_out in pairwise(widths):
        size = rng.uniform(1.0, 2.0) / np.sqrt(n_in)
        W.append((rng.normal(size=(n_in, n_out)) * size).astype(dtype))
        bias = (rng.normal(size=n_out) * 0.3).astype(dtype)
        keep = rng.random() < 0.5 if mixed else has_bias
        b.append(bias if keep else None)

    same = rng.random() < 0.7
    activations = [choose(HIDDEN) for _ in range(n_layers)]
    if activation or same:
        activations = [activation or activations[1]] * n_layers
    y, one_hot = draw_targets(rng, m, widths[-1], loss, output)

    reduction = choose((*REDUCTIONS, "scale"), reduction)
    constant = 10.0 ** rng.uniform(-1.5, 1.0)
    if reduction != "scale":
        whole = m if loss == "softmax-xent" else m * widths[-1]
        constant = 1.0 / whole if "mean" in reduction else 1.0
        constant *= 0.5 if "half" in reduction else 1.0
    saying = {"scale": constant} if reduction == "scale" else {"reduction": reduction}
    if not choose((True, False), declared):
        saying = {}
    strength = 10.0 ** rng.uniform(-2.5, -0.5) if rng.random() < 0.5 else 0.0
    strength = strength if l2 is None else l2
    return Case(
        seed=seed,
        x=x,
        y=y if y.dtype.kind == "i" else y.astype(dtype),
        W=W,
        b=b,
        activations=[None, *activations[1:]],
        loss=loss,
        output=output,
        C=constant,
        declared=saying,
        l2=strength if saying else 0.0,
        one_hot=one_hot,
    )


def draw_widths(rng, n_layers, square, loss, output):
    """Widths 2 to 12 of n_layers + 1 layers of units; one output only without a softmax."""
    if square:
        return [int(rng.integers(2, 13))] * (n_layers + 1)
    # A few widths only, so that layers of one shape are met that are not neighbours.
    pool = rng.choice(np.arange(2, 13), size=3, replace=False).tolist()
    widths = [pool[rng.integers(3)]]
    while len(widths) < n_layers + 1:
        widths.append(int(rng.choice([n for n in pool if n != widths[-1]])))
    if output != "softmax" and rng.random() < 0.3:
        widths[-1] = 1
    return widths


def draw_inputs(rng, m, n):
    """Normal, uniform, or like pixels: mostly 0."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.normal(size=(m, n))
    x = rng.random((m, n))
    return x if kind == 1 else x * (rng.random((m, n)) < 0.4)


def draw_targets(rng, m, k, loss, output):
    """Labels, distributions, bits or numbers, and whether they are classes in rows of bits."""
    bits = np.eye(k)[rng.integers(0, k, m)]
    special = rng.random() < 0.25
    if loss == "softmax-xent":
        shares = rng.random((m, k)) + 0.1
        if special:
            return shares / shares.sum(axis=1, keepdims=True), False
        return (bits if rng.random() < 0.2 else bits.argmax(axis=1)), True
    if k > 1 and special and output != "tanh":
        return bits, True
    if loss == "sigmoid-bce":
        y = rng.random((m, k)) if special else (rng.random((m, k)) < 0.5) * 1.0
    elif output == "softmax":
        shares = rng.random((m, k)) + 0.1
        y = shares / shares.sum(axis=1, keepdims=True)
    elif output == "identity":
        y = rng.normal(size=(m, k))
    else:
        y = rng.uniform(0.0 if output == "sigmoid" else -1.0, 1.0, (m, k))
    return (y[:, 0] if k == 1 and rng.random() < 0.5 else y), False
