"""A picture of a run: loss and accuracy over the epochs, drawn by matplotlib, which is optional."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError, did_you_mean
from ..files import check_writable, write_atomically
from .descent import Row

__all__ = ["check_plot", "plot"]

LABELS = {
    "loss": "training",
    "val_loss": "validation",
    "accuracy": "training",
    "val_accuracy": "validation",
    "test_accuracy": "test",
}


def check_plot(path: Path) -> None:
    """Raise now what ``plot`` would raise later.

    UsageError where matplotlib is missing or cannot draw such a file, OSError where the file
    cannot be written.
    """
    known = new_figure().canvas.get_supported_filetypes()
    if kind_of(path) not in known:
        wanted = did_you_mean(kind_of(path), known)
        raise UsageError(f"{path}: the name says what kind of picture to draw: {wanted}")
    check_writable(path)


def plot(history: Sequence[Row], title: str, path: Path) -> None:
    """Draw the rows of a run into a file, whose kind is what its name ends with, such as .png."""
    figure = new_figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    above.set_title(title)
    draw(above, history, "loss", ("loss", "val_loss"))
    draw(below, history, "accuracy", ("accuracy", "val_accuracy", "test_accuracy"))
    below.set_ylim(0.0, 1.0)
    below.set_xlabel("epoch")
    content = io.BytesIO()
    figure.savefig(content, format=kind_of(path))
    write_atomically(path, content.getvalue())


def draw(axes: Any, history: Sequence[Row], what: str, names: Sequence[str]) -> None:
    """The curves of those of ``names`` that the rows have."""
    axes.set_ylabel(what)
    axes.grid(alpha=0.3)
    for name in names:
        points = [(row["epoch"], row[name]) for row in history if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=LABELS[name], marker=".")
            axes.legend()


def kind_of(path: Path) -> str:
    """What the name ends with, without the dot."""
    return path.suffix.removeprefix(".").lower()


def new_figure(**settings: Any) -> Any:
    """An empty figure that needs no screen."""
    try:
        return importlib.import_module("matplotlib.figure").Figure(**settings)
    except ImportError as error:
        raise UsageError(f"a plot takes matplotlib ({error}): pip install 'xpnet[plot]'") from error
