"""Symptoms in the course of the loss: it does not move, creeps, jumps, climbs or ends in NaN."""

from __future__ import annotations

import math

import numpy as np

from .case import Case, is_cross_entropy, losses, number, percent, works
from .columns import ACCURACIES, LOSSES
from .shape import bare, is_flat, ups
from .verdict import Check, Finding

__all__ = ["CHECKS", "diverging", "flat_loss", "learning_rate_too_high"]


def flat_loss(case: Case) -> Finding | None:
    """The loss is the same in three records or more, to the last digit or to a millionth.

    One of three digits may stand still by accident, unless accuracies stand still with it; where
    they do, two records of six digits are enough. A loss of 0, or an accuracy of 1, has nowhere to
    go.
    """
    loss = case.history.get("loss")
    if loss is None or not is_flat(loss, 2) or abs(loss.last) <= loss.half:
        return None
    n, digits = len(loss.values), abs(loss.last) / loss.half if loss.half else math.inf
    accuracies = [case.history.get(name) for name in ACCURACIES]
    recorded = [a for a in accuracies if a is not None and len(a.values) == n]
    if n < 3 and not (recorded and digits >= 1e5):
        return None
    if any(a.last == 1.0 for a in recorded):
        return None
    said = f"the loss is {number(loss.last)} in all {n} records"
    if not all(is_flat(a, 2) for a in recorded):
        return Finding("hint", f"{said}, and the accuracy is not") if n >= 3 else None
    level = "certain" if recorded or digits >= 1e5 else ("likely" if digits >= 1e3 else "hint")
    also = "".join(f", an accuracy {percent(a.last)}" for a in recorded[:1])
    return Finding(level, said + also)


def not_finite(case: Case) -> Finding | None:
    """A loss is NaN or infinite, or the weights are; where that began, as far as is known."""
    for column in LOSSES:
        series = case.history.get(column)
        if series is None or np.isfinite(series.values).all():
            continue
        good = series.finite
        said = f"{column} is not finite from record {len(good) + 1} of {len(series.values)} on"
        if len(good) == 0:
            said += ", the first: look at inputs, initial weights, ln 0 and 0/0"
        elif len(good) > 1 and good[-1] >= 2 * good.min():
            said += f", after it has grown from {number(good.min())} to {number(good[-1])}"
        else:
            said += f", suddenly after {number(good[-1])}: look for ln 0, 0/0 and exp of much"
        return Finding("certain", said)
    if case.origin is not None:
        return Finding("certain", case.origin.what)
    last = case.vitals[-1] if case.vitals else None
    if last is not None and last.not_finite:
        return Finding(
            "certain", f"after epoch {last.epoch} {last.not_finite} is the first that is not finite"
        )
    return None


def diverging(case: Case) -> Finding | None:
    """The loss ends at three times its first value and its least one, or more.

    No noise does that to a mean over an epoch; a network that knows nothing but is very sure of it
    does. Where ln C is known the end lies above it. The steps before a NaN are looked at first.
    """
    if case.origin is not None and len(case.origin.losses) > 1:
        first, *_, last = case.origin.losses
        if last >= 3 * first > 0:
            n = len(case.origin.losses)
            return Finding("certain", f"the loss grows from {number(first)} to {number(last)} in "
                           f"{n} steps")  # fmt: skip
    loss = losses(case)
    if len(loss) < 2 or loss.min() < 0:
        return None
    end = float(bare(loss)[-1])
    if end < 3 * loss[0] or end < 3 * loss.min() or end == 0:
        return None
    if is_cross_entropy(case) and end <= (case.facts.entropy or 0):
        return None
    series = case.history.get("loss")
    broken = series is not None and len(series.finite) < len(series.values)
    level = "certain" if broken or end >= 100 * loss[0] else "likely"
    return Finding(level, f"the loss grows from {number(float(loss[0]))} to {number(end)}")


def rising_loss(case: Case) -> Finding | None:
    """The first loss is the least, four steps of five go up, and by 5 % in all at least.

    And no accuracy gains by it.
    """
    loss = bare(losses(case))
    if len(loss) < 4 or ups(loss) < 0.8 or loss[0] > loss.min():
        return None
    accuracy = case.history.get("accuracy")
    if accuracy is not None and accuracy.last > accuracy.values[0]:
        return None
    if loss[-1] - loss[0] < 0.05 * abs(loss[0]):
        return None
    return Finding(
        "likely", f"the loss rises from {number(float(loss[0]))} to {number(float(loss[-1]))}, in "
        f"{percent(ups(loss))} of the steps",
    )  # fmt: skip


