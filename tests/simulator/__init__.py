"""CUDA kernels on the CPU: compiled by g++ with ``simulator.hpp``, called on NumPy arrays."""

import ctypes
import pathlib
import re
import shutil
import subprocess
from contextlib import contextmanager
from functools import partial

import numpy as np

from xpnet.activations import ACTIVATIONS
from xpnet.backends.cuda import source

__all__ = ["COMPILER", "KernelError", "Simulator"]

HERE = pathlib.Path(__file__).parent
COMPILER = shutil.which("g++")
KERNEL = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(([^)]*)\)', re.DOTALL
)
GUARD = 1024
CLEAN = b"\xff" * (2 * GUARD)
REALS = {"float32": "float", "float64": "double"}
RESULTS = {1: "not all threads reach a barrier", 2: "wrote past its shared memory"}


class KernelError(AssertionError):
    """A kernel did what it must not do."""


class Simulator:
    """A launcher like a GPU's: arrays are NumPy's, and new ones are full of NaN.

    ``mutate`` may change the source: a test of the tests. Every launch draws its order of
    threads from the next seed. ``fuses`` are the activations that its products can end with.
    With ``late`` what is launched aside is done when it must be, and not before.
    """

    def __init__(self, folder, mutate=lambda text: text, reals=tuple(REALS)):
        self.seed = 0
        self.late = self.apart = False
        self.waiting = []
        self.fuses = ()
        self.launched = []
        text = mutate(source())
        self.parameters = {name: parameters.split(",") for name, parameters in KERNEL.findall(text)}
        self.libraries = {np.dtype(name): compiled(folder, text, REALS[name]) for name in reals}

    def empty(self, shape, dtype):
        """NaN, or -1, between two guards that no kernel may write to."""
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = bytearray(b"\xff" * (GUARD + n_bytes + GUARD))
        return np.ndarray(shape, dtype, buffer=memory, offset=GUARD)

    @contextmanager
    def aside(self, *_):
        """At once or, with ``late``, as late as it may be: within ``join``."""
        self.apart = self.late
        yield
        self.apart = False

    def join(self):
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()

    def matmul(self, a, b, out):
        if self.apart:
            self.waiting.append(partial(self.multiply, a, b, out))
        else:
            self.multiply(a, b, out)

    def multiply(self, a, b, out):
        """Exact but for the last rounding: it is the kernels that are tested."""
        out[...] = np.matmul(a, b, dtype=np.float64)

    def affine(self, x, W, b, f, out):
        if f in self.fuses:
            z = np.matmul(x, W, dtype=np.float64) + b
            out[...] = ACTIVATIONS[f].function(np, z)
        return f in self.fuses

    def launch(self, *args, **options):
        if self.apart:
            self.waiting.append(partial(self.run, *args, **options))
        else:
            self.run(*args, **options)

    def run(self, real, name, grid, block, arguments, shared=0):
        self.seed += 1
        self.launched.append(name)
        check_kinds(name, arguments, self.parameters[name])
        triple = ctypes.c_uint * 3
        result = getattr(self.libraries[np.dtype(real)], f"run_{name}")(
            triple(*grid, *(1,) * (3 - len(grid))),
            triple(*block, *(1,) * (3 - len(block))),
            ctypes.c_size_t(shared),
            ctypes.c_uint(self.seed),
            *map(as_c, arguments),
        )
        if result:
            raise KernelError(f"{name}: {RESULTS[result]}")
        for argument in arguments:
            check_guards(name, argument)


def check_kinds(name, arguments, parameters):
    """Raise KernelError unless pointers get arrays and numbers get numbers: C would take either."""
    given = [not isinstance(argument, np.generic) for argument in arguments]
    if given != ["*" in parameter for parameter in parameters]:
        raise KernelError(f"{name}: an array for a number, a number for an array, or too few")


def check_guards(name, argument):
    """Raise KernelError where there is something in the guards of an array's memory."""
    memory = argument
    while isinstance(memory, np.ndarray):
        memory = memory.base
    if isinstance(memory, bytearray) and memory[:GUARD] + memory[-GUARD:] != CLEAN:
        raise KernelError(f"{name}: wrote past an array")


def compiled(folder, text, real):
    """The kernels for ``real``, and for each a function that runs it, as a library."""
    lines = [f"#define REAL {real}", f'#include "{HERE / "simulator.hpp"}"', text]
    for name, parameters in KERNEL.findall(text):
        names = [part.split()[-1].lstrip("*") for part in parameters.split(",")]
        lines.append(
            f'extern "C" int run_{name}(const unsigned* grid_, const unsigned* block_, '
            f"size_t bytes_, unsigned seed_, {parameters}) {{\n"
            f"    simulator::kernel = [=] {{ {name}({', '.join(names)}); }};\n"
            "    return simulator::launch({grid_[0], grid_[1], grid_[2]}, "
            "{block_[0], block_[1], block_[2]}, bytes_, seed_, (char*)shared);\n}"
        )
    path = pathlib.Path(folder) / f"kernels_{real}.cpp"
    path.write_text("\n".join(lines))
    library = path.with_suffix(".so")
    command = [COMPILER, "-O1", "-std=c++17", "-shared", "-fPIC", "-ffp-contract=off"]
    command += ["-Wno-unknown-pragmas", path, "-o", library]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return ctypes.CDLL(str(library))


def as_c(argument):
    """What C gets: a pointer, or a number of just the type it was given as."""
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous, "kernels know no strides"
        return ctypes.c_void_p(argument.ctypes.data)
    kinds = {"int32": ctypes.c_int, "float32": ctypes.c_float, "float64": ctypes.c_double}
    return kinds[argument.dtype.name](argument.item())
