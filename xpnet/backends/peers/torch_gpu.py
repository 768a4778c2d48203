"""PyTorch on a GPU: eager, with the model compiled, or the whole step as one CUDA graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ...errors import BackendError
from ...types import Array
from . import Work
from .torch import ACTIVATIONS, LOSSES, batch, linear, make_optimizer

__all__ = ["Peer"]

PRECISIONS = {"fp32": "highest", "tf32": "high", "bf16": "high"}
"""PyTorch's names for how float32 matrices are multiplied; on a GPU its "medium" is tf32 again."""

WARM_UP_STEPS = 4
"""Compiling, the first run, recording and the first replay of what is compiled."""


class Rounded(torch.nn.Module):  # type: ignore[misc]
    """A linear layer whose products, in backpropagation, too, take operands rounded to bfloat16."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.linear(x.bfloat16(), self.layer.weight.bfloat16())
        return y.float() + self.layer.bias


class Peer:
    """``variant`` eager: with the fused optimizer; compile: model and loss compiled, too, in the
    mode that replays graphs; graph: gather, model, loss, backward and optimizer as one graph.

    Steps that warm up what is compiled are taken back, so that nothing is learned yet.
    """

    def __init__(self, work: Work, variant: str, device: str, precision: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise BackendError("PyTorch has no GPU here: install its build for CUDA")
        self.device = torch.device(device)
        self.precision = PRECISIONS[precision]
        self.n = len(work.X)
        self.batch_size = min(work.batch_size, self.n)
        self.X = torch.from_numpy(work.X).to(self.device).to(torch.float32) * work.scale
        self.y = torch.from_numpy(work.y).to(self.device)
        if work.loss == "softmax_xent":
            self.y = self.y.long()
        self.linears = [linear(W, b).to(self.device) for W, b in work.parameters]
        layers: list[torch.nn.Module] = []
        for layer in self.linears:
            rounding = Rounded(layer) if precision == "bf16" else layer
            layers += [rounding, ACTIVATIONS[work.activation]()]
        self.model: Any = torch.nn.Sequential(*layers[:-1])
        self.loss: Any = LOSSES[work.loss]
        self.optimizer = make_optimizer(work, self.linears, fused=True)
        self.order = torch.arange(self.n, dtype=torch.int32, device=self.device)
        self.position = torch.zeros((), dtype=torch.int64, device=self.device)
        prepare = {"eager": self.eager, "compile": self.compiled, "graph": self.graphs}[variant]
        with self.settings():
            self.steps = prepare()
            self.synchronize()

    # ---- the variants: for each size of a batch a function of where in the order it begins

    def eager(self) -> dict[int, Callable[[int], Any]]:
        return self.warm({size: self.step_of(size, self.batch_loss) for size in self.sizes})

    def compiled(self) -> dict[int, Callable[[int], Any]]:
        """The gather stays outside: what is compiled would copy all samples in every step."""
        options: Any = {"mode": "reduce-overhead"}
        if self.device.type == "cpu":
            options = {"backend": "eager"}  # no compiler is needed to see that it works
        torch._dynamo.config.recompile_limit = 1024
        if self.batch_size == self.n:
            for whole in (self.X, self.y):  # where they lie is theirs for good: no copies
                torch._dynamo.mark_static_address(whole)
        loss = torch.compile(self.batch_loss, fullgraph=True, dynamic=False, **options)

        def marked(x: torch.Tensor, y: torch.Tensor) -> Any:
            torch.compiler.cudagraph_mark_step_begin()
            return loss(x, y)

        return self.warm({size: self.step_of(size, marked) for size in self.sizes})

    def graphs(self) -> dict[int, Callable[[int], Any]]:
        """Each graph finds its batch by a position on the device, which it moves on."""
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = self.device.type == "cuda"
        return {size: self.graph_of(size) for size in self.sizes}

    def graph_of(self, size: int) -> Callable[[int], Any]:
        ahead = torch.arange(size, device=self.device)

        def step(_start: int) -> None:
            index = self.order
            if size < self.n:
                index = self.order.index_select(0, self.position + ahead)
            self.learn(index, self.batch_loss)
            self.position.add_(size)

        with self.aside():
            self.without_learning(step)
        if self.device.type == "cpu":
            return step
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            step(0)
        return lambda _start: graph.replay()

    # ---- what they have in common ----------------------------------------------------------------

    @property
    def sizes(self) -> set[int]:
        """Of the batches of an epoch."""
        return {self.batch_size, self.n % self.batch_size} - {0}

    def batch_loss(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return self.loss(self.model(x), y)

    def step_of(self, size: int, loss: Any) -> Callable[[int], Any]:
        return lambda start: self.learn(self.order[start : start + size], loss)

    def learn(self, index: torch.Tensor, loss: Any) -> None:
        """One step on the samples ``index``."""
        x, y = batch(self.X, self.y, index)
        self.optimizer.zero_grad(set_to_none=True)
        loss(x, y).backward()
        self.optimizer.step()

    def warm(self, steps: dict[int, Callable[[int], Any]]) -> dict[int, Callable[[int], Any]]:
        for step in steps.values():
            self.without_learning(step)
        return steps

    def without_learning(self, step: Callable[[int], Any]) -> None:
        """Take some steps, and put everything back in its place."""
        before = [p.detach().clone() for p in self.model.parameters()]
        for _ in range(WARM_UP_STEPS):
            step(0)
            self.position.zero_()
        with torch.no_grad():
            for p, value in zip(self.model.parameters(), before, strict=True):
                p.copy_(value)
            for slots in self.optimizer.state.values():
                for slot in slots.values():
                    if isinstance(slot, torch.Tensor):
                        slot.zero_()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """On a stream of its own, where there is one: what is to be captured warms up there."""
        if self.device.type == "cpu":
            yield
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            yield
        torch.cuda.current_stream().wait_stream(stream)

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """The precision of products, for nobody else in this process."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.precision)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def epoch(self, order: Array) -> None:
        with self.settings():
            if self.batch_size < self.n:
                self.order.copy_(torch.from_numpy(order))
            self.position.zero_()
            for start in range(0, len(order), self.batch_size):
                self.steps[min(self.batch_size, len(order) - start)](start)
            self.synchronize()

    def parameters(self) -> list[tuple[Array, Array]]:
        return [
            (a.weight.detach().cpu().numpy().T.copy(), a.bias.detach().cpu().numpy().copy())
            for a in self.linears
        ]
