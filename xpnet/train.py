"""Training: the loop over epochs, as a generator.

``segments`` is the loop; ``fit`` shows what most callers want of it: a Report and the weights at
the end of each epoch. A segment is about a second of steps, within which nothing waits for the
device; between two of them the host may look, save or stop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from . import backends
from .backends import Backend
from .data import Dataset, check_dataset
from .errors import TrainingError
from .evaluation import Say, evaluate_on_device
from .host_data import HostDataset, placed
from .hyperparameters import Hyperparameters
from .network import Network
from .source import Source, source_of, working_bytes
from .state import Report, Run, State, end_epoch, initial_state, report, to_device
from .step import TrainingStep
from .types import Array

__all__ = ["fit", "segments"]

SEGMENT_SECONDS = 1.0
FIRST_SEGMENT_STEPS = 16


def fit(
    network: Network,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    backend: str | Backend | None = None,
    **hyperparameters: Any,
) -> Iterator[tuple[Report, Array]]:
    """Train ``network``; yield a Report and the weights theta (n_theta,) after each epoch.

    The keywords are those of ``Hyperparameters``. It runs on ``backend``, or where the arrays of
    ``train`` live. theta is a copy there: the weights of the best epoch so far where there is a
    validation set, else the newest. Raises UsageError, DataError, TrainingError where the loss is
    no longer finite, and DeviceError or OutOfDeviceMemoryError where a GPU fails.
    """
    check_dataset("train", train)
    if validation is not None:
        check_dataset("validation", validation)
    if backend is None:
        others = [] if validation is None else [validation.X]
        backend = backends.accelerated(backends.common(train.X, train.y, *others))
    elif isinstance(backend, str):
        backend = backends.get(backend)
    hp = Hyperparameters.of(**hyperparameters)
    with backend.explaining():
        for run in segments(network, train, validation, hp=hp, backend=backend):
            if run.step == 0:
                yield run.reports[-1], backend.xp.asarray(run.theta, copy=True)


def segments(
    network: Network,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    hp: Hyperparameters,
    backend: Backend,
    reference: bool = False,
    start: Run | None = None,
    segment_seconds: float = SEGMENT_SECONDS,
    say: Say = lambda _: None,
) -> Iterator[Run]:
    """Train, and yield the Run every ``segment_seconds`` or so and after every epoch.

    ``start`` is a Run to go on from, its arrays on the host. ``reference`` trains with the plain
    primitives. ``say`` is given a line for each dataset that stays on the host because the
    device's memory is too small for it. Raises as ``fit`` does.
    """
    backend.check_dtype(hp.dtype)
    train, source, validation = place_data(network, train, validation, hp, backend, say)
    batch_size = min(hp.batch_size, train.n)
    n_full, last_batch = divmod(train.n, batch_size)
    epoch_steps = n_full + (last_batch > 0)
    compiled = {
        size: backend.compile(TrainingStep(network, hp, size), reference=reference)
        for size in (batch_size, last_batch)
        if size
    }
    ops = backend.reference_ops() if reference else backend.ops()

    if start is None:
        start = Run(initial_state(network, hp), 0, 0, epoch_steps, 0.0, ())
    run = to_device(backend, start)
    del start  # the host's copy is not needed while the training runs
    steps_per_second = 0.0
    while not run.finished(hp.epochs, hp.patience):
        source.begin(run.epoch)
        while run.step < epoch_steps:
            size, left = (batch_size, n_full - run.step) if run.step < n_full else (last_batch, 1)
            wanted = FIRST_SEGMENT_STEPS
            if steps_per_second:
                wanted = max(1, int(steps_per_second * segment_seconds))
            n_steps = min(left, wanted)
            began = time.perf_counter()
            state = source.loop(compiled[size], run.state, run.step, n_steps)
            check_finite(backend, state, epoch_steps)  # sync: the segment is over
            seconds = time.perf_counter() - began
            if n_steps > 1 or not steps_per_second:  # a last, smaller batch says little
                steps_per_second = n_steps / max(seconds, 1e-9)
            run = run._replace(state=state, step=run.step + n_steps, seconds=run.seconds + seconds)
            if run.step < epoch_steps:
                yield run
        evaluation = None
        if validation is not None:
            theta = run.state.theta
            evaluation = evaluate_on_device(backend, ops, network, theta, validation, hp.loss)
        run = end_epoch(backend, run, report(backend, run, hp.loss.classifies, evaluation))
        yield run


def place_data(
    network: Network,
    train: Dataset,
    validation: Dataset | None,
    hp: Hyperparameters,
    backend: Backend,
    say: Say,
) -> tuple[Dataset, Source, Dataset | None]:
    """The training set, where the steps find its samples, and the validation set, all placed."""
    rows, validation_rows = None, None  # all
    if validation is None and hp.split_fraction:
        validation = train
        rows, validation_rows = train.split_rows(hp.split_fraction, hp.seed)
    reserve = working_bytes(network, hp, train.n if rows is None else len(rows))
    where = (network.n_in, network.n_out, hp.loss, backend, hp.dtype, reserve)
    train = placed(train, *where, rows)
    source = source_of(train, hp, backend)
    if validation is not None:
        validation = placed(validation, *where, validation_rows)
    for what, data in (("the samples", train), ("the validation samples", validation)):
        if isinstance(data, HostDataset):
            say(data.reason(what))
    return train, source, validation


def check_finite(backend: Backend, state: State, epoch_steps: int) -> None:
    """Raise TrainingError where the loss or the weights have become NaN or infinite."""
    bad = backend.to_numpy(state.counters.first_bad_step).item()  # sync: the segment is over
    finite = backend.xp.all(backend.xp.isfinite(state.theta))
    if not bad and backend.to_numpy(finite).item():  # sync: as above
        return
    bad = bad or backend.to_numpy(state.counters.t).item()  # sync: as above
    epoch, step = divmod(bad - 1, epoch_steps)
    raise TrainingError(
        f"the loss is no longer finite at step {bad} (step {step + 1} of epoch {epoch + 1}): "
        "lower the learning rate or clip the gradient"
    )
