"""What changed between two reports, described exactly."""

from __future__ import annotations

import dataclasses
from typing import Any

from detrbench.compare.diff import difference
from detrbench.render import render_document
from detrbench.reports.report import Report, Result
from tests.timing.runs import case

SETTINGS = {"imgsz": "640x640", "batch": 1}
MACHINE = {"processor": "A processor", "torch": "2.14.1"}


def row(model: str = "a", **metrics: Any) -> Result:
    return Result(model, model, SETTINGS, {"params": 10_000_000, "flops": 2_000_000_000, **metrics})


def shown(here: Report, there: Report) -> str:
    return render_document(difference(here, there, ("one.json", "two.json")), "table")


def test_the_same_report_has_no_difference() -> None:
    report = Report((row(),), MACHINE)
    document = difference(report, report)
    assert document.tables[0].lines == ()
    assert len(document.tables) == 1
    assert "every value is the same" in shown(report, report)


def test_only_what_changed_is_shown_with_its_change() -> None:
    here, there = Report((row(),), MACHINE), Report((row(params=11_000_000),), MACHINE)
    document = difference(here, there)
    assert list(document.records) == [
        {"model": "a", "metric": "params", "a": 10_000_000, "b": 11_000_000, "ratio": 1.1}
    ]
    lines = document.tables[0].lines
    assert [(line.label, line.cells) for line in lines] == [
        ("a", ("", "", "")),
        ("Params (M)", ("10.0", "11.0", "+10.0%")),
    ]


def test_times_stand_with_their_intervals_and_a_warning() -> None:
    def timed(median: float) -> Report:
        ends = {"latency_median_low_s": median * 0.9, "latency_median_high_s": median * 1.1}
        return Report((row(latency_median_s=median, **ends),), MACHINE)

    text = shown(timed(0.1), timed(0.2))
    assert "100.0 [90.0-110.0]" in text
    assert "200.0 [180.0-220.0]" in text
    assert "Median, low" not in text, "an end stands in the brackets"
    assert "differ also where nothing changed" in text


def test_what_is_gone_or_new_or_failed_is_told() -> None:
    failed = dataclasses.replace(row("b"), status="failed", reason="out of memory")
    here = Report((row("a"), row("b")), MACHINE)
    there = Report((failed, row("c")), MACHINE)
    lines = {line.label: line.cells for line in difference(here, there).tables[0].lines}
    assert lines["a"][:2] == ("there", "absent")
    assert lines["b"] == ("ok", "failed", "out of memory")
    assert lines["c"][:2] == ("absent", "there")


def test_settings_and_environments_that_differ_are_named_with_both_values() -> None:
    small = dataclasses.replace(row(), settings={"imgsz": "320x320", "batch": 1})
    document = difference(
        Report((row(),), MACHINE), Report((small,), {**MACHINE, "torch": "2.15.0"})
    )
    assert document.data["settings"] == {"a": {"imgsz": {"a": "640x640", "b": "320x320"}}}
    assert document.data["environment"] == {"torch": {"a": "2.14.1", "b": "2.15.0"}}
    assert len(document.tables) == 3


def test_facts_that_are_not_judged_are_shown_as_such() -> None:
    kernel = {**MACHINE, "platform": "Linux 1.2-3 x86_64"}
    document = difference(
        Report((row(),), kernel), Report((row(),), {**kernel, "platform": "Linux 1.2-4 x86_64"})
    )
    assert document.data["environment"] == {}
    assert list(document.data["environment_shown"]) == ["platform"]
    (line,) = document.tables[-1].lines
    assert line.cells[-1] == "no"


def test_a_value_that_is_missing_says_why() -> None:
    gone = Result("a", "a", SETTINGS, {"params": None}, missing={"params": "no such thing"})
    assert "n/a: no such thing" in shown(Report((row(),), MACHINE), Report((gone,), MACHINE))


def executed(batch: int, params: int, name: str | None = None) -> Result:
    """A row of the model "a" at so large a batch; its case has the name that was typed."""
    return dataclasses.replace(
        row(params=params),
        settings={"imgsz": "640x640", "batch": batch},
        case=case(name or f"a@batch={batch}", batch=batch),
    )


def test_rows_of_one_model_are_told_by_their_cases() -> None:
    here = Report((executed(1, 1), executed(8, 8)), MACHINE)
    there = Report((executed(8, 9), executed(1, 2), executed(16, 16)), MACHINE)
    document = difference(here, there)
    labels = {line.label: line.cells[:2] for line in document.tables[0].lines if not line.level}
    assert labels == {
        "a@batch=1": ("", ""), "a@batch=8": ("", ""), "a@batch=16": ("absent", "there"),
    }  # fmt: skip
    assert [(each["model"], each["a"], each["b"]) for each in document.records] == [
        ("a@batch=1", 1, 2), ("a@batch=8", 8, 9),
    ]  # fmt: skip
    assert document.data["settings"] == {}


def test_no_row_takes_the_partner_of_another() -> None:
    """One of two settings is gone: what is compared is what is left of it."""
    here = Report((executed(1, 1), executed(8, 8)), MACHINE)
    there = Report((executed(8, 9),), MACHINE)
    document = difference(here, there)
    assert [(each["model"], each["a"], each["b"]) for each in document.records] == [
        ("a@batch=8", 8, 9)
    ]
    (gone,) = [line for line in document.tables[0].lines if line.cells[1] == "absent"]
    assert gone.label == "a@batch=1"


def test_the_only_row_of_a_model_bears_its_name() -> None:
    (line, _) = difference(
        Report((executed(1, 1, "a"),), MACHINE), Report((executed(1, 2, "a"),), MACHINE)
    ).tables[0].lines  # fmt: skip
    assert line.label == "a"
