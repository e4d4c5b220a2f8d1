from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.reports.report import Report
from detrbench.timing import measuring
from detrbench.timing.measuring import measure_latency, resume_latency
from detrbench.timing.plan import Budget, RunPlan
from detrbench.timing.records import save_outcome, save_request
from detrbench.timing.replication import Run
from tests.timing.runs import run_of, taken


class Small(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(3, 2, 1)


class Spoiled(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images / torch.zeros(1)


def test_modules_of_ones_own_are_measured_here_and_left_as_they_were() -> None:
    mine = Small().train()
    report = measure_latency([mine, Spoiled()], imgsz=16, rounds=6, budget_s=None, threads=1)
    assert mine.training
    assert [(row.model, row.status) for row in report.rows] == [
        ("Small", "ok"),
        ("Spoiled", "failed"),
    ]
    assert report.exit_code == 4
    assert report.rows[0].metrics["latency_samples"] == 6
    assert report.rows[0].metrics["latency_processes"] == 1
    assert report.comparisons[0].verdict == "INVALID"
    assert report.rows[0].settings["imgsz"] == "16x16"
    assert report.environment["threads"] == 1
    assert Report.from_json(report.to_json()) == report


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="same name"):
        measure_latency([Small(), Small()])


def test_an_absent_device_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"cuda:0 was asked for, but torch"):
        measure_latency([Small()], device="cuda")


# --- runs that came out short ------------------------------------------------------------------


def kept(folder: Path, processes: int, planned: int) -> Run:
    """A run of two models whose budget of 40 s ended it; 10 s each process, as planned."""
    run = run_of(*([[taken(1.0), taken(2.0)]] * processes), stopped="budget")
    plan = RunPlan(planned, 6, process_s=10.0, left_s=0.0, half_width=0.1)
    run = dataclasses.replace(run, budget=Budget(budget_s=40.0), plan=plan)
    save_request(folder, run.request, run.budget, plan)
    for outcome in run.outcomes:
        save_outcome(folder, outcome)
    return run


def going_on(monkeypatch: pytest.MonkeyPatch, run: Run) -> list[Budget]:
    """The budgets that the protocol is given; it measures nothing and ends with `run`."""
    budgets: list[Budget] = []

    def replicate(request: object, budget: Budget, *_: object, **__: object) -> Run:
        budgets.append(budget)
        return run

    monkeypatch.setattr(measuring, "replicate", replicate)
    return budgets


def test_a_run_goes_on_for_seconds_more_than_it_has_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = going_on(monkeypatch, kept(tmp_path, processes=4, planned=4))
    resume_latency(tmp_path, budget_s=60.0)
    resume_latency(tmp_path)
    assert [budget.budget_s for budget in budgets] == [4 * 10.0 + 60.0, 40.0]


@pytest.mark.parametrize("planned", [6, 15])
def test_a_run_that_may_have_said_its_verdict_takes_no_more_time(
    planned: int, tmp_path: Path
) -> None:
    kept(tmp_path, processes=6, planned=planned)
    with pytest.raises(UsageError, match="6 processes, enough for a verdict") as caught:
        resume_latency(tmp_path, budget_s=60.0)
    assert "measure anew" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ["--budget 24"]),  # two processes of 10 s, and a fifth for a busy minute
        ({"budget": Budget(budget_s=90.0), "stopped": "interrupted"}, [""]),
        ({"budget": Budget(budget_s=50.0), "stopped": "interrupted"}, ["--budget 24"]),
        ({"budget": Budget(budget_s=None, processes=4), "stopped": "processes"}, []),
    ],
    ids=["no time for a verdict", "time is left", "too little is left", "as many as asked for"],
)
def test_a_short_run_says_how_it_goes_on(
    changes: dict[str, Any], said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = dataclasses.replace(kept(tmp_path, processes=4, planned=4), **changes)
    going_on(monkeypatch, run)
    announced: list[str] = []
    measuring.measure_run(run.request, run.budget, tmp_path, announce=announced.append)
    command = f"cut short; go on with: detrbench latency --resume {tmp_path}"
    assert announced == [f"{command} {flag}".strip() for flag in said]
