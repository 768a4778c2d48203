"""The peers do the same work as xpnet: from the same weights they come to the same weights."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import threadpoolctl
from conftest import relative_error

import xpnet
from xpnet.backends import peers
from xpnet.random import permutation

EPOCHS, SEED = 2, 3

# xpnet computes in float64, the peers in float32 (6e-8). In 4 to 80 steps rounding grows most
# under Adam, which divides by the root of small squares. The planted faults part by ten times
# the tolerance and more.
TOLERANCE = {"sgd": 1e-6, "momentum": 1e-6, "adamw": 1e-5}

TASKS = {
    "classes": (300, (20, 16, 3), "relu", 32, "softmax_xent"),
    "deep": (96, (20, 16, 8, 3), "sigmoid", 32, "softmax_xent"),
    "online": (40, (20, 16, 3), "sigmoid", 1, "softmax_xent"),
    "whole": (50, (20, 16, 3), "relu", 64, "softmax_xent"),
    "binary": (60, (2, 6, 1), "sigmoid", 16, "bce"),
}
RULES = {
    "sgd": xpnet.SGD(0.1),
    "momentum": xpnet.Momentum(0.05),
    "adamw": xpnet.AdamW(1e-2, weight_decay=0.1),
}
EAGER = ("textbook", "scikit-learn", "thinc")
TORCH = ("torch-foreach", "torch-fused", "torch-compile")

# Where each run is compiled for seconds: every task, rule and loss, but not every combination.
FEW = [
    ("classes", "adamw"),
    ("deep", "momentum"),
    ("online", "sgd"),
    ("whole", "momentum"),
    ("binary", "adamw"),
]


class Task:
    """The same small training for both sides; the first input is a byte that is to be scaled."""

    def __init__(self, task, optimizer):
        n, widths, activation, self.batch_size, loss = TASKS[task]
        rng = np.random.default_rng(0)
        self.X = rng.integers(0, 256, (n, widths[0])).astype(np.uint8)
        teacher = rng.normal(size=(widths[0], widths[-1]))
        logits = (self.X / 255 - 0.5) @ teacher
        if loss == "bce":
            self.y = (logits > 0).astype(np.float32)
        else:
            self.y = logits.argmax(axis=1).astype(np.int32)
        self.network = xpnet.mlp(widths[0], *widths[1:], activation=activation)
        self.theta = self.network.init(SEED)
        self.rule = RULES[optimizer]
        self.work = peers.Work(
            self.X,
            self.y,
            1 / 255,
            loss,
            self.split(self.theta),
            activation,
            self.batch_size,
            optimizer,
            self.rule.lr,
            weight_decay=self.rule.weight_decay,
        )

    def split(self, theta):
        return [(p["W"].copy(), p["b"].copy()) for p in self.network.split(np, theta)]

    def xpnet(self):
        """The weights after xpnet's training, in float64, one after the other."""
        losses = {"bce": xpnet.BinaryCrossEntropy(), "softmax_xent": xpnet.SoftmaxCrossEntropy()}
        *_, (_, theta) = xpnet.fit(
            self.network,
            xpnet.Dataset(self.X, self.y, scale=1 / 255),
            backend="numpy",
            loss=losses[self.work.loss],
            optimizer=self.rule,
            schedule=xpnet.Constant(),
            epochs=EPOCHS,
            batch_size=self.batch_size,
            seed=SEED,
            dtype="float64",
        )
        return flat(self.split(theta))

    def peer(self, name, n=None, **changes):
        """The weights after the peer's training; ``n`` leaves out samples of each epoch."""
        peer = peers.load(name, self.work._replace(**changes))
        assert np.array_equal(flat(peer.parameters()), flat(self.work.parameters))
        for epoch in range(EPOCHS):
            peer.epoch(permutation(np, SEED, epoch, len(self.X))[:n])
        return flat(peer.parameters())


def flat(parameters):
    """All weights and biases as one vector."""
    return np.concatenate([A.ravel() for pair in parameters for A in pair])


NO_EPS = 1e-30
"""scikit-learn and thinc add eps at another place: their update is compared without one."""


