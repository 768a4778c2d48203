"""From the way parameters move to the gradients and the update rule behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..types import Array
from .behaviour import usable_biases
from .drive import Course, Params
from .explanation import Explanation, explanation_of
from .problem import Problem
from .rule import AGREEMENT, RULES, Rule, common, sign_like
from .search import Search
from .story import Story, best_story

__all__ = ["Following", "problem_of"]

POOL = 4
"""Samples from elsewhere whose cached activations are looked for."""

SMALLEST_DECAY = 1e-3
"""A share that the parameters lose in a step; a weight decay worth its name is smaller."""


def problem_of(params: Params, x: Array, y: Array, declared: Mapping[str, Any]) -> Problem:
    """The declared network with ``params`` on a batch."""
    usable, _ = usable_biases(params)
    n_layers = max(int(name[1:]) for name in usable)
    W = [usable.get(f"W{l}") for l in range(1, n_layers + 1)]
    b = [usable.get(f"b{l}") for l in range(1, n_layers + 1)]
    return Problem(x, y, W, b, **declared)


class Following:
    """The steps of a course, and what they must have done to the parameters.

    A step is W <- W - lr g; without ``lr``, g is what it took away, and a common factor in it
    cannot be told from the learning rate.
    """

    def __init__(
        self, course: Course, x: Array, y: Array, lr: float | None, declared: Mapping[str, Any]
    ) -> None:
        self.course, self.x, self.y, self.lr = course, x, y, lr
        if lr is None:
            declared = {k: v for k, v in declared.items() if k not in ("reduction", "scale")}
        self.declared = declared
        pairs = zip(course.written[:-1], course.written[1:], strict=True)
        self.changes = [{n: after[n] - before[n] for n in after} for before, after in pairs]

    def outcome(self) -> tuple[Rule, Explanation | None]:
        """The update rule, and the gradients where they can be told."""
        if not any(np.any(change) for change in self.changes[0].values()):
            return Rule("none", RULES["none"]), None
        if sign_like(self.changes[0]):
            return Rule("sign-like", RULES["sign-like"]), None
        rate = self.lr or 1.0
        search = self.search(0, rate)
        story = best_story(search)
        share = shrinking(search, story, rate)
        if share is not None:
            return self.decay(1.0 - share, rate)
        if best_story(self.search(1, rate)).cost > story.cost:  # more than a gradient
            mu = velocity(self.search(1, rate, self.changes[0]), rate)
            if mu is not None:
                return self.momentum(mu, search, story)
        name = "sgd" if any(story.best.values()) else "unknown"
        return Rule(name, RULES[name], None, story.scale), explanation_of(search, story)

    def search(self, t: int, rate: float, besides: Params | None = None) -> Search:
        """The search for the gradient of step ``t``, whose learning rate is ``rate``.

        A multiple of ``besides`` may be part of the step.
        """
        before = self.course.params[t]
        written, _ = usable_biases(self.course.written[t])
        rows = sorted({*range(min(POOL, len(self.x))), len(self.x) - 1})
        rounding = {n: self.course.eps * float(np.linalg.norm(a)) for n, a in written.items()}
        return Search(
            problem_of(before, *self.course.batches[t], self.declared),
            {f"d{name}": -self.changes[t][name] / rate for name in written},
            self.course.eps,
            {f"d{name}": a for name, a in (besides or {}).items()},
            {
                int(name[1:]): w
                for name, w in written.items()
                if name[0] == "W" and not np.array_equal(w, before[name])
            },
            problem_of(before, self.x[rows], self.y[rows], self.declared),
            {f"d{name}": size / rate for name, size in rounding.items()},
        )

    def decay(self, mu: float, rate: float) -> tuple[Rule, Explanation]:
        """The rule W <- mu W - (1 + mu) lr g: somebody's momentum that remembers no step."""
        search = self.search(0, rate * (1 + mu), self.course.written[0])
        story = best_story(search)
        name = "decay-posing-as-momentum"
        return Rule(name, RULES[name], mu, story.scale), explanation_of(search, story)

    def momentum(self, mu: float, search: Search, story: Story) -> tuple[Rule, Explanation]:
        """Momentum, or another one, if that explains the length of the first step as well.

        The first step of an average is (1 - mu) lr g. Nesterov's is (1 + a) lr g, and the next
        has a^2 / (1 + a) of it.
        """
        a = float(mu + np.sqrt(mu * mu + 4 * abs(mu))) / 2
        best = Rule("momentum", RULES["momentum"], mu, story.scale), search, story
        for name, own, factor in (("averaged-momentum", mu, 1 - mu), ("nesterov", a, 1 + a)):
            if self.lr is not None and 0 < own < 1 - AGREEMENT and story.cost > 0:
                other = self.search(0, self.lr * factor)
                cheaper = best_story(other)
                if cheaper.cost < best[2].cost:
                    best = Rule(name, RULES[name], own, cheaper.scale), other, cheaper
        rule, search, story = best
        return rule, explanation_of(search, story)


def shrinking(search: Search, story: Story, rate: float) -> float | None:
    """The share of itself that every parameter loses in a step, if it is the same for all."""
    shares = {
        name: extra.value * rate
        for name, named in story.best.items()
        for extra in (named.match.extras if named else ())
        if extra.kind in ("l2", "b")
    }
    share = common(list(shares.values()))
    if share is None or not SMALLEST_DECAY < share < 1:
        return None
    biases = [b for b in search.blocks if b.kind == "b" and np.any(search.t.b[b.layer])]
    shrunk = [b for b in biases if b.name in shares]
    weights = [b for b in search.blocks if b.kind == "W" and b.name in shares]
    return share if weights and 2 * len(shrunk) >= len(biases) else None


def velocity(search: Search, rate: float) -> float | None:
    """The momentum: what share of the step before is in this one, the same for all parameters."""
    shares = [
        -extra.value * rate
        for name, named in best_story(search).best.items()
        for extra in (named.match.extras if named and search.grads[name].size > 4 else ())
        if extra.kind == "velocity"
    ]
    return common(shares, smallest=1e-3)
