"""The claims as one table, with the evidence of every part beneath it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from detrbench.core.version import __version__
from detrbench.experiments.claims.rules import Claim, Part
from detrbench.machine.environment import Environment
from detrbench.render.layout import Document, Line, Table, columns
from detrbench.reports.report import Report


def document(claims: Sequence[Claim], reports: Mapping[str, Report]) -> Document:
    """A table of rulings; a record per part; everything, and the reports (by file) that it was made
    from, as data."""
    records = [
        {
            "claim": claim.number,
            "claim_text": claim.text,
            "claim_verdict": claim.ruling.value,
            "part": letter,
            **_told(part),
        }
        for claim in claims
        for letter, part in _lettered(claim)
    ]
    data = {
        "detrbench_version": __version__,
        "claims": [
            {
                "number": claim.number,
                "text": claim.text,
                "verdict": claim.ruling.value,
                "parts": [{**_told(part), "figures": part.figures} for part in claim.parts],
            }
            for claim in claims
        ],
        "evidence": [_source(file, report) for file, report in reports.items()],
    }
    table = Table(
        caption="The article's claims, held against what was measured here.",
        columns=columns("ll", "Claim", "Verdict"),
        lines=tuple(line for claim in claims for line in _lines(claim)),
        notes=(*_notes(claims), *map(_source_note, reports.items())),
    )
    return Document((table,), records, data)


def _lines(claim: Claim) -> Iterator[Line]:
    yield Line(f"{claim.number}. {claim.text}", (claim.ruling.value,))
    for letter, part in _lettered(claim):
        yield Line(f"{claim.number}{letter} {part.text}", (part.ruling.value,), level=1)


def _notes(claims: Sequence[Claim]) -> Iterator[str]:
    """Each part's evidence; what stands under several parts is said once."""
    under: dict[str, list[str]] = {}
    for claim in claims:
        for letter, part in _lettered(claim):
            under.setdefault(part.evidence, []).append(f"{claim.number}{letter}")
    for evidence, names in under.items():
        yield f"{', '.join(names)}: {evidence}"


def _lettered(claim: Claim) -> Iterator[tuple[str, Part]]:
    """The parts of a claim, each by its letter: a, b, c, ..."""
    return zip(ascii_lowercase, claim.parts, strict=False)


def _told(part: Part) -> dict[str, Any]:
    return {"text": part.text, "verdict": part.ruling.value, "evidence": part.evidence}


def _source(file: str, report: Report) -> dict[str, Any]:
    return {
        "file": file,
        "title": report.title,
        "created": report.created,
        "command": report.command,
        "detrbench_version": report.detrbench_version,
        "machine": Environment.from_dict(report.environment).one_line(),
    }


def _source_note(source: tuple[str, Report]) -> str:
    file, report = source
    told = _source(file, report)
    made = f", made on {told['created']}" if told["created"] else ""
    made += f" with: {told['command']}" if made and told["command"] else ""
    return f"Evidence: {file}{made}; {told['machine']}"
