"""Paragraphs of text, as wide as the terminal, but no wider than is easy to read."""

from __future__ import annotations

import textwrap

import click
from rich.console import Console

__all__ = ["Page"]

WIDEST = 100


class Page:
    """Lines that are printed together: rich colours them, click says what is wrong with a pipe."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, emoji=False)
        self.width = min(self.console.width, WIDEST)
        self.lines: list[tuple[str, str]] = []

    def say(self, text: str, indent: str = "", hanging: str = "", style: str = "") -> None:
        """A paragraph; ``hanging`` is the indent of all its lines but the first."""
        wrapped = textwrap.wrap(
            text,
            self.width,
            initial_indent=indent,
            subsequent_indent=hanging or indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        self.lines += [(line, style) for line in wrapped or [""]]

    def print(self) -> None:
        """Print all that was said."""
        with self.console.capture() as captured:
            for line, style in self.lines:
                self.console.print(line, style=style, markup=False, soft_wrap=True)
        click.echo(captured.get(), nl=False, color=True)
