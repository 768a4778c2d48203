"""Initial weights: W (n_in, n_out) drawn so that signals neither fade nor explode.

| name    | variance           | made for                  | source                 |
|---------|--------------------|---------------------------|------------------------|
| he      | 2 / n_in           | ReLU and its relatives    | He et al. 2015         |
| glorot  | 2 / (n_in + n_out) | tanh, sigmoid, identity   | Glorot and Bengio 2010 |
| lecun   | 1 / n_in           | inputs of unit variance   | LeCun et al. 1998      |

Each as ``_normal`` or ``_uniform``; beside them ``normal:STD``, ``uniform:LIMIT`` and ``zeros``.
"""

from __future__ import annotations

import math

import numpy as np

from . import random
from .errors import UsageError, check_choice, check_positive
from .types import Array

__all__ = ["INITIALIZERS", "check_initializer", "initial_weights"]

INITIALIZERS = (
    "auto",
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "uniform",
    "zeros",
)

FOR_RELU = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")


def check_initializer(init: str) -> tuple[str, float]:
    """Split ``"normal:0.05"`` into name and number (1 if absent), or raise UsageError."""
    name, _, number = str(init).partition(":")
    check_choice("initializer", name, INITIALIZERS)
    if number and name not in ("normal", "uniform"):
        raise UsageError(
            f"initializer {init!r}: {name} takes no number; only normal and uniform do"
        )
    try:
        return name, check_positive(f"the number in initializer {init!r}", float(number or 1.0))
    except ValueError as error:
        raise UsageError(f"initializer {init!r}: {number!r} is no positive number") from error


def initial_weights(
    init: str, activation: str, seed: int, stream: int, shape: tuple[int, int]
) -> Array:
    """Weights of ``shape`` (n_in, n_out) as float64 on the host.

    ``"auto"`` is ``he_normal`` before ReLU and its relatives, else ``glorot_uniform``.
    """
    name, number = check_initializer(init)
    if name == "auto":
        name = "he_normal" if activation in FOR_RELU else "glorot_uniform"
    if name == "zeros":
        return np.zeros(shape)
    n_in, n_out = shape
    variance = {"he": 2.0 / n_in, "glorot": 2.0 / (n_in + n_out), "lecun": 1.0 / n_in}
    method, _, distribution = name.rpartition("_")
    if distribution == "normal":
        std = math.sqrt(variance[method]) if method else number
        return std * random.normal(seed, stream, n_in * n_out).reshape(shape)
    limit = math.sqrt(3.0 * variance[method]) if method else number
    return limit * (2.0 * random.uniform(seed, stream, n_in * n_out) - 1.0).reshape(shape)
