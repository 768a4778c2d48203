"""Symptoms in the units of a network, as its vitals show them.

What is odd in a network that works is a hint and no more.
"""

from __future__ import annotations

from .case import Case, number, percent, works, young
from .verdict import Check, Finding
from .vitals import LayerVitals

__all__ = ["CHECKS"]


def last_layers(case: Case) -> tuple[LayerVitals, ...]:
    """The layers at the end of the run, where they are finite."""
    if not case.vitals or case.vitals[-1].not_finite:
        return ()
    return case.vitals[-1].layers


def dead_units(case: Case) -> Finding | None:
    """Of a layer of ReLU three quarters or more give 0 for every sample of the probe batch.

    Good networks have up to a fifth of such units; with a half, a layer still does its work.
    """
    for layer in last_layers(case):
        if layer.dead < 0.3:
            continue
        level = "certain" if layer.dead >= 0.9 else ("likely" if layer.dead >= 0.75 else "hint")
        return Finding(
            "hint" if works(case) else level,
            f"{round(layer.dead * layer.units):,} of the {layer.units:,} units of {layer.name} "
            "give 0 for every sample of the probe batch",
        )
    return None


def saturated_units(case: Case) -> Finding | None:
    """Nine tenths of the outputs of a layer lie on a flat end of sigmoid or tanh.

    Outside 0.01 .. 0.99, or beyond +-0.98. Good networks have up to a half.
    """
    for layer in last_layers(case):
        if layer.saturated < 0.7:
            continue
        level = "certain" if layer.saturated >= 0.95 else "likely"
        return Finding(
            "hint" if works(case) or layer.saturated < 0.9 else level,
            f"{percent(layer.saturated)} of the outputs of {layer.name} lie where "
            f"{layer.activation} is flat",
        )
    return None


def broken_symmetry(case: Case) -> Finding | None:
    """Half of a hidden layer's units or more have the weights of another, or move as it does."""
    for layer in last_layers(case)[:-1]:
        for share, what in (
            (layer.twins, "have the same weights and bias as another"),
            (layer.paired or 0.0, "that moved in the last epoch moved as another did"),
        ):
            if share >= 0.5:
                level = "certain" if share >= 0.9 else "likely"
                return Finding(
                    "hint" if works(case) else level,
                    f"{percent(share)} of the {layer.units:,} units of {layer.name} {what}",
                )
    return None


def frozen_parameters(case: Case) -> Finding | None:
    """Parameters are, bit for bit, what they were an epoch before."""
    last = case.vitals[-1] if case.vitals else None
    if last is None or not last.frozen or last.not_finite:
        return None
    everything = 2 * len(last.layers) <= len(last.frozen)
    level = "hint" if works(case) else ("certain" if everything else "likely")
    return Finding(level, f"{', '.join(last.frozen)} did not change in epoch {last.epoch}")


def predicts_the_mean(case: Case) -> Finding | None:
    """In regression, the outputs vary by less than a twentieth of what the targets vary by.

    Where the mean residual is near 0 all the same, the bias has been learned and nothing else.
    """
    last = case.vitals[-1] if case.vitals else None
    if last is None or last.spread is None or last.residual is None or last.epoch == 0:
        return None
    if not last.spread < 0.05 or works(case):
        return None
    return Finding(
        "likely" if last.epoch >= 3 and not young(case) else "hint",
        f"the outputs vary by {percent(last.spread)} of what the targets vary by, and the mean "
        f"residual is {number(last.residual)} of the typical one",
    )


CHECKS = (
    Check(
        "dead-units",
        "A ReLU whose input is below 0 for every sample gives 0 and gets no gradient: it cannot "
        "come back.",
        "Lower the learning rate, start biases at 0 and weights by He, scale the inputs, or take "
        "leaky_relu or gelu.",
        dead_units,
    ),
    Check(
        "saturated-units",
        "On the flat ends of sigmoid and tanh the slope is nearly 0, and no gradient passes.",
        "Scale the inputs, draw smaller weights (Glorot), and lower the learning rate.",
        saturated_units,
    ),
    Check(
        "broken-symmetry",
        "Units that get equal gradients become or stay equal: a layer of them is one unit.",
        "Draw the initial weights at random, biases alone may start at 0; and see that each unit's "
        "gradient is its own, H^T dz and not a sum for all.",
        broken_symmetry,
    ),
    Check(
        "frozen-parameters",
        "These parameters get a gradient of 0, or their update goes to a copy.",
        "Look at what stands between them and the loss: dead or saturated units, or weights of 0.",
        frozen_parameters,
    ),
    Check(
        "predicts-the-mean",
        "The network gives every input about the mean of the targets: only its last bias has "
        "learned, or a product of sums stands where a sum of products should.",
        "Check the gradients of the weights, scale inputs and targets, and try to fit ten samples "
        "first.",
        predicts_the_mean,
    ),
)
