"""Small batches: many steps of plain gradient descent as one compiled loop, sample by sample.

With few samples in a batch the time goes into calling things, and into weights that do not
change: most pixels of MNIST are 0, and where x_i = 0 the gradient of row i of W is 0, too. Here a
step is forward and backward for each sample of the batch, and then W_i -= lr x_i dz for
the rows with x_i != 0 alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...activations import activation
from ...layers import Dense
from ...losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from ...optim import SGD
from ...types import Array
from ..backend import ManySteps
from .kernels import below_largest, compiled, softmax_xent_row

__all__ = ["SampleBySample", "suits"]

LARGEST_BATCH = 4
"""Above this the matrix products of whole batches are faster, ..."""

SMALLEST_PRODUCT = 50_000
"""... unless batch size times parameters stays below this."""

IDENTITY, RELU, SIGMOID, TANH = range(4)
CODES = {"identity": IDENTITY, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}
"""The activations that the loop knows, by number."""


def suits(build: Any) -> bool:
    """Whether the loop does what the step that ``build`` describes does, and is faster.

    It covers dense layers with the activations above, cross-entropy on labels or on one logit,
    and gradient descent without momentum, decay or clipping.
    """
    network, hp = getattr(build, "network", None), getattr(build, "hp", None)
    if network is None or hp is None:
        return False
    small = (
        build.batch_size <= LARGEST_BATCH
        or build.batch_size * network.n_parameters <= SMALLEST_PRODUCT
    )
    plain = (
        type(hp.optimizer) is SGD
        and not (hp.optimizer.l2 or hp.optimizer.weight_decay)
        and hp.clip_norm is None
        and hp.clip_value is None
    )
    known = all(
        type(layer) is Dense and activation(layer.activation).name in CODES
        for layer in network.layers
    )
    if network.n_out == 1:
        cross_entropy = type(hp.loss) is BinaryCrossEntropy
    else:
        cross_entropy = type(hp.loss) is SoftmaxCrossEntropy and not hp.loss.smoothing
    return small and plain and known and cross_entropy


class SampleBySample(ManySteps):
    """n steps of the loop; weighted, standardised or multi-column data take ``step`` instead."""

    def __init__(self, build: Any, step: Any) -> None:
        self.build = build
        self.step = step
        network = build.network
        self.widths = np.asarray(network.widths)
        self.codes = np.asarray(
            [CODES[activation(layer.activation).name] for layer in network.layers]
        )
        offsets = {(block.layer, block.name): block.offset for block in network.blocks}
        layers = range(len(network.layers))
        self.W_at = np.asarray([offsets[layer, "W"] for layer in layers])
        self.b_at = np.asarray([offsets[layer, "b"] for layer in layers])

    def many(self, state: Any, feed: Any, n: int) -> Any:
        if not self.covers(feed):
            for _ in range(n):
                state = self.step(state, feed)
            return state
        number = state.theta.dtype.type
        counters = state.counters
        first = counters.t[0] % len(feed.lr)
        m = self.build.batch_size
        buffer = (len(self.widths), m, int(self.widths.max()))
        loss_sum, n_correct, bad_step = run_steps(
            state.theta,
            self.widths,
            self.codes,
            self.W_at,
            self.b_at,
            feed.X,
            feed.y.reshape(-1),
            feed.order[counters.position[0] : counters.position[0] + n * m],
            number(feed.scale),
            feed.lr[first : first + n],
            m,
            np.empty(buffer, state.theta.dtype),
            np.empty(buffer, state.theta.dtype),
            number(counters.loss_sum),
        )
        if bad_step and not counters.first_bad_step[0]:
            counters = counters._replace(first_bad_step=counters.t + np.int32(bad_step))
        counters = counters._replace(
            t=counters.t + np.int32(n),
            position=counters.position + np.int32(n * m),
            loss_sum=np.asarray(loss_sum, state.theta.dtype),
            weight_sum=counters.weight_sum + number(n * m),
            n_correct=counters.n_correct + np.int32(n_correct),
        )
        return state._replace(counters=counters)

    def covers(self, feed: Any) -> bool:
        """Whether the data are those that the loop can read."""
        labels = feed.y.ndim == 1 or feed.y.shape[1] == 1
        return (
            feed.weight is None and feed.shift is None and isinstance(feed.scale, float) and labels
        )


@compiled
def run_steps(
    theta: Array,
    widths: Array,
    codes: Array,
    W_at: Array,
    b_at: Array,
    X: Array,
    targets: Array,
    order: Array,
    scale: Any,
    lr: Array,
    m: int,
    a: Array,
    dz: Array,
    loss_sum: Any,
) -> tuple[Any, int, int]:
    """len(lr) steps on theta, in place: m samples a step, those that ``order`` names in turn.

    a[l, s] is the output of layer l - 1 for sample s of the batch, a[0, s] its input x, and
    dz[l, s] the gradient at the pre-activation of layer l - 1.
    Returns the loss sum, the number right and the first step (from 1) whose loss is not finite.
    """
    n_layers = len(codes)
    right, bad_step = 0, 0
    share = theta.dtype.type(1.0 / m)
    for step in range(len(lr)):
        loss = theta.dtype.type(0)
        for s in range(m):
            row = order[step * m + s]
            for i in range(widths[0]):
                a[0, s, i] = theta.dtype.type(X[row, i]) * scale
            for l in range(n_layers):  # noqa: E741
                y = a[l + 1, s, : widths[l + 1]]
                forward(theta[W_at[l] :], theta[b_at[l] :], a[l, s, : widths[l]], y)
                activate(y, codes[l])
            out = a[n_layers, s, : widths[n_layers]]
            dout = dz[n_layers, s, : widths[n_layers]]
            sample_loss, hit = loss_and_gradient(out, targets[row], share, dout)
            loss += sample_loss
            right += hit
            through(dout, out, codes[n_layers - 1])
            for l in range(n_layers - 1, 0, -1):  # noqa: E741
                dy = dz[l, s, : widths[l]]
                times_transpose(theta[W_at[l] :], dz[l + 1, s, : widths[l + 1]], dy)
                through(dy, a[l, s, : widths[l]], codes[l - 1])
        for s in range(m):
            for l in range(n_layers):  # noqa: E741
                x, d = a[l, s, : widths[l]], dz[l + 1, s, : widths[l + 1]]
                descend(theta[W_at[l] :], theta[b_at[l] :], x, d, lr[step])
        loss_sum += loss
        if not bad_step and not abs(loss) < np.inf:  # isfinite may be computed by x - x
            bad_step = step + 1
    return loss_sum, right, bad_step


@compiled
def forward(W: Array, b: Array, x: Array, z: Array) -> None:
    """z = x W + b for one sample; W and b are all of theta from where they begin."""
    n = len(z)
    for j in range(n):
        z[j] = b[j]
    for i in range(len(x)):
        x_i = x[i]
        if x_i != 0:
            row = i * n
            for j in range(n):
                z[j] += x_i * W[row + j]


@compiled
def activate(z: Array, code: int) -> None:
    """y = f(z), written over z."""
    one = z.dtype.type(1)
    for j in range(len(z)):
        if code == RELU:
            z[j] = z[j] if not z[j] <= 0 else 0 * one
        elif code == SIGMOID:
            z[j] = one / (one + np.exp(-z[j]))
        elif code == TANH:
            z[j] = np.tanh(z[j])


@compiled
def through(dy: Array, y: Array, code: int) -> None:
    """dz = dy * f'(z), written over dy."""
    one = y.dtype.type(1)
    for j in range(len(dy)):
        if code == RELU:
            dy[j] = dy[j] if y[j] > 0 else 0 * dy[j]
        elif code == SIGMOID:
            dy[j] *= y[j] * (one - y[j])
        elif code == TANH:
            dy[j] *= one - y[j] * y[j]


