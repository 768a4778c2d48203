"""What the columns of a log are called: every usual name, and the one name used here."""

from __future__ import annotations

import re

__all__ = ["ACCURACIES", "KNOWN", "LOSSES", "PARTS", "canonical"]

LOSSES = ("loss", "val_loss", "test_loss")
ACCURACIES = ("accuracy", "val_accuracy", "test_accuracy")
KNOWN = (*LOSSES, *ACCURACIES, "lr", "grad_norm", "weight_norm", "step")

PARTS = {
    "val_": {"val", "valid", "validation", "dev", "eval", "vs"},
    "test_": {"test", "testing", "holdout"},
    "": {"train", "training", "tr", "trs"},
}
LOSS = {"loss", "cost", "objective", "nll", "xent", "crossentropy", "entropy"}
ACCURACY = {"acc", "accuracy"}
STEP = {"epoch", "step", "iteration", "iter", "batch", "it"}
GLUED = re.compile(
    r"(train(?:ing)?|val(?:id(?:ation)?)?|test)(loss|cost|acc(?:uracy)?)", re.IGNORECASE
)


def canonical(name: str) -> str | None:
    """The name in KNOWN for a column called ``name``, or None for one nobody needs.

    "Train Cost" is loss, "valLoss" is val_loss, "val_categorical_accuracy" is val_accuracy.
    """
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", GLUED.sub(r"\1 \2", name))
    words = re.findall(r"[a-z]+", spaced.lower())
    found = set(words)
    if found & {"grad", "gradient", "gradients", "gnorm"}:
        return "grad_norm"
    if "norm" in found and found & {"w", "weight", "weights", "theta", "parameters"}:
        return "weight_norm"
    if found == {"lr"} or words == ["learning", "rate"]:
        return "lr"
    for kind, known in (("loss", LOSS), ("accuracy", ACCURACY)):
        if found & known:
            part = next((part for part, names in PARTS.items() if found & names), "")
            return part + kind
    return "step" if found & STEP else None
