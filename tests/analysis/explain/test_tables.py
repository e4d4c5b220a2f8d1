"""What is printed of an explanation and kept: from the file, it is all there again."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources

import jsonschema
import pytest

from detrbench.analysis.explain.account import COMPILING, LAYOUT, saving
from detrbench.analysis.explain.findings import Explanation, Timed
from detrbench.analysis.explain.measuring import Explained
from detrbench.analysis.explain.tables import document, explanation_in, explanation_report
from detrbench.analysis.probe.ceilings import Ceilings
from detrbench.core.errors import UsageError
from detrbench.core.units import show_change
from detrbench.machine.circumstances import Circumstances
from detrbench.render import FORMATS, render, render_document
from detrbench.render.page.words import findings
from detrbench.reports.report import Report
from tests.analysis.explain.pairs import BUSY, CASES, CEILINGS, SPOILT, a_report, text_of
from tests.analysis.probe.profiles import SLOW_CACHE
from tests.timing.runs import SETTINGS, asked, measured, taken


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


# --- what happened meanwhile ---------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_what_the_machine_did_meanwhile(format: str) -> None:
    report = a_report(dataclasses.replace(CASES["part of it"], circumstances=BUSY))
    again = Report.from_json(report.to_json())
    shown = " ".join(render(again, format).split())
    assert ("others used 40%" if format != "latex" else r"others used 40\%") in shown
    assert "foreign work" in shown
    assert "on a busy machine (foreign work)" in shown or format == "csv"
    quiet = a_report(dataclasses.replace(CASES["part of it"], circumstances=Circumstances()))
    assert "foreign work" not in render(quiet, format)


def test_circumstances_are_kept_with_the_explanation() -> None:
    explanation = dataclasses.replace(CASES["tried"], circumstances=BUSY)
    again = explanation_in(Report.from_json(a_report(explanation).to_json()))
    assert again.circumstances == BUSY
    assert explanation_in(a_report(CASES["tried"])).circumstances is None


def test_ceilings_that_cannot_be_are_said_with_the_times_held_against_them() -> None:
    each = {**CEILINGS.each, "cache": SLOW_CACHE}
    odd = dataclasses.replace(CASES["part of it"], ceilings=Ceilings(each, CEILINGS.cache_bytes))
    (*_, last) = document(a_report(odd)).tables
    assert any(note.startswith("ceilings: the cache does 5.0 GB/s and mem") for note in last.notes)
    assert "Measured on a disturbed machine (ceilings): what follows is rough." in text_of(odd)


def test_faster_than_the_floor_names_its_cause_and_how_the_ceilings_were_measured() -> None:
    explanation = dataclasses.replace(CASES["more FLOPs, faster"], circumstances=BUSY)
    notes = document(a_report(explanation)).tables[0].notes
    cause = "ceilings measured on a busy machine (foreign work), or its shapes suit the device"
    assert any(
        note.startswith(f"small: backbone reaches 127.1% of its floor: {cause}") for note in notes
    )
    assert any(
        note.startswith(f"small: all of it reaches 110.6% of its floor: {cause}") for note in notes
    )


# --- one number for one quantity -----------------------------------------------------------------


def with_samples(explanation: Explanation, before: Samples, after: Samples) -> Report:
    """As `explain` makes it of a process in which the whole models took so long."""
    sides = [
        dataclasses.replace(side, whole=dataclasses.replace(side.whole, timed=Timed.of(samples)))
        for side, samples in (
            (explanation.baseline, before),
            (explanation.variant, after),
        )
    ]
    explanation = dataclasses.replace(explanation, baseline=sides[0], variant=sides[1])
    request = asked("large", "small")
    found = measured(request, {"large": taken(*before), "small": taken(*after)})
    settings = {**SETTINGS, "memory_format": "contiguous"}
    subjects = tuple(dataclasses.replace(each, settings=settings) for each in found.subjects)
    found = dataclasses.replace(found, subjects=subjects)
    return explanation_report(Explained(explanation, found, False))


Samples = tuple[float, float, float]
BEFORE, AFTER = (1.00, 1.05, 1.10), (0.65, 0.50, 0.90)
"""By medians 38.1 % less time, by the median of the rounds' own ratios 35.0 %."""


def test_headline_table_record_page_and_prose_say_one_difference() -> None:
    """A median of ratios is not the ratio of medians; the account takes the latter."""
    report = with_samples(CASES["part of it"], BEFORE, AFTER)
    (pair,) = report.comparisons
    account = saving(explanation_in(report))
    assert pair.ratio == account.time_ratio == pytest.approx(0.65 / 1.05)
    said = show_change(account.time_ratio)
    assert said == "-38.1%"
    _, table, *_ = document(report).tables
    assert {line.label: line.cells[1] for line in table.lines}["change of time"] == said
    assert "takes 38.1% less time" in table.notes[0]
    (found,) = findings(report)
    assert "it takes 38.1% less time" in found.sentence
    whole = [one for one in document(report).records if one["part"] == "all"]
    assert whole[1]["ratio"] == account.time_ratio
    kept = explanation_in(report)
    for row, side in zip(report.rows, (kept.baseline, kept.variant), strict=True):
        assert row.metrics["latency_median_s"] == side.seconds, "one time, too"
    page = render(report, "html")
    assert "38.1% less time" in page
    assert "35.0% less" not in page
    assert "-35.0%" not in page


def test_what_spoils_a_run_is_a_reason_of_its_comparison() -> None:
    explanation = dataclasses.replace(CASES["part of it"], circumstances=SPOILT)
    (pair,) = with_samples(explanation, BEFORE, AFTER).comparisons
    assert pair.verdict is None
    assert pair.reasons[1].startswith("contended: this process waited 90% of the time")


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_not_counted_is_said_in_every_format(format: str) -> None:
    explanation = CASES["part of it"]
    variant = dataclasses.replace(explanation.variant, lacking="no formula for aten.special_i0e")
    report = a_report(dataclasses.replace(explanation, variant=variant))
    assert report.exit_code == 4
    assert [row.status for row in report.rows] == ["ok", "partial"]
    shown = " ".join(render(Report.from_json(report.to_json()), format).split())
    assert "partial" in shown
    assert "special" in shown
    if format == "table":
        said = "The counts of small are partial (no formula for aten.special_i0e): what follows is"
        assert said in shown
