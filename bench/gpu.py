"""Check and measure everything on an NVIDIA GPU, in ten minutes: see README.md in this folder.

python bench/gpu.py --out bench/records/<date>-<gpu>
python bench/gpu.py --out <folder> --rehearse
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from gpu_sections import SECTIONS
from gpu_sections.machine import libraries, nvidia_smi
from gpu_sections.rig import rig_of
from gpu_sections.speed import serve_contestant

from xpnet.bench import record, sections
from xpnet.bench.sections import Section
from xpnet.bench.sheet import REHEARSAL, Sheet, write_json
from xpnet.cli.options import Names, Number
from xpnet.errors import UsageError, XpnetError, check_positive

__all__ = ["command"]

HERE = Path(__file__).resolve().parent


def command(known: Mapping[str, Section] = SECTIONS) -> click.Command:
    """The command for these sections."""
    names = Names("section", known)

    @click.command()
    @click.option("--out", type=click.Path(path_type=Path), help="Folder of the record.")
    @click.option("--sections", "chosen", type=names, metavar="NAME,...", help="[default: all]")
    @click.option("--again", type=names, metavar="NAME,...", help="Repeat what is there already.")
    @click.option(
        "--minutes", type=Number(float, check_positive), default=9.5, show_default=True,
        help="What has not begun by then is passed over, and done by the next call.",
    )  # fmt: skip
    @click.option("--rehearse", is_flag=True, help="Without a GPU: the CPU stands in, all is tiny.")
    @click.option("--table", "only_table", is_flag=True, help="Only print the table anew.")
    @click.option("--only", type=click.Choice(list(known)), hidden=True)
    @click.option("--seconds", type=float, hidden=True)
    @click.option("--worker", hidden=True)
    def main(
        out: Path | None, only: str | None, seconds: float, worker: str | None, rehearse: bool,
        **options: Any,
    ) -> None:  # fmt: skip
        """Check and measure everything on an NVIDIA GPU; go on where it was interrupted."""
        if worker:
            serve_contestant(worker, rig_of(Path(), rehearse))
        elif out is None:
            raise click.UsageError("--out is missing: the folder of the record")
        elif only:
            sys.exit(in_section(known[only], out, rehearse, seconds))
        else:
            try:
                sys.exit(measure(known, out, rehearse, **options))
            except XpnetError as error:
                raise click.ClickException(str(error)) from error

    return main


def in_section(section: Section, out: Path, rehearse: bool, seconds: float) -> int:
    """What the process of a section does."""
    sections.end_with_parent()
    sheet = Sheet(out / f"{section.name}.json", rehearsal=rehearse)
    return sections.work(section, sheet, rig_of(out, rehearse), seconds, say)


def measure(
    known: Mapping[str, Section],
    out: Path,
    rehearse: bool,
    chosen: tuple[str, ...] | None,
    again: tuple[str, ...] | None,
    minutes: float,
    only_table: bool,
) -> int:
    """The whole command: the sections, the environment, the table; the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    if not only_table:
        check_kind(out, rehearse)
        for name in again or ():
            (out / f"{name}.json").unlink(missing_ok=True)
        write_environment(out, rehearse)
        sections.run_all(
            [known[name] for name in known if name in (chosen or again or known)],
            out,
            lambda section, seconds: process_of(section.name, out, rehearse, seconds),
            seconds=60 * minutes,
            rehearsal=rehearse,
            say=say,
        )
    sheets = sheets_in(known, out)
    text = "\n".join(page(known, sheets)) + "\n"
    (out / "table.txt").write_text(text, encoding="utf-8")
    click.echo(text, nl=False)
    wanted = sheets if only_table else chosen or again or known
    done = all(name in sheets and sheets[name].complete for name in wanted)
    return 0 if done and not any(sheet.failures for sheet in sheets.values()) else 1


def say(text: str) -> None:
    click.echo(text, err=True)


def process_of(name: str, out: Path, rehearse: bool, seconds: float) -> list[str]:
    """The command line of a section's process."""
    flag = ["--rehearse"] if rehearse else []
    arguments = ["--only", name, "--out", str(out), "--seconds", f"{seconds:.1f}", *flag]
    return [sys.executable, os.path.abspath(sys.argv[0]), *arguments]


def check_kind(out: Path, rehearse: bool) -> None:
    """Raise UsageError for a rehearsal in the folder of a record, or the other way round."""
    path = out / "environment.json"
    if path.exists() and ("REHEARSAL" in path.read_text(encoding="utf-8")) != rehearse:
        kind = "a record" if rehearse else "a rehearsal"
        raise UsageError(f"{out} holds {kind}: name another folder")


def write_environment(out: Path, rehearse: bool) -> None:
    """Processor, GPU, versions and commit, before anything is measured."""
    facts = {
        **({"REHEARSAL": REHEARSAL} if rehearse else {}),
        **record.environment(os.cpu_count() or 1),
        **record.commit(HERE.parent),
        "gpu": "none, a rehearsal" if rehearse else nvidia_smi(),
        "libraries": libraries(),
    }
    write_json(out / "environment.json", facts)


def sheets_in(known: Mapping[str, Section], out: Path) -> dict[str, Sheet]:
    """The sheets that are there, of rehearsals and of measurements."""
    found = {}
    for name in known:
        path = out / f"{name}.json"
        if path.exists():
            found[name] = Sheet(path, rehearsal="REHEARSAL" in Sheet.read(path))
    return found


def page(known: Mapping[str, Section], sheets: Mapping[str, Sheet]) -> list[str]:
    """Everything that was found, as text."""
    rehearsed = any("REHEARSAL" in sheet.content for sheet in sheets.values())
    shown = [REHEARSAL, ""] if rehearsed else []
    for name, section in known.items():
        sheet = sheets.get(name)
        mark = "REHEARSAL " if sheet and "REHEARSAL" in sheet.content else ""
        shown.extend([f"== {mark}{name}: {section.title}", *under(section, sheet), ""])
    return shown


def under(section: Section, sheet: Sheet | None) -> list[str]:
    """What one section found, what failed in it, and what is left to do."""
    if sheet is None:
        return ["not run"]
    failures = [f"FAILED: {failure}" for failure in sheet.failures]
    left = [f"not run: {', '.join(sheet.left)}"] if sheet.left else []
    try:
        lines = list(section.lines(sheet.parts))
    except Exception as error:  # one result that nobody foresaw must not hide the others
        lines = [f"the results cannot be shown ({type(error).__name__}: {error})"]
    return [*lines, *failures, *left]


if __name__ == "__main__":
    command()()
