"""`detrbench lint`: which blocks break ShuffleNetV2's guidelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detrbench.cli import options
from detrbench.cli.output import deliver

if TYPE_CHECKING:
    from detrbench.linting import Finding
    from detrbench.profiling import Subject
    from detrbench.render.layout import Document, Line
    from detrbench.report import Cell
    from detrbench.spec import ModelSpec


def lint(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A name, or the path of a model's file.")
    ],
    times: Annotated[
        Path | None,
        typer.Option(
            "--times",
            metavar="RUN.json",
            help="A report with times of the model's stages or modules, to order by.",
        ),
    ] = None,
    least: Annotated[
        str,
        typer.Option(
            "--least", metavar="SHARE", help="Leave out what costs less of the whole model."
        ),
    ] = "0.5%",
    imgsz: options.ImageSize = "640",
    batch: options.Batch = 1,
    nc: options.Classes = None,
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
    from detrbench.units import parse_imgsz, parse_part

    size = parse_imgsz(imgsz, where="--imgsz")
    smallest = parse_part(least, where="--least")
    chosen = options.check_format(format, options.check_output(output))
    options.check_file(times, flag="--times")
    options.check_file(blocks, flag="--blocks")
    options.check_models([model])

    from detrbench import linting
    from detrbench.profiling import Subject
    from detrbench.render import render_document
    from detrbench.report import Report

    subject = Subject(model, size, batch, nc, fuse, blocks)
    detector = subject.build()
    shares, timed = linting.time_shares(Report.load(times), model) if times else ({}, None)
    found = linting.lint(subject.trace(detector), shares)
    document = _document(found, subject, detector.spec, timed, smallest)
    deliver(render_document(document, chosen), output)


def _document(
    found: Sequence[Finding], subject: Subject, spec: ModelSpec, timed: Cell | None, least: float
) -> Document:
    from detrbench.linting import GUIDELINES
    from detrbench.render.layout import Column, Document, Table
    from detrbench.units import show_imgsz, show_part

    settings = {
        "imgsz": show_imgsz(subject.imgsz),
        "batch": subject.batch,
        "nc": spec.nc,
        "fused": subject.fuse,
    }
    records = [_record(finding, spec) for finding in found]
    shown = [finding for finding in found if finding.share >= least]
    times = (Column("Time (model)"),) if timed else ()
    fused = "fused" if subject.fuse else "unfused"
    table = Table(
        caption=(
            f"{spec.name}, image {settings['imgsz']}, batch {subject.batch}, nc={spec.nc}, "
            f"{fused}: what breaks ShuffleNetV2's guidelines, worst first."
        ),
        columns=(
            Column("Block", "left"),
            Column("Breaks", "left"),
            Column("Found", "left"),
            Column("Cost (model)"),
            Column("Cost (block)"),
            Column("FLOPs (model)"),
            *times,
        ),
        lines=tuple(_line(finding, timed is not None) for finding in shown),
        notes=(
            *(
                f"{key}: {one.rule}; cost: {one.cost}"
                for key, one in GUIDELINES.items()
                if any(finding.guideline == key for finding in shown)
            ),
            *_left_out(len(found) - len(shown), show_part(least)),
            *_order(timed),
            "It is advice: a guideline is about equal FLOPs, and a block may have its reasons.",
        ),
    )
    data = {
        "model": spec.name,
        "settings": settings,
        "timed_at": timed.settings if timed else None,
        "guidelines": {
            key: {"rule": one.rule, "cost": one.cost, "unit": one.unit, "share_of": one.total}
            for key, one in GUIDELINES.items()
        },
        "findings": [
            {**record, "evidence": [layer._asdict() for layer in finding.evidence]}
            for record, finding in zip(records, found, strict=True)
        ],
    }
    return Document((table,), records, data)


def _record(finding: Finding, spec: ModelSpec) -> dict[str, Any]:
    rows: Mapping[str, Any] = {f"model.{row.index}": row for row in spec.rows}
    row = rows.get(finding.block)
    return {
        "block": finding.block,
        "row": row.index if row else None,
        "line": row.line if row else None,
        "kind": finding.kind,
        "stage": finding.stage,
        "guideline": finding.guideline,
        "found": finding.found,
        "above": finding.above,
        "share": finding.share,
        "own_share": finding.own_share,
        "flops_share": finding.flops_share,
        "time_share": finding.time_share,
        "timed": finding.timed,
    }


def _line(finding: Finding, timed: bool) -> Line:
    from detrbench.render.layout import Line
    from detrbench.units import show_share

    shares = [show_share(s, 1) for s in (finding.share, finding.own_share, finding.flops_share)]
    time = "n/a"
    if finding.time_share is not None:
        time = show_share(finding.time_share, 1)
        time += "" if finding.timed == finding.block else f" ({finding.timed})"
    return Line(
        f"{finding.block} {finding.kind}",
        (finding.guideline, finding.found, *shares, *([time] if timed else [])),
    )


def _left_out(number: int, least: str) -> list[str]:
    if not number:
        return []
    return [f"{number} more cost less than {least} of the model each: see --least, CSV and JSON"]


def _order(timed: Cell | None) -> list[str]:
    if timed is None:
        return []
    said = ", ".join(f"{name} {value}" for name, value in timed.settings.items())
    return [
        "ordered by the share of the time times what the guideline costs of the block; in "
        "parentheses the stage where only its time is known",
        f"times are of: {said}",
    ]
