"""The code that launches kernels, on CuPy's own arrays: they lie in the host's memory here.

CuPy's operations need a GPU, but shapes, strides, views and pointers do not: whatever the
primitives pass to a kernel is what they would pass on a GPU.
"""

from typing import NamedTuple

import numpy as np
import pytest

cupy = pytest.importorskip("cupy", reason="needs the wheel of CuPy; CI installs it")

import array_api_compat.cupy as compat_cupy
from simulator import COMPILER, Simulator

from xpnet.backends.cuda import CudaOps
from xpnet.backends.cuda import cupy as launching
from xpnet.checks.cases import convert, leaves, primitive_cases, primitives
from xpnet.checks.compare import TOLERANCES, relative_error
from xpnet.errors import BackendError
from xpnet.ops import Ops

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the simulator needs g++")

MAKE_NEW_ARRAYS = {"unpack", "pack", "rows", "take", "flush"}
"""What is left to CuPy's own operations."""


class HostMemory(Simulator):
    """The simulator for CuPy arrays that lie in the host's memory."""

    def __init__(self, folder):
        super().__init__(folder)
        self.behind = {}

    def put(self, host):
        """A CuPy array over a copy of ``host``."""
        copy = np.array(host, order="C")
        memory = cupy.cuda.UnownedMemory(copy.ctypes.data, max(copy.nbytes, 1), copy, 0)
        self.behind[copy.ctypes.data] = copy
        return cupy.ndarray(copy.shape, copy.dtype, cupy.cuda.MemoryPointer(memory, 0))

    def look(self, array):
        """The NumPy array behind a CuPy array that begins where one was put."""
        flat = self.behind[array.data.ptr].reshape(-1)
        return np.lib.stride_tricks.as_strided(flat, array.shape, array.strides)

    def empty(self, shape, dtype):
        return self.put(super().empty(shape, dtype))

    def matmul(self, a, b, out):
        super().matmul(self.look(a), self.look(b), self.look(out))

    def affine(self, x, W, b, f, out):
        return super().affine(*map(self.look, (x, W, b)), f, self.look(out))

    def launch(self, real, name, grid, block, arguments, shared=0):
        looked = [self.look(a) if isinstance(a, cupy.ndarray) else a for a in arguments]
        super().launch(real, name, grid, block, looked, shared)


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    return HostMemory(tmp_path_factory.mktemp("kernels"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(primitives(CudaOps) & primitives(Ops) - MAKE_NEW_ARRAYS))
def test_primitives_launch_the_same_on_arrays_of_cupy(memory, name, dtype):
    ops, reference = CudaOps(compat_cupy, None, memory), Ops(np)
    run = 0
    for case, arguments in primitive_cases()[name].items():
        extra = {"gather": lambda d: (d,)}.get(name, lambda d: ())
        placed = convert(arguments, dtype, memory.put)
        before = len(memory.launched)
        try:
            ours = getattr(ops, name)(*placed, *extra(np.dtype(dtype)))
        except (RuntimeError, TypeError, ImportError):
            assert len(memory.launched) == before, "what no kernel covers is CuPy's from the start"
            continue
        exact = getattr(reference, name)(*convert(arguments, np.float64), *extra(np.float64))
        for a, b in zip(leaves(ours), leaves(exact), strict=True):
            error = relative_error(memory.look(a), np.asarray(b))
            assert error <= TOLERANCES["op", dtype].limit, (case, error)
        run += 1
    assert run, "a kernel covers some cases at least"


class FakeModule:
    """Keeps what is launched."""

    def __init__(self):
        self.launches = []

    def get_function(self, name):
        def kernel(grid, block, arguments, *, shared_mem):
            self.launches.append((name, grid, block, arguments, shared_mem))

        return kernel


def test_a_null_pointer_is_eight_bytes_of_zero(monkeypatch, memory):
    fake = FakeModule()
    monkeypatch.setattr(launching, "module", {"float32": fake}.__getitem__)
    launching.kernel.cache_clear()
    x = memory.put(np.zeros(3, np.float32))
    arguments = (x, None, np.int32(3), np.float32(0.5))
    launching.CupyLauncher().launch("float32", "sgd", (1,), (256,), arguments, shared=8)
    [(name, grid, block, given, shared)] = fake.launches
    assert (name, grid, block, shared) == ("sgd", (1,), (256,), 8)
    assert given[0] is x
    assert given[1] == 0
    assert given[1].nbytes == 8
    assert [type(a) for a in given[2:]] == [np.int32, np.float32]
    launching.kernel.cache_clear()


# ---- capturing, with a stream that only remembers what was called -----------------------------


class Count(NamedTuple):
    """A state: theta, slots and what is small."""

    theta: np.ndarray
    slots: tuple
    t: np.ndarray


class Order(NamedTuple):
    """A feed."""

    X: np.ndarray
    order: np.ndarray
    lr: np.ndarray


class FakeStream:
    """Captures by letting the step run, and replays by running it again."""

    def __init__(self):
        self.captured = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def begin_capture(self):
        self.captured.append("begun")

    def end_capture(self):
        self.captured.append("ended")
        return FakeGraph()


class FakeGraph:
    launches = 0

    def launch(self, stream):
        assert isinstance(stream, FakeStream)
        FakeGraph.launches += 1


@pytest.fixture
def fake_cuda(monkeypatch):
    monkeypatch.setattr(launching.cupy.cuda, "Stream", FakeStream)
    FakeGraph.launches = 0


def counting(state, feed):
    """A step that adds 1 to theta, in place, and to t."""
    state.theta[...] += 1
    return state._replace(t=state.t + 1)


def refuse(stream):
    raise RuntimeError("operation not permitted\nwhile capturing")


def start():
    return Count(np.zeros(2), (), np.zeros(1, np.int32)), Order(
        np.ones(2), np.arange(3), np.ones(3)
    )


def test_a_captured_step_is_replayed_and_not_run(fake_cuda):
    step = launching.CapturedStep(counting)
    state, feed = start()
    state = step.many(state, feed, 7)
    assert FakeGraph.launches == 5  # two steps settle, one is captured, which does nothing
    assert step.stream.captured == ["begun", "ended"]
    state = step.many(state, feed, 4)
    assert FakeGraph.launches == 9


def test_what_cannot_be_captured_is_an_error_where_it_must_be(fake_cuda, monkeypatch):
    monkeypatch.setattr(FakeStream, "begin_capture", refuse)
    step = launching.CapturedStep(counting, required=True)
    with pytest.raises(BackendError, match=r"captured .*operation not permitted.: --graph auto"):
        step.many(*start(), 7)


def test_a_capture_without_memory_is_no_matter_of_graphs(fake_cuda, monkeypatch):
    def no_memory(self):
        raise MemoryError("of the GPU")

    monkeypatch.setattr(FakeStream, "begin_capture", no_memory)
    with pytest.raises(MemoryError, match="of the GPU"):
        launching.CapturedStep(counting).many(*start(), 7)


def test_what_cannot_be_captured_runs_call_by_call_after_one_warning(fake_cuda, monkeypatch):
    monkeypatch.setattr(FakeStream, "begin_capture", refuse)
    step = launching.CapturedStep(counting)
    state, feed = start()
    with pytest.warns(UserWarning, match="captured as a CUDA graph .operation not permitted.: it"):
        state = step.many(state, feed, 7)
    state = step.many(state, feed, 4)  # warnings are errors here: there is no second one
    assert state.theta.tolist() == [11, 11]
    assert state.t.tolist() == [11]
    assert FakeGraph.launches == 0


def test_results_that_lie_elsewhere_are_put_in_their_places(fake_cuda, monkeypatch):
    """A rule of somebody's own may return a new theta and new slots."""

    def step(state, feed):
        slots = tuple(slot + 2 for slot in state.slots)
        return state._replace(theta=state.theta + 1, slots=slots, t=state.t + 1)

    monkeypatch.setattr(FakeStream, "begin_capture", refuse)
    state, feed = start()
    with pytest.warns(UserWarning, match="could not be captured"):
        state = launching.CapturedStep(step).many(state._replace(slots=(np.zeros(2),)), feed, 7)
    assert state.theta.tolist() == [7, 7]
    assert state.slots[0].tolist() == [14, 14]
    assert state.t.tolist() == [7]


@pytest.mark.parametrize(("relu", "kept"), [(np.maximum, True), (np.fmax, False), (None, False)])
def test_a_relu_that_swallows_nan_is_not_used(monkeypatch, relu, kept):
    class Library:
        """Offers ReLU in a product, one that keeps NaN or not, or none; and the bias always."""

        def matmul(self, x, W, out, workspace, stream, epilogue="nothing", bias=None):
            if epilogue == "relu_bias" and relu is not None:
                relu(x @ W + bias, 0, out=out)
            return epilogue != "relu_bias" or relu is not None

    for name in ("full", "zeros", "zeros_like", "isnan"):
        monkeypatch.setattr(launching.cupy, name, getattr(np, name))
    stream = type("Stream", (), {"ptr": 0})
    monkeypatch.setattr(launching.cupy.cuda, "get_current_stream", lambda: stream)
    launcher = launching.CupyLauncher()
    launcher.blas = Library(), None
    x, b, out = np.ones((2, 2), np.float32), np.ones(2, np.float32), np.empty((2, 2), np.float32)
    assert launcher.affine(x, x, b, "relu", out) == kept
    assert launcher.affine(x, x, b, "identity", out)
    assert not launcher.affine(x, x, b, "tanh", out)
