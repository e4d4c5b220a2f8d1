"""Joining what was counted with what was timed, and refusing what does not compare."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from detrbench.core.errors import UsageError
from detrbench.models.model import Model
from detrbench.reports.case import Case
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.merge import is_measured, merge
from detrbench.reports.report import Report, Result

SETTINGS = {"imgsz": "640x640", "batch": 1, "nc": 80, "fused": False}
MACHINE = {"processor": "A processor", "torch": "2.14.1", "revision": "abc"}


def counted(model: str = "a", **settings: Any) -> Report:
    row = Result(
        model,
        "Model A",
        {**SETTINGS, "convention": "core", **settings},
        {"params": 10, "flops": 20},
        parts={"stage": [{"part": "backbone", "params": 4}, {"part": "neck", "params": 6}]},
        published=[{"label": "x", "latency_ms": "1.0", "params": "10", "ours": {"params": 11}}],
        notes=("counted",),
    )
    return Report((row,), {"torch": "2.13"}, title="Cost", command="profile", created="d1")


def timed(model: str = "a", median: float | None = 0.5, **more: Any) -> Report:
    row = Result(
        model,
        model,
        {**SETTINGS, "device": "cpu", **more},
        {"latency_median_s": median},
        samples={"latency_s": [[0.5]]},
        missing={} if median else {"latency_median_s": "why"},
        parts={
            "stage": [
                {"part": "preprocess", "latency_median_s": 0.1},
                {"part": "backbone", "latency_median_s": 0.3},
                {"part": "neck", "latency_median_s": 0.1},
            ]
        },
    )
    plain = {"baseline": "z", "model": model, "settings": {}, "ratio": 1.0}
    pair = Comparison.from_dict(plain, {})
    return Report((row,), MACHINE, (pair,), title="Latency", command="latency", created="d2")


def test_counts_and_times_of_a_model_are_one_row() -> None:
    merged = merge({"counts.json": counted(), "times.json": timed()})
    (row,) = merged.rows
    assert (row.model, row.title) == ("a", "Model A")
    assert row.metrics == {"params": 10, "flops": 20, "latency_median_s": 0.5}
    assert row.settings == {**SETTINGS, "convention": "core", "device": "cpu"}
    assert row.samples == {"latency_s": [[0.5]]}
    assert row.published[0]["ours"] == {"params": 11, "latency_median_s": 0.5}
    assert row.parts["stage"] == [
        {"part": "preprocess", "latency_median_s": 0.1},
        {"part": "backbone", "params": 4, "latency_median_s": 0.3},
        {"part": "neck", "params": 6, "latency_median_s": 0.1},
    ]
    assert merged.environment == MACHINE, "a count belongs to no machine"
    assert len(merged.comparisons) == 1
    assert merged.command == "profile; latency"
    assert Report.from_json(merged.to_json()) == merged


def test_other_models_follow_as_rows() -> None:
    merged = merge({"1": timed("a"), "2": timed("b")})
    assert [row.model for row in merged.rows] == ["a", "b"]


def test_one_report_is_itself() -> None:
    assert merge({"1": timed()}) == timed()


def test_a_reason_stays_with_what_is_missing() -> None:
    (row,) = merge({"1": timed(median=None), "2": counted()}).rows
    assert row.missing == {"latency_median_s": "why"}
    (row,) = merge({"1": timed(median=None), "2": timed()}).rows
    assert row.missing == {}


def test_other_settings_are_refused_with_both_values() -> None:
    with pytest.raises(UsageError, match=r"imgsz \(640x640, 320x320\)") as caught:
        merge({"1.json": timed(), "2.json": timed("b", imgsz="320x320")})
    assert caught.value.where == "2.json"


def test_a_report_of_several_settings_takes_one_of_them() -> None:
    both = merge({"1": timed(), "2": timed()})
    assert len(both.rows) == 1
    small = timed(imgsz="320x320").rows[0]
    suite = Report((*timed().rows, small), MACHINE)
    assert len(merge({"suite": suite, "one": timed("b")}).rows) == 3


def test_other_machines_are_refused_with_both_values() -> None:
    other = timed("b")
    other = Report(other.rows, {**MACHINE, "processor": "Another", "revision": "def"})
    with pytest.raises(UsageError, match=r"processor \(A processor, Another\)") as caught:
        merge({"1.json": timed(), "2.json": other})
    assert "revision" not in str(caught.value), "the working directory says nothing of the machine"


def test_two_runs_of_the_same_thing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"latency_median_s 0\.5 and 0\.6") as caught:
        merge({"1.json": timed(), "2.json": timed(median=0.6)})
    assert "detrbench diff" in str(caught.value)


def test_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no report"):
        merge({})


CASE = Case("a", Model("a", "a"))
COMPILED = dataclasses.replace(CASE, name="a@runtime=compile").replace(runtime="compile")


def timed_cases(*cases: Case) -> Report:
    """Each timed, and compared with the first."""
    rows = [
        dataclasses.replace(
            timed(runtime=case.execution.runtime).rows[0],
            case=case,
            metrics={"latency_median_s": 0.1 * (1 + index)},
        )
        for index, case in enumerate(cases)
    ]
    first, *others = (Side(row.model, row.settings, row.case) for row in rows)
    pairs = tuple(Comparison(first, side) for side in others)
    return Report(tuple(rows), MACHINE, pairs)


@pytest.mark.parametrize("counted_first", [True, False])
def test_what_was_counted_once_is_joined_with_every_way_it_was_timed(counted_first: bool) -> None:
    times = timed_cases(CASE, COMPILED)
    (row,) = counted().rows
    counts = Report((dataclasses.replace(row, case=CASE),), {})
    reports = {"counts": counts, "times": times}
    merged = merge(reports if counted_first else dict(reversed(reports.items())))
    assert [row.case for row in merged.rows] == [CASE, COMPILED]
    assert [row.metrics["params"] for row in merged.rows] == [10, 10]
    assert [row.metrics["latency_median_s"] for row in merged.rows] == [0.1, 0.2]
    assert merged.reference(merged.rows[1]) is merged.rows[0]
    assert [pair.case.case for pair in merged.comparisons] == [COMPILED]
    assert Report.from_json(merged.to_json()) == merged


def test_a_report_of_schema_1_is_joined_with_one_that_has_cases() -> None:
    merged = merge({"counts": counted(), "times": timed_cases(CASE)})
    assert [row.case for row in merged.rows] == [CASE]
    merged = merge({"times": timed_cases(CASE), "counts": counted()})
    assert [row.case for row in merged.rows] == [CASE]
    assert merge({"1": timed("z"), "2": timed_cases(CASE)}).rows[1].case == CASE


def test_two_runs_of_the_same_case_are_refused() -> None:
    again = timed_cases(COMPILED, CASE)
    with pytest.raises(UsageError, match=r"latency_median_s 0\.1 and 0\.2"):
        merge({"1": timed_cases(CASE, COMPILED), "2": again})


def test_what_was_only_counted_is_not_measured() -> None:
    assert not is_measured(counted())
    assert is_measured(timed())
    assert not is_measured(timed(median=None))
