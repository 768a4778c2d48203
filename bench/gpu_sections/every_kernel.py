"""Small trainings that run every kernel: what the sanitizer looks at.

python bench/gpu_sections/every_kernel.py [BACKEND]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

import xpnet
from xpnet import backends, optim
from xpnet.backends import Backend
from xpnet.data import Dataset
from xpnet.hyperparameters import Hyperparameters
from xpnet.train import segments

__all__ = ["train_all"]

N, WIDTH, CLASSES = 300, 37, 7
"""No multiples of a warp or a tile; the last batch of an epoch is smaller, too."""


def trainings() -> Iterator[tuple[Dataset, xpnet.Network, Hyperparameters]]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (N, WIDTH), dtype=np.uint8)
    y = rng.integers(0, CLASSES, N).astype(np.int32)
    weight = rng.integers(0, 3, N).astype(np.float32)
    mean, spread = np.full(WIDTH, 128.0), np.full(WIDTH, 1 / 74)
    reals = Dataset(pixels / 255, y)
    answers = Dataset(pixels, (y > 3).astype(np.float32)[:, None], scale=1 / 255)
    several = {"batch_size": 65, "epochs": 2}  # four such steps an epoch: two are replayed
    for dtype in ("float32", "float64"):
        for data, activation, hp in (
            (Dataset(pixels, y, weight, 1 / 255), "relu", {"optimizer": optim.AdamW()}),
            (Dataset(pixels, y, None, spread, mean), "tanh", {"optimizer": optim.Momentum()}),
            (reals, "sigmoid", {"optimizer": optim.RMSprop(l2=1e-3), "clip_norm": 0.1}),
            (reals, "relu", {"optimizer": optim.Nesterov(), "clip_value": 0.01}),
            (answers, "gelu", {"optimizer": optim.SGD(), "loss": xpnet.BinaryCrossEntropy()}),
        ):
            n_out = 1 if "loss" in hp else CLASSES
            network = xpnet.mlp(WIDTH, 33, 20, n_out, activation=activation, dropout=0.3)
            yield data, network, Hyperparameters(dtype=dtype, **several, **hp)


def train_all(backend: Backend) -> int:
    """Train them all on ``backend``; how many there were."""
    n = 0
    for data, network, hp in trainings():
        for _ in segments(network, data, hp=hp, backend=backend):
            pass
        n += 1
    ops = backend.ops()  # gradients of parts of a batch are added where memory is short
    for dtype in (np.float32, np.float64):
        ops.add(*(backend.asarray(np.ones(1000, dtype)) for _ in range(2)))
    return n


def without_pool() -> None:
    """Each array in memory of its own, or no tool would see who writes past the end of one."""
    import cupy

    cupy.cuda.set_allocator(None)


if __name__ == "__main__":
    place = backends.get(sys.argv[1] if len(sys.argv) > 1 else "cupy")
    if place.name == "cupy":
        without_pool()
    print(f"{train_all(place)} trainings on {place.place}")
