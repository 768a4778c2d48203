"""Names for numbers: the constant before a gradient, and the multiple of the weights in it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Shape", "coefficient_text", "name_factor", "name_penalty"]


class Shape(NamedTuple):
    """The numbers of a problem that turn up as factors: samples, outputs, units of the layer."""

    m: int
    k: int
    n: int
    layer: int


def name_factor(ratio: float, precision: float, shape: Shape) -> tuple[str, ...] | None:
    """The mistakes that multiply a gradient by ``ratio``; () for 1, None where there is no name.

    ``precision`` is how far, relatively, the ratio may be off.
    """
    names: tuple[str, ...] = ()
    if ratio < 0:
        names, ratio = ("negated",), -ratio
    for value, name in named_factors(shape):
        if abs(ratio - value) <= precision * value:
            return names if name is None else (*names, name)
    return None


def named_factors(shape: Shape) -> list[tuple[float, str | None]]:
    """The factors that have a name, the commonest first."""
    m, k = float(shape.m), float(shape.k)
    factors: list[tuple[float, str | None]] = [
        (1.0, None),
        (m, "summed-not-averaged"),
        (1 / m, "averaged-twice"),
        (2.0, "doubled"),
        (0.5, "halved"),
        (m / 2, "times-half-the-batch"),
        (k, "summed-over-outputs"),
        (1 / k, "averaged-over-outputs"),
        (1 / m**2, "averaged-twice"),
        (m**2, "summed-not-averaged"),
    ]
    if shape.layer == 1:
        factors += [(255.0, "wrong-input-scaling"), (1 / 255.0, "wrong-input-scaling")]
        factors += [(256.0, "wrong-input-scaling"), (1 / 256.0, "wrong-input-scaling")]
    return factors


def name_penalty(mu: float, error: float, l2: float, m: int) -> str | None:
    """The mistake that makes mu W of the declared l2 W in a gradient; None if they agree.

    ``error`` is how far mu may be off.
    """
    if abs(mu - l2) <= error:
        return None
    if l2 == 0:
        return "undeclared-l2"
    for value, name in (
        (0.0, "missing-l2"),
        (2.0, "doubled-l2"),
        (0.5, "halved-l2"),
        (-1.0, "negated-l2"),
        (1.0 / m, "l2-averaged"),
    ):
        if abs(mu - value * l2) <= error:
            return name
    return "wrong-l2"


def coefficient_text(c: float, shape: Shape) -> tuple[str, str]:
    """``c`` as what stands before and after a product: ('2 * ', ' / m')."""
    sign, size = ("-" if c < 0 else ""), abs(c)
    m, k = shape.m, shape.k
    for value, before, after in (
        (1.0, "", ""),
        (1 / m, "", " / m"),
        (2 / m, "2 * ", " / m"),
        (0.5 / m, "", " / (2 * m)"),
        (2.0, "2 * ", ""),
        (0.5, "", " / 2"),
        (1 / (m * k), "", " / (m * k)"),
        (2 / (m * k), "2 * ", " / (m * k)"),
        (0.5 / (m * k), "", " / (2 * m * k)"),
        (1 / m**2, "", " / m**2"),
        (2 / m**2, "2 * ", " / m**2"),
        (float(m), "m * ", ""),
    ):
        if abs(size - value) <= 1e-5 * value:
            return sign + before, after
    return f"{c:.6g} * ", ""
