"""Five networks that people wrote from scratch and that did not learn, broken and fixed."""

from . import broken_chain_rule, summed_gradient
from .handwritten import Declared, HandWritten
from .recipe import Band, Bench, Bug, Recipe, Run

__all__ = ["RECIPES", "Band", "Bench", "Bug", "Declared", "HandWritten", "Recipe", "Run"]

RECIPES: dict[str, Recipe] = {
    module.RECIPE.name: module.RECIPE for module in (summed_gradient, broken_chain_rule)
}
"""The recipes by name."""
