"""The experiment's arithmetic, and one whole run of it with a replicate that takes no time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.replication import Run
from tests.benchmarks.scripts import load
from tests.timing.runs import run_of, taken


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("protocol_experiment", monkeypatch)


def fake_replicate(request: Request, budget: Budget, folder: Path) -> Run:
    """A unit of extra work takes 0.1 % of the model's time; processes scatter by a hair."""
    assert {case.execution.imgsz for case in request.cases} == {(320, 320)}
    assert {case.model.reference for case in request.cases} == {"rtdetr-l"}
    hair = (1.001, 0.999, 1.002, 0.998, 1.001, 0.999)
    processes = [
        [taken(*[(1 + 0.001 * case.execution.extra_work) * (1 if i == 0 else h)] * 6)
         for i, case in enumerate(request.cases)]
        for h in hair
    ]  # fmt: skip
    return run_of(*processes, names=request.names)


def run(experiment: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["experiment", *map(str, arguments)])
    monkeypatch.setattr(experiment, "replicate", fake_replicate)
    assert experiment.main() == 0


def test_a_whole_experiment_is_kept_summed_up_and_gone_on_with(
    experiment: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "raw.json"
    run(experiment, monkeypatch, "-o", file, "--trials", 2, "--injected", 1, "--load", 0)
    first = json.loads(file.read_text())
    assert [len(first[name]) for name in ("protocol", "sequential", "injected")] == [2, 2, 1]
    run(experiment, monkeypatch, "-o", file, "--trials", 3, "--injected", 2, "--load", 0)
    second = json.loads(file.read_text())
    assert second["protocol"][:2] == first["protocol"]
    assert [len(second[name]) for name in ("protocol", "sequential", "injected")] == [3, 3, 2]
    printed = capsys.readouterr().out
    assert "0 of 3 verdicts on equal models are false (3 EQUIVALENT): met" in printed
    assert "5.0% more work, load off: found in 2 of 2, median +5.0%" in printed


def test_a_false_verdict_is_one_that_detrbench_would_give(experiment: ModuleType) -> None:
    """An interval beside 0 that is no verdict, of two processes or within the margin, is none."""

    def trial(*log_ratios: float) -> dict[str, Any]:
        return {"log_ratio": log_ratios[0], "low": 0.01, "high": 0.06, "seconds": 1.0,
                "processes": len(log_ratios), "log_ratios": list(log_ratios)}  # fmt: skip

    settings = {"model": "a", "imgsz": 64, "load": 0}
    kept = {"settings": settings, "sequential": [], "injected": []}
    few, small = trial(0.035, 0.036), trial(*[0.012, 0.011] * 3)
    printed = experiment.summary({**kept, "protocol": [few, small]})
    assert "0 of 2 verdicts on equal models are false (1 TOO FEW, 1 EQUIVALENT): met" in printed
    assert "2 of 2" in printed, "and both intervals are beside 0"
    printed = experiment.summary({**kept, "protocol": [few, trial(*[0.05, 0.051] * 3)]})
    assert "1 of 2 verdicts on equal models are false (1 TOO FEW, 1 SLOWER): missed" in printed


def test_fewer_sequential_comparisons_and_budgets_from_the_naive_script(
    experiment: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    budgets: list[float | None] = []

    def replicate(request: Request, budget: Budget, folder: Path) -> Run:
        budgets.append(budget.budget_s)
        return fake_replicate(request, budget, folder)

    naive = iter([40.0, 30.0])
    monkeypatch.setattr(experiment, "naive_s", lambda asked: next(naive))
    file = tmp_path / "raw.json"
    asked = f"experiment -o {file} --trials 3 --sequential 1 --injected 2 --load 0 --naive 1.5"
    monkeypatch.setattr(sys, "argv", asked.split())
    monkeypatch.setattr(experiment, "replicate", replicate)
    assert experiment.main() == 0
    kept = json.loads(file.read_text())
    assert [len(kept[name]) for name in ("protocol", "sequential", "injected")] == [3, 1, 2]
    assert [each["naive_s"] for each in kept["injected"]] == [40.0, 30.0]
    assert budgets[-2:] == [60.0, 45.0]


def test_another_experiment_s_file_is_refused(
    experiment: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "raw.json"
    run(experiment, monkeypatch, "-o", file, "--trials", 0, "--injected", 0, "--load", 0)
    run(experiment, monkeypatch, "-o", file, "--trials", 1, "--injected", 0, "--load", 0)
    with pytest.raises(SystemExit, match="other settings"):
        run(experiment, monkeypatch, "-o", file, "--imgsz", 64, "--load", 0)
