"""The code that launches kernels, on CuPy's own arrays: they lie in the host's memory here.

CuPy's operations need a GPU, but shapes, strides, views and pointers do not: whatever the
primitives pass to a kernel is what they would pass on a GPU.
"""

import itertools
import weakref
from typing import ClassVar, NamedTuple

import numpy as np
import pytest

cupy = pytest.importorskip("cupy", reason="needs the wheel of CuPy; CI installs it")

import array_api_compat.cupy as compat_cupy
from simulator import COMPILER, Simulator

from xpnet.backends.cuda import CudaOps
from xpnet.backends.cuda import branch as branching
from xpnet.backends.cuda import captured as capturing
from xpnet.backends.cuda import cupy as launching
from xpnet.backends.cuda.captured import STEPS_A_GRAPH, CapturedStep
from xpnet.checks.cases import call, convert, leaves, overrides, primitive_cases, primitives
from xpnet.checks.compare import TOLERANCES, relative_error
from xpnet.errors import BackendError
from xpnet.ops import Ops
from xpnet.state import State
from xpnet.types import Counters

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
@pytest.mark.parametrize("name", sorted(overrides(CudaOps) & primitives(Ops) - MAKE_NEW_ARRAYS))
def test_primitives_launch_the_same_on_arrays_of_cupy(memory, name, dtype):
    ops, reference = CudaOps(compat_cupy, None, memory), Ops(np)
    run = 0
    for case, arguments in primitive_cases()[name].items():
        placed = convert(arguments, dtype, memory.put)
        before = len(memory.launched)
        try:
            ours = call(ops, name, placed, np.dtype(dtype))
        except (RuntimeError, TypeError, ImportError):
            begun = name == "batch"  # targets that are no labels are taken by CuPy after x
            assert begun or len(memory.launched) == before, "else it is CuPy's from the start"
            continue
        exact = call(reference, name, convert(arguments, np.float64), np.float64)
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


class Order(NamedTuple):
    """A feed."""

    X: np.ndarray
    order: np.ndarray
    lr: np.ndarray


class FakeStream:
    """Captures by letting the step run; its graph remembers how often it ran, and is launched."""

    def __init__(self, non_blocking):
        assert non_blocking, "another library's work on the default stream would end the capture"
        self.captured = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def begin_capture(self):
        assert not self.captured
        self.captured.append("begun")
        counting.calls = 0

    def end_capture(self):
        assert self.captured == ["begun"]
        self.captured.append("ended")
        return FakeGraph(counting.calls)


class FakeGraph:
    launched: ClassVar = []

    def __init__(self, n_steps):
        self.n_steps = n_steps

    def launch(self):
        FakeGraph.launched.append(self.n_steps)


class FakePool:
    """Memory for a graph; ``emptied`` looks whether the arrays in it were gone by then."""

    arrays: ClassVar = []
    emptied: ClassVar = []

    def malloc(self, size):
        raise AssertionError("NumPy's arrays need none of it")

    def free_all_blocks(self):
        FakePool.emptied.append([array() is None for array in FakePool.arrays])


@pytest.fixture
def fake_cuda(monkeypatch):
    monkeypatch.setattr(capturing.cupy.cuda, "Stream", FakeStream)
    monkeypatch.setattr(capturing.cupy.cuda, "MemoryPool", FakePool)
    for seen in (FakeGraph.launched, FakePool.arrays, FakePool.emptied):
        seen.clear()


def counting(state, feed):
    """A step that adds 1 to theta, in place, and to t."""
    counting.calls += 1
    state.theta[...] += 1
    return one_later(state)


counting.calls = 0


def one_later(state):
    counters = state.counters
    return state._replace(counters=counters._replace(t=counters.t + 1))


def refuse(stream):
    raise RuntimeError("operation not permitted\nwhile capturing")


def start():
    counters = Counters(*(np.zeros(1, np.int32) for _ in Counters._fields))
    return State(np.zeros(2), (), counters), Order(np.ones(2), np.arange(3), np.ones(3))


def test_a_captured_step_is_replayed_and_not_run(fake_cuda):
    step = CapturedStep(counting)
    state, feed = start()
    state = step.many(state, feed, 7)
    assert FakeGraph.launched == 5 * [1]  # two steps settle, one is captured, which does nothing
    state = step.many(state, feed, 4)
    assert FakeGraph.launched == 9 * [1]


def test_many_steps_are_replayed_as_one_graph(fake_cuda):
    step = CapturedStep(counting)
    state, feed = start()
    step.many(state, feed, 2 + 2 * STEPS_A_GRAPH + 3)
    assert FakeGraph.launched == 2 * [STEPS_A_GRAPH] + 3 * [1]


def test_the_memory_of_a_graph_goes_with_it(fake_cuda):
    def step(state, feed):
        state = counting(state, feed)
        FakePool.arrays.append(weakref.ref(state.counters.t))
        return state

    captured = CapturedStep(step)
    captured.many(*start(), 2 + STEPS_A_GRAPH + 1)
    assert FakePool.emptied == [], "the graphs may be launched again"
    del captured
    one, many = FakePool.emptied
    assert one.count(True) >= 1, "its own array"
    assert all(many), "no array is left that would keep its memory from being given back"


