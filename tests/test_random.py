"""The random stream against Random123's vectors, JAX's Threefry, and statistics."""

import importlib
import math

import jax.extend.random
import jax.numpy as jnp
import numpy as np
import pytest

from xpnet import UsageError, random
from xpnet.types import Noise

NAMESPACES = [
    "array_api_compat.numpy",
    "array_api_strict",
    "jax.numpy",
    pytest.param("array_api_compat.torch", marks=pytest.mark.torch),
]


@pytest.fixture(params=NAMESPACES)
def xp(request):
    return importlib.import_module(request.param)


def int32(xp, words):
    """Words as an int32 array of at least one dimension, the bits kept."""
    return xp.asarray(np.atleast_1d(np.asarray(words, np.uint32)).view(np.int32))


def uint32(array):
    return np.asarray(array).view(np.uint32)


def jax_threefry(key, counter):
    """JAX's Threefry-2x32, which takes the two counter words one after the other."""
    key = jnp.asarray(np.asarray(key, np.uint32))
    count = np.concatenate([np.asarray(c, np.uint32) for c in counter])
    return np.split(np.asarray(jax.extend.random.threefry_2x32(key, jnp.asarray(count))), 2)


# From kat_vectors of Random123 1.14 (threefry2x32, 20 rounds).
ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "answer"), KNOWN_ANSWERS)
def test_threefry_gives_the_published_answers(xp, key, counter, answer):
    words = random.threefry2x32(
        tuple(int32(xp, k) for k in key), tuple(int32(xp, c) for c in counter)
    )
    assert [int(uint32(w)[0]) for w in words] == list(answer)


def test_threefry_agrees_with_jax(xp):
    rng = np.random.default_rng(0)
    keys = [(0, ONES), (ONES, 0), (2**31, 2**31 - 1), *rng.integers(0, 2**32, (5, 2)).tolist()]
    edges = [0, 1, 2**31 - 1, 2**31, ONES - 1, ONES]
    counter = np.concatenate(
        [np.array([(a, b) for a in edges for b in edges]).T, rng.integers(0, 2**32, (2, 500))],
        axis=1,
    )
    for key in keys:
        words = random.threefry2x32(
            tuple(int32(xp, k) for k in key), tuple(int32(xp, c) for c in counter)
        )
        expected = jax_threefry(key, counter)
        np.testing.assert_array_equal([uint32(w) for w in words], expected)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_seed_of_32_bits_is_accepted(seed):
    assert random.check_seed(seed) == seed
    assert sorted(random.permutation(np, seed, 0, 9).tolist()) == list(range(9))


@pytest.mark.parametrize("seed", [-1, 2**32, 2**40, 1.0, True, "0", None])
def test_other_seeds_are_refused(seed):
    with pytest.raises(UsageError, match=r"^seed must be"):
        random.check_seed(seed)


# ---- uniform and normal ------------------------------------------------------------------

N = 100_000


def kolmogorov_smirnov(sample, cdf):
    """sqrt(n) times the largest distance between the empirical distribution and ``cdf``."""
    expected, n = cdf(np.sort(sample)), len(sample)
    above = np.arange(1, n + 1) / n - expected
    below = expected - np.arange(n) / n
    return math.sqrt(n) * max(above.max(), below.max())


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize(
    ("draw", "cdf", "mean", "variance", "fourth"),
    [
        (random.uniform, lambda u: u, 1 / 2, 1 / 12, 1 / 80),
        (random.normal, np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2))), 0.0, 1.0, 3.0),
    ],
    ids=["uniform", "normal"],
)
def test_draws_follow_their_distribution(draw, cdf, mean, variance, fourth, seed):
    x = draw(seed, random.WEIGHTS, N)
    assert x.shape == (N,)
    assert x.dtype == np.float64
    # 4.5 standard errors, which chance exceeds once in 150,000 draws
    assert abs(x.mean() - mean) < 4.5 * math.sqrt(variance / N)
    assert abs(((x - mean) ** 2).mean() - variance) < 4.5 * math.sqrt((fourth - variance**2) / N)
    # Kolmogorov's distribution exceeds 2.2 with a chance of 2 exp(-2 * 2.2^2) = 1e-4
    assert kolmogorov_smirnov(x, cdf) < 2.2
    neighbours = np.corrcoef(x[:-1], x[1:])[0, 1]
    assert abs(neighbours) < 4.5 / math.sqrt(N)


