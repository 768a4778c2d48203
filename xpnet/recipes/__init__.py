"""Five networks that people wrote from scratch and that did not learn, broken and fixed."""

from . import (
    broken_chain_rule,
    fake_momentum,
    shadowed_weights,
    summed_gradient,
    transposed_gradient,
)
from .handwritten import Declared, HandWritten
from .recipe import Band, Bench, Bug, Recipe, Run

__all__ = ["RECIPES", "Band", "Bench", "Bug", "Declared", "HandWritten", "Recipe", "Run"]

RECIPES: dict[str, Recipe] = {
    module.RECIPE.name: module.RECIPE
    for module in (
        shadowed_weights,
        transposed_gradient,
        summed_gradient,
        fake_momentum,
        broken_chain_rule,
    )
}
"""The recipes by name."""
