"""Matrix products by cuBLASLt, called directly: CuPy's own refuse to be captured in a graph.

cuBLASLt knows matrices by columns. A contiguous (rows, columns) array read by columns is its
transpose, so out = a b is computed as out^T = b^T a^T: nothing is copied.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any, NamedTuple

from ...errors import BackendError
from ...types import Array

__all__ = ["EPILOGUES", "PRECISIONS", "WORKSPACE_BYTES", "CublasLt", "Plan"]

WORKSPACE_BYTES = 32 * 2**20
"""What NVIDIA recommends from Hopper on."""

FP32, FP64 = 0, 1
"""Of cudaDataType: CUDA_R_32F and CUDA_R_64F."""

PRECISIONS = {"fp32": 68, "tf32": 77, "bf16": 75}
"""Of cublasComputeType_t, for float32: exact, or rounded operands on the tensor cores."""

COMPUTE_64F = 70
TRANS_A, TRANS_B, EPILOGUE, BIAS_POINTER = 3, 4, 7, 8
"""Of cublasLtMatmulDescAttributes_t."""

EPILOGUES = {"nothing": 1, "bias": 4, "relu_bias": 6}
"""Of cublasLtEpilogue_t: what is done to the product before it is written."""

NOT_SUPPORTED = 15
"""Of cublasStatus_t."""

MAX_WORKSPACE = 1
ALIGNMENTS = 5, 6, 7, 8
"""Of cublasLtMatmulPreferenceAttributes_t; ALIGNMENTS are those of the matrices A, B, C and D."""

MOST_ALIGNMENT = 256
"""Bytes; what cuBLASLt takes for granted unless it is told otherwise."""


class Algorithm(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t: an algorithm and what it needs."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace_bytes", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


class Operand(NamedTuple):
    """A matrix as it lies in memory, by columns, and whether it is to be transposed."""

    rows: int
    columns: int
    transposed: bool


class Plan(NamedTuple):
    """Everything about a product but where the matrices lie."""

    operation: ctypes.c_void_p
    left: ctypes.c_void_p
    right: ctypes.c_void_p
    result: ctypes.c_void_p


class CublasLt:
    """The library ``lt``, loaded by ctypes; plans and algorithms are looked up once a shape.

    ``precision`` is a key of PRECISIONS; float64 is always exact.
    """

    def __init__(self, lt: Any, precision: str = "fp32") -> None:
        self.lt = lt
        self.compute = PRECISIONS[precision]
        self.handle = ctypes.c_void_p()
        self.plans: dict[Any, Plan] = {}
        self.algorithms: dict[Any, Algorithm | None] = {}

    def matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        workspace: Array,
        stream: int,
        epilogue: str = "nothing",
        bias: Array | None = None,
    ) -> bool:
        """out = a b on ``stream``; ``out`` is contiguous, ``a`` and ``b`` are or their transposes.

        ``epilogue`` is a key of EPILOGUES; ``bias`` (columns of out,) is added to each row. Returns
        False, and does nothing, where there is no algorithm. Raises BackendError where cuBLASLt
        refuses anything else.
        """
        if not self.handle:
            self.call("Create", ctypes.byref(self.handle))
        key = (out.dtype.name, operand(b), operand(a), epilogue)
        if key not in self.plans:
            self.plans[key] = self.plan(*key)
        plan = self.plans[key]
        if bias is not None:
            self.set(plan.operation, BIAS_POINTER, pointer(bias))
        # a fast algorithm wants multiples of 16 bytes, where a caller's slice may not lie
        written = alignment(out) if bias is None else alignment(out, bias)
        at = alignment(b), alignment(a), written, written
        if (key, at) not in self.algorithms:
            self.algorithms[key, at] = self.algorithm(plan, at, required=epilogue == "nothing")
        algorithm = self.algorithms[key, at]
        if algorithm is None:
            return False
        number = ctypes.c_float if out.dtype.name == "float32" else ctypes.c_double
        self.call(
            "Matmul",
            self.handle,
            plan.operation,
            ctypes.byref(number(1)),
            pointer(b),
            plan.left,
            pointer(a),
            plan.right,
            ctypes.byref(number(0)),
            pointer(out),
            plan.result,
            pointer(out),
            plan.result,
            ctypes.byref(algorithm.algorithm),
            pointer(workspace),
            ctypes.c_size_t(WORKSPACE_BYTES),
            ctypes.c_void_p(stream),
        )
        return True

    def plan(self, real: str, left: Operand, right: Operand, epilogue: str = "nothing") -> Plan:
        """The descriptors of left right; making them needs no GPU."""
        kind, compute = (FP32, self.compute) if real == "float32" else (FP64, COMPUTE_64F)
        operation = ctypes.c_void_p()
        self.call("MatmulDescCreate", ctypes.byref(operation), compute, kind)
        self.set(operation, TRANS_A, ctypes.c_int(left.transposed))
        self.set(operation, TRANS_B, ctypes.c_int(right.transposed))
        self.set(operation, EPILOGUE, ctypes.c_int(EPILOGUES[epilogue]))
        rows = left.columns if left.transposed else left.rows
        columns = right.rows if right.transposed else right.columns
        result = Operand(rows, columns, False)
        return Plan(operation, *(self.layout(kind, m) for m in (left, right, result)))

    def set(self, operation: ctypes.c_void_p, attribute: int, value: Any) -> None:
        size = ctypes.c_size_t(ctypes.sizeof(value))
        self.call("MatmulDescSetAttribute", operation, attribute, ctypes.byref(value), size)

    def layout(self, kind: int, matrix: Operand) -> ctypes.c_void_p:
        layout = ctypes.c_void_p()
        rows, columns = ctypes.c_uint64(matrix.rows), ctypes.c_uint64(matrix.columns)
        leading = ctypes.c_int64(matrix.rows)
        self.call("MatrixLayoutCreate", ctypes.byref(layout), kind, rows, columns, leading)
        return layout

    def algorithm(
        self, plan: Plan, alignments: tuple[int, ...], *, required: bool
    ) -> Algorithm | None:
        """The one that cuBLASLt thinks is fastest, if it has any.

        ``alignments`` are bytes of whose multiples the matrices A, B, C and D lie. What is not
        ``required`` may be refused for any reason.
        """
        preference = ctypes.c_void_p()
        self.call("MatmulPreferenceCreate", ctypes.byref(preference))
        self.prefer(preference, MAX_WORKSPACE, ctypes.c_uint64(WORKSPACE_BYTES))
        for attribute, n_bytes in zip(ALIGNMENTS, alignments, strict=True):
            self.prefer(preference, attribute, ctypes.c_uint32(n_bytes))
        found, n_found = Algorithm(), ctypes.c_int()
        status = self.lt.cublasLtMatmulAlgoGetHeuristic(
            self.handle,
            plan.operation,
            plan.left,
            plan.right,
            plan.result,
            plan.result,
            preference,
            1,
            ctypes.byref(found),
            ctypes.byref(n_found),
        )
        self.call("MatmulPreferenceDestroy", preference)
        if required and status not in (0, NOT_SUPPORTED):
            raise BackendError(f"cublasLtMatmulAlgoGetHeuristic failed with status {status}")
        return None if status or found.state or not n_found.value else found

    def prefer(self, preference: ctypes.c_void_p, attribute: int, value: Any) -> None:
        size = ctypes.c_size_t(ctypes.sizeof(value))
        place = ctypes.byref(value)
        self.call("MatmulPreferenceSetAttribute", preference, attribute, place, size)

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.lt, f"cublasLt{name}")(*arguments)
        if status:
            raise BackendError(f"cublasLt{name} failed with status {status}")


def operand(array: Array) -> Operand:
    """A contiguous 2-D array, or the transpose of one, as cuBLASLt sees its transpose."""
    rows, columns = array.shape
    if array.flags.c_contiguous:
        return Operand(columns, rows, False)
    if array.flags.f_contiguous:
        return Operand(rows, columns, True)
    raise BackendError("a matrix product wants contiguous matrices or their transposes")


def alignment(*arrays: Array) -> int:
    """The most bytes of which all ``arrays`` begin at a multiple, a power of 2."""
    return math.gcd(MOST_ALIGNMENT, *(array.data.ptr for array in arrays))


def pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.data.ptr)
