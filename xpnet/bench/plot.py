"""Pictures of what was measured, drawn by matplotlib, which is optional."""

from __future__ import annotations

import importlib
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError, did_you_mean
from ..files import check_writable, write_atomically
from .contestants import OURS as XPNET
from .limit import LIMIT
from .record import Measured
from .standing import Standing, ranked, standings
from .sweep import growth
from .workloads import SWEEPS

__all__ = ["check_plot", "plot_sweeps", "plot_workloads"]

OURS, THEIRS, LINE = "#0b6e8f", "#b4b8bd", "#c0392b"
COLOURS = ("#0b6e8f", "#e08e0b", "#3f9c4d", "#7b4ea3", "#55616d", "#b5533c", "#8a8f2a", "#d06fa6")


def check_plot(path: Path) -> None:
    """Raise now what drawing would raise later.

    UsageError where matplotlib is missing or cannot draw such a file, OSError where the file
    cannot be written.
    """
    known = new_figure().canvas.get_supported_filetypes()
    if kind_of(path) not in known:
        wanted = did_you_mean(kind_of(path), known)
        raise UsageError(f"{path}: the name says what kind of picture to draw: {wanted}")
    check_writable(path)


def plot_workloads(measured: Sequence[Measured], clock: str, title: str, path: Path) -> None:
    """Bars for each workload: how many times as long as the matrix products alone each one takes.

    xpnet's bars are blue. What is not ranked is not drawn.
    """
    tables = [ranked(standings(m.workload, m.outcomes, clock)) for m in measured]
    rows, n_bars = -(-len(measured) // 2), max(map(len, tables))
    figure = new_figure(figsize=(10, 0.6 + rows * (1.1 + 0.23 * n_bars)), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06, wspace=0.04)
    words = {"cpu": "CPU time", "wall": "time"}[clock]
    figure.suptitle(
        f"{words} of an epoch, as a multiple of its matrix products alone (the red line)\n{title}",
        fontsize=10,
    )
    grid = figure.subplots(rows, 2 if len(measured) > 1 else 1, squeeze=False)
    for axes, entry, table in zip(grid.flat, measured, tables, strict=False):
        draw_bars(axes, [s for s in table if s.to_limit])
        axes.set_title(entry.workload.name, fontsize=10, loc="left", fontweight="bold", pad=16)
        axes.text(0, 1.02, entry.workload.describe(), fontsize=7, transform=axes.transAxes)
    for axes in grid.flat[len(measured) :]:
        axes.set_visible(False)
    save(figure, path)


def draw_bars(axes: Any, table: Sequence[Standing]) -> None:
    """The contestants of one workload, the fastest above; whiskers span the rounds."""
    ratios = [s.to_limit for s in table if s.to_limit]
    whiskers = [[r.median - r.low for r in ratios], [r.high - r.median for r in ratios]]
    axes.axvline(1.0, color=LINE, linewidth=1, zorder=0)
    axes.barh(
        [s.name for s in table],
        [r.median for r in ratios],
        xerr=whiskers,
        color=[OURS if s.ours else THEIRS for s in table],
        error_kw={"linewidth": 0.8, "ecolor": "#444444"},
        height=0.72,
    )
    axes.invert_yaxis()
    right = max((r.high for r in ratios), default=1.0)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for i, r in enumerate(ratios):
        x = r.high + 0.015 * right
        axes.text(x, i, f"{r.median:.2f}", va="center", fontsize=8, bbox=white)
    axes.set_xlim(0, 1.14 * max(right, 1.0))
    axes.tick_params(labelsize=8)
    for name, label in zip(table, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if name.ours else "normal")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plot_sweeps(measured: Mapping[str, Measured], clock: str, title: str, path: Path) -> None:
    """Lines on logarithmic axes: what a sample costs, by the batch and by the parameters."""
    figure = new_figure(figsize=(10, 4.6), layout="constrained")
    words = {"cpu": "CPU microseconds", "wall": "microseconds"}[clock]
    figure.suptitle(f"{words} a sample takes\n{title}", fontsize=10)
    panels = {sweep: growth(sweep, measured, clock) for sweep in SWEEPS}
    names = dict.fromkeys(name for lines in panels.values() for name in lines)
    styles = styles_of(list(names))
    wheres = {"batch": "samples in a batch", "width": "parameters of the network"}
    for axes, (sweep, lines) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axes.set_xscale("log", base=2 if sweep == "batch" else 10)
        axes.set_yscale("log")
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), label=name, marker=".", **styles[name])
        axes.set_xlabel(wheres[sweep], fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3, linewidth=0.5)
    figure.axes[0].legend(fontsize=8)
    save(figure, path)


def styles_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A line for each contestant: thick for xpnet, dashed for the limit."""
    colours = itertools.cycle(COLOURS)
    styles: dict[str, dict[str, Any]] = {}
    for name in names:
        if name == LIMIT:
            styles[name] = {"color": LINE, "linewidth": 1.2, "linestyle": "--"}
        else:
            width = 2.4 if name.startswith(XPNET) else 1.1
            styles[name] = {"color": next(colours), "linewidth": width}
    return styles


def save(figure: Any, path: Path) -> None:
    """Write the picture, whose kind is what the file's name ends with, such as .png."""
    content = io.BytesIO()
    figure.savefig(content, format=kind_of(path), dpi=90)
    write_atomically(path, content.getvalue())


def kind_of(path: Path) -> str:
    """What the name ends with, without the dot."""
    return path.suffix.removeprefix(".").lower()


def new_figure(**settings: Any) -> Any:
    """An empty figure that needs no screen."""
    try:
        return importlib.import_module("matplotlib.figure").Figure(**settings)
    except ImportError as error:
        raise UsageError(f"a plot takes matplotlib ({error}): pip install 'xpnet[plot]'") from error
