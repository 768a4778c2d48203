"""Model and checkpoint files: safetensors with the network as JSON beside the tensors.

A model file holds ``layers.0.W``, ``layers.0.b``, ...: the weights that count. A checkpoint is a
model file that also holds all of ``train.State``, so that training goes on exactly where it
was; whatever reads models reads checkpoints. The metadata keep a format version and a
SHA-256 over themselves and every tensor: a damaged file is refused. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from .activations import Activation
from .errors import CheckpointError, XpnetError
from .files import write_atomically
from .losses import LOSSES, SoftmaxCrossEntropy
from .network import Network
from .spec import Spec, build, describe, network_from_spec, network_spec
from .state import Report, Run, State
from .types import Array, Loss

__all__ = ["Checkpoint", "Model", "load", "load_checkpoint", "save", "save_checkpoint"]

FORMAT = 1

HostArray = np.ndarray[Any, Any]
Path_ = str | os.PathLike[str]


class Model(NamedTuple):
    """A trained network and what it takes to use it.

    ``theta`` (n_theta,) are the weights, inputs are multiplied by ``scale``, ``loss`` says what
    the outputs mean, and ``config`` is anything JSON can hold, such as how it was trained.
    """

    network: Network
    theta: Array
    loss: Loss = SoftmaxCrossEntropy()
    scale: float = 1.0
    config: Spec = {}  # noqa: RUF012 - never written to


class Checkpoint(NamedTuple):
    """A training to go on with: its Run, on the host, and the ``machine`` it ran on."""

    model: Model
    run: Run
    machine: Spec


def save(path: Path_, model: Model) -> None:
    """Write a model file, atomically; theta is a NumPy array. Raises OSError."""
    write(Path(path), weights(model), model_spec(model))


def load(path: Path_, activations: Sequence[Activation] = ()) -> Model:
    """Read a model file or the model in a checkpoint; theta is a NumPy array.

    ``activations`` supplies those of one's own that the network uses. Raises OSError, and
    CheckpointError for a file that is damaged or not one of ours.
    """
    tensors, spec = read(Path(path))
    return model_from(Path(path), tensors, spec, activations)


def save_checkpoint(path: Path_, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, atomically. Raises OSError."""
    run = checkpoint.run
    tensors = {**weights(checkpoint.model), **state_tensors(run.state)}
    progress = {
        "epoch": run.epoch,
        "step": run.step,
        "epoch_steps": run.epoch_steps,
        "seconds": run.seconds,
        "reports": [report._asdict() for report in run.reports],
        "kept_epoch": run.kept_epoch,
    }
    spec = model_spec(checkpoint.model)
    write(Path(path), tensors, {**spec, "progress": progress, "machine": checkpoint.machine})


def load_checkpoint(path: Path_) -> Checkpoint:
    """Read a checkpoint. Raises as ``load`` does, also for a model without a training state."""
    path = Path(path)
    tensors, spec = read(path)
    model = model_from(path, tensors, spec, ())
    if "progress" not in spec:
        raise CheckpointError(f"{path}: a finished model, not a checkpoint: it cannot be resumed")
    try:
        progress = dict(spec["progress"])
        reports = tuple(Report(**report) for report in progress.pop("reports"))
        run = Run(
            state=state_from(tensors),
            reports=reports,
            kept=model.theta if progress["kept_epoch"] else None,
            **progress,
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its training state is not one of this version") from error
    return Checkpoint(model, run, spec["machine"])


# ---- models and states as tensors ----------------------------------------------------------


def model_spec(model: Model) -> Spec:
    return {
        "network": network_spec(model.network),
        "loss": describe(model.loss, LOSSES),
        "scale": model.scale,
        "config": model.config,
    }


def weights(model: Model) -> dict[str, HostArray]:
    """The parameters by name: ``layers.0.W``, ``layers.0.b``, ..."""
    params = model.network.split(np, model.theta)
    return {
        f"layers.{i}.{name}": array
        for i, layer in enumerate(params)
        for name, array in layer.items()
    }


def model_from(
    path: Path, tensors: Mapping[str, HostArray], spec: Spec, activations: Sequence[Activation]
) -> Model:
    try:
        network = network_from_spec(spec["network"], activations)
        params = [
            {name: tensors[f"layers.{i}.{name}"] for name in layer.shapes(1)}
            for i, layer in enumerate(network.layers)
        ]
        for block in network.blocks:
            if params[block.layer][block.name].shape != block.shape:
                raise CheckpointError(
                    f"{path}: layers.{block.layer}.{block.name} has a wrong shape"
                )
        return Model(
            network,
            network.flatten(params),
            build(spec["loss"], LOSSES),
            spec["scale"],
            spec["config"],
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: no model of this version of xpnet: {error}") from error
    except XpnetError as error:
        message = str(error).removeprefix(f"{path}: ")
        raise CheckpointError(f"{path}: {message}") from error


def state_tensors(state: State) -> dict[str, HostArray]:
    """The training state by name: ``state.theta``, ``state.slots.0``, ``state.t``, ..."""
    named = {f"state.{name}": a for name, a in state._asdict().items() if name != "slots"}
    return {**named, **{f"state.slots.{i}": slot for i, slot in enumerate(state.slots)}}


def state_from(tensors: Mapping[str, HostArray]) -> State:
    n_slots = sum(name.startswith("state.slots.") for name in tensors)
    slots = tuple(tensors[f"state.slots.{i}"] for i in range(n_slots))
    named = {name: tensors[f"state.{name}"] for name in State._fields if name != "slots"}
    return State(slots=slots, **named)


# ---- the file ------------------------------------------------------------------------------


def write(path: Path, tensors: Mapping[str, HostArray], spec: Spec) -> None:
    arrays = {
        name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()
    }
    metadata = {"format": str(FORMAT), "xpnet": json.dumps(spec, allow_nan=False)}
    metadata["sha256"] = fingerprint(arrays, metadata)
    write_atomically(path, safetensors.numpy.save(arrays, metadata))


def read(path: Path) -> tuple[dict[str, HostArray], Spec]:
    """The tensors and the JSON of a file; only an undamaged file of ours gets through."""
    content = path.read_bytes()
    try:
        tensors = safetensors.numpy.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged, or no safetensors file ({error})") from error
    metadata = header.get("__metadata__") or {}
    if "xpnet" not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not written by xpnet")
    if metadata.get("format") != str(FORMAT):
        raise CheckpointError(
            f"{path}: format {metadata.get('format')}, but this xpnet reads format {FORMAT}: "
            "pip install --upgrade xpnet"
        )
    if metadata.pop("sha256", None) != fingerprint(tensors, metadata):
        raise CheckpointError(f"{path}: damaged: its content does not match its SHA-256")
    return tensors, json.loads(metadata["xpnet"])


def fingerprint(tensors: Mapping[str, HostArray], metadata: Mapping[str, str]) -> str:
    """SHA-256 over the metadata and the name, dtype, shape and bytes of each tensor."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
