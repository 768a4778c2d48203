"""Peers on a GPU, for its bench: the same ``Work`` on a device, in a precision of its products.

They are apart from those on the CPU, which nothing here slows down or changes. On the
device "cpu" they do the same work without what only a GPU has.
"""

from __future__ import annotations

import importlib
from typing import Any

from ...errors import BackendError, check_choice
from . import Entry, Peer, Work

__all__ = ["ON_GPU", "PRECISIONS", "load"]

PRECISIONS = ("fp32", "tf32", "bf16")
"""Of a product of float32 matrices: exact, or operands rounded for the tensor cores."""

TORCH = ("torch", "pip install torch")

ON_GPU = {
    "torch-eager": Entry("torch_gpu", "eager", *TORCH),
    "torch-compile": Entry("torch_gpu", "compile", *TORCH),
    "torch-graph": Entry("torch_gpu", "graph", *TORCH),
    "jax-scan": Entry("jax_gpu", "", "optax", "pip install 'jax[cuda13]' optax"),
}


def load(name: str, work: Work, device: str = "cuda", precision: str = "fp32") -> Peer:
    """The peer ``name`` on ``device``, ready to do ``work``.

    Raises BackendError where its library is missing or has no such device.
    """
    entry = ON_GPU[check_choice("peer on a GPU", name, ON_GPU)]
    check_choice("precision", precision, PRECISIONS)
    try:
        module: Any = importlib.import_module(f".{entry.module}", __package__)
    except ImportError as error:
        raise BackendError(f"peer {name} is not installed ({error}): {entry.remedy}") from error
    peer: Peer = module.Peer(work, entry.variant, device, precision)
    return peer
