"""Latency of models against each other: models and settings in, a Report out."""

from __future__ import annotations

import copy
import dataclasses
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detrbench.core.errors import DetrbenchWarning, UsageError
from detrbench.reports.report import Report
from detrbench.reports.verdicts import ALPHA, MARGIN
from detrbench.runtimes.options import Options
from detrbench.timing.folders import naming, run_folder
from detrbench.timing.plan import Budget
from detrbench.timing.process import Build, Request, build_model, measure_process
from detrbench.timing.records import Outcome, measured
from detrbench.timing.replication import Run, replicate, resumable
from detrbench.timing.resolution import remembered
from detrbench.timing.rows import latency_report
from detrbench.timing.schedule import Plan
from detrbench.timing.session import OnProgress

if TYPE_CHECKING:
    from torch import nn


_CUT = ("interrupted", "failures")  # runs whose folder is worth keeping


def measure_latency(
    models: Sequence[str | Path | nn.Module],
    *,
    device: str = "cpu",
    batch: int = 1,
    imgsz: int | tuple[int, int] = 640,
    nc: int | None = None,
    fuse: bool = False,
    threads: int | None = None,
    blocks: str | Path | None = None,
    backbone_weights: str | Path | None = None,
    runtime: str = "eager",
    options: Options | None = None,
    stages: bool = False,
    budget_s: float | None = 120.0,
    processes: int | None = None,
    rounds: int | None = None,
    target: float | None = None,
    margin: float = MARGIN,
    early: bool = True,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Time `models` against each other: interleaved in rounds, replicated in fresh processes.

    Args:
        models: names or paths of detectors, or modules whose forward takes images (B, 3, H, W). The
            first is the baseline of the ratios. A module cannot be sent to another process: with
            one among them, all are timed in this process, copied and not changed, and there is no
            verdict.
        device: "cpu", "cuda" or "cuda:N".
        imgsz: pixels of a square, or (height, width).
        nc: classes; `None` for what each file says.
        fuse: fold batch norms and re-parameterised branches first.
        threads: of the processor; `None` for what the control group allows.
        blocks: a Python file with blocks of your own. It is executed.
        backbone_weights: a torchvision state_dict to load into the backbone.
        runtime: a name of `detrbench.runtimes.RUNTIMES`.
        options: number format, memory layout and switches of the device.
        stages: time preprocessing, backbone, neck, decoder and postprocessing beside the whole.
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
        A Report with one row per model, every raw sample beside its statistics, and a comparison of
        each model with the first. After Ctrl-C, what was measured until then.

    Raises:
        UsageError: the request cannot be carried out as given.
    """
    given = {_name(model): model for model in models}
    if len(given) < len(models):
        raise UsageError("two of the models have the same name", hint="Name each model once.")
    request = Request(
        models=tuple(given),
        device=device,
        batch=batch,
        imgsz=(imgsz, imgsz) if isinstance(imgsz, int) else imgsz,
        nc=nc,
        fuse=fuse,
        threads=threads,
        blocks=None if blocks is None else str(blocks),
        backbone_weights=None if backbone_weights is None else str(backbone_weights),
        runtime=runtime,
        options=options or Options(),
        stages=stages,
        seed=seed,
        plan=Plan(budget_s=30.0, seed=seed),
    )
    if all(isinstance(model, (str, Path)) for model in models):
        budget = Budget(budget_s, processes, rounds, target, margin, early)
        return latency_report(measure_run(request, budget, folder, progress, announce))
    request = dataclasses.replace(request, plan=Plan(budget_s=budget_s, rounds=rounds, seed=seed))
    return latency_report(_in_this_process(request, given, margin, progress))


def resume_latency(
    folder: str | Path,
    *,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Report:
    """Go on with the run in `folder`, which Ctrl-C, a crash or a kill has cut short.

    Raises:
        UsageError: it is not the folder of a run.
    """
    request, budget = resumable(Path(folder))
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
            cut = run.stopped in _CUT if run is not None else measured(where)
            if cut and announce is not None:
                announce(f"cut short; go on with: detrbench latency --resume {where}")
            elif folder is None and run is not None:
                shutil.rmtree(where)
    return run


def _in_this_process(
    request: Request,
    given: Mapping[str, str | Path | nn.Module],
    margin: float,
    progress: OnProgress | None,
) -> Run:
    measurement = measure_process(request, build=_builder(given), progress=progress)
    cut = [series for series in measurement.series if series.status == "interrupted"]
    status, reason = ("interrupted", cut[0].reason) if cut else ("ok", None)
    outcome = Outcome(1, status, reason, measurement.took_s, measurement=measurement)
    return Run(
        request,
        Budget(margin=margin),
        None,
        (outcome,),
        "interrupted" if cut else "processes",
        ALPHA,
    )


def _name(model: str | Path | nn.Module) -> str:
    if isinstance(model, (str, Path)):
        return str(model)
    spec = getattr(model, "spec", None)
    return type(model).__name__ if spec is None else str(spec.name)


def _builder(given: Mapping[str, str | Path | nn.Module]) -> Build:
    """Builds what was given by name, and copies what was given as a module."""

    def build(name: str, request: Request) -> nn.Module:
        model = given[name]
        return (
            build_model(name, request) if isinstance(model, (str, Path)) else copy.deepcopy(model)
        )

    return build
