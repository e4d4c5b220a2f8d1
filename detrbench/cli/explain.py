"""`detrbench explain`: why a model is faster than another, or is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from detrbench.cli import options
from detrbench.cli.output import ProgressLine, deliver, say

if TYPE_CHECKING:
    from detrbench.reports.report import Report


def explain(
    baseline: Annotated[
        str, typer.Argument(metavar="BASELINE", help="A name, or the path of a model file.")
    ],
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="Likewise.")],
    device: options.Device = "cpu",
    imgsz: options.ImageSize = "640",
    batch: options.Batch = 1,
    nc: options.Classes = None,
    fuse: options.Fuse = False,
    by: Annotated[str, typer.Option("--by", metavar="PART", help="stage, module or op.")] = "stage",
    dtype: options.Dtype = "float32",
    memory_format: options.MemoryFormat = "contiguous",
    threads: options.Threads = None,
    blocks: options.Blocks = None,
    budget: Annotated[
        float, typer.Option("--budget", metavar="SECONDS", help="For the rounds.")
    ] = 90.0,
    tries: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="REMEDY",
            help="Also measure, on VARIANT: channels_last, batch, compile or cudagraph. May be "
            "given several times; each takes half of the budget more.",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures", metavar="FOLDER", help="Also write roofline.svg and parts.svg there."
        ),
    ] = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Explain where the time of two models goes, and what became of the FLOPs saved.

    Both models, their parts and probes of what the device can do at best are timed in the same
    rounds. Each part gets a floor, the largest of FLOPs over their rate, traffic over bandwidth and
    kernels times a launch, its efficiency against that, and which of the three binds. A paragraph
    made from these numbers says how much of the FLOP saving reached the clock, where the rest
    stayed, and what to try next.

    The numbers are medians over rounds of one process with their quartiles; a verdict on which
    model is faster is the business of `detrbench latency`.

    \b
    Examples:
      detrbench explain rtdetr-l shufflev2
      detrbench explain rtdetr-l shufflev2 --by op --budget 120
      detrbench explain rtdetr-l ./my-variant.yaml --try channels_last --try compile -o why.json
    """
    from detrbench.core.errors import UsageError
    from detrbench.core.units import parse_imgsz
    from detrbench.render.layout import PARTS
    from detrbench.runtimes import check_runtime
    from detrbench.runtimes.options import Options, check_options

    chosen = options.check_format(format, options.check_output(output))
    size = parse_imgsz(imgsz, where="--imgsz")
    if pictures is not None:
        _check_folder(pictures)
    options.check_choice(by, PARTS, flag="--by")
    options.check_device(device)
    execution = check_options(Options(dtype, memory_format), device)
    options.check_file(blocks, flag="--blocks")
    asked = options.check_models([baseline, variant])
    wanted = list(dict.fromkeys(tries or ()))
    for name in wanted:
        options.check_choice(name, ("channels_last", "batch", "compile", "cudagraph"), flag="--try")
        if name in ("compile", "cudagraph"):
            check_runtime(name, device)
    if not budget > 0:
        raise UsageError(
            f"{budget:g} seconds leave no time", where="--budget", hint="Give more than 0."
        )

    from detrbench.analysis.explain.measuring import explain_pair
    from detrbench.analysis.explain.remedies import measure_tries
    from detrbench.analysis.explain.tables import document, explanation_report
    from detrbench.render import render_document
    from detrbench.timing.process import Request
    from detrbench.timing.schedule import Plan

    request = Request(
        models=tuple(asked),
        device=device,
        batch=batch,
        imgsz=size,
        nc=nc,
        fuse=fuse,
        threads=threads,
        blocks=None if blocks is None else str(blocks),
        options=execution,
        plan=Plan(budget_s=budget),
    )
    progress = ProgressLine()
    try:
        found = explain_pair(request, cast(Any, by), progress=progress)  # checked above
        tried = (
            measure_tries(request, wanted, budget_s=budget * len(wanted) / 2, progress=progress)
            if wanted and not found.interrupted
            else ()
        )
    finally:
        progress.close()
    found = dataclasses.replace(
        found, explanation=dataclasses.replace(found.explanation, tried=tried)
    )
    report = explanation_report(found)
    report = dataclasses.replace(report, command=options.command_line())
    deliver(render_document(document(report), chosen), output)
    if pictures is not None:
        _draw(report, by, pictures)
    raise typer.Exit(report.exit_code)


def _check_folder(folder: Path) -> None:
    """Make `folder` now: said before the measurement, not after it.

    Raises:
        UsageError: it cannot be made.
    """
    from detrbench.core.errors import UsageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made a folder: {error.strerror}",
            where="--pictures",
            hint="Name another one.",
        ) from error


def _draw(report: Report, by: str, folder: Path) -> None:
    from detrbench.analysis.explain.roofline import roofline
    from detrbench.core.files import write_atomically
    from detrbench.render import plots

    for name, drawn in (("roofline", roofline(report)), ("parts", plots.parts(report, by))):
        if drawn is not None:
            write_atomically(folder / f"{name}.svg", drawn)
            say(f"wrote {folder / f'{name}.svg'}")
