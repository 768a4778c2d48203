"""What a training step does besides gradients: copies, aliases, frozen parameters, two forwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..types import Array
from .drive import Course, Params, read_parameters
from .problem import Problem
from .trace import softmax, trace

__all__ = ["Remark", "outputs_remarks", "parameter_remarks", "usable_biases"]

SAME = 1e-5
"""Relative distance up to which two outputs count as the same."""


class Remark(NamedTuple):
    """Something a step does that no training should: its name, the numbers, what to do."""

    name: str
    evidence: str
    remedy: str


def usable_biases(params: Params) -> tuple[Params, list[Remark]]:
    """The parameters without biases that have another length than their layer but are 0."""
    usable, remarks = dict(params), []
    for name, b in params.items():
        W = params.get(f"W{name[1:]}")
        if name[0] == "W" or W is None or W.ndim != 2 or b.size == W.shape[1] or np.any(b):
            continue
        del usable[name]
        remarks.append(
            Remark(
                "bias-of-wrong-shape",
                f"{name} has the shape {b.shape}; its layer has {W.shape[1]} units.",
                "A bias has one number for each unit, not for each sample.",
            )
        )
    return usable, remarks


def parameter_remarks(course: Course, snapshot: Any, other_set: bool) -> list[Remark]:
    """Parameters that never change, change elsewhere, or are kept as an alias."""
    remarks = []
    first, last = course.params[0], course.params[-1]
    still = [name for name in first if np.array_equal(first[name], last[name])]
    moved = [
        n
        for n in course.written[0]
        if not np.array_equal(course.written[0][n], course.written[-1][n])
    ]
    if len(still) == len(first):
        where = "while those it writes do" if other_set and moved else "whatever it computes"
        remarks.append(
            Remark(
                "parameters-never-change",
                f"After {len(course.batches)} steps every parameter that forward reads has the "
                f"bits it had before, {where}.",
                "The step changes a copy or another variable of the same name (a global, a class "
                "attribute, a local): read and write one and the same.",
            )
        )
    elif still:
        remarks.append(
            Remark(
                "some-parameters-never-change",
                f"{', '.join(still)} did not change in {len(course.batches)} steps.",
                "Compute their gradients and update them, too.",
            )
        )
    if course.data_changed:
        remarks.append(
            Remark(
                "step-changes-the-data",
                "The arrays given to the step were overwritten by it.",
                "Copy before writing in place: the next epoch sees other data.",
            )
        )
    return remarks + alias_remarks(course, snapshot)


def alias_remarks(
    course: Course, snapshot: Mapping[str, Any] | Sequence[Any] | None
) -> list[Remark]:
    """Whether what was kept before the first step has moved along with the parameters."""
    if snapshot is None:
        return []
    kept, first, last = read_parameters(lambda: snapshot), course.params[0], course.params[-1]
    moved = [n for n in kept if n in last and not np.array_equal(first[n], last[n])]
    if not moved or any(not np.array_equal(kept[n], last[n]) for n in moved):
        return []
    return [
        Remark(
            "best-is-an-alias",
            f"What you keep as the best weights changed with the training: {', '.join(moved)}.",
            "Keep copies of the arrays (copy.deepcopy): a second name is no second network.",
        )
    ]


def outputs_remarks(
    problem: Problem, first: list[Array], last: list[Array], course: Course, both: bool
) -> list[Remark]:
    """Whether forward is the declared network, predict the same as forward, and both can change."""
    if not first:
        return []
    remarks = []
    t = trace(problem)
    if first[0].size == t.out.size and not any(same(first[0], o) for o in (t.out, t.logits)):
        over_all = t.output == "softmax" and same(first[0], softmax(t.logits, None))
        remarks.append(
            Remark(
                "softmax-over-batch" if over_all else "forward-is-another-network",
                "Your outputs are a softmax over the whole batch: right for one sample only."
                if over_all
                else "Your outputs differ from those of the declared network by "
                f"{distance(first[0], t.out):.2g} of their size.",
                "Sum over axis 1, sample by sample."
                if over_all
                else "Declare the activations and the output as they are, or correct forward; "
                "until then the verdicts on gradients are about another network.",
            )
        )
    moved = any(np.any(course.params[0][n] != course.params[-1][n]) for n in course.params[0])
    if moved and same(first[0], last[0], 0.0):
        remarks.append(
            Remark(
                "outputs-never-change",
                "The parameters change, the outputs do not: forward reads others.",
                "Let forward read the parameters that the step writes.",
            )
        )
    if both and first[0].shape == first[1].shape and not same(first[0], first[1]):
        remarks.append(
            Remark(
                "train-and-predict-differ",
                f"predict differs from forward by {distance(first[1], first[0]):.2g} of its size"
                f"{shifted(problem, first[1])}.",
                "Predict with the very function that training uses.",
            )
        )
    return remarks


def shifted(problem: Problem, predicted: Array) -> str:
    """What predict seems to do otherwise, if it is a constant added before the activations."""
    t = trace(problem)
    for shift in (1.0, -1.0):
        A = t.A[0]
        for l in range(1, t.L + 1):
            z = A @ t.W[l] + shift + (0.0 if t.b[l] is None else t.b[l])
            A = z if t.f[l] is None else t.f[l].function(np, z)
        if same(predicted, A):
            return f": it adds {shift:+g} to every pre-activation"
    return ""


def distance(a: Array, b: Array) -> float:
    size = float(np.linalg.norm(b)) or 1.0
    return float(np.linalg.norm(np.ravel(a) - np.ravel(b))) / size


def same(a: Array, b: Array, tolerance: float = SAME) -> bool:
    return np.size(a) == np.size(b) and distance(a, b) <= tolerance
