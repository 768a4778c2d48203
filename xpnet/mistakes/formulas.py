"""The formula that gives somebody's numbers, and the right one beside it."""

from __future__ import annotations

from .deltas import Delta
from .factors import Shape, coefficient_text
from .hypotheses import Block, Match
from .products import bias_products, weight_products
from .search import Search

__all__ = ["formulas"]


def formulas(search: Search, block: Block, scale: float, match: Match | None) -> tuple[str, str]:
    """The formula of ``match``, empty for None, and the right one for the loss with ``scale``.

    Of the deltas those are shown that go wrong; for a right gradient its own.
    """
    l, problem = block.layer, search.problem
    shape = Shape(search.t.m, problem.n_outputs, search.t.W[l].shape[1], l)
    correct: Delta = next(iter(search.deltas(l, 0)))
    before, after = coefficient_text(scale, shape)
    products = weight_products if block.kind == "W" else bias_products
    product = next(products(search.t, l, 0)).text
    right = f"{block.name} = {before}{product}{after}"
    if block.kind == "W" and problem.l2:
        right += f" + {problem.l2:.6g} * W{l}"
    if match is None:
        return "", f"{right}  with  {correct.lines[0]}"
    before, after = coefficient_text(match.c or scale, shape) if match.text != "0" else ("", "")
    wrong = f"{block.name} = {before}{match.text}{after}"
    names = {"l2": f"W{l}", "l1": f"np.sign(W{l})", "b": f"b{l}"}
    for kind, value, error in match.extras:
        if kind in names and abs(value) > error:
            wrong += f" {'-' if value < 0 else '+'} {abs(value):.6g} * {names[kind]}"
    pairs = list(zip(match.delta.lines, correct.lines, strict=True)) if match.delta else []
    differing = [pair for pair in pairs if pair[0] != pair[1]] or pairs[: not match.product]
    wrong_lines = "; ".join(line for line, _ in differing)
    right_lines = "; ".join(line for _, line in differing)
    if not differing:
        return wrong, right
    return f"{wrong}  with  {wrong_lines}", f"{right}  with  {right_lines}"
