"""The element-wise work of a step as compiled loops: one pass where NumPy takes several.

Every function writes its results into arrays it is given. Numbers keep their order of
operations but for sums, which may be reordered to be vectorised; NaN and infinity stay what
they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

__all__ = [
    "adam",
    "add_bias",
    "below_largest",
    "compiled",
    "gather",
    "momentum",
    "relu_grad",
    "rmsprop",
    "sgd",
    "softmax_begin",
    "softmax_end",
    "softmax_xent_row",
    "thin_product",
    "thin_weight_grad",
]

F = TypeVar("F", bound=Callable[..., Any])

REORDER_SUMS = {"contract", "reassoc", "nsz"}
"""What LLVM may do: fuse a product with a sum, reorder sums, drop the sign of 0."""


def compiled(f: F) -> F:
    """``f`` compiled on its first call; the machine code is kept on disk where that is possible."""
    options: dict[str, Any] = {"fastmath": REORDER_SUMS, "nogil": True, "error_model": "numpy"}
    try:
        made: F = numba.njit(cache=True, **options)(f)
    except RuntimeError:  # no folder to keep it in can be written to
        made = numba.njit(**options)(f)
    return made


@compiled
def gather(X: Any, index: Any, scale: Any, x: Any) -> None:
    """x[i] = X[index[i]] * scale, cast to the dtype of x."""
    for i in range(len(index)):
        row = X[index[i]]
        for j in range(x.shape[1]):
            x[i, j] = x.dtype.type(row[j]) * scale


@compiled
def add_bias(y: Any, b: Any, relu: bool) -> None:
    """y = y + b, and max(y, 0) of that where ``relu``; NaN stays NaN."""
    zero = y.dtype.type(0)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            z = y[i, j] + b[j]
            y[i, j] = zero if relu and z <= zero else z


@compiled
def thin_product(x: Any, WT: Any, y: Any) -> None:
    """y = x W for a W of few columns, given transposed: inner products, five columns a pass."""
    n_out = len(WT)
    zero = x.dtype.type(0)
    for i in range(len(x)):
        row = x[i]
        for k in range(0, n_out - n_out % 5, 5):
            w0, w1, w2, w3, w4 = WT[k], WT[k + 1], WT[k + 2], WT[k + 3], WT[k + 4]
            y0 = y1 = y2 = y3 = y4 = zero
            for j in range(len(row)):
                x_j = row[j]
                y0 += x_j * w0[j]
                y1 += x_j * w1[j]
                y2 += x_j * w2[j]
                y3 += x_j * w3[j]
                y4 += x_j * w4[j]
            y[i, k], y[i, k + 1], y[i, k + 2], y[i, k + 3], y[i, k + 4] = y0, y1, y2, y3, y4
        for k in range(n_out - n_out % 5, n_out):
            total = zero
            for j in range(len(row)):
                total += row[j] * WT[k, j]
            y[i, k] = total


@compiled
def thin_weight_grad(x: Any, dz: Any, dWT: Any, dW: Any) -> None:
    """dW = x^T dz for a dz of few columns; ``dWT`` is scratch.

    Its transpose is summed, whose rows are long: four samples are added to a row in a pass.
    """
    m = len(x)
    dWT[:] = 0
    for i in range(0, m - m % 4, 4):
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        for k in range(len(dWT)):
            row = dWT[k]
            d0, d1, d2, d3 = dz[i, k], dz[i + 1, k], dz[i + 2, k], dz[i + 3, k]
            for j in range(len(row)):
                row[j] += d0 * x0[j] + d1 * x1[j] + d2 * x2[j] + d3 * x3[j]
    for i in range(m - m % 4, m):
        for k in range(len(dWT)):
            for j in range(x.shape[1]):
                dWT[k, j] += dz[i, k] * x[i, j]
    for j in range(len(dW)):
        for k in range(len(dWT)):
            dW[j, k] = dWT[k, j]


@compiled
def relu_grad(dy: Any, y: Any, relu: bool, dz: Any, db: Any) -> None:
    """dz = dy where y > 0 (everywhere without ``relu``), else 0; db = sum of dz over the rows."""
    zero = dy.dtype.type(0)
    db[:] = zero
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            d = dy[i, j]
            if relu:
                d = d if y[i, j] > zero else d * zero  # NaN and infinity show here, too
                dz[i, j] = d
            db[j] += d


@compiled
def below_largest(logits: Any, shifted: Any) -> int:
    """shifted = logits - their largest; returns the first with the largest, or the first NaN."""
    best = 0
    for c in range(1, len(logits)):
        is_first_nan = logits[c] != logits[c] and logits[best] == logits[best]
        if logits[c] > logits[best] or is_first_nan:
            best = c
    for c in range(len(logits)):
        shifted[c] = logits[c] - logits[best]
    return best


@compiled
def softmax_xent_row(shifted_label: Any, label: int, scale: Any, dlogits: Any) -> Any:
    """The loss of one sample; dlogits, which are exp(shifted), become scale (softmax - q)."""
    e_sum = dlogits.dtype.type(0)
    for c in range(len(dlogits)):
        e_sum += dlogits[c]
    factor = scale / e_sum
    for c in range(len(dlogits)):
        dlogits[c] *= factor
    dlogits[label] -= scale
    return np.log(e_sum) - shifted_label


@compiled
def softmax_begin(logits: Any, labels: Any, shifted: Any, shifted_label: Any) -> int:
    """Each row of ``logits`` below its largest, and of that the label's; how many are right."""
    n_correct = 0
    for i in range(len(logits)):
        n_correct += below_largest(logits[i], shifted[i]) == labels[i]
        shifted_label[i] = shifted[i, labels[i]]
    return n_correct


