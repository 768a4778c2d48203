"""Symptoms in how training, validation and test figures compare."""

from __future__ import annotations

import math

import numpy as np

from .case import Case, number, percent
from .history import Series
from .verdict import Check, Finding

__all__ = ["CHECKS", "overfitting", "validation_leak"]

OTHERS = ("val", "test")

MOST = 400
"""Samples for which 4 deviations of an accuracy, 2/sqrt(n), are 10 points."""


def overfitting(case: Case) -> Finding | None:
    """Accuracy is 15 points lower on samples that were not trained on, or their loss has doubled.

    15 points, and 4 deviations of an accuracy on as few samples as there may be; a gap within them
    is a hint. The loss counts where there is no accuracy: twice its least value and three times
    the training loss. Less than that is a hint: the loss of a good classifier grows, too, as it
    becomes surer of its few errors.
    """
    hint: Finding | None = None
    for other in OTHERS:
        train, held = case.history.get("accuracy"), case.history.get(f"{other}_accuracy")
        if train is not None and held is not None:
            gap = train.last - held.last
            counts = case.facts.counts.get(f"{other}_accuracy")
            n = samples_behind(held) if counts is None else int(counts.sum())
            said = f"accuracy is {percent(train.last)} in training and {percent(held.last)} in"
            if gap >= 0.15 and case.history.n >= 3:
                hint = Finding("hint", f"{said} {other}")
                if gap >= 4 * math.sqrt(0.25 / n):
                    return hint._replace(level="likely")
        a, b = case.history.get("loss"), case.history.get(f"{other}_loss")
        if a is None or b is None or len(b.finite) < 3 or not len(a.finite):
            continue
        least, end, trained = float(b.finite.min()), float(b.finite[-1]), float(a.finite[-1])
        if least > 0 and end >= 1.1 * least and end > trained:
            far = end >= 2 * least and end >= 3 * trained and held is None
            said = f"{other}_loss rises from {number(least)} to {number(end)}, and the training "
            found = Finding("likely" if far else "hint", f"{said}loss ends at {number(trained)}")
            if far:
                return found
            hint = hint or found
    return hint


def samples_behind(accuracy: Series) -> int:
    """The smallest number of samples, up to MOST, that can have given these accuracies.

    0.6333 and 0.8 are 19 and 24 of 30, so that a gap of some points means nothing.
    """
    for n in range(1, MOST):
        right = accuracy.values * n
        if (np.abs(right - np.round(right)) <= n * accuracy.half + 1e-6).all():
            return n
    return MOST


def validation_leak(case: Case) -> Finding | None:
    """Samples are in two sets, or two columns are equal to the digit.

    Samples: ten points more are shared than the training set has doubles of its own. Columns: in
    three records that differ from each other, with four digits each. An accuracy of 100 % in
    validation and less in training is a hint, and on 200 samples more than that.
    """
    for s in case.shared:
        if s.share >= s.natural + 0.1:
            level = "certain" if s.share >= s.natural + 0.5 else "likely"
            return Finding(level, f"{s.n_shared:,} of the {s.n:,} {s.name} samples are in the "
                           "training set, too")  # fmt: skip
    for other in OTHERS:
        for kind in ("loss", "accuracy"):
            equal = equal_records(case.history.get(kind), case.history.get(f"{other}_{kind}"))
            if equal >= 3:
                return Finding("certain", f"{kind} and {other}_{kind} are equal to the last digit "
                               f"in {equal} records")  # fmt: skip
    train, held = case.history.get("accuracy"), case.history.get("val_accuracy")
    if train is None or held is None or len(held.values) < 3:
        return None
    if (held.values == 1.0).all() and (train.values < 0.99).all():
        counts = case.facts.counts.get("val_accuracy")
        level = "likely" if counts is not None and counts.sum() >= 200 else "hint"
        return Finding(level, f"val_accuracy is 100 % in all {len(held.values)} records, and "
                       f"accuracy ends at {percent(train.last)}")  # fmt: skip
    return None


def equal_records(a: Series | None, b: Series | None) -> int:
    """In how many distinct records two columns are equal, if in all; 0 where digits are few."""
    if a is None or b is None or len(a.values) != len(b.values):
        return 0
    half = max(a.half, b.half)
    if not np.array_equal(a.values, b.values) or not (np.abs(a.values) >= 2e3 * half).all():
        return 0
    return len(set(a.values.tolist()) - {0.0, 1.0})


def validation_easier(case: Case) -> Finding | None:
    """In the last third of the run the validation loss is a fifth below the training loss.

    That need not be wrong, so it is a hint.
    """
    train, held = case.history.get("loss"), case.history.get("val_loss")
    if train is None or held is None or len(train.finite) < 3:
        return None
    if len(train.finite) != len(held.finite) or train.finite.min() <= 0:
        return None
    third = slice(-max(1, len(train.finite) // 3), None)
    if not (held.finite[third] < 0.8 * train.finite[third]).all():
        return None
    return Finding("hint", f"val_loss ends at {number(held.finite[-1])} and loss at "
                   f"{number(train.finite[-1])}")  # fmt: skip


CHECKS = (
    Check(
        "overfitting",
        "The network learns what is peculiar to the training samples.",
        "Stop at the least validation loss, and take more data, weight decay, dropout or a "
        "smaller network.",
        overfitting,
    ),
    Check(
        "validation-leak",
        "The samples that are to judge the network were trained on, so the figures say nothing of "
        "new ones.",
        "Split before anything else is done to the samples, remove doubles, and compute "
        "validation figures from the validation arrays.",
        validation_leak,
    ),
    Check(
        "validation-easier",
        "Training figures are taken with dropout, or while the weights still move, or the "
        "validation samples are easier or known.",
        "Evaluate the training set as the validation set is evaluated: if the gap stays, look at "
        "how the samples were split.",
        validation_easier,
    ),
)
