"""--precision on JAX and PyTorch: each matrix product has the setting of the library, nothing else.

What a GPU then does cannot be seen here; that the setting is there can.
"""

import numpy as np
import pytest

import xpnet
from xpnet import Hyperparameters, UsageError, backends
from xpnet.backends.backend import PRECISION
from xpnet.backends.jax import PRECISIONS, JaxBackend, compiled
from xpnet.backends.scoped import ScopedOps
from xpnet.ops import Ops
from xpnet.state import Run, initial_state, to_device
from xpnet.step import TrainingStep
from xpnet.types import Feed

N = 12
NETWORK = xpnet.mlp(5, 4, 3)
PRODUCTS_OF_A_STEP = 5
"""Two forward, two for the weights, and one for the input of the second layer."""


def samples():
    rng = np.random.default_rng(0)
    return xpnet.Dataset(rng.random((N, 5)), rng.integers(0, 3, N))


def started(backend, dtype="float32", **how):
    """A compiled step, and what it works on."""
    hp = Hyperparameters(batch_size=N, dtype=dtype)
    data = samples().prepare(5, 3, hp.loss, backend, dtype)
    run = to_device(backend, Run(initial_state(NETWORK, hp), 0, 0, 1, 0.0, ()))
    order = backend.asarray(np.arange(N, dtype=np.int32))
    lr = backend.asarray(np.full(1, 0.1, dtype))
    feed = Feed(data.X, data.y, None, None, 1.0, order, lr)
    return backend.compile(TrainingStep(NETWORK, hp, N), **how), run.state, feed


# ---- JAX: every product carries its precision ------------------------------------------------


class RoundingJax(JaxBackend):
    """JAX on the CPU that may be asked for what it has on a GPU."""

    precisions = PRECISION


def jax_backend(precision="fp32"):
    plain = backends.get("jax")
    backend = RoundingJax("jax", plain.xp, device=plain.device, version=plain.version)
    return backend.configured(precision=precision)


