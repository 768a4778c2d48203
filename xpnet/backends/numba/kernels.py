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
    "compiled",
    "gather",
    "momentum",
    "relu_grad",
    "rmsprop",
    "sgd",
    "softmax_xent",
    "softmax_xent_row",
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
def softmax_xent_row(logits: Any, label: int, scale: Any, dlogits: Any) -> tuple[Any, bool]:
    """The loss of one sample and whether it is right; dlogits = scale (softmax(logits) - q).

    The class taken is the first with the largest logit, or the first NaN.
    """
    best = 0
    for c in range(1, len(logits)):
        is_first_nan = logits[c] != logits[c] and logits[best] == logits[best]
        if logits[c] > logits[best] or is_first_nan:
            best = c
    top = logits[best]
    e_sum = logits.dtype.type(0)
    for c in range(len(logits)):
        dlogits[c] = np.exp(logits[c] - top)
        e_sum += dlogits[c]
    factor = scale / e_sum
    for c in range(len(logits)):
        dlogits[c] *= factor
    dlogits[label] -= scale
    return np.log(e_sum) - (logits[label] - top), best == label


@compiled
def softmax_xent(logits: Any, labels: Any, scale: Any, dlogits: Any) -> tuple[Any, int]:
    """Loss sum and number right of a batch of labels, and dlogits: see ``Ops.softmax_xent``."""
    loss_sum, n_correct = logits.dtype.type(0), 0
    for i in range(logits.shape[0]):
        loss, hit = softmax_xent_row(logits[i], labels[i], scale, dlogits[i])
        loss_sum += loss
        n_correct += hit
    return loss_sum, n_correct


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
