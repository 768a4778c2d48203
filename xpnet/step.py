"""The training step: one batch, one update of theta.

``TrainingStep`` takes the batch from the Feed, adds up the gradient and counts; ``descend`` goes
from the gradient to the next theta. ``train`` repeats the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .hyperparameters import Hyperparameters
from .network import Network, one_over
from .ops import Ops
from .state import State
from .types import Array, Feed, Noise

__all__ = ["TrainingStep", "descend"]


@dataclass(frozen=True)
class TrainingStep:
    """What ``Backend.compile`` is given: called with the primitives, it makes the step.

    The step trains ``network`` on the next ``batch_size`` samples. It is described by a value, not
    by a closure, so that a backend can recognise a step that it has compiled or can do faster.
    """

    network: Network
    hp: Hyperparameters
    batch_size: int

    def __call__(self, ops: Ops) -> Callable[[State, Feed], State]:
        network, hp, batch_size = self.network, self.hp, self.batch_size
        xp = ops.xp

        def step(state: State, feed: Feed) -> State:
            theta, slots, counters = state
            lr = ops.window(feed.lr, counters.t, 1)
            if feed.weight is None:
                weight, weight_sum = None, float(batch_size)
                scale: Array | float = 1.0 / batch_size
            else:
                index = ops.window(feed.order, counters.position, batch_size)
                weight = ops.take(feed.weight, index)
                weight_sum = xp.sum(weight)
                scale = one_over(xp, weight_sum)

            g = None
            for start, stop in ops.slices(batch_size):
                m = stop - start
                x, y = ops.batch(feed, counters.position, m, theta.dtype)
                loss, g_part, _ = network.loss_and_grad(
                    ops,
                    theta,
                    x,
                    y,
                    hp.loss,
                    weight=None if weight is None else weight[start:stop],
                    scale=scale,
                    noise=Noise(hp.seed, counters.t, ops.rows(start, m)),
                )
                g = g_part if m == batch_size else ops.add(g, g_part)
                counted = weight_sum if start == 0 else 0.0  # once, not with every part
                counters = ops.count(counters, loss, counted, m, stop == batch_size)
            theta, slots = descend(ops, network, hp, theta, g, slots, counters.t, lr)
            return State(theta, slots, counters)

        return step


def descend(
    ops: Ops,
    network: Network,
    hp: Hyperparameters,
    theta: Array,
    g: Array,
    slots: tuple[Array, ...],
    t: Array,
    lr: Array,
) -> tuple[Array, tuple[Array, ...]]:
    """From the gradient g to the next theta and slots; theta, slots and g are donated.

    In this order: clip each g_i to clip_value; g *= clip_norm / ||g|| if it is longer than
    clip_norm; g += l2 W; W -= lr weight_decay W; the optimizer's update.
    """
    if hp.clip_value is not None:
        g = ops.clip_value(g, hp.clip_value)
    if hp.clip_norm is not None:
        norm = ops.xp.sqrt(ops.square_sum(g))
        too_long = norm > hp.clip_norm
        # 1e-6 as in PyTorch
        factor = ops.xp.where(too_long, hp.clip_norm / (norm + 1e-6), ops.xp.ones_like(norm))
        g = ops.scale_by(g, factor)
    if hp.optimizer.l2:
        g = ops.add_weights(g, hp.optimizer.l2, theta, network.n_weights)
    if hp.optimizer.weight_decay:
        theta = ops.add_weights(theta, -hp.optimizer.weight_decay, theta, network.n_weights, lr)
    return hp.optimizer.update(ops, theta, g, slots, t, lr)
