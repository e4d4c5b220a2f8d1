"""Latency of cases against each other: models and settings in, a Report out."""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detrbench.core.errors import DetrbenchWarning, UsageError
from detrbench.core.units import show_many
from detrbench.models.sources.built import Built
from detrbench.reports.case import Case
from detrbench.reports.parse_cases import Subjects, cases_of
from detrbench.reports.report import Report
from detrbench.reports.verdicts import ALPHA, LEAST_PROCESSES, MARGIN
from detrbench.timing.opened import build_case
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request, measure_process
from detrbench.timing.records import (
    Outcome,
    load_outcomes,
    load_request,
    measured,
    naming,
    run_folder,
)
from detrbench.timing.replication import Run, replicate
from detrbench.timing.resolution import remembered
from detrbench.timing.rounds import OnProgress
from detrbench.timing.rows import latency_report
from detrbench.timing.stop_rules import Plan

if TYPE_CHECKING:
    from torch import nn


def latency(
    models: Subjects,
    *,
    budget_s: float | None = 120.0,
    processes: int | None = None,
    rounds: int | None = None,
    target: float | None = None,
    margin: float = MARGIN,
    early: bool = True,
    folder: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    **settings: Any,
) -> Report:
    """Time `models` against each other: interleaved in rounds, replicated in fresh processes.

    Args:
        models: references, such as "rtdetr-l", "./my.yaml", "./my.py:build" and
            "rtdetr-l@runtime=compile,threads=1"; or modules whose forward takes images
            (B, 3, H, W). The first is the baseline of the ratios of its workload (image size and
            batch). A module cannot be sent to another process: with one among them, all are timed
            in this process, copied and not changed, and there is no verdict.
        settings: of all models, by the keys of `detrbench.reports.settings.SETTINGS`: device,
            batch, imgsz (pixels of a square, or (height, width)), nc, fuse, threads, blocks,
            backbone_weights, runtime, dtype, memory_format, tf32, cudnn_benchmark, cold_l2,
            stages, seed. A list of several values makes every combination.
        budget_s: seconds for everything, every process's start included; `None` for no limit.
        processes: exactly so many, if the budget lasts.
        rounds: timed rounds of each process, instead of what the first one suggests.
        target: stop when every ratio's half-width is below this, 0.01 for 1 %.
        margin: the smallest difference worth a verdict, 0.02 for 2 %.
        early: stop as soon as every verdict is in.
        folder: where each process's outcome is kept, and an earlier run gone on with; a temporary
            one, removed after a complete run, if `None`.
        progress: called between samples with where the run is.
        announce: is told the plan in sentences, and where the samples of a cut run are.

    Returns:
        A Report with one row per case, every raw sample beside its statistics, and a comparison of
        each case with the first of its workload. After Ctrl-C, what was measured until then.

    Raises:
        UsageError: the request cannot be carried out as given.
    """
    cases, modules = cases_of(models, settings)
    seed = cases[0].model.seed
    if modules:
        request = Request(cases, plan=Plan(budget_s=budget_s, rounds=rounds, seed=seed))
        return latency_report(_in_this_process(request, modules, margin, progress))
    request = Request(cases, plan=Plan(seed=seed))
    budget = Budget(budget_s, processes, rounds, target, margin, early)
    return latency_report(measure_run(request, budget, folder, progress, announce))


measure_latency = latency
"""The name it had first."""


def resume_latency(
    folder: str | Path,
    *,
    budget_s: float | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Go on with the run in `folder`, which Ctrl-C, a crash or the end of its time has cut short.

    Args:
        budget_s: seconds more; what is left of its own budget, if `None`.

    Raises:
        UsageError: it is not the folder of a run, or more seconds are asked for one that has the
            processes of a verdict.
    """
    request, budget, _ = load_request(Path(folder))
    if budget_s is not None:
        before = Run(request, budget, outcomes=load_outcomes(Path(folder)))
        finished = len(before.finished)
        if finished >= LEAST_PROCESSES:
            raise UsageError(
                f"it has {show_many(finished, 'process', 'processes')}, enough for a verdict: "
                "whoever adds some until he likes it errs more often than it says",
                where=str(folder),
                hint="Go on in the time it had, --resume alone; or measure anew, for longer.",
            )
        budget = dataclasses.replace(budget, budget_s=before.spent_s + budget_s)
    return latency_report(measure_run(request, budget, folder, progress, announce))


def measure_run(
    request: Request,
    budget: Budget,
    folder: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Run:
    """`replicate`, in `folder` or in a temporary one that a complete run removes."""
    known = remembered(request.device)
    if known is not None and budget.margin < known.detectable:
        warnings.warn(known.too_small(budget.margin), DetrbenchWarning, stacklevel=2)
    run = None
    with run_folder(folder, "latency") as where:
        try:
            run = replicate(
                request,
                budget,
                where,
                progress=naming(where, announce, progress),
                announce=announce,
                between_sd=known.between_sd if known else None,
            )
        finally:
            cut = _is_short(run) if run is not None else measured(where)
            if cut and announce is not None:
                more = "" if run is None else _more_time(run)
                announce(f"cut short; go on with: detrbench latency --resume {where}{more}")
            elif folder is None and run is not None:
                shutil.rmtree(where)
    return run


def _is_short(run: Run) -> bool:
    """Whether it was cut off, or had no time for the processes of a verdict."""
    few = len(run.finished) < LEAST_PROCESSES and bool(run.request.compared)
    return run.stopped in ("interrupted", "failures") or (run.stopped == "budget" and few)


def _more_time(run: Run) -> str:
    """The flag that the processes of a verdict still need; none where the budget has their time."""
    if run.plan is None or run.budget.budget_s is None:
        return ""
    missing_s = (LEAST_PROCESSES - len(run.finished)) * run.plan.process_s
    enough = missing_s <= max(0.0, run.budget.budget_s - run.spent_s)
    return "" if enough else f" --budget {math.ceil(1.2 * missing_s)}"  # a busy minute is slower


def _in_this_process(
    request: Request, modules: Mapping[str, nn.Module], margin: float, progress: OnProgress | None
) -> Run:
    def build(case: Case) -> Built:
        """What was given as a module is copied, and not changed."""
        module = modules.get(case.model.reference)
        return build_case(case, None if module is None else copy.deepcopy(module))

    measurement = measure_process(request, build=build, progress=progress)
    outcome = Outcome.of(1, measurement, measurement.took_s)
    stopped = "interrupted" if outcome.status == "interrupted" else "processes"
    return Run(request, Budget(margin=margin), None, (outcome,), stopped, ALPHA)
