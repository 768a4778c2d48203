"""``xpnet recipe``: five networks that did not learn, what was wrong, broken and fixed runs."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError, XpnetError, check_count
from ..random import check_seed
from ..recipes import RECIPES, Recipe, Run
from ..recipes.plot import check_plot, plot
from .options import FILE, Commands, Name, Number, Texts, common, emit, place_of, where

__all__ = ["recipe"]

NAME = Name("recipe", RECIPES)
MOST_LINES = 20


@click.group(cls=Commands)
def recipe() -> None:
    """Five networks people wrote from scratch that did not learn: why, broken and fixed."""


@recipe.command("list")
@common
def list_recipes(as_json: bool) -> None:
    """The recipes, each with its question."""
    for entry in RECIPES.values():
        if as_json:
            emit(event="recipe", recipe=entry.name, question=entry.question, bugs=names(entry))
        else:
            click.echo(f"{entry.name:<20} {entry.question}")


@recipe.command()
@click.argument("name", type=NAME, metavar="NAME")
@common
def show(name: str, as_json: bool) -> None:
    """What NAME is, what was posted, and what is truly wrong with it."""
    entry = RECIPES[name]
    if as_json:
        emit(
            event="recipe",
            recipe=entry.name,
            question=entry.question,
            facts=entry.facts,
            posted=entry.posted,
            answer=entry.answer,
            bugs=[vars(bug) for bug in entry.bugs],
            forensics=entry.forensics,
            bands={v: [band._asdict() for band in bands] for v, bands in entry.bands.items()},
            epochs=entry.epochs,
        )
    else:
        click.echo("\n".join(page(entry)))


@recipe.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.option("--broken", is_flag=True, help="With all posted mistakes; this is the default.")
@click.option("--fixed", is_flag=True, help="With xpnet's own engine.")
@click.option("--only", type=Texts(), metavar="BUG,...", help="With these mistakes alone.")
@click.option("--without", type=Texts(), metavar="BUG,...", help="With all posted but these.")
@click.option("--epochs", type=Number(int, check_count), help="[default: the recipe's]")
@click.option(
    "--seed",
    type=Number(int, lambda _flag, seed: check_seed(seed)),
    help="Of the initial weights.  [default: 0]",
)
@click.option(
    "--plot",
    "picture",
    type=FILE,
    metavar="FILE",
    help="Draw loss and accuracy over the epochs, such as run.png.",
)
@where
@common
def run(
    name: str,
    broken: bool,
    fixed: bool,
    only: tuple[str, ...] | None,
    without: tuple[str, ...] | None,
    epochs: int | None,
    seed: int | None,
    picture: Path | None,
    backend: str,
    device: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Run NAME; exit code 1 if it does not end where it should.

    Where it should end is known for --broken and --fixed as they are; with --only, --without,
    --epochs or --seed any end will do.
    """
    given = {"broken": broken, "fixed": fixed, "only": only, "without": without}
    variants = [variant for variant, value in given.items() if value] or ["broken"]
    if len(variants) > 1:
        flags = " and ".join(f"--{variant}" for variant in variants)
        raise UsageError(f"{flags} exclude each other: choose one")
    [variant] = variants
    entry = RECIPES[name]
    entry.chosen(only, without)  # a wrong name of a bug comes before a missing backend
    place = place_of(backend, device, threads, entry.dtype["fixed" if fixed else "broken"])
    started = entry.run(
        variant, bugs=only or without or (), backend=place, epochs=epochs, seed=seed
    )
    if picture:
        check_plot(picture)
    follow(started, as_json)
    if picture:
        plot(started.history, f"{name}, {variant}", picture)
    if started.in_band is False:
        missed = ", ".join(
            f"{band.figure} {started.outcome[band.figure]} (expected {band.low} to {band.high})"
            for band in started.missed
        )
        raise XpnetError(f"{name}, {variant}, ended outside its band: {missed}")


def follow(started: Run, as_json: bool) -> None:
    """Print a run while it runs: rows and result as JSON, or about ``MOST_LINES`` lines."""
    entry, variant = started.recipe.name, started.variant
    if as_json:
        emit(
            event="start",
            recipe=entry,
            variant=variant,
            bugs=sorted(started.bugs),
            backend=started.place.name,
            epochs=started.epochs,
            seed=started.seed,
        )
        for row in started:
            emit(event="epoch", **row)
        emit(
            event="result",
            recipe=entry,
            variant=variant,
            in_band=started.in_band,
            outcome=started.outcome,
        )
        return
    every = max(1, started.epochs // MOST_LINES)
    due = 0
    for row in started:
        if row["epoch"] >= due or row["epoch"] == started.epochs:
            click.echo(describe(row))
            due += every
    verdict = {True: "in its band", False: "OUTSIDE ITS BAND", None: "no band for this run"}
    click.echo(f"{entry}, {variant}: {describe(started.outcome)}; {verdict[started.in_band]}")


def describe(figures: dict[str, Any]) -> str:
    """Figures in words: shares in percent, the rest with six digits."""
    return "  ".join(f"{name.replace('_', ' ')} {figure(name, v)}" for name, v in figures.items())


def figure(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(figure("", v) for v in value) + "]"
    if isinstance(value, int):
        return str(value)
    return f"{value:.2%}" if "accuracy" in name else f"{value:.6g}"


def names(entry: Recipe) -> list[str]:
    return [bug.name for bug in entry.bugs]


def page(entry: Recipe) -> list[str]:
    """``show`` for people: lines that fit the terminal, and 100 columns at most."""
    width = min(shutil.get_terminal_size().columns, 100)

    def item(text: str, indent: str = "  ", first: str = "  ") -> list[str]:
        return textwrap.wrap(
            text, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
        )

    lines = [*item(f"{entry.name}: {entry.question}", first=""), ""]
    for name, fact in entry.facts.items():
        lines += item(f"{name}: {fact}", "    ")
    lines += ["", "What was posted"]
    for text in entry.posted:
        lines += item(text, "    ")
    lines += ["", "What the thread made of it", *item(entry.answer)]
    lines += ["", "What is truly wrong"]
    for bug in entry.bugs:
        apart = "" if bug.in_broken else "; not part of --broken"
        lines += [f"  {bug.name} (noticed: {bug.noticed}{apart})"]
        lines += item(f"wrong: {bug.wrong}", " " * 11, "    ")
        lines += item(f"right: {bug.right}", " " * 11, "    ")
        lines += item(bug.effect, "    ", "    ")
    lines += ["", "What the figures give away"]
    for text in entry.forensics:
        lines += item(text, "    ")
    lines += ["", "Where it ends"]
    for variant, bands in entry.bands.items():
        ends = "; ".join(f"{b.figure.replace('_', ' ')} {span(b.low, b.high)}" for b in bands)
        epochs = entry.epochs[variant]
        lines += item(f"{variant}, {epochs:,} epoch{'s'[: epochs > 1]}: {ends}", "    ")
    return lines


def span(low: Any, high: Any) -> str:
    """Limits in words."""
    if isinstance(low, list):
        return "[" + ", ".join(span(a, b) for a, b in zip(low, high, strict=True)) + "]"
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
