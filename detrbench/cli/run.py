"""`detrbench run`: a suite of models and settings, and the folder it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import ProgressLine, deliver, say


def run(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="A name, such as article, or a path.")
    ],
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="DEVICE", help="cpu, cuda or cuda:N.  [default: from the suite]"
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Where to write.  [default: reports/<date>-<device>-<suite>]",
        ),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="What to print at the end.")
    ] = "table",
) -> None:
    """Count and time every model of a suite.

    Keeps run.json, table.md, table.csv and report.html in a folder of their own. Whatever is found
    is on disk before the next model begins.

    \b
    Examples:
      detrbench run article
      detrbench run article --device cuda
      detrbench run ./my-suite.yaml -o reports/today
    """
    from detrbench.catalog import find_suite

    find_suite(suite)
    options.check_format(format, None)
    if device is not None:
        options.check_device(device)
    if folder is not None and folder.exists() and not folder.is_dir():
        from detrbench.errors import UsageError

        raise UsageError(f"{folder} is a file", where="-o", cure="Name a folder.")

    from detrbench import suites
    from detrbench.render import render

    loaded = suites.load_suite(suite)
    if device is not None:
        loaded = suites.on_device(loaded, device)
    where = folder or suites.report_folder(loaded)
    progress = ProgressLine()
    try:
        report = suites.run(loaded, output=where, progress=progress, announce=progress.say)
    finally:
        progress.close()
    deliver(render(report, format), None)
    for written in sorted(where.iterdir()) if where.is_dir() else ():
        say(f"wrote {_shown(written)}")
    raise typer.Exit(report.exit_code)


def _shown(path: Path) -> Path:
    """The path from here, if it lies below here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
