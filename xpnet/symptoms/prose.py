"""Logs as programs print them for people: ``Epoch 3 - loss: 0.41 - val accuracy: 88.1 %``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .columns import PARTS, canonical

__all__ = ["is_prose", "prose_rows"]

LONGEST = 1000
"""How much of a line is read: none that people read is as long."""

NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|inf"
PAIR = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z_ ()/]{0,40}?)(?: *[:=] *| +)"
    rf"(?P<value>{NUMBER})(?![\w.])(?P<mark> *%)?"
)


def is_prose(line: str) -> bool:
    """Whether a line has a known name with a number behind it."""
    return any(canonical(pair["name"]) for pair in PAIR.finditer(line[:LONGEST]))


def prose_rows(lines: Iterable[str]) -> list[dict[str, str]]:
    """A record for each line with known names, which are followed by their numbers.

    In ``validation loss 0.4, accuracy 88 %`` both are of the validation set: a name without a word
    for the set belongs to the one before it. The first of two equal names counts, and lines without
    any, such as those of a progress bar, are passed over. A line with nothing but the step belongs
    to the next one, as where Keras prints ``Epoch 1/30`` above the figures.
    """
    rows: list[dict[str, str]] = []
    heading: dict[str, str] = {}
    for line in lines:
        row: dict[str, str] = {}
        part = ""
        for pair in PAIR.finditer(line[:LONGEST]):
            known = canonical(pair["name"])
            if known is None:
                continue
            words = set(re.findall("[a-z]+", pair["name"].lower()))
            named = [prefix for prefix, names in PARTS.items() if words & names]
            part = named[0] if named else part
            if known in ("loss", "accuracy") and not named:
                known = part + known
            row.setdefault(known, pair["value"] + (pair["mark"] or "").strip())
        if set(row) == {"step"}:
            heading = row
        elif row:
            rows.append(heading | row)
            heading = {}
    return rows or [heading] * bool(heading)
