"""The sanitizer: NVIDIA's looks at every kernel for races, wrong addresses and unset memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xpnet.bench.contest import reason
from xpnet.bench.sections import Section
from xpnet.errors import XpnetError

from .rig import Rig

__all__ = ["SECTION", "verdict"]

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
PLACES = ("/usr/local/cuda/bin", "/opt/cuda/bin")
FOUND = 86
"""The exit code that says that the tool found something."""

OPTIONS = (
    "--error-exitcode", str(FOUND), "--print-limit", "5",
    "--report-api-errors", "no", "--launch-timeout", "60",
)  # fmt: skip
"""That libraries probe for functions that a driver lacks is no finding, and CuPy raises whatever
else CUDA refuses. Loading them, before the first call to CUDA, may take more than usual."""

MOST_LINES = 12
SUMMARY = re.compile(r"(ERROR|RACECHECK) SUMMARY: (.*)")


def tool() -> str | None:
    """Where compute-sanitizer is."""
    places = os.pathsep.join([os.environ.get("PATH", ""), *PLACES])
    return shutil.which("compute-sanitizer", path=places)


def looked(rig: Rig, program: str | None, name: str) -> dict[str, Any]:
    """What the tool ``name`` says about small trainings with every kernel."""
    script = str(Path(__file__).with_name("every_kernel.py"))
    training = [sys.executable, script, rig.name]
    if program is not None:
        training = [program, "--tool", name, *OPTIONS, *training]
    answer = subprocess.run(training, capture_output=True, text=True, check=False)  # noqa: S603
    return verdict(answer.returncode, answer.stdout + answer.stderr, watched=program is not None)


def verdict(code: int, text: str, *, watched: bool = True) -> dict[str, Any]:
    """The summary, the first lines where something was found, and whether that is a failure.

    A tool that ``watched`` ends with a summary; without one it saw nothing.
    """
    said = [line.lstrip("= ").strip() for line in text.splitlines()]
    summary = next((m[2] for line in said if (m := SUMMARY.search(line))), "")
    result: dict[str, Any] = {"exit code": code, "summary": summary, "failed": ""}
    if code:
        clean = [reason(XpnetError(line)) for line in said if line]
        result["lines"] = clean[:MOST_LINES] if code == FOUND else clean[-MOST_LINES:]
        result["failed"] = summary or f"exit code {code}: {clean[-1] if clean else 'no output'}"
    elif watched and not summary:
        result["failed"] = "it ended without a summary: it did not look at the trainings"
    return result


def parts(rig: Rig) -> Mapping[str, Any]:
    if rig.rehearsal:
        return {"without a tool": lambda: looked(rig, None, "")}
    rig.backend()  # without it nothing can begin
    program = tool()
    if program is None:
        return {"compute-sanitizer": lambda: {"summary": "not found: it comes with CUDA's toolkit"}}
    return {name: lambda n=name: looked(rig, program, n) for name in TOOLS}


def lines(results: Mapping[str, Any]) -> Sequence[str]:
    shown = []
    for name, found in results.items():
        said = found.get("summary") or found.get("failed") or "nothing was found"
        shown.append(f"{name}: {said}")
        shown.extend(f"  {line}" for line in found.get("lines", ()))
    return shown


SECTION = Section("sanitizer", "NVIDIA's sanitizer on every kernel", 120, parts, lines)
