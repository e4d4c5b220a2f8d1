"""`detrbench gate`: does a change stay within its limits?"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detrbench.cli import options
from detrbench.cli.budgets import check_budget, left_of
from detrbench.cli.output import INTERRUPTED, ProgressLine, deliver, say, show_document
from detrbench.core.errors import UsageError

if TYPE_CHECKING:
    from detrbench.compare.gate import GateResult, Policy
    from detrbench.render.layout import Document
    from detrbench.reports.report import Report
    from detrbench.timing.process import Request
    from detrbench.timing.resolution import Resolution


def gate(
    context: typer.Context,
    subjects: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN.json|MODEL...",
            help="The report to check; with --rev, model files, or callables: FILE.py:NAME.",
        ),
    ],
    baseline: Annotated[
        list[Path] | None, options.taking("BASE.json", "The report it is compared with.")
    ] = None,
    rev: Annotated[
        str | None,
        options.taking(
            "REV", "Count and time the models' files against those of this git revision, together."
        ),
    ] = None,
    new: Annotated[
        list[str] | None,
        options.taking("MODEL", "A model that the past does not have; any other such is INVALID."),
    ] = None,
    max_latency_increase: Annotated[
        str | None,
        options.taking("SHARE", "How much slower a model may be, such as 5%.  [default: 5%]"),
    ] = None,
    max_reference_increase: Annotated[
        str | None,
        options.taking(
            "SHARE",
            "How much slower what both runs measure with may be itself.  [default: not judged]",
        ),
    ] = None,
    max_increase: Annotated[
        list[str] | None,
        options.taking(
            "METRIC=SHARE",
            "How far a count may grow, such as kernels=10% or kernels=any.  [default: 0]",
        ),
    ] = None,
    max: Annotated[
        list[str] | None,
        options.taking(
            "METRIC=VALUE", "The largest value, such as params=20M, or flops=65 in GFLOPs."
        ),
    ] = None,
    max_params: Annotated[str | None, options.taking("N", "The same as --max params=N.")] = None,
    max_gflops: Annotated[
        str | None,
        options.taking("N", "The same as --max flops=N: those that the report's table shows."),
    ] = None,
    model: Annotated[
        list[str] | None,
        options.taking("MODEL", "What --max limits are for; may be given again.  [default: all]"),
    ] = None,
    policy: Annotated[
        list[Path] | None,
        options.taking(
            "FILE.yaml", "Limits, by the names of these flags and `models`. Flags override it."
        ),
    ] = None,
    counts_only: Annotated[
        bool, typer.Option("--counts-only", help="Leave time out of the comparison.")
    ] = False,
    device: options.Device = None,
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    nc: options.Classes = None,
    scale: options.Scale = None,
    fuse: options.Fuse = False,
    threads: options.Threads = None,
    blocks: options.Blocks = None,
    backbone_weights: options.BackboneWeights = None,
    weights: options.Weights = None,
    trust: options.Trust = False,
    budget: Annotated[
        float | None,
        options.taking(
            "SECONDS",
            "For everything --rev times; half of it for what the first run leaves open.  "
            "[default: what verdicts take]",
        ),
    ] = None,
    run: Annotated[
        Path | None, options.file_to_write("Also keep what --rev measured, a run.json.")
    ] = None,
    junit: Annotated[Path | None, options.file_to_write("Also write JUnit XML.")] = None,
    benchmark_json: Annotated[
        Path | None,
        options.file_to_write("Also write github-action-benchmark's customSmallerIsBetter."),
    ] = None,
    bencher: Annotated[
        Path | None, options.file_to_write("Also write Bencher Metric Format.")
    ] = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Check a report, or models, against a baseline and against limits, for continuous integration.

    Counts (what the report's table shows of them) are exact, and may not grow unless a limit allows
    it. Time is compared as the ratio to the model that both runs timed first, which must be the
    same one, and decides only when its whole interval lies on one side of the limit. With --rev,
    both revisions are timed in the same rounds; what looks slower, or may be, is timed again, and
    must be slower in every run before it fails. On GitHub Actions the result is appended to the
    job's summary, and annotations name the models' files.

    \b
    Exit codes:
      0  pass: every figure is within its limit
      1  regression, or limit exceeded: one is beyond its limit
      2  a usage error: flags, or the policy
      3  inconclusive: an interval reaches across a limit, or nothing can decide
      4  invalid: a file, a model or a figure is missing on either side, a report does not agree
         with itself, or the runs do not compare

    \b
    Examples:
      detrbench gate run.json --baseline base.json
      detrbench gate run.json --baseline base.json --max-increase kernels=5% --junit gate.xml
      detrbench gate run.json --model shufflev2 --max-params 20M --max-gflops 65
      detrbench gate --rev origin/main models/mine.yaml --blocks my_blocks.py
      detrbench gate --rev HEAD~1 models/mine.py:build --counts-only
    """
    from detrbench.compare.ci import series
    from detrbench.compare.ci.junit import junit as junit_xml
    from detrbench.compare.gate.policy import Policy, load_policy, policy_of
    from detrbench.compare.gate.tables import document

    check_budget(budget)
    before, allowed = _only(baseline, "--baseline"), _only(policy, "--policy")
    options.check_file(allowed, flag="--policy")
    inputs = [before, allowed, *(map(Path, subjects) if rev is None else ())]
    _check_apart(inputs, [output, junit, benchmark_json, bencher, run])
    named = {"params": max_params, "flops": max_gflops}
    most = [*(max or []), *(f"{key}={text}" for key, text in named.items() if text is not None)]
    slower, reference = max_latency_increase, max_reference_increase
    if counts_only:
        _check_given(context, ("max_latency_increase", "max_reference_increase"), "--counts-only")
        slower = reference = "any"  # whatever the policy says
    asked = policy_of(slower, max_increase or (), most, reference, model or ())
    limits = (Policy() if allowed is None else load_policy(allowed)).overridden_by(asked)
    if rev is None:
        _check_given(context, _OF_REV)
        _check_asked(subjects, before, limits, new)
        result, report = _of_reports(subjects[0], before, limits, new or ())
    else:
        _check_given(context, ("baseline", "max_reference_increase"), "--rev")
        with ProgressLine() as progress:
            request = _request(subjects, context)
            told = frozenset(new or ()), budget, counts_only, progress
            result, report = _of_revision(request, rev, limits, *told)
        if run is not None:
            report.save(run)
            say(f"wrote {run}")
    page = document(result)
    show_document(page, format, output)
    if junit is not None:
        deliver(junit_xml(result), junit)
    _write(report, benchmark_json, series.smaller_is_better)
    _write(report, bencher, series.bencher)
    _tell_github(result, page)
    # Only what was measured here was interrupted here: a saved report of a cut run is INVALID.
    interrupted = rev is not None and report is not None and report.exit_code == INTERRUPTED
    raise typer.Exit(INTERRUPTED if interrupted else result.outcome.exit_code)


