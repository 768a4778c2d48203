"""Five networks that people wrote from scratch and that did not learn, broken and fixed."""

from .broken_chain_rule import RECIPE as broken_chain_rule
from .fake_momentum import RECIPE as fake_momentum
from .handwritten import Declared, HandWritten
from .recipe import Band, Bench, Bug, Recipe, Run
from .shadowed_weights import RECIPE as shadowed_weights
from .summed_gradient import RECIPE as summed_gradient
from .transposed_gradient import RECIPE as transposed_gradient

__all__ = ["RECIPES", "Band", "Bench", "Bug", "Declared", "HandWritten", "Recipe", "Run"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        shadowed_weights,
        transposed_gradient,
        summed_gradient,
        fake_momentum,
        broken_chain_rule,
    )
}
"""The recipes by name."""
