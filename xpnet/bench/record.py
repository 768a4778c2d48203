"""The record of a measurement: a folder with log, results, environment and pictures.

No file in it says on whose machine it was made: no path and no name of a host.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import threadpoolctl

from ..backends import BACKENDS
from ..backends.peers import PEERS
from ..errors import DataError, UsageError
from ..files import write_atomically
from ..version import __version__
from .contest import Outcome, Timing
from .limit import Bytes
from .workloads import Workload

__all__ = ["Measured", "Record", "Setup", "commit", "environment"]


class Setup(NamedTuple):
    """How it was measured, on which share of the samples; it is only resumed with the same."""

    contestants: tuple[str, ...]
    rounds: int
    epochs: int
    threads: int
    clock: str
    share: float = 1.0


class Measured(NamedTuple):
    """One workload, measured: the outcomes, and the limits that are computed.

    ``moved`` is what an epoch must move, ``bandwidth`` how many bytes a second this machine moves
    when a step's memory is copied. ``memory`` are the peaks in bytes, where they were measured,
    and ``memory_bound`` what they are compared with.
    """

    workload: Workload
    outcomes: list[Outcome]
    moved: Bytes
    bandwidth: float
    memory: dict[str, int | str] | None = None
    memory_bound: int = 0


class Record:
    """The files in ``folder``, written anew after every workload; None keeps no files."""

    def __init__(self, folder: Path | None, setup: Setup, *, resume: bool = False) -> None:
        self.folder = folder
        self.setup = setup
        self.measured: dict[str, Measured] = {}
        if folder is None:
            return
        path = folder / "results.json"
        if resume and path.exists():
            self.measured = self.read(path)
        elif path.exists():
            raise UsageError(f"{path} is there already: name another folder, or --resume it")
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, path: Path) -> dict[str, Measured]:
        """What was measured before; UsageError where that was done in another way."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            before = Setup(
                **{**content["setup"], "contestants": tuple(content["setup"]["contestants"])}
            )
            measured = {name: measured_of(entry) for name, entry in content["measured"].items()}
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: no results of this version: {error}") from error
        for what, here, there in zip(Setup._fields, self.setup, before, strict=True):
            if here != there:
                raise UsageError(f"{path} was measured with {what} {there}, not {here}")
        return measured

    def add(self, measured: Measured) -> None:
        """Keep what was measured."""
        self.measured[measured.workload.name] = measured
        self.write(
            "results.json",
            {
                "setup": self.setup._asdict(),
                "measured": {name: json_of(entry) for name, entry in self.measured.items()},
            },
        )

    def write(self, name: str, content: Any) -> None:
        """Write JSON, or a text as it is, into the folder."""
        if self.folder is not None:
            text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
            write_atomically(self.folder / name, text.encode())


def json_of(measured: Measured) -> dict[str, Any]:
    outcomes = [
        {**o._asdict(), "rounds": [[list(timing) for timing in r] for r in o.rounds]}
        for o in measured.outcomes
    ]
    return {
        **measured._asdict(),
        "workload": dataclasses.asdict(measured.workload),
        "outcomes": outcomes,
        "moved": measured.moved._asdict(),
    }


def measured_of(entry: Mapping[str, Any]) -> Measured:
    """The inverse of ``json_of``."""
    workload = {**entry["workload"], "widths": tuple(entry["workload"]["widths"])}
    outcomes = [
        Outcome(**{**o, "rounds": [[Timing(*timing) for timing in r] for r in o["rounds"]]})
        for o in entry["outcomes"]
    ]
    return Measured(
        **{
            **entry,
            "workload": Workload(**workload),
            "outcomes": outcomes,
            "moved": Bytes(**entry["moved"]),
        }
    )


def environment(threads: int) -> dict[str, Any]:
    """What was measured on: processor, threads, system and versions."""
    blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return {
        "xpnet": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "blas": sorted(
            {f"{b['internal_api']} {b['version']} {b.get('architecture')}" for b in blas}
        ),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions of all libraries that take part and are installed, by distribution."""
    packages = {entry.package for entry in BACKENDS.values()}
    packages |= {entry.package for entry in PEERS.values()}
    owners = importlib.metadata.packages_distributions()
    names = {name for package in packages for name in owners.get(package, ())}
    return {name: importlib.metadata.version(name) for name in sorted(names)}


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit(root: Path) -> dict[str, Any]:
    """The commit of the checkout at ``root`` and whether files differ from it; empty elsewhere."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {}
