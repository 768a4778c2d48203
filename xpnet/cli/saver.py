"""When ``xpnet train`` writes a checkpoint, and what it resumes from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..backends import Backend
from ..checkpoint import Checkpoint, Model, load_checkpoint, save_checkpoint
from ..errors import CheckpointError, UsageError
from ..files import check_writable, remove_leftovers
from ..optim import OPTIMIZERS
from ..spec import Spec
from ..state import Run, to_host

__all__ = ["Saver"]


class Saver:
    """Writes checkpoints to ``path``, if there is one.

    ``remarks`` are what the user should know about the start.
    """

    def __init__(self, path: Path | None, every: float, machine: Spec, *, resume: bool) -> None:
        self.path = path
        self.every = every
        self.machine = machine
        self.resume = resume
        self.remarks: list[str] = []
        self.written = time.monotonic()
        if path is not None:
            check_writable(path)
            remove_leftovers(path)
        elif resume:
            raise UsageError("--resume needs --checkpoint FILE: which one to go on from")

    def start(self, config: Spec) -> Run | None:
        """The Run to go on from, or None; UsageError where it was made with another ``config``."""
        if self.path is None or not self.path.exists():
            return None
        if self.resume:
            return self.read(self.path, config)
        self.remarks.append(f"starting anew: {self.path} will be replaced (--resume would go on)")
        return None

    def read(self, path: Path, config: Spec) -> Run:
        """The Run in the checkpoint at ``path``."""
        checkpoint = load_checkpoint(path)
        check_same(path, config, checkpoint.model.config)
        optimizer = OPTIMIZERS[config["options"]["optimizer"]]
        if len(checkpoint.run.state.slots) != optimizer.n_slots:
            raise CheckpointError(f"{path}: its training state does not fit its optimizer")
        for name, here, there in differences(self.machine, checkpoint.machine):
            self.remarks.append(
                f"note: {name} was {there} and is {here}: the last bits of the weights may differ"
            )
        return checkpoint.run

    def due(self, run: Run) -> bool:
        """Whether it is time: after every epoch, and ``every`` seconds."""
        return run.step == 0 or time.monotonic() - self.written >= self.every

    def save(self, backend: Backend, run: Run, model: Model) -> None:
        """Write a checkpoint, if there is a path."""
        if self.path is not None:
            save_checkpoint(self.path, Checkpoint(model, to_host(backend, run), self.machine))
            self.written = time.monotonic()


WHERE_THE_DATA_WERE = ("data.path", "data.labels")
"""The same samples in another place are the same data."""


def check_same(path: Path, here: Spec, there: Spec) -> None:
    """Raise UsageError where the config ``there``, in the file ``path``, is not that ``here``."""
    found = [entry for entry in differences(here, there) if entry[0] not in WHERE_THE_DATA_WERE]
    if not found:
        return
    name, mine, theirs = min(found, key=lambda entry: rank(entry[0]))
    if name.startswith("data"):
        mine, theirs = describe_data(here.get("data")), describe_data(there.get("data"))
        raise UsageError(
            f"{path} was made with other data: {theirs} there and {mine} here; "
            "give the data of the first run, or start anew without --resume"
        )
    _, is_option, option = name.partition("options.")
    what = "--" + option.replace("_", "-") if is_option else name
    raise UsageError(
        f"{path} was made with other options: {what} is {theirs} there and {mine} here; "
        "repeat the options of the first run, or start anew without --resume"
    )


def rank(name: str) -> int:
    """The order in which differences are told: first what others follow from."""
    if name == "options.classes":  # where they are not given, the data decide
        return 3
    if name == "data":  # a file here, and MNIST there
        return 0
    return {"options": 1, "data": 2}.get(name.partition(".")[0], 4)


def describe_data(spec: Any) -> str:
    """What tells data from others, in a few words."""
    if not isinstance(spec, dict):
        return str(spec)
    return f"{spec.get('path')} ({spec.get('samples')} samples, SHA-256 {spec.get('sha256')!s:.8})"


def differences(here: Any, there: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The entries of two nested JSON values that differ, with their dotted names."""
    if isinstance(here, dict) and isinstance(there, dict):
        for key in {**here, **there}:
            yield from differences(here.get(key), there.get(key), f"{name}.{key}".strip("."))
    elif here != there:
        yield name, here, there
