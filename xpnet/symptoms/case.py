"""The Case a check looks at: a run's history, what is known of it, and its vitals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..types import NumpyArray
from .facts import Facts
from .history import History
from .leak import Shared
from .origin import Origin
from .vitals import Vitals

__all__ = [
    "Case",
    "classifies_well",
    "is_cross_entropy",
    "losses",
    "number",
    "percent",
    "skill",
    "works",
    "young",
]


class Case(NamedTuple):
    """``vitals`` are in the order of epochs; ``origin`` is where the first NaN came from."""

    history: History
    facts: Facts = Facts()
    vitals: tuple[Vitals, ...] = ()
    shared: tuple[Shared, ...] = ()
    origin: Origin | None = None


def losses(case: Case) -> NumpyArray:
    """The training losses up to the first that is not finite; first that of the untrained
    network, where its vitals were taken."""
    series = case.history.get("loss")
    found = np.zeros(0) if series is None else series.finite
    first = case.vitals[0] if case.vitals else None
    if first is not None and first.epoch == 0 and np.isfinite(first.loss):
        found = np.concatenate([[first.loss], found])
    return found


def is_cross_entropy(case: Case) -> bool:
    """Whether the loss is a cross-entropy: it is called so, or is not named and was once near
    that of a constant prediction or above, where squared errors of shares never are."""
    H, loss = case.facts.entropy, losses(case)
    if H is None or case.facts.loss not in (None, "softmax_xent", "bce") or not len(loss):
        return False
    return case.facts.loss is not None or bool(loss.max() >= 0.8 * H)


def skill(case: Case, column: str = "accuracy") -> NumpyArray | None:
    """(accuracy - chance) / (1 - chance): 0 is a constant prediction and 1 is all right."""
    series, chance = case.history.get(column), case.facts.chance(column)
    if series is None or chance is None or chance >= 1:
        return None
    return (series.values - chance) / (1.0 - chance)


def classifies_well(case: Case) -> bool | None:
    """Whether half of what chance leaves wrong is right at the end; None where no accuracy is."""
    for column in ("accuracy", "val_accuracy", "test_accuracy"):
        found = skill(case, column)
        if found is not None:
            return bool(found[-1] >= 0.5)
    return None


def works(case: Case) -> bool:
    """Whether the run has learned: it classifies well, or, where that is not known, its loss has
    halved.

    What is odd in the vitals of a network that works is a hint and no more: many a good network
    has dead or saturated units.
    """
    well, loss = classifies_well(case), losses(case)
    if well is not None:
        return well
    return len(loss) > 1 and bool(0 <= loss[-1] <= 0.5 * loss[0])


def young(case: Case) -> bool:
    """Whether the run has only begun to learn: its loss falls by 1 % or more in its second half,
    and, where it is a cross-entropy, has come below that of a constant prediction.

    Such a run is better left to go on than accused.
    """
    loss, H = losses(case), case.facts.entropy
    if len(loss) < 3 or (is_cross_entropy(case) and loss[-1] >= (H or 0)):
        return False
    return bool(loss[-1] <= 0.99 * loss[len(loss) // 2])


def percent(share: float) -> str:
    """A share as people read it: 0.1022 is "10.22 %"."""
    return f"{100 * share:.4g} %"


def number(value: float) -> str:
    """A figure with five digits, and with commas where it is large."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.5g}"
