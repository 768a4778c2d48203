"""The network: layers in a row over one flat parameter vector, and backpropagation through them.

``theta`` holds every parameter: first all weight matrices, then all biases and norm
parameters, so that weight decay acts on a slice; each block starts at a multiple of 64 elements,
with zeros in between. Layers see reshaped slices of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .activations import Activation
from .errors import UsageError, check_count
from .layers import Dense, Dropout
from .ops import Ops
from .random import check_seed
from .types import Array, Layer, Loss, LossResult, Namespace, Noise, NumpyArray, Params

__all__ = ["DTYPES", "Block", "Gradients", "Network", "check_theta", "mlp"]

ALIGNMENT = 64
"""Elements: 256 bytes of float32, the most that a matrix product may ask of an address."""

DTYPES = ("float32", "float64")


class Block(NamedTuple):
    """Where one parameter of one layer lies in theta."""

    layer: int
    name: str
    offset: int
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.offset + math.prod(self.shape)


class Gradients(NamedTuple):
    """A loss, ``g`` = dLoss/dtheta (n_theta,), and ``dx`` = dLoss/dx (m, n_in) or None."""

    loss: LossResult
    g: Array
    dx: Array | None


@dataclasses.dataclass(frozen=True)
class Network:
    """``layers`` one after the other, for inputs of width ``n_in``."""

    n_in: int
    layers: tuple[Layer, ...]

    def __init__(self, n_in: int, layers: Sequence[Layer]) -> None:
        object.__setattr__(self, "n_in", check_count("the width of the input", n_in))
        if not isinstance(layers, Sequence) or not all(hasattr(p, "forward") for p in layers):
            raise UsageError(f"layers must be a list such as [Dense(10)], not {layers!r}")
        object.__setattr__(self, "layers", tuple(layers))
        if not any(layer.shapes(1) for layer in self.layers):
            raise UsageError(
                "a network needs at least one layer with parameters, such as Dense(10)"
            )

    # ---- theta ---------------------------------------------------------------------------

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """The width of the input and of each layer's output."""
        widths = [self.n_in]
        for layer in self.layers:
            widths.append(layer.output_width(widths[-1]))
        return tuple(widths)

    @property
    def n_out(self) -> int:
        return self.widths[-1]

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Every parameter's place in theta, in the order of theta."""
        named = [
            (i, name, shape)
            for i, layer in enumerate(self.layers)
            for name, shape in layer.shapes(self.widths[i]).items()
        ]
        named.sort(key=lambda entry: len(entry[2]) < 2)  # stable: matrices first
        blocks, offset = [], 0
        for i, name, shape in named:
            blocks.append(Block(i, name, offset, shape))
            offset = aligned(blocks[-1].end)
        return tuple(blocks)

    @cached_property
    def layout(self) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
        """The offsets and the shapes of the blocks."""
        return tuple(b.offset for b in self.blocks), tuple(b.shape for b in self.blocks)

    @cached_property
    def n_theta(self) -> int:
        """Length of theta, gaps included."""
        return aligned(self.blocks[-1].end)

    @cached_property
    def n_weights(self) -> int:
        """theta[:n_weights] holds the weight matrices, which decay; what follows does not."""
        return max((aligned(block.end) for block in self.blocks if len(block.shape) > 1), default=0)

    @property
    def n_parameters(self) -> int:
        """Number of parameters, gaps not counted."""
        return sum(math.prod(block.shape) for block in self.blocks)

    def init(self, seed: int = 0, dtype: str = "float32") -> NumpyArray:
        """Initial theta (n_theta,) on the host, the same for every backend.

        The values are float32 numbers in either ``dtype``, so that runs in float32 and
        float64 start at the same point.
        """
        check_seed(seed)
        theta = np.zeros(self.n_theta, np.float32)
        params = self.split(np, theta)
        for i, layer in enumerate(self.layers):
            for name, value in layer.init_params(seed, i, self.widths[i]).items():
                params[i][name][...] = value
        return theta.astype(dtype, copy=False)

    def split(self, xp: Namespace, theta: Array) -> list[Params]:
        """The parameters of each layer, as reshaped slices of ``theta``."""
        return self.unpack(Ops(xp), theta)

    def unpack(self, ops: Ops, theta: Array) -> list[Params]:
        """``split`` by the primitive of ``ops``, which may be faster."""
        params: list[Params] = [{} for _ in self.layers]
        for block, array in zip(self.blocks, ops.unpack(theta, *self.layout), strict=True):
            params[block.layer][block.name] = array
        return params

    def flatten(self, params: Sequence[Params]) -> NumpyArray:
        """theta on the host from each layer's NumPy parameters; the inverse of ``split``."""
        theta = np.zeros(self.n_theta, np.result_type(*(a for p in params for a in p.values())))
        for block in self.blocks:
            theta[block.offset : block.end] = params[block.layer][block.name].ravel()
        return theta

    # ---- backpropagation -----------------------------------------------------------------

    def forward(
        self, ops: Ops, theta: Array, x: Array, noise: Noise | None = None
    ) -> tuple[Array, list[Any]]:
        """``x`` (m, n_in) -> output (m, n_out), and what each layer remembers for ``backward``.

        ``noise`` is given while training and makes Dropout drop.
        """
        y, saved = x, []
        for i, (layer, p) in enumerate(zip(self.layers, self.unpack(ops, theta), strict=True)):
            y, memory = layer.forward(ops, p, y, noise and noise._replace(layer=i))
            saved.append(memory)
        return y, saved

    def backward(
        self, ops: Ops, theta: Array, saved: list[Any], dout: Array, need_dx: bool = False
    ) -> tuple[Array | None, Array]:
        """``dout`` = dLoss/dout (m, n_out) -> dLoss/dx, or None unless needed, and dLoss/dtheta.

        The chain rule from the last layer to the first: each layer turns its dy into its dx,
        which is the dy of the layer before it.
        """
        params = self.unpack(ops, theta)
        grads: list[Params] = [{} for _ in self.layers]
        dy: Array | None = dout
        first = min(block.layer for block in self.blocks)  # before it no parameter needs dy
        for i in reversed(range(len(self.layers))):
            needed = need_dx or i > first
            dy, grads[i] = self.layers[i].backward(ops, params[i], saved[i], dy, needed)
            if not needed:
                break
        g = ops.pack(
            [grads[block.layer][block.name] for block in self.blocks],
            self.layout[0],
            self.n_theta,
        )
        return dy, g

    def loss_and_grad(
        self,
        ops: Ops,
        theta: Array,
        x: Array,
        target: Array,
        loss: Loss,
        *,
        weight: Array | None = None,
        scale: Array | float | None = None,
        noise: Noise | None = None,
        need_dx: bool = False,
    ) -> Gradients:
        """The loss of a batch and the gradients of its mean, or of ``scale`` times its sum.

        ``x`` (m, n_in), ``target`` as the loss wants it, ``weight`` (m,) or None for all 1.
        """
        if scale is None:
            scale = 1.0 / x.shape[0] if weight is None else one_over(ops.xp, ops.xp.sum(weight))
        out, saved = self.forward(ops, theta, x, noise)
        result = loss(ops, out, target, weight, scale)
        dx, g = self.backward(ops, theta, saved, result.dout, need_dx)
        return Gradients(result, g, dx)


