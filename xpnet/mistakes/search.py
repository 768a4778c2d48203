"""Hypotheses about a gradient: every way to compute it with so many mistakes, compared with it.

A delta of the layer, a product with it, perhaps a multiple of the weights: whatever gives the
gradient's numbers up to a constant factor is a match.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..types import Array
from .deltas import Delta, Made, correct_output_delta, output_deltas, steps_back
from .fit import Fit, fit
from .problem import Problem
from .products import Product, bias_products, weight_products
from .trace import Trace, derivative, trace

__all__ = ["DEEPEST", "Block", "Match", "Search"]

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


class Match(NamedTuple):
    """A way to compute a gradient that gives its numbers.

    g = c h + mu p, with h for C = 1 and p the weights, where ``penalty`` says so. ``delta`` is
    None where there is none in it, ``text`` how the product is written. ``absolute``: h holds C
    already. ``eta`` belongs to weights that were already updated.
    """

    c: float
    c_error: float
    mu: float | None
    mu_error: float
    penalty: str | None
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


class Search:
    """The hypotheses about one set of gradients; matches are kept from one C to the next."""

    def __init__(self, problem: Problem, grads: dict[str, Array], eps: float) -> None:
        self.problem, self.eps = problem, max(eps, problem.eps)
        self.grads = grads
        self.t: Trace = trace(problem)
        self.blocks = [
            Block(kind, l, grads[f"d{kind}{l}"])
            for l in range(problem.n_layers, 0, -1)
            for kind in "Wb"
            if f"d{kind}{l}" in grads
        ]
        self._matches: dict[tuple[str, int], list[Match]] = {}
        self._deltas: dict[tuple[int, int], list[Delta]] = {}

    # ---- what the numbers are compared with ----------------------------------------------

    @cached_property
    def truth(self) -> dict[str, Array]:
        """The correct gradients for C = 1, without L2."""
        return correct_gradients(self.t)

    @cached_property
    def noise(self) -> dict[str, float]:
        """What rounding does to each: the same in float32, scaled to the user's precision."""
        with np.errstate(all="ignore"):
            rough = correct_gradients(trace(self.problem, np.float32))
        single = float(np.finfo(np.float32).eps)
        scale = max(self.eps / single, 1e-8)
        noise = {}
        for name, exact in self.truth.items():
            gap = float(np.linalg.norm(np.nan_to_num(rough[name].astype(np.float64)) - exact))
            l = int(name[2:])
            A, dZ = np.abs(self.t.A[l - 1]), np.abs(correct_deltas(self.t)[l])
            terms = A.T @ dZ if name[1] == "W" else dZ.sum(axis=0)
            size = float(np.linalg.norm(terms)) * single
            noise[name] = min(gap, float(np.linalg.norm(exact))) * scale + size * scale
        return noise

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
        return steps_back(self.t, following, n, given)

    # ---- matches: independent of C -------------------------------------------------------

    def products(self, block: Block, n: int) -> Iterator[Product]:
        make = weight_products if block.kind == "W" else bias_products
        return (p for p in make(self.t, block.layer, n) if same_shape(block.g, p.shape))

    def matches(self, block: Block, n: int, known: list[Delta]) -> list[Match]:
        """All ways with ``n`` new mistakes to make the gradient, up to a factor.

        ``known`` are the deltas, wrong ones, that other gradients have shown.
        """
        key = (block.name, n)
        if key not in self._matches:
            self._matches[key] = list(self._compare(block, self.hypotheses(block, n)))
            if n == 1:
                self._matches[key] += self.particular(block)
        return self._matches[key] + list(self._compare(block, self.later(block, n, known)))

    def hypotheses(self, block: Block, n: int) -> Iterator[tuple[Delta, Product, str | None]]:
        """Delta, product and penalty that have ``n`` mistakes together."""
        for in_delta in range(n + 1):
            for delta in self.deltas(block.layer, in_delta):
                yield from self.with_products(block, delta, n - in_delta)

    def later(
        self, block: Block, n: int, known: list[Delta]
    ) -> Iterator[tuple[Delta, Product, str | None]]:
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

    def with_products(
        self, block: Block, delta: Delta, n: int
    ) -> Iterator[tuple[Delta, Product, str | None]]:
        usual, others = self.penalties(block)
        for product in self.products(block, n):
            yield delta, product, usual
        if n > 0:
            for product in self.products(block, n - 1):
                for penalty in others:
                    yield delta, product, penalty

    def penalties(self, block: Block) -> tuple[str | None, list[str]]:
        """The penalty in a right gradient, and those that would be a mistake."""
        if block.kind == "b":
            return None, [] if self.t.b[block.layer] is None else ["b"]
        return ("l2", ["l1"]) if self.problem.l2 else (None, ["l2"])

    def _compare(
        self, block: Block, hypotheses: Iterable[tuple[Delta, Product, str | None]]
    ) -> Iterator[Match]:
        for delta, product, penalty in hypotheses:
            columns = [product.of(dZ) for dZ in delta.terms]
            found = self.fitted(block, columns, penalty)
            if found is not None:
                delta = settled(delta, found.eta)
                yield found._replace(delta=delta, product=product.made, text=product.text)

    def fitted(self, block: Block, columns: list[Array], penalty: str | None) -> Match | None:
        """The match of a gradient with ``columns`` and a penalty, or None."""
        l, n_terms = block.layer, len(columns)
        if penalty is not None:
            weights = {"l2": self.t.W, "l1": [np.sign(w) for w in self.t.W[1:]], "b": self.t.b}
            column = weights[penalty][l - 1 if penalty == "l1" else l]
            if np.size(column) != np.size(columns[0]) or not np.any(column):
                return None
            columns = [*columns, column]
        found: Fit | None = fit(block.g, columns, self.noise[block.name], self.eps)
        if found is None:
            return None
        eta = -found.c[1] / found.c[0] if n_terms == 2 else None
        if eta is not None and not eta > 0:
            return None
        return Match(
            c=float(found.c[0]),
            c_error=float(found.error[0]),
            mu=float(found.c[-1]) if penalty else None,
            mu_error=float(found.error[-1]) if penalty else 0.0,
            penalty=penalty,
            eta=eta,
            residual=found.residual,
            determined=found.determined,
        )

    def particular(self, block: Block) -> Iterator[Match]:
        """Mistakes that are not a delta and a product."""
        l, t = block.layer, self.t
        usual, _ = self.penalties(block)
        for j in range(1, t.L + 1):
            other = self.truth[f"d{block.kind}{j}"]
            if j != l and same_shape(block.g, other.shape):
                found = self.fitted(block, [other], usual)
                if found is not None:
                    made = (Made("gradient-of-another-layer", l),)
                    yield found._replace(product=made, text=f"d{block.kind}{j}")
        following = self.grads.get(f"dW{l + 1}")
        if block.kind == "W" and l < t.L and following is not None:
            if following.shape != t.W[l + 1].shape or not same_shape(block.g, t.W[l].shape):
                return
            local = t.A[l - 1].T @ derivative(t.f[l], t.Z[l])
            for column in (following.sum(axis=1), following[:, 0]):
                wide = np.repeat((local @ column)[:, np.newaxis], t.W[l].shape[1], axis=1)
                found = self.fitted(block, [wide], usual)
                if found is not None:
                    made = (Made("weight-gradient-passed-back", l),)
                    text = f"({'x' if l == 1 else f'A{l - 1}'}.T @ f'(Z{l})) @ dW{l + 1}"
                    yield found._replace(product=made, text=text, absolute=True)


