"""``--config run.toml``: options from a file, under flags and environment variables.

A key is a long flag without its dashes, with hyphens or underscores. Click asks its
``default_map`` after the command line and the environment, which is the precedence wanted.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError, check_choice
from .options import FILE, Command, Number, Widths

__all__ = ["config_option"]

NOT_IN_A_FILE = ("config", "debug", "help")


def config_option(command: Command) -> Command:
    """Give ``command`` the option --config, which fills in the other options."""
    return click.option(
        "--config",
        type=FILE,
        metavar="FILE",
        is_eager=True,  # before any other option looks for its value
        expose_value=False,
        callback=apply,
        help="TOML file of options, such as batch_size = 256. A flag or an environment variable "
        "beats it.",
    )(command)


def apply(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    """Make what the file says the defaults of this call."""
    if path is not None:
        ctx.default_map = {**(ctx.default_map or {}), **read_config(path, ctx)}


def read_config(path: Path, ctx: click.Context) -> dict[str, Any]:
    """The options in a TOML file, by the names of the command's parameters.

    Raises OSError, and UsageError with the file and the line for what is no TOML, no option
    or no value of it.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
        found = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not UTF-8 text, as TOML must be") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not valid TOML: {error or 'it nests too deeply'}") from error

    parameters = {
        opt.removeprefix("--").replace("-", "_"): param
        for param in ctx.command.get_params(ctx)
        for opt in param.opts
        if opt.startswith("--")
    }
    known = [key for key in parameters if key not in NOT_IN_A_FILE]
    options: dict[str, Any] = {}
    for key, value in found.items():
        where = f"{path}, line {line_of(key, text)}"
        try:
            param = parameters[check_choice("option", key.replace("-", "_"), known)]
            if param.name in options:
                raise UsageError(f"{key} is there twice, with a hyphen and with an underscore")
            options[str(param.name)] = checked(key, value, param, ctx)
        except click.UsageError as error:
            raise UsageError(f"{where}: {error.message}") from error
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
    return options


def checked(key: str, value: Any, param: click.Parameter, ctx: click.Context) -> Any:
    """``value`` as TOML gave it, if it has the option's type and passes its check."""
    wanted, fits = type_of(param)
    if not fits(value):
        raise UsageError(f"{key} must be {wanted}, not {shown(value)}")
    if isinstance(param.type, Widths) or getattr(param.type, "several", False):
        # a list is what commas separate on the command line
        entries = value if isinstance(value, list) else [value]
        value = ",".join(str(entry) for entry in entries)
    param.type.convert(value, param, ctx)
    return value


def type_of(param: click.Parameter) -> tuple[str, Any]:
    """What TOML must hold for an option: in words, and as a test."""
    kind = param.type
    if isinstance(param, click.Option) and param.is_flag:
        return "true or false", lambda v: isinstance(v, bool)
    if isinstance(kind, Number) and kind.kind is int:
        return "a whole number", is_whole
    if isinstance(kind, Number):
        return "a number", is_number
    if isinstance(kind, Widths):
        return (
            "a list of whole numbers",
            lambda v: is_whole(v) or isinstance(v, str) or is_list(v, is_whole),
        )
    if getattr(kind, "several", False):
        return (
            "a string or a list",
            lambda v: (
                isinstance(v, str) or is_list(v, lambda e: isinstance(e, str) or is_number(e))
            ),
        )
    return "a string", lambda v: isinstance(v, str)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return is_whole(value) or isinstance(value, float)


def is_list(value: Any, fits: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(fits(entry) for entry in value)


def shown(value: Any) -> str:
    """A value as TOML writes it, or its kind where that is long."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case int() | float() | str() if len(repr(value)) < 50:
            return repr(value)
        case list() if len(repr(value)) < 50:
            return repr(value)
    return f"a {type(value).__name__}"


def line_of(key: str, text: str) -> int:
    """The line a top-level key stands in: TOML's parser does not tell."""
    name = re.escape(key)
    found = re.search(rf"""(?m)^[ \t]*(\[+[ \t]*)?(["']?){name}\2[ \t]*[=.\]]""", text)
    return text.count("\n", 0, found.start()) + 1 if found else 1
