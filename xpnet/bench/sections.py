"""Sections: a long measurement in processes that may hang or die without losing the rest.

A section is parts, one after the other, in a process of its own with a time limit of its own. Each
result is on disk before the next part begins. A part that raises costs the rest nothing but a new
process, since whatever it left behind, such as a device in a bad state, goes with the old one.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..files import remove_leftovers
from .contest import reason
from .sheet import Sheet

__all__ = ["Section", "carry_out", "end_with_parent", "run_all", "work"]

Part = Callable[[], Mapping[str, Any]]
Say = Callable[[str], Any]

DONE, AGAIN = 0, 75
"""How a section's process ends: nothing is left to do, or the rest wants a new process."""

GRACE = 10.0
"""Seconds until nobody waits any longer for a process that was killed."""


class Section(NamedTuple):
    """``parts`` makes, of what it is given, the parts by name; ``lines`` shows their results.

    ``seconds`` is what the whole section may take.
    """

    name: str
    title: str
    seconds: float
    parts: Callable[[Any], Mapping[str, Part]]
    lines: Callable[[Mapping[str, Any]], Sequence[str]]


# ---- in the section's process ------------------------------------------------------------------


def work(section: Section, sheet: Sheet, given: Any, seconds: float, say: Say) -> int:
    """Carry out the parts that ``sheet`` does not hold yet; the exit code of the process.

    No part begins that, if it took as long as the longest so far, would not end in time. After
    one that raises, or whose result says it is ``spoilt``, the rest wants a new process.
    """
    deadline = time.monotonic() + seconds
    try:
        parts = section.parts(given)
    except Exception as error:  # a library may be missing or broken in any way
        sheet.note(failed=reason(error))
        return DONE
    sheet.note(planned=list(parts), failed="")
    longest = 0.0
    for name, part in parts.items():
        if name in sheet.parts:
            continue
        if time.monotonic() + longest > deadline:
            say(f"{section.name}: no time is left for {name} and what follows")
            return DONE
        say(f"{section.name}: {name}")
        began = time.monotonic()
        sheet.begin(name)
        try:
            result = part()
            sheet.end(result)
        except Exception as error:
            sheet.end({"failed": reason(error)})
            return AGAIN
        if result.get("spoilt"):
            return AGAIN
        longest = max(longest, time.monotonic() - began)
    sheet.note(complete=True)
    return DONE


def end_with_parent() -> None:
    """End this process when its stdin is closed, as it is when the parent dies."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# ---- in the process that starts them -----------------------------------------------------------


def run_all(
    sections: Sequence[Section],
    folder: Path,
    command: Callable[[Section, float], Sequence[str]],
    *,
    seconds: float,
    rehearsal: bool = False,
    least: float = 5.0,
    say: Say = lambda text: None,
) -> None:
    """Carry out the sections whose sheets in ``folder`` are not complete, within ``seconds``.

    ``command`` starts the process of a section that may take so long. Where less than ``least``
    seconds are left the remaining sections are passed over.
    """
    deadline = time.monotonic() + seconds
    todo = []
    for section in sections:
        if Sheet(folder / f"{section.name}.json", rehearsal=rehearsal).complete:
            say(f"{section.name}: is there already (--again {section.name} repeats it)")
        else:
            todo.append(section)
    begun: set[str] = set()
    for section in [*todo, *todo]:  # what did not end in its own time may have what is left over
        sheet = Sheet(folder / f"{section.name}.json", rehearsal=rehearsal)
        if section.name in begun and (sheet.complete or sheet.content["failed"]):
            continue
        begun.add(section.name)
        left = deadline - time.monotonic()
        if left < least:
            say(f"{section.name}: passed over, the time is out")
            continue
        remove_leftovers(sheet.path)
        limit = min(section.seconds, left)
        say(f"{section.name}: {section.title}, at most {limit:.0f} s")
        carry_out(sheet, functools.partial(command, section), limit, say)
        for failure in Sheet(sheet.path, rehearsal=rehearsal).failures:
            say(f"{section.name}: FAILED: {failure}")


def carry_out(
    sheet: Sheet, command: Callable[[float], Sequence[str]], seconds: float, say: Say
) -> None:
    """Run the section's process, anew after each part that failed, until it is done or time is out.

    The part under way when the process dies or is stopped has failed, and the sheet says why.
    """
    rehearsal = "REHEARSAL" in sheet.content
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        code = one_process(command(left), left)
        sheet = Sheet(sheet.path, rehearsal=rehearsal)
        if code == DONE:
            return
        if code == AGAIN:
            continue
        why = f"did not end within {seconds:.0f} s" if code is None else f"died with {ending(code)}"
        say(f"{sheet.path.stem}: {sheet.content['running'] or 'its process'} {why}")
        if not sheet.content["running"]:
            sheet.note(failed=f"its process {why}")
            return
        sheet.end({"failed": why})
        if not sheet.left:
            sheet.note(complete=True)
            return


def one_process(command: Sequence[str], seconds: float) -> int | None:
    """Run it to its end; its exit code, or None where it had to be stopped."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and whatever it started, if it still runs, and let go of it."""
    if process.poll() is None:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:  # it hangs in the kernel, and nobody can help it
            print(f"process {process.pid} cannot be stopped", file=sys.stderr)
    if process.stdin:
        process.stdin.close()


def ending(code: int) -> str:
    """In words: exit code 3, or the name of a signal."""
    try:
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
