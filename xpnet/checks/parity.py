"""Do the backends agree? Each against the plain primitives on NumPy in float64.

From the small to the large: the random stream, every primitive, every layer, the loss, the
gradient, the optimizer's update, a trajectory of some steps, and what it has learnt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import backends
from ..backends import Backend
from ..data import Dataset
from ..errors import check_count
from ..evaluation import evaluate_on_device
from ..hyperparameters import Hyperparameters
from ..network import Network
from ..ops import Ops
from ..random import keep_mask, permutation
from ..state import Feed, State, initial_state, map_arrays
from ..train import descend, make_step
from ..types import Array, Noise
from .cases import convert, leaves, primitive_cases, primitives
from .compare import EXACT, TOLERANCES, Row, relative_error, row
from .divergence import first_divergence

__all__ = ["Subject", "parity"]


class Subject(NamedTuple):
    """What parity is checked on: a network, its data on the host, and how it is trained."""

    network: Network
    data: Dataset
    hp: Hyperparameters
    n_steps: int = 20

    @property
    def batch_size(self) -> int:
        return min(self.hp.batch_size, self.data.n)

    @property
    def epoch_steps(self) -> int:
        return -(-self.data.n // self.batch_size)


def parity(subject: Subject, backend: Backend) -> Iterator[Row]:
    """Every check of ``backend`` in the dtype of ``subject.hp``, one row after the other.

    Raises UsageError where the backend lacks the dtype, DataError where the data do not fit.
    """
    check_count("steps", subject.n_steps)
    backend.check_dtype(subject.hp.dtype)
    yield from check_data(subject, backend)
    yield from check_stream(subject, backend)
    yield from check_primitives(subject.hp.dtype, backend)
    yield from check_network(subject, backend)
    yield from check_trajectory(subject, backend)


# ---- data and the random stream -----------------------------------------------------------


def check_data(subject: Subject, backend: Backend) -> Iterator[Row]:
    """What training reads on the device is what was given on the host."""
    network, hp = subject.network, subject.hp
    exact = subject.data.prepare(
        network.n_in, network.n_out, hp.loss, backends.get("numpy"), hp.dtype
    )
    ours = subject.data.prepare(network.n_in, network.n_out, hp.loss, backend, hp.dtype)
    for name, a, b in (("samples", ours.X, exact.X), ("targets", ours.y, exact.y)):
        yield row(name, backend.place, backend.to_numpy(a), b, EXACT)


def check_stream(subject: Subject, backend: Backend) -> Iterator[Row]:
    """Orders of two epochs and the mask of each dropout, bit for bit."""
    n, seed = subject.data.n, subject.hp.seed
    for epoch in (0, 1):
        exact = permutation(np, seed, epoch, n)
        ours = permutation(backend.xp, seed, epoch, n, backend.device)
        yield row(f"order of epoch {epoch}", backend.place, backend.to_numpy(ours), exact, EXACT)
    m = subject.batch_size
    for i, width in enumerate(subject.network.widths[1:]):
        noise = Noise(seed, np.asarray([7], np.int32), np.arange(m, dtype=np.int32), i)
        exact = keep_mask(np, noise, width, 0.5)
        placed = convert(noise, np.float64, backend.asarray)
        ours = keep_mask(backend.xp, placed, width, 0.5, backend.device)
        yield row(f"dropout mask of layer {i}", backend.place, backend.to_numpy(ours), exact, EXACT)
    theta = subject.network.init(seed, subject.hp.dtype)
    ours = backend.to_numpy(backend.asarray(theta))
    exact = subject.network.init(seed, "float64")
    yield row("initial weights", backend.place, ours.astype(np.float64), exact, EXACT)


# ---- primitives ------------------------------------------------------------------------------


def check_primitives(dtype: str, backend: Backend) -> Iterator[Row]:
    """Each primitive of the backend's class, and each it overrides, on its cases."""
    cases = primitive_cases()
    ops, reference = backend.ops(), Ops(np)
    own_dtype = getattr(backend.xp, dtype)
    for name in sorted(primitives(Ops)):
        if name not in cases:
            yield Row(f"op {name}", backend.place, math.inf, 0.0, "no case in cases.py", 0.0, False)
            continue
        for case, arguments in cases[name].items():
            extra = (lambda d: (d,)) if name == "gather" else (lambda d: ())
            exact = getattr(reference, name)(*convert(arguments, np.float64), *extra(np.float64))
            placed = convert(arguments, dtype, donated(backend))
            ours = getattr(ops, name)(*placed, *extra(own_dtype))
            yield worst(
                f"op {name} {case}".strip(), backend, leaves(ours), leaves(exact), ("op", dtype)
            )


