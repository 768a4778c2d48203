"""The peers of the GPU bench, on the CPU: they do the same work as xpnet, however exactly."""

import importlib

import numpy as np
import pytest
from conftest import relative_error
from test_peers import EPOCHS, RULES, SEED, TASKS, TOLERANCE, Task, flat

import xpnet
from xpnet.backends.peers import on_gpu
from xpnet.errors import BackendError, UsageError
from xpnet.random import permutation

TORCH = ("torch-eager", "torch-compile", "torch-graph")


def trained(problem, name, precision="fp32"):
    """The weights after the peer's training, which begins where it should."""
    peer = on_gpu.load(name, problem.work, "cpu", precision)
    assert np.array_equal(flat(peer.parameters()), flat(problem.work.parameters))
    for epoch in range(EPOCHS):
        peer.epoch(permutation(np, SEED, epoch, len(problem.X)))
    return flat(peer.parameters())


def check(name, task, optimizer):
    problem = Task(task, optimizer)
    assert relative_error(trained(problem, name), problem.xpnet()) < TOLERANCE[optimizer]


def test_every_peer_is_tested():
    assert sorted((*TORCH, "jax-scan")) == sorted(on_gpu.ON_GPU)


@pytest.mark.torch
@pytest.mark.filterwarnings("default")  # the compiler's own
@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", TORCH)
def test_pytorch_does_the_same_work(name, task, optimizer):
    check(name, task, optimizer)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "optimizer"), [("classes", "adamw"), ("whole", "momentum")])
def test_jax_does_the_same_work(task, optimizer):
    pytest.importorskip("optax")
    check("jax-scan", task, optimizer)


@pytest.mark.torch
@pytest.mark.parametrize(("precision", "wanted"), [("fp32", "highest"), ("tf32", "high")])
def test_pytorch_multiplies_as_asked_and_only_in_its_epochs(monkeypatch, precision, wanted):
    import torch

    seen = []
    peer = on_gpu.load("torch-eager", Task("classes", "sgd").work, "cpu", precision)
    monkeypatch.setattr(peer, "learn", lambda *_: seen.append(torch.get_float32_matmul_precision()))
    peer.epoch(np.arange(300, dtype=np.int32))
    assert set(seen) == {wanted}
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.torch
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", TORCH)
def test_rounded_products_of_pytorch_end_near_the_exact_ones_but_not_there(name):
    problem = Task("classes", "sgd")
    error = relative_error(trained(problem, name, "bf16"), problem.xpnet())
    assert 1e-5 < error < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "wanted"), [("fp32", "HIGHEST"), ("bf16", "=BF16_BF16_F32")])
def test_jax_multiplies_as_asked(precision, wanted):
    pytest.importorskip("optax")
    import jax

    peer = on_gpu.load("jax-scan", Task("classes", "sgd").work, "cpu", precision)
    x = np.ones((2, 2), np.float32)
    with peer.settings():
        assert wanted in str(jax.make_jaxpr(lambda a: a @ a)(x))
    assert wanted not in str(jax.make_jaxpr(lambda a: a @ a)(x))


@pytest.mark.torch
def test_pytorch_without_a_gpu_says_so():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(BackendError, match="PyTorch has no GPU here"):
        on_gpu.load("torch-graph", Task("classes", "sgd").work)


@pytest.mark.slow
def test_jax_without_a_gpu_says_so():
    pytest.importorskip("optax")
    with pytest.raises(BackendError, match="JAX has no device 'cuda' here: pip install"):
        on_gpu.load("jax-scan", Task("classes", "sgd").work)


def test_what_is_unknown_or_missing_is_one_line(monkeypatch):
    work = Task("classes", "sgd").work
    with pytest.raises(UsageError, match="unknown peer on a GPU 'torch'"):
        on_gpu.load("torch", work)
    with pytest.raises(UsageError, match="unknown precision 'fp16'"):
        on_gpu.load("torch-eager", work, precision="fp16")

    def missing(name, package):
        raise ImportError("no module named 'torch'")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(xpnet.XpnetError, match=r"torch-eager is not installed.*pip install torch"):
        on_gpu.load("torch-eager", work)
