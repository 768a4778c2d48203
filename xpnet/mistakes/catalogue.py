"""The catalogue of mistakes: for each its name, the wrong formula, the right one, and the reason.

In formulas {l} is the layer, {p} the one before it, {n} the one after it; rows are samples.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CATALOGUE", "Mistake"]


class Mistake(NamedTuple):
    """A mistake; ``where`` is factor, weights, samples, biases, penalty, output or step."""

    name: str
    where: str
    wrong: str
    right: str
    reason: str


P = "dW{l} = A{p}.T @ dZ{l}"
B = "db{l} = dZ{l}.sum(axis=0)"
OUT = "dZ{l} = P - Y"
STEP = "dZ{l} = (dZ{n} @ W{n}.T) * f'(Z{l})"
MSE = "dZ{l} = (O - Y) * f'(Z{l})"
L2 = "dW{l} = A{p}.T @ dZ{l} + lambda * W{l}"

MISTAKES = (
    # ---- a constant before a gradient ----
    Mistake("negated", "factor", "-dLoss", "dLoss",
        "The sign is flipped (Y - P for P - Y, or += for -=): the step goes uphill."),
    Mistake("summed-not-averaged", "factor", "m * dLoss", "dLoss",
        "The division by the m samples is missing: the step is m times too long."),
    Mistake("averaged-twice", "factor", "dLoss / m", "dLoss",
        "It is divided by the m samples more than once: the step is m times too short."),
    Mistake("doubled", "factor", "2 * dLoss", "dLoss",
        "There is a factor 2 that the declared loss has not."),
    Mistake("halved", "factor", "dLoss / 2", "dLoss",
        "The 2 of the square's derivative, or another factor 2, is missing."),
    Mistake("times-half-the-batch", "factor", "m/2 * dLoss", "dLoss",
        "Both the 2 of the square and the division by m are missing; for m = 2 that cancels."),
    Mistake("averaged-over-outputs", "factor", "dLoss / k", "dLoss",
        "It is divided by the k outputs, which the declared loss adds up."),
    Mistake("summed-over-outputs", "factor", "k * dLoss", "dLoss",
        "The division by the k outputs is missing."),
    Mistake("wrong-factor", "factor", "c * dLoss", "dLoss",
        "It is right but for a constant, such as a learning rate that is multiplied in twice."),
    Mistake("missing", "factor", "0", "dLoss",
        "The gradient is zero everywhere: it is never computed, so the parameter never learns."),
    # ---- the product for the weights ----
    Mistake("transposed", "weights", "dW{l} = dZ{l}.T @ A{p}", P,
        "The product is the wrong way round; where a layer is square NumPy cannot notice."),
    Mistake("reshaped-not-transposed", "weights",
        "dW{l} = (dZ{l}.T @ A{p}).reshape(W{l}.shape)", P,
        "A reshape moves no element to where a transpose would put it."),
    Mistake("product-of-sums", "weights",
        "dW{l} = np.outer(A{p}.sum(axis=0), dZ{l}.sum(axis=0))", P,
        "It multiplies sums over the samples where the products should be summed."),
    Mistake("not-summed", "weights", "dW{l} = A{p}[:, :, None] * dZ{l}[:, None, :]", P,
        "The contributions of the samples are left side by side instead of being added."),
    Mistake("first-sample-only", "weights", "dW{l} = np.outer(A{p}[0], dZ{l}[0])", P,
        "Only the first sample counts: the loop over the batch ends too early."),
    Mistake("last-sample-only", "weights", "dW{l} = np.outer(A{p}[-1], dZ{l}[-1])", P,
        "Only the last sample counts: = stands where += should, so the loop overwrites."),
    Mistake("input-before-activation", "weights", "dW{l} = Z{p}.T @ dZ{l}", P,
        "The layer's input is taken before the activation: forward used A{p} = f(Z{p})."),
    Mistake("output-for-input", "weights", "dW{l} = A{l}.T @ dZ{l}", P,
        "The layer's own output stands where its input should."),
    Mistake("stale-activations", "weights", "dW{l} = A{p}_of_another_sample.T @ dZ{l}", P,
        "The activations belong to another sample: they were cached earlier, or are out of step."),
    Mistake("wrong-input-scaling", "weights", "dW1 = x_scaled_otherwise.T @ dZ1", "dW1 = x.T @ dZ1",
        "Backward uses inputs on another scale than forward (pixels over 255, or centred)."),
    Mistake("gradient-of-another-layer", "weights", "dW{l} = dW of another layer", P,
        "It is the gradient of another layer: two variables were mixed up."),
    Mistake("weight-gradient-passed-back", "weights",
        "dW{l} = (A{p}.T @ f'(Z{l})) @ dW{n}", P + " with " + STEP,
        "The next layer's weight gradient is handed back in place of its delta."),
    Mistake("clipped-by-value", "weights", "dW{l} = np.clip(A{p}.T @ dZ{l}, -c, c)", P,
        "Values beyond a limit are cut off, which the declared loss knows nothing of."),
    # ---- the sum over the samples ----
    Mistake("samples-left-out", "samples", "dW{l} = A{p}[:-1].T @ dZ{l}[:-1]", P,
        "Some samples of the batch are left out of the sum, as by a slice that ends too early."),
    Mistake("samples-counted-twice", "samples", "dW{l} = A{p}[i].T @ dZ{l}[i], a sample twice in i",
        P, "Some samples count twice or more often, as if they were drawn with replacement."),
    Mistake("weighted-by-class", "samples", "dW{l} = (w[y][:, None] * A{p}).T @ dZ{l}", P,
        "Each sample has the weight of its class: no mistake if class weights are meant."),
    Mistake("weighted-samples", "samples", "dW{l} = (w[:, None] * A{p}).T @ dZ{l}", P,
        "Each sample has a weight of its own: no mistake if that is meant."),
    # ---- the sum for the biases ----
    Mistake("one-scalar-for-all-biases", "biases", "db{l} = dZ{l}.sum()", B,
        "One number for all units: axis=0 is missing (before a softmax that number is always 0)."),
    Mistake("wrong-axis", "biases", "db{l} = dZ{l}.sum(axis=1)", B,
        "It sums over the units, not over the samples."),
    Mistake("bias-from-weights", "biases", "db{l} = dW{l}.sum(axis=0)", B,
        "The weight gradient is summed: its terms are multiplied by the inputs, a bias's are not."),
    # ---- the regulariser ----
    Mistake("missing-l2", "penalty", P, L2, "The term lambda W of the L2 penalty is missing."),
    Mistake("doubled-l2", "penalty", P + " + 2 * lambda * W{l}", L2,
        "The penalty is lambda/2 times the square: its derivative has no 2."),
    Mistake("halved-l2", "penalty", P + " + lambda / 2 * W{l}", L2,
        "The square's 2 cancels the declared 1/2: the derivative is lambda W."),
    Mistake("negated-l2", "penalty", P + " - lambda * W{l}", L2,
        "The penalty has the wrong sign: weights grow instead of shrinking."),
    Mistake("l2-averaged", "penalty", P + " + lambda / m * W{l}", L2,
        "The penalty is divided by the samples, which the declared loss does not do."),
    Mistake("wrong-l2", "penalty", P + " + c * W{l}", L2,
        "The penalty's factor is not the declared one."),
    Mistake("undeclared-l2", "penalty", P + " + c * W{l}", P,
        "A multiple of the weights is added, but the declared loss has no L2 penalty."),
    Mistake("l1-for-l2", "penalty", P + " + c * np.sign(W{l})", L2,
        "The penalty's derivative is that of L1, the sum of absolute weights."),
    Mistake("regularised-bias", "penalty", B + " + c * b{l}", B,
        "The bias is regularised; the declared penalty is on the weights alone."),
    # ---- the delta of the output ----
    Mistake("labels-off-by-one", "output", "dZ{l} = P - np.roll(Y, 1, axis=1)", OUT,
        "The classes are shifted by one: labels from 1 to k taken for 0 to k - 1, or the reverse."),
    Mistake("targets-of-another-sample", "output", "dZ{l} = P - np.roll(Y, 1, axis=0)", OUT,
        "The targets belong to other samples: x was shuffled or sliced otherwise than y."),
    Mistake("targets-missing", "output", "dZ{l} = P", OUT,
        "The targets are not subtracted: it is the gradient of no loss."),
    Mistake("logits-for-outputs", "output", "dZ{l} = Z{l} - Y", OUT,
        "The raw logits are taken for the outputs: what it trains is 1/2 ||Z - Y||^2."),
    Mistake("sigmoid-for-softmax", "output", "dZ{l} = sigmoid(Z{l}) - Y", OUT,
        "Backward uses a sigmoid, but the loss is computed from a softmax."),
    Mistake("softmax-for-sigmoid", "output", "dZ{l} = softmax(Z{l}) - Y", OUT,
        "Backward uses a softmax, but the loss is computed from sigmoids."),
    Mistake("softmax-over-batch", "output", "P = e / e.sum()",
        "P = e / e.sum(axis=1, keepdims=True)",
        "Softmax is normalised over the whole batch: right at batch 1 only."),
    Mistake("softmax-wrong-axis", "output", "P = e / e.sum(axis=0)",
        "P = e / e.sum(axis=1, keepdims=True)",
        "Softmax is normalised over the samples, not over the classes."),
    Mistake("hard-predictions", "output", "dZ{l} = one_hot(P.argmax(axis=1)) - Y", OUT,
        "The predicted class stands for its probability: that is the perceptron's rule."),
    Mistake("gradient-of-mae", "output", "dZ{l} = np.sign(P - Y)", OUT,
        "It is the gradient of the mean absolute error, not of the declared loss."),
    Mistake("loss-for-gradient", "output", "dZ{l} = (P - Y)**2", OUT,
        "The loss itself is sent back where its derivative should be."),
    Mistake("gradient-of-mse", "output", "dZ{l} = (P - Y) * P * (1 - P)", OUT,
        "It is the gradient of the squared error: cross-entropy cancels the output's derivative."),
    Mistake("cross-entropy-without-softmax", "output", "dZ{l} = -Y / P", OUT,
        "It is the derivative by P; the activation between Z and P is left out."),
    Mistake("softmax-jacobian-diagonal", "output", "dZ{l} = (P - Y) * P * (1 - P)",
        "dZ{l} = P * ((P - Y) - ((P - Y) * P).sum(axis=1, keepdims=True))",
        "Every softmax output depends on every logit; only the diagonal is used."),
    # ---- the step back through a layer ----
    Mistake("derivative-missing", "step", "dZ{l} = dZ{n} @ W{n}.T", STEP,
        "The activation's derivative is left out of the chain rule."),
    Mistake("derivative-of-activation", "step", "dZ{l} = (dZ{n} @ W{n}.T) * f'(A{l})", STEP,
        "f' is given the activated values; it wants those before the activation."),
    Mistake("derivative-twice", "step", "dZ{l} = (dZ{n} @ W{n}.T) * f'(Z{l})**2", STEP,
        "The activation's derivative is applied twice."),
    Mistake("activation-for-derivative", "step", "dZ{l} = (dZ{n} @ W{n}.T) * f(Z{l})", STEP,
        "The activation stands where its derivative should."),
    Mistake("derivative-of-another-activation", "step", "dZ{l} = (dZ{n} @ W{n}.T) * g'(Z{l})", STEP,
        "The derivative belongs to another activation than forward uses."),
    Mistake("derivative-from-another-layer", "step", "dZ{l} = (dZ{n} @ W{n}.T) * f'(Z_j)", STEP,
        "The derivative is taken at another layer's Z."),
    Mistake("stale-derivative", "step",
        "dZ{l} = (dZ{n} @ W{n}.T) * f'(Z{l}_of_another_sample)", STEP,
        "The derivative is taken at another sample's Z: it was cached earlier."),
    Mistake("weights-missing", "step",
        "dZ{l} = dZ{n}.sum(axis=1, keepdims=True) * f'(Z{l})", STEP,
        "The chain rule skips W{n}: the error is not shared out by the weights."),
    Mistake("weights-transposed", "step", "dZ{l} = (dZ{n} @ W{n}) * f'(Z{l})", STEP,
        "W{n} is not transposed; where a layer is square NumPy cannot notice."),
    Mistake("weights-of-another-layer", "step", "dZ{l} = (dZ{n} @ W_j.T) * f'(Z{l})", STEP,
        "The error goes back through another layer's weights."),
    Mistake("weights-of-another-copy", "step", "dZ{l} = (dZ{n} @ other_W{n}.T) * f'(Z{l})", STEP,
        "The error goes back through another copy of W{n} than forward uses."),
    Mistake("weights-already-updated", "step",
        "dZ{l} = (dZ{n} @ (W{n} - lr * dW{n}).T) * f'(Z{l})", STEP,
        "W{n} was updated before it was used: compute all gradients first, then update."),
)  # fmt: skip

CATALOGUE: dict[str, Mistake] = {mistake.name: mistake for mistake in MISTAKES}
"""All mistakes that have a name."""
