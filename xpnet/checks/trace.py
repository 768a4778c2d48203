"""Recording what every primitive of a step was given and returned, and where it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from ..network import Network
from ..ops import Ops
from ..types import Array, Layer, Noise, Params

__all__ = ["Call", "Recorder", "located"]


class Call(NamedTuple):
    """One use of a primitive: ``place`` says where, such as ``layer 0 backward``."""

    place: str
    op: str
    args: tuple[Any, ...]
    result: Any


class Recorder:
    """Passes every primitive on to ``ops`` and remembers the call; results are snapshots.

    ``snapshot`` copies arrays to the host, for a donated one is overwritten later.
    """

    def __init__(self, ops: Ops, snapshot: Callable[[Any], Any]) -> None:
        self.ops = ops
        self.snapshot = snapshot
        self.calls: list[Call] = []
        self.place = "step"

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.ops, name)
        if not callable(attribute) or name in ("xp", "device"):
            return attribute

        def recorded(*args: Any) -> Any:
            before = self.snapshot(args)
            result = attribute(*args)
            self.note(name, before, result)
            return result

        return recorded

    def note(self, op: str, args: tuple[Any, ...], result: Any) -> None:
        """Remember a call; ``args`` are a snapshot."""
        self.calls.append(Call(self.place, op, args, self.snapshot(result)))


@dataclasses.dataclass(frozen=True)
class Located:
    """A layer that tells the recorder where the computation stands, and its own results."""

    layer: Layer
    index: int

    def output_width(self, n_in: int) -> int:
        return self.layer.output_width(n_in)

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        return self.layer.shapes(n_in)

    def init_params(self, seed: int, layer: int, n_in: int) -> Params:
        return self.layer.init_params(seed, layer, n_in)

    def forward(self, ops: Any, p: Params, x: Array, noise: Noise | None) -> tuple[Array, Any]:
        ops.place = f"layer {self.index} forward"
        y, saved = self.layer.forward(ops, p, x, noise)
        ops.note("forward", (), y)
        ops.place = "step"
        return y, saved

    def backward(
        self, ops: Any, p: Params, saved: Any, dy: Array, need_dx: bool
    ) -> tuple[Array | None, Params]:
        ops.place = f"layer {self.index} backward"
        dx, grads = self.layer.backward(ops, p, saved, dy, need_dx)
        ops.note("backward", (), [dx, *(grads[name] for name in sorted(grads))])
        ops.place = "step"
        return dx, grads


def located(network: Network) -> Network:
    """The same network, each layer of which says where it is; for use with a Recorder."""
    return Network(network.n_in, [Located(layer, i) for i, layer in enumerate(network.layers)])
