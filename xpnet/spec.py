"""Networks, losses, optimizers and schedules as JSON-ready data, and back.

Each is a frozen dataclass with an entry in a closed table; its data is its name in the table
and its fields. Nothing is ever imported or called by a name that stands in a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .activations import Activation
from .errors import DataError, UsageError, check_choice
from .layers import LAYERS
from .network import Network

__all__ = ["build", "describe", "network_from_spec", "network_spec"]

Spec = dict[str, Any]


def describe(thing: Any, table: Mapping[str, Callable[..., Any]]) -> Spec:
    """``{"type": name in the table, field: value, ...}``; an activation becomes its name."""
    names = {cls: name for name, cls in table.items()}
    if type(thing) not in names:
        raise UsageError(
            f"a {type(thing).__name__} cannot be saved: it is not one of {', '.join(table)}"
        )
    fields = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    values = {k: v.name if isinstance(v, Activation) else v for k, v in fields.items()}
    return {"type": names[type(thing)], **values}


def build(spec: Spec, table: Mapping[str, Callable[..., Any]]) -> Any:
    """The object that ``describe`` made ``spec`` of; what does not fit raises DataError."""
    if not isinstance(spec, dict):
        raise DataError(f"{spec!r} is no description of one of {', '.join(table)}")
    arguments = dict(spec)
    name = check_choice("type", arguments.pop("type", ""), table)
    try:
        return table[name](**arguments)
    except TypeError as error:
        raise DataError(f"{name} does not fit this version of xpnet: {error}") from error


def network_spec(network: Network) -> Spec:
    """The network as data."""
    return {"n_in": network.n_in, "layers": [describe(layer, LAYERS) for layer in network.layers]}


def network_from_spec(spec: Spec, activations: Sequence[Activation] = ()) -> Network:
    """The network of ``network_spec``; ``activations`` supplies those that are not built in."""
    own = {f.name: f for f in activations}
    layers = []
    for layer in spec["layers"]:
        name = layer.get("activation")
        layers.append(build({**layer, "activation": own[name]} if name in own else layer, LAYERS))
    return Network(spec["n_in"], layers)