_OF_REV = (
    "device", "imgsz", "batch", "nc", "scale", "fuse", "threads", "blocks", "backbone_weights",
    "weights", "trust", "budget", "run",
)  # fmt: skip
"""Parameters that mean something only where models are built."""


def _only(files: list[Path] | None, flag: str) -> Path | None:
    """The one that was given; of two, the first would be ignored."""
    if files is not None and len(files) > 1:
        raise UsageError(f"{len(files)} are given", where=flag, hint="Give one.")
    return files[0] if files else None


def _check_apart(inputs: Sequence[Path | None], outputs: Sequence[Path | None]) -> None:
    """Refuse to write over what is read, or one output over another."""
    seen = {one.resolve() for one in inputs if one is not None}
    for one in filter(None, outputs):
        if one.resolve() in seen and (one.is_file() or not one.exists()):
            hint = "Give every output a file of its own."
            raise UsageError(
                "it is read, or written to, by another flag", where=str(one), hint=hint
            )
        seen.add(one.resolve())


def _check_given(context: typer.Context, names: tuple[str, ...], beside: str | None = None) -> None:
    """Refuse what would be ignored: beside a flag, or where --rev is not given."""
    told = options.given(context)
    given = [name for name in names if name in told]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        hint = f"Give either it or {beside}." if beside else "Leave it out, or give --rev."
        where = f"with {beside}" if beside else "without --rev"
        raise UsageError(f"{flags} means nothing {where}", hint=hint)


