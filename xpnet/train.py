"""Training: the step, the loop over epochs as a generator, and evaluation.

``segments`` is the loop; ``fit`` shows of it what most want: a Report and the weights at the
end of each epoch. Between segments, about a second apart, the host may look, save or stop;
within one, nothing waits for the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from . import backends
from .backends import Backend
from .data import Dataset
from .errors import TrainingError
from .evaluation import evaluate_on_device
from .hyperparameters import Hyperparameters
from .network import Network, one_over
from .ops import Ops
from .random import permutation
from .state import Feed, Report, Run, State, end_epoch, initial_state, report, to_device
from .types import Array, Noise

__all__ = ["fit", "make_step", "segments"]

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

    The keywords are those of ``Hyperparameters``. It runs on ``backend``, or where
    the arrays of ``train`` live. theta is a copy there: the
    weights of the best epoch so far where there is a validation set, else the newest.
    Raises UsageError, DataError, and TrainingError where the loss is no longer finite.
    """
    if backend is None:
        backend = backends.common(train.X, train.y, *([] if validation is None else [validation.X]))
    elif isinstance(backend, str):
        backend = backends.get(backend)
    hp = Hyperparameters.of(**hyperparameters)
    for run in segments(network, train, validation, hp=hp, backend=backend):
        if run.step == 0:
            yield run.reports[-1], backend.xp.asarray(run.theta, copy=True)


def make_step(
    network: Network, hp: Hyperparameters, batch_size: int, epoch_steps: int
) -> Callable[[Ops], Callable[[State, Feed], State]]:
    """What ``Backend.compile`` wants: given the primitives, the training step on one batch."""
    total_steps = epoch_steps * hp.epochs

    def build(ops: Ops) -> Callable[[State, Feed], State]:
        xp = ops.xp

        def step(state: State, feed: Feed) -> State:
            theta, t = state.theta, state.t + 1
            index = ops.take(feed.order, ops.rows(state.position, batch_size))
            x = ops.gather(feed.X, index, feed.shift, feed.scale, theta.dtype)
            target = ops.take(feed.y, index)
            if feed.weight is None:
                weight, total = None, float(batch_size)
                mean: Array | float = 1.0 / batch_size
            else:
                weight = ops.take(feed.weight, index)
                total = xp.sum(weight)
                mean = one_over(xp, total)

            loss, g, _ = network.loss_and_grad(
                ops,
                theta,
                x,
                target,
                hp.loss,
                weight=weight,
                scale=mean,
                noise=Noise(hp.seed, state.t, ops.rows(0, batch_size)),
            )
            lr = hp.optimizer.lr * hp.schedule(xp, state.t, theta.dtype, epoch_steps, total_steps)
            theta, slots = descend(ops, network, hp, theta, g, state.slots, t, lr)

            is_bad = ~xp.isfinite(loss.loss_sum)
            n_correct = state.n_correct
            if loss.n_correct is not None:
                n_correct = n_correct + loss.n_correct
            return State(
                theta=theta,
                slots=slots,
                t=t,
                position=state.position + batch_size,
                loss_sum=state.loss_sum + loss.loss_sum,
                weight_sum=state.weight_sum + total,
                n_correct=n_correct,
                first_bad_step=xp.where(
                    (state.first_bad_step == 0) & is_bad, t, state.first_bad_step
                ),
            )

        return step

    return build


def descend(
    ops: Ops,
    network: Network,
    hp: Hyperparameters,
    theta: Array,
    g: Array,
    slots: tuple[Array, ...],
    t: Array,
    lr: Array,
) -> tuple[Array, tuple[Array, ...]]:
    """From the gradient to the next theta and slots: clipping, decay, the optimizer's update."""
    if hp.clip_value is not None:
        g = ops.clip_value(g, hp.clip_value)
    if hp.clip_norm is not None:
        norm = ops.xp.sqrt(ops.square_sum(g))
        too_long = norm > hp.clip_norm
        factor = ops.xp.where(too_long, hp.clip_norm / (norm + 1e-6), ops.xp.ones_like(norm))
        g = ops.scale_by(g, factor)
    if hp.optimizer.l2:
        g = ops.add_weights(g, hp.optimizer.l2, theta, network.n_weights)
    if hp.optimizer.weight_decay:
        shrink = -lr * hp.optimizer.weight_decay
        theta = ops.add_weights(theta, shrink, theta, network.n_weights)
    return hp.optimizer.update(ops, theta, g, slots, t, lr)


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
) -> Iterator[Run]:
    """Train, and yield the Run every ``segment_seconds`` or so and after every epoch.

    ``start`` is a Run, its arrays on the host, to go on from. ``reference`` trains with the plain
    primitives. The datasets are on the host. Raises as ``fit`` does.
    """
    backend.check_dtype(hp.dtype)
    if validation is None and hp.split_fraction:
        train, validation = train.split(hp.split_fraction, hp.seed)
    train = train.prepare(network.n_in, network.n_out, hp.loss, backend, hp.dtype)
    if validation is not None:
        validation = validation.prepare(network.n_in, network.n_out, hp.loss, backend, hp.dtype)

    batch_size = min(hp.batch_size, train.n)
    n_full, last_batch = divmod(train.n, batch_size)
    epoch_steps = n_full + (last_batch > 0)
    compiled = {
        size: backend.compile(make_step(network, hp, size, epoch_steps), reference=reference)
        for size in (batch_size, last_batch)
        if size
    }
    ops = backend.reference_ops() if reference else backend.ops()

    run = start or Run(initial_state(network, hp), 0, 0, epoch_steps, 0.0, ())
    run = to_device(backend, run)
    steps_per_second = 0.0
    while not run.finished(hp.epochs, hp.patience):
        order = permutation(backend.xp, hp.seed, run.epoch, train.n, backend.device)
        feed = Feed(train.X, train.y, train.weight, train.shift, train.scale, order)
        while run.step < epoch_steps:
            size, left = (batch_size, n_full - run.step) if run.step < n_full else (last_batch, 1)
            wanted = FIRST_SEGMENT_STEPS
            if steps_per_second:
                wanted = max(1, int(steps_per_second * segment_seconds))
            n = min(left, wanted)
            began = time.perf_counter()
            state = backend.loop(compiled[size], run.state, feed, n)
            check_finite(backend, state, epoch_steps)  # sync: the segment is over
            seconds = time.perf_counter() - began
            if n > 1 or not steps_per_second:
                steps_per_second = n / max(seconds, 1e-9)
            run = run._replace(state=state, step=run.step + n, seconds=run.seconds + seconds)
            if run.step < epoch_steps:
                yield run
        evaluation = None
        if validation is not None:
            theta = run.state.theta
            evaluation = evaluate_on_device(backend, ops, network, theta, validation, hp.loss)
        run = end_epoch(backend, run, report(backend, run, hp.loss.classifies, evaluation))
        yield run


def check_finite(backend: Backend, state: State, epoch_steps: int) -> None:
    """Raise TrainingError where the loss or the weights have become NaN or infinite."""
    bad = backend.to_numpy(state.first_bad_step).item()  # sync: the segment is over
    if not bad and backend.to_numpy(backend.xp.all(backend.xp.isfinite(state.theta))).item():
        return
    bad = bad or backend.to_numpy(state.t).item()
    epoch, step = divmod(bad - 1, epoch_steps)
    raise TrainingError(
        f"the loss is no longer finite at step {bad} (step {step + 1} of epoch {epoch + 1}): "
        "lower the learning rate or clip the gradient"
    )
