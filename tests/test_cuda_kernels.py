"""The CUDA kernels, executed on the CPU by the simulator, against the reference in float64."""

import dataclasses
import functools

import array_api_compat.numpy as compat_numpy
import numpy as np
import pytest
from simulator import COMPILER, KERNEL, KernelError, Simulator

import xpnet
from xpnet import Dense, Dropout, Hyperparameters, Network, random
from xpnet.activations import ACTIVATIONS
from xpnet.backends import Backend
from xpnet.backends.cuda import CudaOps, order, source, vector
from xpnet.backends.numpy import NumpyBackend
from xpnet.backends.numpy.recorded import OnRecordedMemory, RecordedStep
from xpnet.backends.numpy.recording import bare
from xpnet.backends.workspace import Workspace, WorkspaceOps, on_workspace
from xpnet.checks import parity
from xpnet.checks.cases import call, convert, leaves, overrides, primitive_cases
from xpnet.checks.compare import TOLERANCES, relative_error
from xpnet.checks.subject import Subject
from xpnet.data import Dataset
from xpnet.errors import TrainingError
from xpnet.ops import Ops
from xpnet.optim import SGD, AdamW, Momentum, Nesterov, RMSprop
from xpnet.types import Feed, Noise

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(COMPILER is None, reason="the simulator needs g++"),
]

KERNELS = {name for name, _ in KERNEL.findall(source())}
SEEDS = 0, 100, 200
DTYPES = "float32", "float64"
REFERENCE = Ops(np)


@pytest.fixture(scope="session")
def simulator(tmp_path_factory):
    return Simulator(tmp_path_factory.mktemp("kernels"))


def ops_on(simulator):
    return CudaOps(compat_numpy, None, simulator)


def errors(ops, name, arguments, dtype):
    """The relative errors of the results of a primitive."""
    exact = call(REFERENCE, name, convert(arguments, np.float64), np.float64)
    ours = call(ops, name, convert(arguments, dtype), np.dtype(dtype))
    pairs = zip(leaves(ours), leaves(exact), strict=True)
    return [relative_error(np.asarray(a), np.asarray(b)) for a, b in pairs]


def odd_cases():
    """Sizes around those of a warp, a tile and a block, and more of them than are in the air."""
    rng = np.random.default_rng(1)

    def vector(*shape):
        return rng.normal(size=shape)

    names = "affine_grad", "softmax_xent", "sigmoid_xent", "dropout", "gather", "batch"
    cases = {name: {} for name in names}
    for m, n in [(1, 1), (2, 33), (31, 32), (65, 31), (256, 7), (300, 70), (4200, 3)]:
        size = f"{m}x{n}"
        x, W, b = rng.random((m, 5)), vector(5, n), vector(n)
        dy = rng.random((m, n))  # positive: long sums in which nothing cancels
        for f in ("identity", "relu", "sigmoid", "tanh"):
            _, saved = REFERENCE.affine(x, W, b, ACTIVATIONS[f])
            arguments = dy, saved, W, ACTIVATIONS[f], True
            cases["affine_grad"][f"{size} {f}"] = arguments
        labels = rng.integers(0, n, m).astype(np.int32)
        weight = rng.random(m)
        cases["softmax_xent"][size] = vector(m, n), labels, None, 1 / m, 0.0
        cases["softmax_xent"][f"{size} all"] = vector(m, n), labels, weight, np.asarray(0.3), 0.2
        answers = rng.integers(0, 2, (m, n)).astype(float)
        cases["sigmoid_xent"][size] = 3 * vector(m, n), answers, None, 1 / m
        arguments = 3 * vector(m, n), rng.random((m, n)), weight, np.asarray(0.3)
        cases["sigmoid_xent"][f"{size} all"] = arguments
        noise = Noise(2**32 - 5, np.asarray([77], np.int32), np.arange(m, dtype=np.int32) + 9, 3)
        cases["dropout"][size] = vector(m, n), noise, 0.25
        pixels = rng.integers(0, 256, (m, n)).astype(np.uint8)
        index = rng.integers(0, m, 2 * m).astype(np.int32)
        cases["gather"][size] = pixels, index, vector(n), vector(n)
        feed = Feed(pixels, labels, None, vector(n), vector(n), order=index, lr=None)
        cases["batch"][size] = feed, np.asarray([m + 1], np.int32), m
    ties = np.zeros((40, 37))
    ties[:, 5] = ties[:, 36] = 1.0
    cases["add_weights"] = {"a whole number": (vector(37), 2, vector(37), 20)}
    cases["softmax_xent"]["ties"] = ties, np.full(40, 5, np.int32), None, 1.0, 0.0
    return cases


