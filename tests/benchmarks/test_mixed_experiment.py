from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from detrbench.timing.rows import latency_report
from tests.benchmarks.scripts import load
from tests.timing.runs import run_of, taken


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("mixed_experiment", monkeypatch)


def trial(script: ModuleType, copy: float) -> dict[str, Any]:
    names = ("a", "between", "copy")
    process = [taken(1.0, 1.0), taken(0.5, 0.5), taken(copy, copy)]
    report = latency_report(run_of(*[process] * 6, names=names))
    by_itself = latency_report(run_of(*[[process[0], process[2]]] * 6, names=("a", "copy")))
    record: dict[str, Any] = script.record(report, by_itself, 12.0)
    return record


def kept(script: ModuleType, *copies: float) -> dict[str, Any]:
    settings = {
        "model": "a", "imgsz": 160, "between": ["runtime=compile"], "processes": 6, "rounds": 2,
    }  # fmt: skip
    return {"settings": settings, "trials": [trial(script, copy) for copy in copies]}


def test_a_trial_is_about_the_copy_and_keeps_the_case_between(
    script: ModuleType,
) -> None:
    one = trial(script, 1.0)
    (between,) = one["between"]
    assert (one["verdict"], between["verdict"]) == ("EQUIVALENT", "FASTER")
    assert one["alone"]["verdict"] == "EQUIVALENT"
    assert len(one["process_log_ratios"]) == 6


def test_one_false_verdict_is_what_five_percent_allow(script: ModuleType) -> None:
    told = script.summary(kept(script, *[1.0] * 18, 1.1, 1.0))
    assert "19 of 20 are EQUIVALENT or INCONCLUSIVE: met" in told
    assert "1 SLOWER" in told


def test_two_are_too_many(script: ModuleType) -> None:
    assert "missed" in script.summary(kept(script, *[1.0] * 18, 1.1, 0.9))


def test_neighbours_may_make_intervals_a_little_wider(script: ModuleType) -> None:
    found = kept(script, *[1.0] * 20)
    for one in found["trials"]:
        one.update(ci_low=0.99, ci_high=1.01)
        one["alone"].update(ci_low=0.99, ci_high=1.01)
    assert "1.00 times as wide as alone, in the middle: met" in script.summary(found)
    for one in found["trials"]:
        one.update(ci_low=0.98, ci_high=1.01)
    assert "1.50 times as wide as alone, in the middle: missed" in script.summary(found)


def test_nothing_measured_is_said(script: ModuleType) -> None:
    assert script.summary({"settings": {}, "trials": []}) == "nothing was measured yet"
