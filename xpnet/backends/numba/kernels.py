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
    """y = x W for a W of few columns, given transposed: two rows times five columns a pass."""
    even, fives = len(x) - len(x) % 2, len(WT) - len(WT) % 5
    zero = x.dtype.type(0)
    for i in range(0, even, 2):
        p, q, yp, yq = x[i], x[i + 1], y[i], y[i + 1]
        for k in range(0, fives, 5):
            w0, w1, w2, w3, w4 = WT[k], WT[k + 1], WT[k + 2], WT[k + 3], WT[k + 4]
            p0 = p1 = p2 = p3 = p4 = q0 = q1 = q2 = q3 = q4 = zero
            for j in range(len(p)):
                p_j, q_j = p[j], q[j]
                p0 += p_j * w0[j]
                p1 += p_j * w1[j]
                p2 += p_j * w2[j]
                p3 += p_j * w3[j]
                p4 += p_j * w4[j]
                q0 += q_j * w0[j]
                q1 += q_j * w1[j]
                q2 += q_j * w2[j]
                q3 += q_j * w3[j]
                q4 += q_j * w4[j]
            yp[k], yp[k + 1], yp[k + 2], yp[k + 3], yp[k + 4] = p0, p1, p2, p3, p4
            yq[k], yq[k + 1], yq[k + 2], yq[k + 3], yq[k + 4] = q0, q1, q2, q3, q4
    inner_products(x[:even], WT[fives:], y[:even, fives:])
    inner_products(x[even:], WT, y[even:])


@compiled
def inner_products(x: Any, WT: Any, y: Any) -> None:
    """y = x W, one number at a time."""
    for i in range(len(x)):
        for k in range(len(WT)):
            total = x.dtype.type(0)
            for j in range(x.shape[1]):
                total += x[i, j] * WT[k, j]
            y[i, k] = total


@compiled
def thin_weight_grad(x: Any, dz: Any, dWT: Any, dW: Any) -> None:
    """dW = x^T dz for a dz of few columns; ``dWT`` is scratch.

    Its transpose is summed, whose rows are long: two samples are added to five of them in a pass.
    """
    even, fives = len(x) - len(x) % 2, len(dWT) - len(dWT) % 5
    dWT[:] = 0
    for i in range(0, even, 2):
        p, q, dp, dq = x[i], x[i + 1], dz[i], dz[i + 1]
        for k in range(0, fives, 5):
            w0, w1, w2, w3, w4 = dWT[k], dWT[k + 1], dWT[k + 2], dWT[k + 3], dWT[k + 4]
            p0, p1, p2, p3, p4 = dp[k], dp[k + 1], dp[k + 2], dp[k + 3], dp[k + 4]
            q0, q1, q2, q3, q4 = dq[k], dq[k + 1], dq[k + 2], dq[k + 3], dq[k + 4]
            for j in range(len(p)):
                p_j, q_j = p[j], q[j]
                w0[j] += p_j * p0 + q_j * q0
                w1[j] += p_j * p1 + q_j * q1
                w2[j] += p_j * p2 + q_j * q2
                w3[j] += p_j * p3 + q_j * q3
                w4[j] += p_j * p4 + q_j * q4
    add_outer_products(x[:even], dz[:even, fives:], dWT[fives:])
    add_outer_products(x[even:], dz[even:], dWT)
    for j in range(len(dW)):
        for k in range(len(dWT)):
            dW[j, k] = dWT[k, j]


@compiled
def add_outer_products(x: Any, dz: Any, dWT: Any) -> None:
    """dWT += dz^T x, one sample at a time."""
    for i in range(len(x)):
        for k in range(len(dWT)):
            for j in range(x.shape[1]):
                dWT[k, j] += dz[i, k] * x[i, j]


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
def softmax_begin(
    logits: Any, labels: Any, shifted: Any, shifted_label: Any, n_correct: Any
) -> None:
    """Each row of ``logits`` below its largest, and of that the label's; how many are right."""
    n_correct[()] = 0
    for i in range(len(logits)):
        n_correct[()] += below_largest(logits[i], shifted[i]) == labels[i]
        shifted_label[i] = shifted[i, labels[i]]


@compiled
def softmax_end(shifted_label: Any, labels: Any, scale: Any, dlogits: Any, loss_sum: Any) -> None:
    """The loss sum; dlogits, which are exp(shifted), become the gradient."""
    total = dlogits.dtype.type(0)
    for i in range(len(dlogits)):
        total += softmax_xent_row(shifted_label[i], labels[i], scale, dlogits[i])
    loss_sum[()] = total


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
