"""NVIDIA's own library takes the descriptors of every product; that needs no GPU."""

import numpy as np
import pytest

pytest.importorskip("cupy", reason="needs the wheel of CuPy; CI installs it")
pathfinder = pytest.importorskip("cuda.pathfinder")
try:
    pathfinder.load_nvidia_dynamic_lib("cublasLt")
except pathfinder.DynamicLibNotFoundError:
    pytest.skip("needs cuBLASLt; CI installs it", allow_module_level=True)

from xpnet.backends.cuda.cublaslt import PRECISIONS, CublasLt, operand
from xpnet.backends.cuda.cupy import cublaslt
from xpnet.errors import BackendError

X, W, DZ = np.empty((128, 784)), np.empty((784, 256)), np.empty((128, 256))
PRODUCTS = {"z = x W": (X, W), "dW = x^T dz": (X.T, DZ), "dx = dz W^T": (DZ, W.T)}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_descriptors_are_accepted(product, real, precision):
    a, b = PRODUCTS[product]
    plan = CublasLt(cublaslt(), precision).plan(real, operand(b), operand(a))
    assert all(part.value for part in plan)


def test_a_descriptor_that_is_wrong_is_refused():
    lt = CublasLt(cublaslt())
    with pytest.raises(BackendError, match="MatrixLayoutCreate failed with status"):
        lt.call("MatrixLayoutCreate", None, 0, 1, 1, 1)


def test_without_a_gpu_the_library_says_so():
    with pytest.raises(BackendError, match="cublasLtCreate failed with status"):
        CublasLt(cublaslt()).matmul(X, W, DZ, None, 0)
