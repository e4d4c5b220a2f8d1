"""Latency of cases against each other: models and settings in, a Report out."""

from __future__ import annotations

import copy
import math
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from detrbench.core.errors import DetrbenchWarning
from detrbench.core.processes import called_as
from detrbench.core.units import show_eta
from detrbench.models.sources import check_unchanged
from detrbench.models.sources.built import Built, described
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import Made, Subjects, cases_of
from detrbench.reports.report import Report
from detrbench.reports.verdicts import (
    ALPHA,
    FEWEST_PROCESSES,
    LEAST_PROCESSES,
    MARGIN,
    Verdict,
)
from detrbench.runtimes import check_runs
from detrbench.timing.opened import build_case
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request, measure_process
from detrbench.timing.records import (
    Outcome,
    measured,
    naming,
    run_folder,
)
from detrbench.timing.replication import Run, load_run, replicate
from detrbench.timing.resolution import remembered
from detrbench.timing.rounds import OnProgress
from detrbench.timing.rows import latency_comparisons, latency_report
from detrbench.timing.stop_rules import Plan

IN_PROCESS_S = 30.0
"""For models that can only be timed in this process, where nobody said how long."""

_FIRST_S = 60.0
"""Offered at least where not one process has ended: what was left of a few seconds, once Python had
started, says nothing of what a process takes."""


def latency(
    models: Subjects,
    *,
    budget_s: float | None = None,
    processes: int | None = None,
    rounds: int | None = None,
    target: float | None = None,
    margin: float = MARGIN,
    early: bool = True,
    least: int = FEWEST_PROCESSES,
    folder: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    resume: str | None = None,
    **settings: Any,
) -> Report:
    """Time `models` against each other: interleaved in rounds, replicated in fresh processes.

    Args:
        models: references, such as "rtdetr-l", "./my.yaml", "./my.py:build" and
            "rtdetr-l@runtime=compile,threads=1"; or modules whose forward takes images
            (B, 3, H, W), or pairs of a module and an example of what it takes, named as in
            `profile`. The first is the baseline of the ratios of its workload (image size and
            batch). A module cannot be sent to another process: with one among them, all are timed
            in this process, copied and not changed, and there is no verdict.
        settings: of all models, by the keys of `detrbench.reports.settings.SETTINGS`: device,
            batch, imgsz (pixels of a square, or (height, width)), nc, fuse, threads, blocks,
            backbone_weights, runtime, dtype, memory_format, tf32, cudnn_benchmark, cold_l2,
            stages, seed. A list of several values makes every combination.
        budget_s: seconds for everything, every process's start included; `None` for what a verdict
            takes as the first process finds it, ten minutes at most, or without limit where
            `processes` says how many.
        processes: exactly so many, if the budget lasts.
        rounds: timed rounds of each process, instead of what the first one suggests.
        target: stop when every ratio's half-width is below this, 0.01 for 1 %.
        margin: the smallest difference worth a verdict, 0.02 for 2 %.
        early: stop as soon as every verdict is in.
        least: processes before that may be; fewer than six give a model's latency no interval.
        folder: where each process's outcome is kept, and an earlier run gone on with; a temporary
            one, removed after a complete run, if `None`.
        progress: called between samples with where the run is.
        announce: is told the plan in sentences, and what goes on with a run that came out short.
        resume: the arguments of that command; those of `latency`, if `None`.

    Returns:
        A Report with one row per case, every raw sample beside its statistics, and a comparison of
        each case with the first of its workload. After Ctrl-C, what was measured until then.

    Raises:
        UsageError: the request cannot be carried out as given.
    """
    cases, modules = cases_of(models, settings)
    seed = cases[0].model.seed
    if modules:
        limit_s = IN_PROCESS_S if budget_s is None and rounds is None else budget_s
        request = Request(cases, plan=Plan(budget_s=limit_s, rounds=rounds, seed=seed))
        return latency_report(_in_this_process(request, modules, margin, progress))
    request = Request(cases, plan=Plan(seed=seed))
    budget = Budget(budget_s, processes, rounds, target, margin, early, least)
    return latency_report(measure_run(request, budget, folder, progress, announce, resume))


measure_latency = latency
"""The name it had first."""


