"""`detrbench profile`: parameters, FLOPs and memory access."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from detrbench.cli import options
from detrbench.cli.output import show_report
from detrbench.core.processes import importing_torch


def profile(
    context: typer.Context,
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help=f"{options.MODEL_HELP}.")],
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    nc: options.Classes = None,
    scale: options.Scale = None,
    fuse: options.Fuse = False,
    by: Annotated[str | None, options.taking("PART", "Also show each stage, module or op.")] = None,
    convention: Annotated[
        str,
        options.taking(
            "NAME", "Whose FLOPs to show: core, thop, ultralytics-thop, fvcore or torch."
        ),
    ] = "core",
    blocks: options.Blocks = None,
    backbone_weights: options.BackboneWeights = None,
    weights: options.Weights = None,
    trust: options.Trust = False,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Count parameters, FLOPs and memory access.

    Nothing is computed: it takes as long at any image size. Differences are to the first model.
    CSV and JSON hold every convention's FLOPs and every metric in full precision.

    \b
    Examples:
      detrbench profile rtdetr-l shufflev2
      detrbench profile rtdetr-l --nc 1 --convention thop --by stage
      detrbench profile ./my-variant.yaml --blocks my_blocks.py -o table.md
      detrbench profile rtdetr-l ./my_model.py:build
    """
    from detrbench.render.layout import PARTS
    from detrbench.reports.metrics import CONVENTION_METRICS

    options.check_choice(convention, CONVENTION_METRICS, flag="--convention")
    if by is not None:
        options.check_choice(by, PARTS, flag="--by")
    asked = options.cases(models, context)

    with importing_torch():
        from detrbench.counting.profiling import profile as profile_models

    report = profile_models(asked, by=cast(Any, by), convention=convention)  # checked above
    by_shown = by if by and any(row.parts.get(by) for row in report.rows) else None
    show_report(report, format, output, by_shown)
    raise typer.Exit(report.exit_code)
