"""The machine: versions, clocks, the speed of memory and what a launch costs."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.bench.sections import Section
from xpnet.errors import BackendError

from .rig import Rig

__all__ = ["SECTION", "libraries", "nvidia_smi"]

FIELDS = (
    "name", "driver_version", "memory.total", "vbios_version", "clocks.sm", "clocks.max.sm",
    "clocks.mem", "clocks.max.mem", "power.limit", "temperature.gpu", "persistence_mode",
    "ecc.mode.current", "mig.mode.current",
)  # fmt: skip
"""What nvidia-smi is asked for; nothing of it tells one machine from another."""


ABOUT_GPUS = ("nvidia-", "cuda-", "cupy", "torch", "jax", "triton", "optax")


def nvidia_smi() -> dict[str, str]:
    """What it says of the first GPU; the reason where it says nothing."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {"nvidia-smi": "not found"}
    answer: dict[str, str] = {}
    for fields in (FIELDS, FIELDS[:3]):  # an old driver refuses all where it lacks one
        answer = ask(program, fields)
        if "nvidia-smi" not in answer:
            break
    return answer


def ask(program: str, fields: Sequence[str]) -> dict[str, str]:
    """The values of these fields."""
    query = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"nvidia-smi": f"failed: {type(error).__name__}"}
    values = [value.strip() for value in answer.stdout.strip().split(",")]
    if answer.returncode or len(values) != len(fields):
        return {"nvidia-smi": f"exit code {answer.returncode}, {len(values)} values"}
    return dict(zip(fields, values, strict=True))


def libraries() -> dict[str, str]:
    """The versions of everything installed that has to do with a GPU."""
    found = {d.name: d.version for d in importlib.metadata.distributions() if d.name}
    return {name: found[name] for name in sorted(found) if name.lower().startswith(ABOUT_GPUS)}


def versions(rig: Rig) -> dict[str, Any]:
    """The GPU as CUDA sees it."""
    if rig.rehearsal:
        return {"gpu": "none, a rehearsal"}
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    return {
        "gpu": properties["name"].decode(),
        "compute capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory bytes": properties["totalGlobalMem"],
        "L2 bytes": properties["l2CacheSize"],
        "CUDA of the driver": runtime.driverGetVersion(),
        "CUDA runtime": runtime.runtimeGetVersion(),
    }


def usable(rig: Rig) -> dict[str, Any]:
    """Whether a kernel runs and two matrices are multiplied rightly."""
    backend = rig.backend()
    A = np.arange(6, dtype=np.float32).reshape(2, 3)
    product = backend.to_numpy(backend.asarray(A) @ backend.asarray(A).T).tolist()
    if product != [[5.0, 14.0], [14.0, 50.0]]:
        raise BackendError(f"the product of two small matrices is wrong: {product}")
    return {"place": backend.place, "version": backend.version}


def launches(rig: Rig) -> dict[str, float]:
    """Microseconds a kernel that adds one number to another, called one by one and replayed."""
    n = rig.size(1000, 10)
    backend: Any = rig.backend()
    total, g = (backend.asarray(np.zeros(1, np.float32)) for _ in range(2))
    ops = backend.ops()

    def one() -> None:
        ops.add(total, g)

    replayed, alone = rig.replay(one, n), rig.replay(one, 1)
    return {
        "one by one": rig.seconds(one, n) * 1e6,
        "in a replayed graph": rig.seconds(replayed, 5) / n * 1e6,
        "a replayed graph of one": rig.seconds(alone, n) * 1e6,
    }


def parts(rig: Rig) -> Mapping[str, Any]:
    smi = {"nvidia-smi": nvidia_smi} if not rig.rehearsal else {}
    return {
        "versions": lambda: versions(rig),
        **smi,
        "usable": lambda: usable(rig),
        "copy": rig.copy_bandwidth,
        "launches": lambda: launches(rig),
    }


def lines(results: Mapping[str, Any]) -> list[str]:
    shown: list[str] = []
    for part in ("versions", "nvidia-smi", "usable"):
        facts = {k: v for k, v in results.get(part, {}).items() if k not in ("seconds", "failed")}
        shown.extend(f"{key}: {value}" for key, value in facts.items())
    if speed := results.get("copy", {}).get("bytes_per_second"):
        shown.append(f"copying on the device: {speed / 1e9:,.0f} GB/s, read and written")
    found = results.get("launches", {})
    shown.extend(
        f"microseconds a kernel, {way}: {found[way]:.2f}"
        for way in ("one by one", "in a replayed graph", "a replayed graph of one")
        if way in found
    )
    return shown


SECTION = Section("machine", "versions, memory and launches", 40, parts, lines)
