"""What of a planted mistake the numbers can show: the test material for ``xpnet explain``.

Independent of xpnet. ``draw`` makes a random network, ``choose`` a mistake for it, ``backprop`` the
gradients; ``changed`` says which of these are wrong, ``identifiable`` whether they can tell why.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from planted_backprop import Backprop, backprop, order
from planted_catalogue import MISTAKES, NotApplicableError, Plant, choose, plants
from planted_networks import Case, draw
from planted_weights import WEIGHTINGS, weights_show

__all__ = [
    "MISTAKES",
    "Case",
    "NotApplicableError",
    "Plant",
    "backprop",
    "changed",
    "choose",
    "draw",
    "identifiable",
    "order",
    "plants",
    "readings",
    "tolerance",
]


def tolerance(case):
    """Two gradients that are closer than this, relative to their norms, are the same."""
    return 1e-5 if case.dtype == np.float32 else 1e-7


def shapes(gradients):
    """The shapes without their ones: a row, a column and a vector are the same."""
    return tuple(tuple(n for n in g.shape if n != 1) for g in gradients.values())


class Vectors:
    """Several sets of gradients of the same shapes, as the rows of a matrix in float64."""

    def __init__(self, gradient_sets):
        sets = list(gradient_sets)
        sizes = [g.size for g in sets[0].values()]
        self.starts = np.cumsum([0, *sizes[:-1]])
        self.rows = np.stack([flat(gradients) for gradients in sets])

    def norms(self, rows):
        """The norm of each gradient of each row."""
        return np.sqrt(np.add.reduceat(rows**2, self.starts, axis=-1))


def flat(gradients):
    return np.concatenate([np.asarray(g, np.float64).ravel() for g in gradients.values()])


@lru_cache(maxsize=8)
def right(case):
    return backprop(case)


@lru_cache(maxsize=8)
def alternatives(case):
    """All single mistakes of the catalogue by the shapes of their gradients: names and numbers."""
    found = {}
    for name in MISTAKES:
        for plant in plants(case, name):
            try:
                gradients = backprop(case, [plant])
            except NotApplicableError:
                continue
            found.setdefault(shapes(gradients), []).append((name, gradients))
    return {
        key: ([name for name, _ in entries], Vectors(gradients for _, gradients in entries))
        for key, entries in found.items()
    }


def same(case, gradients, vectors, readings=True):
    """Which rows of ``vectors`` are these gradients, each to the tolerance.

    ``readings``: where the constant of the loss is not declared, a positive factor that is common
    to all makes no difference.
    """
    g, rows = flat(gradients), vectors.rows
    if readings and not case.declared:
        factor = (rows @ g) / np.maximum((rows**2).sum(axis=1), 1e-300)
        rows = rows * np.where(factor > 0, factor, 1.0)[:, None]
    correct = Vectors([right(case)])
    size = np.maximum(vectors.norms(rows), vectors.norms(g))
    if len(correct.rows[0]) == len(g):
        size = np.maximum(size, correct.norms(correct.rows[0]))
    return (vectors.norms(rows - g) <= tolerance(case) * size).all(axis=1)


@lru_cache(maxsize=8)
def readings(case):
    """The case and, if a mean was declared, the case with the sum over the outputs in its place."""
    if "mean" in case.declared.get("reduction", "") and case.loss != "softmax-xent" and case.k > 1:
        return (case, replace(case, C=case.C * case.k))
    return (case,)


@lru_cache(maxsize=8)
def in_float64(case):
    """The same numbers, computed with in float64."""
    W, b = ([v if v is None else v.astype(np.float64) for v in p] for p in (case.W, case.b))
    y = case.y if case.y.dtype.kind == "i" else case.y.astype(np.float64)
    return replace(case, x=case.x.astype(np.float64), y=y, W=W, b=b)


def mostly_rounding(case, mistakes, gradients):
    """Whether float32 leaves some gradient fewer right digits than mistakes are told by."""
    exact, correct = backprop(in_float64(case), mistakes), right(case)
    for name, g in gradients.items():
        size = max(np.linalg.norm(exact[name]), np.linalg.norm(correct[name]))
        if np.linalg.norm(exact[name] - g) > tolerance(case) * size:
            return True
    return False


def changed(case, gradients):
    """The names of the gradients that are not the correct ones, in the order of backprop."""
    correct = right(case)
    wrong = []
    for name in order(correct):
        one, other = {name: gradients[name]}, {name: correct[name]}
        if shapes(one) != shapes(other) or not same(case, one, Vectors([other]), False)[0]:
            wrong.append(name)
    return wrong


def identifiable(case, mistakes):
    """Whether the numbers can tell these mistakes from none and from any other single one.

    Where a gradient is one number, every mistake in it is also a factor: named factors and
    formulas can still be told apart, a factor without a name cannot be told from anything. A
    clipped gradient shows its limit if that is met twice and not everywhere, weights of samples are
    a solution of more equations than there are samples. Where the constant of
    the loss is not declared, gradients that a common positive factor makes equal are equal; where
    it is a mean, that may be one over the samples alone or over their outputs as well. What
    float32 leaves of a gradient must be more than rounding.
    """
    try:
        gradients = backprop(case, mistakes)
    except NotApplicableError:
        return False
    if not changed(case, gradients) or mostly_rounding(case, mistakes, gradients):
        return False
    for correct in map(right, readings(case)):
        if shapes(gradients) == shapes(correct) and same(case, gradients, Vectors([correct]))[0]:
            return False
    for plant in mistakes:
        if plant.name in WEIGHTINGS and not weights_tell(case):
            return False
        g = gradients.get(plant.place) if isinstance(plant.place, str) else None
        if plant.name == "wrong-factor" and g is not None and g.size == 1:
            return False
        if plant.name == "summed-over-outputs" and plant.place == "all" and readings(case)[1:]:
            return False  # the other mean, with another lambda
        if plant.name == "clipped-by-value":
            regulariser = case.l2 * case.W[int(plant.place[2:])] if plant.form == "data" else 0.0
            if g.shape != right(case)[plant.place].shape or not shows_its_limit(g - regulariser):
                return False
    single = mistakes[0].name if len(mistakes) == 1 else None
    for reading in readings(case):
        names, vectors = alternatives(reading).get(shapes(gradients), ((), None))
        if vectors is not None:
            equal = same(case, gradients, vectors)
            if any(hit and name != single for hit, name in zip(equal, names, strict=True)):
                return False
    return True


@lru_cache(maxsize=8)
def weights_tell(case):
    """Whether the weights of the samples follow from the gradients of the last layer."""
    with np.errstate(all="ignore"):
        delta = Backprop(case, ()).output_delta()
    return weights_show(case, delta, case.b[-1] is not None)


def shows_its_limit(g):
    sizes = np.abs(g)
    at_limit = sizes >= sizes.max() * (1.0 - 1e-5)
    return at_limit.sum() >= 2 and not at_limit[sizes > 0].all()