def check_all(ops, cases, dtypes=DTYPES):
    """The worst error of each primitive; an AssertionError above the tolerance of parity."""
    worst = {}
    for dtype in dtypes:
        limit = TOLERANCES["op", dtype].limit
        for name in sorted(cases):
            for case, arguments in cases[name].items():
                error = max(errors(ops, name, arguments, dtype))
                assert error <= limit, f"{name} {case} {dtype}: {error:.1e}"
                worst[name, dtype] = max(error, worst.get((name, dtype), 0.0))
    return worst


def check_order(simulator):
    """Whole numbers: the order of samples is the very same everywhere."""
    for seed, epoch, n in [(0, 0, 1), (2**32 - 1, 3, 700), (5, 70_000, 33)]:
        ours = order.permutation(compat_numpy, simulator, seed, epoch, n)
        np.testing.assert_array_equal(ours, random.permutation(np, seed, epoch, n))


def test_every_primitive_agrees_with_the_reference(simulator, capsys):
    simulator.launched.clear()
    worst = {}
    for seed in SEEDS:
        simulator.seed = seed
        for cases in (primitive_cases(), odd_cases()):
            for key, error in check_all(ops_on(simulator), cases).items():
                worst[key] = max(error, worst.get(key, 0.0))
    check_order(simulator)
    assert set(simulator.launched) == KERNELS, "every kernel was run"
    with capsys.disabled():
        print("\nworst error of each primitive against float64")
        for (name, dtype), error in sorted(worst.items()):
            if name in overrides(CudaOps):
                print(f"  {name:<14} {dtype}  {error:.1e}")


@pytest.mark.parametrize("f", ACTIVATIONS)
def test_every_product_is_the_launchers(simulator, monkeypatch, f):
    """One of an array library's own could not be captured, and has another precision."""
    products, multiply = [], simulator.matmul
    monkeypatch.setattr(simulator, "matmul", lambda *args: products.append(multiply(*args)))
    ops, cases = ops_on(simulator), primitive_cases()
    ops.affine(*convert(cases["affine"][f], "float32"))
    assert len(products) == 1
    ops.affine_grad(*convert(cases["affine_grad"][f"{f}-dx"], "float32"))
    assert len(products) == 3


def test_products_that_end_with_bias_and_activation_save_a_kernel(simulator):
    cases = {"affine": primitive_cases()["affine"]}
    try:
        simulator.fuses = "identity", "relu"
        simulator.launched.clear()
        check_all(ops_on(simulator), cases)
        fused = simulator.launched.count("bias_activation")
    finally:
        simulator.fuses = ()
    simulator.launched.clear()
    check_all(ops_on(simulator), cases)
    assert simulator.launched.count("bias_activation") == fused + 2 * len(DTYPES)


def test_arrays_too_large_to_be_counted_are_left_to_the_reference(simulator, monkeypatch):
    monkeypatch.setattr(vector, "LARGEST", 1000)
    ops = ops_on(simulator)
    for n, launched in ((1000, ["add"]), (1001, [])):
        simulator.launched.clear()
        assert ops.add(np.ones(n, np.float32), np.ones(n, np.float32)).tolist() == [2.0] * n
        assert simulator.launched == launched


