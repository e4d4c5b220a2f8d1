"""`detrbench selfcheck`: what this machine can tell apart."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detrbench.cli import options
from detrbench.cli.budgets import check_budget, left_of
from detrbench.cli.output import ProgressLine, say, show_document
from detrbench.core.processes import called_as
from detrbench.core.units import show_change, show_eta, show_part
from detrbench.core.version import __version__

if TYPE_CHECKING:
    from detrbench.render.layout import Document, Marks
    from detrbench.timing.selfcheck import Finding, SelfCheck


def selfcheck(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="What is timed against itself.")
    ] = "rtdetr-l",
    device: options.Device = None,
    imgsz: Annotated[str, options.taking("N|HxW", "Image size in pixels, such as 320.")] = "320",
    threads: options.Threads = None,
    budget: options.Budget = 300.0,
    folder: Annotated[
        Path | None,
        options.taking("FOLDER", "Keep every process's samples here, so that more can be added."),
    ] = None,
    resume: Annotated[
        Path | None,
        options.taking("FOLDER", "Add processes to a self-check kept here, for --budget seconds."),
    ] = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Find out which differences this machine can tell apart.

    Times a model against an identical copy and against itself with 3, 5 and 10 % more work, by the
    protocol of `latency`: prints false alarms, the smallest difference it detects in the given
    time, and how long a verdict about 2 % and 5 % takes. The result is remembered, and `latency`
    warns where a margin below it is asked for; that of a busy machine is marked, and does not take
    the place of a quiet one's.

    \b
    Examples:
      detrbench selfcheck
      detrbench selfcheck shufflev2 --device cuda --budget 120
      detrbench selfcheck --resume /tmp/detrbench-selfcheck-x1y2z3 --budget 120
    """
    check_budget(budget)
    if resume is not None:
        options.check_alone(context, "resume", "The folder says what is checked", "budget")
    asked = options.case(model, context).execution

    from detrbench.reports.verdicts import LEAST_PROCESSES
    from detrbench.timing.records import naming, run_folder
    from detrbench.timing.resolution import remember
    from detrbench.timing.selfcheck import check_longer, check_machine, exit_code

    with ProgressLine() as progress, run_folder(resume or folder, "selfcheck") as where:
        told: dict[str, Any] = {
            "budget_s": left_of(budget),
            "progress": naming(where, progress.say, progress),
            "announce": progress.say,
        }
        if resume is not None:
            found = check_longer(where, **told)
        else:
            found = check_machine(
                model,
                device=asked.device,
                imgsz=asked.imgsz,
                threads=asked.threads,
                folder=where,
                **told,
            )
    show_document(_document(found), format, output)
    code = exit_code(found)
    processes = len(found.run.finished)
    if code != 0:
        say("not remembered: the run was interrupted")
    elif processes >= LEAST_PROCESSES:
        say(remember(found.resolution, found.run.request.device))
    else:
        say(f"not remembered: {processes} processes, and that takes {LEAST_PROCESSES}")
        say(f"go on with: {called_as()} selfcheck --resume {where} --budget {budget:.0f}")
    if code == 0 and folder is None and resume is None and processes >= LEAST_PROCESSES:
        shutil.rmtree(where)
    raise typer.Exit(code)


def _document(found: SelfCheck) -> Document:
    from detrbench.machine.circumstances import Circumstances
    from detrbench.render.layout import Document, Line, Marks, Table, columns, made

    known, seen = found.resolution, found.resolution.circumstances or Circumstances()
    records = [
        {
            **dataclasses.asdict(each),
            "verdict": each.verdict.value,
            "reasons": "; ".join(each.reasons),
            "conditions": seen.in_short,
        }
        for each in found.findings
    ]
    marks = Marks()
    processes = len(found.run.finished)
    measured = (one.measurement for one in found.run.outcomes if one.measurement)
    machine = next((one.environment for one in measured), {})
    table = Table(
        caption=(
            f"{known.model} against itself, image {known.imgsz}, {processes} processes, "
            f"margin {show_part(found.run.budget.margin)}."
        ),
        columns=columns("lrrlll", "Against", "Known", "Measured", "Interval", "Seen", "Verdict"),
        lines=tuple(Line(each.name, _cells(each, marks)) for each in found.findings),
        notes=(
            *marks.notes,
            _alarms(found),
            f"smallest difference found in 80% of runs of {show_eta(known.budget_s)} with two such "
            f"models: {known.smallest}",
            f"{known.time_for(0.02)}; {known.time_for(0.05)}",
            f"identical models: {known.process_sd:.2%} sd of the log-ratio between processes",
            *seen.notes,
            *(
                [f"measured {seen.disturbed}: a quiet one tells more apart"]
                if seen.disturbed
                else []
            ),
            *made(machine, __version__, known.created, options.command_line()),
        ),
    )
    data = {
        "findings": records,
        "windows": found.windows,
        "alarms": found.alarms,
        "resolution": known.to_dict(),
        "log_ratios": {each.name: found.run.log_ratios(each.name) for each in found.findings},
    }
    return Document((table,), records, data)


def _alarms(found: SelfCheck) -> str:
    if not found.windows:
        return "false alarms: fewer than 6 processes cannot say; raise --budget"
    return (
        f"false alarms: identical models look different in {found.alarms} of {found.windows} "
        "windows of 6 successive processes (5% would be as promised)"
    )


def _cells(each: Finding, marks: Marks) -> tuple[str, ...]:
    measured, low, high = (
        "n/a" if value is None else show_change(value)
        for value in (each.ratio, each.low, each.high)
    )
    interval = "n/a" if "n/a" in (low, high) else f"{low} to {high}"
    seen = "yes" if each.seen else "no"
    verdict = " ".join((each.verdict.value, *map(marks.mark, each.reasons)))
    return show_change(1 + each.known), measured, interval, seen, verdict