def donated(backend: Backend) -> Callable[[Array], Array]:
    """Places an array on the backend as a copy of its own, which may be overwritten."""
    return lambda host: backend.xp.asarray(backend.asarray(host), copy=True)


def worst(
    check: str,
    backend: Backend,
    ours: Sequence[Array],
    exact: Sequence[Array],
    kind: tuple[str, str],
) -> Row:
    """The worst row of several results."""
    rows = [
        row(check, backend.place, backend.to_numpy(a), b, TOLERANCES[kind])
        for a, b in zip(ours, exact, strict=True)
    ]
    return max(rows, key=lambda r: (not r.passed, r.error))


# ---- layers, loss, gradient, update ------------------------------------------------------------


def check_network(subject: Subject, backend: Backend) -> Iterator[Row]:
    """Each part of a step given exact inputs, so that one wrong part does not blame the next."""
    network, hp = subject.network, subject.hp
    kind = ("network", hp.dtype)
    numpy = backends.get("numpy")
    reference, ops = numpy.reference_ops(), backend.ops()
    x, target, weight, noise, theta = first_batch(subject)

    def put(value: Any) -> Any:
        return convert(value, hp.dtype, backend.asarray)

    total = float(len(x)) if weight is None else float(weight.sum())
    exact_params = network.split(np, theta)
    our_params = network.split(backend.xp, put(theta))
    inputs, saved = [x], []
    for i, (layer, p) in enumerate(zip(network.layers, exact_params, strict=True)):
        y, memory = layer.forward(reference, p, inputs[-1], noise._replace(layer=i))
        our_noise = put(noise)._replace(layer=i)
        ours, our_memory = layer.forward(ops, our_params[i], put(inputs[-1]), our_noise)
        yield worst(f"layer {i} forward", backend, [ours], [y], kind)
        inputs.append(y)
        saved.append((memory, our_memory))
    exact = hp.loss(reference, inputs[-1], target, weight, 1.0 / total)
    ours = hp.loss(ops, put(inputs[-1]), put(target), put(weight), 1.0 / total)
    yield worst("loss", backend, leaves(ours), leaves(exact), kind)
    dy = exact.dout
    for i in reversed(range(len(network.layers))):
        memory, our_memory = saved[i]
        layer = network.layers[i]
        dx, grads = layer.backward(reference, exact_params[i], memory, dy, True)
        our_dx, our_grads = layer.backward(ops, our_params[i], our_memory, put(dy), True)
        names = sorted(grads)
        yield worst(
            f"layer {i} backward",
            backend,
            [our_dx, *(our_grads[name] for name in names)],
            [dx, *(grads[name] for name in names)],
            kind,
        )
        dy = dx
    exact_g = network.loss_and_grad(
        reference, theta, x, target, hp.loss, weight=weight, noise=noise
    ).g
    our_g = network.loss_and_grad(
        ops, put(theta), put(x), put(target), hp.loss, weight=put(weight), noise=put(noise)
    ).g
    our_g = backend.to_numpy(our_g)
    # a block that nearly cancels is measured against a hundredth of the whole gradient
    least = float(np.linalg.norm(exact_g)) / 100
    for block in network.blocks:
        part = slice(block.offset, block.end)
        name = f"gradient layers.{block.layer}.{block.name}"
        yield row(name, backend.place, our_g[part], exact_g[part], TOLERANCES[kind], least=least)
    yield from check_update(subject, backend, theta, exact_g)


def check_update(subject: Subject, backend: Backend, theta: Array, g: Array) -> Iterator[Row]:
    """One step of the optimizer from the same gradient, clipping and decay included."""
    network, hp = subject.network, subject.hp
    slots = tuple(np.abs(g) * 0.1 for _ in range(hp.optimizer.n_slots))
    t, lr = np.asarray([3], np.int32), np.asarray([hp.optimizer.lr])
    arguments = (theta, g, slots, t, lr)
    reference = backends.get("numpy").reference_ops()
    exact = descend(reference, network, hp, *convert(arguments, np.float64))
    placed = convert(arguments, hp.dtype, donated(backend))
    ours = descend(backend.ops(), network, hp, *placed)
    kind = ("network", hp.dtype)
    yield worst("optimizer update", backend, leaves(ours), leaves(exact), kind)