def test_results_too_large_to_be_counted_are_left_to_the_reference(simulator, monkeypatch):
    """Each argument may be small: the batch that is gathered, the product of a column and a row."""
    monkeypatch.setattr(vector, "LARGEST", 1000)
    ops, one = ops_on(simulator), np.ones((1, 1), np.float32)
    for n, n_launched in ((1000, 2), (1001, 0)):
        simulator.launched.clear()
        index = np.zeros(n, np.int32)
        x = ops.gather(one, index, None, 1.0, np.dtype(np.float32))
        row = np.ones((1, n), np.float32)
        y, _ = ops.affine(one, row, np.zeros(n, np.float32), ACTIVATIONS["tanh"])
        assert x.sum() == n
        np.testing.assert_allclose(y, np.tanh(1), rtol=1e-6)
        assert len(simulator.launched) == n_launched


@pytest.mark.parametrize("two", [2, np.float32(2), np.float64(2), np.int64(2)])
def test_a_number_of_any_kind_is_no_pointer(simulator, two):
    ops = ops_on(simulator)
    X = np.asarray([[3], [5]], np.uint8)
    x = ops.gather(X, np.asarray([1], np.int32), None, two, np.dtype(np.float32))
    assert x.tolist() == [[10.0]]
    logits = np.zeros((1, 2), np.float32)
    result = ops.softmax_xent(logits, np.zeros(1, np.int32), None, two, 0.0)
    assert result.dout.tolist() == [[-1.0, 1.0]]
    result = ops.sigmoid_xent(logits, np.zeros((1, 2), np.float32), None, two)
    assert result.dout.tolist() == [[0.5, 0.5]]


