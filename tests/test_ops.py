"""Every primitive of every backend against the plain reference on NumPy in float64."""

import array_api_compat.numpy as compat_numpy
import numpy as np
import pytest
from conftest import relative_error

import xpnet
from xpnet import backends
from xpnet.backends.numpy import NumpyOps, Workspace
from xpnet.checks.cases import DONATED, call, convert, leaves, primitive_cases
from xpnet.ops import Ops

CASES = primitive_cases()
EVERY_CASE = [(name, case) for name, cases in CASES.items() for case in cases]
M, N_IN, C = 9, 13, 5

TOLERANCE = {
    np.float32: 1e-6,  # sums of tens of roundings of 6e-8
    np.float64: 1e-14,  # the same of 1e-16
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "case"), EVERY_CASE)
def test_primitives_equal_the_reference(backend, name, case, dtype):
    arguments = CASES[name][case]
    exact = leaves(call(Ops(compat_numpy), name, convert(arguments, np.float64), np.float64))
    own_dtype = backend.xp.float32 if dtype == np.float32 else backend.xp.float64
    placed = convert(arguments, dtype, backend.asarray)
    for i in DONATED.get(name, ()):
        for array in leaves(placed[i]):
            if isinstance(array, np.ndarray):
                array.flags.writeable = True  # all the others stay read-only on numpy-readonly
    results = leaves(call(backend.ops(), name, placed, own_dtype))
    assert len(results) == len(exact)
    for result, wanted in zip(results, exact, strict=True):
        result = backend.to_numpy(result)
        assert result.shape == wanted.shape
        if wanted.dtype.kind == "f":
            assert result.dtype == dtype, "float32 stays float32"
            assert relative_error(result, wanted) <= TOLERANCE[dtype]
        else:
            assert np.array_equal(result, wanted)


@pytest.mark.parametrize(("name", "case"), EVERY_CASE)
@pytest.mark.parametrize("workspace", [None, Workspace()], ids=["plain", "workspace"])
def test_overrides_write_only_what_is_donated(name, case, workspace):
    """Donated arguments may change; the others are read-only here, and NumPy would raise."""
    arguments = convert(CASES[name][case], np.float32)
    for i, argument in enumerate(arguments):
        if i not in DONATED.get(name, set()):
            for array in leaves(argument):
                array.flags.writeable = False
    before = [array.copy() for argument in arguments for array in leaves(argument)]
    call(NumpyOps(workspace), name, arguments, np.float32)
    after = [(i, array) for i, argument in enumerate(arguments) for array in leaves(argument)]
    for old, (i, new) in zip(before, after, strict=True):
        assert i in DONATED.get(name, set()) or np.array_equal(
            old, new, equal_nan=old.dtype.kind == "f"
        )


def test_writing_what_is_not_donated_is_noticed():
    """The planted fault: an override that scales its input in place."""
    x = np.ones((2, 2), np.float32)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        np.multiply(x, 2, out=x)


def test_results_without_a_workspace_are_not_overwritten():
    ops = backends.get("numpy").ops()
    x, W, b, f = convert(CASES["affine"]["relu"], np.float32)
    first, _ = ops.affine(x, W, b, f)
    kept = first.copy()
    second, _ = ops.affine(2 * x, W, b, f)
    assert np.array_equal(first, kept)
    assert not np.shares_memory(first, second)


def test_a_workspace_gives_the_same_memory_in_every_step():
    workspace = Workspace()
    first = [workspace.empty((2, 3), np.float32), workspace.empty((2, 3), np.float32)]
    workspace.restart()
    second = [workspace.empty((2, 3), np.float32), workspace.empty((2, 3), np.float32)]
    assert [a is b for a, b in zip(first, second, strict=True)] == [True, True]
    assert first[0] is not first[1]


def test_gradients_in_a_workspace_are_the_same_in_later_steps():
    """From the second step on, blocks are computed at their place in the packed vector."""
    network = xpnet.mlp(N_IN, 7, 6, C)
    theta = network.init(0)
    workspace = Workspace()
    ops = NumpyOps(workspace)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(M, N_IN)).astype(np.float32)
        y = rng.integers(0, C, M).astype(np.int32)
        workspace.restart()
        g = network.loss_and_grad(ops, theta, x, y, xpnet.SoftmaxCrossEntropy()).g
        reference = Ops(compat_numpy)
        exact = network.loss_and_grad(reference, theta, x, y, xpnet.SoftmaxCrossEntropy()).g
        assert relative_error(g, exact) < 1e-6


@pytest.mark.parametrize("activation", sorted(xpnet.ACTIVATIONS))
def test_activations_are_finite_far_out_and_keep_nan(activation):
    f = xpnet.ACTIVATIONS[activation]
    z = np.asarray([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4], np.float32)
    with np.errstate(under="ignore"):
        y = f.function(compat_numpy, z)
        d = f.derivative(compat_numpy, z if f.derivative_of == "z" else y)
    assert np.isfinite(y).all()
    assert np.isfinite(d).all()
    assert y.dtype == d.dtype == np.float32
    assert np.isnan(f.function(compat_numpy, np.asarray([np.nan], np.float32)))[0]


def test_softmax_with_huge_logits_is_finite():
    logits = np.asarray([[1e4, -1e4, 0.0]], np.float32)
    for ops in (Ops(compat_numpy), NumpyOps()):
        loss, n_correct, dlogits = ops.softmax_xent(
            logits, np.asarray([1], np.int32), None, 1.0, 0.0
        )
        assert float(loss) == 2e4
        assert int(n_correct) == 0
        assert dlogits.tolist() == [[1.0, -1.0, 0.0]]


def test_binary_cross_entropy_with_huge_logits_is_finite():
    logits = np.asarray([[1e4], [-1e4]], np.float32)
    for ops in (Ops(compat_numpy), NumpyOps()):
        loss, n_correct, dlogits = ops.sigmoid_xent(
            logits, np.asarray([[0.0], [0.0]], np.float32), None, 1.0
        )
        assert float(loss) == 1e4
        assert int(n_correct) == 1
        assert dlogits.tolist() == [[1.0], [0.0]]
