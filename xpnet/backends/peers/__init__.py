"""Peers: the same training as their own users would write it, to be measured beside xpnet.

Each module holds one library's class ``Peer`` and nothing of xpnet's engine. A peer is told
its training as ``Work``: plain arrays and numbers, so that all do the same.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any, NamedTuple, Protocol

import threadpoolctl

from ...errors import BackendError, check_choice, check_count
from ...types import Array

__all__ = ["PEERS", "Peer", "Work", "installed", "load", "set_threads", "thread_environment"]


class Work(NamedTuple):
    """One training: what is learned, from which weights, in which batches, by which rule.

    ``X`` (n, n_in) uint8 or float32 is multiplied by ``scale`` as float32. ``y``: labels (n,)
    int32 for ``softmax_xent``, or targets (n, 1) float32 for ``bce`` on logits. ``parameters``
    are the initial W (n_in, n_out) and b (n_out,) of each layer; hidden layers have
    ``activation`` (relu or sigmoid), the last has none. ``optimizer`` is sgd, momentum (SGD with
    momentum ``mu``) or adamw, with decoupled decay of the weight matrices alone.
    """

    X: Array
    y: Array
    scale: float
    loss: str
    parameters: list[tuple[Array, Array]]
    activation: str
    batch_size: int
    optimizer: str
    lr: float
    mu: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01


class Peer(Protocol):
    """A training under way in another library. Float32; the loss is the mean over the batch."""

    def __init__(self, work: Work) -> None:
        """Prepare everything and compile what is compiled, on copies: nothing is learned yet."""

    def epoch(self, order: Array) -> None:
        """Train on the samples in ``order`` (n,) int32, batch by batch; return when it is done.

        The last batch may be smaller. Where one batch holds all samples, it is taken as it lies.
        """

    def parameters(self) -> list[tuple[Array, Array]]:
        """W (n_in, n_out) and b (n_out,) of each layer as they are now, NumPy copies."""


class Entry(NamedTuple):
    """A peer: its module here and the variant of it, the package behind, and how to get that."""

    module: str
    variant: str
    package: str
    remedy: str


PEERS = {
    "textbook": Entry("textbook", "", "numpy", "pip install numpy"),
    "scikit-learn": Entry("sklearn", "", "sklearn", "pip install scikit-learn"),
    "torch-foreach": Entry("torch", "foreach", "torch", "pip install torch"),
    "torch-fused": Entry("torch", "fused", "torch", "pip install torch"),
    "torch-compile": Entry("torch", "compile", "torch", "pip install torch and a C++ compiler"),
    "jax-optax": Entry("jax", "", "optax", "pip install jax optax"),
    "thinc": Entry("thinc", "", "thinc", "pip install thinc"),
}


def installed() -> list[str]:
    """The peers whose library is installed here."""
    return [name for name, entry in PEERS.items() if importlib.util.find_spec(entry.package)]


def load(name: str, work: Work) -> Peer:
    """The peer ``name``, ready to do ``work``.

    Raises BackendError where its library is missing, or cannot do this work.
    """
    entry = PEERS[check_choice("peer", name, PEERS)]
    try:
        module: Any = importlib.import_module(f".{entry.module}", __name__)
    except ImportError as error:
        raise BackendError(f"peer {name} is not installed ({error}): {entry.remedy}") from error
    peer: Peer = module.Peer(work, entry.variant) if entry.variant else module.Peer(work)
    return peer


def set_threads(n: int) -> None:
    """Let every library compute with ``n`` threads from now on.

    What is loaded later reads the environment, which is set, too. To be called before a peer is
    loaded: compiled PyTorch compiles anew where the number changes. JAX counts its threads only
    once, as it starts: if it has, begin the process with ``thread_environment``.
    """
    os.environ.update(thread_environment(n))
    threadpoolctl.threadpool_limits(n)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)


def thread_environment(n: int) -> dict[str, str]:
    """The variables that a process must be started with, so that it computes with ``n`` threads.

    XLA runs the parts of a program on as many threads as PJRT_NPROC says: its flag
    --xla_cpu_multi_thread_eigen=false alone leaves a program on several, but then makes
    programs for one thread that are a little faster.
    """
    count = str(check_count("threads", n))
    names = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMBA")
    return {
        **{f"{name}_NUM_THREADS": count for name in names},
        "VECLIB_MAXIMUM_THREADS": count,
        "PJRT_NPROC": count,
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'false' if n == 1 else 'true'}",
    }
