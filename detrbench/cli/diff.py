"""`detrbench diff`: what changed between two saved reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import show_document


def diff(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A saved report.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another one.")],
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Show what changed between two saved reports: values, settings, environment.

    It describes and does not judge; for a verdict see `detrbench gate`.

    \b
    Examples:
      detrbench diff reports/monday/run.json reports/friday/run.json
      detrbench diff before.json after.json --format markdown
    """
    from detrbench.compare.diff import difference
    from detrbench.reports.report import Report

    show_document(difference(Report.load(a), Report.load(b), (str(a), str(b))), format, output)
