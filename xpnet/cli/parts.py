"""The parts that a training dealt its samples to, dealt again: ``xpnet evaluate --part``."""

from __future__ import annotations

from typing import Any

from ..data import Dataset
from ..errors import DataError, UsageError
from ..spec import Spec
from .sources import describe_data

__all__ = ["PARTS", "part_of_training"]

PARTS = ("train", "validation", "test")


def part_of_training(
    part: str, train: Dataset, test: Dataset | None, config: Spec, source: dict[str, Any]
) -> Dataset:
    """The samples that the training with this ``config`` had as its train, validation or test part.

    ``train`` and ``test`` are what the options ``source`` read. Raises UsageError where the
    training had no such part, DataError where these are other samples than those of the training.
    """
    match config:
        case {
            "data": dict() | str() as data,
            "options": {
                "seed": int() as seed,
                "test_split": int() | float() as test_split,
                "validation_split": int() | float() as validation_split,
            },
        }:
            pass
        case _:
            raise UsageError(
                f"--part {part}: the model does not say how its samples were split: only those of "
                "xpnet train do"
            )
    if fingerprint(describe_data(train, test, **source)) != fingerprint(data):
        raise DataError(
            f"--part {part}: these are not the samples of the training: give the same data, with "
            "the same label and weight columns"
        )
    if test_split:
        train, test = train.split(test_split, seed)
    validation = None
    if validation_split:
        train, validation = train.split(validation_split, seed)
    found = {"train": train, "validation": validation, "test": test}[part]
    if found is None:
        raise UsageError(f"--part {part}: the training had no {part} part")
    return found


def fingerprint(data: Spec | str) -> Any:
    """What tells data from others, wherever they lie."""
    return data.get("sha256") if isinstance(data, dict) else data
