"""Parity passes what is right, and for every planted fault fails in the right place."""

import types

import numpy as np
import pytest
from conftest import make_backend
from test_train import digits

import xpnet
from xpnet import backends
from xpnet.backends.backend import Backend
from xpnet.backends.cuda import CudaOps
from xpnet.backends.jax import BlockOps
from xpnet.backends.numba.ops import NumbaOps
from xpnet.backends.numpy import NumpyOps
from xpnet.checks.cases import DONATED, convert, leaves, overrides, primitive_cases, primitives
from xpnet.checks.compare import compare, relative_error
from xpnet.checks.parity import parity
from xpnet.checks.subject import Subject
from xpnet.ops import Ops

NETWORK = xpnet.Network(
    20,
    [
        xpnet.Dense(12, "tanh"),
        xpnet.Dropout(0.3),
        xpnet.LayerNorm(),
        xpnet.Dense(8, "relu"),
        xpnet.Dense(3),
    ],
)
HP = {"batch_size": 32, "clip_norm": 0.5, "clip_value": 0.4}


def subject(dtype="float64", network=NETWORK, n_steps=6, **hp):
    return Subject(network, digits(), xpnet.Hyperparameters(dtype=dtype, **{**HP, **hp}), n_steps)


def failures(backend, dtype="float64", **options):
    return [r for r in parity(subject(dtype, **options), backend) if not r.passed]


# ---- what is right passes -------------------------------------------------------------------


def test_every_backend_passes(backend):
    assert failures(backend, "float32") == []


@pytest.mark.slow
def test_every_backend_passes_in_float64(backend):
    assert failures(backend, "float64") == []


