"""`detrbench report`: saved reports, rendered again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from detrbench.cli import options
from detrbench.cli.output import deliver


def report(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="RUN.json", help="Saved reports; several become one table."),
    ],
    to: Annotated[str | None, options.format_to_print("by the suffix of -o")] = None,
    lang: Annotated[str, options.taking("LANG", "Of tables: en or zh.")] = "en",
    by: Annotated[
        str | None, options.taking("PARTS", "Also show the parts: stage, module or op.")
    ] = None,
    output: options.Output = None,
) -> None:
    """Render saved reports again, without measuring anything.

    Several reports become one: what was counted in one and timed in another stands in one row.
    Times of different machines and different settings are refused.

    \b
    Examples:
      detrbench report run.json --to markdown
      detrbench report run.json --to markdown --lang zh
      detrbench report counts.json latency.json -o page.html
      detrbench report run.json --by stage --to latex -o table.tex
    """
    from detrbench.render.languages import check_language

    check_language(lang, where="--lang")

    from detrbench.render import format_of, render
    from detrbench.reports.merge import merge
    from detrbench.reports.report import Report

    merged = merge({str(file): Report.load(file) for file in files})
    deliver(render(merged, to or format_of(output), by=by, lang=lang), output)