def first_batch(subject: Subject) -> tuple[Array, Array, Array | None, Noise, Array]:
    """The first batch of epoch 0, the noise of step 0 and the initial theta, in float64."""
    network, hp = subject.network, subject.hp
    numpy = backends.get("numpy")
    data = subject.data.prepare(network.n_in, network.n_out, hp.loss, numpy, "float64")
    index = permutation(np, hp.seed, 0, data.n)[: subject.batch_size]
    reference = numpy.reference_ops()
    x = reference.gather(data.X, index, data.shift, data.scale, np.float64)
    weight = None if data.weight is None else data.weight[index]
    noise = Noise(hp.seed, np.zeros(1, np.int32), np.arange(len(index), dtype=np.int32))
    return x, data.y[index], weight, noise, network.init(hp.seed, "float64")


# ---- the trajectory ----------------------------------------------------------------------------


class Track(NamedTuple):
    """A training on one backend, step by step."""

    backend: Backend
    ops: Ops
    step: Any
    state: State
    feed: Feed


def check_trajectory(subject: Subject, backend: Backend) -> Iterator[Row]:
    """The course of ``n_steps`` steps, compared after each, and the accuracy it ends at.

    In float64 the weights are compared. In float32 it is the mean loss: a unit whose
    pre-activation is 0 up to rounding may go either way, and the weights part from there.
    """
    hp = subject.hp
    exact = start_track(subject, backends.get("numpy"), "float64", reference=True)
    ours = start_track(subject, backend, hp.dtype, reference=False)
    for step in range(1, min(subject.n_steps, subject.data.n // subject.batch_size) + 1):
        before = map_arrays(exact.backend.to_numpy, exact.state)
        exact, ours = advance(exact), advance(ours)
        last = compare_tracks(f"course of {step} steps", exact, ours, hp.dtype)
        if not last.passed:
            where = first_divergence(
                subject.network, hp, ours, before, exact.feed, subject.epoch_steps
            )
            yield last._replace(note=f"step {step}, {where}")
            return
    yield last
    yield check_accuracy(subject, exact, ours)


def compare_tracks(check: str, exact: Track, ours: Track, dtype: str) -> Row:
    """The weights, or in float32 the mean loss, of two trainings at the same step."""
    figures = []
    for track in (ours, exact):
        state = map_arrays(track.backend.to_numpy, track.state)
        mean_loss = np.asarray(state.loss_sum / state.weight_sum)
        figures.append((state.theta, mean_loss))
    (theta, loss), (exact_theta, exact_loss) = figures
    tolerance = TOLERANCES["trajectory", dtype]
    if dtype == "float64":
        return row(f"{check}: weights", ours.backend.place, theta, exact_theta, tolerance)
    note = f"the weights differ by {relative_error(theta, exact_theta):.1e}"
    return row(f"{check}: mean loss", ours.backend.place, loss, exact_loss, tolerance, note)


def start_track(subject: Subject, backend: Backend, dtype: str, *, reference: bool) -> Track:
    network, hp = subject.network, subject.hp
    data = subject.data.prepare(network.n_in, network.n_out, hp.loss, backend, dtype)
    state = initial_state(network, Hyperparameters(optimizer=hp.optimizer, dtype=dtype))
    state = map_arrays(donated(backend), state._replace(theta=network.init(hp.seed, dtype)))
    order = permutation(backend.xp, hp.seed, 0, data.n, backend.device)
    feed = Feed(data.X, data.y, data.weight, data.shift, data.scale, order)
    build = make_step(network, hp, subject.batch_size, subject.epoch_steps)
    ops = backend.reference_ops() if reference else backend.ops()
    return Track(backend, ops, backend.compile(build, reference=reference), state, feed)


def advance(track: Track) -> Track:
    return track._replace(state=track.backend.loop(track.step, track.state, track.feed, 1))


def check_accuracy(subject: Subject, exact: Track, ours: Track) -> Row:
    """The accuracy (for regression the loss) on the data, after the trajectory."""
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
