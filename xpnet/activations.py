"""Activations: a function f of the pre-activation z, and its derivative.

Each says from which array the derivative is computed: from ``z``, or from ``y`` = f(z), which
saves remembering z. ``ACTIVATIONS`` is the table of those that have a name; an
``Activation`` of your own works in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .errors import UsageError, check_choice
from .types import Array, Namespace

__all__ = ["ACTIVATIONS", "Activation", "activation"]

LEAKY_SLOPE = 0.01
GELU_C = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715


@dataclass(frozen=True)
class Activation:
    """An element-wise function and its derivative.

    ``function(xp, z)`` returns y = f(z). ``derivative(xp, s)`` returns dy/dz, where s is z or
    y as ``derivative_of`` says. Both return arrays with the shape and dtype of their argument.
    """

    name: str
    function: Callable[[Namespace, Array], Array]
    derivative: Callable[[Namespace, Array], Array]
    derivative_of: Literal["z", "y"] = "z"


def activation(f: str | Activation) -> Activation:
    """The activation called ``f``, or ``f`` itself.

    An unknown name raises UsageError, and so does a built-in one on an activation of one's own.
    """
    if not isinstance(f, Activation):
        return ACTIVATIONS[check_choice("activation", f, ACTIVATIONS)]
    if f != ACTIVATIONS.get(f.name, f):  # model files and backends go by the name
        raise UsageError(f"the activation name {f.name!r} is taken: give yours another name")
    return f


def sigmoid(xp: Namespace, z: Array) -> Array:
    """1 / (1 + exp(-z)), computed from exp(-|z|), which cannot overflow."""
    e = xp.exp(-xp.abs(z))
    return xp.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e))


def softplus(xp: Namespace, z: Array) -> Array:
    """ln(1 + exp(z)), computed from exp(-|z|), which cannot overflow."""
    return positive_part(xp, z) + xp.log1p(xp.exp(-xp.abs(z)))


def positive_part(xp: Namespace, z: Array) -> Array:
    """max(z, 0), and NaN where z is NaN."""
    return xp.where(z <= 0, xp.zeros_like(z), z)


def elu(xp: Namespace, z: Array) -> Array:
    """z for z > 0, else exp(z) - 1."""
    negative_part = z - positive_part(xp, z)  # expm1 of a large z would overflow
    return xp.where(z > 0, z, xp.expm1(negative_part))


def silu_derivative(xp: Namespace, z: Array) -> Array:
    """s (1 + z (1 - s)) with s = sigmoid(z)."""
    s = sigmoid(xp, z)
    return s * (1.0 + z * (1.0 - s))


def gelu(xp: Namespace, z: Array) -> Array:
    """z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))), the tanh form (Hendrycks and Gimpel 2016)."""
    return 0.5 * z * (1.0 + xp.tanh(GELU_C * (z + GELU_CUBIC * z * z * z)))


def gelu_derivative(xp: Namespace, z: Array) -> Array:
    """(1 + T)/2 + z/2 (1 - T^2) u', with T = tanh(u), u = sqrt(2/pi) (z + 0.044715 z^3)."""
    T = xp.tanh(GELU_C * (z + GELU_CUBIC * z * z * z))
    du = GELU_C * (1.0 + 3.0 * GELU_CUBIC * z * z)
    return 0.5 * (1.0 + T) + 0.5 * z * (1.0 - T * T) * du


def select(xp: Namespace, condition: Array, like: Array, yes: float, no: float) -> Array:
    """``yes`` where the condition holds, else ``no``, with the dtype of ``like``."""
    return xp.where(condition, yes * xp.ones_like(like), no * xp.ones_like(like))


ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("identity", lambda xp, z: z, lambda xp, y: xp.ones_like(y), "y"),
        Activation("sigmoid", sigmoid, lambda xp, y: y * (1.0 - y), "y"),
        Activation("tanh", lambda xp, z: xp.tanh(z), lambda xp, y: 1.0 - y * y, "y"),
        Activation("relu", positive_part, lambda xp, y: select(xp, y > 0, y, 1.0, 0.0), "y"),
        Activation(
            "leaky_relu",
            lambda xp, z: xp.where(z > 0, z, LEAKY_SLOPE * z),
            lambda xp, y: select(xp, y > 0, y, 1.0, LEAKY_SLOPE),
            "y",
        ),
        Activation("elu", elu, lambda xp, y: xp.where(y > 0, xp.ones_like(y), y + 1.0), "y"),
        Activation("gelu", gelu, gelu_derivative),
        Activation("silu", lambda xp, z: z * sigmoid(xp, z), silu_derivative),
        Activation("softplus", softplus, lambda xp, y: -xp.expm1(-y), "y"),
    )
}
