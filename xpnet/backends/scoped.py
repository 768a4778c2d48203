"""Matrix products whose precision is a setting of the library, made for them alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

from ..activations import Activation
from ..ops import Ops
from ..types import Array, Namespace

__all__ = ["Scope", "ScopedOps"]

Scope: TypeAlias = Callable[[Any], AbstractContextManager[Any]]
"""For a dtype the context in which matrices of it are multiplied."""


class ScopedOps(Ops):
    """The reference, whose matrix products are computed within ``scope``."""

    def __init__(
        self, xp: Namespace, device: object = None, scope: Scope = lambda _: nullcontext()
    ) -> None:
        super().__init__(xp, device)
        self.scope = scope

    def affine(self, x: Array, W: Array, b: Array, f: Activation) -> tuple[Array, Any]:
        with self.scope(W.dtype):
            return super().affine(x, W, b, f)

    def affine_grad(
        self, dy: Array, saved: Any, W: Array, f: Activation, need_dx: bool
    ) -> tuple[Array | None, Array, Array]:
        with self.scope(W.dtype):
            return super().affine_grad(dy, saved, W, f, need_dx)