@pytest.mark.parametrize("seed", range(50))
def test_random_networks_raise_no_false_alarm(seed):
    """On the stand-in for a GPU and on NumPy, in float32 and float64 by turns."""
    rng = np.random.default_rng(seed)
    names = sorted(xpnet.ACTIVATIONS)
    layers = []
    for _ in range(rng.integers(0, 4)):
        layers.append(xpnet.Dense(int(rng.integers(1, 12)), names[rng.integers(len(names))]))
        if rng.random() < 0.3:
            layers.append(xpnet.Dropout(0.3))
        if rng.random() < 0.3:
            layers.append(xpnet.LayerNorm())
    network = xpnet.Network(20, [*layers, xpnet.Dense(3)])
    optimizers = [xpnet.SGD(), xpnet.Momentum(), xpnet.Nesterov(), xpnet.RMSprop(), xpnet.AdamW()]
    hp = {"optimizer": optimizers[seed % 5], "seed": seed, "network": network, "n_steps": 20}
    backend = make_backend(("numpy", "device1")[seed % 2])
    found = failures(backend, ("float32", "float64")[seed // 2 % 2], **hp)
    assert found == []


# ---- planted faults -------------------------------------------------------------------------


class FaultyBackend(Backend):
    """NumPy with primitives, a namespace or a host copy of the test's choice."""

    def __init__(self, make_ops=NumpyOps, xp=None, from_host=None):
        numpy = backends.get("numpy")
        super().__init__("faulty", xp or numpy.xp, version="")
        self.make_ops = make_ops
        if from_host:
            self.from_host = from_host

    def ops(self):
        ops = self.make_ops()
        ops.xp = self.xp
        return ops


def fault(name, change):
    """Primitives whose ``name`` gives ``change(right result, *arguments)``."""

    def wrong(self, *args):
        return change(getattr(NumpyOps, name)(self, *args), *args)

    return type("Faulty", (NumpyOps,), {name: wrong})


def scaled(result, factor=1.001):
    """The first float array in a result, scaled."""
    if isinstance(result, list):
        return [part * part.dtype.type(factor) for part in result]
    if isinstance(result, tuple):
        done = False
        parts = []
        for part in result:
            if not done and leaves(part) and np.asarray(leaves(part)[0]).dtype.kind == "f":
                part, done = scaled(part, factor), True
            parts.append(part)
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return result * result.dtype.type(factor)


def replace(result, **fields):
    return result._replace(**fields)


def flipped(mask_or_values):
    changed = mask_or_values.copy()
    changed.flat[0] = 0 if changed.flat[0] else 1
    return changed


def half(result):
    return tuple(
        a.astype(np.float16).astype(a.dtype) if hasattr(a, "astype") else a for a in result
    )


FAULTS = {
    "affine_grad: wrong sign of dW": ("affine_grad", lambda r, *a: (r[0], -r[1], r[2])),
    "affine_grad: transposed product": (
        "affine_grad", lambda r, *a: (r[0], r[1].T.reshape(r[1].shape), r[2]),
    ),
    "affine_grad: bias summed over the wrong axis": (
        "affine_grad", lambda r, dy, *a: (r[0], r[1], np.resize(dy.sum(axis=1), r[2].shape)),
    ),
    "affine_grad: bias averaged": ("affine_grad", lambda r, dy, *a: (r[0], r[1], r[2] / len(dy))),
    "affine_grad: float16 accumulation": ("affine_grad", lambda r, *a: half(r)),
    "affine_grad: no derivative in dx": (
        "affine_grad", lambda r, dy, s, W, f, need: (dy @ W.T if need else None, r[1], r[2]),
    ),
    "affine: bias forgotten": ("affine", lambda r, x, W, b, f: (r[0] - b, r[1])),
    "affine: another activation": ("affine", lambda r, *a: (np.tanh(r[0]), r[1])),
    "dropout: a stale mask": (
        "dropout",
        lambda r, x, noise, rate: NumpyOps().dropout(x, noise._replace(t=noise.t - 1), rate),
    ),
    "dropout: one value of the mask flipped": ("dropout", lambda r, *a: flipped(r)),
    "dropout: not rescaled": ("dropout", lambda r, x, noise, rate: r * (1 - rate)),
    "softmax_xent: gradient not averaged": (
        "softmax_xent", lambda r, logits, *a: replace(r, dout=r.dout * len(logits)),
    ),
    "softmax_xent: one hit too many": (
        "softmax_xent", lambda r, *a: replace(r, n_correct=r.n_correct + 1),
    ),
    "softmax_xent: labels off by one": (
        "softmax_xent",
        lambda r, logits, y, *a: NumpyOps().softmax_xent(
            logits, (y + 1) % logits.shape[1] if y.ndim == 1 else y, *a
        ),
    ),
    "take: the next row": ("take", lambda r, A, index: A[np.minimum(index + 1, len(A) - 1)]),
    "rows: start forgotten": ("rows", lambda r, start, m: np.arange(m, dtype=np.int32)),
    "window: not around": (
        "window", lambda r, A, start, m: A[np.minimum(start[0] + np.arange(m), len(A) - 1)],
    ),
    "count: every part is a step": (
        "count", lambda r, counters, loss, w, m, last: r._replace(t=counters.t + 1),
    ),
    "gather: scale forgotten": ("gather", lambda r, X, i, shift, scale, d: r / scale),
    "batch: the labels of the next": ("batch", lambda r, *a: (r[0], np.roll(r[1], 1, axis=0))),
    "unpack: blocks in the wrong order": (
        "unpack", lambda r, *a: [np.roll(block, 1) for block in r],
    ),
    "pack: blocks in the wrong order": (
        "pack", lambda r, blocks, offsets, n: np.roll(r, 1),
    ),
    "square_sum: the norm instead": ("square_sum", lambda r, g: np.sqrt(r)),
    "clip_value: clipped on one side": ("clip_value", lambda r, g, limit: np.abs(r)),
    "add_weights: biases decay, too": ("add_weights", lambda r, v, a, *_: r * (1 + a)),
    "scale_by: twice": ("scale_by", lambda r, g, factor: r * factor),
    "adam: bias correction forgotten": (
        "adam",
        lambda r, th, g, m, v, t, lr, b1, b2, eps: (
            r[0] - lr * r[1] / (np.sqrt(r[2]) + eps), r[1], r[2],
        ),
    ),
    "momentum: the slot not updated": ("momentum", lambda r, th, g, v, *a: (r[0], v * 0.5)),
    "sgd: uphill": ("sgd", lambda r, theta, g, lr: r + 2 * lr * g),
    "rmsprop: no square": ("rmsprop", lambda r, th, g, v, *a: (r[0], np.sqrt(np.abs(r[1])))),
}  # fmt: skip


MADE_WITH = {
    "take": {"window", "gather", "batch"},
    "rows": {"window", "batch"},
    "window": {"batch"},
    "gather": {"batch"},
}
"""The primitives that are made with others in the reference."""


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_in_primitives_are_found_in_their_place(name):
    op, change = FAULTS[name]
    found = failures(FaultyBackend(fault(op, change)))
    assert any(r.check.startswith(f"op {op}") for r in found)
    others = {r.check.split()[1] for r in found if r.check.startswith("op ")} - {op}
    assert others <= MADE_WITH.get(op, set()), "only the faulty one is blamed"


FLOAT_PRIMITIVES = sorted(primitives(Ops) - {"rows", "flush", "take"})


@pytest.mark.parametrize("op", FLOAT_PRIMITIVES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_override_scaled_by_a_thousandth_is_found(op, dtype):
    found = failures(FaultyBackend(fault(op, lambda r, *a: scaled(r))), dtype)
    assert any(r.check.startswith(f"op {op}") for r in found)


def proxy(**changes):
    """NumPy's namespace with some functions replaced."""
    xp = backends.get("numpy").xp
    namespace = types.SimpleNamespace(**{n: getattr(xp, n) for n in dir(xp) if n[0] != "_"})
    for name, change in changes.items():
        setattr(namespace, name, change)
    return namespace


def test_two_samples_swapped_in_an_order_are_found():
    def argsort(x, *, stable=True, **kwargs):
        order = np.argsort(x, stable=True)
        order[:2] = order[1::-1]
        return order

    found = failures(FaultyBackend(xp=proxy(argsort=argsort)))
    assert found[0].check == "order of epoch 0"


def test_a_flipped_low_bit_in_an_order_is_found():
    def argsort(x, **kwargs):
        order = np.argsort(x, stable=True)
        order[0] ^= 1
        return order

    assert failures(FaultyBackend(xp=proxy(argsort=argsort)))[0].check == "order of epoch 0"


def test_a_flipped_bit_in_a_mask_is_found():
    def concat(arrays, **kwargs):
        words = np.concat(arrays, **kwargs)
        if words.dtype == np.int32 and words.ndim == 2:
            words[0, 0] ^= np.int32(-(2**31))
        return words

    checks = [r.check for r in failures(FaultyBackend(xp=proxy(concat=concat)))]
    assert checks[0] == "dropout mask of layer 0"


def test_a_flipped_low_bit_in_a_label_is_found():
    def from_host(host):
        host = np.array(host)
        if host.dtype == np.int32 and host.shape == (300,):
            host[np.argmax(host == 0)] ^= 1
        return host

    assert failures(FaultyBackend(from_host=from_host))[0].check == "targets"


def test_a_changed_pixel_is_found():
    def from_host(host):
        host = np.array(host)
        if host.dtype == np.uint8:
            host[5, 5] ^= 1
        return host

    assert failures(FaultyBackend(from_host=from_host))[0].check == "samples"


def test_a_fault_of_later_steps_is_placed_by_step_layer_and_operation():
    """Right in every single check, wrong from the 40th product on: only the course shows it."""

    class Tired(NumpyOps):
        products = 0

        def affine(self, x, W, b, f):
            Tired.products += 1
            y, saved = super().affine(x, W, b, f)
            if Tired.products > 40 and W.shape == (12, 8):
                y = y * 1.01
            return y, saved

    [last] = failures(FaultyBackend(Tired), n_steps=9)
    assert last.check.startswith("course of")
    assert "step " in last.note
    assert "layer 3 forward, affine: relative error 1.0e-02" in last.note
    assert "rounding does not explain it" in last.note


def test_a_primitive_without_a_case_fails(monkeypatch):
    monkeypatch.setattr(Ops, "new_primitive", lambda self: None, raising=False)
    [found] = [r for r in failures(backends.get("numpy")) if "new_primitive" in r.check]
    assert found.reason == "no case in cases.py"


HELPERS = {
    "product", "activation_grad", "allocate", "column_sums", "constant", "each", "empty", "run",
    "gathered", "sample_loss", "weight_grad",
}  # fmt: skip
"""What NumPy's overrides are made of."""


def test_every_override_has_a_case():
    known = set(primitive_cases())
    assert primitives(Ops) == known
    for cls in (NumpyOps, NumbaOps, BlockOps, CudaOps):
        assert overrides(cls) - HELPERS <= known, "an override of nothing is a typo"
    assert set(DONATED) <= known


# ---- compare --------------------------------------------------------------------------------


def softmax(x):
    from array_api_compat import array_namespace

    xp = array_namespace(x)
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)


def test_compare_runs_any_array_api_function(backend):
    if backend.device_name == "device1" or "readonly" in str(type(backend)).lower():
        pytest.skip("compare gets its backends by name")
    rows = compare(softmax, [np.random.default_rng(0).normal(size=(5, 4))], backends=[backend.name])
    assert [(r.check, r.passed) for r in rows] == [("softmax", True)]


def test_compare_finds_what_is_wrong():
    def leaky(x):
        return (
            x.astype(np.float16).astype(np.float32)
            if isinstance(x, np.ndarray) and x.dtype == np.float32
            else x
        )

    [found] = compare(leaky, [np.random.default_rng(0).normal(size=7)], backends=["numpy"])
    assert not found.passed
    assert found.error > 1e-5
    [tolerated] = compare(leaky, [np.ones(7) / 3], backends=["numpy"], tolerance=1e-2)
    assert tolerated.passed


def test_compare_refuses_a_function_without_an_array():
    with pytest.raises(xpnet.UsageError, match="returned no array"):
        compare(lambda x: 3.0, [np.ones(2)], backends=["numpy"])


def test_relative_errors():
    assert relative_error(np.asarray([1.0, 2.0]), np.asarray([1.0, 2.0])) == 0
    assert relative_error(np.asarray([3.0, 4.5]), np.asarray([3.0, 4.0])) == pytest.approx(0.1)
    assert relative_error(np.asarray([np.nan]), np.asarray([np.nan])) == 0
    assert relative_error(np.asarray([np.nan]), np.asarray([1.0])) == np.inf
    assert relative_error(np.ones(2), np.ones(3)) == np.inf
    assert relative_error(np.asarray([np.inf]), np.asarray([np.inf])) == 0


def test_convert_makes_copies():
    a = np.ones(3)
    [b] = convert((a,), np.float64)
    assert b is not a
    assert not np.shares_memory(a, b)
