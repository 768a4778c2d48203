"""Contestants in processes of their own: one that crashes takes no other with it.

A worker reads one command a line and answers each with one line of JSON. Large arrays travel in
a file. All workers build at the same time; then one after the other trains, and the
worker itself says how long an epoch took.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import XpnetError
from ..types import Array
from .contest import Clock, reason
from .contestants import Contestant
from .workloads import Workload

__all__ = ["Remote", "Troupe", "serve"]

Build = Callable[[Workload, str], Contestant]

GRACE = 2.0
"""Seconds for a killed worker's pipe to end; it does not while a child of the worker's has it."""

LAST_WORDS = 150
"""Characters of what a dead worker wrote last."""


# ---- in the worker -----------------------------------------------------------------------------


def serve(build: Build) -> None:
    """Answer commands from stdin until it is closed; then end at once, whatever is under way.

    ``build`` makes a contestant of a workload and a precision. What libraries print goes
    to stderr.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            commands.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    built: dict[str, Contestant] = {}
    while True:
        command = json.loads(commands.get())
        try:
            answer = obey(command, build, built)
        except Exception as error:  # a library may raise anything
            answer = {"failed": reason(error)}
        print(json.dumps(answer), file=answers, flush=True)


def obey(command: Mapping[str, Any], build: Build, built: dict[str, Contestant]) -> dict[str, Any]:
    """Do one command: build, epoch, parameters or forget."""
    key = command.get("key", "")
    match command["do"]:
        case "build":
            workload = {**command["workload"], "widths": tuple(command["workload"]["widths"])}
            built[key] = build(Workload(**workload), command["precision"])
        case "epoch":
            gc.disable()
            cpu, wall = time.process_time(), time.perf_counter()
            built[key].epoch()
            spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            gc.enable()
            return spent
        case "parameters":
            parameters = built[key].parameters()
            np.savez(command["path"], *(A for pair in parameters for A in pair))
        case "forget":
            built.clear()
            gc.collect()
    return {}


# ---- in the process that measures ----------------------------------------------------------------


class Worker:
    """One process; ``log`` is a file for what it and its libraries print."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.answers.put(line)
        self.answers.put("")

    def tell(self, **command: Any) -> None:
        """Send a command; its answer is to be heard before the next one is sent."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except OSError:  # it is dead, and hear will say so
            pass

    def hear(self, seconds: float) -> dict[str, Any]:
        """The answer; XpnetError where the command failed, the worker died or time ran out."""
        try:
            line = self.answers.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            self.end()
            raise XpnetError(f"no answer within {seconds:.0f} s") from None
        if not line:
            code = self.process.wait()
            raise XpnetError(f"its process died with exit code {code}: {self.last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise XpnetError(answer["failed"])
        return answer

    def last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1][-LAST_WORDS:] if said else "it said nothing"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join(GRACE)
        with contextlib.suppress(OSError):  # what it was told last may not have been read
            if self.process.stdin:
                self.process.stdin.close()


class Troupe:
    """Workers by name, started by ``command`` when they are needed, and anew after one has failed.

    ``patience`` are the seconds that building may take, and that one epoch may take.
    """

    def __init__(self, command: Callable[[str], Sequence[str]], patience: float) -> None:
        self.command = command
        self.patience = patience
        self.folder = tempfile.TemporaryDirectory()
        self.workers: dict[str, Worker] = {}
        self.failures: dict[str, XpnetError] = {}
        self.clock = Clock(lambda: self.spent["cpu"], lambda: self.spent["wall"])
        self.spent = {"cpu": 0.0, "wall": 0.0}
        self.prepared: Any = None

    def __enter__(self) -> Troupe:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End all workers."""
        for worker in self.workers.values():
            worker.end()
        self.folder.cleanup()

    def prepare(self, names: Sequence[str], workloads: Sequence[Workload], precision: str) -> None:
        """Let all build the workloads at the same time; who fails is remembered with the reason.

        What is prepared so already, and nobody was asked for since, stays.
        """
        wanted = list(names), list(workloads), precision
        if self.prepared == wanted:
            return
        self.prepared, self.failures = wanted, {}
        for name in names:
            if name not in self.workers:
                log = Path(self.folder.name) / f"{name}.log"
                self.workers[name] = Worker(self.command(name), log)
        deadline = time.monotonic() + self.patience
        self.all_do(names, deadline, do="forget")
        for workload in workloads:
            self.all_do(
                names, deadline, do="build", key=key_of(workload), precision=precision,
                workload=dataclasses.asdict(workload),
            )  # fmt: skip

    def all_do(self, names: Sequence[str], deadline: float, **command: Any) -> None:
        """Give those that have not failed a command, then wait for all of them."""
        acting = [name for name in names if name not in self.failures]
        for name in acting:
            self.workers[name].tell(**command)
        for name in acting:
            try:
                self.workers[name].hear(deadline - time.monotonic())
            except XpnetError as error:
                self.fail(name, error)

    def ask(self, name: str, **command: Any) -> dict[str, Any]:
        """One worker's answer; the failed one is ended, since its device may be in a bad state."""
        if name in self.failures:
            raise self.failures[name]
        self.workers[name].tell(**command)
        try:
            return self.workers[name].hear(self.patience)
        except XpnetError as error:
            self.fail(name, error)
            raise

    def fail(self, name: str, error: XpnetError) -> None:
        self.failures[name] = error
        self.workers.pop(name).end()

    def build(self, name: str, workload: Workload) -> Remote:
        """The contestant ``name`` as it was prepared; the next round goes on where this one ends.

        Compiling anew for every round would take longer than measuring.
        """
        self.prepared = None
        if name in self.failures:
            raise self.failures[name]
        return Remote(self, name, workload)


class Remote:
    """A contestant in a worker.

    Of large networks no parameters are fetched, unless a few samples are trained on for the judge.
    """

    MOST_PARAMETERS = 2_000_000
    FEW_SAMPLES = 2048

    def __init__(self, troupe: Troupe, name: str, workload: Workload) -> None:
        self.troupe, self.name, self.workload = troupe, name, workload
        self.key = key_of(workload)

    def epoch(self) -> None:
        spent = self.troupe.ask(self.name, do="epoch", key=self.key)
        for clock, seconds in spent.items():
            self.troupe.spent[clock] += seconds

    def parameters(self) -> list[tuple[Array, Array]]:
        large = self.workload.network().n_parameters > self.MOST_PARAMETERS
        if large and self.workload.n > self.FEW_SAMPLES:
            return []
        path = Path(self.troupe.folder.name) / "parameters.npz"
        self.troupe.ask(self.name, do="parameters", key=self.key, path=str(path))
        with np.load(path) as file:
            arrays = [file[f"arr_{k}"] for k in range(len(file.files))]
        return list(zip(arrays[::2], arrays[1::2], strict=True))


def key_of(workload: Workload) -> str:
    """What tells the short training of a workload from the whole one."""
    return f"{workload.name}-{workload.batch_size}-{workload.n}"
