"""What commands share: options, their types, and JSON lines on stdout."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from .. import backends, machine
from ..backends import BACKENDS, Backend
from ..backends.backend import GRAPH, PRECISION
from ..errors import UsageError, check_choice, check_count

__all__ = [
    "FILE",
    "Command",
    "Commands",
    "Name",
    "Names",
    "Number",
    "Texts",
    "Widths",
    "common",
    "computing",
    "emit",
    "place_of",
    "remark",
    "where",
]

Command = Callable[..., Any]


class Commands(click.Group):
    """A group that suggests the near match for an unknown command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-"):
            check_choice("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


class Name(click.ParamType[Any]):
    """One of the names of a table; another one is answered with the near match."""

    name = "name"

    def __init__(self, what: str, known: Iterable[str]) -> None:
        self.what = what
        self.known = list(known)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "|".join(self.known)

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        try:
            return check_choice(self.what, value, self.known)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Names(Name):
    """One such name, or several with commas between them."""

    several = True

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(super(Names, self).convert(name.strip(), param, ctx) for name in names)


class Texts(click.ParamType[Any]):
    """Texts that nobody knows beforehand, such as names of columns, with commas between them."""

    name = "texts"
    several = True

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        if not isinstance(value, str):
            return tuple(value)
        texts = tuple(text.strip() for text in value.split(","))
        if not all(texts):
            self.fail(f"{value!r}: one of the names is empty", param, ctx)
        return texts


class Number(click.ParamType[Any]):
    """A whole or a real number that passes a check of ``errors``, which names the option."""

    def __init__(self, kind: type[int] | type[float], check: Callable[[str, Any], Any]) -> None:
        self.name = "integer" if kind is int else "float"
        self.kind = kind
        self.check = check

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            number = self.kind(value)
        except ValueError:
            wanted = "whole number" if self.kind is int else "number"
            self.fail(f"{value!r} is no {wanted}", param, ctx)
        return self.check(param.opts[0], number)


class Widths(click.ParamType[Any]):
    """Whole numbers with commas between them, or ``none``."""

    name = "widths"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if not isinstance(value, str):
            return tuple(value)
        if value.strip() in ("", "none"):
            return ()
        try:
            widths = [int(width) for width in value.split(",")]
        except ValueError:
            self.fail(
                f"{value!r}: widths are whole numbers with commas between them: 256,128", param, ctx
            )
        if max(widths) >= 2**31:  # where the index of a weight no longer fits an int32
            self.fail(f"{max(widths)}: a layer that wide fits into no memory", param, ctx)
        return tuple(check_count(f"each width of {param.opts[0]}", width) for width in widths)


FILE = click.Path(path_type=Path, readable=False)
"""A path as it is: whoever opens the file says what is wrong with it."""


def common(command: Command) -> Command:
    """The options every command has."""
    debug = click.option(  # cli.run looks for it, so that it also helps with a wrong option
        "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON lines only.")
    return as_json(debug(command))


def where(command: Command) -> Command:
    """The options that say where the arrays live."""
    backend = click.option(
        "--backend",
        type=Name("backend", ["auto", *BACKENDS]),
        default="auto",
        show_default=True,
        envvar="XPNET_BACKEND",
        show_envvar=True,
        help="Array library to compute with.",
    )
    device = click.option(
        "--device", envvar="XPNET_DEVICE", show_envvar=True, help="Device of the backend."
    )
    threads = click.option(
        "--threads",
        type=Number(int, check_count),
        help="Threads of a matrix product on the CPU.  [default: all cores]",
    )
    return backend(device(threads(command)))


def computing(command: Command) -> Command:
    """The options that say how the backend of a training computes, where it leaves a choice."""
    precision = click.option(
        "--precision",
        type=Name("precision", PRECISION),
        default="fp32",
        show_default=True,
        help="Of float32 in matrix products; tf32 and bf16 are rounded, and fast on GPUs.",
    )
    graph = click.option(
        "--graph",
        type=Name("way with graphs", GRAPH),
        default="auto",
        show_default=True,
        help="Replay the step as one graph on a GPU: if possible, else fail, or never.",
    )
    return precision(graph(command))


def place_of(backend: str, device: str | None, threads: int | None, dtype: str) -> Backend:
    """The backend that the options of ``where`` name, able to compute with ``dtype``."""
    if threads is not None:
        machine.limit_threads(threads)
    if dtype == "float64":
        backends.allow_float64()  # before the first backend is loaded: one of them asks only then
    return backends.get(backend, device)


def remark(text: str) -> None:
    """Print what is no result: to stderr."""
    print(text, file=sys.stderr)


def emit(**event: Any) -> None:
    """Print one JSON line at once; a number that is not finite becomes null."""
    print(json.dumps(finite(event)), flush=True)


def finite(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: finite(entry) for key, entry in value.items()}
        case list() | tuple():
            return [finite(entry) for entry in value]
    return value
