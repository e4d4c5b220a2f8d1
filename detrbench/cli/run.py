"""`detrbench run`: a suite of models and settings, and the folder it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from detrbench.cli import options
from detrbench.cli.budgets import check_budget, left_of
from detrbench.cli.output import ProgressLine, deliver, say
from detrbench.core.errors import UsageError


def run(
    context: typer.Context,
    suite: Annotated[
        str | None, typer.Argument(metavar="SUITE", help="A name, such as article, or a path.")
    ] = None,
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
    threads: options.Threads = None,
    budget: Annotated[
        float | None,
        options.taking(
            "SECONDS", "For everything.  [default: the suite's own, or what verdicts take]"
        ),
    ] = None,
    processes: Annotated[
        int | None,
        options.taking(
            "N",
            "Exactly N processes for each image size and batch.",
            min=1,
            max=options.MOST_PROCESSES,
        ),
    ] = None,
    resume: options.Resume = None,
    no_cache: options.NoCache = False,
    format: Annotated[
        str, options.taking("FORMAT", "What to print at the end.", callback=options.check_format)
    ] = "table",
) -> None:
    """Count and time every model of a suite.

    A suite's models are named as for `latency`, with settings of their own behind an @, and its
    settings are those of `latency`, each one value or a list of several. Keeps run.json, table.md,
    table.csv, report.html and every process's samples in a folder of their own. Whatever is found
    is on disk before the next step begins.

    The suite claims measures all that `detrbench claims` asks for, about twenty minutes: the suites
    article and rivals and the guidelines, each in a folder of its own. The same command with the
    same -o goes on with what is missing.

    \b
    Examples:
      detrbench run article
      detrbench run claims -o reports/claims
      detrbench run article --device cuda --budget 120
      detrbench run ./my-suite.yaml -o reports/today
      detrbench run --resume reports/today --budget 120
    """
    from detrbench.models.catalog import CLAIMS, find_suite

    if suite not in (None, CLAIMS):
        find_suite(suite)
    check_budget(budget)
    asked = _Asked(device, budget, processes, folder, format, options.values(context)["threads"])
    if resume is not None:
        options.check_alone(
            context, "resume", "The folder says what is measured", "budget", "no_cache"
        )
        measure: Measure = partial(_resumed, resume)
    elif suite is None:
        raise UsageError("no suite is named", hint="Such as: detrbench run article")
    elif suite == CLAIMS:
        measure = _claims
    else:
        measure = partial(_suite, suite)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", where="-o", hint="Name a folder.")

    from detrbench.runtimes.artefacts import without_cache

    with ProgressLine() as progress, without_cache(no_cache):
        folders, text, code = measure(asked, progress)
    deliver(text, None)
    for where in folders:
        for written in sorted(where.iterdir()) if where.is_dir() else ():
            if written.is_file():
                say(f"wrote {_shown(written)}")
    raise typer.Exit(code)


class _Asked(NamedTuple):
    """What the flags say; `None` is the suite's own."""

    device: str | None
    budget: float | None
    processes: int | None
    folder: Path | None
    format: str
    threads: int | None


Measured = tuple[list[Path], str, int]
"""Folders that were written into, what to print, and the exit code."""

Measure = Callable[[_Asked, ProgressLine], Measured]


def _suite(name: str, asked: _Asked, progress: ProgressLine) -> Measured:
    from detrbench.experiments import suites
    from detrbench.render import render

    suite = suites.load_suite(name)
    if asked.device is not None:
        suite = suites.on_device(suite, asked.device)
    if asked.threads is not None:
        suite = suites.with_setting(suite, "threads", asked.threads)
    if asked.processes is not None:
        suite = replace(suite, processes=asked.processes, seconds=None)
    where = asked.folder or suites.free_folder(suite.name, suite.cases[0].execution.device)
    report = suites.run(
        suite,
        budget_s=left_of(asked.budget),
        output=where,
        progress=progress,
        announce=progress.say,
    )
    return [where], render(report, asked.format), report.exit_code


def _resumed(folder: Path, asked: _Asked, progress: ProgressLine) -> Measured:
    from detrbench.experiments import suites
    from detrbench.render import render

    report = suites.resume(
        folder, budget_s=left_of(asked.budget), progress=progress, announce=progress.say
    )
    return [folder], render(report, asked.format), report.exit_code


def _claims(asked: _Asked, progress: ProgressLine) -> Measured:
    from detrbench.core.files import write_atomically
    from detrbench.experiments import suites
    from detrbench.experiments.claims.measuring import measure_claims
    from detrbench.experiments.claims.rules import judge_claims
    from detrbench.experiments.claims.tables import document
    from detrbench.experiments.claims.unit import unit_facts
    from detrbench.models.catalog import CLAIMS
    from detrbench.render import render_document

    given = asked.budget, asked.processes, asked.threads
    if any(each is not None for each in given):
        raise UsageError(
            "the suite claims has its own budgets, processes and threads",
            hint="Leave --budget, --processes and --threads out.",
        )
    device = asked.device or "cpu"
    where = asked.folder or suites.free_folder(CLAIMS, device)
    evidence = measure_claims(where, device=device, progress=progress, announce=progress.say)
    found = document(judge_claims(evidence, unit_facts()), evidence.reports)
    for file, view in (("claims.md", "markdown"), ("claims.json", "json")):
        write_atomically(where / file, render_document(found, view))
    folders = [where, *(Path(file).parent for file in evidence.reports)]
    return folders, render_document(found, asked.format), evidence.exit_code


def _shown(path: Path) -> Path:
    """The path from here, if it lies below here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