@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (2**32 - 1, 1 << 20)])
def test_draws_are_made_of_the_words_of_their_stream(seed, stream):
    n = 50
    words = jax_threefry((seed, stream), (np.zeros(2 * n), np.arange(2 * n)))
    u = [(int(a >> 6) * 2**26 + int(b >> 6) + 0.5) / 2**52 for a, b in zip(*words, strict=True)]
    assert random.uniform(seed, stream, 2 * n).tolist() == u
    z = [
        math.sqrt(-2 * math.log(a)) * math.cos(2 * math.pi * b)
        for a, b in zip(u[:n], u[n:], strict=True)
    ]
    np.testing.assert_allclose(random.normal(seed, stream, n), z, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("draw", [random.uniform, random.normal])
def test_seeds_and_streams_are_unrelated(draw):
    x = draw(0, random.WEIGHTS, N)
    for other in (draw(1, random.WEIGHTS, N), draw(0, random.WEIGHTS + 1, N)):
        assert abs(np.corrcoef(x, other)[0, 1]) < 4.5 / math.sqrt(N)


@pytest.mark.parametrize("bits", [0, -1])
def test_uniform_is_never_0_or_1(monkeypatch, bits):
    words = np.full(1, bits, np.int32)
    monkeypatch.setattr(random, "threefry2x32", lambda key, counter: (words, words))
    (u,) = random.uniform(0, 0, 1)
    assert 0 < u < 1


# ---- permutations ------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 60_000])
def test_a_permutation_holds_each_sample_once(xp, n):
    order = random.permutation(xp, 5, 2, n)
    assert order.dtype == xp.int32
    np.testing.assert_array_equal(np.sort(np.asarray(order)), np.arange(n))


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (7, 3), (2**32 - 1, 2**31)])
def test_a_permutation_is_the_order_of_the_words_of_its_stream(xp, seed, epoch):
    n = 1000
    words, _ = jax_threefry((seed, 3 << 20), (np.full(n, epoch), np.arange(n)))
    expected = np.argsort(words.view(np.int32), stable=True)
    np.testing.assert_array_equal(np.asarray(random.permutation(xp, seed, epoch, n)), expected)


def test_permutations_differ_between_seeds_epochs_and_the_split():
    orders = [
        random.permutation(np, 0, 0, 100),
        random.permutation(np, 0, 1, 100),
        random.permutation(np, 1, 0, 100),
        random.split_order(0, 100),
        random.split_order(1, 100),
    ]
    assert len({tuple(order.tolist()) for order in orders}) == len(orders)


def test_all_orders_are_equally_likely():
    counts = {}
    for epoch in range(2400):
        order = tuple(random.permutation(np, 0, epoch, 4).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    chi_square = sum((count - 100) ** 2 / 100 for count in counts.values())
    assert chi_square < 55.5  # 99.98 % of chi-square with 23 degrees of freedom


# ---- dropout masks -----------------------------------------------------------------------


def keep_mask(xp, rows, width, rate, *, seed=0, step=1, layer=0):
    noise = Noise(seed, int32(xp, step), xp.asarray(np.asarray(rows, np.int32)), layer)
    mask = random.keep_mask(xp, noise, width, rate)
    assert mask.shape == (len(rows), width)
    return np.asarray(mask)


@pytest.mark.parametrize("width", [399, 400])
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_dropout_drops_its_share(rate, width):
    mask = keep_mask(np, range(500), width, rate)
    # 4.5 standard errors, overall and in each half of the row
    for part in (mask, mask[:, : width // 2], mask[:, width // 2 :]):
        error = abs((~part).mean() - rate)
        assert error < 4.5 * math.sqrt(rate * (1 - rate) / part.size)


def test_rate_0_keeps_everything_and_a_rate_near_1_almost_nothing(xp):
    assert keep_mask(xp, range(50), 101, 0.0).all()
    assert not keep_mask(xp, range(50), 101, 1 - 2**-40).any()


@pytest.mark.parametrize("width", [1, 2, 7, 8])
def test_the_mask_of_a_row_does_not_depend_on_the_other_rows(width):
    whole = keep_mask(np, range(64), width, 0.5)
    np.testing.assert_array_equal(keep_mask(np, [5, 6, 7], width, 0.5), whole[5:8])
    np.testing.assert_array_equal(keep_mask(np, [40, 3], width, 0.5), whole[[40, 3]])


def test_masks_of_other_rows_steps_layers_seeds_and_columns_are_unrelated():
    m, width = 100, 200
    rows = range(m)
    mask = keep_mask(np, rows, width, 0.5)
    others = [
        keep_mask(np, range(m, 2 * m), width, 0.5),
        keep_mask(np, rows, width, 0.5, step=2),
        keep_mask(np, rows, width, 0.5, layer=1),
        keep_mask(np, rows, width, 0.5, seed=1),
        np.roll(mask, 1, axis=0),
        np.roll(mask, 1, axis=1),
        np.roll(mask, width // 2, axis=1),
    ]
    for other in others:  # fair coins agree in half of the places
        assert abs((mask == other).mean() - 0.5) < 4.5 * 0.5 / math.sqrt(m * width)


@pytest.mark.parametrize("width", [1, 6, 7])
def test_masks_are_equal_bit_for_bit_in_all_namespaces(xp, width):
    half = (width + 1) // 2
    rows, seed, step, layer = [0, 1, 500, 2**31 - 1], 2**32 - 3, 2**31 - 1, 5
    mask = keep_mask(xp, rows, width, 0.3, seed=seed, step=step, layer=layer)

    position = (np.array(rows)[:, None] * half + np.arange(half)).ravel() % 2**32
    words = jax_threefry((seed, (2 << 20) + layer), (np.full(position.size, step), position))
    left, right = (w.view(np.int32).reshape(len(rows), half) for w in words)
    expected = np.concatenate([left, right], axis=1)[:, :width] >= round(0.3 * 2**32) - 2**31
    np.testing.assert_array_equal(mask, expected)
