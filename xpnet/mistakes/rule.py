"""The update rule that somebody's step follows, from how parameters move."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..types import Array

__all__ = ["RULES", "Rule", "common", "sign_like"]

RULES = {
    "sgd": "W = W - lr * dW",
    "momentum": "V = mu * V - lr * dW;  W = W + V",
    "averaged-momentum": "V = mu * V + (1 - mu) * dW;  W = W - lr * V",
    "nesterov": "V = mu * V - lr * dW;  W = W + mu * V - lr * dW",
    "decay-posing-as-momentum": "W = mu * W - (1 + mu) * lr * dW",
    "sign-like": "W = W - lr * dW / |dW|, as in the first step of Adam or RMSprop; the size of the "
    "gradients is hidden: check them with xpnet explain",
    "none": "W = W",
    "unknown": "nothing known explains the first step; it must be one update "
    "from all samples of its batch, without dropout",
}

AGREEMENT = 1e-3
"""Relative difference up to which coefficients of two parameters count as the same."""


class Rule(NamedTuple):
    """An update rule by name. ``mu`` is its momentum, or what it multiplies the weights by.

    ``rate`` multiplies the gradient of the sum over the samples: the learning rate times C.
    """

    name: str
    formula: str
    mu: float | None = None
    rate: float | None = None


def common(values: list[float], smallest: float = 0.0) -> float | None:
    """The one value that all ``values`` agree on, or None."""
    if not values:
        return None
    middle = float(np.median(values))
    if abs(middle) <= smallest:
        return None
    agree = all(abs(value - middle) <= AGREEMENT * abs(middle) for value in values)
    return middle if agree else None


def sign_like(changes: dict[str, Array]) -> bool:
    """Whether nearly every number that changed, changed by the same amount."""
    sizes = np.concatenate([np.abs(change).ravel() for change in changes.values()])
    sizes = sizes[sizes > 0]
    if sizes.size < 8:
        return False
    return bool(np.mean(np.abs(sizes / np.median(sizes) - 1) < 1e-2) > 0.9)
