"""Right and wrong deltas: dZ of the output layer, and the step back through a hidden layer.

Each is made of slots - which target, which prediction, which residual, which derivative - and
each slot can be filled wrongly. All are for C = 1; for the squared error its 2 is left to C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from ..activations import ACTIVATIONS, sigmoid
from ..types import Array
from .trace import Trace, derivative, own_output, softmax, through_softmax

__all__ = ["Delta", "Made", "correct_output_delta", "output_deltas", "steps_back"]

EDGE = 1e-12
"""Probabilities are kept this far from 0 where a formula divides by them."""


class Made(NamedTuple):
    """A mistake made at a place: in the delta or the gradient of a layer."""

    name: str
    layer: int


class Delta(NamedTuple):
    """dZ of a layer as some backpropagation has it, and the mistakes on the way there.

    It is terms[0] - eta terms[1] with an unknown eta > 0 where there is a second term. ``lines``
    are the formulas, of this layer first.
    """

    layer: int
    terms: tuple[Array, ...]
    made: tuple[Made, ...]
    lines: tuple[str, ...]


class Choice(NamedTuple):
    """One way to fill a slot, and how it is written; ``name`` is None for the right one."""

    name: str | None
    value: Array
    text: str


def mistakes_in(layer: int, *choices: Choice) -> tuple[Made, ...]:
    return tuple(Made(c.name, layer) for c in choices if c.name is not None)


# ---- the output layer ------------------------------------------------------------------------


def correct_output_delta(t: Trace) -> Delta:
    """dLoss/dZ of the last layer."""
    return next(output_deltas(t, 0))


def output_delta(t: Trace, P: Array, r: Array) -> Array:
    """dLoss/dZ from the residual r: through the output's activation, unless the loss owns it."""
    if own_output(t):
        return r
    f = t.f[t.L]
    return through_softmax(P, r) if f is None else r * derivative(f, t.logits)


def residual(t: Trace, P: Array, Y: Array) -> Array:
    """dLoss/dZ where the loss owns the output's activation, else dLoss/dO; mse without its 2."""
    if t.loss == "softmax-xent" and own_output(t):
        return P * Y.sum(axis=1, keepdims=True) - Y
    return P - Y if t.loss == "mse" or own_output(t) else by_probability(t, P, Y)


def by_probability(t: Trace, P: Array, Y: Array) -> Array:
    """dLoss/dO of a cross-entropy."""
    inside = np.clip(P, EDGE, 1 - EDGE)
    return -Y / inside if t.loss == "softmax-xent" else (P - Y) / (inside * (1 - inside))


RESIDUALS: dict[str | None, Callable[[Trace, Array, Array], Array]] = {
    None: residual,
    "targets-missing": lambda t, P, Y: P,
    "gradient-of-mae": lambda t, P, Y: np.sign(P - Y),
    "loss-for-gradient": lambda t, P, Y: (P - Y) ** 2,
    "cross-entropy-without-softmax": by_probability,
}


def output_deltas(t: Trace, n_mistakes: int) -> Iterator[Delta]:
    """The deltas of the output layer with exactly ``n_mistakes`` slots filled wrongly."""
    names = [name for name in RESIDUALS if own_output(t) or name != "cross-entropy-without-softmax"]
    for Y, P, name, slope in product(targets(t), predictions(t), names, output_slopes(t)):
        made = mistakes_in(t.L, Y, P, Choice(name, None, ""), slope)
        if len(made) != n_mistakes:
            continue
        r = RESIDUALS[name](t, P.value, Y.value)
        text = residual_text(t, name, P.text, Y.text)
        if slope.name is not None:
            value, text = r * slope.value, f"({text}){slope.text}"
        elif own_output(t) or P.name == "logits-for-outputs":
            value = r  # whoever takes the logits for the outputs has no activation there
        else:
            value, text = output_delta(t, P.value, r), through_text(t, text)
        if np.isfinite(value).all():
            yield Delta(t.L, (value,), made, (f"dZ{t.L} = {text}",))


