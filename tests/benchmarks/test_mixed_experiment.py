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
    record: dict[str, Any] = script.record(report, 12.0)
    return record


def kept(script: ModuleType, *copies: float) -> dict[str, Any]:
    settings = {
        "model": "a", "imgsz": 160, "between": "runtime=compile", "processes": 6, "rounds": 2,
    }  # fmt: skip
    return {"settings": settings, "trials": [trial(script, copy) for copy in copies]}


def test_a_trial_is_about_the_copy_and_keeps_the_case_between(
    script: ModuleType,
) -> None:
    one = trial(script, 1.0)
    assert (one["verdict"], one["between"]["verdict"]) == ("EQUIVALENT", "FASTER")
    assert len(one["process_log_ratios"]) == 6


def test_one_false_verdict_is_what_five_percent_allow(script: ModuleType) -> None:
    told = script.summary(kept(script, *[1.0] * 18, 1.1, 1.0))
    assert "19 of 20 are EQUIVALENT or INCONCLUSIVE: met" in told
    assert "1 SLOWER" in told


def test_two_are_too_many(script: ModuleType) -> None:
    assert "missed" in script.summary(kept(script, *[1.0] * 18, 1.1, 0.9))


def test_nothing_measured_is_said(script: ModuleType) -> None:
    assert script.summary({"settings": {}, "trials": []}) == "nothing was measured yet"
