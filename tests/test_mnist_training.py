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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read through getrusage")
def test_default_training_needs_less_than_500_mb():
    script = (
        "import resource, sys\n"
        "from xpnet.cli import run\n"
        "code = run(['train', '--epochs', '1'])\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(code, peak if sys.platform == 'darwin' else peak * 1024)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    code, peak = map(int, result.stdout.split()[-2:])
    assert code == 0
    assert peak < 500e6
