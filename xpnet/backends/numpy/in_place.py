"""Activations on NumPy arrays without temporaries: written over their argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...types import Array

__all__ = ["IN_PLACE", "InPlace", "sigmoid"]


class InPlace(NamedTuple):
    """An activation whose derivative is a function of y."""

    function: Callable[[Array], object]
    """Turns z into y = f(z), in place."""
    gradient: Callable[[Array, Array, Array], object]
    """(dy, y, dz): writes dz = dy * f'(z)."""


def sigmoid(z: Array) -> None:
    """1 / (1 + exp(-z)): where exp overflows to infinity this is 0, as it should be."""
    np.negative(z, out=z)
    with np.errstate(over="ignore"):
        np.exp(z, out=z)
    z += 1
    np.reciprocal(z, out=z)


def sigmoid_gradient(dy: Array, y: Array, dz: Array) -> None:
    np.subtract(1, y, out=dz)
    dz *= y
    dz *= dy


def relu_gradient(dy: Array, y: Array, dz: Array) -> None:
    np.copyto(dz, y > 0)  # as 0 and 1; a product with booleans casts them more slowly
    dz *= dy


def tanh_gradient(dy: Array, y: Array, dz: Array) -> None:
    np.multiply(y, y, out=dz)
    np.subtract(1, dz, out=dz)
    dz *= dy


IN_PLACE: dict[str, InPlace] = {
    "relu": InPlace(lambda z: np.maximum(z, 0, out=z), relu_gradient),
    "sigmoid": InPlace(sigmoid, sigmoid_gradient),
    "tanh": InPlace(lambda z: np.tanh(z, out=z), tanh_gradient),
}
"""The activations that are done in place; the others are done as the reference does."""
