"""The way to cuBLASLt: a stand-in multiplies what the descriptors say, column by column."""

import ctypes

import numpy as np
import pytest

from xpnet.backends.cuda.cublaslt import PRECISIONS, WORKSPACE_BYTES, Algorithm, CublasLt, operand
from xpnet.errors import BackendError


class StandIn:
    """cuBLASLt on the host: everything is by columns, as its manual says, and kept by number."""

    def __init__(self, status=0, n_algorithms=1, epilogues=(1, 4, 6), refusal=15):
        self.status, self.n_algorithms, self.epilogues = status, n_algorithms, epilogues
        self.refusal = refusal
        self.things = {}
        self.matmuls = 0
        self.asked = []

    def new(self, place, thing):
        self.things[len(self.things) + 1] = thing
        place._obj.value = len(self.things)
        return self.status

    def cublasLtCreate(self, handle):
        return self.new(handle, "handle")

    def cublasLtMatmulDescCreate(self, place, compute, kind):
        return self.new(place, {"compute": compute, "kind": kind, 3: 0, 4: 0})

    def cublasLtMatmulDescSetAttribute(self, operation, attribute, value, size):
        assert size.value == (8 if attribute == 8 else 4)
        self.things[operation.value][attribute] = value._obj.value
        return 0

    def cublasLtMatrixLayoutCreate(self, place, kind, rows, columns, leading):
        return self.new(place, (kind, rows.value, columns.value, leading.value))

    def cublasLtMatmulPreferenceCreate(self, place):
        return self.new(place, {})

    def cublasLtMatmulPreferenceSetAttribute(self, preference, attribute, value, size):
        assert size.value == (8 if attribute == 1 else 4)
        self.things[preference.value][attribute] = value._obj.value
        return 0

    def cublasLtMatmulPreferenceDestroy(self, preference):
        del self.things[preference.value]
        return 0

    def cublasLtMatmulAlgoGetHeuristic(
        self, handle, operation, A, B, C, D, preference, wanted, found, n_found
    ):
        assert self.things[handle.value] == "handle"
        preferred = self.things[preference.value]
        assert preferred[1] == WORKSPACE_BYTES
        self.asked.append([preferred[k] for k in (5, 6, 7, 8)])
        if self.things[operation.value][7] not in self.epilogues:
            return self.refusal
        n_found._obj.value = self.n_algorithms
        return 0

    def matrix(self, layout, at):
        """The matrix at ``at``, read by columns."""
        kind, rows, columns, leading = self.things[layout.value]
        number = (ctypes.c_float, ctypes.c_double)[kind]
        flat = np.ctypeslib.as_array((number * (leading * columns)).from_address(at.value))
        return flat.reshape(columns, leading).T[:rows]

    def cublasLtMatmul(
        self, handle, operation, alpha, A, A_layout, B, B_layout, beta, C, C_layout, D, D_layout,
        algorithm, workspace, n_bytes, stream,
    ):  # fmt: skip
        self.matmuls += 1
        described = self.things[operation.value]
        assert described["kind"] == self.things[A_layout.value][0]
        a, b = self.matrix(A_layout, A), self.matrix(B_layout, B)
        a, b = a.T if described[3] else a, b.T if described[4] else b
        assert (alpha._obj.value, beta._obj.value) == (1, 0)
        d, epilogue = a @ b, described[7]
        if epilogue in (4, 6):  # a number for each row of D, which is a column of ours
            number = np.ctypeslib.as_ctypes_type(d.dtype)
            d += np.ctypeslib.as_array((number * len(d)).from_address(described[8]))[:, None]
        self.matrix(D_layout, D)[...] = np.maximum(d, 0) if epilogue in (2, 6) else d
        return 0


class OnHost:
    """An array of the host that looks like one of a GPU."""

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype, self.flags = array.shape, array.dtype, array.flags
        self.data = type("Pointer", (), {"ptr": array.ctypes.data})


WORKSPACE = OnHost(np.empty(8, np.uint8))


def product(lt, a, b):
    out = np.full((a.shape[0], b.shape[1]), np.nan, a.dtype)
    lt.matmul(OnHost(a), OnHost(b), OnHost(out), WORKSPACE, stream=0)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("sizes", [(5, 3, 4), (1, 7, 2), (6, 1, 1), (2, 2, 2)])
