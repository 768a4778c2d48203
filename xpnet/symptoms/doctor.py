"""The doctor: every check on a run, and what it found, the surest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import Dataset
from ..losses import RegressionLoss
from . import accuracy, curves, generalisation, gradients, initial, outputs, units
from .case import Case
from .facts import class_counts, gather_facts
from .history import read_history
from .leak import shared_samples
from .verdict import LEVELS, Check, Verdict
from .vitals import Vitals

__all__ = ["CHECKS", "doctor", "examine"]

CHECKS: dict[str, Check] = {
    check.name: check
    for module in (curves, accuracy, initial, outputs, gradients, units, generalisation)
    for check in module.CHECKS
}
"""Every symptom by its name, in the order in which equally sure verdicts are told."""


def doctor(
    history: Any,
    *,
    n_classes: int | None = None,
    labels: Any = None,
    test_labels: Any = None,
    loss: Any = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.0,
    vitals: Sequence[Vitals] = (),
    train: Dataset | None = None,
    validation: Dataset | None = None,
) -> list[Verdict]:
    """Say what is wrong with a run, the surest first; [] where nothing is.

    ``history`` is a sequence of Reports, of mappings or of losses, or a mapping of columns, as a
    log has them: loss, val_loss, accuracy, val_accuracy, test_accuracy, lr, grad_norm,
    weight_norm, by any usual name; accuracies as shares or in percent. All else is optional and
    lets it see more: ``labels`` are those of the training set, labels (n,), one-hot (n, C) or
    {class: count}; ``loss`` is a Loss or its name; ``vitals`` those of each epoch; ``train`` and
    ``validation`` are compared sample by sample. Raises DataError or UsageError, which name what
    makes no sense.
    """
    regression = isinstance(loss, RegressionLoss) or loss in ("mse", "mae", "huber")
    if train is not None and labels is None and not regression and train.y.dtype.kind in "uib":
        labels = train.y
    weighted = train is not None and train.weight is not None
    facts = gather_facts(
        n_classes, labels, test_labels, loss, batch_size, learning_rate, momentum, weighted
    )
    shared = []
    if train is not None and validation is not None:
        shared.append(shared_samples("validation", train, validation))
        if facts.n_classes is not None and "accuracy" in facts.counts:
            counts = class_counts(validation.y, facts.n_classes, "validation labels")
            facts = facts._replace(counts={**facts.counts, "val_accuracy": counts})
    return examine(Case(read_history(history), facts, tuple(vitals), tuple(shared)))


def examine(case: Case) -> list[Verdict]:
    """The verdicts of all CHECKS on ``case``, the surest first."""
    verdicts = []
    for check in CHECKS.values():
        with np.errstate(all="ignore"):  # a log may hold any number
            finding = check.find(case)
        if finding is not None:
            verdicts.append(Verdict(check.name, *finding, check.meaning, check.remedy))
    return sorted(verdicts, key=lambda v: -LEVELS.index(v.level))  # stable