@compiled
def times_transpose(W: Array, dz: Array, dx: Array) -> None:
    """dx = dz W^T."""
    n = len(dz)
    for i in range(len(dx)):
        row = i * n
        total = dx.dtype.type(0)
        for j in range(n):
            total += W[row + j] * dz[j]
        dx[i] = total


@compiled
def descend(W: Array, b: Array, x: Array, dz: Array, lr: Any) -> None:
    """W -= lr x^T dz and b -= lr dz, rows with x = 0 left alone; writes lr dz over dz."""
    n = len(dz)
    for j in range(n):
        dz[j] *= lr
        b[j] -= dz[j]
    for i in range(len(x)):
        x_i = x[i]
        if x_i != 0:
            row = i * n
            for j in range(n):
                W[row + j] -= x_i * dz[j]


@compiled
def loss_and_gradient(out: Array, target: Any, scale: Any, dout: Array) -> tuple[Any, bool]:
    """The loss of one sample, whether it is right, and dout = scale * dloss/dout.

    Softmax cross-entropy where there are several outputs, else cross-entropy on one logit.
    """
    one = out.dtype.type(1)
    if len(out) == 1:
        z, q = out[0], out.dtype.type(target)
        e = np.exp(-abs(z))
        p = one / (one + e) if z >= 0 else e / (one + e)
        dout[0] = scale * (p - q)
        return max(z, 0 * z) + np.log1p(e) - q * z, (z > 0) == (q > 0.5)
    label = int(target)
    hit = below_largest(out, dout) == label
    shifted_label = dout[label]
    for c in range(len(dout)):
        dout[c] = np.exp(dout[c])
    return softmax_xent_row(shifted_label, label, scale, dout), hit
