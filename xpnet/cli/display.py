"""How ``xpnet train`` shows a training: a live bar, plain lines, or JSON lines."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..state import Report, Run
from .options import emit, remark

__all__ = ["Display", "choose_display"]


class Display(Protocol):
    """Shows a training while it runs; used as a context manager around it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def say(self, text: str) -> None:
        """A remark that is no result."""

    def segment(self, run: Run, report: Report) -> None:
        """A segment within an epoch is over; the figures are those of the epoch so far."""

    def epoch(self, report: Report) -> None:
        """An epoch is over."""

    def result(self, **result: Any) -> None:
        """The training is over."""


class JsonLines:
    """One JSON object a line on stdout; remarks go to stderr."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def say(self, text: str) -> None:
        remark(text)

    def segment(self, run: Run, report: Report) -> None:
        return None

    def epoch(self, report: Report) -> None:
        emit(event="epoch", **report._asdict())

    def result(self, **result: Any) -> None:
        emit(event="result", **result)


class PlainLines(JsonLines):
    """One line an epoch, for a file or a pipe."""

    def epoch(self, report: Report) -> None:
        print(describe_report(report), flush=True)

    def result(self, **result: Any) -> None:
        print(describe_result(result), flush=True)


class Bar(PlainLines):
    """A live bar on the terminal, with a line above it for each epoch that is over."""

    def __init__(self, epochs: int) -> None:
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(),
            transient=True,
        )
        self.epochs = epochs
        self.task = self.progress.add_task("", epoch=1, figures="", total=epochs)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def segment(self, run: Run, report: Report) -> None:
        self.update(report, run.epoch + run.step / run.epoch_steps)

    def epoch(self, report: Report) -> None:
        self.progress.console.print(describe_report(report), highlight=False)
        self.update(report, report.epoch)

    def update(self, report: Report, epochs_done: float) -> None:
        accuracy = "" if report.train_accuracy is None else f" accuracy {report.train_accuracy:.2%}"
        speed = f"{report.samples_per_second:,.0f} samples/s"
        self.progress.update(
            self.task,
            figures=f"loss {report.train_loss:.4f}{accuracy} {speed}",
            completed=epochs_done,
            epoch=report.epoch,
        )


def choose_display(as_json: bool, epochs: int) -> Display:
    """JSON where asked for, a bar on a terminal, else plain lines."""
    if as_json:
        return JsonLines()
    live = sys.stdout is not None and sys.stdout.isatty() and not Console().is_dumb_terminal
    return Bar(epochs) if live else PlainLines()


def describe_report(report: Report) -> str:
    parts = [f"epoch {report.epoch}", figures("train", report.train_loss, report.train_accuracy)]
    if report.val_loss is not None:
        parts.append(figures("validation", report.val_loss, report.val_accuracy))
    parts.append(f"{report.seconds:.1f} s, {report.samples_per_second:,.0f} samples/s")
    return "  ".join(parts)


def figures(name: str, loss: float, accuracy: float | None) -> str:
    share = "" if accuracy is None else f", accuracy {accuracy:.2%}"
    return f"{name} loss {loss:.4f}{share}"


def describe_result(result: dict[str, Any]) -> str:
    epochs = f"{result['epochs']} epoch{'' if result['epochs'] == 1 else 's'}"
    lines = [
        f"{result['parameters']:,} parameters trained for {epochs} in "
        f"{result['seconds']:.1f} s on {result['backend']} ({result['device']}, {result['dtype']})"
    ]
    if result["test_loss"] is not None:
        lines.append(figures("test", result["test_loss"], result["test_accuracy"]))
    return "\n".join(lines)
