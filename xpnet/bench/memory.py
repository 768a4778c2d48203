"""Peak memory: each contestant trains in a process of its own, which tells how much it took."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

from ..backends import BACKENDS
from ..backends.peers import PEERS
from ..errors import UsageError
from .contestants import OURS, build
from .limit import FLOAT, n_parameters
from .workloads import Workload

__all__ = ["bound", "peak", "peak_of_process"]

STATUS = Path("/proc/self/status")


def bound(workload: Workload) -> int:
    """Bytes of the parameters, their slots, the data and two batches of activations.

    4 ((1 + S) P + 2 m sum of widths) + X + y
    """
    data = workload.dataset()
    m = workload.batches[0]
    P = n_parameters(workload.widths)
    floats = (1 + workload.n_slots) * P + 2 * m * sum(workload.widths)
    return int(FLOAT * floats + data.X.nbytes + data.y.nbytes)


def peak(name: str, workload: Workload) -> int | str:
    """The bytes that ``name`` takes at most beyond an interpreter with its libraries.

    Instead, a reason where it fails or the system does not tell.
    """
    task = json.dumps({"name": name, "workload": dataclasses.asdict(workload)})
    command = [sys.executable, "-m", __name__]
    process = subprocess.run(command, input=task, capture_output=True, text=True, check=False)  # noqa: S603
    if process.returncode:
        return f"failed with exit code {process.returncode}"
    answer = json.loads(process.stdout.splitlines()[-1])
    return "not available on this system" if answer is None else int(answer)


def measure(name: str, workload: Workload) -> int | None:
    """The same within this process, which must be a fresh one."""
    import_library(name)
    before = peak_of_process()
    contestant = build(name, workload)
    for _ in range(2):
        contestant.epoch()
    after = peak_of_process()
    return None if before is None or after is None else after - before


def import_library(name: str) -> None:
    """Load what the contestant stands on, so that it counts as the interpreter's own."""
    entry = PEERS.get(name) or BACKENDS.get(name.removeprefix(OURS))
    if entry is not None:
        importlib.import_module(entry.package)


def peak_of_process() -> int | None:
    """The most memory this process has had resident so far, in bytes; None on Windows.

    On Linux not ``ru_maxrss``: that of a new process starts at the size of its parent.
    """
    if STATUS.exists():
        for line in STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if os.name != "posix":
        return None
    resource = importlib.import_module("resource")
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def main() -> None:
    """Read one task from stdin, measure it, print the bytes."""
    task = json.loads(sys.stdin.read())
    if set(task) != {"name", "workload"}:
        raise UsageError("a task has a name and a workload")
    task["workload"]["widths"] = tuple(task["workload"]["widths"])
    print(json.dumps(measure(task["name"], Workload(**task["workload"]))))


if __name__ == "__main__":
    main()
