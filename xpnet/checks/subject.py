"""What a check is about: a network, its data, and how it is trained."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..data import Dataset
from ..hyperparameters import Hyperparameters
from ..network import Network
from ..types import Array

__all__ = ["Subject"]


class Subject(NamedTuple):
    """What parity is checked on: a network, its data on the host, and how it is trained.

    ``theta`` (n_theta,) are the weights to start from, on the host; None is the initial ones.
    """

    network: Network
    data: Dataset
    hp: Hyperparameters
    n_steps: int = 20
    theta: Array | None = None

    @property
    def batch_size(self) -> int:
        return min(self.hp.batch_size, self.data.n)

    def start(self, dtype: str) -> Array:
        """The weights to start from, on the host."""
        if self.theta is None:
            return self.network.init(self.hp.seed, dtype)
        return self.theta.astype(np.float32).astype(dtype)
