"""The rig: the GPU that everything is measured on, or in a rehearsal the CPU that stands in."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.backends import Backend
from xpnet.bench.limit import bandwidth
from xpnet.bench.sheet import Sheet
from xpnet.bench.workloads import Workload

__all__ = ["PRECISIONS", "Rehearsal", "Rig", "rig_of", "workloads"]

PRECISIONS = ("fp32", "tf32", "bf16")
DEEP = (784, 256, 128, 10)


class Rig:
    """A GPU with CuPy. ``folder`` holds the sheets of the other sections."""

    rehearsal = False
    name = "cupy"
    device = "cuda"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def backend(self, precision: str = "fp32", graph: str = "auto") -> Backend:
        """xpnet's backend with that precision of its products and that use of CUDA graphs."""
        backend: Any = backends.get(self.name)
        if (precision, graph) == ("fp32", "auto"):
            return backend
        return backend.configured(precision=precision, graph=graph)

    def size(self, large: int, small: int) -> int:
        """``large`` on a GPU, ``small`` in a rehearsal."""
        return large

    def synchronize(self) -> None:
        import cupy

        cupy.cuda.runtime.deviceSynchronize()  # sync: the clock is to be read

    def spoilt(self) -> bool:
        """Whether the GPU computes no more in this process, as after a wrong address."""
        try:
            self.synchronize()
        except Exception:  # whatever CUDA calls it: it says so at every call from then on
            return True
        return False

    def seconds(self, call: Callable[[], Any], times: int, rounds: int = 3) -> float:
        """Of one call, when ``times`` follow each other: the median of some rounds, after one."""
        spent = []
        for _ in range(rounds + 1):
            self.synchronize()
            began = time.perf_counter()
            for _ in range(times):
                call()
            self.synchronize()
            spent.append((time.perf_counter() - began) / times)
        return float(np.median(spent[1:]))

    def replay(self, call: Callable[[], Any], times: int) -> Callable[[], Any]:
        """What does ``times`` calls as one CUDA graph. The calls must allocate nothing."""
        import cupy

        call()  # compiled, and every library's memory had, before it is captured
        stream = cupy.cuda.Stream(non_blocking=True)  # others may use the default stream meanwhile
        with stream:
            stream.begin_capture()
            try:
                for _ in range(times):
                    call()
            except BaseException:
                with contextlib.suppress(Exception):  # a failed capture fails again at its end
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        return lambda: graph.launch(cupy.cuda.get_current_stream())

    def copy_bandwidth(self) -> dict[str, float]:
        """Bytes a second, read and written, while a large array is copied onto another."""
        import cupy

        free, _ = cupy.cuda.runtime.memGetInfo()
        n = min(2**30, free // 8)
        source, target = cupy.ones(n, np.uint8), cupy.empty(n, np.uint8)
        seconds = self.seconds(lambda: cupy.copyto(target, source), 20)
        return {"bytes": n, "bytes_per_second": 2 * n / seconds}

    def memory(self) -> dict[str, int]:
        """Bytes in use on the device, and what CuPy's pool holds and has handed out."""
        import cupy

        self.synchronize()
        free, total = cupy.cuda.runtime.memGetInfo()
        pool = cupy.get_default_memory_pool()
        return {
            "in use on the device": total - free,
            "held by the pool": pool.total_bytes(),
            "handed out": pool.used_bytes(),
        }

    def results(self, section: str) -> dict[str, dict[str, Any]]:
        """What another section found so far, by part."""
        return Sheet(self.folder / f"{section}.json", rehearsal=self.rehearsal).parts

    def result(self, section: str, part: str) -> dict[str, Any]:
        """One of these; empty where there is none."""
        return self.results(section).get(part, {})


class Rehearsal(Rig):
    """NumPy in CuPy's place, and everything tiny: it shows that the sections work."""

    rehearsal = True
    name = "numpy"
    device = "cpu"

    def backend(self, precision: str = "fp32", graph: str = "auto") -> Backend:
        backend = backends.get(self.name)
        if graph == "never":
            backend = copy.copy(backend)
            backend.compile = lambda build, reference=False: build(backend.ops())  # type: ignore[method-assign]
        return backend

    def size(self, large: int, small: int) -> int:
        return small

    def synchronize(self) -> None:
        pass

    def replay(self, call: Callable[[], Any], times: int) -> Callable[[], Any]:
        def replayed() -> None:
            for _ in range(times):
                call()

        return replayed

    def copy_bandwidth(self) -> dict[str, float]:
        n = 2**20
        return {"bytes": n, "bytes_per_second": bandwidth(2 * n, seconds=0.01)}

    def memory(self) -> dict[str, int]:
        return {"in use on the device": 0, "held by the pool": 0, "handed out": 0}


def rig_of(folder: Path, rehearsal: bool) -> Rig:
    return Rehearsal(folder) if rehearsal else Rig(folder)


def workloads(rig: Rig) -> Sequence[Workload]:
    """The trainings whose speed counts; an epoch is some milliseconds at least."""
    if rig.rehearsal:
        return (
            Workload("classic-adamw", (784, 8, 10), "relu", 32, "adamw", 1e-3, 80),
            Workload("full", (784, 10, 10), "relu", 64, "sgd", 0.1, 64, passes=2),
        )
    return (
        Workload("classic-adamw", DEEP, "relu", 128, "adamw", 1e-3, 60_000),
        Workload("classic-momentum", DEEP, "relu", 128, "momentum", 0.1, 60_000),
        Workload("full", (784, 10, 10), "relu", 60_000, "sgd", 0.1, 60_000, passes=20),
        Workload("online", (784, 200, 10), "sigmoid", 1, "sgd", 0.1, 1_000),
        Workload("wide-gpu", (784, 4096, 4096, 10), "relu", 8192, "adamw", 1e-3, 60_000),
    )
