"""`detrbench latency`: how long a forward pass takes, and which model is really faster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.budgets import check_budget, left_of
from detrbench.cli.output import ProgressLine, show_report
from detrbench.core.errors import UsageError
from detrbench.core.units import parse_part

ARTICLE_PAIR = ("rtdetr-l", "shufflev2")

QUICK_S, THOROUGH_S = 60.0, 600.0


def latency(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL", help=f"{options.MODEL_HELP}.  [default: rtdetr-l shufflev2]"
        ),
    ] = None,
    device: options.Device = None,
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    nc: options.Classes = None,
    scale: options.Scale = None,
    fuse: options.Fuse = False,
    runtime: options.Runtime = None,
    dtype: options.Dtype = None,
    memory_format: options.MemoryFormat = None,
    tf32: options.Tf32 = None,
    cudnn_benchmark: options.CudnnBenchmark = None,
    cold_l2: options.ColdL2 = False,
    stages: options.Stages = False,
    threads: options.Threads = None,
    blocks: options.Blocks = None,
    backbone_weights: options.BackboneWeights = None,
    weights: options.Weights = None,
    trust: options.Trust = False,
    budget: Annotated[
        float | None,
        options.taking(
            "SECONDS",
            "For everything, from the first keystroke.  [default: what a verdict takes as the "
            "first process finds it, 10 minutes at most]",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A budget of 60 seconds; small models only.")
    ] = False,
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="A budget of 600 seconds, and no end before it is used."),
    ] = False,
    processes: Annotated[
        int | None,
        options.taking(
            "N",
            "Exactly N fresh processes; without --budget, however long they take.",
            min=1,
            max=options.MOST_PROCESSES,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        options.taking(
            "N",
            "Timed rounds of each process.  [default: what the first process suggests]",
            min=1,
            max=options.MOST_ROUNDS,
        ),
    ] = None,
    target_ci: Annotated[
        str | None,
        options.taking(
            "SHARE", "Stop when every interval reaches at most this far to either side, such as 1%."
        ),
    ] = None,
    margin: Annotated[
        str, options.taking("SHARE", "The smallest difference that is worth a verdict.")
    ] = "2%",
    seed: options.Seed = None,
    folder: Annotated[
        Path | None,
        options.taking(
            "FOLDER", "Keep every process's samples here.  [default: a temporary one until the end]"
        ),
    ] = None,
    resume: options.Resume = None,
    no_cache: options.NoCache = False,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Time forward passes against each other, and give a verdict.

    Every process has all models and times them in rounds, each once a round; the ratio to the
    first, its interval and the verdict are over processes. A flag with several values makes
    every combination, all in the same rounds; what is compared is of one image size and batch. Raw
    samples are kept in JSON. Ctrl-C reports what was measured until then.

    \b
    Verdicts:
      FASTER, SLOWER  the whole interval is beyond the margin
      EQUIVALENT      the whole interval is inside it
      INCONCLUSIVE    neither; a longer run narrows the interval
      TOO FEW         fewer than 6 processes, and no difference so large that 3 tell it
      BUSY            the machine disturbed half of the processes, and may have made the difference
      INVALID         outputs that are not finite, an environment that changed meanwhile

    \b
    Examples:
      detrbench latency
      detrbench latency rtdetr-l rtdetr-x --device cuda:0 --fuse --budget 300
      detrbench latency rtdetr-l rtdetr-l@memory_format=channels_last rtdetr-l@runtime=compile
      detrbench latency rtdetr-l shufflev2 --runtime eager,compile --batch 1,8
      detrbench latency ./my-variant.yaml rtdetr-l --threads 1 --margin 5% -o latency.json
      detrbench latency --resume /tmp/detrbench-latency-x1y2z3
    """
    if resume is not None:
        options.check_alone(
            context, "resume", "The folder says what is measured", "budget", "no_cache"
        )
        check_budget(budget)
    asked = options.cases(models or ARTICLE_PAIR, context)
    target = None if target_ci is None else parse_part(target_ci, where="--target-ci")
    smallest = parse_part(margin, where="--margin")
    seconds = _budget(budget, quick, thorough)

    from detrbench.runtimes.artefacts import without_cache

    with ProgressLine() as progress, without_cache(no_cache):
        from detrbench.timing.measuring import latency as measure
        from detrbench.timing.measuring import resume_latency

        if resume is not None:
            report = resume_latency(
                resume,
                budget_s=left_of(budget),
                progress=progress,
                announce=progress.say,
            )
        else:
            report = measure(
                asked,
                budget_s=seconds,
                processes=processes,
                rounds=rounds,
                target=target,
                margin=smallest,
                early=not thorough,
                folder=folder,
                progress=progress,
                announce=progress.say,
            )
    by = "stage" if any(row.parts for row in report.rows) else None
    show_report(report, format, output, by)
    raise typer.Exit(report.exit_code)


def _budget(budget: float | None, quick: bool, thorough: bool) -> float | None:
    """Seconds for the whole run; `None` where nobody said."""
    if quick and thorough:
        raise UsageError("--quick and --thorough exclude each other", hint="Choose one of them.")
    if budget is not None:
        check_budget(budget)
        return left_of(budget)
    if quick or thorough:
        return left_of(QUICK_S if quick else THOROUGH_S)
    return None