@compiled
def softmax_end(shifted_label: Any, labels: Any, scale: Any, dlogits: Any) -> Any:
    """The loss sum; dlogits, which are exp(shifted), become the gradient."""
    loss_sum = dlogits.dtype.type(0)
    for i in range(len(dlogits)):
        loss_sum += softmax_xent_row(shifted_label[i], labels[i], scale, dlogits[i])
    return loss_sum


@compiled
def sgd(theta: Any, g: Any, lr: Any) -> None:
    """theta -= lr g."""
    for i in range(len(theta)):
        theta[i] -= lr * g[i]


@compiled
def momentum(theta: Any, g: Any, v: Any, tiny: Any, lr: Any, mu: Any, nesterov: bool) -> None:
    """As ``Ops.momentum``; slots below ``tiny`` become 0."""
    zero = theta.dtype.type(0)
    for i in range(len(theta)):
        v_i = mu * v[i] + g[i]
        v_i = zero if abs(v_i) < tiny else v_i
        v[i] = v_i
        theta[i] -= lr * (g[i] + mu * v_i if nesterov else v_i)


@compiled
def rmsprop(theta: Any, g: Any, v: Any, tiny: Any, lr: Any, rho: Any, rest: Any, eps: Any) -> None:
    """As ``Ops.rmsprop`` with ``rest`` = 1 - rho; slots below ``tiny`` become 0."""
    zero = theta.dtype.type(0)
    for i in range(len(theta)):
        v_i = rho * v[i] + rest * (g[i] * g[i])
        v_i = zero if v_i < tiny else v_i
        v[i] = v_i
        theta[i] -= lr * g[i] / (np.sqrt(v_i) + eps)


@compiled
def adam(
    theta: Any, g: Any, m: Any, v: Any, tiny: Any, rate: Any, beta1: Any, beta2: Any, floor: Any
) -> None:
    """m = beta1 m + g;  v = beta2 v + g^2;  theta -= rate m / (sqrt(v) + floor)."""
    zero = theta.dtype.type(0)
    for i in range(len(theta)):
        m_i = beta1 * m[i] + g[i]
        v_i = beta2 * v[i] + g[i] * g[i]
        m_i = zero if abs(m_i) < tiny else m_i
        v_i = zero if v_i < tiny else v_i
        m[i] = m_i
        v[i] = v_i
        theta[i] -= rate * m_i / (np.sqrt(v_i) + floor)
