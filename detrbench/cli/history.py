"""`detrbench history`: one metric over the runs of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import show_document


def history(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where saved runs are, at any depth.")
    ] = Path("reports"),
    metric: Annotated[str, options.taking("KEY", "As in a report's metrics.")] = "latency_median_s",
    model: Annotated[
        list[str] | None, options.taking("MODEL", "Only this one; may be given again.")
    ] = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Tabulate a metric over saved runs.

    Runs of different machines or settings stand in tables of their own, and no change is given
    between them.

    \b
    Examples:
      detrbench history reports
      detrbench history reports --metric params --model shufflev2 --format csv
    """
    from detrbench.compare.history import collect, history

    reports, left_out = collect(folder)
    show_document(history(reports, metric, model or (), left_out), format, output)
