"""`detrbench explain`: why a model is faster than another, or is not."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from detrbench.cli import options
from detrbench.cli.budgets import check_budget, left_of, outside, within
from detrbench.cli.output import ProgressLine, say, show_report
from detrbench.core.errors import UsageError

if TYPE_CHECKING:
    from detrbench.reports.report import Report


def explain(
    context: typer.Context,
    baseline: Annotated[
        str | None, typer.Argument(metavar="BASELINE", help=f"{options.MODEL_HELP}.")
    ] = None,
    variant: Annotated[str | None, typer.Argument(metavar="VARIANT", help="Likewise.")] = None,
    device: options.Device = None,
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    nc: options.Classes = None,
    scale: options.Scale = None,
    fuse: options.Fuse = False,
    runtime: options.Runtime = None,
    by: Annotated[str, options.taking("PART", "stage, module or op.")] = "stage",
    dtype: options.Dtype = None,
    memory_format: options.MemoryFormat = None,
    tf32: options.Tf32 = None,
    cudnn_benchmark: options.CudnnBenchmark = None,
    cold_l2: options.ColdL2 = False,
    threads: options.Threads = None,
    blocks: options.Blocks = None,
    backbone_weights: options.BackboneWeights = None,
    weights: options.Weights = None,
    trust: options.Trust = False,
    seed: options.Seed = None,
    budget: Annotated[float, options.taking("SECONDS", "For everything.")] = 90.0,
    tries: Annotated[
        list[str] | None,
        options.taking(
            "REMEDY",
            "Also measure, on VARIANT: channels_last, batch, compile, cudagraph, or any setting as "
            "KEY=VALUE. May be given several times; each takes half as long as the pair.",
            "--try",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        options.taking("FOLDER", "Keep the rounds here, so that more can be added: --resume."),
    ] = None,
    resume: Annotated[
        Path | None,
        options.taking("FOLDER", "Add rounds to those kept here, for --budget seconds more."),
    ] = None,
    pictures: Annotated[
        Path | None, options.taking("FOLDER", "Also write roofline.svg and parts.svg there.")
    ] = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Explain where the time of two models goes, and what became of the FLOPs saved.

    Both models, each under its own settings, their parts and probes of what the device can do at
    best, under the baseline's settings, are timed in the same rounds. Each part gets a floor, the
    largest of FLOPs over their rate, traffic over bandwidth and kernels times a launch, its
    efficiency against that, and which of the three binds. A paragraph made from these numbers says
    how much of the FLOP saving reached the clock, where the rest stayed, and what to try next.

    The numbers are medians over rounds of one process with their quartiles; a verdict on which
    model is faster is the business of `detrbench latency`.

    \b
    Examples:
      detrbench explain rtdetr-l shufflev2
      detrbench explain rtdetr-l shufflev2 --by op --budget 120
      detrbench explain rtdetr-l rtdetr-l@memory_format=channels_last
      detrbench explain rtdetr-l rtdetr-l@runtime=openvino --by module
      detrbench explain --resume ./why --budget 60
      detrbench explain rtdetr-l ./my-variant.yaml --try channels_last --try threads=1 -o why.json
    """
    from detrbench.analysis.explain.pair import check_pair
    from detrbench.analysis.explain.remedies import measure_tries, with_remedy
    from detrbench.render.layout import PARTS
    from detrbench.timing.process import Request

    check_budget(budget)
    if resume is not None:
        from detrbench.analysis.explain.sessions import load

        free = ("budget", "tries", "pictures")
        options.check_alone(context, "resume", "The folder says what is explained", *free)
        kept = load(resume)
        asked, by = kept.request.cases, kept.by
    elif baseline is None or variant is None:
        raise UsageError(
            "two models are needed", hint="Such as: detrbench explain rtdetr-l shufflev2"
        )
    else:
        options.check_choice(by, PARTS, flag="--by")
        asked = options.cases((baseline, variant), context)
    check_pair(asked, by)
    changed = list(dict.fromkeys(with_remedy(asked[1], wanted) for wanted in tries or ()))
    for each, flag in ((pictures, "--pictures"), (resume or folder, "--folder")):
        if each is not None:
            _check_folder(each, flag)

    from detrbench.timing.exporting import export_first

    with ProgressLine() as progress:
        with outside():
            export_first((*asked, *changed), progress, progress.say)
        with within(budget):
            from detrbench.analysis.explain.measuring import explain_pair
            from detrbench.analysis.explain.tables import explanation_report
            from detrbench.timing.stop_rules import Plan

            # The pair first; each remedy takes half as long.
            seconds = left_of(budget) / (1 + len(changed) / 2)
            plan = Plan(budget_s=seconds, least_rounds=2, seed=asked[0].model.seed)
            found = explain_pair(
                Request(asked, plan=plan),
                cast(Any, by),  # checked above
                deadline=time.monotonic() + seconds,
                folder=resume or folder,
                progress=progress,
            )
            if changed and not found.interrupted:
                left_s = left_of(budget)
                tried = measure_tries(
                    asked[1],
                    changed,
                    budget_s=left_s,
                    deadline=time.monotonic() + left_s,
                    progress=progress,
                )
                explanation = dataclasses.replace(found.explanation, tried=tried)
                found = dataclasses.replace(found, explanation=explanation)
    report = explanation_report(found)
    show_report(report, format, output)
    if pictures is not None:
        _draw(report, by, pictures)
    raise typer.Exit(report.exit_code)


def _check_folder(folder: Path, flag: str) -> None:
    """Make `folder` now: said before the measurement, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made a folder: {error.strerror}",
            where=flag,
            hint="Name another one.",
        ) from error


def _draw(report: Report, by: str, folder: Path) -> None:
    from detrbench.analysis.explain.roofline_picture import roofline
    from detrbench.core.files import write_atomically
    from detrbench.render import plots

    for name, drawn in (("roofline", roofline(report)), ("parts", plots.parts(report, by))):
        if drawn is not None:
            write_atomically(folder / f"{name}.svg", drawn)
            say(f"wrote {folder / f'{name}.svg'}")