def _of_reports(
    file: str, baseline: Path | None, limits: Policy, new: Collection[str]
) -> tuple[GateResult, Report | None]:
    """A saved report against another."""
    from detrbench.compare.gate import gate as check
    from detrbench.compare.gate import unreadable
    from detrbench.reports.report import Report, ReportError

    report: Report | None = None
    try:
        report = Report.load(file)
        compared = None if baseline is None else Report.load(baseline)
        return check(report, compared, limits, known=_resolutions(report), new=new), report
    except ReportError as error:
        return unreadable(error), report


def _request(models: list[str], context: typer.Context) -> Request:
    from detrbench.compare.revisions import file_of
    from detrbench.reports.parse_cases import split_reference
    from detrbench.timing.process import Request

    for model in models:
        file_of(split_reference(model)[0])
    return Request(options.cases(models, context), resources=False)


def _of_revision(
    request: Request,
    rev: str,
    limits: Policy,
    new: frozenset[str],
    budget: float | None,
    counts_only: bool,
    progress: ProgressLine,
) -> tuple[GateResult, Report]:
    """Models against their own past, counted and timed now."""
    from detrbench.compare.regression import Asked, gate_revision

    devices = {case.execution.device for case in request.cases}
    result, versus = gate_revision(
        Asked(request, rev, budget_s=left_of(budget), counts_only=counts_only, new=new),
        limits,
        known=_known(devices),
        progress=progress,
        announce=progress.say,
    )
    return result, dataclasses.replace(versus.report, command=options.command_line())


def _check_asked(
    subjects: list[str], baseline: Path | None, limits: Policy, new: list[str] | None
) -> None:
    if len(subjects) > 1:
        raise UsageError(
            f"{len(subjects)} reports are named",
            where="RUN.json",
            hint="Give one, and what it is compared with as --baseline.",
        )
    if baseline is None and not limits.max:
        raise UsageError(
            "there is nothing to check the report against",
            hint="Give --baseline BASE.json, or a limit such as --max-params 20M.",
        )
    if limits.models and not limits.max:
        raise UsageError(
            "--model says what limits are for, and there is none",
            hint="Give one, such as --max-params 20M.",
        )
    if baseline is None and new:
        hint = "Give --baseline BASE.json, or --rev."
        raise UsageError("--new is about a baseline, and there is none", hint=hint)
    increases = limits.max_latency_increase, limits.max_reference_increase
    if baseline is None and (limits.max_increase or increases != (None, None)):
        raise UsageError(
            "a limit on an increase needs something it is an increase over",
            hint="Give --baseline BASE.json.",
        )


def _resolutions(report: Report) -> dict[str, Resolution]:
    """What the self-checks of this machine found, where it is the one that `report` is from."""
    from detrbench.machine.environment import Environment

    here, there = Environment.read(), Environment.from_dict(report.environment)
    facts = {"processor", "logical_cpus", "cpu_quota", "memory_bytes", "torch"}
    if facts & here.differences(there).keys():
        return {}
    return _known({str(row.settings["device"]) for row in report.rows if "device" in row.settings})


def _known(devices: Iterable[str]) -> dict[str, Resolution]:
    """What the self-checks of this machine found on each of `devices`."""
    from detrbench.timing.resolution import remembered

    return {device: found for device in devices if (found := remembered(device)) is not None}


def _write(report: Report | None, path: Path | None, text_of: Callable[[Report], str]) -> None:
    if path is not None and report is not None:
        deliver(text_of(report), path)
    elif path is not None:
        say(f"not written, for there is no report: {path}")


def _tell_github(result: GateResult, page: Document) -> None:
    """What the environment asks for, where this is a job of GitHub Actions."""
    from detrbench.compare.ci import github
    from detrbench.render import render_document

    summary = f"## detrbench gate\n\n{render_document(page, 'markdown')}"
    github.append_summary(summary, os.environ)
    if github.on_github(os.environ):
        for command in github.workflow_commands(result, os.environ):
            # GitHub reads them from stderr as well, where no data is disturbed.
            sys.stderr.write(f"{command}\n")
