"""Findings of lint laid out, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detrbench.core.units import show_part, show_share
from detrbench.counting.lint import GUIDELINES, Finding
from detrbench.counting.profiling import completeness
from detrbench.models.sources.built import Built
from detrbench.models.yaml_spec import ModelSpec
from detrbench.render.layout import Column, Document, Line, Table
from detrbench.reports.case import Case
from detrbench.reports.report import Result
from detrbench.reports.settings import settings_text


def document(
    found: Sequence[Finding],
    case: Case,
    built: Built,
    timed: Result | None,
    least: float,
    lacking: Sequence[str] = (),
) -> Document:
    """The findings that cost at least `least` of the model as a table, and all of them as data;
    what they are made of may be `lacking` something, as `not_counted` tells."""
    settings = case.settings_of_counts(built.nc)
    spec = None if built.detector is None else built.detector.spec
    name = case.model.name if spec is None else spec.name
    whole = completeness(lacking)
    records = [_record(finding, spec) | whole for finding in found]
    shown = [finding for finding in found if finding.share >= least]
    left_out = (
        f"{len(found) - len(shown)} more cost less than {show_part(least)} of the model each: "
        "see --least, CSV and JSON"
    )
    table = Table(
        caption=(
            f"{name}, {settings_text(settings)}: what breaks ShuffleNetV2's guidelines, "
            "worst first."
        ),
        columns=(
            Column("Block", "left"),
            Column("Breaks", "left"),
            Column("Found", "left"),
            Column("Cost (model)"),
            Column("Cost (block)"),
            Column("FLOPs (model)"),
            *((Column("Time (model)"),) if timed else ()),
        ),
        lines=tuple(_line(finding, timed is not None) for finding in shown),
        notes=(
            *(f"partial: {one}" for one in lacking),
            *(
                f"{key}: {one.rule}; cost: {one.cost}"
                for key, one in GUIDELINES.items()
                if any(finding.guideline == key for finding in shown)
            ),
            *([left_out] if len(found) > len(shown) else []),
            *(_order(timed) if timed else []),
            "It is advice: a guideline is about equal FLOPs, and a block may have its reasons.",
        ),
    )
    data = {
        "model": name,
        "settings": settings,
        "timed_at": timed.settings if timed else None,
        **whole,
        "guidelines": {
            key: {"rule": one.rule, "cost": one.cost, "unit": one.unit, "share_of": one.total}
            for key, one in GUIDELINES.items()
        },
        "findings": [
            {**record, "evidence": [layer._asdict() for layer in finding.evidence]}
            for record, finding in zip(records, found, strict=True)
        ],
    }
    # Without a finding there is still to say that not everything was looked at.
    return Document((table,), records or ([whole] if lacking else []), data)


def _record(finding: Finding, spec: ModelSpec | None) -> dict[str, Any]:
    rows: Mapping[str, Any] = {f"model.{row.index}": row for row in (spec.rows if spec else ())}
    row = rows.get(finding.block)
    said = {key: value for key, value in vars(finding).items() if key != "evidence"}
    place = {"row": row.index if row else None, "line": row.line if row else None}
    return {"block": finding.block} | place | said


def _line(finding: Finding, timed: bool) -> Line:
    shares = [show_share(s, 1) for s in (finding.share, finding.own_share, finding.flops_share)]
    time = "n/a"
    if finding.time_share is not None:
        time = show_share(finding.time_share, 1)
        time += "" if finding.timed == finding.block else f" ({finding.timed})"
    return Line(
        f"{finding.block} {finding.kind}",
        (finding.guideline, finding.found, *shares, *([time] if timed else [])),
    )


def _order(timed: Result) -> list[str]:
    said = ", ".join(f"{name} {value}" for name, value in timed.settings.items())
    return [
        "ordered by the share of the time times what the guideline costs of the block; in "
        "parentheses the stage where only its time is known",
        f"times are of: {said}",
    ]
