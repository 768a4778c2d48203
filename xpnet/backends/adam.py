"""Adam with the factors that all parameters share computed once: one division less for each."""

from __future__ import annotations

from ..ops import total_weight
from ..types import Array, Namespace

__all__ = ["adam_rate"]


def adam_rate(
    xp: Namespace, t: Array, lr: Array, beta1: float, beta2: float, eps: float
) -> tuple[Array, Array]:
    """``rate`` and ``floor`` (1,) of Adam written as theta -= rate m / (sqrt(v) + floor).

    lr (m / M) / (sqrt(v / V) + eps) = (lr sqrt(V) / M) m / (sqrt(v) + eps sqrt(V))
    """
    root_V = xp.sqrt(total_weight(xp, beta2, t, lr.dtype))
    return lr * root_V / total_weight(xp, beta1, t, lr.dtype), eps * root_V
