"""Why an operation differs: rounding, flushed denormals, or neither."""

import numpy as np

from xpnet import backends, mlp
from xpnet.checks.compare import relative_error
from xpnet.checks.divergence import explain
from xpnet.checks.trace import Call, Recorder, located
from xpnet.ops import Ops
from xpnet.types import Noise

EXACT = Ops(np)


def calls(op, args, ours):
    """The exact call, and the same with another result."""
    exact = Call("here", op, args, getattr(EXACT, op)(*args))
    return exact, exact._replace(result=ours), relative_error(ours, exact.result)


def test_a_sum_that_cancels_is_explained_by_rounding():
    g = np.asarray([1e8, 1.0])
    factor = np.asarray(1.0 + 1e-9)
    ours = (g.astype(np.float32) * np.float32(factor)).astype(np.float64)
    exact, call, error = calls("scale_by", (g, factor), ours)
    assert explain(exact, call, error, "float32").startswith("rounding: NumPy in float32 is off by")


def test_denormals_that_became_0_are_explained():
    g = np.full(8, 1e-39)
    exact, call, error = calls("scale_by", (g, np.asarray(1.0)), np.zeros(8))
    assert error == 1.0
    assert explain(exact, call, error, "float32") == "denormal numbers are flushed to 0"


def test_what_is_not_finite_is_said():
    exact, call, _ = calls("square_sum", (np.ones(3),), np.asarray(np.nan))
    assert explain(exact, call, np.inf, "float32") == "it is not finite"


def test_a_wrong_result_is_not_explained_away():
    g = np.linspace(1, 2, 8)
    exact, call, error = calls("scale_by", (g, np.asarray(0.3)), 0.3003 * g)
    assert explain(exact, call, error, "float32") == "rounding does not explain it"
    assert explain(exact, call, error, "float64") == "rounding does not explain it"


def test_calls_are_recorded_with_their_place():
    numpy = backends.get("numpy")
    network = mlp(4, 3, 2, dropout=0.5)

    def snapshot(value):
        return value

    recorder = Recorder(numpy.reference_ops(), snapshot)
    x = np.ones((5, 4))
    noise = Noise(0, np.zeros(1, np.int32), np.arange(5, dtype=np.int32))
    theta = network.init(0, "float64")
    out, saved = located(network).forward(recorder, theta, x, noise)
    located(network).backward(recorder, theta, saved, np.ones_like(out))
    assert [(c.place, c.op) for c in recorder.calls] == [
        ("step", "unpack"),
        ("layer 0 forward", "affine"),
        ("layer 0 forward", "forward"),
        ("layer 1 forward", "dropout"),
        ("layer 1 forward", "forward"),
        ("layer 2 forward", "affine"),
        ("layer 2 forward", "forward"),
        ("step", "unpack"),
        ("layer 2 backward", "affine_grad"),
        ("layer 2 backward", "backward"),
        ("layer 1 backward", "dropout"),
        ("layer 1 backward", "backward"),
        ("layer 0 backward", "affine_grad"),
        ("layer 0 backward", "backward"),
        ("step", "pack"),
    ]
