"""`detrbench latency`: how long a forward pass takes, and which model is really faster."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import ProgressLine, deliver
from detrbench.core.errors import UsageError

ARTICLE_PAIR = ("rtdetr-l", "shufflev2")

BUDGET_S, QUICK_S, THOROUGH_S = 120.0, 60.0, 600.0


def latency(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Names, or paths of model files.  [default: rtdetr-l shufflev2]",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "cpu",
    imgsz: options.ImageSize = "640",
    batch: options.Batch = 1,
    nc: options.Classes = None,
    fuse: options.Fuse = False,
    runtime: Annotated[
        str, typer.Option("--runtime", metavar="RUNTIME", help="eager, compile or cudagraph.")
    ] = "eager",
    dtype: options.Dtype = "float32",
    memory_format: options.MemoryFormat = "contiguous",
    tf32: Annotated[
        bool | None,
        typer.Option(
            "--tf32/--no-tf32", help="CUDA: float32 products with 10-bit factors, or not at all."
        ),
    ] = None,
    cudnn_benchmark: Annotated[
        bool | None,
        typer.Option(
            "--cudnn-benchmark/--no-cudnn-benchmark", help="CUDA: let cuDNN try its algorithms."
        ),
    ] = None,
    cold_l2: Annotated[
        bool, typer.Option("--cold-l2", help="CUDA: flush the L2 cache between samples.")
    ] = False,
    stages: Annotated[
        bool,
        typer.Option(
            "--stages",
            help="Time preprocessing, backbone, neck, decoder and postprocessing beside the whole.",
        ),
    ] = False,
    threads: options.Threads = None,
    blocks: options.Blocks = None,
    backbone_weights: options.BackboneWeights = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="SECONDS",
            help="For everything, every process's start included.  [default: 120]",
            show_default=False,
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
        typer.Option(
            "--processes",
            min=1,
            metavar="N",
            help="Exactly N fresh processes; without --budget, however long they take.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            min=1,
            metavar="N",
            help="Timed rounds of each process.  [default: what the first process suggests]",
        ),
    ] = None,
    target_ci: Annotated[
        str | None,
        typer.Option(
            "--target-ci",
            metavar="SHARE",
            help="Stop when every interval reaches at most this far to either side, such as 1%.",
        ),
    ] = None,
    margin: Annotated[
        str,
        typer.Option(
            "--margin", metavar="SHARE", help="The smallest difference that is worth a verdict."
        ),
    ] = "2%",
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Of weights and images.")
    ] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="FOLDER",
            help="Keep every process's samples here.  [default: a temporary one until the end]",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", metavar="FOLDER", help="Go on with a run that was cut short; alone."
        ),
    ] = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Time forward passes against each other, and give a verdict.

    Every fresh process builds all models and times them in rounds, each model once a round; the
    ratio to the first model, its interval and the verdict are over processes. Raw samples are kept
    in JSON. Ctrl-C reports what was measured until then.

    \b
    Verdicts:
      FASTER, SLOWER  the whole interval is beyond the margin
      EQUIVALENT      the whole interval is inside it
      INCONCLUSIVE    neither; a longer run narrows the interval
      INVALID         fewer than 6 processes, a machine too busy, outputs that are not finite

    \b
    Examples:
      detrbench latency
      detrbench latency rtdetr-l rtdetr-x --device cuda:0 --fuse --budget 300
      detrbench latency ./my-variant.yaml rtdetr-l --threads 1 --margin 5% -o latency.json
      detrbench latency --resume /tmp/detrbench-latency-x1y2z3
    """
    from detrbench.core.units import parse_imgsz, parse_part
    from detrbench.runtimes import check_runtime
    from detrbench.runtimes.options import Options, check_options

    chosen = options.check_format(format, options.check_output(output))
    if resume is not None:
        options.check_alone(context, "resume", "The folder says what is measured")
    size = parse_imgsz(imgsz, where="--imgsz")
    options.check_device(device)
    check_runtime(runtime, device)
    execution = check_options(Options(dtype, memory_format, tf32, cudnn_benchmark, cold_l2), device)
    options.check_file(blocks, flag="--blocks")
    options.check_file(backbone_weights, flag="--backbone-weights")
    asked = options.check_models(models or ARTICLE_PAIR)
    target = None if target_ci is None else parse_part(target_ci, where="--target-ci")
    smallest = parse_part(margin, where="--margin")
    seconds = _budget(budget, quick, thorough, processes)

    from detrbench.render import render
    from detrbench.timing.measuring import measure_latency, resume_latency

    progress = ProgressLine()
    try:
        if resume is not None:
            report = resume_latency(resume, progress=progress, announce=progress.say)
        else:
            report = measure_latency(
                asked,
                device=device,
                batch=batch,
                imgsz=size,
                nc=nc,
                fuse=fuse,
                threads=threads,
                blocks=blocks,
                backbone_weights=backbone_weights,
                runtime=runtime,
                options=execution,
                stages=stages,
                budget_s=seconds,
                processes=processes,
                rounds=rounds,
                target=target,
                margin=smallest,
                early=not thorough,
                seed=seed,
                folder=folder,
                progress=progress,
                announce=progress.say,
            )
    finally:
        progress.close()
    report = dataclasses.replace(report, command=options.command_line())
    by = "stage" if any(row.parts for row in report.rows) else None
    deliver(render(report, chosen, by=by), output)
    raise typer.Exit(report.exit_code)


def _budget(
    budget: float | None, quick: bool, thorough: bool, processes: int | None
) -> float | None:
    """Seconds for the whole run; `None` where only the number of processes ends it."""
    if quick and thorough:
        raise UsageError("--quick and --thorough exclude each other", hint="Choose one of them.")
    if budget is not None:
        if not budget > 0:
            raise UsageError(
                f"{budget:g} seconds leave no time", where="--budget", hint="Give more than 0."
            )
        return budget
    if quick or thorough:
        return QUICK_S if quick else THOROUGH_S
    return None if processes is not None else BUDGET_S
