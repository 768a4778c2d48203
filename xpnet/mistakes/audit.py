"""An audit of somebody's training step: its gradients, its update rule, and what else it does.

The step is driven; from the parameters before and after it follows the gradient it must have
used, and from the next step what it remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import check_count, check_positive
from ..types import Array
from .behaviour import Remark, outputs_remarks, parameter_remarks, usable_biases
from .drive import Course, drive, read_parameters
from .explanation import Explanation
from .follow import Following, problem_of
from .rule import AGREEMENT, Rule
from .search import Search

__all__ = ["Audit", "audit"]
RIGHT = ("sgd", "momentum", "averaged-momentum", "nesterov")
"""Update rules that are one."""

ANY_FACTOR = {"wrong-factor", "doubled", "halved", "summed-over-outputs", "averaged-over-outputs"}
"""Factors that a learning rate may have as well as a gradient."""


class Audit(NamedTuple):
    """What a training step does: gradients, None where they cannot be told, rule, remarks."""

    gradients: Explanation | None
    rule: Rule
    remarks: tuple[Remark, ...]

    @property
    def correct(self) -> bool:
        """Whether all can be seen and is right: the gradients, a rule that is one, no remark."""
        right = self.gradients is None or self.gradients.correct
        return right and not self.remarks and self.rule.name in RIGHT

    @property
    def names(self) -> tuple[str, ...]:
        """Every mistake that was found, by name."""
        found = [remark.name for remark in self.remarks]
        if self.rule.name == "decay-posing-as-momentum":
            found.append(self.rule.name)
        for finding in self.gradients.gradients.values() if self.gradients else ():
            found += finding.mistakes or ([] if finding.verdict == "correct" else ["unexplained"])
        return tuple(dict.fromkeys(found))

    def __str__(self) -> str:
        lines = [f"update  {self.rule.name}: {self.rule.formula}"]
        lines += [f"{remark.name}: {remark.evidence} {remark.remedy}" for remark in self.remarks]
        return "\n".join([*lines, *([str(self.gradients)] if self.gradients else [])])


def audit(
    step: Callable[[Array, Array], Any],
    params: Callable[[], Mapping[str, Any] | Sequence[Any]],
    x: Array,
    y: Array,
    *,
    written: Callable[[], Mapping[str, Any] | Sequence[Any]] | None = None,
    forward: Callable[[Array], Any] | None = None,
    predict: Callable[[Array], Any] | None = None,
    kept: Callable[[], Mapping[str, Any] | Sequence[Any]] | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    n_steps: int = 3,
    **declared: Any,
) -> Audit:
    """Drive a training ``step(x, y)`` and report what it does to the parameters.

    ``params()`` gives the parameters that forward reads, as a mapping W1, b1 ... or a list in
    that order, in the rows layout: W (n_in, n_out). ``written()`` gives those that the step
    writes, if these are others; ``kept()`` what you keep as the best weights. ``forward`` and
    ``predict`` give the outputs of training and of prediction for a batch. With ``lr`` factors
    in the gradient can be told from the learning rate. ``x``, ``y`` are cut into batches of
    ``batch_size``, None for all at once. ``declared`` are activation, loss, output, reduction,
    scale and l2 as for ``Problem``. Raises UsageError if the step raises, DataError for
    parameters or data that fit no network.
    """
    check_count("the number of steps", n_steps, minimum=2)
    if batch_size is not None:
        check_count("the batch size", batch_size)
    if lr is not None:
        check_positive("the learning rate", lr)
    x, y = np.asarray(x), np.asarray(y)
    start, remarks = usable_biases(read_parameters(params))
    before = problem_of(start, x, y, declared)  # says at once what does not fit
    snapshot = kept() if kept is not None else None
    first = [np.array(f(x)) for f in (forward, predict) if f is not None]
    course = drive(step, params, written, x, y, batch_size, n_steps)
    last = [np.array(f(x)) for f in (forward, predict) if f is not None]
    remarks += parameter_remarks(course, snapshot, written is not None)
    both = forward is not None and predict is not None
    remarks += outputs_remarks(before, first, last, course, both)
    rule, explanation = Following(course, x, y, lr, declared).outcome()
    if rule.name == "sign-like":
        remarks += sign_remarks(course, declared)
    remarks += momentum_remarks(rule)
    if lr is not None and explanation is not None:
        remarks += rate_remarks(explanation, lr)
    return Audit(explanation, rule, tuple(remarks))


def rate_remarks(explanation: Explanation, lr: float) -> list[Remark]:
    """Whether every step is as much too long as another learning rate would make it."""
    last = [finding.mistakes[-1:] for finding in explanation.gradients.values()]
    names = {name for names in last for name in names}
    if len(names) != 1 or not names <= ANY_FACTOR or not all(last):
        return []
    return [
        Remark(
            "another-learning-rate",
            f"Every step is longer or shorter by one factor than lr = {lr:g} makes it "
            f"({names.pop()}).",
            "Look for a learning rate that is written into the code besides the one you pass, or "
            "for a gradient that is clipped by its norm.",
        )
    ]


def momentum_remarks(rule: Rule) -> list[Remark]:
    """Whether a rule with a momentum forgets the steps before."""
    if rule.name != "momentum" or rule.mu is None or 0 < rule.mu < 1 - AGREEMENT:
        return []
    if abs(rule.mu - 1) <= AGREEMENT:
        return [
            Remark(
                "gradients-never-zeroed",
                "Every step holds all of the step before: the gradients of all batches add up.",
                "Set them to zero before each batch, or let a momentum below 1 forget them.",
            )
        ]
    return [
        Remark(
            "momentum-out-of-range",
            f"Every step holds {rule.mu:.3g} times the step before.",
            "A momentum lies between 0 and 1: look at the sign of the velocity.",
        )
    ]


def sign_remarks(course: Course, declared: Mapping[str, Any]) -> list[Remark]:
    """Whether the first step of a rule that keeps only signs goes downhill."""
    problem = problem_of(course.params[0], *course.batches[0], declared)
    search = Search(problem, {}, problem.eps)
    shares = []
    for name, g in search.truth.items():
        if name[1:] in course.written[0]:
            change = course.written[1][name[1:]] - course.written[0][name[1:]]
            moved = (change != 0) & (g != 0)
            shares.append((np.sign(change) == -np.sign(g))[moved])
    agree = float(np.mean(np.concatenate(shares)))
    if agree > 0.99:
        return []
    return [
        Remark(
            "wrong-signs",
            f"Only {100 * agree:.1f} % of the numbers moved against the sign of their gradient.",
            "Check the gradients themselves with xpnet explain: the rule hides their size.",
        )
    ]
