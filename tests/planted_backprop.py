"""Textbook backprop, and the same with mistakes planted in it as lines of wrong code.

Independent of xpnet: plain NumPy, in the dtype of the case. ``backprop(case)`` is right;
``backprop(case, [Plant(...)])`` is not.
"""

from __future__ import annotations

import numpy as np
from planted_catalogue import FACTORS, REGULARISERS, STAGE, NotApplicableError, plants
from planted_networks import DERIVATIVES, FUNCTIONS, sigmoid, softmax
from planted_weights import sample_weights


def backprop(case, mistakes=()):
    """The gradients {"dW1", "db1", ...}, with the mistakes made.

    NotApplicableError where there is no room for them, or where they divide by zero.
    """
    with np.errstate(all="ignore"):
        gradients = Backprop(case, mistakes).gradients()
    if not all(np.isfinite(g).all() for g in gradients.values()):
        raise NotApplicableError(f"{mistakes[0]} is not finite in {case}")
    return gradients


def order(gradients):
    """The names in the order in which backprop computes them: dW2, db2, dW1, db1."""
    return sorted(gradients, key=lambda name: (-int(name[2:]), name))


class Backprop:
    """One backward pass; where ``at`` finds a mistake of a stage at a place, the line is wrong."""

    def __init__(self, case, mistakes):
        self.case = case
        self.Z, self.A, self.O = case.forward
        self.planted = {}
        self.data = {}  # dW before the L2 term is added
        for plant in mistakes:
            slot = (STAGE[plant.name], plant.place)
            if slot in self.planted or plant not in plants(case, plant.name):
                raise NotApplicableError(f"{plant} in {case}")
            self.planted[slot] = plant

    def at(self, stage, place):
        plant = self.planted.get((stage, place))
        return (plant.name, plant.form) if plant else ("", "")

    def gradients(self):
        case, g = self.case, {}
        dZ = None
        for layer in range(case.n_layers, 0, -1):
            dZ = self.first_delta() if dZ is None else self.hidden_delta(layer, dZ, g)
            g[f"dW{layer}"] = self.weight_gradient(layer, dZ, g)
            if case.b[layer] is not None:
                g[f"db{layer}"] = self.bias_gradient(layer, dZ, g)
        g = {name: g[name] for name in sorted(g, key=lambda name: (name[2:], name))}
        for name in g:
            instead, form = self.at("instead", name)
            if instead == "gradient-of-another-layer":
                other = int(form[0])
                regulariser = self.regulariser(name, case.W[int(name[2:])])
                g[name] = self.data[other] + regulariser if "data" in form else g[f"dW{other}"]
        return g

    # ---- the delta of the output layer -------------------------------------------------------

    def first_delta(self):
        """The delta of the output layer, with the weights of the samples."""
        dZ = self.output_delta()
        name, form = self.at("samples", self.case.n_layers)
        if not name:
            return dZ
        return dZ * sample_weights(self.case, name, form).astype(dZ.dtype)[:, None]

    def output_delta(self):
        """C (O - Y), or for mse C 2 (O - Y) f'(Z)."""
        case, last = self.case, self.case.n_layers
        Y = self.targets(last)
        O = self.prediction(last)  # noqa: E741
        name, form = self.at("residual", last)
        residual = O - Y
        if name == "gradient-of-mae":
            residual = np.sign(residual)
        elif name == "loss-for-gradient":
            residual = residual**2
        elif name == "gradient-of-mse":
            residual = residual * O * (1.0 - O)
        elif name == "cross-entropy-without-softmax":
            residual = -Y / O if case.loss == "softmax-xent" else residual / (O * (1.0 - O))
        if case.loss != "mse":
            return case.C * residual
        twice = name not in ("gradient-of-mae", "loss-for-gradient") or form == "times 2"
        return self.through_activation(last, case.C * (2.0 if twice else 1.0) * residual)

    def targets(self, last):
        Y = self.case.Y
        name, form = self.at("target", last)
        if name == "labels-off-by-one":
            Y = np.roll(Y, 1 if form == "up" else -1, axis=1)
        elif name == "targets-missing":
            Y = np.zeros_like(Y)
        name, form = self.at("target-rows", last)
        return other_rows(Y, form) if name else Y

    def prediction(self, last):
        Z, O = self.Z[last], self.O  # noqa: E741
        name, _ = self.at("prediction", last)
        if name == "logits-for-outputs":
            return Z
        if name == "sigmoid-for-softmax":
            return sigmoid(Z)
        if name in ("softmax-for-sigmoid", "softmax-over-batch", "softmax-wrong-axis"):
            return softmax(Z, {"over-batch": None, "wrong-axis": 0}.get(name[8:], 1))
        if name == "hard-predictions":
            bits = (O > 0.5).astype(O.dtype)
            one_hot = np.eye(self.case.k, dtype=O.dtype)[O.argmax(axis=1)]
            return one_hot if self.case.loss == "softmax-xent" else bits
        return O

    # ---- a step back -------------------------------------------------------------------------

    def hidden_delta(self, layer, dZ, g):
        """dA f'(Z) with dA = dZ_above W_above^T."""
        W = self.case.W[layer + 1]
        name, form = self.at("back", layer)
        if name == "weights-missing":
            dA = dZ
            if form == "sum":
                dA = np.repeat(dZ.sum(axis=1, keepdims=True), W.shape[0], axis=1)
        elif name == "weights-transposed":
            dA = dZ @ W
        elif name == "weights-of-another-layer":
            dA = dZ @ self.case.W[int(form)].T
        elif name == "weights-already-updated":
            dW = g[f"dW{layer + 1}"]
            if dW.shape != W.shape:
                raise NotApplicableError("an update with a gradient of another shape")
            dA = dZ @ (W - float(form) * dW).T
        else:
            dA = dZ @ W.T
        return self.through_activation(layer, dA)

    def through_activation(self, layer, dA):
        f, Z = self.case.f(layer), self.Z[layer]
        name, form = self.at("derivative", layer)
        if f == "softmax":
            if name == "derivative-missing":
                return dA
            if name == "softmax-jacobian-diagonal":
                return dA * self.O * (1.0 - self.O)
            return self.O * (dA - (dA * self.O).sum(axis=1, keepdims=True))
        if name == "derivative-missing":
            slope = np.ones_like(Z)
        elif name == "derivative-of-activation":
            slope = DERIVATIVES[f](FUNCTIONS[f](Z))
        elif name == "derivative-twice":
            slope = DERIVATIVES[f](Z) ** 2
        elif name == "activation-for-derivative":
            slope = FUNCTIONS[f](Z)
        elif name == "derivative-of-another-activation":
            slope = self.slope_of_another(form, Z, FUNCTIONS[f](Z))
        elif name == "derivative-from-another-layer":
            j = int(form[0])
            slope = DERIVATIVES[self.case.f(j) if "with" in form else f](self.Z[j])
        else:
            slope = DERIVATIVES[f](Z)
        name, form = self.at("derivative-rows", layer)
        return dA * (other_rows(slope, form) if name else slope)

    def slope_of_another(self, form, Z, A):
        """The other activation's derivative at Z, or its formula in terms of its value put on A."""
        if form == "sigmoid of A":
            return A * (1.0 - A)
        if form == "tanh of A":
            return 1.0 - A**2
        return DERIVATIVES[form](Z)

    # ---- gradients ---------------------------------------------------------------------------

    def weight_gradient(self, layer, dZ, g):
        """A_below^T dZ + lambda W."""
        place, W = f"dW{layer}", self.case.W[layer]
        dW = self.times(place, "data", self.product(layer, self.inputs(layer), dZ, g))
        dW = self.data[layer] = self.clipped(place, dW, "data")
        regulariser = self.regulariser(place, W)
        form = self.at("product", place)[1]
        if form == "whole":
            regulariser = regulariser.T
        if self.case.l2 or regulariser.any():
            dW = dW + regulariser
        dW = self.clipped(place, self.times(place, "whole", dW), "whole")
        return self.zeros_if_missing(place, dW)

    def clipped(self, place, dW, form):
        name, planted = self.at("clip", place)
        if not name or (planted == "data") != (form == "data"):
            return dW
        c = np.quantile(np.abs(dW), 0.3 + 0.1 * (self.case.seed % 5))
        return np.clip(dW, -c, c)

    def inputs(self, layer):
        A = self.A[layer - 1]
        name, form = self.at("input", f"dW{layer}")
        if name == "input-before-activation":
            A = self.Z[layer - 1]
        elif name == "output-for-input":
            A = self.A[layer]
        elif name == "wrong-input-scaling":
            centred = A - A.mean(axis=0)
            A = {
                "times 255": lambda: A * 255.0,
                "over 255": lambda: A / 255.0,
                "centred": lambda: centred,
                "standardised": lambda: centred / A.std(axis=0),
            }[form]()
        name, form = self.at("rows", f"dW{layer}")
        return other_rows(A, form) if name else A

    def product(self, layer, A, dZ, g):
        W = self.case.W[layer]
        if self.at("instead", f"dW{layer}")[0] == "weight-gradient-passed-back":
            passed = g[f"dW{layer + 1}"].reshape(W.shape[1], -1).sum(axis=1)
            column = (A.T @ DERIVATIVES[self.case.f(layer)](self.Z[layer])) @ passed
            return np.repeat(column[:, None], W.shape[1], axis=1)
        name, form = self.at("product", f"dW{layer}")
        if name == "transposed":
            return dZ.T @ A
        if name == "reshaped-not-transposed":
            return (dZ.T @ A).reshape(W.shape)
        if name == "product-of-sums":
            return np.outer(A.sum(axis=0), dZ.sum(axis=0))
        if name == "not-summed":
            return A[:, :, None] * dZ[:, None, :]
        if name in ("first-sample-only", "last-sample-only"):
            i = 0 if name.startswith("first") else -1
            return np.outer(A[i], dZ[i] if form == "scaled" else dZ[i] / self.case.C)
        return A.T @ dZ

    def bias_gradient(self, layer, dZ, g):
        """The sum of dZ over the samples."""
        place, b = f"db{layer}", self.case.b[layer]
        name, form = self.at("product", place)
        if name == "one-scalar-for-all-biases":
            db = dZ.sum() if form.startswith("sum") else dZ.sum() / len(b)
            db = np.full_like(b, db) if "repeated" in form else np.asarray(db)
        elif name == "wrong-axis":
            db = dZ.sum(axis=1)
        elif name == "bias-from-weights":
            db = (self.data[layer] if form == "data" else g[f"dW{layer}"]).sum(axis=0)
        elif name == "not-summed":
            db = dZ
        elif name in ("first-sample-only", "last-sample-only"):
            i = 0 if name.startswith("first") else -1
            db = dZ[i] if form == "scaled" else dZ[i] / self.case.C
        else:
            db = dZ.sum(axis=0)
        db = self.times(place, "data", db)
        if "regularised-bias" in (self.at("l2", place)[0], self.at("l2", "all")[0]):
            db = db + self.case.l2 * b
        return self.zeros_if_missing(place, self.times(place, "whole", db))

    def times(self, place, form, gradient):
        """Wrong constants: before the L2 term is added or, "whole", after it."""
        for where in (place, "all"):
            name, planted = self.at("factor", where)
            whole = planted == "whole" and not place.startswith("db")
            if name and whole == (form == "whole"):
                gradient = gradient * FACTORS[name](self.case)
        return gradient

    def regulariser(self, place, W):
        names = [self.at("l2", where)[0] for where in (place, "all")]
        for name in names:
            if name in REGULARISERS:
                return REGULARISERS[name](self.case, W)
        return self.case.l2 * W

    def zeros_if_missing(self, place, gradient):
        names = [self.at("instead", where)[0] for where in (place, "all")]
        return np.zeros_like(gradient) if "missing" in names else gradient


def other_rows(A, form):
    """The rows of other samples: the next or previous one's, or the first or last for all."""
    if form in ("first", "last"):
        return np.repeat(A[:1] if form == "first" else A[-1:], len(A), axis=0)
    return np.roll(A, -1 if form == "next" else 1, axis=0)
