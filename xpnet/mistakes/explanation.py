"""What is said about each gradient: a verdict, its formula, the right one, and the reason."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .catalogue import CATALOGUE
from .formulas import formulas
from .hypotheses import Block
from .search import Search
from .story import Named, Story

__all__ = ["Explanation", "Finding", "explanation_of"]


class Finding(NamedTuple):
    """The verdict on one gradient.

    ``verdict`` is ``correct``, the name of a mistake, or ``unexplained``; ``mistakes`` are all
    that together give exactly these numbers, its own first. ``inherited``: none of them is its
    own, they come with the delta of a later layer. ``residual`` = ||g - formula|| / ||g||, for
    ``unexplained`` with the right formula. ``alternatives`` would give the same numbers here:
    where there are any, it is not ``identifiable``.
    """

    verdict: str
    mistakes: tuple[str, ...]
    inherited: bool
    residual: float
    formula: str
    correct_formula: str
    reason: str
    identifiable: bool
    alternatives: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


class Explanation(NamedTuple):
    """The verdicts on all gradients; ``factor`` is the constant C of the loss they belong to."""

    gradients: dict[str, Finding]
    factor: float
    reading: str
    warnings: tuple[str, ...]

    @property
    def correct(self) -> bool:
        """Whether every gradient is."""
        return all(finding.verdict == "correct" for finding in self.gradients.values())

    def __str__(self) -> str:
        lines = [self.reading]
        for name, finding in self.gradients.items():
            reason = f": {finding.reason}" if finding.reason else ""
            lines.append(f"{name}  {' + '.join(finding.mistakes) or finding.verdict}{reason}")
        return "\n".join([*lines, *self.warnings])


def explanation_of(search: Search, story: Story) -> Explanation:
    """The story of a search in words."""
    shown: dict[object, int] = {}
    findings = {}
    for block in search.blocks:
        if block.name not in story.best:
            continue
        best = story.best[block.name]
        if best is None:
            findings[block.name] = unexplained(search, story, block)
            continue
        findings[block.name] = finding(search, story, block, best, shown)
        for thing in (*best.match.made, best.factors):
            shown.setdefault(thing, block.layer)
    factor = story.scale / (2.0 if search.problem.loss == "mse" else 1.0)
    lost = [
        f"The right {block.name} is smaller than the rounding of the parameters: it shows nothing; "
        "use float64, or a larger learning rate."
        for block in search.blocks
        if block.name not in story.best
    ]
    said = (*warnings(search), *lost, *other_data(findings))
    return Explanation(findings, factor, reading(search, factor), said)


def finding(
    search: Search, story: Story, block: Block, best: Named, shown: dict[object, int]
) -> Finding:
    """One gradient's explanation; ``shown`` says at which layer a mistake was seen first."""

    def handed_down(thing: object) -> bool:
        return shown.get(thing, 0) > block.layer

    own = [made.name for made in best.match.product]
    passed_on: list[str] = []
    for made in reversed(best.match.made_before):
        (passed_on if handed_down(made) else own).append(made.name)
    (passed_on if handed_down(best.factors) else own).extend(best.factors)
    own += [best.penalty] if best.penalty else []
    mistakes = tuple(dict.fromkeys([*own, *passed_on]))
    wrong, right = formulas(search, block, story.scale, best.match)
    equals = [" + ".join(one.names) or "correct" for one in story.equals[block.name]]
    if not mistakes:
        equals += hidden_by_the_batch(search)
    because = reason(mistakes[0], block.layer) if mistakes else ""
    if story.said and own and best.match.made_before and block.layer == search.t.L:
        because = f"{because} {story.said}"
    return Finding(
        mistakes[0] if mistakes else "correct",
        mistakes,
        bool(mistakes) and not own,
        best.match.residual,
        wrong,
        right,
        because,
        not equals,
        tuple(equals),
    )


def reason(name: str, l: int) -> str:
    return CATALOGUE[name].reason.format(l=l, p=l - 1, n=l + 1)


def unexplained(search: Search, story: Story, block: Block) -> Finding:
    """The finding on a gradient that nothing in the catalogue gives."""
    truth = story.scale * search.truth[block.name]
    if block.kind == "W":
        truth = truth + search.problem.l2 * search.t.W[block.layer]
    _, right = formulas(search, block, story.scale, None)
    if np.shape(block.g) == np.shape(truth):
        size = np.linalg.norm(block.g) or 1.0
        gap = float(np.linalg.norm(block.g - truth) / size)
        how = f"it is {gap:.2g} of its size away from the right one"
    else:
        gap = float("inf")
        how = f"it has the shape {np.shape(block.g)}, the right one {np.shape(truth)}"
    text = f"No mistake in the catalogue, nor two of them, gives this gradient; {how}."
    return Finding("unexplained", (), False, gap, "", right, text, False, ())


def hidden_by_the_batch(search: Search) -> list[str]:
    """The mistakes that a right gradient cannot rule out, since the batch is too small."""
    if search.t.m == 1:
        return ["summed-not-averaged", "softmax-over-batch", "product-of-sums", "not-summed"]
    return ["times-half-the-batch"] if search.t.m == 2 else []


def other_data(findings: dict[str, Finding]) -> list[str]:
    """What to check where no gradient of the last layer is explained: little can go wrong there."""
    last = max((int(name[2:]) for name in findings), default=0)
    names = [name for name in findings if int(name[2:]) == last]
    if not names or any(findings[name].verdict != "unexplained" for name in names):
        return []
    return [
        f"Nothing explains {' and '.join(names)}: are x, y, W and b what your code had when it "
        "computed them? All samples and no others, scaled alike, none weighted, no dropout, and "
        "W from before the update."
    ]


def reading(search: Search, factor: float) -> str:
    """One sentence on the constant of the loss that the verdicts are about."""
    m, k = search.t.m, search.problem.n_outputs
    for value, name in (
        (1.0, "the sum over the samples"),
        (1 / m, "the mean over the samples"),
        (1 / (m * k), "the mean over samples and outputs"),
        (0.5, "half the sum over the samples"),
        (0.5 / m, "half the mean over the samples"),
    ):
        if abs(factor - value) <= 1e-5 * value:
            return f"The loss is read as {name}."
    return f"The loss is read as {factor:.6g} times the sum over samples and outputs."


def warnings(search: Search) -> tuple[str, ...]:
    """What these data cannot show, and how to make them show it."""
    t, said = search.t, []
    if t.m == 1:
        said.append(
            "A batch of 1 hides sums taken for means, a wrong axis and mixed-up samples: use 5."
        )
    if t.m == 2:
        said.append("A batch of 2 hides a factor m/2, and doubling for summing: use 5 samples.")
    for l in range(1, t.L + 1):
        n_in, n_out = t.W[l].shape
        if n_in == n_out:
            said.append(
                f"Layer {l} is square ({n_in} x {n_out}): your code would not notice a transposed "
                f"matrix there; try {n_in} x {n_out + 1}."
            )
        if n_out == t.m > 1:
            said.append(
                f"Layer {l} has as many units as there are samples ({t.m}): your code would not "
                "notice a wrong axis; use another batch size."
            )
        b = t.b[l]
        if b is not None and not np.any(b) and f"db{l}" in search.grads:
            said.append(f"b{l} is zero: a regularised bias would not show; use random biases.")
    for block in search.blocks:
        if np.linalg.norm(search.truth[block.name]) <= search.noise[block.name]:
            said.append(
                f"The right {block.name} is zero on these data (dead or saturated units): "
                "it shows nothing; use other weights."
            )
    return tuple(said)
