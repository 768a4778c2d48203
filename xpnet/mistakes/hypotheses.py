"""Hypotheses about a gradient: every way to compute it with so many mistakes, compared with it.

A delta of the layer, a product with it, perhaps a multiple of the weights: whatever gives the
gradient's numbers up to a constant factor is a match.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ..types import Array
from .deltas import (
    Choice,
    Delta,
    Made,
    correct_output_delta,
    derivatives,
    output_deltas,
    steps_back,
)
from .elements import N_ELEMENTS, telling_elements
from .fit import UNSURE, Fit, fit
from .problem import Problem
from .products import Product, bias_products, same_shape, weight_products
from .trace import Trace, trace
from .truth import correct_gradients, rounding

__all__ = ["DEEPEST", "Block", "Extra", "Hypotheses", "Match"]

DEEPEST = 2
"""New mistakes looked for in one gradient."""


class Block(NamedTuple):
    """One of somebody's gradients: ``kind`` is W or b."""

    kind: str
    layer: int
    g: Array

    @property
    def name(self) -> str:
        return f"d{self.kind}{self.layer}"


class Extra(NamedTuple):
    """A multiple of something else in a gradient.

    ``kind``: l2 for the weights, l1 for their signs, b for the biases, velocity for the step
    before. ``error`` is how far ``value`` may be off.
    """

    kind: str
    value: float
    error: float


class Match(NamedTuple):
    """A way to compute a gradient that gives its numbers.

    g = c h + the extras, with h for C = 1. ``delta`` is None where there is none in it, ``text``
    how the product is written. ``absolute``: h holds C already. ``eta`` belongs to weights that
    were already updated.
    """

    c: float
    c_error: float
    extras: tuple[Extra, ...]
    eta: float | None
    residual: float
    determined: bool
    delta: Delta | None = None
    product: tuple[Made, ...] = ()
    text: str = ""
    absolute: bool = False

    @property
    def made_before(self) -> tuple[Made, ...]:
        """The mistakes in the delta."""
        return self.delta.made if self.delta else ()

    @property
    def made(self) -> tuple[Made, ...]:
        return (*self.product, *self.made_before)


Extras = tuple[tuple[str, Array], ...]
"""What else a gradient may be made of: kind and array of each."""

Hypothesis = tuple[Delta, Product, Extras]
"""A delta, a product with it, and the extras."""


