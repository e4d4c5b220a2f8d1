from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.machine.environment import Environment
from detrbench.machine.validity import Entry
from detrbench.models.model import File
from detrbench.reports.report import Report
from detrbench.timing import measuring
from detrbench.timing.measuring import measure_latency, resume_latency
from detrbench.timing.plan import Budget, RunPlan
from detrbench.timing.process import Request
from detrbench.timing.records import save_outcome, save_request
from detrbench.timing.replication import Run
from detrbench.timing.stop_rules import Plan
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
    with pytest.raises(UsageError, match="named twice"):
        measure_latency([("a", Small()), ("a", Small())])


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


def test_a_number_of_processes_is_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes on with a run of so many wants more of them."""
    run = kept(tmp_path, processes=6, planned=6)
    before = Budget(budget_s=60.0, processes=6)
    save_request(tmp_path, run.request, before, run.plan)
    budgets = going_on(monkeypatch, run)
    resume_latency(tmp_path, budget_s=30.0)
    resume_latency(tmp_path)
    assert budgets == [Budget(budget_s=90.0), before]


def test_a_model_that_has_changed_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kept(tmp_path, processes=4, planned=4)
    model = tmp_path / "a.yaml"
    model.write_text("nc: 1\n")
    first = run.request.cases[0]
    other = dataclasses.replace(first.model, reference=str(model), files=(File(str(model), "0"),))
    cases = (dataclasses.replace(first, model=other), *run.request.cases[1:])
    save_request(tmp_path, Request(cases), run.budget, run.plan)
    going_on(monkeypatch, run)
    with pytest.raises(UsageError, match=r"a\.yaml has changed since this was begun") as caught:
        resume_latency(tmp_path)
    assert "a.yaml (0, " in caught.value.what, "what it was, and what it is"


@pytest.mark.parametrize("fact", ["torch", "detrbench", "python"])
def test_another_version_does_not_go_on_with_it(
    fact: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kept(tmp_path, processes=4, planned=4)
    budgets = going_on(monkeypatch, run)
    first = run.outcomes[0]
    assert first.measurement is not None

    def begun_with(version: str | None) -> None:
        told = dataclasses.replace(first.measurement, environment={fact: version})
        save_outcome(tmp_path, dataclasses.replace(first, measurement=told))

    for version in (None, getattr(Environment.read(), fact)):
        begun_with(version)
        resume_latency(tmp_path)
    begun_with("0.0.1")
    with pytest.raises(UsageError, match=rf"{fact} is .*, and this was begun with 0\.0\.1"):
        resume_latency(tmp_path)
    assert len(budgets) == 2


# --- what is said at the end ---------------------------------------------------------------------

EQUAL = (1.004, 0.996, 1.003, 0.998, 1.001, 0.999)
NOISY = (1.05, 0.96, 1.01, 0.93, 1.08, 0.99)


def ended(ratios: Sequence[float], planned: bool = True, **changes: Any) -> Run:
    """A run of so many processes of 10 s each, in which b took so many times as long as a."""
    run = run_of(*([taken(1.0), taken(ratio)] for ratio in ratios), stopped="budget")
    run = dataclasses.replace(run, budget=Budget(budget_s=60.0))
    plan = RunPlan(len(ratios), 6, process_s=10.0, left_s=0.0, half_width=0.1)
    return dataclasses.replace(run, plan=plan if planned else None, **changes)


def disturbed(run: Run) -> Run:
    """`run`, throttled in every process."""
    ledger = dataclasses.asdict(Entry(throttled_periods=40, throttled_s=4.0))
    outcomes = tuple(
        dataclasses.replace(
            one,
            measurement=dataclasses.replace(one.measurement, ledger=ledger, timed_s=10.0),  # type: ignore[type-var]
        )
        for one in run.outcomes
    )
    return dataclasses.replace(run, outcomes=outcomes)


@pytest.mark.parametrize(
    ("run", "flag"),
    [
        # Two processes of 10 s are missing, and a fifth for a busy minute.
        (ended([1.01] * 4), " --budget 24"),
        # To halve an interval takes three times as many more; as many again are a beginning.
        (ended(NOISY * 2), " --budget 144"),
        (disturbed(ended(EQUAL)), " --budget 72"),
        (ended([1.01] * 4, stopped="interrupted"), ""),
        (ended([0.5] * 4, stopped="interrupted"), ""),
        (ended([1.01] * 4, stopped="failures"), ""),
        (ended(EQUAL), None),
        (ended([0.5] * 3), None),
        (ended([1.01] * 4, stopped="processes"), " --budget 24"),
        (ended([1.01], planned=False), " --budget 240"),
        # Of a budget of a second, this is what Python's own start has left.
        (ended([1.01], planned=False, budget=Budget(budget_s=0.1)), " --budget 60"),
    ],
    ids=[
        "too few",
        "inconclusive",
        "busy",
        "cut off",
        "cut off with a verdict",
        "failed",
        "equivalent",
        "few are enough",
        "as many as asked for",
        "nobody knows what one takes",
        "no time for one",
    ],
)
def test_what_is_open_is_said_with_what_it_takes(
    run: Run, flag: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on(monkeypatch, run)
    monkeypatch.setattr(measuring, "called_as", lambda: "here/detrbench")
    announced: list[str] = []
    measuring.measure_run(run.request, run.budget, tmp_path, announce=announced.append)
    command = f"go on with: here/detrbench latency --resume {tmp_path}"
    assert announced == ([] if flag is None else [f"{command}{flag}"])


@pytest.mark.parametrize(
    ("run", "times"),
    [
        (ended([1.01] * 4, budget=Budget()), 2),
        (ended([0.5] * 4, budget=Budget()), 1),
        (ended(NOISY, budget=Budget()), 1),
        (ended([1.01] * 4), 1),
        (ended([1.01] * 4, budget=Budget(processes=4)), 1),
        (ended([1.01] * 4, budget=Budget(), stopped="interrupted"), 1),
    ],
    ids=["too few", "few are enough", "enough", "a budget", "a number", "interrupted"],
)
def test_a_run_without_a_budget_goes_on_once_where_it_had_too_few(
    run: Run, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Budget] = []

    def replicate(request: Request, budget: Budget, folder: Path, **_: Any) -> Run:
        asked.append(budget)
        return run

    monkeypatch.setattr(measuring, "replicate", replicate)
    announced: list[str] = []
    measuring.measure_run(run.request, run.budget, tmp_path, announce=announced.append)
    assert len(asked) == times
    if times == 2:
        assert announced[0] == "10 min 0 s gave no verdict; going on, once"
        # What it has taken, and two processes of 10 s more with a fifth for a busy minute.
        assert asked[1].budget_s == pytest.approx(40.0 + 24.0)


@pytest.mark.parametrize(("ratios", "stays"), [([1.01] * 4, True), (EQUAL, False)])
def test_a_folder_of_nobody_s_stays_while_something_is_open(
    ratios: Sequence[float], stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = ended(ratios)
    going_on(monkeypatch, run)
    measuring.measure_run(run.request, run.budget, announce=lambda text: None)
    assert bool(list(tmp_path.iterdir())) is stays


def test_modules_of_one_s_own_without_a_word_about_time_take_half_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans: list[Plan] = []

    def here(request: Request, *_: object) -> Run:
        plans.append(request.plan)
        return run_of([taken(1.0)])

    monkeypatch.setattr(measuring, "_in_this_process", here)
    for seconds, rounds in ((None, None), (7.0, None), (None, 6)):
        measure_latency([Small()], imgsz=16, budget_s=seconds, rounds=rounds)
    assert [(plan.budget_s, plan.rounds) for plan in plans] == [
        (30.0, None),
        (7.0, None),
        (None, 6),
    ]
