"""Hyperparameters: everything besides the network and the data that determines a training."""

from __future__ import annotations

import dataclasses
from typing import Any

from .errors import (
    UsageError,
    check_choice,
    check_count,
    check_fraction,
    check_positive,
    did_you_mean,
)
from .losses import LOSSES, SoftmaxCrossEntropy
from .optim import OPTIMIZERS, AdamW
from .random import check_seed
from .schedules import SCHEDULES, OneCycle, Schedule
from .spec import Spec, build, describe
from .types import Loss, Optimizer

__all__ = ["Hyperparameters"]

EARLY_STOPPING_SPLIT = 0.1


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """The loss, the optimizer and how long, how fast and on what share of the data it runs.

    ``clip_norm`` limits the length of the gradient, ``clip_value`` each of its components.
    ``patience`` N stops after N epochs without a lower validation loss. Where the caller gives no
    validation set, ``validation_split`` of the training set becomes one: by default nothing,
    or a tenth with ``patience``. ``dtype`` is "float32" or "float64".
    """

    loss: Loss = SoftmaxCrossEntropy()
    optimizer: Optimizer = AdamW()
    schedule: Schedule = OneCycle()
    epochs: int = 6
    batch_size: int = 128
    seed: int = 0
    dtype: str = "float32"
    clip_norm: float | None = None
    clip_value: float | None = None
    patience: int | None = None
    validation_split: float | None = None

    def __post_init__(self) -> None:
        for name, example in (("loss", "Huber"), ("optimizer", "Adam"), ("schedule", "Cosine")):
            if isinstance(getattr(self, name), str | type):
                raise UsageError(
                    f"{name} must be an object, such as xpnet.{example}(), "
                    f"not {getattr(self, name)!r}"
                )
        check_count("epochs", self.epochs)
        check_count("the batch size", self.batch_size)
        check_seed(self.seed)
        check_choice("dtype", self.dtype, ("float32", "float64"))
        for name, limit in (("clip_norm", self.clip_norm), ("clip_value", self.clip_value)):
            if limit is not None:
                check_positive(name, limit)
        if self.patience is not None:
            check_count("the patience of early stopping", self.patience)
        if self.validation_split is not None:
            check_fraction("the validation split", self.validation_split)

    @property
    def split_fraction(self) -> float:
        """The share of the training set that becomes the validation set where none is given."""
        if self.validation_split is not None:
            return self.validation_split
        return EARLY_STOPPING_SPLIT if self.patience is not None else 0.0

    @classmethod
    def of(cls, **values: Any) -> Hyperparameters:
        """From keywords; an unknown one raises UsageError that suggests the near match."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise UsageError(f"unknown hyperparameter {name!r}: {did_you_mean(name, known)}")
        return cls(**values)

    def spec(self) -> Spec:
        """As JSON-ready data."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **values,
            "loss": describe(self.loss, LOSSES),
            "optimizer": describe(self.optimizer, OPTIMIZERS),
            "schedule": describe(self.schedule, SCHEDULES),
        }

    @classmethod
    def from_spec(cls, spec: Spec) -> Hyperparameters:
        """The inverse of ``spec``."""
        return cls.of(
            **{
                **spec,
                "loss": build(spec["loss"], LOSSES),
                "optimizer": build(spec["optimizer"], OPTIMIZERS),
                "schedule": build(spec["schedule"], SCHEDULES),
            }
        )