def test_products_of_matrices_and_transposes(dtype, left, right, sizes):
    m, k, n = sizes
    rng = np.random.default_rng(0)
    a = (rng.normal(size=(k, m)).T if left else rng.normal(size=(m, k))).astype(dtype, order="K")
    b = (rng.normal(size=(n, k)).T if right else rng.normal(size=(k, n))).astype(dtype, order="K")
    np.testing.assert_allclose(product(CublasLt(StandIn()), a, b), a @ b, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_end_with_bias_and_relu(dtype):
    lt, rng = CublasLt(StandIn()), np.random.default_rng(0)
    x, W = rng.normal(size=(5, 3)).astype(dtype), rng.normal(size=(3, 4)).astype(dtype)
    for b in rng.normal(size=(2, 4)).astype(dtype):  # the second time the plan is there already
        for epilogue, exact in {"bias": x @ W + b, "relu_bias": np.maximum(x @ W + b, 0)}.items():
            out = np.full((5, 4), np.nan, dtype)
            assert affine(lt, x, W, b, epilogue, out)
            np.testing.assert_allclose(out, exact, rtol=1e-5, atol=1e-6)


def affine(lt, x, W, b, epilogue, out):
    return lt.matmul(OnHost(x), OnHost(W), OnHost(out), WORKSPACE, 0, epilogue, OnHost(b))


@pytest.mark.parametrize("refusal", [15, 7])
def test_what_no_algorithm_ends_with_is_left_alone(refusal):
    """It may be called not supported, or even an invalid value: the plain product will do."""
    stand_in = StandIn(epilogues=(1, 4), refusal=refusal)
    lt, x, b = CublasLt(stand_in), np.ones((4, 4), np.float32), np.ones(4, np.float32)
    out = np.full((4, 4), np.nan, np.float32)
    for _ in range(2):
        assert not affine(lt, x, x, b, "relu_bias", out)
    assert np.isnan(out).all()
    assert stand_in.matmuls == 0
    assert affine(lt, x, x, b, "bias", out)


def test_a_plain_product_that_is_refused_is_an_error():
    a = np.ones((4, 4), np.float32)
    with pytest.raises(BackendError, match="GetHeuristic failed with status 7"):
        product(CublasLt(StandIn(epilogues=(), refusal=7)), a, a)


def lying_at(offset, shape):
    """Random numbers (rows, columns) that begin ``offset`` bytes after a multiple of 512."""
    flat = np.random.default_rng(0).normal(size=512 + shape[0] * shape[1]).astype(np.float32)
    first = (-flat.ctypes.data % 512 + offset) // 4
    return flat[first : first + shape[0] * shape[1]].reshape(shape)


def test_an_algorithm_is_asked_for_by_where_the_matrices_lie():
    """One that wants multiples of 16 bytes would fail on a slice of a caller's array."""
    stand_in = StandIn()
    lt, b = CublasLt(stand_in), lying_at(0, (4, 4))
    for at, known in ((0, 256), (64, 64), (4, 4), (12, 4), (0, 256)):
        a, out = lying_at(at, (5, 4)), lying_at(0, (5, 4))
        assert lt.matmul(OnHost(a), OnHost(b), OnHost(out), WORKSPACE, 0)
        assert stand_in.asked[-1 if at else 0] == [256, known, 256, 256]
        np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-6)
    assert len(stand_in.asked) == 3, "each alignment is asked for once"
    bias = lying_at(8, (1, 4))[0]
    assert affine(lt, a, b, bias, "bias", out)
    assert stand_in.asked[-1] == [256, 256, 8, 8], "the bias is read as the result is written"


def test_a_shape_is_planned_once():
    stand_in = StandIn()
    lt = CublasLt(stand_in)
    a, b = np.ones((3, 2), np.float32), np.ones((2, 4), np.float32)
    product(lt, a, b)
    made = len(stand_in.things)
    product(lt, 2 * a, b)
    assert len(stand_in.things) == made
    product(lt, b.T.copy(), a.T.copy())
    assert len(stand_in.things) > made
    assert stand_in.matmuls == 3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_precision_is_that_of_float32_alone(precision):
    stand_in = StandIn()
    lt = CublasLt(stand_in, precision)
    lt.plan("float32", operand(np.ones((3, 2))), operand(np.ones((2, 3))))
    lt.plan("float64", operand(np.ones((3, 2))), operand(np.ones((2, 3))))
    found = [t["compute"] for t in stand_in.things.values() if isinstance(t, dict)]
    assert found == [PRECISIONS[precision], 70]


def test_what_goes_wrong_is_said():
    a = np.ones((4, 4), np.float32)
    with pytest.raises(BackendError, match="cublasLtCreate failed with status 1"):
        product(CublasLt(StandIn(status=1)), a, a)
    assert np.isnan(product(CublasLt(StandIn(n_algorithms=0)), a, a)).all(), "nothing is done"
    with pytest.raises(BackendError, match="contiguous"):
        product(CublasLt(StandIn()), a[:, ::2], a[:2])


def test_the_structure_has_the_size_of_the_headers():
    assert ctypes.sizeof(Algorithm) == 96