def settled(delta: Delta, eta: float | None) -> Delta:
    """``delta`` with its unknown eta filled in."""
    if eta is None:
        return delta
    lines = (f"{delta.lines[0]} and lr = {eta:.6g}", *delta.lines[1:])
    return delta._replace(terms=(delta.terms[0] - eta * delta.terms[1],), lines=lines)


def correct_deltas(t: Trace) -> dict[int, Array]:
    """dZ of every layer, for C = 1."""
    delta = correct_output_delta(t)
    deltas = {t.L: delta.terms[0]}
    for l in range(t.L - 1, 0, -1):
        delta = next(iter(steps_back(t, delta, 0)))
        deltas[l] = delta.terms[0]
    return deltas


def correct_gradients(t: Trace) -> dict[str, Array]:
    """dW and db of every layer, for C = 1 and without L2."""
    grads = {}
    for l, dZ in correct_deltas(t).items():
        grads[f"dW{l}"], grads[f"db{l}"] = t.A[l - 1].T @ dZ, dZ.sum(axis=0)
    return grads


def same_shape(g: Array, shape: tuple[int, ...]) -> bool:
    """Whether ``g`` has ``shape``, up to axes of length 1; a flat vector will do for any."""
    squeezed = tuple(n for n in shape if n != 1)
    mine = tuple(n for n in np.shape(g) if n != 1)
    return mine == squeezed or (np.ndim(g) == 1 and mine == (int(np.prod(squeezed)),))
