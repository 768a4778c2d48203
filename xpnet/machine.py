"""What a training runs on: the facts that its last bits depend on, and the number of threads."""

from __future__ import annotations

import platform

import threadpoolctl

from .backends import Backend
from .errors import check_count
from .spec import Spec
from .version import __version__

__all__ = ["describe_machine", "limit_threads", "thread_count"]

MAX_THREADS = 2**15  # more than any BLAS has; the number must fit a C int


def limit_threads(n: int) -> None:
    """Let matrix products on the CPU use ``n`` threads from now on."""
    n = min(check_count("threads", n), MAX_THREADS)
    threadpoolctl.threadpool_limits(n, user_api="blas")


def thread_count() -> int | None:
    """How many threads a matrix product on the CPU uses; None where no BLAS tells."""
    counts = [
        pool["num_threads"]
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return max(counts, default=None)


def describe_machine(backend: Backend, ops: str) -> Spec:
    """Backend, versions, processor and threads: where these are equal, so are a run's bits."""
    blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return {
        "backend": backend.name,
        "device": backend.device_name,
        "version": backend.version,
        "xpnet": __version__,
        "ops": ops,
        "precision": backend.precision,
        "threads": thread_count(),
        "processor": platform.machine(),
        "blas": sorted(f"{b['internal_api']} {b['version']} {b.get('architecture')}" for b in blas),
    }
