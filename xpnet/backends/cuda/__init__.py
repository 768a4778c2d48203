"""CUDA: the primitives as kernels of our own, for whatever can launch them.

Nothing here needs a GPU or a library for one: a ``Launcher`` is given. On a GPU it is CuPy's; in
the tests it is a simulator that runs the same source on the CPU.
"""

from .launcher import Launcher
from .ops import CudaOps
from .source import source

__all__ = ["CudaOps", "Launcher", "source"]