def residual_text(t: Trace, name: str | None, P: str, Y: str) -> str:
    """How a residual is written."""
    probability = f"-{Y} / {P}" if t.loss == "softmax-xent" else f"({P} - {Y}) / ({P} * (1 - {P}))"
    plain = f"{P} - {Y}" if t.loss == "mse" or own_output(t) else probability
    texts = {
        "targets-missing": P,
        "gradient-of-mae": f"np.sign({P} - {Y})",
        "loss-for-gradient": f"({P} - {Y})**2",
        "cross-entropy-without-softmax": probability,
    }
    return plain if name is None else texts[name]


def through_text(t: Trace, r: str) -> str:
    """How the step through the output's activation is written."""
    if t.f[t.L] is None:
        return f"O * (r - (r * O).sum(axis=1, keepdims=True)) with r = {r}"
    return r if t.output == "identity" else f"({r}) * f'(Z{t.L})"


def targets(t: Trace) -> list[Choice]:
    choices = [Choice(None, t.Y, "Y")]
    for axis, name in ((1, "labels-off-by-one"), (0, "targets-of-another-sample")):
        if t.Y.shape[axis] > 1:
            choices += [
                Choice(name, np.roll(t.Y, s, axis), f"np.roll(Y, {s}, axis={axis})")
                for s in (1, -1)
            ]
    return choices


def predictions(t: Trace) -> list[Choice]:
    Z, P, k, name = t.logits, t.out, t.out.shape[1], "P" if own_output(t) else "O"
    z = f"Z{t.L}"
    choices = [Choice(None, P, name)]
    if t.output != "identity":
        choices.append(Choice("logits-for-outputs", Z, z))
    if t.output == "softmax":
        choices += [
            Choice("sigmoid-for-softmax", sigmoid(np, Z), f"sigmoid({z})"),
            Choice("softmax-over-batch", softmax(Z, None), f"(exp({z}) / exp({z}).sum())"),
            Choice("softmax-wrong-axis", softmax(Z, 0), f"(exp({z}) / exp({z}).sum(axis=0))"),
        ]
    elif t.output == "sigmoid":
        choices.append(Choice("softmax-for-sigmoid", softmax(Z), f"softmax({z})"))
    if t.loss != "mse" and t.output == "softmax":
        hard = np.eye(k)[Z.argmax(axis=1)]
        choices.append(Choice("hard-predictions", hard, "one_hot(P.argmax(axis=1))"))
    elif t.loss != "mse":
        choices.append(Choice("hard-predictions", (P > 0.5) * 1.0, "(P > 0.5)"))
    return choices


def output_slopes(t: Trace) -> list[Choice]:
    """What people write for the derivative of the output's activation."""
    P = t.out
    right, missing = Choice(None, None, ""), Choice("derivative-missing", np.ones_like(P), "")
    if own_output(t):
        return [right, Choice("gradient-of-mse", P * (1 - P), " * P * (1 - P)")]
    if t.f[t.L] is None:
        diagonal = Choice("softmax-jacobian-diagonal", P * (1 - P), " * O * (1 - O)")
        return [right, missing, diagonal]
    return [right] if t.output == "identity" else [right, *wrong_derivatives(t, t.L)]


# ---- a hidden layer --------------------------------------------------------------------------


def steps_back(
    t: Trace,
    following: Delta,
    slopes: Sequence[Choice],
    n_mistakes: int,
    dW: Array | None = None,
) -> Iterator[Delta]:
    """dZ_l from dZ_{l+1}, with exactly ``n_mistakes`` new ones on this step.

    dA_l = dZ_{l+1} W_{l+1}^T;  dZ_l = dA_l * f'(Z_l).  ``slopes`` are the derivatives to try, and
    ``dW`` is the gradient that may already have been subtracted from W_{l+1}.
    """
    l, backs = following.layer - 1, BACKS if n_mistakes else ("right",)
    ways = {back: list(passed_back(t, following, back, dW)) for back in backs}
    for slope, back in product(slopes, backs):
        if (slope.name is not None) + (back != "right") != n_mistakes:
            continue
        for terms, text in ways[back]:
            made = mistakes_in(l, Choice(None if back == "right" else back, None, ""), slope)
            bracketed = f"({text})" if slope.text else text
            yield Delta(
                l,
                tuple(dA * slope.value for dA in terms),
                (*following.made, *made),
                (f"dZ{l} = {bracketed}{slope.text}", *following.lines),
            )


def derivatives(t: Trace, l: int) -> list[Choice]:
    """What people write for f'(Z_l), the right one first."""
    return [right_derivative(t, l), *wrong_derivatives(t, l)]


