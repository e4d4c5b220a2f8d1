"""What is printed of an explanation and kept: from the file, it is all there again."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import pytest

from detrbench.analysis.explain.account import COMPILING, LAYOUT
from detrbench.analysis.explain.tables import document, explanation_in
from detrbench.analysis.probe.ceilings import Ceilings
from detrbench.core.errors import UsageError
from detrbench.render import render, render_document
from detrbench.reports.report import Report
from tests.analysis.explain.pairs import CASES, CEILINGS, a_report, text_of


def test_the_report_fits_the_schema_and_survives_the_journey() -> None:
    explanation = CASES["tried"]
    report = a_report(explanation)
    text = report.to_json()
    assert Report.from_json(text) == Report.from_json(Report.from_json(text).to_json())
    schema = json.loads(
        (resources.files("detrbench.reports") / "report.schema.json").read_text("utf-8")
    )
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    kept_one = json.loads(text)["comparisons"][0]["explanation"]
    assert kept_one["paragraph"] == text_of(explanation)
    assert Ceilings.from_dict(kept_one) == CEILINGS
    assert [one["name"] for one in kept_one["tries"] if one["measured"]] == [LAYOUT, COMPILING]
    (backbone, _) = json.loads(text)["rows"][1]["parts"]["stage"]
    assert backbone["limit"] == "memory"
    assert backbone["floor_s"] == pytest.approx(0.090)
    assert backbone["efficiency"] == pytest.approx(0.45)
    assert len(backbone["samples_s"][0]) == 3


@pytest.mark.parametrize("name", CASES)
def test_a_saved_report_holds_the_whole_explanation(name: str) -> None:
    """Whatever is printed can be made again from the file."""
    report = a_report(CASES[name])
    again = Report.from_json(report.to_json())
    assert document(again).tables == document(report).tables
    found = explanation_in(again)
    assert text_of(found) == text_of(CASES[name])
    for side, known in (
        (found.baseline, CASES[name].baseline),
        (found.variant, CASES[name].variant),
    ):
        assert side.parts == known.parts
        assert (side.whole.work, side.whole.timed) == (known.whole.work, known.whole.timed)


def test_a_report_without_an_explanation_has_no_such_tables() -> None:
    with pytest.raises(UsageError, match="0 explanations"):
        document(Report())


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "json", "latex", "html"])
def test_every_format_shows_it(format: str) -> None:
    explanation = CASES["part of it"]
    shown = render_document(document(a_report(explanation)), format)
    assert shown == render(a_report(explanation), format), "`detrbench report` does likewise"
    assert "backbone" in shown
    assert "memory" in shown
    if format in ("table", "markdown"):
        assert "sum of parts" in shown
        assert "76.2%" in shown


def test_records_say_what_binds_each_part() -> None:
    explanation = CASES["part of it"]
    records = list(document(a_report(explanation)).records)
    found = {(one["model"], one["part"]): one["limit"] for one in records}
    assert found == {
        ("large", "all"): None,
        ("large", "backbone"): "compute",
        ("large", "neck"): "compute",
        ("small", "all"): None,
        ("small", "backbone"): "memory",
        ("small", "neck"): "compute",
    }
    assert records[4]["floor_s"] == pytest.approx(0.090)
