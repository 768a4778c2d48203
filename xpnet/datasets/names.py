"""Labels that are names, such as "setosa": what may be a name, and the number that it gets.

Names that are not known beforehand get their numbers in sorted order, by code point, as
scikit-learn's LabelEncoder has it; so the order of the samples does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import DataError
from ..types import NumpyArray
from .columns import is_float, shorten
from .samples import Where, class_labels

__all__ = ["Numbering", "PassedOver", "are_names", "class_numbers", "listed", "not_a_number"]

MIXED = "write all labels as numbers, or all as names"
MOST_LISTED = 10


class Numbering:
    """The number of each class name: as ``known``, in the order of it, or as the names come."""

    def __init__(self, known: Sequence[str] | None = None) -> None:
        self.codes = {name: i for i, name in enumerate(known or ())}
        self.is_fixed = known is not None

    def number(self, name: str) -> int:
        """The number of ``name`` so far; one that is new gets the next."""
        return self.codes.setdefault(name.strip(), len(self.codes))

    def complaint(self, name: str) -> str | None:
        """What is wrong with a name, and what to do; None where it is one."""
        if not name:
            return "the label is empty: fill it in or remove the line"
        if self.is_fixed and name not in self.codes:
            return f"unknown class {shorten(name)}: choose from {listed(self.codes)}"
        if is_float(name) and not self.is_fixed:
            return f"{shorten(name)} is a number, but the first label is a name: {MIXED}"
        if not name.isprintable():
            return f"{shorten(name)} has a character that cannot be printed: correct the name"
        return None

    def draft(self) -> Numbering:
        """A copy, for names that may turn out to be none."""
        other = Numbering()
        other.codes, other.is_fixed = dict(self.codes), self.is_fixed
        return other

    def takes(self, draft: Numbering) -> bool:
        """Take over the names of a ``draft`` of this, if there is nothing wrong with any."""
        new = list(draft.codes)[len(self.codes) :]
        if any(self.complaint(name) or '"' in name for name in new):
            return False
        self.codes = draft.codes
        return True

    def finish(self, y: NumpyArray) -> tuple[NumpyArray, tuple[str, ...]]:
        """Labels (n,) int32 for the numbers ``y`` (n,), and the names in the order of these."""
        names = list(self.codes)
        order = list(names) if self.is_fixed else sorted(names)
        rank = {name: i for i, name in enumerate(order)}
        final = np.array([rank[name] for name in names], np.int32)
        return final[y.astype(np.int32)], tuple(order)


class PassedOver(Numbering):
    """For a column whose cells do not matter."""

    def number(self, name: str) -> int:
        return 0

    def complaint(self, name: str) -> str | None:
        return None

    def draft(self) -> Numbering:
        return self

    def takes(self, draft: Numbering) -> bool:
        return True


def listed(names: Iterable[str]) -> str:
    """The names for a message, at most ten of them."""
    names = list(names)
    more = len(names) - MOST_LISTED
    rest = f" and {more} more" if more > 0 else ""
    return ", ".join(shorten(name) for name in names[:MOST_LISTED]) + rest


def are_names(first: str, known: Sequence[str] | None) -> bool:
    """Whether labels are names and not numbers: the first one tells, if it is not known."""
    return known is not None or not is_float(first)


def class_numbers(
    y: NumpyArray, where: Where, known: Sequence[str] | None = None
) -> tuple[NumpyArray, tuple[str, ...] | None]:
    """Labels (n,) as int32, and the names of the classes if ``y`` (n,) is text.

    Text that is numbers throughout gives these numbers. Raises DataError for what is no label.
    """
    if y.dtype.kind not in "US":
        return class_labels(y, where), None
    words = [word.strip() for word in decoded(y, where)]
    if not are_names(words[0], known):
        for i, word in enumerate(words):
            if not is_float(word):
                raise DataError(f"{where(i)}: {not_a_number(word)}")
        return class_labels(np.array([float(word) for word in words]), where), None
    numbering = Numbering(known)
    for i, word in enumerate(words):
        if complaint := numbering.complaint(word):
            raise DataError(f"{where(i)}: {complaint}")
    return numbering.finish(np.array([numbering.number(word) for word in words]))


def not_a_number(label: str) -> str:
    """What is wrong with a label in a column whose first label is a number."""
    return f"{shorten(label)} is no number, but the first label is: {MIXED}"


def decoded(y: NumpyArray, where: Where) -> list[str]:
    """Text of dtype U or S as strings; bytes are UTF-8."""
    words = []
    for i in range(len(y)):
        try:
            word = y[i]
            words.append(word.decode() if isinstance(word, bytes) else str(word))
        except (ValueError, SystemError) as error:  # of UTF-8; of a code point that is none
            raise DataError(f"{where(i)}: the label is no text: write it as UTF-8") from error
    return words
