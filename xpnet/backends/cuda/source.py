"""The source of all kernels, as one text for one module."""

from __future__ import annotations

from pathlib import Path

from ...ops import FLUSH_EVERY, TINY

__all__ = ["FILES", "source"]

FOLDER = Path(__file__).parent / "kernels"
FILES = (
    "common.cuh",
    "gather.cu",
    "affine.cu",
    "softmax_xent.cu",
    "sigmoid_xent.cu",
    "counters.cu",
    "random.cu",
    "vector.cu",
    "optimizers.cu",
)


def source() -> str:
    """CUDA C++ that wants REAL to be defined as float or double."""
    constants = f"#define FLUSH_EVERY {FLUSH_EVERY}\n#define TINY {TINY!r}\n"
    return constants + "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in FILES)
