"""The order of an epoch's samples: ``random.permutation`` with its words drawn by one kernel."""

from __future__ import annotations

import numpy as np

from ...random import ORDER, as_int32
from ...types import Array, Namespace
from .launcher import Launcher
from .vector import THREADS, blocks_for

__all__ = ["permutation"]


def permutation(xp: Namespace, launcher: Launcher, seed: int, epoch: int, n: int) -> Array:
    """The order in which epoch ``epoch`` visits ``n`` samples, (n,) int32; each comes once."""
    words = launcher.empty((n,), np.dtype(np.int32))
    numbers = as_int32(seed), as_int32(ORDER), as_int32(epoch)
    arguments = (*map(np.int32, numbers), words, np.int32(n))
    launcher.launch(np.float32, "order_words", (blocks_for(n),), (THREADS,), arguments)
    return xp.astype(xp.argsort(words, stable=True), xp.int32)