def learning_rate_too_low(case: Case) -> Finding | None:
    """The loss falls at nine steps of ten, by 2 % at most in all, and as fast at the end.

    As fast: in the last third by half of what it fell in the first. A run at its end is slower
    there, and one at the floor of its noise does not fall at nine steps of ten. Where vitals are
    known: no layer has changed by a thousandth in any epoch.
    """
    if works(case):
        return None
    updates = [u.update for v in case.vitals for u in v.layers if u.update is not None]
    if updates and 0 < max(updates) < 1e-3:
        return Finding("likely", f"no layer's weights change by more than {percent(max(updates))} "
                       "an epoch")  # fmt: skip
    loss = bare(losses(case))
    if len(loss) < 5 or loss[-1] <= 0 or is_flat(case.history.get("loss")):
        return None
    third, fall = len(loss) // 3, float(loss[0] - loss[-1])
    steady = loss[-1 - third] - loss[-1] >= 0.5 * (loss[0] - loss[third])
    if not 0 < fall <= 0.02 * loss[0] or ups(loss) > 0.1 or not steady:
        return None
    return Finding(
        "likely" if len(loss) >= 8 else "hint",
        f"the loss falls steadily, but only by {percent(fall / float(loss[0]))} in {len(loss)} "
        f"records, from {number(float(loss[0]))} to {number(float(loss[-1]))}",
    )


def learning_rate_too_high(case: Case) -> Finding | None:
    """The loss leaps to three times its first value, or swings by a tenth without end; or weights
    change tenfold in an epoch.

    It swings where the mean step of the second half is a tenth of the median loss, a third of the
    steps go up, and one of them by a quarter of the first loss. Small losses of a network that
    works may swing by as much of themselves, but not of the first. Weights that start small may
    well grow tenfold, but in the first epoch.
    """
    loss = losses(case)
    if len(loss) < 2 or loss.min() < 0 or loss[0] == 0:
        return None
    top = float(loss[1:].max())
    if top >= 3 * loss[0] and not (is_cross_entropy(case) and top <= (case.facts.entropy or 0)):
        return Finding("likely", f"the loss leaps from {number(float(loss[0]))} to {number(top)}")
    if works(case):
        return None
    for look in case.vitals:
        for layer in look.layers if look.epoch > 1 else ():
            if layer.update is not None and 10 <= layer.update < math.inf:
                times = f"{number(layer.update)} times their length"
                return Finding("likely", f"in epoch {look.epoch} the weights of {layer.name} "
                               f"change by {times}")  # fmt: skip
    curve = bare(loss)
    steps = np.diff(curve[len(curve) // 2 :])
    if len(curve) < 6:
        return None
    swing, median = float(np.abs(steps).mean()), float(np.median(curve))
    if swing >= 0.1 * median and (steps > 0).mean() >= 1 / 3 and steps.max() >= 0.25 * curve[0]:
        return Finding("likely", f"the loss swings by {number(swing)} from record to record around "
                       f"{number(median)}")  # fmt: skip
    return None


CHECKS = (
    Check(
        "flat-loss",
        "The parameters that make the predictions do not change: another copy of them is updated, "
        "or the gradient is 0.",
        "Compare the weights that forward reads before and after one step: look for local "
        "variables, copies, and updates of a class instead of an object.",
        flat_loss,
    ),
    Check(
        "not-finite",
        "A number was too large for its type, or there was a division by 0 or the logarithm of 0.",
        "Lower the learning rate or clip the gradient if the loss grew before; else compute the "
        "loss from raw scores, and look for NaN in the data.",
        not_finite,
    ),
    Check(
        "diverging",
        "Each step overshoots the minimum by more than it was away from it.",
        "Divide the learning rate by ten; see whether the gradient is a sum over the batch, and "
        "clip it if it leaps.",
        diverging,
    ),
    Check(
        "rising-loss",
        "The weights go up the gradient, as with the sign of one factor turned round, y - p for "
        "p - y; or the learning rate is far too high.",
        "Compare the gradient with central differences; subtract it, and take p - y.",
        rising_loss,
    ),
    Check(
        "learning-rate-too-low",
        "Each step goes down, but is so short that the run would take hundreds of times as long.",
        "Multiply the learning rate by ten until the loss no longer falls steadily; see whether "
        "the gradient is divided by the batch size twice.",
        learning_rate_too_low,
    ),
    Check(
        "learning-rate-too-high",
        "Steps are so long that they leap over the minimum from one side to the other.",
        "Divide the learning rate by three to ten, or let it warm up.",
        learning_rate_too_high,
    ),
)
