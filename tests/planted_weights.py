"""Other weights of the samples than ours, and whether the gradients of a case can show them.

Independent of xpnet. Left out and counted samples, weights of classes, and weights at random.
"""

from __future__ import annotations

import numpy as np

WEIGHTINGS = (
    "samples-left-out",
    "samples-counted-twice",
    "weighted-by-class",
    "weighted-samples",
)


def weight_forms(case, name):
    """The ways to weight the samples of a case; none where they cannot be told from others."""
    if name == "weighted-by-class":
        classes = len(np.unique(case.Y.argmax(axis=1)))
        return [""] if case.one_hot and 1 < classes < case.m else []
    if name == "weighted-samples":
        free = case.k - (case.output == "softmax")  # of one number a wrong delta is a weight, too
        return [""] if free > 1 and case.m > 1 else []
    if name == "samples-left-out":
        forms = ["last", "first", "last, divided by the rest"] if case.m > 2 else []
        return [*forms, "some"] if case.m > 3 else forms  # more than one sample is kept
    return ["one", "drawn with replacement"] if case.m > 2 else []


def sample_weights(case, name, form):
    """The weights (m,) of a form, over those of the declared loss."""
    rng, m = np.random.default_rng([case.seed, 7]), case.m
    if name == "weighted-by-class":
        return rng.uniform(0.3, 3.0, case.k)[case.Y.argmax(axis=1)]
    if name == "weighted-samples":
        return rng.uniform(0.2, 2.0, m)
    w = np.ones(m)
    if name == "samples-counted-twice":
        w[rng.integers(m)] = 2.0
        return w if form == "one" else 2 * w - 1 + (rng.permutation(m) < m // 2)
    if form == "some":
        w[rng.permutation(m)[: 1 + m // 3]] = 0.0
        return w
    w[0 if form == "first" else -1] = 0.0
    return w * m / w.sum() if "divided" in form else w


def weights_show(case, delta, gradient_has_bias):
    """Whether the last layer's gradients have one solution for the weights, and prove it.

    ``delta`` (m, k) is the right one of the last layer.
    """
    A = np.column_stack([case.forward[1][-1], *[np.ones(case.m)] * gradient_has_bias])
    A, delta = A.astype(np.float64), delta.astype(np.float64)
    n_equations = np.linalg.matrix_rank(A) * np.linalg.matrix_rank(delta)
    columns = np.einsum("mi,mk->mik", A, delta).reshape(case.m, -1).T
    if case.l2:
        W = np.zeros((A.shape[1], case.k))
        W[: len(case.W[-1])] = case.W[-1]
        columns = np.column_stack([columns, W.ravel()])
    if n_equations <= columns.shape[1]:
        return False
    sizes = np.linalg.norm(columns, axis=0)
    if sizes[: case.m].min() < 0.03 * sizes[: case.m].max():
        return False
    values = np.linalg.svd(columns / sizes, compute_uv=False)
    return values[-1] > 0.01 * values[0]
