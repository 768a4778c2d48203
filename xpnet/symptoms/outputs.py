"""Symptoms in the value a loss ends at: it is that of outputs that can no longer move."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .case import Case, losses, number, percent, works
from .history import Series
from .verdict import Check, Finding

__all__ = ["CHECKS", "output_stuck_at_one", "outputs_at_zero"]

N_DECLARED = 8
"""How many declarations of the squared error ``declared`` knows."""

CONVERGED = 1e-5
"""How near, relatively, a loss comes to the value at which all outputs are saturated."""


class Declared(NamedTuple):
    """A squared error as people declare it: targets ``low`` and ``high``, and a factor."""

    low: float
    high: float
    factor: float
    name: str


def declared(C: int) -> Iterator[Declared]:
    """Sum and mean over the outputs, with 1/2 and without, for the two usual kinds of targets."""
    for low, high in ((0.0, 1.0), (0.01, 0.99)):
        for factor, name in (
            (1.0, "sum of squares"),
            (0.5, "half the sum of squares"),
            (1.0 / C, "mean of squares"),
            (0.5 / C, "half the mean of squares"),
        ):
            yield Declared(low, high, factor, name)


def squared(case: Case) -> tuple[int, Series] | None:
    """The number of classes and the loss, where it may be a squared error of one-hot targets
    and nothing was learned; two classes have one output, as a rule."""
    C, loss = case.facts.n_classes, case.history.get("loss")
    if C is None or C < 3 or loss is None or case.facts.loss not in (None, "mse"):
        return None
    trained = case.history.get("accuracy") or case.history.get("test_accuracy")
    if not len(loss.finite) or (trained is not None and works(case)):
        return None
    return C, loss


def level_of(series: Series, value: float, n_values: int) -> str | None:
    """How sure it is that the loss has arrived at ``value``, one of ``n_values`` it could equal.

    The accident: the part of the neighbourhood that all of them cover, as wide as the last digit.
    """
    width = max(series.half, CONVERGED * value)
    if abs(float(series.finite[-1]) - value) > width * (1 + 1e-9):
        return None
    accident = n_values * 2 * width / value
    return "certain" if accident <= 2e-3 else ("likely" if accident <= 0.02 else "hint")


def outputs_at_zero(case: Case) -> Finding | None:
    """The squared error ends at high^2 + (C - 1) low^2: all outputs are 0.

    0.981 for ten targets of 0.01 and 0.99; 1 for 0 and 1; times 1/2, 1/C or both as declared.
    """
    found = squared(case)
    if found is None:
        return None
    C, loss = found
    for d in declared(C):
        value = d.factor * (d.high**2 + (C - 1) * d.low**2)
        level = level_of(loss, value, N_DECLARED)
        if level is not None:
            formula = f"{d.high:g}^2 + {C - 1} * {d.low:g}^2"
            return Finding(
                level, f"the loss ends at {number(float(loss.finite[-1]))}, and the {d.name} is "
                f"{number(value)} where all outputs are 0 ({formula} in sum)",
            )  # fmt: skip
    return None


def output_stuck_at_one(case: Case) -> Finding | None:
    """The squared error ends where one output is 1 and the others are 0 for every sample.

    p ((1 - high)^2 + (C - 1) low^2) + (1 - p) (high^2 + (1 - low)^2 + (C - 2) low^2), with p the
    share of that class.
    """
    found, counts = squared(case), case.facts.counts.get("accuracy")
    if found is None or counts is None:
        return None
    C, loss = found
    for d in declared(C):
        right = (1 - d.high) ** 2 + (C - 1) * d.low**2
        wrong = d.high**2 + (1 - d.low) ** 2 + (C - 2) * d.low**2
        values = d.factor * (right + (wrong - right) * (1 - counts / counts.sum()))
        n_values = N_DECLARED * len(set(values.tolist()))
        levels = [level_of(loss, float(value), n_values) for value in values]
        classes = [c for c, level in enumerate(levels) if level is not None]
        if classes:
            c = classes[0]
            names = " or ".join(map(case.facts.name_of, classes))
            end = number(float(loss.finite[-1]))
            return Finding(
                str(levels[c]), f"the loss ends at {end}, and the {d.name} is "
                f"{number(float(values[c]))} where only the output of class {names} is 1: "
                f"{percent(float(counts[c] / counts.sum()))} of the samples are of it",
            )  # fmt: skip
    return None


def cross_entropy_floor(case: Case) -> Finding | None:
    """The cross-entropy has stopped at ln(e + C - 1) - 1 or not far above, and never was below.

    That is the least where the scores given to softmax lie in 0 .. 1. So much accuracy has
    twice less loss where the scores are free, -a ln a - (1-a) ln((1-a)/(C-1)) if it is as sure as
    it is right; and it must have stopped, for a young network is unsure, too.
    """
    C, loss, accuracy = case.facts.n_classes, losses(case), case.history.get("accuracy")
    if C is None or case.facts.loss not in (None, "softmax_xent") or case.facts.smoothing:
        return None
    if len(loss) < 5 or accuracy is None or not 0 < accuracy.last <= 1:
        return None
    floor = math.log(math.e + C - 1) - 1
    a, last = min(accuracy.last, 1 - 1e-6), float(loss[-1])
    free = -a * math.log(a) - (1 - a) * math.log((1 - a) / (C - 1))
    above = (last - floor) / (math.log(C) - floor)
    stopped = abs(last - float(loss[-1 - len(loss) // 4])) <= 0.01 * last
    if loss.min() < floor * (1 - 1e-4) or above > 0.4 or last < 2 * free or not stopped:
        return None
    level = "certain" if above <= 0.01 and accuracy.last >= 0.95 else "likely"
    return Finding(
        level, f"the loss stops at {number(last)} with an accuracy of {percent(accuracy.last)}: "
        f"scores in 0 .. 1 cannot bring it below ln(e + {C - 1}) - 1 = {number(floor)}",
    )  # fmt: skip


def signed_loss(case: Case) -> Finding | None:
    """A loss is below 0, which squares, distances and -ln p never are."""
    for column in ("loss", "val_loss", "test_loss"):
        series = case.history.get(column)
        if series is None:
            continue
        low = float(np.min(series.finite, initial=0.0))
        if low < -series.half:
            level = "likely" if case.facts.loss is None else "certain"
            return Finding(level, f"{column} falls to {number(low)}")
    return None


def loss_contradicts_accuracy(case: Case) -> Finding | None:
    """More samples are wrong than the mean loss pays for.

    A sample that is classified wrongly costs ln 2 of cross-entropy at least, 1/2 of summed
    squares, and 1/(4 C) of the meanest declaration: half the mean of squares. Sample weights
    may break the bound.
    """
    C, accuracy = case.facts.n_classes, case.history.get("accuracy")
    loss = case.history.get("loss")
    if C is None or accuracy is None or loss is None or case.facts.weighted:
        return None
    if not (len(loss.finite) and math.isfinite(accuracy.last)):
        return None
    least = math.log(2) if case.facts.loss in ("softmax_xent", "bce") else 0.25 / C
    wrong, paid = 1 - accuracy.last - accuracy.half, (abs(loss.last) + loss.half) / least
    if not wrong > 1.5 * paid + 0.02:  # the accuracy may be of the weights a step later
        return None
    return Finding(
        "certain" if wrong > 4 * paid + 0.02 else "likely",
        f"{percent(1 - accuracy.last)} of the samples are wrong and each costs {number(least)} or "
        f"more, but the mean loss is {number(loss.last)}",
    )


CHECKS = (
    Check(
        "outputs-at-zero",
        "All outputs are saturated at 0, where the slope of the sigmoid is 0 and no gradient "
        "passes: the first steps were far too long.",
        "Average the gradient over the batch or divide the learning rate by the batch size, and "
        "scale inputs and initial weights.",
        outputs_at_zero,
    ),
    Check(
        "output-stuck-at-one",
        "One output is saturated at 1 and the others at 0, whatever the input is: the first steps "
        "were far too long.",
        "Average the gradient over the batch or divide the learning rate by the batch size, and "
        "scale inputs and initial weights.",
        output_stuck_at_one,
    ),
    Check(
        "cross-entropy-floor",
        "The scores before softmax are held in 0 .. 1: they are fitted to the one-hot targets "
        "(z - y for softmax(z) - y), or softmax or sigmoid is applied before a loss that applies "
        "softmax itself.",
        "Give the loss raw scores, and start backpropagation with softmax(z) - y.",
        cross_entropy_floor,
    ),
    Check(
        "signed-loss",
        "What is logged is a signed sum: errors of both signs cancel, so that it says nothing of "
        "how wrong the network is.",
        "Square the residuals or take their absolute values before they are summed.",
        signed_loss,
    ),
    Check(
        "loss-contradicts-accuracy",
        "The loss is nearly 0 while predictions are wrong: errors cancel in it, or it is taken "
        "from other samples or other weights than the accuracy.",
        "Compute loss and accuracy from the same outputs; square the residuals before they are "
        "summed.",
        loss_contradicts_accuracy,
    ),
)  # fmt: skip
