"""A recipe: a network that did not learn, what is wrong with it, and how to run it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import backends
from ..backends import Backend
from ..errors import UsageError, check_choice, check_count
from ..random import check_seed
from ..types import Array
from .descent import Outcome, Row, Rows
from .handwritten import HandWritten

__all__ = ["Band", "Bench", "Bug", "Recipe", "Run"]

VARIANTS = ("broken", "fixed", "only", "without")


@dataclasses.dataclass(frozen=True)
class Bug:
    """One mistake, which is one switch.

    ``wrong`` is the formula as it was posted and ``right`` the correct one, ``effect`` what it
    does, ``noticed`` whether the thread saw it: "yes", "vaguely" or "nobody". ``changes`` lists
    all that differs from correct code: gradients by name, or "update", "predict", "loss" ...
    One that is not ``in_broken`` cannot have given the posted figures, or only some of them.
    """

    name: str
    wrong: str
    right: str
    effect: str
    noticed: Literal["yes", "vaguely", "nobody"]
    changes: tuple[str, ...]
    in_broken: bool = True


class Band(NamedTuple):
    """The figure of the outcome called ``figure`` lies between ``low`` and ``high``.

    Where the figure is a list, so are the limits.
    """

    figure: str
    low: Any
    high: Any

    @classmethod
    def about(cls, figure: str, values: Sequence[float], tolerance: float) -> Band:
        """The band of a list of numbers that lie within ``tolerance`` of ``values``."""
        return cls(figure, [v - tolerance for v in values], [v + tolerance for v in values])

    def holds(self, outcome: Outcome) -> bool:
        """Whether the outcome is within; NaN is not."""
        value = np.asarray(outcome[self.figure])
        return bool(np.all((value >= np.asarray(self.low)) & (value <= np.asarray(self.high))))


class Bench(NamedTuple):
    """A hand-written network before its first step, with data: what a tool needs to examine it.

    x (m, n_in) and targets y (m, k) are on the network's backend, prepared as the code does.
    """

    network: HandWritten
    x: Array
    y: Array


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One of the five systems.

    ``facts`` describe it (network, data, initialisation ...), ``posted`` are the figures its
    author gave, ``answer`` what the thread made of it, ``forensics`` what the figures alone give
    away. ``bands`` say where ``broken`` and ``fixed`` end; ``epochs`` how long they take.
    """

    name: str
    question: str
    facts: dict[str, str]
    posted: tuple[str, ...]
    answer: str
    bugs: tuple[Bug, ...]
    forensics: tuple[str, ...]
    bands: dict[str, tuple[Band, ...]]
    epochs: dict[str, int]
    dtype: dict[str, str]
    make: Callable[[Backend, frozenset[str], int, int | None], Bench]
    broken: Callable[[Backend, frozenset[str], int, int], Rows]
    fixed: Callable[[Backend, int, int], Rows]

    def chosen(
        self, only: Collection[str] | None = None, without: Collection[str] | None = None
    ) -> frozenset[str]:
        """The names of the bugs ``only``, or of all in ``broken`` ``without`` some.

        An unknown name raises UsageError.
        """
        known = [bug.name for bug in self.bugs]
        for name in (*(only or ()), *(without or ())):
            check_choice(f"bug of {self.name}", name, known)
        if only is not None and without is not None:
            raise UsageError("only and without exclude each other: choose one")
        if only is not None:
            return frozenset(only)
        return frozenset(bug.name for bug in self.bugs if bug.in_broken) - frozenset(without or ())

    def bench(
        self,
        *,
        only: Collection[str] | None = None,
        without: Collection[str] | None = None,
        backend: str | Backend = "numpy",
        seed: int = 0,
        rows: int | None = None,
    ) -> Bench:
        """The hand-written network and the first ``rows`` samples of its data; None means all."""
        place = backends.get(backend) if isinstance(backend, str) else backend
        place.check_dtype(self.dtype["broken"])
        if rows is not None:
            check_count("rows", rows)
        return self.make(place, self.chosen(only, without), check_seed(seed), rows)

    def run(
        self,
        variant: str = "broken",
        *,
        bugs: Collection[str] = (),
        backend: str | Backend = "auto",
        epochs: int | None = None,
        seed: int | None = None,
    ) -> Run:
        """The run of a variant; nothing is computed before it is iterated over.

        "broken" has all posted bugs, "only" just ``bugs``, "without" all but these; "fixed" is
        the engine of xpnet. Raises UsageError.
        """
        check_choice("variant", variant, VARIANTS)
        if (variant in ("only", "without")) != bool(bugs):
            raise UsageError("bugs are named for the variants only and without, and just for them")
        chosen = frozenset[str]()
        if variant != "fixed":
            chosen = self.chosen(
                bugs if variant == "only" else None, bugs if variant == "without" else None
            )
        like = "fixed" if variant == "fixed" else "broken"
        if epochs is not None:
            check_count("epochs", epochs)
        place = backends.get(backend) if isinstance(backend, str) else backend
        place.check_dtype(self.dtype[like])
        return Run(
            recipe=self,
            variant=variant,
            bugs=chosen,
            place=place,
            epochs=self.epochs[like] if epochs is None else epochs,
            seed=0 if seed is None else check_seed(seed),
            as_published=epochs is None and seed is None and not bugs,
        )


@dataclasses.dataclass
class Run:
    """A run: iterate over it once for a row an epoch; then ``history`` and ``outcome`` are there.

    ``as_published`` says whether it is the run that the bands are for.
    """

    recipe: Recipe
    variant: str
    bugs: frozenset[str]
    place: Backend
    epochs: int
    seed: int
    as_published: bool
    history: list[Row] = dataclasses.field(default_factory=list)
    outcome: Outcome = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        self.history.clear()
        if self.variant == "fixed":
            rows = self.recipe.fixed(self.place, self.epochs, self.seed)
        else:
            rows = self.recipe.broken(self.place, self.bugs, self.epochs, self.seed)
        self.outcome = yield from self.recorded(rows)

    def recorded(self, rows: Rows) -> Rows:
        """``rows``, each added to the history as it passes."""
        while True:
            try:
                row = next(rows)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            self.history.append(row)
            yield row

    def finish(self) -> Outcome:
        """Run to the end; the outcome."""
        for _ in self:
            pass
        return self.outcome

    @property
    def missed(self) -> list[Band]:
        """The bands that the outcome is not in."""
        return [b for b in self.recipe.bands[self.variant] if not b.holds(self.outcome)]

    @property
    def in_band(self) -> bool | None:
        """Whether the outcome is in its bands; None where there are none for this run."""
        return not self.missed if self.as_published and self.outcome else None
