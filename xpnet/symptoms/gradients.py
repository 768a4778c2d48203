"""Symptoms in gradients, updates and the length of the weights."""

from __future__ import annotations

import math

import numpy as np

from .accuracy import constant_prediction
from .case import Case, classifies_well, losses, number, percent, works
from .curves import diverging, learning_rate_too_high
from .initial import softmax_over_batch, summed_loss
from .outputs import output_stuck_at_one, outputs_at_zero
from .shape import bare
from .verdict import Check, Finding

__all__ = ["CHECKS", "summed_gradient"]


def summed_gradient(case: Case) -> Finding | None:
    """lr m / (1 - mu), the step if the gradient is a sum, is above 1, and the run looks like it.

    Likely where the loss is itself a sum over the batch, or outputs were saturated by the first
    steps. For a gradient that is a mean the product says nothing, so a run that works is left in
    peace, and one that is merely ill gets a hint from 10 on.
    """
    facts = case.facts
    if facts.learning_rate is None or facts.batch_size is None or classifies_well(case):
        return None
    lr, m, mu = facts.learning_rate, facts.batch_size, facts.momentum
    step = lr * m / (1 - mu)
    said = f"lr m / (1 - mu) = {lr:g} * {m:,} / {1 - mu:g} = {number(step)}"
    over_batch = softmax_over_batch(case)
    summed = summed_loss(case) or (
        over_batch if over_batch and " m ln" in over_batch.evidence else None
    )
    for finding in (summed, outputs_at_zero(case), output_stuck_at_one(case)):
        if finding is not None and step > 1:
            return Finding("likely", f"{said}, and {finding.evidence}")
    if step >= 10 and (
        diverging(case) or learning_rate_too_high(case) or constant_prediction(case)
    ):
        return Finding("hint", said)
    return None


def vanishing_gradient(case: Case) -> Finding | None:
    """dLoss/dz is 10^4 times smaller at the first layer than at the last; or the logged gradient
    has fallen to 10^-5 of its first value.

    No learning rate suits two layers that differ so much. Both in a run that has not learned: a
    gradient may well vanish at a minimum, so that a loss that has halved makes it a hint.
    """
    if classifies_well(case):
        return None
    layers = case.vitals[-1].layers if case.vitals else ()
    if not works(case) and len(layers) > 1 and layers[-1].delta > 0:
        ratio = layers[0].delta / layers[-1].delta
        if ratio < 1e-4:
            return Finding(
                "certain" if ratio < 1e-7 else "likely",
                f"the mean size of dLoss/dz is {layers[-1].delta:.1e} at {layers[-1].name} and "
                f"{layers[0].delta:.1e} at {layers[0].name}",
            )
    logged = case.history.get("grad_norm")
    if logged is not None and len(logged.finite) > 1:
        first, last = float(logged.finite[0]), float(logged.finite[-1])
        loss = losses(case)
        if last <= 1e-5 * first and (not len(loss) or abs(loss[-1]) > 1e-3 * abs(loss[0])):
            level = "hint" if works(case) else "likely"
            return Finding(level, f"the gradient falls from {first:.2e} to {last:.2e}, and the "
                           "loss is not nearly 0")  # fmt: skip
    return None


def exploding_gradient(case: Case) -> Finding | None:
    """dLoss/dz is 10^3 times larger at the first layer than at the last; or the logged gradient
    reaches 10^3 times its median.

    With sensible weights it changes by less than a factor of 2 a layer.
    """
    level = "hint" if works(case) else "likely"
    layers = case.vitals[-1].layers if case.vitals else ()
    if len(layers) > 1 and layers[-1].delta > 0:
        ratio = layers[0].delta / layers[-1].delta
        if ratio > 1e3 and math.isfinite(ratio):
            return Finding(
                level, f"the mean size of dLoss/dz is {layers[-1].delta:.1e} at {layers[-1].name} "
                f"and {layers[0].delta:.1e} at {layers[0].name}",
            )  # fmt: skip
    logged = case.history.get("grad_norm")
    if logged is not None and len(logged.finite) >= 3:
        top, median = float(logged.finite.max()), float(np.median(logged.finite))
        if top >= 1e3 * median > 0:
            return Finding(level, f"the gradient reaches {top:.2e}, and its median is {median:.2e}")
    return None


def shrinking_weights(case: Case) -> Finding | None:
    """The length of the weights falls by the same factor at each record, below a fifth in all.

    The same: each ratio within a third of their mean in logarithms. Decay makes them shrink so
    where no gradient holds them.
    """
    courses = {}
    logged = case.history.get("weight_norm")
    if logged is not None:
        courses["the weights"] = bare(logged.finite)
    if case.vitals:
        for i, layer in enumerate(case.vitals[0].layers):
            course = np.array([v.layers[i].weight for v in case.vitals])
            courses[layer.name] = course[np.isfinite(course)]
    for name, course in courses.items():
        if len(course) < 4 or course.min() <= 0 or course[-1] > 0.2 * course[0]:
            continue
        rates = np.diff(np.log(course))
        if (np.abs(rates / rates.mean() - 1) <= 1 / 3).all():
            level = "hint" if works(case) else "likely"
            return Finding(
                level, f"the length of {name} falls from {number(float(course[0]))} to "
                f"{number(float(course[-1]))}, by {percent(1 - math.exp(float(rates.mean())))} "
                "a record",
            )  # fmt: skip
    return None


CHECKS = (
    Check(
        "summed-gradient",
        "The gradient is summed over the batch, but the learning rate is one for a mean: each "
        "step is m times too long.",
        "Divide the gradient by the batch size, or the learning rate.",
        summed_gradient,
    ),
    Check(
        "vanishing-gradient",
        "The gradient is lost on its way to the first layers: each flat activation or small "
        "matrix multiplies it by less than 1.",
        "Take ReLU or tanh for sigmoid, draw weights by He or Glorot, scale the inputs, and use "
        "fewer layers.",
        vanishing_gradient,
    ),
    Check(
        "exploding-gradient",
        "The gradient grows on its way to the first layers: each matrix multiplies it by more "
        "than 1.",
        "Clip the gradient by its norm, and draw weights by He or Glorot.",
        exploding_gradient,
    ),
    Check(
        "shrinking-weights",
        "Something multiplies the weights by a factor below 1 at every step: weight decay, or mu "
        "applied to the weights instead of a velocity.",
        "Write momentum with a velocity of its own, v = mu v - lr g; W = W + v, and lower the "
        "weight decay.",
        shrinking_weights,
    ),
)