def right_derivative(t: Trace, l: int) -> Choice:
    """f'(Z_l), and how it is written."""
    f = t.f[l]
    return Choice(None, derivative(f, t.Z[l]), f" * f'(Z{l})" * (f.name != "identity"))


BACKS = (
    "right",
    "weights-missing",
    "weights-transposed",
    "weights-of-another-layer",
    "weights-of-another-copy",
    "weights-already-updated",
)


def passed_back(
    t: Trace, following: Delta, back: str, dW: Array | None
) -> Iterator[tuple[tuple[Array, ...], str]]:
    """The terms of dA_l for one way to take the weights of layer l + 1, and how it is written."""
    n, terms, W = following.layer, following.terms, t.W[following.layer]
    square = W.shape[0] == W.shape[1] > 1
    if back == "right":
        yield tuple(dZ @ W.T for dZ in terms), f"dZ{n} @ W{n}.T"
    elif back == "weights-missing":
        wide = np.ones((1, W.shape[0]))
        yield (
            tuple(dZ.sum(axis=1, keepdims=True) * wide for dZ in terms),
            f"dZ{n}.sum(axis=1, keepdims=True)" if W.shape[1] > 1 else f"dZ{n}",
        )
        if square:
            yield terms, f"dZ{n}"
    elif back == "weights-transposed" and square:
        yield tuple(dZ @ W for dZ in terms), f"dZ{n} @ W{n}"
    elif back == "weights-of-another-layer":
        for j, w in enumerate(t.W):
            if j not in (0, n) and w.shape == W.shape:
                yield tuple(dZ @ w.T for dZ in terms), f"dZ{n} @ W{j}.T"
    elif back == "weights-of-another-copy" and n in t.copies:
        copy = t.copies[n]
        yield tuple(dZ @ copy.T for dZ in terms), f"dZ{n} @ (another W{n}).T"
    elif back == "weights-already-updated" and len(terms) == 1:
        step = t.A[n - 1].T @ terms[0] if dW is None or dW.shape != W.shape else dW
        yield (terms[0] @ W.T, terms[0] @ step.T), f"dZ{n} @ (W{n} - lr * dW{n}).T"


def wrong_derivatives(t: Trace, l: int) -> Iterator[Choice]:
    """What people write for f'(Z_l)."""
    f, Z, A = t.f[l], t.Z[l], t.A[l]
    d = derivative(f, Z)
    yield Choice("derivative-missing", np.ones_like(Z), "")
    yield Choice("derivative-of-activation", derivative(f, A), f" * f'(A{l})")
    yield Choice("derivative-twice", d * d, f" * f'(Z{l})**2")
    yield Choice("activation-for-derivative", A, f" * A{l}")
    for j in range(1, t.L + 1):
        if j != l and t.f[j] is not None and t.Z[j].shape == Z.shape:
            for g in {t.f[j].name: t.f[j], f.name: f}.values():
                slope = derivative(g, t.Z[j])
                yield Choice("derivative-from-another-layer", slope, f" * {g.name}'(Z{j})")
    for other in ACTIVATIONS.values():
        name = "derivative-of-another-activation"
        if other.name not in (f.name, "identity"):
            yield Choice(name, derivative(other, Z), f" * {other.name}'(Z{l})")
            if other.derivative_of == "y":
                text = f" * {other.name}'(Z{l}), computed from A{l}"
                yield Choice(name, other.derivative(np, A), text)
    foreign = None if t.elsewhere is None else derivative(f, t.elsewhere.Z[l])
    for rows, text in other_samples(d, foreign, f"f'(Z{l})"):
        yield Choice("stale-derivative", rows, f" * {text}")


def other_samples(A: Array, foreign: Array | None, name: str) -> Iterator[tuple[Array, str]]:
    """``A`` with rows of other samples: rolled by one, one row for all, or one from elsewhere."""
    if len(A) > 1:
        for s in (1, -1):
            yield np.roll(A, s, axis=0), f"np.roll({name}, {s}, axis=0)"
        for i in (0, -1):
            yield np.broadcast_to(A[i], A.shape), f"{name}[{i}]"
    for row in () if foreign is None else foreign:
        yield np.broadcast_to(row, A.shape), f"({name} of an earlier sample)"
