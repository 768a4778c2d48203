"""Symptoms in the loss at the start: ln C is what a network that knows nothing should have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from .accuracy import constant_prediction
from .case import Case, is_cross_entropy, losses, number, percent
from .columns import LOSSES
from .shape import is_flat
from .verdict import Check, Finding

__all__ = ["CHECKS", "hidden_state", "softmax_over_batch", "summed_loss"]

CLOSE = 0.02
"""An untrained network is within 2 % of ln C where its outputs are small, and m ln C likewise."""

ROUND = 1e-4
"""How near to a round number an m that was solved for must lie: one in a hundred does by chance."""


class Size(NamedTuple):
    """A number of samples that a loss may have been summed over."""

    m: int
    what: str
    given: bool


def sizes(case: Case, column: str, solved: float) -> Iterator[Size]:
    """The batch size and the sizes of the sets, as far as known, and ``solved`` if it is round."""
    if case.facts.batch_size:
        yield Size(case.facts.batch_size, "the batch size", True)
    counts = case.facts.counts.get(column.replace("loss", "accuracy"))
    if counts is not None:
        yield Size(int(counts.sum()), "the number of samples", True)
    m = round_number(solved)
    if m is not None and m >= 16:
        yield Size(m, "a round number of samples", False)


def round_number(x: float) -> int | None:
    """The power of two or number of two digits and zeros that ``x`` is, up to ROUND."""
    if not 1 <= x < 1e12:
        return None
    unit = 10 ** max(0, math.floor(math.log10(x)) - 1)
    m: int
    for m in (round(x / unit) * unit, 2 ** round(math.log2(x))):
        if abs(x / m - 1) <= ROUND:
            return m
    return None


def reduced(case: Case, kind: str) -> Finding | None:
    """The loss columns that begin where a ``kind`` of reduction over m samples puts them."""
    C, H = case.facts.n_classes, case.facts.entropy
    if C is None or H is None or not is_cross_entropy(case):
        return None
    parts, given = [], False
    for column in LOSSES:
        series = case.history.get(column)
        if series is None or not len(series.finite) or series.finite[0] <= 2 * H:
            continue
        value = float(series.finite[0])
        for size in sizes(case, column, solve(kind, C, value)):
            wanted, formula = expected(kind, C, size.m)
            if size.m > 2 and abs(value / wanted - 1) <= (CLOSE if size.given else ROUND):
                given = given or size.given
                parts.append(
                    f"{column} begins at {number(value)}, and {formula} is {number(wanted)} for "
                    f"m = {size.m:,}, {size.what}"
                )
                break
    if not parts:
        return None
    return Finding("certain" if given or len(parts) > 1 else "likely", "; ".join(parts))


def expected(kind: str, C: int, m: float) -> tuple[float, str]:
    """The loss of an untrained network, and its formula."""
    if kind == "sum":
        return m * math.log(C), f"m ln {C}"
    if kind == "softmax":
        return math.log(C * m), f"ln({C} m)"
    return m * math.log(C * m), f"m ln({C} m)"


def solve(kind: str, C: int, value: float) -> float:
    """The m that gives the loss ``value``."""
    if kind == "sum":
        return value / math.log(C)
    if kind == "softmax":
        return math.exp(min(value, 30.0)) / C
    m = value
    for _ in range(60):  # m = value / ln(C m) comes closer at each turn, for ln changes slowly
        m = value / math.log(C * max(m, 1.0))
    return m


def summed_loss(case: Case) -> Finding | None:
    """The loss begins at m ln C: it is the sum over m samples."""
    return reduced(case, "sum")


def softmax_over_batch(case: Case) -> Finding | None:
    """The loss begins at ln(C m), or summed at m ln(C m): each p is 1/(C m) and not 1/C."""
    return reduced(case, "both") or (None if summed_loss(case) else reduced(case, "softmax"))


def large_initial_loss(case: Case) -> Finding | None:
    """The first loss is above 3 ln C: untrained outputs are far apart.

    With outputs of unit variance it would be near ln C + 0.5, and 3 ln C is beyond any usual
    initialisation and any first epoch that learns. A hint where the run comes below ln C: it has
    got over it.
    """
    C, loss = case.facts.n_classes, losses(case)
    if C is None or not is_cross_entropy(case) or loss[0] <= 3 * math.log(C):
        return None
    if summed_loss(case) or softmax_over_batch(case):
        return None
    level = "likely" if loss[-1] >= math.log(C) else "hint"
    return Finding(level, f"the loss begins at {number(float(loss[0]))}; outputs that are nearly "
                   f"equal would give ln {C} = {number(math.log(C))}")  # fmt: skip


def hidden_state(case: Case) -> Finding | None:
    """The loss is flat, and a tenth or more from ln C: no update, and yet no fresh weights."""
    H, loss = case.facts.entropy, case.history.get("loss")
    if H is None or loss is None or not is_flat(loss) or not is_cross_entropy(case):
        return None
    if abs(loss.last / H - 1) < 0.1 or summed_loss(case) or softmax_over_batch(case):
        return None
    constant = constant_prediction(case)
    level = "likely" if constant is not None and constant.level != "hint" else "hint"
    said = f"the loss is {number(loss.last)} from first to last; small weights that are not "
    accuracy = case.history.get("accuracy")
    said += f"updated would give {number(H)}"
    if accuracy is not None:
        said += f", and the accuracy is {percent(accuracy.last)}"
    return Finding(level, said)


CHECKS = (
    Check(
        "summed-loss",
        "The loss is summed over the samples, and so is its gradient: the step grows with m.",
        "Divide the loss and its gradient by m, or the learning rate by m.",
        summed_loss,
    ),
    Check(
        "softmax-over-batch",
        "Softmax is normalised over the whole batch and not over each row, so that its sum is 1 "
        "over all m samples.",
        "Take maximum and sum along the classes with the dimension kept: axis=1, keepdims=True "
        "where rows are samples.",
        softmax_over_batch,
    ),
    Check(
        "large-initial-loss",
        "Before it has learned anything the network is very sure of itself: initial weights or "
        "inputs are too large, unless the loss is a sum over samples.",
        "Print the mean over the samples; scale inputs to about 1 and draw weights with variance "
        "2/n_in (He) or 1/n_in.",
        large_initial_loss,
    ),
    Check(
        "hidden-state",
        "The weights that make the predictions were moved before this run and not in it, such as "
        "variables of a notebook that an earlier cell has trained.",
        "Restart the interpreter and run from the top; pass the weights as arguments, and let "
        "forward and update use the same ones.",
        hidden_state,
    ),
)  # fmt: skip
