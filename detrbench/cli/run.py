"""`detrbench run`: a suite of models and settings, and the folder it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import ProgressLine, deliver, say
from detrbench.core.errors import UsageError


def run(
    context: typer.Context,
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="A name, such as article, or a path.")
    ],
    device: Annotated[
        str | None,
        options.taking("DEVICE", "cpu, cuda or cuda:N, for every case.  [default: from the suite]"),
    ] = None,
    folder: Annotated[
        Path | None,
        options.taking(
            "FOLDER",
            "Where to write.  [default: reports/<date>-<device>-<suite>]",
            "-o",
            "--output",
        ),
    ] = None,
    format: Annotated[
        str, options.taking("FORMAT", "What to print at the end.", callback=options.check_format)
    ] = "table",
) -> None:
    """Count and time every model of a suite.

    A suite's models are named as for `latency`, with settings of their own behind an @, and its
    settings are those of `latency`, each one value or a list of several. Keeps run.json, table.md,
    table.csv and report.html in a folder of their own. Whatever is found is on disk before the next
    step begins.

    The suite claims measures all that `detrbench claims` asks for, about twenty minutes: the suites
    article and rivals and the guidelines, each in a folder of its own. The same command with the
    same -o goes on with what is missing.

    \b
    Examples:
      detrbench run article
      detrbench run claims -o reports/claims
      detrbench run article --device cuda
      detrbench run ./my-suite.yaml -o reports/today
    """
    from detrbench.models.catalog import CLAIMS, find_suite

    if suite != CLAIMS:
        find_suite(suite)
    options.values(context)  # a typo is said before the suite is read
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", where="-o", hint="Name a folder.")

    measure = _claims if suite == CLAIMS else _suite
    with ProgressLine() as progress:
        folders, text, code = measure(suite, device, folder, format, progress)
    deliver(text, None)
    for where in folders:
        for written in sorted(where.iterdir()) if where.is_dir() else ():
            if written.is_file():
                say(f"wrote {_shown(written)}")
    raise typer.Exit(code)


Measured = tuple[list[Path], str, int]
"""Folders that were written into, what to print, and the exit code."""


def _suite(
    suite: str, device: str | None, folder: Path | None, format: str, progress: ProgressLine
) -> Measured:
    from detrbench.experiments import suites
    from detrbench.render import render

    loaded = suites.load_suite(suite)
    if device is not None:
        loaded = suites.on_device(loaded, device)
    where = folder or suites.free_folder(loaded.name, loaded.cases[0].execution.device)
    report = suites.run(loaded, output=where, progress=progress, announce=progress.say)
    return [where], render(report, format), report.exit_code


def _claims(
    name: str, device: str | None, folder: Path | None, format: str, progress: ProgressLine
) -> Measured:
    from detrbench.core.files import write_atomically
    from detrbench.experiments import suites
    from detrbench.experiments.claims.measuring import measure_claims
    from detrbench.experiments.claims.rules import judge_claims
    from detrbench.experiments.claims.tables import document
    from detrbench.experiments.claims.unit import unit_facts
    from detrbench.render import render_document

    device = device or "cpu"
    where = folder or suites.free_folder(name, device)
    evidence = measure_claims(where, device=device, progress=progress, announce=progress.say)
    found = document(judge_claims(evidence, unit_facts()), evidence.reports)
    for file, view in (("claims.md", "markdown"), ("claims.json", "json")):
        write_atomically(where / file, render_document(found, view))
    folders = [where, *(Path(file).parent for file in evidence.reports)]
    return folders, render_document(found, format), evidence.exit_code


def _shown(path: Path) -> Path:
    """The path from here, if it lies below here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
