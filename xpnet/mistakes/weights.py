"""Does a gradient add up the samples with other weights than ours? That is looked for last.

Every gradient is linear in the weights of the samples, dW = A^T diag(w) dZ and db = dZ^T w. Where
nothing else explains the last layer, its equations are solved for w (m,), and what w says has a
name: samples left out, counted twice, weighted by their class, or one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..types import Array
from .deltas import Delta, Made, correct_output_delta
from .fit import NOISE_MARGIN, UNSURE, solve, tolerance
from .hypotheses import Block
from .search import Search
from .story import Story, Telling, scales
from .truth import correct_deltas

__all__ = ["weighted_story"]

MOST_SAMPLES = 256
"""A larger batch has more weights than the last layer has equations, as a rule."""

MOST_NUMBERS = 1_000_000
"""Equations times samples that are solved: more would take longer than all other hypotheses."""

MOST_OFTEN = 9
"""A sample that counts more often than this is weighted, not repeated."""

SHOWN = 5
"""Samples or weights in one sentence."""


class Weights(NamedTuple):
    """The weights of samples, or of groups of them, C included, and how far each may be off."""

    w: Array
    error: Array


class Weighting(NamedTuple):
    """What weights say.

    ``names``: the mistake, and what it cannot be told from. ``relative`` (m,): the weights over
    C. ``scales``: the constants C to try. ``text`` and ``said``: the weights as a formula and as
    a sentence.
    """

    names: tuple[str, ...]
    relative: Array
    scales: list[float]
    text: str
    said: str


def weighted_story(search: Search, story: Story) -> Story:
    """``story``, or the one in which all gradients have other weights of the samples.

    It is told only where a gradient of the last layer is unexplained, w can be told, and the same
    w are in every gradient that is given. Batches of more than MOST_SAMPLES, or with more than
    MOST_NUMBERS numbers in their equations, are left alone.
    """
    last = [block for block in search.blocks if block.layer == search.t.L]
    if all(story.best.get(block.name, True) for block in last):
        return story
    equations = equations_of(search, last)
    weighting = None if equations is None else weighting_of(search, equations)
    if weighting is None:
        return story
    told = [told_with(search, weighting, scale) for scale in weighting.scales]
    return min((one for one in told if one), key=lambda one: one.cost, default=story)


def told_with(search: Search, weighting: Weighting, scale: float) -> Story | None:
    """The story from the right delta of the last layer with these weights.

    None where some gradient that they change has not got them.
    """
    right, l = correct_output_delta(search.t), search.t.L
    made = [Made(name, l) for name in weighting.names]
    terms = (weighting.relative[:, np.newaxis] * right.terms[0],)
    lines = (f"{right.lines[0]}, each row times its w: {weighting.text}",)
    telling = Telling(search, scale)
    telling.shown.update(made)
    telling.known += [Delta(l, terms, (one,), lines) for one in made]
    story = telling.story()
    for block in search.blocks:
        one = story.best.get(block.name)
        shown = one is not None and (made[0] in one.match.made_before or not one.match.c)
        if not shown and (one is None or changed(search, block, weighting.relative)):
            return None
    return story._replace(said=weighting.said)


def changed(search: Search, block: Block, relative: Array) -> bool:
    """Whether weights show in the right gradient: not if only samples have them whose input is 0.

    All layers have the same weights, since a step back keeps the samples apart.
    """
    t, l = search.t, block.layer
    more = (relative - 1.0)[:, np.newaxis] * correct_deltas(t)[l]
    gap = t.A[l - 1].T @ more if block.kind == "W" else more.sum(axis=0)
    size = float(np.linalg.norm(search.truth[block.name]))
    return bool(np.linalg.norm(gap) > tolerance(search.eps) * size)


# ---- the equations -----------------------------------------------------------------------------


class Equations(NamedTuple):
    """g = columns w + penalty: a row for each number of the last layer's gradients.

    ``more``: there are more equations than weights. ``noise``: the size of rounding for weights
    of 1.
    """

    columns: Array
    penalty: Array | None
    g: Array
    more: bool
    noise: float
    eps: float

    def solved(self, groups: Array) -> Weights | None:
        """The weight of each group of samples, ``groups`` (m, q), or None where there are none.

        None, too, where some weight may be off by a good share of the largest.
        """
        X = self.columns @ groups
        if self.penalty is not None:
            X = np.column_stack([X, self.penalty])
        sizes = np.linalg.norm(X, axis=0)
        if not np.isfinite(sizes).all() or not (sizes > 0).all():
            return None
        solution, inverse = solve(X / sizes, self.g)
        if inverse is None:
            return None
        rest = float(np.linalg.norm(self.g - (X / sizes) @ solution))
        w = (solution / sizes)[: groups.shape[1]]
        slack = NOISE_MARGIN * float(np.abs(groups @ w).max()) * self.noise
        if not rest <= tolerance(self.eps) * float(np.linalg.norm(self.g)) + slack:
            return None
        error = (3 * rest + slack) * np.sqrt(np.maximum(np.diag(inverse), 0.0)) / sizes
        error = error[: len(w)]
        return Weights(w, error) if error.max() < UNSURE * np.abs(w).max() else None


def equations_of(search: Search, blocks: list[Block]) -> Equations | None:
    """The equations of the last layer's ``blocks``, or None where they are too many.

    Any wrong delta gives numbers in the product of the spaces that the inputs and the right delta
    span: with no more dimensions than weights there are weights for each, as of one output.
    """
    t, l2 = search.t, search.problem.l2
    A, W, dZ = t.A[t.L - 1], t.W[t.L], correct_output_delta(t).terms[0]
    n = {"W": W.size, "b": W.shape[1]}
    if t.m > MOST_SAMPLES or t.m * sum(n.values()) > MOST_NUMBERS:
        return None
    if any(np.size(block.g) != n[block.kind] for block in blocks):
        return None
    factors = {"W": A, "b": np.ones((t.m, 1))}
    inputs = np.column_stack([factors[block.kind] for block in blocks])
    rank = int(np.linalg.matrix_rank(inputs) * np.linalg.matrix_rank(dZ))
    columns = (inputs[:, :, np.newaxis] * dZ[:, np.newaxis, :]).reshape(t.m, -1).T
    penalty = [W.ravel() if block.kind == "W" else np.zeros(n["b"]) for block in blocks]
    regularised = l2 > 0 and any(block.kind == "W" for block in blocks)
    return Equations(
        columns,
        np.concatenate(penalty) if regularised else None,
        np.concatenate([np.ravel(block.g) for block in blocks]),
        rank > t.m + regularised,
        float(np.linalg.norm([search.noise[block.name] for block in blocks])),
        search.eps,
    )


# ---- what weights say --------------------------------------------------------------------------


def weighting_of(search: Search, equations: Equations) -> Weighting | None:
    """What the weights that solve the equations say, the simplest first; None if they are equal."""
    t = search.t
    weights = equations.solved(np.eye(t.m))
    if weights is None:
        return None
    labels = labels_of(t.Y)
    by_class = None if labels is None else weighted_by_class(search, equations, labels)
    times = counted(weights)
    if times is not None:
        others = ("weighted-by-class",) if by_class else ()
        constant = equations.solved(times[:, np.newaxis])
        equal = times.min() == times.max()
        return None if equal or constant is None else repeated(search, times, constant, others)
    if by_class is not None or not equations.more:
        return by_class
    C = usual_scale(search)
    w = weights.w
    said = f"Over their mean the weights are, from sample 0 on: {numbers(w / np.abs(w).mean())}."
    return Weighting(("weighted-samples",), w / C, [C], numbers(w / C), said)


def counted(weights: Weights) -> Array | None:
    """How often each sample counts, if all weights are whole multiples of the smallest."""
    w, error = weights
    seen = np.flatnonzero(np.abs(w) > error)
    if not seen.size:
        return None
    smallest = seen[np.argmin(np.abs(w[seen]))]
    one = w[smallest]
    if error.max() >= UNSURE * abs(one):
        return None
    times = np.rint(w / one) + 0.0  # no -0
    exact = np.abs(w - times * one) <= error + times * error[smallest]
    return times if exact.all() and times.min() >= 0 and times.max() <= MOST_OFTEN else None


def repeated(search: Search, times: Array, constant: Weights, others: tuple[str, ...]) -> Weighting:
    """Samples that count ``times`` (m,) each, with one constant, which may be that of fewer."""
    share, to_try, remark = constant_of(search, times, constant)
    unusual = np.flatnonzero(times != 1)
    if times.max() == 1:
        name, indices = "samples-left-out", few([str(i) for i in unusual])
        samples = f"sample{'s' * (len(unusual) > 1)} {indices}"
        text, said = f"0 for {samples}", f"Left out, counted from 0: {samples}"
    else:
        name = "samples-counted-twice"
        text = few([f"{share * times[i]:.6g} for sample {i}" for i in unusual])
        often = few([f"sample {i} counts {times[i]:.0f} times" for i in unusual])
        said = f"Counted from 0: {often}"
    text = f"{share:.6g}, but {text}"
    return Weighting((name, *others), share * times, to_try, text, f"{said}{remark}.")


def constant_of(search: Search, times: Array, constant: Weights) -> tuple[float, list[float], str]:
    """What a sample that counts once has over C, the constants C to try, and a remark on it."""
    m, n, c = len(times), int(times.sum()), abs(float(constant.w[0]))
    precision = max(tolerance(search.eps), float(constant.error[0]) / c)
    usual = scales(search)
    for share, remark in (
        (1.0, f"; the constant before the sum is that of all {m}"),
        (m / n, f"; it is divided by {n} in place of {m}"),
    ):
        fitting = [C for C in usual if abs(c - share * C) <= precision * c]
        if fitting:
            return share, fitting[:1], remark
    return 1.0, usual if search.problem.scales else [c], ""


def weighted_by_class(search: Search, equations: Equations, labels: Array) -> Weighting | None:
    """Weights that depend on the ``labels`` (m,) alone, if there are such."""
    classes, of_sample = np.unique(labels, return_inverse=True)
    if not 1 < len(classes) < len(labels):
        return None
    weights = equations.solved(np.eye(len(classes))[of_sample])
    if weights is None:
        return None
    C, w = usual_scale(search), weights.w[of_sample]

    def text(unit: float) -> str:
        pairs = zip(classes, weights.w / unit, strict=True)
        return few([f"{one:.6g} in class {c}" for c, one in pairs])

    said = f"Over the mean of all samples the weights are {text(np.abs(w).mean())}."
    return Weighting(("weighted-by-class",), w / C, [C], text(C), said)


def labels_of(Y: Array) -> Array | None:
    """The class of each sample, or None where the targets are not classes."""
    if not np.isin(Y, (0.0, 1.0)).all() or (Y.shape[1] > 1 and (Y.sum(axis=1) != 1).any()):
        return None
    labels: Array = Y[:, 0].astype(int) if Y.shape[1] == 1 else Y.argmax(axis=1)
    return labels


def usual_scale(search: Search) -> float:
    """The declared constant C, or that of the mean over the samples."""
    mean = (2.0 if search.problem.loss == "mse" else 1.0) / search.t.m
    return scales(search)[0] if search.problem.scales else mean


def numbers(w: Array) -> str:
    return few([f"{one:.6g}" for one in w])


def few(texts: list[str]) -> str:
    """The first of them, and how many there are more."""
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
