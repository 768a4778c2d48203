"""Accuracy: from the start of a process to a saved model that reads 98 % of the test images."""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xpnet.bench.sections import Section
from xpnet.bench.table import columns
from xpnet.errors import XpnetError

from .rig import Rig

__all__ = ["SECTION"]

WANTED = 0.98
ROUNDS = 3


def command_of(name: str, rig: Rig, path: str) -> list[str]:
    """What starts the training; its last line is JSON with the accuracy."""
    script = str(Path(__file__).resolve().parents[1] / "to_accuracy.py")
    short = ["--epochs", "1"] if rig.rehearsal else []
    if name == "torch":
        return [sys.executable, script, "--only", name, "--device", rig.device, *short, path]
    small = [*short, "--hidden", "16", "--batch-size", "1000"] if rig.rehearsal else []
    train = [sys.executable, "-m", "xpnet", "train", "--backend", rig.name, "--json", *small]
    return [*train, "--save", path]


def finished(name: str, rig: Rig) -> dict[str, Any]:
    """Seconds on the wall of each of some processes, and the lowest accuracy."""
    to_accuracy = importlib.import_module("to_accuracy")
    runs = []
    for _ in range(rig.size(ROUNDS, 1)):
        with tempfile.TemporaryDirectory() as folder:
            command = command_of(name, rig, str(Path(folder) / "model"))
            runs.append(one(to_accuracy, command))
    worst = min(run.accuracy for run in runs)
    short = "" if worst >= WANTED or rig.rehearsal else f"reached {worst:.2%}, not {WANTED:.0%}"
    return {
        "first": runs[0].wall,
        "wall": [run.wall for run in runs],
        "accuracy": worst,
        "epochs": runs[0].epochs,
        "failed": short,
    }


def one(to_accuracy: Any, command: list[str]) -> Any:
    """One process; XpnetError with the last line of stderr where it fails."""
    try:
        return to_accuracy.timed(command, dict(os.environ))
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if said else "it said nothing"
        raise XpnetError(f"exit code {error.returncode}: {why}") from error


def parts(rig: Rig) -> Mapping[str, Any]:
    rig.backend()  # without it nothing can begin
    return {name: lambda n=name: finished(n, rig) for name in (f"xpnet-{rig.name}", "torch")}


def lines(results: Mapping[str, Any]) -> Sequence[str]:
    rows = [["contestant", "first s", "median s", "accuracy", "epochs"]]
    for name, found in results.items():
        if "wall" in found:
            times = found["first"], statistics.median(found["wall"])
            reached = f"{found['accuracy']:.2%}", str(found["epochs"])
            rows.append([name, *(f"{t:.1f}" for t in times), *reached])
    return list(columns(rows)) if len(rows) > 1 else []


SECTION = Section("accuracy", "from nothing to a saved model of 98 %", 60, parts, lines)