def products(jaxpr):
    """The precision of each matrix product in ``jaxpr``, however deep."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield str(equation.params["precision"])
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    yield from products(inner)


def of_a_step(backend, dtype="float32", **how):
    import jax

    step, state, feed = started(backend, dtype, **how)
    return list(products(jax.make_jaxpr(step.compiled)(state, feed, 2).jaxpr))


WORDS = {"fp32": "HIGHEST,", "tf32": "HIGH,", "bf16": "BF16_BF16_F32"}


def carry(found, word, n=PRODUCTS_OF_A_STEP):
    assert len(found) == n
    return all(word in precision for precision in found)


@pytest.mark.parametrize("how", [{}, {"reference": True}])
@pytest.mark.parametrize("precision", PRECISION)
def test_each_product_of_a_compiled_step_on_jax(precision, how):
    assert carry(of_a_step(jax_backend(precision), **how), WORDS[precision])


@pytest.mark.parametrize("precision", PRECISION)
def test_float64_is_never_rounded_on_jax(precision):
    assert carry(of_a_step(jax_backend(precision), "float64"), "HIGHEST")


def test_jax_computes_fp32_as_it_says_without_being_configured():
    assert backends.get("jax").precision == "fp32"
    assert carry(of_a_step(backends.get("jax")), "HIGHEST")


@pytest.mark.parametrize("precision", PRECISION)
def test_each_product_outside_a_step_on_jax(precision):
    import jax

    backend = jax_backend(precision)
    theta, x, y = (backend.asarray(a) for a in (NETWORK.init(0), samples().X, samples().y))
    for ops in (backend.ops(), backend.reference_ops()):

        def gradient(theta, x, ops=ops):
            return NETWORK.loss_and_grad(ops, theta, x, y, xpnet.SoftmaxCrossEntropy())[1]

        found = list(products(jax.make_jaxpr(gradient)(theta, x.astype(theta.dtype)).jaxpr))
        assert carry(found, WORDS[precision])


@pytest.mark.slow
def test_every_precision_is_one_of_jax():
    assert set(PRECISIONS) == set(PRECISION)
    hp = {"epochs": 2, "batch_size": 4}
    *_, (exact, _) = xpnet.fit(NETWORK, samples(), backend=jax_backend(), **hp)
    for precision in PRECISION:
        *_, (report, _) = xpnet.fit(NETWORK, samples(), backend=jax_backend(precision), **hp)
        assert report.train_loss == pytest.approx(exact.train_loss, rel=1e-2)


def test_a_step_compiled_for_another_precision_is_not_taken():
    assert not carry(of_a_step(jax_backend("bf16")), "HIGHEST")
    assert carry(of_a_step(jax_backend()), "HIGHEST")


def test_a_product_without_its_scope_is_noticed(monkeypatch):
    """The planted fault."""
    monkeypatch.setattr(ScopedOps, "affine_grad", Ops.affine_grad)
    compiled.cache_clear()
    assert not carry(of_a_step(jax_backend("tf32")), WORDS["tf32"])
    compiled.cache_clear()


# ---- PyTorch: the setting is there while it multiplies, and nowhere else ---------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def torch_backend(precision="fp32"):
    from xpnet.backends.torch import TorchBackend

    class Rounding(TorchBackend):
        precisions = PRECISION

    plain = backends.get("torch")
    backend = Rounding("torch", plain.xp, device=plain.device, version=plain.version)
    return backend.configured(precision=precision)


SETTINGS = {"fp32": "highest", "tf32": "high", "bf16": "medium"}
MATRIX_PRODUCTS = {"addmm", "__matmul__", "matmul", "mm"}


@pytest.fixture
def seen(torch):
    """The settings with which PyTorch multiplied."""
    from torch.overrides import TorchFunctionMode

    found = []

    class Watching(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function.__name__ in MATRIX_PRODUCTS:
                found.append(torch.get_float32_matmul_precision())
            return function(*args, **(kwargs or {}))

    with Watching():
        yield found


@pytest.mark.torch
@pytest.mark.parametrize("outside", ["highest", "high"])
@pytest.mark.parametrize("how", [{}, {"reference": True}])
@pytest.mark.parametrize("precision", PRECISION)
def test_the_setting_of_torch_in_a_step_and_outside(torch, seen, precision, how, outside):
    backend = torch_backend(precision)
    step, state, feed = started(backend, **how)
    torch.set_float32_matmul_precision(outside)
    try:
        backend.loop(step, state, feed, 1)
        assert torch.get_float32_matmul_precision() == outside
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == [SETTINGS[precision]] * PRODUCTS_OF_A_STEP


@pytest.mark.torch
@pytest.mark.parametrize("precision", PRECISION)
def test_the_setting_of_torch_in_evaluations(torch, seen, precision):
    backend = torch_backend(precision)
    hp = {"epochs": 1, "batch_size": N, "dtype": "float32"}
    list(xpnet.fit(NETWORK, samples(), samples(), backend=backend, **hp))
    assert seen == [SETTINGS[precision]] * (PRODUCTS_OF_A_STEP + 2)


@pytest.mark.torch
def test_the_setting_of_torch_is_put_back_after_a_failure(torch):
    ops = torch_backend("tf32").ops()
    x, b = torch.ones(2, 3), torch.ones(4)
    with pytest.raises(RuntimeError):
        ops.affine(x, torch.ones(5, 4), b, xpnet.ACTIVATIONS["relu"])
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.torch
def test_a_setting_that_is_forgotten_is_noticed(torch, seen, monkeypatch):
    """The planted fault."""
    from xpnet.backends.torch import ScopedTorchOps, TorchOps

    monkeypatch.setattr(ScopedTorchOps, "affine", TorchOps.affine)
    backend = torch_backend("tf32")
    backend.loop(*started(backend), 1)
    assert set(seen) == {"highest", "high"}


# ---- on the CPU ------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize(
    "name", ["numpy", "numba", "jax", pytest.param("torch", marks=pytest.mark.torch)]
)
def test_a_precision_that_would_change_nothing_is_refused(name, precision):
    wanted = f"^backend {name} on cpu has no precision {precision}: choose fp32, or a GPU$"
    with pytest.raises(UsageError, match=wanted):
        backends.get(name).configured(precision=precision)


@pytest.mark.torch
def test_torch_has_all_precisions_on_a_gpu(torch):
    from xpnet.backends.torch import on

    backend = on(torch.device("cuda:0"))
    for precision in PRECISION:
        other = backend.configured(precision=precision)
        assert (other.precision, other.place) == (precision, "torch on cuda:0")
    assert backend.precision == "fp32", "the one that was configured is as it was"


@pytest.mark.parametrize(("platform", "n"), [("cpu", 1), ("gpu", 3)])
def test_jax_has_all_precisions_where_there_is_a_gpu(platform, n):
    class Device:
        id = 0

    device = Device()
    device.platform = platform
    assert len(JaxBackend("jax", None, device=device, version="").precisions) == n
