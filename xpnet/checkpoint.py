"""Model and checkpoint files: safetensors with the network as JSON beside the tensors.

A model file holds the parameters ``layers.0.W``, ``layers.0.b``, ... A checkpoint is a model file
that also holds the ``state.Run`` with all of its State, so that training goes on exactly where it
was; whatever reads models reads checkpoints. The metadata hold a format version and a SHA-256
over themselves and every tensor: a damaged file is refused. Nothing is pickled.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .activations import ACTIVATIONS, Activation
from .data import check_scaling
from .errors import CheckpointError, UsageError, check_count
from .hyperparameters import Hyperparameters
from .losses import LOSSES, BinaryCrossEntropy, SoftmaxCrossEntropy
from .network import DTYPES, Network, check_theta
from .spec import Spec, build, describe, network_from_spec, network_spec
from .state import Report, Run, State, initial_state
from .tensorfile import read, refusing, write
from .types import Array, Counters, Loss, NumpyArray

__all__ = ["Checkpoint", "Model", "load", "load_checkpoint", "save", "save_checkpoint"]


Path_ = str | os.PathLike[str]


class Model(NamedTuple):
    """A trained network and what it takes to use it.

    ``theta`` (n_theta,) holds its parameters; it takes (x - shift) * scale, as in ``Dataset``;
    ``loss`` says what the outputs mean; ``config`` is anything JSON can hold, such as how it was
    trained; and ``names`` are those of the classes 0, 1, ..., if they have any.
    """

    network: Network
    theta: Array
    loss: Loss = SoftmaxCrossEntropy()
    scale: Array | float = 1.0
    shift: Array | None = None
    config: Spec = {}  # noqa: RUF012 - never written to
    names: tuple[str, ...] | None = None


class Checkpoint(NamedTuple):
    """A training to go on with: its Run, on the host, and the ``machine`` it ran on."""

    model: Model
    run: Run
    machine: Spec


def save(path: Path_, model: Model) -> None:
    """Write a model file, atomically; theta is a NumPy array.

    Raises OSError, and UsageError for what no file can hold.
    """
    write(Path(path), weights(model), model_spec(model))


def load(path: Path_, activations: Sequence[Activation] = ()) -> Model:
    """Read a model file or the model in a checkpoint; theta is a NumPy array.

    ``activations`` supplies those of one's own that the network uses. Raises OSError, and
    CheckpointError for a file that is damaged or not one of ours.
    """
    tensors, spec = read(Path(path))
    with refusing(Path(path)):
        return model_from(tensors, spec, activations)


def save_checkpoint(path: Path_, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, atomically. Raises as ``save`` does."""
    run = checkpoint.run
    tensors = {**weights(checkpoint.model), **state_tensors(run.state)}
    progress = {
        "epoch": run.epoch,
        "step": run.step,
        "epoch_steps": run.epoch_steps,
        "seconds": run.seconds,
        "reports": [report_as_json(report) for report in run.reports],
        "kept_epoch": run.kept_epoch,
    }
    spec = model_spec(checkpoint.model)
    write(Path(path), tensors, {**spec, "progress": progress, "machine": checkpoint.machine})


def load_checkpoint(path: Path_) -> Checkpoint:
    """Read a checkpoint. Raises as ``load`` does, also for a model without a training state."""
    tensors, spec = read(Path(path))
    with refusing(Path(path)):
        model = model_from(tensors, spec, ())
        if "progress" not in spec:
            raise CheckpointError("a finished model, not a checkpoint: it cannot be resumed")
        return Checkpoint(model, run_from(tensors, spec["progress"], model), dict(spec["machine"]))


# ---- models and states as tensors ----------------------------------------------------------


def model_spec(model: Model) -> Spec:
    if model.names is not None:
        check_names(model.names, model.network, model.loss)
    return {
        "network": network_spec(model.network),
        "loss": describe(model.loss, LOSSES),
        "scale": None if hasattr(model.scale, "shape") else float(model.scale),
        "names": None if model.names is None else list(model.names),
        "config": model.config,
    }


def check_names(names: Sequence[str], network: Network, loss: Loss) -> None:
    """Raise UsageError unless there is a name for each class, which can be printed."""
    yes_or_no = isinstance(loss, BinaryCrossEntropy) and network.n_out == 1
    n_classes = 2 if yes_or_no else network.n_out
    if isinstance(names, str) or len(names) != n_classes or len(set(names)) != n_classes:
        raise UsageError(f"names must be {n_classes} different ones, one for each class")
    for name in names:
        if not (isinstance(name, str) and name and name.isprintable()):
            raise UsageError(f"the name of a class must be text that can be printed, not {name!r}")


