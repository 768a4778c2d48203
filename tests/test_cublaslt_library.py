"""NVIDIA's own library takes the descriptors of every product; that needs no GPU."""

import ctypes

import numpy as np
import pytest

pytest.importorskip("cupy", reason="needs the wheel of CuPy; CI installs it")
pathfinder = pytest.importorskip("cuda.pathfinder")
try:
    pathfinder.load_nvidia_dynamic_lib("cublasLt")
except pathfinder.DynamicLibNotFoundError:
    pytest.skip("needs cuBLASLt; CI installs it", allow_module_level=True)

from xpnet.backends.cuda.cublaslt import (
    ALIGNMENTS,
    BIAS_POINTER,
    EPILOGUES,
    MAX_WORKSPACE,
    PRECISIONS,
    CublasLt,
    operand,
)
from xpnet.backends.cuda.cupy import cublaslt
from xpnet.errors import BackendError

X, W, DZ = np.empty((128, 784)), np.empty((784, 256)), np.empty((128, 256))
PRODUCTS = {"z = x W": (X, W), "dW = x^T dz": (X.T, DZ), "dx = dz W^T": (DZ, W.T)}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_descriptors_are_accepted(product, epilogue, real, precision):
    a, b = PRODUCTS[product]
    lt = CublasLt(cublaslt(), precision)
    plan = lt.plan(real, operand(b), operand(a), epilogue)
    assert all(part.value for part in plan)
    lt.set(plan.operation, BIAS_POINTER, ctypes.c_void_p(256))


def test_an_attribute_of_a_wrong_size_is_refused():
    lt = CublasLt(cublaslt())
    plan = lt.plan("float32", operand(W), operand(X))
    with pytest.raises(BackendError, match="SetAttribute failed with status"):
        lt.set(plan.operation, BIAS_POINTER, ctypes.c_int(256))


def test_preferences_are_accepted_in_the_right_size_alone():
    lt, preference = CublasLt(cublaslt()), ctypes.c_void_p()
    lt.call("MatmulPreferenceCreate", ctypes.byref(preference))
    lt.prefer(preference, MAX_WORKSPACE, ctypes.c_uint64(2**20))
    for attribute in ALIGNMENTS:
        lt.prefer(preference, attribute, ctypes.c_uint32(16))
        with pytest.raises(BackendError, match="SetAttribute failed with status"):
            lt.prefer(preference, attribute, ctypes.c_uint64(16))
    lt.call("MatmulPreferenceDestroy", preference)


def test_a_descriptor_that_is_wrong_is_refused():
    lt = CublasLt(cublaslt())
    with pytest.raises(BackendError, match="MatrixLayoutCreate failed with status"):
        lt.call("MatrixLayoutCreate", None, 0, 1, 1, 1)


def test_without_a_gpu_the_library_says_so():
    with pytest.raises(BackendError, match="cublasLtCreate failed with status"):
        CublasLt(cublaslt()).matmul(X, W, DZ, None, 0)
