"""All matches of a gradient: the hypotheses, and mistakes that are no delta and product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..types import Array
from .deltas import Delta, Made
from .fit import fit
from .hypotheses import Block, Hypotheses, Match
from .products import same_shape
from .trace import derivative
from .truth import error_at

__all__ = ["Search"]


class Search(Hypotheses):
    """The search through one set of gradients; matches do not depend on C and are kept."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept: dict[tuple[str, int], list[Match]] = {}

    def matches(self, block: Block, n: int, known: list[Delta]) -> list[Match]:
        """All ways with ``n`` new mistakes to make the gradient, up to a factor.

        ``known`` are the deltas, wrong ones, that other gradients have shown.
        """
        key = (block.name, n)
        if key not in self.kept:
            self.kept[key] = list(self.compare(block, self.hypotheses(block, n)))
            if n == 1:
                self.kept[key] += self.particular(block)
        return self.kept[key] + list(self.compare(block, self.later(block, n, known)))

    def particular(self, block: Block) -> Iterator[Match]:
        """Mistakes that are not a delta and a product."""
        l, t = block.layer, self.t
        for j in range(1, t.L + 1):
            other = self.truth[f"d{block.kind}{j}"]
            if j == l or not same_shape(block.g, other.shape):
                continue
            penalised = self.problem.l2 and block.kind == "W"
            for penalty in ((("l2", t.W[j]),), (("l2", t.W[l]),)) if penalised else ((),):
                found = self.fitted(block, [other], (*penalty, *self.velocity(block)))
                if found is not None:
                    made = (Made("gradient-of-another-layer", l),)
                    yield found._replace(product=made, text=f"d{block.kind}{j}")
        yield from self.clipped(block)
        usual = self.usual_extras(block, ())[0]
        if block.kind == "W":
            for name, text, column, absolute in self.local_gradients(block):
                extras = usual if np.shape(column) == t.W[l].shape else ()
                found = self.fitted(block, [column], extras)
                if found is not None:
                    product = (Made(name, l),)
                    yield found._replace(product=product, text=text, absolute=absolute)

    def local_gradients(self, block: Block) -> Iterator[tuple[str, str, Array, bool]]:
        """What people make of the "local gradient" A_{l-1}^T f'(Z_l), samples already summed."""
        l, t = block.layer, self.t
        if t.f[l] is None:
            return
        a = "x" if l == 1 else f"A{l - 1}"
        local, text = t.A[l - 1].T @ derivative(t.f[l], t.Z[l]), f"({a}.T @ f'(Z{l}))"
        dA = error_at(t, l)
        if dA is not None and same_shape(block.g, local.shape):
            summed = f"{text} * dA{l}.sum(axis=0)"
            yield "product-of-sums", summed, local * dA.sum(axis=0), False
        following = self.grads.get(f"dW{l + 1}")
        if l < t.L and following is not None and following.shape == t.W[l + 1].shape:
            for column in (following.sum(axis=1), following[:, 0]):
                narrow = (local @ column)[:, np.newaxis]
                wide = np.repeat(narrow, local.shape[1], axis=1)
                fitting = wide if same_shape(block.g, wide.shape) else narrow
                if same_shape(block.g, fitting.shape):
                    yield "weight-gradient-passed-back", f"{text} @ dW{l + 1}", fitting, True

    def clipped(self, block: Block) -> Iterator[Match]:
        """The right gradient with all values beyond a limit cut off, before or after a penalty."""
        truth, g, l2 = self.truth[block.name], block.g, self.problem.l2
        if np.shape(g) != truth.shape:
            return
        penalty = l2 * self.t.W[block.layer] if block.kind == "W" and l2 else None
        for whole in (True, False) if penalty is not None else (True,):
            rest = g if whole or penalty is None else g - penalty
            limit = np.abs(rest).max()
            inside = np.abs(rest) < limit * (1 - edge(self.eps))
            columns = [truth] if penalty is None or not whole else [truth, penalty]
            if inside.sum() < len(columns):
                continue
            parts = [column[inside] for column in columns]
            found = fit(rest[inside], parts, self.noise[block.name], self.eps)
            if found is None:
                continue
            unclipped = sum(c * column for c, column in zip(found.c, columns, strict=True))
            beyond = np.abs(unclipped[~inside]) / limit - 1
            if beyond.min() < -edge(self.eps) or not beyond.max() > 10 * edge(self.eps):
                continue
            yield Match(
                c=float(found.c[0]),
                c_error=float(found.error[0]),
                extras=(),
                eta=None,
                residual=found.residual,
                determined=found.determined,
                product=(Made("clipped-by-value", block.layer),),
                text=f"np.clip({self.products(block, 0)[0].text}, -c, c)",
            )


def edge(eps: float) -> float:
    """How near to its limit, relatively, a clipped value lies."""
    return 1e-4 if eps > 1e-12 else 1e-6
