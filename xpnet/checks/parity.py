"""Do the backends agree? Each against the plain primitives on NumPy in float64.

From the small to the large: the data and the random stream, every primitive, every layer, the
loss, the gradient, the optimizer's update, the course of some steps, and what they have learnt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import backends
from ..backends import Backend
from ..errors import DataError, check_count
from ..ops import Ops
from ..random import keep_mask, permutation
from ..state import donated
from ..step import descend
from ..types import Array, Noise
from .cases import call, convert, leaves, primitive_cases, primitives
from .compare import EXACT, TOLERANCES, Row, compare, row
from .course import check_course
from .subject import Subject

__all__ = ["compare", "first_batch", "parity"]


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
    yield from check_course(subject, backend)


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
        ours = backend.permutation(seed, epoch, n)
        yield row(f"order of epoch {epoch}", backend.place, backend.to_numpy(ours), exact, EXACT)
    m = subject.batch_size
    for i, width in enumerate(subject.network.widths[1:]):
        noise = Noise(seed, np.asarray([7], np.int32), np.arange(m, dtype=np.int32), i)
        exact = keep_mask(np, noise, width, 0.5)
        placed = convert(noise, np.float64, backend.asarray)
        ours = keep_mask(backend.xp, placed, width, 0.5, backend.device)
        yield row(f"dropout mask of layer {i}", backend.place, backend.to_numpy(ours), exact, EXACT)
    ours = backend.to_numpy(backend.asarray(subject.start(subject.hp.dtype)))
    exact = subject.start("float64")
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
            exact = call(reference, name, convert(arguments, np.float64), np.float64)
            ours = call(ops, name, convert(arguments, dtype, donated(backend)), own_dtype)
            yield worst(
                f"op {name} {case}".strip(), backend, leaves(ours), leaves(exact), ("op", dtype)
            )


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
    out, _ = network.forward(reference, theta, x, noise)
    if not np.isfinite(out).all():
        raise DataError("the network's output is not finite: there is nothing to compare")

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
    return x, data.y[index], weight, noise, subject.start("float64")
