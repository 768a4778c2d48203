"""Faults: a missing GPU and too little memory end in one line, and no checkpoint is harmed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.bench.contest import reason
from xpnet.bench.sections import Section
from xpnet.checkpoint import load_checkpoint
from xpnet.errors import CheckpointError, XpnetError

from .rig import Rig

__all__ = ["SECTION", "wrong"]

ROWS = 2_000_000
TIMES_THE_MEMORY = 1.5
LIMIT_KIB = 8 * 2**20
"""Of the address space, in a rehearsal."""


def xpnet(*arguments: str, prefix: Sequence[str] = (), **variables: str) -> dict[str, Any]:
    """Run the command line to its end: its exit code and what stands on stderr."""
    command = [*prefix, sys.executable, "-m", "xpnet", *arguments]
    environment = {**os.environ, **variables}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    said = [reason(XpnetError(line)) for line in answer.stderr.splitlines() if line.strip()]
    return {"exit code": answer.returncode, "stderr": said}


def wrong(found: Mapping[str, Any], code: int, word: str) -> str:
    """What is not as it should be: the exit code, or the one line of an error at the end."""
    said = found["stderr"]
    if found["exit code"] != code:
        return f"exit code {found['exit code']}, not {code}: {' '.join(said[-1:])[:150]}"
    errors = [line for line in said if line.startswith(("Error: ", "Traceback"))]
    if len(errors) != 1 or said[-1] != errors[0]:
        return f"stderr does not end in the one line of its error: {' / '.join(said[-3:])[:150]}"
    return "" if word.lower() in said[-1].lower() else f"the error says something else: {said[-1]}"


def no_gpu(rig: Rig) -> dict[str, Any]:
    """CUDA_VISIBLE_DEVICES is empty; in a rehearsal CuPy is not installed, or has no GPU."""
    found = xpnet("train", "--backend", "cupy", "--epochs", "1", CUDA_VISIBLE_DEVICES="")
    word = "cupy" if rig.rehearsal else "CUDA_VISIBLE_DEVICES"
    return {**found, "failed": wrong(found, 2, word)}


def no_memory(rig: Rig) -> dict[str, Any]:
    """One batch whose hidden layer alone is larger than the GPU, beside a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        data, saved = Path(folder) / "data.npz", Path(folder) / "checkpoint"
        rng = np.random.default_rng(0)
        n = rig.size(ROWS, 200)
        y = rng.integers(0, 2, n).astype(np.uint8)
        np.savez(data, X=rng.integers(0, 256, (n, 16), dtype=np.uint8), y=y)
        common = ("train", "--backend", rig.name, "--data", str(data), "--epochs", "1",
                  "--batch-size", str(n), "--checkpoint", str(saved))  # fmt: skip
        first = xpnet(*common, "--hidden", "8")
        if first["exit code"]:
            return {**first, "failed": f"the first training: {' '.join(first['stderr'])[:150]}"}
        before = saved.read_bytes()
        found = xpnet(*common, "--hidden", str(too_wide(rig, n)), prefix=limited(rig))
        if failed := wrong_beside(found, saved, before):
            return {**found, "failed": failed}
    return {**found, "checkpoint": "as it was, and readable"}


def wrong_beside(found: Mapping[str, Any], saved: Path, before: bytes) -> str:
    """The same for a training that ran out of memory, and whether its checkpoint is harmed."""
    if failed := wrong(found, 1, "out of memory"):
        return failed
    if saved.read_bytes() != before:
        return "the checkpoint is not as it was"
    try:
        load_checkpoint(saved)
    except CheckpointError as error:
        return f"the checkpoint cannot be read: {reason(error)}"
    return ""


def too_wide(rig: Rig, n: int) -> int:
    """Units of a hidden layer whose outputs for ``n`` samples, or weights, do not fit."""
    if rig.rehearsal:
        return 2**27
    import cupy

    _, total = cupy.cuda.runtime.memGetInfo()
    return int(TIMES_THE_MEMORY * total / (4 * n))


def limited(rig: Rig) -> Sequence[str]:
    """What limits the memory of the process in a rehearsal."""
    return ("sh", "-c", f'ulimit -v {LIMIT_KIB}; exec "$@"', "sh") if rig.rehearsal else ()


def parts(rig: Rig) -> Mapping[str, Any]:
    return {"no GPU": lambda: no_gpu(rig), "out of memory": lambda: no_memory(rig)}


def lines(results: Mapping[str, Any]) -> Sequence[str]:
    shown = []
    for name, found in results.items():
        if "stderr" in found:
            said = " / ".join(found["stderr"])
            kept = f"; the checkpoint is {c}" if (c := found.get("checkpoint")) else ""
            shown.append(f"{name}: exit code {found['exit code']}, {said}{kept}")
    return shown


SECTION = Section("faults", "a missing GPU, and too little memory", 60, parts, lines)
