"""The catalogue of mistakes: their names, where a case has room for them, and in which forms.

Independent of xpnet. A mistake has a place: "dW2" or "db1", where that one gradient is wrong;
"all", where each is; a number, where the delta dZ of that layer is wrong and with it all that comes
after.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from planted_networks import HIDDEN
from planted_weights import WEIGHTINGS, weight_forms

FACTORS = {
    "negated": lambda case: -1.0,
    "summed-not-averaged": lambda case: case.m,
    "averaged-twice": lambda case: 1.0 / case.m,
    "doubled": lambda case: 2.0,
    "halved": lambda case: 0.5,
    "times-half-the-batch": lambda case: case.m / 2.0,
    "averaged-over-outputs": lambda case: 1.0 / case.k,
    "summed-over-outputs": lambda case: case.k,
    "wrong-factor": lambda case: unnamed(case),
}
REGULARISERS = {
    "missing-l2": lambda case, W: 0.0 * W,
    "doubled-l2": lambda case, W: 2.0 * case.l2 * W,
    "halved-l2": lambda case, W: 0.5 * case.l2 * W,
    "negated-l2": lambda case, W: -case.l2 * W,
    "l2-averaged": lambda case, W: case.l2 / case.m * W,
    "wrong-l2": lambda case, W: unnamed(case) * case.l2 * W,
    "undeclared-l2": lambda case, W: 0.05 * unnamed(case) * W,
    "l1-for-l2": lambda case, W: case.l2 * np.sign(W),
}

# Mistakes of one stage cannot stand at the same place: they are other versions of one line of code.
STAGES = {
    "factor": tuple(FACTORS),
    "instead": ("missing", "gradient-of-another-layer", "weight-gradient-passed-back"),
    "product": (
        "transposed",
        "reshaped-not-transposed",
        "product-of-sums",
        "not-summed",
        "first-sample-only",
        "last-sample-only",
        "one-scalar-for-all-biases",
        "wrong-axis",
        "bias-from-weights",
    ),
    "input": ("input-before-activation", "output-for-input", "wrong-input-scaling"),
    "rows": ("stale-activations",),
    "clip": ("clipped-by-value",),
    "l2": (*REGULARISERS, "regularised-bias"),
    "target": ("labels-off-by-one", "targets-missing"),
    "target-rows": ("targets-of-another-sample",),
    "prediction": (
        "logits-for-outputs",
        "sigmoid-for-softmax",
        "softmax-for-sigmoid",
        "softmax-over-batch",
        "softmax-wrong-axis",
        "hard-predictions",
    ),
    "residual": (
        "gradient-of-mae",
        "loss-for-gradient",
        "gradient-of-mse",
        "cross-entropy-without-softmax",
    ),
    "samples": WEIGHTINGS,
    "derivative": (
        "softmax-jacobian-diagonal",
        "derivative-missing",
        "derivative-of-activation",
        "derivative-twice",
        "activation-for-derivative",
        "derivative-of-another-activation",
        "derivative-from-another-layer",
    ),
    "derivative-rows": ("stale-derivative",),
    "back": (
        "weights-missing",
        "weights-transposed",
        "weights-of-another-layer",
        "weights-already-updated",
    ),
}
STAGE = {name: stage for stage, names in STAGES.items() for name in names}
MISTAKES = tuple(STAGE)

OWN = ("factor", "instead", "product", "input", "rows", "clip", "l2")
ROLLS = ("next", "previous", "first", "last")


class NotApplicableError(Exception):
    """The case has no room for the mistake: another loss, no square layer, no bias ..."""


@dataclass(frozen=True)
class Plant:
    """A mistake, where it is made and, where there are several, in which form."""

    name: str
    place: str | int
    form: str = ""

    def __str__(self):
        form = f" ({self.form})" if self.form else ""
        return f"{self.name} at {self.place}{form}"


def unnamed(case):
    """A factor that has no name: a learning rate, a forgotten constant."""
    return (0.01, 0.1, 0.37, 0.7, 3.0, 10.0)[case.seed % 6]


@lru_cache(maxsize=256)
def plants(case, name):
    """All places and forms of the mistake that the case has room for."""
    return tuple(
        Plant(name, place, form)
        for place in places(case, name)
        for form in forms(case, name, place)
    )


def choose(case, name):
    """One of the plants of that name, drawn by the seed: first the place, then the form."""
    options = plants(case, name)
    if not options:
        raise NotApplicableError(f"{name} in {case}")
    rng = np.random.default_rng([case.seed, zlib.crc32(name.encode())])
    where = sorted({plant.place for plant in options}, key=str)
    place = where[rng.integers(len(where))]
    options = [plant for plant in options if plant.place == place]
    return options[rng.integers(len(options))]


def places(case, name):
    """Where the mistake can be made at all; ``forms`` may still find no way to make it."""
    L = case.n_layers
    weights = [f"dW{layer}" for layer in range(1, L + 1)]
    biases = [f"db{layer}" for layer in range(1, L + 1) if case.b[layer] is not None]
    stage = STAGE[name]
    if name in ("missing", "not-summed", "first-sample-only", "last-sample-only"):
        return weights + biases + ["all"] * (name == "missing")
    if name in ("one-scalar-for-all-biases", "wrong-axis", "bias-from-weights"):
        return biases
    if name == "regularised-bias":
        return [*biases, "all"] if case.l2 and biases else []
    if name == "weight-gradient-passed-back":
        return weights[:-1]
    if name == "input-before-activation":
        return weights[1:]
    if name == "wrong-input-scaling":
        return weights[:1]
    if stage == "l2":
        return [*weights, "all"] if (case.l2 > 0) != (name == "undeclared-l2") else []
    if stage == "factor":
        return [*weights, *biases, "all"]
    if stage in OWN:
        return weights
    if stage in ("target", "target-rows", "prediction", "residual", "samples"):
        return [L]
    if stage == "back":
        return list(range(1, L))
    return list(range(1, L + 1 if case.loss == "mse" and case.output != "identity" else L))


def forms(case, name, place):
    """The forms of the mistake at the place; none where it cannot be made there."""
    if isinstance(place, str):
        layer = int(place[2:]) if place != "all" else 0
        return list(own_forms(case, name, place, layer))
    return list(delta_forms(case, name, place))


def own_forms(case, name, place, layer):
    shape = case.W[layer].shape if layer else (0, 0)
    regularised = case.l2 > 0 and not place.startswith("db")
    if STAGE[name] in ("factor", "clip"):
        return ["data", "whole"] if regularised else [""]
    if name == "transposed" and regularised:
        return ["data", "whole"] if shape[0] == shape[1] else ["whole"]
    if name == "reshaped-not-transposed" and shape[0] == shape[1]:
        return []  # nothing to reshape: that is "transposed"
    if name in ("first-sample-only", "last-sample-only"):
        return ["scaled", "unscaled"]
    if name == "one-scalar-for-all-biases":
        return ["sum", "sum repeated", "mean", "mean repeated"]
    if name == "output-for-input" and (shape[0] != shape[1] or layer == case.n_layers):
        return []
    if name == "stale-activations":
        return ROLLS
    if name == "wrong-input-scaling":
        spread = case.x.std(axis=0).min() > 1e-3
        return ["times 255", "over 255", "centred", *["standardised"] * bool(spread)]
    if name == "gradient-of-another-layer":
        same = [j for j in range(1, case.n_layers + 1) if case.W[j].shape == shape and j != layer]
        return [f"{j}{part}" for j in same for part in ("", " data")[: 1 + regularised]]
    if name == "bias-from-weights" and case.l2:
        return ["data", "whole"]
    return [""]


def delta_forms(case, name, layer):
    loss, multi = case.loss, case.k > 1
    is_softmax = case.f(layer) == "softmax"
    stage = STAGE[name]
    if stage == "samples":
        return weight_forms(case, name)
    if name == "labels-off-by-one":
        return ["up", "down"] if multi and (case.one_hot or loss == "softmax-xent") else []
    if name == "targets-of-another-sample":
        return ["next", "previous"]
    if name in ("logits-for-outputs", "gradient-of-mse", "cross-entropy-without-softmax"):
        return [""] if loss != "mse" else []
    if name in ("sigmoid-for-softmax", "softmax-over-batch", "softmax-wrong-axis"):
        return [""] if loss == "softmax-xent" else []
    if name == "hard-predictions":
        return [""] if loss != "mse" else []
    if name == "softmax-for-sigmoid":
        return [""] if loss == "sigmoid-bce" else []
    if name in ("gradient-of-mae", "loss-for-gradient") and loss == "mse":
        return ["", "times 2"]
    if name == "softmax-jacobian-diagonal" or (stage.startswith("derivative") and is_softmax):
        return [""] if is_softmax and name.endswith(("diagonal", "missing")) else []
    if name == "derivative-of-another-activation":
        return [
            *[other for other in HIDDEN if other != case.f(layer)],
            *[f"{other} of A" for other in ("sigmoid", "tanh") if other != case.f(layer)],
        ]
    if name == "derivative-from-another-layer":
        width = case.W[layer].shape[1]
        twins = [j for j in range(1, case.n_layers) if case.W[j].shape[1] == width and j != layer]
        own = [str(j) for j in twins]
        return own + [f"{j} with its function" for j in twins if case.f(j) != case.f(layer)]
    if name == "stale-derivative":
        return ROLLS[:3]
    if stage == "back":
        return back_forms(case, name, layer + 1)
    return [""]


def back_forms(case, name, above):
    """``above`` is the layer whose weights take the delta back."""
    shape = case.W[above].shape
    square = shape[0] == shape[1]
    if name == "weights-missing":
        return ["sum", "as it is"] if square else ["sum"]
    if name == "weights-transposed":
        return [""] if square else []
    if name == "weights-of-another-layer":
        others = [j for j in range(1, case.n_layers + 1) if j != above]
        return [str(j) for j in others if case.W[j].shape == shape]
    return ["0.01", "0.1", "1"]