def test_the_order_of_threads_changes_no_bit(simulator):
    """Sums have a fixed order: two runs are bit-equal, whoever comes first."""
    cases = odd_cases()
    cases["square_sum"] = primitive_cases()["square_sum"]
    for name, named in cases.items():
        for arguments in named.values():
            results = []
            for seed in SEEDS:
                simulator.seed = seed
                placed = convert(arguments, "float32")
                ours = call(ops_on(simulator), name, placed, np.dtype(np.float32))
                results.append([np.asarray(leaf).copy() for leaf in leaves(ours)])
            for other in results[1:]:
                for a, b in zip(results[0], other, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_nan_is_kept_and_the_first_nan_is_the_class(simulator):
    ops = ops_on(simulator)
    logits = np.asarray([[0.0, np.nan, 9.0, np.nan], [3.0, 1.0, 3.0, 0.0]], np.float32)
    loss, n_right, dlogits = ops.softmax_xent(logits, np.asarray([1, 2], np.int32), None, 1.0, 0.0)
    assert np.isnan(loss)
    assert n_right == 1
    assert np.isnan(dlogits[0]).all()
    assert np.isfinite(dlogits[1]).all()
    one = np.asarray([[1.0]], np.float32)
    y, _ = ops.affine(one, one * np.nan, np.zeros(1, np.float32), ACTIVATIONS["relu"])
    assert np.isnan(y).all()
    assert np.isnan(ops.clip_value(np.asarray([np.nan], np.float32), 1.0)).all()


def slots_after(simulator, t):
    """Slots that were tiny, after a step of each optimizer that has some, with no gradient."""
    ops, dtype = ops_on(simulator), np.float32
    t, lr, zero = np.asarray([t], np.int32), np.asarray([0.1], dtype), np.zeros(3, dtype)

    def tiny():
        return np.full(3, 1e-31, dtype)

    yield ops.momentum(zero.copy(), zero, tiny(), t, lr, 0.9, False)[1]
    yield ops.rmsprop(zero.copy(), zero, tiny(), t, lr, 0.9, 1e-8)[1]
    yield from ops.adam(zero.copy(), zero, tiny(), tiny(), t, lr, 0.9, 0.9, 1e-8)[1:]


def test_tiny_slots_are_set_to_zero_when_it_is_time(simulator):
    for slot in slots_after(simulator, 64):
        assert (slot == 0).all()
    for slot in slots_after(simulator, 63):
        assert (slot > 0).all()


# ---- whole trainings ----------------------------------------------------------------------------


class SimulatedBackend(Backend):
    """A GPU without a GPU: NumPy's arrays, the kernels' work done by the simulator."""

    def __init__(self, simulator):
        super().__init__("numpy", compat_numpy, device_name="simulated", version="0")
        self.simulator = simulator

    kind = CudaOps

    def permutation(self, seed, epoch, n):
        return order.permutation(compat_numpy, self.simulator, seed, epoch, n)

    def ops(self):
        return ops_on(self.simulator)

    def same_place(self, other):
        return isinstance(other, SimulatedBackend | NumpyBackend)

    def compile(self, build, *, reference=False):
        if reference:
            return build(self.reference_ops())
        workspace = Workspace(self.simulator.empty)
        ops = self.kind(compat_numpy, None, self.simulator, workspace)
        return on_workspace(build, ops, workspace)


def subject(dtype, **settings):
    rng = np.random.default_rng(0)
    data = Dataset(
        rng.integers(0, 256, (70, 12)).astype(np.uint8), rng.integers(0, 4, 70), scale=1 / 255
    )
    network = Network(12, [Dense(9, "relu"), Dropout(0.2), Dense(7, "tanh"), Dense(4)])
    hp = Hyperparameters(batch_size=16, epochs=2, dtype=dtype, **settings)
    return Subject(network, data, hp, n_steps=8)


RULES = {
    "sgd": {"optimizer": SGD(0.5, l2=0.01)},
    "momentum": {"optimizer": Momentum(0.2), "clip_value": 0.05},
    "nesterov": {"optimizer": Nesterov(0.2), "clip_norm": 0.5},
    "rmsprop": {"optimizer": RMSprop(0.01)},
    "adamw": {"optimizer": AdamW(0.01, weight_decay=0.1)},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_trajectories_agree_with_numpy(simulator, rule, dtype):
    rows = list(parity.parity(subject(dtype, **RULES[rule]), SimulatedBackend(simulator)))
    assert len(rows) > 80
    assert [row for row in rows if not row.passed] == []


class RecordingLauncher:
    """A launcher that writes down what is launched, as CUDA does while it captures a graph."""

    def __init__(self, simulator, recording):
        self.simulator, self.recording = simulator, recording
        self.empty = simulator.empty
        self.aside, self.join = simulator.aside, simulator.join

    def matmul(self, a, b, out):
        self.recording.note(self.simulator.matmul, *bare((a, b, out)))

    def affine(self, *args):
        return False

    def launch(self, real, name, grid, block, arguments, shared=0):
        launch = self.simulator.launch
        self.recording.note(launch, real, name, grid, block, bare(arguments), shared)


class RecordingCudaOps(OnRecordedMemory, CudaOps):
    """The kernels' primitives on memory that keeps its place and whose values nobody sees."""

    def __init__(self, simulator, workspace, recording):
        super().__init__(compat_numpy, None, RecordingLauncher(simulator, recording), workspace)
        self.recording = recording


class CapturingBackend(SimulatedBackend):
    """Steps are captured on the simulated GPU, and replayed."""

    def compile(self, build, *, reference=False):
        if reference:
            return super().compile(build, reference=True)
        workspace = Workspace(self.simulator.empty)
        step = on_workspace(
            build, CudaOps(compat_numpy, None, self.simulator, workspace), workspace
        )
        ops = functools.partial(RecordingCudaOps, self.simulator)
        return RecordedStep(build, step, workspace, ops)


@pytest.mark.parametrize("rule", RULES)
def test_a_step_can_be_captured_and_replayed(simulator, rule):
    """It reads no value on the host, allocates nothing late, and is the same when replayed."""
    case = subject("float32", **RULES[rule])
    settings = {**RULES[rule], "epochs": 3, "batch_size": 16}
    found = []
    for backend in (SimulatedBackend(simulator), CapturingBackend(simulator)):
        run = xpnet.fit(case.network, case.data, backend=backend, **settings)
        found.append([(report.train_loss, theta) for report, theta in run])
    for (loss, theta), (other_loss, other_theta) in zip(*found, strict=True):
        assert loss == other_loss
        np.testing.assert_array_equal(theta, other_theta)


def test_a_step_that_looks_at_a_value_cannot_be_captured(simulator):
    """The planted fault: a loss that asks whether it is finite."""

    @dataclasses.dataclass(frozen=True)
    class Nosy(xpnet.SoftmaxCrossEntropy):
        def __call__(self, ops, *args):
            result = super().__call__(ops, *args)
            assert bool(ops.xp.isfinite(result.loss_sum))
            return result

    case = subject("float32", loss=Nosy())
    run = xpnet.fit(
        case.network, case.data, backend=CapturingBackend(simulator), loss=Nosy(), batch_size=16
    )
    with pytest.raises(TypeError, match="cannot depend on the values"):
        next(run)


def test_two_trainings_are_equal_bit_for_bit(simulator):
    case = subject("float32")
    found = []
    for seed in (1, 50):
        simulator.seed = seed
        backend = SimulatedBackend(simulator)
        run = xpnet.fit(
            case.network, case.data, backend=backend, epochs=2, batch_size=16,
        )  # fmt: skip
        found.append([theta.copy() for _, theta in run][-1])
    np.testing.assert_array_equal(*found)


class NeverJoined(CudaOps):
    """The planted fault: the gradients are used whether they are there or not."""

    pack = WorkspaceOps.pack


def trained(simulator, ops):
    """Losses and weights with work aside done at once, and as late as it may be."""
    case = subject("float32", optimizer=AdamW(0.01, weight_decay=0.1))
    backend = SimulatedBackend(simulator)
    backend.kind = ops
    found = []
    for late in (False, True):
        simulator.late = late
        run = xpnet.fit(case.network, case.data, backend=backend, epochs=2, batch_size=16)
        found.append([np.asarray(a) for report, theta in run for a in (report.train_loss, theta)])
    return found


@pytest.fixture
def patient(simulator, monkeypatch):
    """The simulator, put back as it was after a test that makes it late."""
    monkeypatch.setattr(simulator, "late", False)
    monkeypatch.setattr(simulator, "waiting", [])
    return simulator


def test_what_is_done_aside_is_done_before_it_is_needed(patient):
    at_once, late = trained(patient, CudaOps)
    assert len(at_once) == 4
    for a, b in zip(at_once, late, strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_what_something_else_can_be_done_beside_is_done_aside(patient):
    patient.late = True
    x, W, dy = np.ones((3, 2)), np.ones((2, 4)), np.ones((3, 4))
    ops, f = ops_on(patient), ACTIVATIONS["identity"]
    _, dW, _ = ops.affine_grad(dy, (x, dy), W, f, need_dx=True)
    assert np.isnan(dW).all()
    patient.join()
    assert (dW == 3).all()
    _, dW, _ = ops.affine_grad(dy, (x, dy), W, f, need_dx=False)
    assert (dW == 3).all()


def test_a_gradient_that_is_not_waited_for_is_noticed(patient):
    with pytest.raises(TrainingError, match="no longer finite at step 1"):
        trained(patient, NeverJoined)


# ---- faults planted in the kernels are found ---------------------------------------------------

MUTATIONS = {
    "no barrier before the sums of warps are read": (
        "32] = x;\n    __syncthreads();",
        "32] = x;",
    ),
    "no barrier before columns are added": (
        "= sum;\n    __syncthreads();\n    if (threadIdx.y",
        "= sum;\n    if (threadIdx.y",
    ),
    "no barrier before Adam's rate is read": (
        "    __syncthreads();\n    real rate",
        "    real rate",
    ),
    "no barrier before losses are added": (
        "    __syncthreads();\n    if (threadIdx.x == 0) {\n        real total",
        "    if (threadIdx.x == 0) {\n        real total",
    ),
    "half of a warp is left out": (
        "int apart = 16; apart; apart /= 2)\n        x +=",
        "int apart = 8; apart; apart /= 2)\n        x +=",
    ),
    "elements are done twice": ("i += gridDim.x * blockDim.x", "i += blockDim.x"),
    "the bias of another row": ("b[i % n]", "b[i / n]"),
    "the slope at 0": ("y > 0 ?", "y >= 0 ?"),
    "another sum's row": ("sums[blockIdx.y * n + column]", "sums[column]"),
    "softmax forgets the largest": ("row[c] - top) / e_sum", "row[c]) / e_sum"),
    "the other sign of a logit": ("exponential(-magnitude(z))", "exponential(-z)"),
    "one wrong answer of several": ("warp_sum(wrong) == 0", "warp_sum(wrong) <= 1"),
    "a bad step later than the first": ("!*first_bad_step && ", ""),
    "an infinite sum is good": ("!(sum - sum == 0)", "sum != sum"),
    "a part of a batch is a step": ("*t += last", "*t += 1"),
    "the step before": ("*first_bad_step = *t + 1", "*first_bad_step = *t"),
    "past the end of what is read": ("(*start + i) % n", "*start + i < n ? *start + i : n - 1"),
    "decay without the learning rate": ("a *= *factor;", ";"),
    "the position of another batch": ("*position += m", "*position += 1"),
    "smoothing of the wrong class": ("c == label ?", "c == best ?"),
    "the last of equal classes": ("(a == b && i < j)", "(a == b && i > j)"),
    "a round of the generator less": ("round < 20", "round < 19"),
    "every epoch in the same order": ("word = (unsigned)round", "word = 0"),
    "one word for both halves": ("(int)right >= threshold", "(int)left >= threshold"),
    "one column too many": ("column + half < n", "column + half <= n"),
    "Nesterov without looking ahead": ("g[i] + mu * v_i", "v_i"),
    "no correction of Adam's second moment": ("sqrt(total_weight(beta2, *t))", "1.0"),
    "rows are gathered by place": ("int sample = index[(first + row) % count]", "int sample = row"),
    "a batch past the end of the order": (
        "index[(first + row) % count]",
        "index[first + row < count ? first + row : count - 1]",
    ),
    "always the first batch": ("int first = start ? *start : 0", "int first = 0"),
    "labels of other samples": ("y[row] = labels[sample]", "y[row] = labels[row]"),
    "labels of one row a block": (
        "labels && threadIdx.x == 0",
        "labels && threadIdx.x + threadIdx.y == 0",
    ),
}


def check_all_in_several_orders(simulator):
    for seed in SEEDS:
        simulator.seed = seed
        for cases in (odd_cases(), primitive_cases()):
            check_all(ops_on(simulator), cases, ("float32",))
    check_order(simulator)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_fault_in_a_kernel_is_found(tmp_path, name):
    old, new = MUTATIONS[name]
    assert old in source()
    broken = Simulator(tmp_path, lambda text: text.replace(old, new), reals=("float32",))
    with np.errstate(all="ignore"), pytest.raises((AssertionError, KernelError)):
        check_all_in_several_orders(broken)


FAULTY = {
    "not all threads reach a barrier": "if (threadIdx.x < 5) __syncthreads(); else x[0] = 1;"
    " if (threadIdx.x >= 5) __shfl_xor_sync(0xffffffffu, 1, 1);",
    "past its shared memory": "shared[40] = 1;",
    "past an array": "x[4 + threadIdx.x] = 1;",
}


@pytest.mark.parametrize("message", FAULTY)
def test_the_simulator_reports_what_a_kernel_must_not_do(tmp_path, message):
    text = (
        'extern "C" __global__ void faulty(REAL* x) { extern __shared__ REAL shared[]; '
        f"{FAULTY[message]} }}"
    )
    simulator = Simulator(tmp_path, lambda _: text, reals=("float32",))
    x = simulator.empty((4,), np.dtype(np.float32))
    with pytest.raises(KernelError, match=message):
        simulator.launch("float32", "faulty", (1,), (64,), (x,), shared=64)


ONE, TWO, NUMBER = np.zeros(1, np.float32), np.zeros(2, np.float32), np.int32(1)


@pytest.mark.parametrize(
    "arguments", [(TWO, ONE[0], NUMBER), (TWO, ONE, TWO), (TWO, ONE), (TWO, ONE, None)]
)
def test_the_simulator_reports_what_would_crash(simulator, arguments):
    simulator.launch("float32", "scale_by", (1,), (32,), (TWO, ONE, NUMBER))
    with pytest.raises(KernelError, match="a number for an array"):
        simulator.launch("float32", "scale_by", (1,), (32,), arguments)
