"""The story that explains all gradients together: the fewest mistakes, each counted once.

Layer by layer from the last to the first, the cheapest match of each gradient is taken. What a
later layer did wrong costs nothing again: its delta is passed on, its factor is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .deltas import Delta, Made
from .factors import Shape, name_factor, name_penalty
from .fit import tolerance
from .hypotheses import DEEPEST, Block, Match
from .search import Search

__all__ = ["Named", "Story", "Telling", "best_story", "scales"]

AGAIN = 0.05
"""Cost of a mistake that another gradient has shown already; a new one costs 1."""

NAMELESS = 1.5
"""Cost of a factor without a name."""

MISSING = 0.9
"""Cost of a gradient that was never computed: of all that makes zeros this comes first."""

UNEXPLAINED = 4.0
"""Cost of a gradient that nothing explains."""


class Named(NamedTuple):
    """A match with names for its numbers, given the constant C of the loss, and what it costs."""

    match: Match
    factors: tuple[str, ...]
    penalty: str | None
    cost: float

    @property
    def names(self) -> tuple[str, ...]:
        """All mistakes in it."""
        made = [made.name for made in self.match.made]
        penalty = [self.penalty] if self.penalty else []
        return tuple(dict.fromkeys([*made, *self.factors, *penalty]))


class Story(NamedTuple):
    """What was found for every gradient for one C: the best explanation, and its equals.

    ``said`` is what else the numbers say about a mistake in all of them.
    """

    scale: float
    best: dict[str, Named | None]
    equals: dict[str, list[Named]]
    cost: float
    said: str = ""


def best_story(search: Search) -> Story:
    """The cheapest story over all constants C worth trying."""
    best: Story | None = None
    for scale in scales(search):
        story = Telling(search, scale).story()
        if best is None or story.cost < best.cost - AGAIN / 2:
            best = story
        if best.cost == 0:
            break
    assert best is not None
    return best


def scales(search: Search) -> list[float]:
    """The constants worth trying: the declared ones, or those that most gradients show."""
    problem = search.problem
    if problem.scales:
        factor = 2.0 if problem.loss == "mse" else 1.0
        return [factor * C for C in problem.scales]
    seen: list[float] = []
    for n in (0, 1):
        found = [search.matches(block, n, []) for block in search.blocks]
        counted = [m for matches in found for m in matches if m.c and (m.determined or n == 0)]
        seen += [abs(m.c) for m in counted if not m.absolute]
        if all(found):
            break
    m, k = search.t.m, problem.n_outputs
    usual = [1 / m, 1.0, 2 / m, 0.5 / m, 0.5, 2.0, 1 / (m * k), 2 / (m * k)]
    votes = {s: sum(abs(s - r) <= 1e-4 * s for r in seen) for s in [*usual, *seen]}
    distinct: list[float] = []
    for s in sorted(votes, key=lambda s: -votes[s]):
        if all(abs(s - r) > 1e-4 * r for r in distinct):
            distinct.append(s)
    return distinct[:6]


class Telling:
    """One story in the making: what the gradients explained so far have shown."""

    def __init__(self, search: Search, scale: float) -> None:
        self.search, self.scale = search, scale
        self.shown: set[object] = set()
        self.known: list[Delta] = []

    def story(self) -> Story:
        """The cheapest explanation of all gradients; within a layer the clearest comes first."""
        found: dict[str, list[Named]] = {}
        for l in range(self.search.t.L, 0, -1):
            waiting = [block for block in self.search.blocks if block.layer == l]
            while waiting:
                choices = {block.name: self.explained(block) for block in waiting}
                waiting.sort(
                    key=lambda b: choices[b.name][0].cost if choices[b.name] else UNEXPLAINED
                )
                first = waiting.pop(0)
                found[first.name] = choices[first.name]
                if found[first.name]:
                    self.remember(found[first.name][0])
        names = [b.name for b in self.search.blocks if not self.lost(b, found[b.name])]
        best = {name: found[name][0] if found[name] else None for name in names}
        cost = sum(one.cost if one else UNEXPLAINED for one in best.values())
        return Story(self.scale, best, {name: found[name][1:] for name in names}, cost)

    def lost(self, block: Block, found: list[Named]) -> bool:
        """Whether nothing can be seen of a gradient that is too small to be."""
        return self.search.lost(block, self.scale) and (not found or found[0].match.c == 0)

    def remember(self, named: Named) -> None:
        """Note the mistakes of an accepted explanation, and its delta if that is a wrong one."""
        self.shown.update(named.match.made)
        self.shown.add(named.factors)
        delta = named.match.delta
        if delta and delta.made and all(delta.lines != d.lines for d in self.known):
            self.known.append(delta)

    def explained(self, block: Block) -> list[Named]:
        """The cheapest explanation of one gradient, and after it those that cost the same."""
        named: list[Named] = [] if np.any(block.g) else self.missing(block)
        for n in range(DEEPEST + 1):
            matches = self.search.matches(block, n, self.known)
            named += [one for m in matches if (one := self.named(block, m)) is not None]
            named.sort(key=lambda one: one.cost)
            if named and named[0].cost < n + 1:
                break
        cheapest = [one for one in named if one.cost <= named[0].cost + AGAIN / 2]
        distinct: dict[tuple[str, ...], Named] = {}
        for one in cheapest:
            distinct.setdefault(one.names, one)
        return self.supported(list(distinct.values()), block)

    def missing(self, block: Block) -> list[Named]:
        """A gradient of zeros is missing, unless it is right or has another shape."""
        truth = self.search.truth[block.name]
        zero = np.linalg.norm(truth) <= self.search.noise[block.name]
        if zero or np.size(block.g) != truth.size:
            return []
        made = (Made("missing", block.layer),)
        match = Match(0.0, 0.0, (), None, 0.0, False, product=made, text="0")
        return [Named(match, (), None, MISSING)]

    def supported(self, choices: list[Named], block: Block) -> list[Named]:
        """Equally cheap explanations, first the one that explains most other gradients as well."""
        if len(choices) < 2:
            return choices
        others = [b for b in self.search.blocks if b is not block and b.layer <= block.layer]

        def support(one: Named) -> int:
            made = set(one.match.made_before)
            if not made:
                return 0
            known = [self.search.matches(b, 1, []) for b in others]
            return sum(any(made <= set(m.made_before) for m in matches) for matches in known)

        return sorted(choices, key=lambda one: -support(one))

    def named(self, block: Block, match: Match) -> Named | None:
        """``match`` with names for its factor and penalty, or None: one number proves nothing."""
        search = self.search
        n = search.t.W[block.layer].shape[1]
        shape = Shape(search.t.m, search.problem.n_outputs, n, block.layer)
        ratio = match.c / (1.0 if match.absolute else self.scale)
        factors: tuple[str, ...] | None = ()  # of nothing there is no factor
        if match.c:
            precision = max(tolerance(search.eps), match.c_error / abs(match.c))
            factors = name_factor(ratio, precision, shape)
            if factors != () and loose(match, precision):
                factors = ()
        if factors is None:
            if not match.determined:
                return None
            factors = ("negated", "wrong-factor") if ratio < 0 else ("wrong-factor",)
        again = bool(factors) and factors in self.shown
        cost = sum(AGAIN if made in self.shown else 1.0 for made in match.made)
        cost += sum(AGAIN if again else NAMELESS if f == "wrong-factor" else 1.0 for f in factors)
        penalty = self.name_of_penalty(match, ratio)
        return Named(match, factors, penalty, cost + (penalty is not None))

    def name_of_penalty(self, match: Match, ratio: float) -> str | None:
        """The mistake in the multiple of the weights, if there is one.

        A factor before the whole gradient, ``ratio``, multiplies the penalty as well.
        """
        search = self.search
        problem, m = search.problem, search.t.m
        kinds = {extra.kind: extra for extra in match.extras}
        if "b" in kinds:
            return "regularised-bias"
        if "l1" in kinds:
            return "l1-for-l2"
        if "l2" not in kinds:
            return None
        _, mu, error = kinds["l2"]
        error += abs(mu) * 100 * search.eps
        ratios = [1.0, 1 / ratio if ratio else 1.0]
        if not problem.scales:  # a common factor of loss and penalty is a reading, too
            ratios += [1 / m / self.scale, 1.0 / self.scale]
        names = [name_penalty(mu * r, error * abs(r), problem.l2, m) for r in ratios]
        return None if None in names else names[0]


def loose(match: Match, precision: float) -> bool:
    """Whether a single sample's contribution stands there as it is, without any constant."""
    alone = any(made.name.endswith("sample-only") for made in match.product)
    return alone and any(abs(match.c - c) <= precision * c for c in (1.0, 2.0))
