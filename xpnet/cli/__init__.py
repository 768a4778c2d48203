"""The command line. Every command ends with one of ``EXIT_CODES``; errors are one line."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback

import click

from ..errors import XpnetError
from .backends import backends
from .evaluate import evaluate
from .options import debugging
from .train import train

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

INTERNAL, INPUT_OUTPUT, INTERRUPTED = 70, 74, 130


class Commands(click.Group):
    """A group that suggests the near match for an unknown command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from ..errors import check_choice

        if not args[0].startswith("-"):
            check_choice("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: " + "; ".join(f"{code} {text}" for code, text in EXIT_CODES.items()) + ".",
)
@click.version_option(package_name="xpnet", message="%(prog)s %(version)s")
def cli() -> None:
    """Train multilayer perceptrons on NumPy and every other array library."""


for command in (backends, evaluate, train):
    cli.add_command(command)


def main() -> None:
    """Run the command in ``sys.argv`` and exit."""
    if "_XPNET_COMPLETE" in os.environ:
        cli.main(prog_name="xpnet")  # the shell asks for completions
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command; print what went wrong as one line; return the exit code."""
    try:
        with cli.make_context("xpnet", arguments) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except click.ClickException as error:
        return report(error.format_message(), error.exit_code)
    except XpnetError as error:
        return report(str(error), error.exit_code)
    except OSError as error:
        silence_stdout()
        where = f"{error.filename}: " if error.filename else ""
        return report(f"{where}{error.strerror or error}", INPUT_OUTPUT)
    except MemoryError:
        return report("out of memory: lower --batch-size or --hidden", 1)
    except (KeyboardInterrupt, click.Abort):
        return report("interrupted", INTERRUPTED)
    except Exception as error:  # whatever it is, the user gets one line and a code
        message = f"internal error, please report it: {type(error).__name__}: {error}"
        return report(message, INTERNAL)
    return 0


def report(message: str, exit_code: int) -> int:
    """Print the error that is being handled and return its exit code."""
    if debugging():
        traceback.print_exc()
    line = " ".join(message.split())
    with contextlib.suppress(OSError):
        print(f"Error: {line}", file=sys.stderr)
    return exit_code


def silence_stdout() -> None:
    """Send the rest of the output nowhere, so that closing it does not fail once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
