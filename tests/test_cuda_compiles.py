"""The kernels as NVIDIA's compiler sees them: no GPU and no driver are needed for that."""

import re

import pytest

from xpnet.backends.cuda import source

pytest.importorskip("cupy", reason="needs the wheel of CuPy; CI installs it")
pathfinder = pytest.importorskip("cuda.pathfinder")
try:
    pathfinder.load_nvidia_dynamic_lib("nvrtc")
except pathfinder.DynamicLibNotFoundError:
    pytest.skip("needs NVIDIA's runtime compiler; CI installs it", allow_module_level=True)

from cupy.cuda import nvrtc

MOST_REGISTERS = 65_536 // (3 * 256)
"""As many as leave room for three blocks of 256 threads on a processor."""


def compile_for(architecture, real, text):
    """The cubin and the compiler's log."""
    program = nvrtc.createProgram(text, "kernels.cu", (), ())
    options = (f"-arch={architecture}", "-std=c++17", f"-DREAL={real}", "--ptxas-options=-v")
    try:
        nvrtc.compileProgram(program, options)
        return nvrtc.getCUBIN(program), nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError as error:
        raise AssertionError(nvrtc.getProgramLog(program)) from error
    finally:
        nvrtc.destroyProgram(program)


def figures(log):
    """Registers and bytes spilled of every kernel, by name."""
    registers = re.findall(
        r"Compiling entry function '(\w+)'.*?Used (\d+) registers", log, re.DOTALL
    )
    spills = re.findall(r"(\d+) bytes spill", log)
    return {name: int(n) for name, n in registers}, sum(map(int, spills))


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_every_kernel_compiles_and_keeps_its_numbers_in_registers(architecture, real):
    cubin, log = compile_for(architecture, real, source())
    assert cubin[:4] == b"\x7fELF"
    registers, spilled = figures(log)
    assert len(registers) == source().count('extern "C" __global__ void')
    assert spilled == 0
    assert max(registers.values()) <= MOST_REGISTERS, registers


def test_too_many_registers_and_a_typo_would_be_noticed():
    greedy = (
        'extern "C" __global__ void greedy(REAL* x) { REAL a[200]; int t = threadIdx.x;\n'
        "for (int i = 0; i < 200; i++) a[i] = x[i * 256 + t];\n"
        "for (int k = 0; k < 9; k++)\n"
        "    for (int i = 0; i < 200; i++) a[i] = a[i] * a[(i * 7) % 200] + k;\n"
        "for (int i = 0; i < 200; i++) x[i * 256 + t] = a[i]; }"
    )
    registers, spilled = figures(compile_for("sm_90", "float", greedy)[1])
    assert registers["greedy"] > MOST_REGISTERS or spilled
    with pytest.raises(AssertionError, match="undefined"):
        compile_for("sm_90", "float", source().replace("x = warp_sum(x)", "x = wrap_sum(x)"))
