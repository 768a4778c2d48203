"""A sheet: the results of one section of a long measurement, on disk after every part."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import write_atomically

__all__ = ["REHEARSAL", "Sheet", "write_json"]

REHEARSAL = "REHEARSAL: the CPU stood in for a GPU; no figure here is a measurement"


class Sheet:
    """The file ``path``: {section, complete, planned, running, parts, ...}, one result a part.

    A part whose result has ``failed`` went wrong for that reason; ``failed`` of the sheet
    itself says why no part could begin. A sheet that is not complete is gone on with.
    Raises DataError where the file is no sheet, or one of a rehearsal and this is none.
    """

    def __init__(self, path: Path, *, rehearsal: bool = False) -> None:
        self.path = path
        self.began = 0.0
        self.content: dict[str, Any] = {
            **({"REHEARSAL": REHEARSAL} if rehearsal else {}),
            "section": path.stem,
            "complete": False,
            "failed": "",
            "running": "",
            "planned": [],
            "parts": {},
        }
        if path.exists():
            self.content.update(self.read(path))
            if ("REHEARSAL" in self.content) != rehearsal:
                raise DataError(f"{path} is of a rehearsal or this is one: name another folder")

    @staticmethod
    def read(path: Path) -> dict[str, Any]:
        """What the file holds."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content["parts"], dict) and content["section"] == path.stem:
                return dict(content)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} is no sheet of results: remove it ({error!r})") from error
        raise DataError(f"{path} is no sheet of results: remove it")

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """The results so far, by part."""
        parts: dict[str, dict[str, Any]] = self.content["parts"]
        return parts

    @property
    def complete(self) -> bool:
        """Whether every part was tried."""
        return bool(self.content["complete"])

    @property
    def failures(self) -> list[str]:
        """What went wrong: the section's own reason, then that of each part."""
        whole = [self.content["failed"]] if self.content["failed"] else []
        failed = [f"{name}: {r['failed']}" for name, r in self.parts.items() if r.get("failed")]
        return [*whole, *failed]

    @property
    def left(self) -> list[str]:
        """The parts that are planned and were not tried."""
        return [name for name in self.content["planned"] if name not in self.parts]

    def note(self, **facts: Any) -> None:
        """Change entries of the sheet and write it."""
        self.content.update(facts)
        write_json(self.path, self.content)

    def begin(self, part: str) -> None:
        """Say on disk which part is under way: if the process dies, that one did it."""
        self.began = time.monotonic()
        self.note(running=part)

    def end(self, result: Mapping[str, Any]) -> None:
        """Keep the result of the part under way."""
        seconds = round(time.monotonic() - self.began, 3) if self.began else None
        self.parts[self.content["running"]] = {**result, "seconds": seconds}
        self.note(running="")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; a number that is not finite becomes a string."""
    text = json.dumps(standard(content), indent=1, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def standard(value: Any) -> Any:
    """``value`` as JSON knows it."""
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case dict():
            return {str(key): standard(entry) for key, entry in value.items()}
        case list() | tuple():
            return [standard(entry) for entry in value]
    return value