def check(name, task, optimizer):
    problem = Task(task, optimizer)
    if name == "thinc" and optimizer == "momentum":
        with pytest.raises(xpnet.XpnetError, match="no SGD with momentum"):
            problem.peer(name)
        return
    if optimizer == "adamw" and name in ("scikit-learn", "thinc"):
        decay = 0.0 if name == "scikit-learn" else problem.rule.weight_decay
        problem.rule = dataclasses.replace(problem.rule, eps=NO_EPS, weight_decay=decay)
        problem.work = problem.work._replace(eps=NO_EPS)
    ours, theirs = problem.xpnet(), problem.peer(name)
    assert theirs.dtype == np.float32
    assert relative_error(ours, flat(problem.work.parameters)) > 1e-3, "something was learned"
    assert relative_error(theirs, ours) < TOLERANCE[optimizer]


def test_every_peer_is_tested():
    assert sorted((*EAGER, *TORCH, "jax-optax")) == sorted(peers.PEERS)


@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "thinc")) for name in EAGER]
)
def test_a_peer_does_the_same_work(name, task, optimizer):
    pytest.importorskip(peers.PEERS[name].package)
    check(name, task, optimizer)


@pytest.mark.torch
@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", TORCH[:2])
def test_eager_pytorch_does_the_same_work(name, task, optimizer):
    check(name, task, optimizer)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "optimizer"), FEW)
def test_jax_does_the_same_work(task, optimizer):
    pytest.importorskip("optax")
    check("jax-optax", task, optimizer)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.filterwarnings("default")  # the compiler's own
@pytest.mark.parametrize(
    ("task", "optimizer"), [("classes", "adamw"), ("online", "momentum"), ("binary", "sgd")]
)
def test_compiled_pytorch_does_the_same_work(task, optimizer):
    check("torch-compile", task, optimizer)


FAULTS = {
    "another learning rate": {"lr": 0.0101},
    "another decay": {"weight_decay": 0.2},
    "another beta": {"beta1": 0.89},
    "the last batch skipped": {"n": 288},
    "a smaller batch": {"batch_size": 30},
    "other inputs": {"scale": 1 / 256},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_peer_that_does_other_work_is_noticed(fault):
    """The planted faults."""
    problem = Task("classes", "adamw")
    error = relative_error(problem.peer("textbook", **FAULTS[fault]), problem.xpnet())
    assert error > 10 * TOLERANCE["adamw"]


def test_the_work_is_left_as_it_was():
    problem = Task("classes", "sgd")
    problem.peer("textbook")
    assert np.array_equal(flat(problem.work.parameters), flat(problem.split(problem.theta)))


def test_an_unknown_peer_is_refused_in_one_line():
    with pytest.raises(xpnet.XpnetError, match=r"unknown peer 'jax': did you mean 'jax-optax'\?"):
        peers.load("jax", Task("classes", "sgd").work)


def test_a_peer_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    monkeypatch.delitem(sys.modules, "xpnet.backends.peers.jax", raising=False)
    with pytest.raises(xpnet.XpnetError, match=r"jax-optax is not installed.*pip install jax op"):
        peers.load("jax-optax", Task("classes", "sgd").work)


def test_two_softmax_outputs_are_refused_by_scikit_learn():
    pytest.importorskip("sklearn")
    W, b = np.zeros((20, 2), np.float32), np.zeros(2, np.float32)
    work = Task("classes", "sgd").work._replace(parameters=[(W, b)])
    with pytest.raises(xpnet.XpnetError, match="no softmax_xent with 2 outputs"):
        peers.load("scikit-learn", work)


def test_threads_are_pinned(monkeypatch):
    for variable in peers.thread_environment(1):
        monkeypatch.setenv(variable, "")  # put back as it was after the test
    before = {pool["filepath"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    try:
        for n in (2, 1):
            peers.set_threads(n)
            pools = threadpoolctl.threadpool_info()
            assert {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"} == {n}
            assert os.environ["OMP_NUM_THREADS"] == str(n)
    finally:
        for pool in threadpoolctl.ThreadpoolController().lib_controllers:
            pool.set_num_threads(before[pool.filepath])
    with pytest.raises(xpnet.XpnetError, match="threads must be a whole number"):
        peers.set_threads(0)


XLA_THREADS = """
import pathlib, jax
jax.devices()
names = [(task / "comm").read_text() for task in pathlib.Path("/proc/self/task").iterdir()]
print(sum("XLAEigen" in name for name in names))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
@pytest.mark.parametrize("n", [1, 3])
def test_xla_starts_as_many_threads_as_the_environment_says(n):
    environment = {**os.environ, **peers.thread_environment(n), "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", XLA_THREADS], env=environment, capture_output=True, check=True
    )
    assert int(result.stdout) == n
