"""`detrbench claims`: the article's six claims, held against saved evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from detrbench.cli import options
from detrbench.cli.output import show_document


def _saved(made_by: str) -> Any:
    return options.taking("RUN.json", f"Of `detrbench {made_by}`.")


def claims(
    rivals: Annotated[list[Path] | None, _saved("run rivals")] = None,
    guidelines: Annotated[list[Path] | None, _saved("guidelines")] = None,
    article: Annotated[list[Path] | None, _saved("run article")] = None,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Hold the article's six claims against saved reports, measuring nothing.

    Each is supported, not supported, inconclusive, not measured (with the command that does) or not
    testable here, part by part, with the figures that say so. Options may be given again, for
    reports of other devices.

    \b
    Examples:
      detrbench claims --rivals rivals/run.json --article article/run.json
      detrbench claims --rivals cpu.json --rivals gpu.json --guidelines guidelines.json -o claims.md
    """
    from detrbench.experiments.claims.evidence import Evidence
    from detrbench.experiments.claims.rules import judge_claims
    from detrbench.experiments.claims.tables import document
    from detrbench.experiments.claims.unit import unit_facts
    from detrbench.reports.report import Report

    def load(files: list[Path] | None) -> dict[str, Report]:
        return {str(file): Report.load(file) for file in files or ()}

    evidence = Evidence.of(load(rivals), load(article), load(guidelines))
    found = judge_claims(evidence, unit_facts())
    show_document(document(found, evidence.reports), format, output)
