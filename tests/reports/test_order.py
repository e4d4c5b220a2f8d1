"""Which model is fastest in each way of executing it, and which two change places."""

from __future__ import annotations

import dataclasses

import pytest

from detrbench import Report
from detrbench.render import render
from detrbench.reports.case import Case
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.order import flips, headline, ways
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.report import Result

MODELS = ["rtdetr-l", "shufflev2", "densenet"]

# Of each way in milliseconds: densenet and shufflev2 change places under the second.
TIMES = {"eager": (100.0, 60.0, 80.0), "openvino": (50.0, 40.0, 30.0)}

VERDICTS = {
    ("eager", "rtdetr-l", "shufflev2"): "FASTER",
    ("eager", "rtdetr-l", "densenet"): "FASTER",
    ("eager", "shufflev2", "densenet"): "SLOWER",
    ("openvino", "rtdetr-l", "shufflev2"): "FASTER",
    ("openvino", "rtdetr-l", "densenet"): "FASTER",
    ("openvino", "shufflev2", "densenet"): "FASTER",
}


def cases() -> tuple[Case, ...]:
    return make_cases(MODELS, {"runtime": list(TIMES), "imgsz": [(320, 320)]})


def a_row(case: Case) -> Result:
    ms = TIMES[case.execution.runtime][MODELS.index(case.model.name)]
    name = case.model.name
    return Result(name, name, case.settings(), {"latency_median_s": ms / 1e3}, case=case)


def a_report(verdicts: dict[tuple[str, str, str], str] = VERDICTS) -> Report:
    rows = {(case.execution.runtime, case.model.name): a_row(case) for case in cases()}
    pairs = []
    for (runtime, one, other), verdict in verdicts.items():
        before, after = rows[runtime, one], rows[runtime, other]
        ratio = after.metrics["latency_median_s"] / before.metrics["latency_median_s"]
        pairs.append(
            Comparison(
                Side(one, before.settings, before.case), Side(other, after.settings, after.case),
                ratio, ratio - 0.01, ratio + 0.01, verdict,
            )
        )  # fmt: skip
    return Report(rows=tuple(rows.values()), comparisons=tuple(pairs))


def test_each_way_lists_its_models_by_their_medians() -> None:
    found = {way.execution.runtime: way for way in ways(a_report())}
    assert [row.model for row in found["eager"].rows] == ["shufflev2", "densenet", "rtdetr-l"]
    assert [row.model for row in found["openvino"].rows] == ["densenet", "shufflev2", "rtdetr-l"]
    # Mirrored where the later one is the baseline.
    assert found["eager"].verdicts == ("SLOWER", "SLOWER")
    assert found["openvino"].verdicts == ("SLOWER", "SLOWER")


def test_a_flip_is_a_pair_that_is_decided_both_ways() -> None:
    ((one, other),) = flips(a_report())
    assert {one.model, one.baseline.model} == {"shufflev2", "densenet"}
    assert (one.verdict, other.verdict) == ("SLOWER", "FASTER")


@pytest.mark.parametrize("verdict", ["INCONCLUSIVE", "EQUIVALENT", "TOO FEW", "BUSY", "INVALID"])
def test_what_is_not_decided_in_one_way_is_no_flip(verdict: str) -> None:
    told = {**VERDICTS, ("openvino", "shufflev2", "densenet"): verdict}
    report = a_report(told)
    assert not list(flips(report))
    text = render(report, "markdown")
    assert "no two models are decided one way here and the other way there" in text
    assert "densenet < shufflev2" not in text


def test_a_flip_is_found_whichever_side_is_the_baseline() -> None:
    told = {key: verdict for key, verdict in VERDICTS.items() if key[0] == "eager"}
    told["openvino", "densenet", "shufflev2"] = "SLOWER"
    ((one, other),) = flips(a_report(told))
    assert (one.baseline.model, other.baseline.model) == ("shufflev2", "densenet")


def test_a_single_way_has_no_order_to_change() -> None:
    report = a_report()
    eager = tuple(row for row in report.rows if row.case.execution.runtime == "eager")
    assert ways(dataclasses.replace(report, rows=eager)) == ()


def test_a_row_without_a_time_is_in_no_order() -> None:
    report = a_report()
    first = dataclasses.replace(report.rows[0], metrics={"latency_median_s": None})
    found = ways(dataclasses.replace(report, rows=(first, *report.rows[1:])))
    assert [len(way.rows) for way in found] in ([2, 3], [3, 2])


def test_what_is_told_one_by_one_is_against_the_first_of_each_way() -> None:
    told = headline(a_report())
    assert len(told) == 4
    assert {pair.baseline.model for pair in told} == {"rtdetr-l"}


def test_the_table_says_the_order_and_the_flip() -> None:
    text = render(a_report(), "markdown")
    assert "| eager | shufflev2 < densenet < rtdetr-l |" in text.replace("\\<", "<")
    assert "| openvino | densenet < shufflev2 < rtdetr-l |" in text.replace("\\<", "<")
    assert "flip: densenet" in text
    assert "is SLOWER than shufflev2" in text
    assert "but densenet" in text


def test_what_the_rounds_say_decides_the_order_and_not_two_medians() -> None:
    report = a_report()
    turned = [
        dataclasses.replace(pair, ratio=0.9, verdict="TOO FEW")
        if (pair.baseline.model, pair.case.model) == ("rtdetr-l", "densenet")
        else dataclasses.replace(pair, ratio=1.1, verdict="TOO FEW")
        for pair in report.comparisons
    ]
    found = ways(dataclasses.replace(report, comparisons=tuple(turned)))
    assert [[row.model for row in way.rows] for way in found] == [
        ["densenet", "rtdetr-l", "shufflev2"]
    ] * 2
    text = render(dataclasses.replace(report, comparisons=tuple(turned)), "markdown")
    assert "densenet ? rtdetr-l ? shufflev2" in text
    assert "no two models are decided in any way" in text
