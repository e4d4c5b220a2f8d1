"""A metric over runs, and the lines that must not be drawn."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from detrbench.compare.history import collect, history
from detrbench.core.errors import UsageError
from detrbench.reports.report import Report, Result

MACHINE = {"processor": "A processor", "torch": "2.14.1", "revision": "abc", "load_average": 1.0}


def run(
    day: int, median: float | None = 0.1, machine: dict[str, Any] | None = None, **settings: Any
) -> Report:
    cell = Result(
        "a",
        "a",
        {"imgsz": "640x640", **settings},
        {"latency_median_s": median, "params": 10_000_000},
        missing={} if median else {"latency_median_s": "it failed"},
    )
    return Report((cell,), machine or MACHINE, created=f"2026-01-0{day}T00:00:00+00:00")


def test_runs_that_compare_stand_in_one_table_oldest_first() -> None:
    later = {**MACHINE, "revision": "def", "load_average": 9.0}
    document = history({"b/run.json": run(2, 0.11, later), "a/run.json": run(1, 0.1)})
    (table,) = document.tables
    assert [(line.label, line.cells) for line in table.lines] == [
        ("2026-01-01 00:00:00", ("a", "100.0")),
        ("2026-01-02 00:00:00", ("b", "110.0 +10.0%")),
    ]


@pytest.mark.parametrize(
    "other",
    [run(2, 0.11, {**MACHINE, "torch": "2.15.0"}), run(2, 0.11, imgsz="320x320")],
    ids=["environment", "settings"],
)
def test_no_line_is_drawn_between_what_does_not_compare(other: Report) -> None:
    document = history({"a": run(1), "b": other, "c": run(3, 0.12)})
    assert [len(table.lines) for table in document.tables] == [2, 1]
    assert document.tables[0].lines[1].cells[1] == "120.0 +20.0%", "against the run it compares to"
    assert document.tables[1].lines[0].cells[1] == "110.0"
    assert "stand apart" in document.tables[-1].notes[0]
    assert [record["group"] for record in document.records] == [1, 1, 2]


def test_a_count_belongs_to_no_machine() -> None:
    other = run(2, 0.11, {**MACHINE, "torch": "2.15.0"})
    (table,) = history({"a": run(1), "b": other}, "params").tables
    assert [line.cells[1] for line in table.lines] == ["10.0", "10.0 0.0%"]


def test_a_missing_value_says_why_and_breaks_no_line() -> None:
    (table,) = history({"a": run(1), "b": run(2, None), "c": run(3, 0.2)}).tables
    assert [line.cells[1] for line in table.lines] == ["100.0", "n/a: it failed", "200.0 +100.0%"]


def test_files_are_found_at_any_depth_and_others_left_out_aloud(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    run(1).save(tmp_path / "deep" / "er" / "run.json")
    (tmp_path / "other.json").write_text("{}")
    reports, left_out = collect(tmp_path)
    assert list(reports) == ["deep/er/run.json"]
    assert left_out == ["other.json is left out: not a detrbench report: it has no schema_version"]


def test_a_model_under_several_settings_has_a_line_through_each() -> None:
    def both(day: int, first: float) -> Report:
        eager, compiled = (run(day, median, runtime=name) for median, name in
                           ((first, "eager"), (first / 2, "compile")))  # fmt: skip
        return dataclasses.replace(eager, rows=(*eager.rows, *compiled.rows))

    document = history({"a": both(1, 0.1), "b": both(2, 0.2)})
    assert [[line.cells[1] for line in table.lines] for table in document.tables] == [
        ["100.0", "200.0 +100.0%"], ["50.0", "100.0 +100.0%"],
    ]  # fmt: skip
    assert ["compile" in table.caption for table in document.tables] == [False, True]


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no saved report"):
        collect(tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        collect(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="unknown metric"):
        history({"a": run(1)}, "latencies")
    with pytest.raises(UsageError, match="no saved run has"):
        history({"a": run(1)}, models=["b"])
