"""The course of a training on a backend beside the exact one, step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import backends
from ..backends import Backend
from ..evaluation import evaluate_on_device
from ..hyperparameters import Hyperparameters
from ..ops import Ops
from ..source import epoch_rates
from ..state import State, initial_state, to_device, to_host
from ..step import TrainingStep
from ..types import Feed
from .compare import TOLERANCES, Row, relative_error, row
from .divergence import first_divergence
from .subject import Subject

__all__ = ["check_course"]


class Track(NamedTuple):
    """A training on one backend, step by step."""

    backend: Backend
    ops: Ops
    step: Any
    state: State
    feed: Feed


def check_course(subject: Subject, backend: Backend) -> Iterator[Row]:
    """The course of ``n_steps`` steps, compared after each, and the accuracy it ends at.

    In float64 the weights are compared. In float32 it is the mean loss: a unit whose
    pre-activation is 0 up to rounding may go either way, and the weights part from there.
    """
    hp = subject.hp
    exact = start_track(subject, backends.get("numpy"), "float64", reference=True)
    ours = start_track(subject, backend, hp.dtype, reference=False)
    for step in range(1, min(subject.n_steps, subject.data.n // subject.batch_size) + 1):
        before = to_host(exact.backend, exact.state)
        exact, ours = advance(exact), advance(ours)
        last = compare_tracks(f"course of {step} steps", exact, ours, hp.dtype)
        if not last.passed:
            where = first_divergence(subject.network, hp, ours, before, exact.feed)
            yield last._replace(note=f"step {step}, {where}")
            return
    yield last
    yield check_accuracy(subject, exact, ours)


def compare_tracks(check: str, exact: Track, ours: Track, dtype: str) -> Row:
    """The weights, or in float32 the mean loss, of two trainings at the same step."""
    figures = []
    for track in (ours, exact):
        state = to_host(track.backend, track.state)
        mean_loss = np.asarray(state.counters.loss_sum / state.counters.weight_sum)
        figures.append((state.theta, mean_loss))
    (theta, loss), (exact_theta, exact_loss) = figures
    tolerance = TOLERANCES["course", dtype]
    if dtype == "float64":
        return row(f"{check}: weights", ours.backend.place, theta, exact_theta, tolerance)
    note = f"the weights differ by {relative_error(theta, exact_theta):.1e}"
    return row(f"{check}: mean loss", ours.backend.place, loss, exact_loss, tolerance, note)


def start_track(subject: Subject, backend: Backend, dtype: str, *, reference: bool) -> Track:
    network, hp = subject.network, subject.hp
    data = subject.data.prepare(network.n_in, network.n_out, hp.loss, backend, dtype)
    state = initial_state(network, Hyperparameters(optimizer=hp.optimizer, dtype=dtype))
    state = to_device(backend, state._replace(theta=subject.start(dtype)))
    order = backend.permutation(hp.seed, 0, data.n)
    rates = epoch_rates(backend, dataclasses.replace(hp, dtype=dtype), 0, data.n)
    feed = Feed(data.X, data.y, data.weight, data.shift, data.scale, order, rates)
    build = TrainingStep(network, hp, subject.batch_size)
    ops = backend.reference_ops() if reference else backend.ops()
    return Track(backend, ops, backend.compile(build, reference=reference), state, feed)


def advance(track: Track) -> Track:
    return track._replace(state=track.backend.loop(track.step, track.state, track.feed, 1))


def check_accuracy(subject: Subject, exact: Track, ours: Track) -> Row:
    """The accuracy (for regression the loss) on the data, at the end of the course."""
    figures = []
    for track, dtype in ((exact, "float64"), (ours, subject.hp.dtype)):
        network, loss = subject.network, subject.hp.loss
        data = subject.data.prepare(network.n_in, network.n_out, loss, track.backend, dtype)
        found = evaluate_on_device(track.backend, track.ops, network, track.state.theta, data, loss)
        figures.append(found.loss if found.accuracy is None else found.accuracy)
    tolerance = TOLERANCES["accuracy", subject.hp.dtype]
    difference = abs(figures[1] - figures[0])
    return Row(
        "accuracy" if subject.hp.loss.classifies else "final loss",
        ours.backend.place,
        difference,
        tolerance.limit,
        tolerance.reason,
        0.0,
        difference <= tolerance.limit,
        f"{figures[1]:.4f} and {figures[0]:.4f}",
    )
