"""PyTorch: a Sequential of Linear layers with its own optimizers, or one compiled step."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from ...types import Array
from . import Work

__all__ = ["Peer"]

ACTIVATIONS = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}
LOSSES = {"softmax_xent": F.cross_entropy, "bce": F.binary_cross_entropy_with_logits}


class Peer:
    """``variant`` foreach or fused: eager, with that kind of optimizer; compile: one graph a step.

    Compiled, a step is gather, forward, backward and update in one graph: faster than only
    the model and its loss compiled before the fused optimizer, by a third at batch 128 and
    by half at batch 1.
    """

    def __init__(self, work: Work, variant: str) -> None:
        self.batch_size = work.batch_size
        self.X = torch.from_numpy(work.X).to(torch.float32) * work.scale
        self.y = torch.from_numpy(work.y)
        if work.loss == "softmax_xent":
            self.y = self.y.long()
        self.loss: Any = LOSSES[work.loss]
        self.linears = [linear(W, b) for W, b in work.parameters]
        layers: list[torch.nn.Module] = []
        for layer in self.linears:
            layers += [layer, ACTIVATIONS[work.activation]()]
        self.model = torch.nn.Sequential(*layers[:-1])
        if variant == "compile":
            self.step: Any = compiled_step(work, self.model, self.loss, self.X, self.y)
        else:
            self.optimizer = make_optimizer(work, self.linears, fused=variant == "fused")
            self.step = self.eager_step

    def eager_step(self, index: torch.Tensor) -> None:
        """Learn from the samples ``index``."""
        x, y = batch(self.X, self.y, index)
        loss = self.loss(self.model(x), y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def epoch(self, order: Array) -> None:
        torch.set_flush_denormal(True)  # Adam's denormals cost some 7 % in later epochs
        for index in torch.from_numpy(order).split(self.batch_size):
            self.step(index)
        torch.set_flush_denormal(False)  # not for the others in this process

    def parameters(self) -> list[tuple[Array, Array]]:
        return [
            (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
            for layer in self.linears
        ]


def batch(
    X: torch.Tensor, y: torch.Tensor, index: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The samples ``index``; all of them are taken as they lie, and nothing is copied."""
    if len(index) == len(X):
        return X, y
    return X.index_select(0, index), y.index_select(0, index)


def linear(W: Array, b: Array) -> torch.nn.Linear:
    """A layer with these weights; PyTorch keeps them as (n_out, n_in)."""
    layer = torch.nn.Linear(*W.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.ascontiguousarray(W.T)))
        layer.bias.copy_(torch.tensor(b))
    return layer


def make_optimizer(work: Work, linears: list[torch.nn.Linear], *, fused: bool) -> Any:
    """SGD, SGD with momentum, or AdamW that spares the biases; ``fused`` or foreach."""
    weights, biases = ([getattr(a, name) for a in linears] for name in ("weight", "bias"))
    kind: dict[str, Any] = {"fused": True} if fused else {"foreach": True}
    if work.optimizer != "adamw":
        momentum = work.mu if work.optimizer == "momentum" else 0.0
        return torch.optim.SGD(weights + biases, lr=work.lr, momentum=momentum, **kind)
    groups = [
        {"params": weights, "weight_decay": work.weight_decay},
        {"params": biases, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=work.lr, betas=(work.beta1, work.beta2), eps=work.eps, **kind
    )


def compiled_step(
    work: Work, model: torch.nn.Module, loss: Any, X: torch.Tensor, y: torch.Tensor
) -> Any:
    """A function of the index of a batch: the whole step as one graph that updates ``model``."""
    params = {name: p.detach() for name, p in model.named_parameters()}
    ms = {name: torch.zeros_like(p) for name, p in params.items()}
    vs = {name: torch.zeros_like(p) for name, p in params.items()}
    # Adam's factors for this step, made by the host: in the graph every element would do it.
    rate, unbias = torch.ones(()), torch.ones(())

    def batch_loss(params: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = loss(torch.func.functional_call(model, params, (x,)), y)
        return value

    def step(params: Any, ms: Any, vs: Any, rate: Any, unbias: Any, index: Any) -> None:
        x, target = batch(X, y, index)
        grads = torch.func.grad(batch_loss)(params, x, target)
        for name, p in params.items():
            g, m, v = grads[name], ms[name], vs[name]
            if work.optimizer == "sgd":
                p -= work.lr * g
            elif work.optimizer == "momentum":
                m.copy_(work.mu * m + g)
                p -= work.lr * m
            else:
                m.copy_(work.beta1 * m + (1 - work.beta1) * g)
                v.copy_(work.beta2 * v + (1 - work.beta2) * g * g)
                decay = work.lr * work.weight_decay if p.ndim > 1 else 0.0
                p.copy_(p * (1 - decay) - rate * m / (v.sqrt() * unbias + work.eps))

    # The usual limit of 8 would end a process that measures several trainings.
    torch._dynamo.config.recompile_limit = 1024
    compiled = torch.compile(step, fullgraph=True, dynamic=False)
    # Both sizes of a batch are compiled here, on copies: nothing is learned yet.
    copies = [{name: p.clone() for name, p in group.items()} for group in (params, ms, vs)]
    with torch.no_grad():
        for size in {min(work.batch_size, len(X)), len(X) % work.batch_size} - {0}:
            index = torch.arange(size, dtype=torch.int32)
            compiled(*copies, rate, unbias, index)
    steps = itertools.count(1)

    def run(index: torch.Tensor) -> None:
        if work.optimizer == "adamw":
            t = next(steps)
            rate.fill_(work.lr / (1 - work.beta1**t))
            unbias.fill_(1 / math.sqrt(1 - work.beta2**t))
        with torch.no_grad():
            compiled(params, ms, vs, rate, unbias, index)

    return run
