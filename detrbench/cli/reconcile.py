"""`detrbench reconcile`: where every MAC is by every counter, or what prints given figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import FAILED, OK, ProgressLine, show_document
from detrbench.core.errors import UsageError
from detrbench.core.processes import importing_torch
from detrbench.core.units import Printed, parse_printed, printed_factor


def reconcile(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help=f"{options.MODEL_HELP}.")
    ] = None,
    params: Annotated[
        str | None, options.taking("32.8M", "Find what prints these parameters.")
    ] = None,
    gflops: Annotated[str | None, options.taking("108.0", "Find what prints these GFLOPs.")] = None,
    table: Annotated[
        Path | None,
        options.taking("FILE.csv", "Find what prints each row of a published table; alone."),
    ] = None,
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    nc: options.Classes = None,
    scale: options.Scale = None,
    fuse: options.Fuse = False,
    blocks: options.Blocks = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Break FLOPs down by component and counter, or find the settings behind printed figures.

    The counters that are installed (thop, fvcore, torch's own) are run for real, and the components
    must add up to what they say; the exit code is 4 where they do not. With --params or --gflops,
    class count, fusing, convention, image size and doubling are searched instead for what prints
    exactly these digits; with --table, for every row of a CSV file with the columns model, params,
    GFLOPs and latency, and which rows cannot have been counted the same way.

    \b
    Examples:
      detrbench reconcile rtdetr-l
      detrbench reconcile rtdetr-l --params 32.8M --gflops 108.0
      detrbench reconcile --table paper.csv
    """
    from detrbench.counting.published_table import explain_table, read_cases

    if table is not None:
        options.check_alone(context, "table", "The file says what is searched for", "blocks")
        options.check_file(table, flag="--table")
    elif model is None:
        raise UsageError("no model is named", hint="Give a MODEL, or --table FILE.csv.")
    figures = (("parameter", "--params", params), ("FLOP", "--gflops", gflops))
    wanted = {
        unit: _figure(text, printed_factor(unit), flag)
        for unit, flag, text in figures
        if text is not None
    }
    if wanted and (nc is not None or fuse or imgsz is not None):
        raise UsageError(
            "with --params or --gflops, these settings are what is searched for",
            where="--nc, --fuse, --imgsz",
            hint="leave them out",
        )
    asked = () if table is None else read_cases(table, lambda name: options.case(name, context))
    case = None if model is None else options.case(model, context)

    with importing_torch():
        from detrbench.counting import reconcile as counting
        from detrbench.counting import reconcile_tables as tables

    with ProgressLine() as progress:
        if table is not None:
            explained = explain_table(table, asked, progress.show)
            lacking = any(row.found.not_counted for row in explained.rows)
            document = tables.table_document(explained)
        elif case is not None and wanted:
            found = counting.search(
                case, wanted.get("parameter"), wanted.get("FLOP"), progress.show
            )
            lacking = bool(found.not_counted)
            document = tables.search_document(found, params, gflops)
        elif case is not None:
            counts = counting.reconcile(case, progress.show)
            lacking = bool(counts.not_counted or counts.unexplained)
            document = tables.components_document(counts, case)
    show_document(document, format, output)
    raise typer.Exit(FAILED if lacking else OK)


def _figure(text: str, factor: float, flag: str) -> Printed:
    printed = parse_printed(text, factor=factor, where=flag, in_full=True)
    if not printed.value:
        raise UsageError("no detector has 0 of these", where=flag, hint="give a figure above 0")
    return printed