def resume_latency(
    folder: str | Path,
    *,
    budget_s: float | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    resume: str | None = None,
) -> Report:
    """Go on with the run in `folder`, which Ctrl-C, a crash or the end of its time has cut short.

    What a verdict was given on already may be gone on with too. The interval of all processes is
    then surer: whoever adds some until he likes what he sees errs more often than the interval of
    one look says, so that each extension has half a percent of error, and half of that the next.

    Args:
        budget_s: seconds more; what is left of its own budget, if `None`.

    Raises:
        UsageError: it is not the folder of a run.
    """
    before = load_run(Path(folder))
    check_unchanged((case.model for case in before.request.cases), str(folder))
    before.check_versions(str(folder))
    request, budget = before.request, before.budget
    if budget_s is not None:
        seconds = before.spent_s + budget_s
        budget = replace(budget, budget_s=seconds, processes=None)
    return latency_report(measure_run(request, budget, folder, progress, announce, resume))


def measure_run(
    request: Request,
    budget: Budget,
    folder: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    resume: str | None = None,
) -> Run:
    """`replicate`, in `folder` or in a temporary one that a complete run removes. Raises UsageError
    where a case cannot be executed."""
    for case in request.cases:
        check_runs(case)
    known = remembered(request.device)
    if known is not None and budget.margin < known.detectable:
        warnings.warn(known.too_small(budget.margin), DetrbenchWarning, stacklevel=2)
    between_sd = known.between_sd if known else None
    run = None
    with run_folder(folder, "latency") as where:
        told: dict[str, Any] = {
            "progress": naming(where, announce, progress),
            "announce": announce,
            "between_sd": between_sd,
        }
        try:
            run = replicate(request, budget, where, **told)
            longer = _extended(run)
            if longer is not None:
                if announce is not None:
                    announce(f"{show_eta(run.budget.limit_s)} gave no verdict; going on, once")
                run = replicate(request, longer, where, **told)
        finally:
            more = None if run is None else _what_more(run)
            if more is None and run is None and measured(where):
                more = ""
            if more is not None and announce is not None:
                announce(f"go on with: {called_as()} {resume or f'latency --resume {where}'}{more}")
            elif folder is None and run is not None:
                shutil.rmtree(where)
    return run


def _extended(run: Run) -> Budget | None:
    """Once more as long as a verdict takes, where nobody said how long and a slow or busy machine
    did not come so far."""
    budget, missing = run.budget, LEAST_PROCESSES - len(run.finished)
    asked = budget.budget_s is not None or budget.processes is not None
    if asked or run.stopped != "budget" or Verdict.TOO_FEW not in _verdicts(run):
        return None
    seconds = seconds_for(run, missing)
    return None if seconds is None else replace(budget, budget_s=run.spent_s + seconds)


def _what_more(run: Run) -> str | None:
    """The flag with the seconds that may decide what is open; "" where its own time is left, `None`
    where nothing is."""
    if run.stopped in ("interrupted", "failures"):
        return ""
    verdicts, done = _verdicts(run), len(run.finished)
    # To halve an interval takes three times as many more; as many again are a beginning.
    missing = max(LEAST_PROCESSES - done, done if Verdict.TOO_FEW not in verdicts else 0)
    seconds = seconds_for(run, missing)
    if seconds is None and run.stopped == "budget":  # not one process ended in it
        seconds = max(_FIRST_S, 4 * run.budget.limit_s)
    elif not verdicts & {Verdict.TOO_FEW, Verdict.INCONCLUSIVE, Verdict.BUSY}:
        return None
    return None if seconds is None else f" --budget {math.ceil(seconds)}"


def _verdicts(run: Run) -> set[Verdict]:
    return {Verdict(each.verdict) for each in latency_comparisons(run)}


def seconds_for(run: Run, processes: int) -> float | None:
    """What so many more take where a minute may be a busy one; `None` where nobody knows."""
    if run.plan is None:
        return None
    return 1.2 * (processes * run.plan.process_s + run.startup_s)


def _in_this_process(
    request: Request, modules: Mapping[str, Made], margin: float, progress: OnProgress | None
) -> Run:
    def build(case: Case) -> Built:
        """What was given as a module is copied, and not changed."""
        module = modules.get(case.model.reference)
        made = None if module is None else described(copy.deepcopy(module), case.model.name)
        return build_case(case, made)

    measurement = measure_process(request, build=build, progress=progress)
    outcome = Outcome.of(1, measurement, measurement.took_s)
    stopped = "interrupted" if outcome.status == "interrupted" else "processes"
    return Run(request, Budget(margin=margin), None, (outcome,), stopped, ALPHA)
