"""`detrbench latency`: how long a forward pass takes."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import ProgressLine, deliver

ARTICLE_PAIR = ("rtdetr-l", "shufflev2")


def latency(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Names, or paths of model files.  [default: rtdetr-l shufflev2]",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="DEVICE", help="cpu, cuda or cuda:N.")
    ] = "cpu",
    imgsz: options.ImageSize = "640",
    batch: options.Batch = 1,
    nc: options.Classes = None,
    fuse: options.Fuse = False,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            metavar="N",
            help="Threads of the processor.  [default: what the control group allows]",
        ),
    ] = None,
    blocks: options.Blocks = None,
    backbone_weights: options.BackboneWeights = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Time forward passes: median and quartiles.

    Models are interleaved round by round. Differences are to the first model. Raw samples are kept
    in JSON. Ctrl-C reports what was measured until then.

    \b
    Examples:
      detrbench latency
      detrbench latency rtdetr-l rtdetr-x --device cuda:0 --fuse
      detrbench latency ./my-variant.yaml --threads 1 -o latency.json
    """
    from detrbench.units import parse_imgsz

    size = parse_imgsz(imgsz, where="--imgsz")
    options.check_device(device)
    chosen = options.check_format(format, options.check_output(output))
    options.check_file(blocks, flag="--blocks")
    options.check_file(backbone_weights, flag="--backbone-weights")
    asked = options.check_models(models or ARTICLE_PAIR)

    from detrbench.render import render
    from detrbench.timing.latency import measure_latency

    progress = ProgressLine()
    try:
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
            progress=progress,
        )
    finally:
        progress.close()
    report = dataclasses.replace(report, command=options.command_line())
    deliver(render(report, chosen), output)
    raise typer.Exit(report.exit_code)
