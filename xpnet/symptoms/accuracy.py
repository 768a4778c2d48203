"""Symptoms in the accuracy: it is that of a constant, of chance, or of other samples' labels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .case import Case, is_cross_entropy, losses, number, percent, skill, young
from .columns import ACCURACIES
from .facts import MNIST, Facts
from .history import Series
from .shape import is_flat
from .verdict import Check, Finding

__all__ = ["CHECKS", "constant_prediction", "plateau_at_chance"]

EXACT = 1e-6
"""How near an accuracy in full digits must come to a share: float32 has so many."""


class Match(NamedTuple):
    """Classes whose share an accuracy equals, and how probable that is by accident."""

    column: str
    accuracy: float
    classes: frozenset[int]
    accident: float
    counts: np.ndarray[tuple[int], np.dtype[np.float64]]


def match(
    column: str, series: Series, counts: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> Match:
    """Compare the last accuracy with the share of each class.

    The accident: a network near chance has an accuracy somewhere in 0 .. 2/C, of which the shares,
    each as wide as what was printed or as one sample, cover a part.
    """
    shares = counts / counts.sum()
    half = max(series.half, EXACT)
    classes = np.flatnonzero(np.abs(shares - series.last) <= half * (1 + 1e-9))
    width = max(2 * half, 1.0 / float(counts.sum()))
    accident = min(1.0, len(set(shares.tolist())) * width * len(shares) / 2)
    return Match(column, series.last, frozenset(classes.tolist()), accident, counts)


def constant_prediction(case: Case) -> Finding | None:
    """The accuracy is the share of one class, or the probe batch gets one class throughout.

    A hint where the loss is still falling, or is said to be a cross-entropy and 5 % below that of a
    constant: the outputs depend on the input, though not yet their largest one.
    """
    found, loss = constant_class(case), losses(case)
    named = case.facts.loss is not None and is_cross_entropy(case)
    informed = named and loss[-1] < 0.95 * (case.facts.entropy or 0)
    if found is not None and (informed or young(case)):
        return found._replace(level="hint")
    return found


def constant_class(case: Case) -> Finding | None:
    """The class that everything is given, from the probe batch or from the accuracies."""
    seen = constant_on_probe(case)
    if seen is not None and seen.level == "certain":
        return seen
    facts, assumed = with_mnist(case.facts)
    matches = []
    for column in ACCURACIES:
        series = case.history.get(column)
        counts = facts.counts.get(column, facts.counts.get("accuracy"))
        if series is None or counts is None or not math.isfinite(series.last):
            continue
        found = match(column, series, counts)
        if found.classes and counts.max() < counts.sum():
            matches.append(found)
        elif column in facts.counts and not assumed:
            return seen  # of these samples the shares are known, and it is none of them
    classes = frozenset.intersection(*(m.classes for m in matches)) if matches else frozenset()
    if not classes:
        return seen
    accident = math.prod(m.accident for m in matches)
    if accident > 0.3:
        return seen
    steady = any(is_flat(case.history.get(m.column)) for m in matches)
    if accident <= 1e-3 or (accident <= 0.02 and steady):
        level = "certain"
    elif steady or accident <= 0.05:
        level = "likely"
    else:
        level = "hint"
    if assumed and not (steady or len(matches) > 1):
        level = "hint"  # nobody said that this is MNIST
    where = " in MNIST" if assumed else ""
    parts = []
    for m in matches:
        c = min(classes)
        n, total = m.counts[c], m.counts.sum()
        parts.append(f"{m.column} {percent(m.accuracy)} is {n:,.0f} of {total:,.0f}")
    names = " or ".join(facts.name_of(c) for c in sorted(classes))
    return Finding(level, f"{', '.join(parts)}: the share of class {names}{where}")


def with_mnist(facts: Facts) -> tuple[Facts, bool]:
    """The facts; where no labels are known, with those of MNIST if there may be ten classes."""
    if facts.counts or facts.n_classes not in (None, 10):
        return facts, False
    counts = {name: np.array(c, np.float64) for name, c in MNIST.items()}
    counts["val_accuracy"] = counts["test_accuracy"]
    return facts._replace(n_classes=10, counts=counts), True


def constant_on_probe(case: Case) -> Finding | None:
    """All samples of the last probe batch are given one class, though they are of several."""
    if not case.vitals:
        return None
    last = case.vitals[-1]
    if last.predicted is None or last.labels is None or last.epoch == 0 or last.not_finite:
        return None
    c = int(last.predicted.argmax())
    largest = float(last.labels.max() / last.n)
    if last.predicted[c] < last.n or largest == 1:
        return None
    # where nearly all samples are of one class, a constant is a good prediction
    level = "hint" if largest >= 0.9 else ("certain" if last.n >= 32 else "likely")
    return Finding(
        level,
        f"all {last.n} samples of the probe batch are given class {case.facts.name_of(c)}, "
        f"which {percent(last.labels[c] / last.n)} of them have",
    )


def below_chance(case: Case) -> Finding | None:
    """The accuracy is under half of what the rarest class would give.

    No constant is as bad, and half leaves room for small sets: 4 deviations where their size is
    known.
    """
    for column in ("test_accuracy", "val_accuracy", "accuracy"):
        series = case.history.get(column)
        counts = case.facts.counts.get(column)
        if series is None or case.facts.n_classes is None or not math.isfinite(series.last):
            continue
        least = 1.0 / case.facts.n_classes
        if counts is not None:
            least = min(least, float(counts.min() / counts.sum()))
        a = series.last
        if a + series.half >= 0.5 * least:
            continue
        level = "likely" if (series.values[-3:] < 0.5 * least).sum() >= 3 else "hint"
        if counts is not None:
            sigmas = (least - a) / math.sqrt(least * (1 - least) / float(counts.sum()))
            level = "likely" if sigmas >= 4 else "hint"
        return Finding(level, f"{column} ends at {percent(a)}, and the rarest constant class "
                       f"would give {percent(least)}")  # fmt: skip
    return None


def plateau_at_chance(case: Case) -> Finding | None:
    """In the second half of the run, accuracy or loss are those of a constant prediction.

    Accuracy: a tenth of what chance leaves wrong, at most. Cross-entropy: within 2 % of the
    entropy of the classes, -sum p ln p, or ln C. Five records are asked for, and a loss that has
    stopped falling: a short run may only have begun to learn.
    """
    H, loss = case.facts.entropy, losses(case)
    crossed = is_cross_entropy(case)
    half = loss[len(loss) // 2 :]
    skills = skill(case)
    if skills is None:
        skills = skill(case, "val_accuracy")
    level = "likely" if case.history.n >= 5 and not young(case) else "hint"
    if crossed and H and len(half) >= 2 and not is_flat(case.history.get("loss")):
        stuck = bool((np.abs(half / H - 1) <= 0.02).all())
        if stuck and (skills is None or skills[-1] < 0.2):
            return Finding(
                level, f"the loss stays at {number(float(half[0]))} .. {number(float(half[-1]))}, "
                f"and a constant prediction has {number(H)}",
            )  # fmt: skip
        if skills is not None and half[-1] < 0.9 * H:
            return None  # it has learned something that the accuracy does not show
    if skills is None or len(skills) < 3 or is_flat(case.history.get("loss")):
        return None
    tail = skills[len(skills) // 2 :]
    if np.isfinite(tail).all() and tail[-1] <= 0.1 and tail.max() <= 0.15:
        series = case.history.get("accuracy") or case.history.get("val_accuracy")
        assert series is not None
        return Finding(level, f"the accuracy is {percent(series.last)} after {case.history.n} "
                       f"records; chance gives {percent(case.facts.chance() or 0)}")  # fmt: skip
    return None


def permuted_labels(case: Case) -> Finding | None:
    """Training samples are fitted, and on others the network is no better than chance.

    Fitted: half of what chance leaves wrong; no better: a tenth of it, in either direction.
    Overfitting leaves more than that.
    """
    train = skill(case)
    for column in ("val_accuracy", "test_accuracy"):
        other = skill(case, column)
        if train is None or other is None or not train[-1] >= 0.5:
            continue
        if abs(other[-1]) > 0.1:
            continue
        a, b = case.history.series["accuracy"].last, case.history.series[column].last
        return Finding("likely", f"accuracy is {percent(a)} and {column} {percent(b)}; chance "
                       f"gives {percent(case.facts.chance(column) or 0)}")  # fmt: skip
    return None


CHECKS = (
    Check(
        "constant-prediction",
        "The network gives every input the same class, so the accuracy is the share of that class.",
        "See whether the outputs differ between two inputs at all: if not, look for saturated or "
        "dead units, for weights that are not updated, and for inputs that are not scaled.",
        constant_prediction,
    ),
    Check(
        "below-chance",
        "The network is wrong more often than a constant would be, so it has learned, but labels "
        "or predictions are turned round or shifted.",
        "Compare predictions with labels for ten samples: look for labels that count from 1, "
        "argmin for argmax, and a gradient that is climbed.",
        below_chance,
    ),
    Check(
        "plateau-at-chance",
        "The outputs hardly depend on the input: the network predicts the shares of the classes.",
        "Try to fit ten samples: if that fails, check the gradients; if it works, train longer and "
        "check the learning rate, the initial weights and whether labels belong to their samples.",
        plateau_at_chance,
    ),
    Check(
        "permuted-labels",
        "What is learned of the training samples holds for no others, as where labels do not "
        "belong to their samples, or where the others are scaled otherwise.",
        "Look at ten samples of each set with their labels: was one array shuffled or sorted "
        "without the other? Are both scaled by the training set's figures?",
        permuted_labels,
    ),
)  # fmt: skip