def test_what_went_wrong_first_is_what_is_said(fake_cuda, monkeypatch):
    def breaks(state, feed):
        if state.counters.t[0] >= 2:
            raise RuntimeError("the reason")
        return counting(state, feed)

    def invalidated(self):
        raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(FakeStream, "end_capture", invalidated)
    with pytest.raises(BackendError, match="the reason"):
        CapturedStep(breaks, required=True).many(*start(), 7)


def test_what_cannot_be_captured_is_an_error_where_it_must_be(fake_cuda, monkeypatch):
    monkeypatch.setattr(FakeStream, "begin_capture", refuse)
    step = CapturedStep(counting, required=True)
    with pytest.raises(BackendError, match=r"captured .*operation not permitted.: --graph auto"):
        step.many(*start(), 7)


def test_a_capture_without_memory_is_no_matter_of_graphs(fake_cuda, monkeypatch):
    def no_memory(self):
        raise MemoryError("of the GPU")

    monkeypatch.setattr(FakeStream, "begin_capture", no_memory)
    with pytest.raises(MemoryError, match="of the GPU"):
        CapturedStep(counting).many(*start(), 7)


def test_what_cannot_be_captured_runs_call_by_call_after_one_warning(fake_cuda, monkeypatch):
    monkeypatch.setattr(FakeStream, "begin_capture", refuse)
    step = CapturedStep(counting)
    state, feed = start()
    with pytest.warns(UserWarning, match="captured as a CUDA graph .operation not permitted.: it"):
        state = step.many(state, feed, 7)
    state = step.many(state, feed, 4)  # warnings are errors here: there is no second one
    assert state.theta.tolist() == [11, 11]
    assert state.counters.t.tolist() == [11]
    assert FakeGraph.launched == []


def test_results_that_lie_elsewhere_are_put_in_their_places(fake_cuda, monkeypatch):
    """A rule of somebody's own may return a new theta and new slots."""

    def step(state, feed):
        slots = tuple(slot + 2 for slot in state.slots)
        return one_later(state)._replace(theta=state.theta + 1, slots=slots)

    monkeypatch.setattr(FakeStream, "begin_capture", refuse)
    state, feed = start()
    with pytest.warns(UserWarning, match="could not be captured"):
        state = CapturedStep(step).many(state._replace(slots=(np.zeros(2),)), feed, 7)
    assert state.theta.tolist() == [7, 7]
    assert state.slots[0].tolist() == [14, 14]
    assert state.counters.t.tolist() == [7]


# ---- branches of a graph ---------------------------------------------------------------------


class Line:
    """A stream that writes down what happens on it, and what it waits for."""

    def __init__(self, non_blocking=True):
        self.ptr = id(self)
        self.events = []
        self.before = None

    def __enter__(self):
        self.before, Line.current = Line.current, self

    def __exit__(self, *_):
        Line.current = self.before

    def record(self, event):
        self.events.append(event)
        return event

    def wait_event(self, event):
        self.events.append(("waits for", event))


class Arrays:
    """Arrays that can be watched."""


@pytest.fixture
def lines(monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr(branching.cupy.cuda, "Stream", Line)
    monkeypatch.setattr(branching.cupy.cuda, "Event", lambda **_: f"event {next(numbers)}")
    monkeypatch.setattr(launching.cupy.cuda, "get_current_stream", lambda: Line.current)
    monkeypatch.setattr(launching.cupy, "empty", lambda *_: Arrays())
    Line.current = Line()
    return Line.current


def test_what_is_launched_aside_is_waited_for_where_branches_join(lines):
    launcher = launching.CupyLauncher()
    read = Arrays()
    there = weakref.ref(read)
    with launcher.branching(lines):
        side = launcher.branch.side
        lines.events.append("a")
        with launcher.aside(read):
            Line.current.events.append("b")
        del read
        lines.events.append("c")
        assert there() is not None, "its memory may not be given away before b is done"
        launcher.join()
        launcher.join()
        lines.events.append("d")
        assert there() is None
    assert lines.events == ["a", "event 0", "c", ("waits for", "event 1"), "d"]
    assert side.events == [("waits for", "event 0"), "b", "event 1"]


def test_without_a_capture_there_are_no_branches(lines):
    launcher = launching.CupyLauncher()
    with launcher.aside():
        Line.current.events.append("a")
    launcher.join()
    assert lines.events == ["a"]


def test_products_at_a_time_do_not_share_a_workspace(lines):
    class Library:
        def matmul(self, a, b, out, workspace, stream, *_):
            seen.append((stream, workspace))
            return True

    seen = []
    launcher = launching.CupyLauncher()
    launcher.library = Library()
    launcher.matmul(None, None, None)
    with launcher.branching(lines):
        side = launcher.branch.side
        ready = launcher.workspaces[True]
        with launcher.aside():
            launcher.matmul(None, None, None)
        launcher.matmul(None, None, None)
    (_, main), (stream, aside), (_, main_again) = seen
    assert stream == side.ptr
    assert main is main_again
    assert aside is ready, "had before the capture began"
    assert aside is not main


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
    launcher.library = Library()
    launcher.workspaces[False] = None
    x, b, out = np.ones((2, 2), np.float32), np.ones(2, np.float32), np.empty((2, 2), np.float32)
    assert launcher.affine(x, x, b, "relu", out) == kept
    assert launcher.affine(x, x, b, "identity", out)
    assert not launcher.affine(x, x, b, "tanh", out)
