"""One random stream for all backends: a counter in, random bits out, nothing to store.

Threefry-2x32-20 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
2011) scrambles a counter of two 32-bit words under a key of two words. It is written in int32
Array API operations, which every namespace has and whose additions wrap around. So the same
seed gives the same weights, batches and dropout masks, bit for bit, everywhere.

The key is (seed, stream); the counter says which number of that stream is meant. Keys and
counters are at least 1-d, because a 0-d int32 that overflows makes NumPy warn.
"""

from __future__ import annotations

import math

import numpy as np

from .errors import UsageError, check_count
from .types import Array, Namespace, Noise

__all__ = ["check_seed", "keep_mask", "normal", "permutation", "threefry2x32", "uniform"]

# The streams. Layers add their index, so each stream has room for 2**20 of them.
WEIGHTS = 1 << 20
DROPOUT = 2 << 20
ORDER = 3 << 20
SPLIT = 4 << 20

CHUNK = 1 << 16
"""Numbers drawn at a time: what they are made of needs several times their memory."""

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def check_seed(seed: int) -> int:
    """Return ``seed`` if it is a whole number that fits 32 bits; else raise UsageError."""
    check_count("seed", seed, minimum=0)
    if seed >= 2**32:
        raise UsageError(f"seed must be below 2**32 = {2**32}, not {seed}")
    return seed


def as_int32(word: int) -> int:
    """The int32 with the same 32 bits as ``word``."""
    return (word & 0xFFFFFFFF) - ((word & 0x80000000) << 1)


def rotate_left(x: Array, n: int) -> Array:
    """Rotate the bits of int32 ``x``; ``>>`` copies the sign bit, so the copies are masked off."""
    return (x << n) | ((x >> (32 - n)) & ((1 << n) - 1))


def threefry2x32(key: tuple[Array, Array], counter: tuple[Array, Array]) -> tuple[Array, Array]:
    """Two random int32 words per counter.

    ``key`` and ``counter`` are pairs of int32 arrays of one dimension or more that broadcast.
    """
    k0, k1 = key
    keys = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = counter[0] + k0, counter[1] + k1
    for group in range(5):
        for n in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = rotate_left(x1, n) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + (keys[(group + 2) % 3] + (group + 1))
    return x0, x1


def key(xp: Namespace, seed: int, stream: int, device: object = None) -> tuple[Array, Array]:
    """The key of a stream: two (1,) int32 arrays."""
    return word(xp, seed, device), word(xp, stream, device)


def word(xp: Namespace, number: int, device: object = None) -> Array:
    """A whole number as a (1,) int32 array."""
    return xp.asarray([as_int32(number)], dtype=xp.int32, device=device)


def uniform(seed: int, stream: int, n: int, start: int = 0) -> Array:
    """``n`` float64 numbers in (0, 1) on the host, from 52 bits each; never 0 and never 1.

    They are the numbers ``start``, ``start`` + 1, ... of the stream.
    """
    index = np.arange(start, start + n, dtype=np.int32)
    w0, w1 = threefry2x32(key(np, seed, stream), (np.zeros(1, np.int32), index))
    high = (w0.view(np.uint32) >> np.uint32(6)).astype(np.float64)  # 26 bits
    low = (w1.view(np.uint32) >> np.uint32(6)).astype(np.float64)  # 26 bits
    return (high * 2.0**26 + low + 0.5) * 2.0**-52


def normal(seed: int, stream: int, n: int) -> Array:
    """``n`` standard normal float64 numbers on the host (Box and Muller, 1958).

    z = sqrt(-2 ln u1) cos(2 pi u2), with u1 the numbers 0 .. n-1 of the stream and u2 the next n
    """
    z = np.empty(n)
    for start in range(0, n, CHUNK):
        m = min(CHUNK, n - start)
        u1, u2 = uniform(seed, stream, m, start), uniform(seed, stream, m, n + start)
        z[start : start + m] = np.sqrt(-2.0 * np.log(u1)) * np.cos(2.0 * math.pi * u2)
    return z


def permutation(xp: Namespace, seed: int, epoch: int, n: int, device: object = None) -> Array:
    """The order in which epoch ``epoch`` visits ``n`` samples, (n,) int32; each comes once.

    It depends on seed, epoch and n alone. Equal words keep their order, so the sort gives
    the same everywhere.
    """
    return shuffle(xp, key(xp, seed, ORDER, device), word(xp, epoch, device), n, device)


def split_order(seed: int, n: int) -> Array:
    """The order in which samples are dealt to the training and validation parts, (n,) int32."""
    return shuffle(np, key(np, seed, SPLIT), word(np, 0), n)


def shuffle(
    xp: Namespace, k: tuple[Array, Array], round_: Array, n: int, device: object = None
) -> Array:
    """A permutation of 0 .. n-1 as int32, number ``round_`` (1,) of the stream with key ``k``."""
    index = xp.arange(n, dtype=xp.int32, device=device)
    words, _ = threefry2x32(k, (round_, index))
    return xp.astype(xp.argsort(words, stable=True), xp.int32)


def keep_mask(xp: Namespace, noise: Noise, width: int, rate: float, device: object = None) -> Array:
    """Which values of a batch Dropout keeps: (m, width) booleans, each False with chance ``rate``.

    The counter is (step, row in the whole batch * half width + column), and its two
    words serve the left and the right half of the row.
    """
    half = (width + 1) // 2
    column = xp.arange(half, dtype=xp.int32, device=device)
    position = xp.expand_dims(noise.rows * half, axis=1) + xp.expand_dims(column, axis=0)
    step = xp.expand_dims(noise.t, axis=1)
    left, right = threefry2x32(key(xp, noise.seed, DROPOUT + noise.layer, device), (step, position))
    threshold = min(round(rate * 2**32) - 2**31, 2**31 - 1)
    return xp.concat([left, right], axis=1)[:, :width] >= threshold
