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
from .drive import Course, Params, drive, read_parameters
from .explanation import Explanation, explanation_of
from .problem import Problem
from .rule import RULES, Rule, common, sign_like
from .search import Search
from .story import Story, best_story

__all__ = ["Audit", "audit"]

POOL = 4
"""Samples from elsewhere whose cached activations are looked for."""


class Audit(NamedTuple):
    """What a training step does: gradients, None where they cannot be told, rule, remarks."""

    gradients: Explanation | None
    rule: Rule
    remarks: tuple[Remark, ...]

    @property
    def correct(self) -> bool:
        """Whether nothing is wrong: right gradients, a rule that is one, no remark."""
        right = self.gradients is None or self.gradients.correct
        return right and not self.remarks and self.rule.name in ("sgd", "momentum", "nesterov")

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
    rule, explanation = follow(course, x, y, lr, declared)
    if explanation is None and rule.name == "sign-like":
        remarks += sign_remarks(course, declared)
    return Audit(explanation, rule, tuple(remarks))


def problem_of(params: Params, x: Array, y: Array, declared: Mapping[str, Any]) -> Problem:
    """The declared network with ``params`` on a batch."""
    usable, _ = usable_biases(params)
    n_layers = max(int(name[1:]) for name in usable)
    W = [usable.get(f"W{l}") for l in range(1, n_layers + 1)]
    b = [usable.get(f"b{l}") for l in range(1, n_layers + 1)]
    return Problem(x, y, W, b, **declared)


def follow(
    course: Course, x: Array, y: Array, lr: float | None, declared: Mapping[str, Any]
) -> tuple[Rule, Explanation | None]:
    """The update rule and the gradients that explain how the parameters moved."""
    if lr is None:  # no factor can be told from the learning rate
        declared = {k: v for k, v in declared.items() if k not in ("reduction", "scale")}
    changes = [
        {name: after[name] - before[name] for name in after}
        for before, after in zip(course.written[:-1], course.written[1:], strict=True)
    ]
    if not any(np.any(change) for change in changes[0].values()):
        return Rule("none", RULES["none"]), None
    if sign_like(changes[0]):
        return Rule("sign-like", RULES["sign-like"]), None
    unit = lr or 1.0
    search = search_at(course, 0, changes, unit, x, y, declared)
    story = best_story(search)
    shrink = shrinking(search, story, unit)
    if shrink is not None:
        mu = 1.0 - shrink
        search = search_at(course, 0, changes, unit, x, y, declared, mu)
        story = best_story(search)
        rule = Rule("decay-posing-as-momentum", RULES["decay-posing-as-momentum"], mu, None)
        return rule._replace(rate=story.scale), explanation_of(search, story)
    alone = best_story(search_at(course, 1, changes, unit, x, y, declared))
    share = None
    if alone.cost > story.cost:  # the second step is more than a gradient
        share = velocity(search_at(course, 1, changes, unit, x, y, declared, moving=True), unit)
    if share is None:
        return Rule("sgd", RULES["sgd"], None, story.scale), explanation_of(search, story)
    rule = Rule("momentum", RULES["momentum"], share, story.scale)
    ahead = float(share + np.sqrt(share**2 + 4 * abs(share))) / 2  # share = ahead^2 / (1 + ahead)
    if lr is not None and 0 < ahead < 1 and story.cost > 0:
        other = search_at(course, 0, changes, lr * (1 + ahead), x, y, declared)
        cheaper = best_story(other)
        if cheaper.cost < story.cost:
            search, story = other, cheaper
            rule = Rule("nesterov", RULES["nesterov"], ahead, story.scale)
    return rule, explanation_of(search, story)


def search_at(
    course: Course,
    t: int,
    changes: list[Params],
    lr: float,
    x: Array,
    y: Array,
    declared: Mapping[str, Any],
    decay: float | None = None,
    moving: bool = False,
) -> Search:
    """The search for the gradient of step ``t``: what it took away from the parameters over lr.

    With ``decay`` mu the step is read as W <- mu W - (1 + mu) lr g; with ``moving`` the step
    before may be part of it.
    """
    problem = problem_of(course.params[t], *course.batches[t], declared)
    places = sorted({0, 1, len(x) - 1, *range(2, min(POOL, len(x)))} & set(range(len(x))))
    elsewhere = problem_of(course.params[t], x[places], y[places], declared)
    grads, blur = {}, {}
    for name, change in changes[t].items():
        blur[f"d{name}"] = course.eps * float(np.linalg.norm(course.written[t][name])) / lr
        if decay is not None:
            change = (change + (1 - decay) * course.written[t][name]) / (1 + decay)
        if name in usable_biases(course.written[t])[0]:
            grads[f"d{name}"] = -change / lr
    before = changes[t - 1] if moving else {}
    previous = {f"d{name}": change for name, change in before.items()}
    copies = {
        int(name[1:]): w
        for name, w in course.written[t].items()
        if name[0] == "W" and not np.array_equal(w, course.params[t][name])
    }
    return Search(problem, grads, course.eps, previous, copies, elsewhere, blur)


def shrinking(search: Search, story: Story, lr: float) -> float | None:
    """The share of itself that every parameter loses in a step, if it is the same for all."""
    shares = [
        extra.value * lr
        for named in story.best.values()
        for extra in (named.match.extras if named else ())
        if extra.kind in ("l2", "b")
    ]
    weights = [block for block in search.blocks if block.kind == "W"]
    share = common(shares)
    enough = share is not None and len(shares) >= len(weights) and 1e-3 < share < 1
    regularised_biases = any(
        named and named.penalty == "regularised-bias" for named in story.best.values()
    )
    biases = [b for b in search.blocks if b.kind == "b" and np.any(search.t.b[b.layer])]
    return share if enough and (regularised_biases or not biases) else None


def velocity(search: Search, lr: float) -> float | None:
    """The momentum: what share of the step before is in this one, the same for all parameters."""
    story = best_story(search)
    shares = [
        -extra.value * lr
        for name, named in story.best.items()
        for extra in (named.match.extras if named and search.grads[name].size > 4 else ())
        if extra.kind == "velocity"
    ]
    return common(shares, smallest=1e-3)


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
