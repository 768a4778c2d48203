"""Products: whether cuBLASLt takes each of the workloads', how fast and how exactly."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xpnet.bench.sections import Section
from xpnet.bench.table import columns
from xpnet.checks.compare import relative_error
from xpnet.errors import BackendError

from .rig import PRECISIONS, Rig, workloads

__all__ = ["EPILOGUES", "SECTION", "shapes"]

EPILOGUES = {"bias": "identity", "bias+relu": "relu"}
"""What can follow a product within its kernel: the name in the table, and of the activation."""

BOUNDS = {"fp32": 3e-5, "tf32": 2e-3, "bf16": 1e-2}
"""Of the relative error: sums of up to 60,000 terms in float32, and rounded operands, which make
8e-4 and 6e-3 where they are rounded towards 0."""


def shapes(widths: tuple[int, ...], m: int) -> dict[str, tuple[int, int, int, str]]:
    """(rows, inner, columns, which operand is transposed) of each product of a step on ``m``."""
    found = {}
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths), start=1):
        found[f"y{i}"] = (m, n_in, n_out, "")
        found[f"dW{i}"] = (n_in, m, n_out, "left")
        if i > 1:
            found[f"dx{i}"] = (m, n_out, n_in, "right")
    return found


def matrices(backend: Any, shape: tuple[int, int, int, str]) -> tuple[Any, Any]:
    """The operands on the device, transposed as in backpropagation."""
    m, k, n, transposed = shape
    rng = np.random.default_rng(0)

    def put(rows: int, cols: int, turned: bool) -> Any:
        if turned:
            rows, cols = cols, rows
        host = rng.standard_normal((rows, cols), np.float32)
        return backend.asarray(host).T if turned else backend.asarray(host)

    return put(m, k, transposed == "left"), put(k, n, transposed == "right")


def multiply(backend: Any, a: Any, b: Any, out: Any) -> None:
    """out = a b as a step computes it; in a rehearsal by NumPy."""
    launcher = getattr(backend, "launcher", None)
    if launcher is None:
        np.matmul(a, b, out=out)
    else:
        launcher.matmul(a, b, out)


def multiply_and_more(backend: Any, a: Any, b: Any, bias: Any, f: str, out: Any) -> None:
    """out = f(a b + bias) in one; raises BackendError where that is not offered."""
    launcher = getattr(backend, "launcher", None)
    if launcher is None or not launcher.affine(a, b, bias, f, out):
        raise BackendError("not offered: the step takes a kernel of its own")


def measured(rig: Rig, shape: tuple[int, int, int, str]) -> dict[str, Any]:
    """One product in every precision."""
    place = rig.backend()
    a, b = matrices(place, shape)
    exact = place.to_numpy(
        place.xp.astype(a, place.xp.float64) @ place.xp.astype(b, place.xp.float64)
    )
    bias = place.asarray(np.ones(exact.shape[1], np.float32))
    found: dict[str, Any] = {}
    for precision in PRECISIONS:
        backend = rig.backend(precision)
        out = backend.asarray(np.full(exact.shape, np.nan, np.float32))
        calls = {"": functools.partial(multiply, backend, a, b, out)}
        if not shape[3]:
            for name, f in EPILOGUES.items():
                more = functools.partial(multiply_and_more, backend, a, b, bias, f, out)
                calls[f" {name}"] = more
        for name, call in calls.items():
            found[precision + name] = one(rig, call, shape)
            if not name and "refused" not in found[precision]:
                error = relative_error(backend.to_numpy(out), exact)
                found[precision]["error"] = error
    return found


def one(rig: Rig, call: Callable[[], Any], shape: tuple[int, int, int, str]) -> dict[str, Any]:
    """Whether there is an algorithm; microseconds within a replayed graph, and TFLOP/s."""
    try:
        call()
    except BackendError as error:
        return {"refused": str(error)}
    rig.synchronize()
    flops = 2 * shape[0] * shape[1] * shape[2]
    times = rig.size(20 if flops < 10**10 else 3, 2)
    seconds = rig.seconds(rig.replay(call, times), 3) / times
    return {"microseconds": seconds * 1e6, "tflops": flops / seconds / 1e12}


def judged(result: dict[str, Any]) -> dict[str, Any]:
    """The result, and what is wrong with it."""
    wrong = []
    for precision, bound in BOUNDS.items():
        found = result[precision]
        if "refused" in found:
            wrong.append(f"{precision} refused: {found['refused']}")
        elif not found["error"] <= bound:
            wrong.append(f"{precision} is {found['error']:.1e} off, above {bound:.0e}")
    return {**result, "failed": "; ".join(wrong)}


def parts(rig: Rig) -> Mapping[str, Any]:
    """Each shape once, by the first workload and product that has it."""
    rig.backend()  # without it nothing can begin
    named: dict[tuple[int, int, int, str], str] = {}
    for workload in workloads(rig):
        for m in sorted(set(workload.batches), reverse=True):
            for what, shape in shapes(workload.widths, m).items():
                named.setdefault(shape, f"{workload.name} {what}")

    def part(shape: tuple[int, int, int, str]) -> dict[str, Any]:
        return {**judged(measured(rig, shape)), "spoilt": rig.spoilt()}

    return {
        f"{what} {m}x{k}x{n}": functools.partial(part, (m, k, n, turned))
        for (m, k, n, turned), what in named.items()
    }


def lines(results: Mapping[str, Any]) -> list[str]:
    rows = [["product", "precision", "us", "TFLOP/s", "error"]]
    refused = []
    for part, result in results.items():
        for kind, found in result.items():
            if not isinstance(found, dict):
                continue
            if "refused" in found:
                refused.append(f"{part} {kind}: {found['refused']}")
                continue
            error = f"{float(found['error']):.0e}" if "error" in found else ""
            rows.append(
                [part, kind, f"{found['microseconds']:.2f}", f"{found['tflops']:.2f}", error]
            )
    return [*(columns(rows) if len(rows) > 1 else ()), *refused]


SECTION = Section("products", "each product of the workloads, by cuBLASLt", 60, parts, lines)
