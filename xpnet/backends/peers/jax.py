"""JAX and optax: an epoch is one compiled ``lax.scan`` over its batches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from ...types import Array
from . import Work

__all__ = ["Peer"]

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


class Peer:
    """Data, parameters and optimizer state stay on the device; the last, smaller batch runs alone.

    Unrolled loops, bytes gathered and scaled in the loop, the epoch gathered before the loop,
    and the optimizer over one flat vector were tried: none was faster than this.
    """

    def __init__(self, work: Work) -> None:
        self.batch_size = work.batch_size
        self.X = jnp.asarray(work.X, jnp.float32) * jnp.float32(work.scale)
        self.y = jnp.asarray(work.y)
        self.optimizer = make_optimizer(work)
        self.loss = make_loss(work)
        self.scan = jax.jit(self.steps, donate_argnums=0)
        self.state = self.start(work)
        # An epoch on copies compiles both sizes of a batch; then it starts afresh.
        self.epoch(np.arange(len(work.X), dtype=np.int32))
        self.state = self.start(work)

    def start(self, work: Work) -> Any:
        """Fresh copies of the initial parameters and the optimizer's state."""
        params = [(jnp.array(W), jnp.array(b)) for W, b in work.parameters]
        return params, self.optimizer.init(params)

    def step(self, state: Any, x: Array, y: Array) -> Any:
        """Learn from one batch."""
        params, slots = state
        _, grads = jax.value_and_grad(self.loss)(params, x, y)
        updates, slots = self.optimizer.update(grads, slots, params)
        return optax.apply_updates(params, updates), slots

    def steps(self, state: Any, X: Array, y: Array, batches: Array) -> Any:
        """One step for each row of ``batches``; all samples at once are taken as they lie."""
        if batches.shape == (1, len(X)):
            return self.step(state, X, y)

        def body(state: Any, index: Array) -> Any:
            return self.step(state, X[index], y[index]), None

        state, _ = lax.scan(body, state, batches)
        return state

    def epoch(self, order: Array) -> None:
        n_full = len(order) // self.batch_size * self.batch_size
        if n_full:
            batches = order[:n_full].reshape(-1, self.batch_size)
            self.state = self.scan(self.state, self.X, self.y, batches)
        if n_full < len(order):
            self.state = self.scan(self.state, self.X, self.y, order[None, n_full:])
        jax.block_until_ready(self.state)

    def parameters(self) -> list[tuple[Array, Array]]:
        return [(np.array(W), np.array(b)) for W, b in self.state[0]]


def make_loss(work: Work) -> Any:
    """The mean loss as a function of the parameters and a batch."""
    activation = ACTIVATIONS[work.activation]

    def loss(params: Any, x: Array, y: Array) -> Array:
        for W, b in params[:-1]:
            x = activation(x @ W + b)
        W, b = params[-1]
        logits = x @ W + b
        if work.loss == "softmax_xent":
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return optax.sigmoid_binary_cross_entropy(logits, y).mean()

    return loss


def make_optimizer(work: Work) -> Any:
    """SGD, SGD with momentum, or AdamW that spares the biases."""
    if work.optimizer != "adamw":
        return optax.sgd(work.lr, momentum=work.mu if work.optimizer == "momentum" else None)
    return optax.adamw(
        work.lr,
        b1=work.beta1,
        b2=work.beta2,
        eps=work.eps,
        weight_decay=work.weight_decay,
        mask=lambda params: jax.tree.map(lambda A: A.ndim > 1, params),
    )
