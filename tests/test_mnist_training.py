"""The default training on the whole of MNIST: how well, how alike, in how much memory."""

import subprocess
import sys

import pytest

import xpnet
from xpnet import backends
from xpnet.state import to_host
from xpnet.train import segments

NETWORK = xpnet.mlp(784, 256, 128, 10)


@pytest.fixture(scope="module")
def mnist():
    return xpnet.mnist()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_the_defaults_reach_98_percent(mnist, seed):
    train, test = mnist
    *_, (_, theta) = xpnet.fit(NETWORK, train, seed=seed)
    assert xpnet.evaluate(NETWORK, theta, test).accuracy >= 0.98


@pytest.mark.slow
def test_an_epoch_of_reference_ops_has_the_same_bits_on_array_api_strict(mnist):
    hp = xpnet.Hyperparameters(epochs=1)
    last = {}
    for name in ("numpy", "array-api-strict"):
        backend = backends.get(name)
        for run in segments(NETWORK, mnist[0], hp=hp, backend=backend, reference=True):
            last[name] = to_host(backend, run)
    ours, strict = last.values()
    assert ours.state.theta.tobytes() == strict.state.theta.tobytes()
    assert [slot.tobytes() for slot in ours.state.slots] == [
        slot.tobytes() for slot in strict.state.slots
    ]
    assert ours.reports[0][:5] == strict.reports[0][:5]


@pytest.mark.slow
def test_fast_ops_end_at_the_loss_of_the_reference_in_float64(mnist):
    hp = xpnet.Hyperparameters(epochs=1, dtype="float64")
    losses = []
    for reference in (False, True):
        numpy = backends.get("numpy")
        *_, run = segments(NETWORK, mnist[0], hp=hp, backend=numpy, reference=reference)
        losses.append(run.reports[0].train_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


OTHERS = ["jax", pytest.param("torch", marks=pytest.mark.torch)]


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS)
def test_an_epoch_in_float64_ends_at_the_same_loss_on_every_backend(mnist, other):
    """The same weights, batches and masks, so only roundings of 1e-16 differ."""
    network = xpnet.mlp(784, 256, 128, 10, dropout=0.1)
    losses = []
    for name in ("numpy", other):
        [(report, _)] = xpnet.fit(network, mnist[0], epochs=1, dtype="float64", backend=name)
        losses.append(report.train_loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS)
def test_twenty_steps_in_float32_have_the_same_mean_loss_on_every_backend(mnist, other):
    """An epoch of float32 parts the weights by a few percent, from rounding alone; 20 steps not."""
    train = mnist[0].rows(range(20 * 128))
    losses = []
    for name in ("numpy", other):
        [(report, _)] = xpnet.fit(NETWORK, train, epochs=1, backend=name)
        losses.append(report.train_loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS)
def test_full_training_in_float32_is_as_accurate_on_every_backend(mnist, other):
    train, test = mnist
    accuracies = []
    for name in ("numpy", other):
        *_, (_, theta) = xpnet.fit(NETWORK, train, backend=name)
        accuracies.append(xpnet.evaluate(NETWORK, theta, test).accuracy)
    assert abs(accuracies[0] - accuracies[1]) <= 0.005


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_default_training_needs_less_than_500_mb():
    """VmHWM is the process's own peak; getrusage would count the test runner it was forked from."""
    script = (
        "import pathlib, re\n"
        "from xpnet.cli import run\n"
        "code = run(['train', '--epochs', '1'])\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(code, re.search(r'VmHWM:\\s*(\\d+) kB', status)[1])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    code, peak = map(int, result.stdout.split()[-2:])
    assert code == 0
    assert 60e6 < peak * 1024 < 500e6, "more than the images alone, and less than 500 MB"
