"""``xpnet show``: what is in a model file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import tensorfile
from ..checkpoint import Model, model_from
from ..losses import LOSSES
from ..network import Network
from ..spec import Spec, describe, network_spec
from .options import FILE, common, emit

__all__ = ["show"]


@click.command()
@click.argument("model", type=FILE)
@common
def show(model: Path, as_json: bool) -> None:
    """The layers of MODEL, how its input is scaled, and how it was trained.

    MODEL is a file of ``xpnet train --save`` or ``--checkpoint``.
    """
    tensors, spec = tensorfile.read(model)
    with tensorfile.refusing(model):
        found = summary(model_from(tensors, spec, ()), spec.get("progress"))
    if as_json:
        emit(event="result", file=str(model), **found)
    else:
        print_summary(model, found)


def summary(model: Model, progress: Spec | None) -> Spec:
    """What there is to say of a model, as JSON."""
    network = model.network
    return {
        "format": tensorfile.FORMAT,
        "kind": "model" if progress is None else "checkpoint",
        "inputs": network.n_in,
        "outputs": network.n_out,
        "layers": layers_of(network),
        "parameters": network.n_parameters,
        "dtype": str(model.theta.dtype),
        "loss": describe(model.loss, LOSSES),
        "names": model.names,
        "scale": as_list(model.scale),
        "shift": as_list(model.shift),
        "progress": None
        if progress is None
        else {name: progress[name] for name in ("epoch", "step", "epoch_steps", "kept_epoch")},
        "data": model.config.get("data"),
        "options": model.config.get("options"),
        "machine": model.config.get("machine"),
    }


def layers_of(network: Network) -> list[Spec]:
    """Name, kind, hyperparameters, output width and number of parameters of each layer."""
    specs = network_spec(network)["layers"]
    counts = [0] * len(specs)
    for block in network.blocks:
        counts[block.layer] += math.prod(block.shape)
    return [
        {"name": f"layers.{i}", **spec, "width": network.widths[i + 1], "parameters": counts[i]}
        for i, spec in enumerate(specs)
    ]


def as_list(scaling: Any) -> Any:
    """A number or None as it is, an array as numbers."""
    return scaling.tolist() if isinstance(scaling, np.ndarray) else scaling


def print_summary(path: Path, found: Spec) -> None:
    console = Console()
    table = Table("name", "kind", "output width", "activation", "parameters")
    for column in (2, 4):
        table.columns[column].justify = "right"
    for layer in found["layers"]:
        table.add_row(
            layer["name"],
            kind_of(layer),
            f"{layer['width']:,}",
            layer.get("activation", ""),
            f"{layer['parameters']:,}" if layer["parameters"] else "",
        )
    console.print(table)
    for name, text in facts(path, found).items():
        console.print(f"[bold]{name}[/]: {escape(text)}", highlight=False, soft_wrap=True)


def kind_of(layer: Spec) -> str:
    """The kind of a layer, with what no other column tells."""
    shown = ("name", "type", "width", "parameters", "activation", "n_out", "init")
    rest = ", ".join(f"{k} {v}" for k, v in layer.items() if k not in shown)
    return f"{layer['type']} ({rest})" if rest else str(layer["type"])


def facts(path: Path, found: Spec) -> dict[str, str]:
    """What stands below the table of layers."""
    loss = {**found["loss"]}
    named = [str(loss.pop("type")), *(f"{k} {v:g}" for k, v in loss.items() if v)]
    texts = {
        "parameters": f"{found['parameters']:,} in {found['dtype']}, "
        f"{found['inputs']:,} inputs, {found['outputs']:,} outputs",
        "loss": ", ".join(named),
        "input": describe_scaling(found["shift"], found["scale"]),
    }
    if found["names"]:
        texts["classes"] = ", ".join(f"{c} {name}" for c, name in enumerate(found["names"]))
    if found["data"] is not None:
        texts["data"] = describe_data(found["data"])
    if isinstance(found["options"], dict):
        texts["trained with"] = " ".join(as_flags(found["options"]))
    if isinstance(machine := found["machine"], dict):
        texts["trained on"] = (
            f"{machine.get('backend')} {machine.get('version')} ({machine.get('device')}), "
            f"xpnet {machine.get('xpnet')}"
        )
    if found["progress"]:
        progress = found["progress"]
        texts["progress"] = (
            f"{progress['epoch']} epochs and {progress['step']} of "
            f"{progress['epoch_steps']} steps done"
        )
    texts["file"] = f"{path}: a {found['kind']}, safetensors, format {found['format']}"
    return texts


def describe_scaling(shift: Any, scale: Any) -> str:
    if shift is None and not isinstance(scale, list):
        return "as it is" if scale == 1 else f"times {scale:g} (1/{1 / scale:g})"
    shifts = "x" if shift is None else "x - shift"
    return f"({shifts}) * scale, feature by feature; --json has the numbers"


def describe_data(data: Any) -> str:
    if not isinstance(data, dict):
        return str(data)
    return (
        f"{data.get('path')}, {data.get('samples')} samples to train and "
        f"{data.get('test_samples')} to test, SHA-256 {data.get('sha256')}"
    )


def as_flags(options: Spec) -> list[str]:
    """The options as they would be written on the command line."""
    flags = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            flags.append(flag)
        elif isinstance(value, list) and value:
            flags.append(f"{flag} {','.join(map(str, value))}")
        elif name == "hidden":
            flags.append(f"{flag} none")
        elif value is not None and value is not False and value != []:
            flags.append(f"{flag} {value}")
    return flags