def check_theta(network: Network, theta: Array) -> None:
    """Raise UsageError unless ``theta`` has the length of the network's, and a dtype of DTYPES.

    Weights of another network may give results otherwise, and wrong ones.
    """
    shape, dtype = tuple(theta.shape), str(theta.dtype).rpartition(".")[2]
    if shape != (network.n_theta,) or dtype not in DTYPES:
        raise UsageError(
            f"theta must be ({network.n_theta},) of {' or '.join(DTYPES)} for this network, "
            f"not {shape} of {dtype}"
        )


def aligned(n: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-n // ALIGNMENT) * ALIGNMENT


def one_over(xp: Namespace, total: Array) -> Array:
    """1 / total, and 1 where the total is 0: a batch without weight has no gradient."""
    return 1.0 / xp.where(total == 0, xp.ones_like(total), total)


def mlp(
    n_in: int,
    *widths: int,
    activation: str | Activation = "relu",
    output: str | Activation = "identity",
    dropout: float = 0.0,
    init: str = "auto",
) -> Network:
    """A multilayer perceptron: ``mlp(784, 256, 128, 10)`` has hidden layers of 256 and 128 units.

    ``activation`` and ``dropout`` are those of each hidden layer, ``init`` is that of every Dense.
    ``output`` is the last layer's activation; losses for classification want raw logits and so
    the identity. Raises UsageError for what no layer can be made of.
    """
    if not widths:
        raise UsageError("mlp needs the width of the input and of at least one layer: mlp(784, 10)")
    layers: list[Layer] = []
    for width in widths[:-1]:
        layers.append(Dense(width, activation, init))
        if dropout:
            layers.append(Dropout(dropout))
    return Network(n_in, [*layers, Dense(widths[-1], output, init)])
