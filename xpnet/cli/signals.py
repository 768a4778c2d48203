"""Ctrl-C and SIGTERM: in a training, the first one lets a checkpoint be written."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..errors import XpnetError
from ..state import Run

__all__ = ["Stop", "StoppedError", "stop_on_sigterm", "stop_signals"]


class StoppedError(XpnetError):
    """The training was asked to stop by a signal; the exit code is 128 + its number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class Stop:
    """Whether a signal has come: ``signal`` is its number, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def leave_if_asked(self, run: Run, checkpoint: Path | None) -> None:
        """Raise StoppedError if a signal has come."""
        if self.signal is None:
            return
        remedy = (
            f"go on with --checkpoint {checkpoint} --resume"
            if checkpoint
            else ("nothing was saved: --checkpoint FILE would have kept it")
        )
        raise StoppedError(
            f"stopped by {signal.Signals(self.signal).name} after {run.epoch} epochs and "
            f"{run.step} steps; {remedy}",
            self.signal,
        )


def stop_on_sigterm() -> None:
    """From now on SIGTERM raises StoppedError, as Ctrl-C raises KeyboardInterrupt."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise StoppedError("terminated at once: files written before are intact", number)

    signal.signal(signal.SIGTERM, stop)


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Within, the first SIGINT or SIGTERM is remembered; a second one acts at once, as usual."""
    stop = Stop()
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def remember(number: int, _frame: FrameType | None) -> None:
        stop.signal = number
        signal.signal(number, usual[signal.Signals(number)])

    for number in usual:
        signal.signal(number, remember)
    try:
        yield stop
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