class Hypotheses:
    """The hypotheses about one set of gradients; matches are kept from one C to the next."""

    def __init__(
        self,
        problem: Problem,
        grads: dict[str, Array],
        eps: float,
        previous: dict[str, Array] | None = None,
        copies: dict[int, Array] | None = None,
        elsewhere: Problem | None = None,
        blur: dict[str, float] | None = None,
    ) -> None:
        """``previous`` are the last changes of the parameters, which may be part of ``grads``.

        ``copies`` are other weights of a layer, ``elsewhere`` samples that are not in the batch,
        and ``blur`` says how far each gradient may be off, besides rounding.
        """
        self.blur = blur or {}
        self.problem, self.eps = problem, max(eps, problem.eps)
        self.previous = previous or {}
        self.grads = grads
        others = None if elsewhere is None else trace(elsewhere)
        self.t: Trace = trace(problem)._replace(copies=copies or {}, elsewhere=others)
        self.truth = correct_gradients(self.t)
        self.noise = rounding(problem, self.t, self.truth, self.eps)
        self.blocks = [
            Block(kind, l, grads[f"d{kind}{l}"])
            for l in range(problem.n_layers, 0, -1)
            for kind in "Wb"
            if f"d{kind}{l}" in grads
        ]
        self.sampled: dict[str, Array] = {}
        self._products: dict[tuple[str, int], list[Product]] = {}
        self._deltas: dict[tuple[int, int], list[Delta]] = {}
        self._derivatives: dict[int, list[Choice]] = {}

    # ---- what the numbers are compared with ----------------------------------------------

    def lost(self, block: Block, scale: float) -> bool:
        """Whether the right gradient is so small that it disappears in what may be off."""
        blur = self.blur.get(block.name, 0.0)
        return bool(blur and scale * np.linalg.norm(self.truth[block.name]) <= 10 * blur)

    def deltas(self, l: int, n: int) -> Iterable[Delta]:
        """dZ_l with exactly ``n`` mistakes; those with two are made anew each time."""
        if n >= DEEPEST:
            return self._make_deltas(l, n)
        if (l, n) not in self._deltas:
            self._deltas[l, n] = list(self._make_deltas(l, n))
        return self._deltas[l, n]

    def _make_deltas(self, l: int, n: int) -> Iterator[Delta]:
        if l == self.t.L:
            yield from output_deltas(self.t, n) if n else [correct_output_delta(self.t)]
            return
        for earlier in range(n + 1):
            for following in self.deltas(l + 1, earlier):
                yield from self.back(following, n - earlier)

    def back(self, following: Delta, n: int) -> Iterator[Delta]:
        """One step back with ``n`` mistakes in it."""
        given = self.grads.get(f"dW{following.layer}")
        l = following.layer - 1
        if l not in self._derivatives:
            self._derivatives[l] = derivatives(self.t, l)
        return steps_back(self.t, following, self._derivatives[l], n, given)

    # ---- compared up to a factor -----------------------------------------------------------

    def products(self, block: Block, n: int) -> list[Product]:
        """The ways with ``n`` mistakes that give an array of the gradient's shape."""
        if (block.name, n) not in self._products:
            make = weight_products if block.kind == "W" else bias_products
            ways = make(self.t, block.layer, n)
            self._products[block.name, n] = [p for p in ways if same_shape(block.g, p.shape)]
        return self._products[block.name, n]

    def hypotheses(self, block: Block, n: int) -> Iterator[Hypothesis]:
        """Delta, product and penalty that have ``n`` mistakes together."""
        for in_delta in range(n + 1):
            for delta in self.deltas(block.layer, in_delta):
                yield from self.with_products(block, delta, n - in_delta)

    def later(self, block: Block, n: int, known: list[Delta]) -> Iterator[Hypothesis]:
        """The same, but from a delta of this or a later layer that is known to be wrong."""
        for start in known:
            for in_delta in range(n + 1):
                for delta in self.passed_back(start, block.layer, in_delta):
                    yield from self.with_products(block, delta, n - in_delta)

    def passed_back(self, delta: Delta, l: int, n: int) -> Iterator[Delta]:
        """``delta`` passed back to layer ``l`` with ``n`` mistakes on the way."""
        if delta.layer == l:
            if n == 0:
                yield delta
            return
        for on_this_step in range(n + 1):
            for before in self.back(delta, on_this_step):
                yield from self.passed_back(before, l, n - on_this_step)

    def with_products(self, block: Block, delta: Delta, n: int) -> Iterator[Hypothesis]:
        for product in self.products(block, n):
            for extras in self.usual_extras(block, product.made):
                yield delta, product, extras
        if n > 0:
            for product in self.products(block, n - 1):
                for extras in self.wrong_extras(block, product.made):
                    yield delta, product, extras

    def usual_extras(self, block: Block, made: tuple[Made, ...]) -> list[Extras]:
        """What belongs to a gradient besides the product: the penalty, and perhaps a velocity."""
        velocity = self.velocity(block)
        if not self.problem.l2:
            return [velocity]
        if block.kind == "W":
            return [(("l2", w), *velocity) for w in self.penalties(block.layer, made)]
        if "bias-from-weights" in (m.name for m in made):
            return [velocity, (("l2", self.t.W[block.layer].sum(axis=0)), *velocity)]
        return [velocity]

    def wrong_extras(self, block: Block, made: tuple[Made, ...]) -> list[Extras]:
        """The same with a penalty that should not be there."""
        velocity, b = self.velocity(block), self.t.b[block.layer]
        if block.kind == "b":
            return [] if b is None or not np.any(b) else [(("b", b), *velocity)]
        penalties = self.penalties(block.layer, made)
        if self.problem.l2:
            return [(("l1", np.sign(w)), *velocity) for w in penalties]
        return [(("l2", w), *velocity) for w in penalties]

    def velocity(self, block: Block) -> Extras:
        change = self.previous.get(block.name)
        return () if change is None or not np.any(change) else (("velocity", change),)

    def penalties(self, l: int, made: tuple[Made, ...]) -> list[Array]:
        """The weights as they come out of a wrong product that is applied to the penalty, too."""
        W, names = self.t.W[l], [m.name for m in made]
        if "transposed" in names:
            return [W.T, W] if W.shape[0] == W.shape[1] else [W.T]
        if "reshaped-not-transposed" in names:
            return [W, W.T.reshape(W.shape)]
        return [np.broadcast_to(W, (self.t.m, *W.shape))] if "not-summed" in names else [W]

    def compare(self, block: Block, hypotheses: Iterable[Hypothesis]) -> Iterator[Match]:
        for delta, product, extras in hypotheses:
            if not self.plausible(block, delta, product, extras):
                continue
            columns = [product.of(dZ) for dZ in delta.terms]
            found = self.fitted(block, columns, extras, unsure_of(delta, product))
            if found is not None:
                delta = settled(delta, found.eta)
                yield found._replace(delta=delta, product=product.made, text=product.text)

    def plausible(self, block: Block, delta: Delta, product: Product, extras: Extras) -> bool:
        """Whether a hypothesis gives some elements of a large gradient: the rest costs more."""
        g = block.g
        if product.some is None or g.size <= 4 * N_ELEMENTS:
            return True
        index = self.sampled.get(block.name)
        if index is None:
            index = self.sampled[block.name] = telling_elements(g)
        parts = [product.some(dZ, index) for dZ in delta.terms]
        parts += [np.ravel(column)[index] for _, column in extras]
        noise, blur = self.noise[block.name], self.blur.get(block.name, 0.0)
        unsure = unsure_of(delta, product)
        return fit(np.ravel(g)[index], parts, noise, self.eps, blur, 10.0, unsure) is not None

    def fitted(
        self, block: Block, columns: list[Array], extras: Extras, unsure: float = UNSURE
    ) -> Match | None:
        """The match of a gradient with ``columns`` and ``extras``, or None."""
        noise, blur = self.noise[block.name], self.blur.get(block.name, 0.0)
        parts = [*columns, *(column for _, column in extras)]
        found: Fit | None = fit(block.g, parts, noise, self.eps, blur, unsure=unsure)
        if found is None:
            return None
        n, eta = len(columns), None
        if n == 2:
            eta = -float(found.c[1] / found.c[0]) if found.c[0] else 0.0
            if eta <= 0:
                return None
        others = zip(extras, found.c[n:], found.error[n:], strict=True)
        return Match(
            c=float(found.c[0]),
            c_error=float(found.error[0]),
            extras=tuple(Extra(kind, float(c), float(e)) for (kind, _), c, e in others),
            eta=eta,
            residual=found.residual,
            determined=found.determined,
        )


def unsure_of(delta: Delta, product: Product) -> float:
    """Only the right formula may explain what is half rounding: else a wrong one would."""
    return UNSURE if delta.made or product.made else 1.0


def settled(delta: Delta, eta: float | None) -> Delta:
    """``delta`` with its unknown eta filled in."""
    if eta is None:
        return delta
    lines = (f"{delta.lines[0]} and lr = {eta:.6g}", *delta.lines[1:])
    return delta._replace(terms=(delta.terms[0] - eta * delta.terms[1],), lines=lines)
