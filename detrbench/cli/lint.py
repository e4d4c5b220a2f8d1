"""`detrbench lint`: which blocks break ShuffleNetV2's guidelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import FAILED, OK, show_document
from detrbench.core.processes import importing_torch
from detrbench.core.units import parse_part


def lint(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help=f"{options.MODEL_HELP}.")],
    times: Annotated[
        Path | None,
        options.taking(
            "RUN.json", "A report with times of the model's stages or modules, to order by."
        ),
    ] = None,
    least: Annotated[
        str, options.taking("SHARE", "Leave out what costs less of the whole model.")
    ] = "0.5%",
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    nc: options.Classes = None,
    scale: options.Scale = None,
    fuse: options.Fuse = False,
    blocks: options.Blocks = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Find the blocks that break ShuffleNetV2's guidelines.

    G1: unequal channel widths of 1x1 convolutions. G2: group convolutions. G3: fragments.
    G4: element-wise work. Each finding says what it costs of the whole model, worst first. It is
    advice, and counted: nothing is measured here.

    \b
    Examples:
      detrbench lint shufflev1
      detrbench lint rtdetr-l --fuse --least 2%
      detrbench latency rtdetr-l --stages -o times.json
      detrbench lint rtdetr-l --times times.json
    """
    from detrbench.reports.report import Report

    smallest = parse_part(least, where="--least")
    options.check_file(times, flag="--times")
    case = options.case(model, context)
    measured = Report.load(times) if times else None

    with importing_torch():
        from detrbench.counting.lint import lint as lint_trace
        from detrbench.counting.lint import time_shares
        from detrbench.counting.lint_tables import document
        from detrbench.counting.profiling import build_to_count, not_counted, trace_case

    built = build_to_count(case)
    shares, timed = time_shares(measured, case.model.name) if measured else ({}, None)
    traced = trace_case(case, built)
    found, lacking = lint_trace(traced, shares), not_counted(traced)
    show_document(document(found, case, built, timed, smallest, lacking), format, output)
    raise typer.Exit(FAILED if lacking else OK)
