"""The command line. Every command ends with one of ``EXIT_CODES``; errors are one line."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import traceback

import click

from ..errors import XpnetError
from ..version import __version__
from .options import Commands
from .signals import stop_on_sigterm

__all__ = ["cli", "main"]

EXIT_CODES = {
    0: "done",
    1: "failed: a check or a training went wrong",
    2: "usage",
    65: "bad data",
    70: "internal error",
    74: "input/output",
    75: "try again (resume)",
    130: "interrupted (Ctrl-C)",
    143: "terminated",
}

NAME_A_FILE = "name a file in a folder that exists"
REMEDIES = {
    errno.ENOENT: "check the path; missing folders are not created",
    errno.ENOTDIR: NAME_A_FILE,
    errno.EISDIR: NAME_A_FILE,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: "check the permissions, or choose another place",
    errno.EPERM: "check the permissions, or choose another place",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOSPC: "free some space, or choose another place; earlier files are intact",
    errno.EDQUOT: "free some space, or choose another place; earlier files are intact",
    errno.EPIPE: "the program that read it has ended",
}
"""What to do about an OSError."""

INTERNAL, INPUT_OUTPUT, INTERRUPTED = 70, 74, 130


COMMANDS = (
    "backends",
    "bench",
    "doctor",
    "evaluate",
    "explain",
    "gradcheck",
    "parity",
    "predict",
    "recipe",
    "show",
    "train",
)


class Modules(Commands):
    """Commands that are modules here, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            module = importlib.import_module(f".{cmd_name}", __name__)
            self.add_command(getattr(module, cmd_name))
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=Modules,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: " + "; ".join(f"{code} {text}" for code, text in EXIT_CODES.items()) + ".",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Train multilayer perceptrons on NumPy and every other array library."""


def main() -> None:
    """Run the command in ``sys.argv`` and exit."""
    if "_XPNET_COMPLETE" in os.environ:
        cli.main(prog_name="xpnet")  # the shell asks for completions
    stop_on_sigterm()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command; print what went wrong as one line; return the exit code."""
    try:
        with cli.make_context("xpnet", arguments) as context:
            cli.invoke(context)
        if sys.stdout:  # it is None where the parent closed it
            sys.stdout.flush()
        return 0
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except BaseException as error:
        message, exit_code = describe_error(error)
        if "--debug" in arguments:
            traceback.print_exc()
        with contextlib.suppress(OSError):
            print("Error: " + " ".join(message.split()), file=sys.stderr)
        return exit_code


def describe_error(error: BaseException) -> tuple[str, int]:
    """What went wrong, where, and what to do about it; and the exit code."""
    match error:
        case click.exceptions.NoArgsIsHelpError(ctx=context):
            click.echo(context.get_help(), err=True)
            return f"a command is missing: {context.command_path} COMMAND, see above", 2
        case click.UsageError(ctx=click.Context() as context):
            return f"{error.format_message()} (see {context.command_path} --help)", error.exit_code
        case click.ClickException():
            return error.format_message(), error.exit_code
        case XpnetError():
            return str(error), error.exit_code
        case SystemExit(__context__=BrokenPipeError() as cause):  # rich's, for tables and bars
            return describe_error(cause)
        case OSError(filename=None):
            silence_stdout()
            return f"standard output: {describe_os_error(error)}", INPUT_OUTPUT
        case OSError():
            return f"{error.filename}: {describe_os_error(error)}", INPUT_OUTPUT
        case MemoryError():
            return "out of memory: lower --batch-size or --hidden", 1
        case KeyboardInterrupt() | click.Abort():
            return "interrupted at once: files written before are intact", INTERRUPTED
    what = f"{type(error).__name__}: {error}"  # whatever it is, the user gets one line and a code
    return f"internal error: {what}; please report it with what --debug prints", INTERNAL


def describe_os_error(error: OSError) -> str:
    remedy = REMEDIES.get(error.errno or 0)
    return f"{error.strerror or error}" + (f": {remedy}" if remedy else "")


def silence_stdout() -> None:
    """Send the rest of the output nowhere, so that closing it does not fail once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