def weights(model: Model) -> dict[str, NumpyArray]:
    """The parameters by name: ``layers.0.W``, ``layers.0.b``, ...; and what scales the input."""
    network, theta = model.network, model.theta
    check_theta(network, theta)
    named = {
        f"layers.{i}.{name}": array
        for i, layer in enumerate(network.split(np, theta))
        for name, array in layer.items()
    }
    scaling = {"input.scale": model.scale, "input.shift": model.shift}
    return {**named, **{name: a for name, a in scaling.items() if hasattr(a, "shape")}}


def model_from(
    tensors: Mapping[str, NumpyArray], spec: Spec, activations: Sequence[Activation]
) -> Model:
    known = {*ACTIVATIONS, *(f.name for f in activations)}
    for layer in spec["network"]["layers"]:
        if layer.get("activation", "identity") not in known:
            raise CheckpointError(
                f"it uses the activation {layer['activation']!r}, which is not built in: "
                "supply it with load(path, activations=[...])"
            )
    network = network_from_spec(spec["network"], activations)
    params: list[dict[str, NumpyArray]] = [{} for _ in network.layers]
    dtypes = set()
    for block in network.blocks:
        name = f"layers.{block.layer}.{block.name}"
        if name not in tensors or tensors[name].shape != block.shape:
            raise CheckpointError(f"{name} is missing or does not have the shape {block.shape}")
        params[block.layer][block.name] = tensors[name]
        dtypes.add(str(tensors[name].dtype))
    if len(dtypes) > 1 or not dtypes <= set(DTYPES):
        raise CheckpointError(
            f"weights are all {' or all '.join(DTYPES)}, not {', '.join(sorted(dtypes))}"
        )
    scale, shift = tensors.get("input.scale", spec["scale"]), tensors.get("input.shift")
    for array in (scale, shift):
        if isinstance(array, np.ndarray) and array.shape != (network.n_in,):
            raise CheckpointError(f"what scales the input has no shape ({network.n_in},)")
    check_scaling(shift, scale)
    loss = build(spec["loss"], LOSSES)
    names = spec.get("names")  # older files have none
    if names is not None:
        check_names(names, network, loss)
        names = tuple(names)
    return Model(network, network.flatten(params), loss, scale, shift, dict(spec["config"]), names)


def run_from(tensors: Mapping[str, NumpyArray], progress: Spec, model: Model) -> Run:
    state = state_from(tensors)
    like = initial_state(model.network, Hyperparameters(dtype=str(model.theta.dtype)))
    like = like._replace(slots=(like.theta,) * len(state.slots))
    wanted = state_tensors(like)
    for name, array in state_tensors(state).items():
        if (array.shape, array.dtype) != (wanted[name].shape, wanted[name].dtype):
            raise CheckpointError(f"{name} has a wrong shape or dtype")
    counts = ("epoch", "step", "epoch_steps", "kept_epoch")
    epoch, step, epoch_steps, kept_epoch = (
        check_count(name, progress[name], minimum=0) for name in counts
    )
    reports = tuple(report_from_json(report) for report in progress["reports"])
    if len(reports) != epoch or step >= epoch_steps or kept_epoch > epoch:
        raise CheckpointError("what it says of the progress contradicts itself")
    kept = model.theta if kept_epoch else None
    return Run(
        state, epoch, step, epoch_steps, float(progress["seconds"]), reports, kept, kept_epoch
    )


def report_as_json(report: Report) -> Spec:
    """JSON has no NaN and no infinity: these become "nan" and "inf"."""
    return {k: v if v is None or math.isfinite(v) else str(v) for k, v in report._asdict().items()}


def report_from_json(spec: Spec) -> Report:
    figures = {name: None if v is None else float(v) for name, v in spec.items()}
    return Report(**{**figures, "epoch": spec["epoch"]})


def state_tensors(state: State) -> dict[str, NumpyArray]:
    """The training state by name: ``state.theta``, ``state.slots.0``, ``state.t``, ..."""
    slots = {f"slots.{i}": slot for i, slot in enumerate(state.slots)}
    named = {"theta": state.theta, **state.counters._asdict(), **slots}
    return {f"state.{name}": array for name, array in named.items()}


def state_from(tensors: Mapping[str, NumpyArray]) -> State:
    n_slots = sum(name.startswith("state.slots.") for name in tensors)
    slots = tuple(tensors[f"state.slots.{i}"] for i in range(n_slots))
    counters = Counters(*(tensors[f"state.{name}"] for name in Counters._fields))
    return State(tensors["state.theta"], slots, counters)
