"""A runtime of one's own is one file and one line: it is timed, compared and judged as any is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from detrbench.core.errors import UsageError
from detrbench.reports.case import Execution
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.verdicts import Verdict
from detrbench.runtimes import RUNTIMES, open_runtime
from detrbench.runtimes.images import natural_images
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request, measure_process
from detrbench.timing.records import Outcome
from detrbench.timing.replication import replicate
from detrbench.timing.rows import latency_report
from detrbench.timing.stop_rules import Plan
from tests.runtimes.toy import Sleep

NETS = """
from torch import nn


def net(width):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3))


def narrow():
    return net(8)


def middle():
    return net(16)


def wide():
    return net(32)
"""


AT_ONCE = Plan(warmup_s=0.0, most_windows=2)
"""A sleeper need not warm up. How many rounds there are is the budget's matter."""


@pytest.fixture(autouse=True)
def one_line_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "sleep", "tests.runtimes.toy:Sleep")


def in_this_process(request: Request, folder: Path, index: int, **_: Any) -> Outcome:
    measured = measure_process(request)
    # How busy this machine is meanwhile is nobody's matter here.
    measured = dataclasses.replace(measured, ledger=None)
    return Outcome(index, took_s=measured.took_s, measurement=measured)


def test_more_flops_are_slower_and_fewer_are_faster(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    names = [f"{tmp_path}/nets.py:{name}" for name in ("middle", "wide", "narrow")]
    cases = make_cases(names, {"runtime": ["sleep"], "imgsz": [(32, 32)]})
    budget = Budget(budget_s=None, processes=6, rounds=4, early=False)
    run = replicate(Request(cases, plan=AT_ONCE), budget, tmp_path, launch=in_this_process)
    report = latency_report(run)
    assert [row.status for row in report.rows] == ["ok"] * 3
    wide, narrow = report.comparisons
    assert [pair.verdict for pair in (wide, narrow)] == [Verdict.SLOWER, Verdict.FASTER]
    assert wide.reasons == narrow.reasons == ()
    assert narrow.ratio is not None
    assert wide.ratio is not None
    assert narrow.ratio < 0.8
    assert wide.ratio > 1.5
    for row in report.rows:
        assert (row.settings["runtime"], row.settings["threads"]) == ("sleep", 1)
        assert row.samples["clock"] == "the sleeper's own"
        assert len(row.samples["enqueue_s"]) == 6
        assert not [note for note in row.notes if "bottleneck" in note]


def test_two_runtimes_are_two_cases(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    cases = make_cases(
        [f"{tmp_path}/nets.py:wide"], {"runtime": ["eager", "sleep"], "imgsz": [(32, 32)]}
    )
    budget = Budget(budget_s=None, processes=1, rounds=2)
    run = replicate(Request(cases, plan=AT_ONCE), budget, tmp_path, launch=in_this_process)
    report = latency_report(run)
    assert [row.settings["runtime"] for row in report.rows] == ["eager", "sleep"]
    assert [row.samples["clock"] for row in report.rows] == ["perf_counter_ns", "the sleeper's own"]
    assert len(report.comparisons) == 1


def test_cases_with_threads_of_their_own_ran_in_one_environment(tmp_path: Path) -> None:
    """Processes begin with another case in turns, and a case has the threads it asks for."""
    (tmp_path / "nets.py").write_text(NETS)
    cases = make_cases([f"{tmp_path}/nets.py:wide"], {"threads": [1, 2], "imgsz": [(32, 32)]})
    budget = Budget(budget_s=None, processes=2, rounds=2)
    run = replicate(Request(cases, plan=AT_ONCE), budget, tmp_path, launch=in_this_process)
    report = latency_report(run)
    assert [row.settings["threads"] for row in report.rows] == [1, 2]
    (pair,) = report.comparisons
    assert not [reason for reason in pair.reasons if "environment" in reason]
    told = {one.measurement.environment["threads"] for one in run.outcomes if one.measurement}
    assert told == {1, 2}


def test_its_process_ends_with_it() -> None:
    runtime = open_runtime(Execution(runtime="sleep"))
    assert isinstance(runtime, Sleep)
    runtime.prepare(nn.ReLU(), natural_images(1, 8, 8))()
    runtime.close()
    assert runtime._sleeper.process.returncode == 0


def test_what_it_has_no_line_for_is_said() -> None:
    with pytest.raises(UsageError, match="sleep knows no stages"):
        open_runtime(Execution(runtime="sleep", stages=True))
    with pytest.raises(UsageError, match=r"unknown runtime 'slep'\n.*did you mean sleep"):
        open_runtime(Execution(runtime="slep"))
