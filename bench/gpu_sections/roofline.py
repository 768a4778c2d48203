"""The roofline: what no training of a workload can beat on a GPU, and what binds it."""

from __future__ import annotations

from typing import Any, NamedTuple

from xpnet.bench.limit import bytes_per_epoch
from xpnet.bench.workloads import Workload

from .products import shapes
from .rig import Rig

__all__ = ["Roof", "roof"]

TERA = 1e12

CEILINGS = {"H200": {"fp32": 67 * TERA, "tf32": 400 * TERA, "bf16": 798 * TERA}}
"""FLOP a second by GPU, to compare with: fp32 as specified without tensor cores, the others as
matrix products are expected to reach. What is measured stands in the section of products."""


class Roof(NamedTuple):
    """The least microseconds of a step, by the work and by the bytes; None where unknown.

    ``flops`` and ``bytes`` are those of a step, ``ceiling`` says where the work's speed is from.
    """

    flops: float
    bytes: float
    work: float | None
    memory: float | None
    ceiling: str

    @property
    def microseconds(self) -> float | None:
        return max((t for t in (self.work, self.memory) if t is not None), default=None)

    @property
    def binds(self) -> str:
        """Which of the two takes longer."""
        if self.microseconds is None:
            return "unknown"
        return "work" if self.work == self.microseconds else "memory"


def roof(rig: Rig, workload: Workload, precision: str) -> Roof:
    """From the table for GPUs that are in it; for others from the best product measured here."""
    steps = len(workload.batches)
    flops = sum(
        2 * m * k * n
        for size in workload.batches
        for m, k, n, _ in shapes(workload.widths, size).values()
    )
    moved = bytes_per_epoch(workload).total / workload.passes
    gpu = str(rig.result("machine", "versions").get("gpu", ""))
    known = [ceilings for name, ceilings in CEILINGS.items() if name in gpu]
    if known:
        speed, ceiling = known[0][precision], f"{gpu}'s ceiling"
    else:
        speed, ceiling = best_product(rig, precision) * TERA, "the best product measured here"
    copied = rig.result("machine", "copy").get("bytes_per_second")
    return Roof(
        flops / steps,
        moved / steps,
        flops / steps / speed * 1e6 if speed else None,
        moved / steps / copied * 1e6 if copied else None,
        ceiling,
    )


def best_product(rig: Rig, precision: str) -> float:
    """TFLOP/s of the fastest product that was measured; 0 where none was."""
    found: list[dict[str, Any]] = [r.get(precision, {}) for r in rig.results("products").values()]
    return max((float(r.get("tflops", 0.0)) for r in found), default=0.0)
