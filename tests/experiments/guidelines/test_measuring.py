"""From processes to rows and comparisons, with a protocol that takes no time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detrbench.core.errors import TimeIsUp, UsageError
from detrbench.experiments.guidelines import measuring
from detrbench.experiments.guidelines.measuring import (
    measure_guidelines,
    resume_guidelines,
    widths_for,
)
from detrbench.experiments.guidelines.paper import Network
from detrbench.experiments.guidelines.rules import Answer, findings, paper_ratio
from detrbench.experiments.guidelines.tables import document
from detrbench.render import render_document
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.records import save_outcome, save_request
from detrbench.timing.replication import Run, load_run
from detrbench.timing.rounds import Progress
from tests.experiments.guidelines.fakes import by_memory, eq_1, replicated

HOLDS, DOES_NOT, INCONCLUSIVE = Answer.HOLDS, Answer.DOES_NOT_HOLD, Answer.INCONCLUSIVE


def test_a_device_bound_by_memory_keeps_the_first_three_guidelines(tmp_path: Path) -> None:
    report = measure_guidelines(folder=tmp_path, replicate=replicated(by_memory))
    found = {one.guideline.name: one for one in findings(report)}
    # Without element-wise operations memory access is what it was: only convolutions count in it.
    assert {name: one.answer for name, one in found.items()} == {
        "G1": HOLDS, "G2": HOLDS, "G3": HOLDS, "G4": DOES_NOT,
    }  # fmt: skip
    x1 = found["G1"].trials[0]
    expected = eq_1(9, 108) / eq_1(32, 32)
    assert x1.pairs["1:12"].ratio == pytest.approx(expected)
    assert paper_ratio(x1.cells[3], x1.cells[0]) == pytest.approx(76.2 / 57.6)
    assert "1:12: x1 +82.4% (+82.4% to +82.4%; in the paper +32.3%)" in found["G1"].sentence()
    assert "at x1, x2, x4 neither takes the first row's time" in found["G4"].sentence()


def test_every_network_is_compared_with_the_first_of_its_own_experiment(tmp_path: Path) -> None:
    report = measure_guidelines(["G1"], folder=tmp_path, replicate=replicated(by_memory))
    assert [(row.settings["experiment"], row.settings["network"]) for row in report.rows] == [
        (column, label) for column in ("x1", "x2", "x4") for label in ("1:1", "1:2", "1:6", "1:12")
    ]
    assert {pair.baseline.model for pair in report.comparisons} == {
        f"guideline:G1/c1={c},c2={c}" for c in (32, 64, 128)
    }
    assert len(report.comparisons) == 9
    row = report.rows[0]
    assert row.metrics["memory_access_elements"] == 20 * eq_1(32, 32)
    assert row.metrics["latency_processes"] == 6
    assert {"nc", "fused"}.isdisjoint(row.settings)
    assert row.model == "guideline:G1/c1=32,c2=32"
    assert row.case is not None
    assert row.case.model.reference.endswith(":G1_c1_32_c2_32_batch_1")
    assert [report.reference(each) for each in report.rows[:2]] == [None, row]


def test_the_networks_are_executed_as_it_is_asked_for(tmp_path: Path) -> None:
    report = measure_guidelines(
        ["G1"], runtime="compile", folder=tmp_path, replicate=replicated(by_memory)
    )
    assert {row.case.execution.runtime for row in report.rows if row.case} == {"compile"}
    with pytest.raises(UsageError, match="unknown runtime 'tensorrt'"):
        measure_guidelines(["G1"], runtime="tensorrt", replicate=replicated(by_memory))


def test_too_few_processes_are_no_answer(tmp_path: Path) -> None:
    few = replicated(by_memory, processes=2)
    (found,) = findings(measure_guidelines(["G2"], folder=tmp_path, replicate=few))
    assert found.answer is INCONCLUSIVE
    assert "2 of 2 processes; 4 more processes decide" in found.sentence()


def test_a_run_that_came_out_short_is_kept_and_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said: list[str] = []
    few = replicated(by_memory, processes=2)
    measure_guidelines(["G1", "G2"], budget_s=100, replicate=few, announce=said.append)
    (kept,) = tmp_path.iterdir()
    assert f"guidelines --resume {kept} --budget 200" in said[-1]


def test_an_interrupt_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said: list[str] = []
    cut = replicated(by_memory, processes=2, stopped="interrupted")
    report = measure_guidelines(["G1", "G2"], replicate=cut, announce=said.append)
    assert report.exit_code == 130
    first, unreached = report.rows[0], report.rows[-1]
    assert (first.status, first.metrics["latency_samples"]) == ("interrupted", 12)
    assert unreached.reason == "the run ended before it was timed"
    assert unreached.metrics["memory_access_elements"]
    assert [one.answer for one in findings(report)] == [INCONCLUSIVE] * 2
    (kept,) = tmp_path.iterdir()
    assert (kept / "G1" / "process-01.json").is_file()
    assert f"guidelines --resume {kept}" in said[-1]
    assert "n/a" in render_document(document(report), "table")


def test_a_complete_run_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    measure_guidelines(["G4"], replicate=replicated(lambda name: 1.0))
    assert list(tmp_path.iterdir()) == []


def test_the_budget_is_divided_and_progress_is_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_counts", lambda network, batch: {"params": 1})
    told: list[Progress] = []
    budgets: list[float | None] = []
    measure = replicated(lambda name: 1.0)

    def replicate(request: Request, budget: Budget, folder: Path, **rest: Any) -> Run:
        budgets.append(budget.budget_s)
        rest["progress"](Progress("process 2 of 6", 20.0, 100.0, 80.0))
        return measure(request, budget, folder)

    measure_guidelines(
        ["G1", "G2"], budget_s=200, folder=tmp_path, progress=told.append, replicate=replicate
    )
    first, second = budgets
    assert first == pytest.approx(100.0, abs=5.0)
    assert second == pytest.approx(200.0, abs=5.0), "nothing was spent on the first"
    counting = [one for one in told if one.phase == "counting"]
    assert [one.done for one in counting] == [*range(24)], "of a dozen networks each"
    timing = told[len(counting) :]
    assert [one.phase for one in timing] == ["G1, process 2 of 6", "G2, process 2 of 6"]
    assert [(one.total, one.eta_s) for one in timing] == [
        (pytest.approx(200.0, abs=5.0), pytest.approx(180.0, abs=5.0)),
        (100.0, 80.0),
    ]


def test_what_there_was_no_time_to_count_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the time is of the budget."""
    alarms: list[float] = []

    def counts(network: Network, batch: int) -> dict[str, int]:
        alarms.append(signal.getitimer(signal.ITIMER_REAL)[0])
        if len(alarms) == 3:
            raise TimeIsUp
        return {"params": 7}

    monkeypatch.setattr(measuring, "_counts", counts)
    report = measure_guidelines(
        ["G4"], budget_s=60, folder=tmp_path, replicate=replicated(lambda name: 1.0)
    )
    assert alarms == [pytest.approx(60.0, abs=10.0)] * 3
    assert [row.metrics.get("params") for row in report.rows[:4]] == [7, 7, None, None]
    said = ["not counted: the budget was over before" in row.notes for row in report.rows]
    assert said == [False, False, *[True] * (len(report.rows) - 2)]
    assert "not counted" in render_document(document(report), "table")


@pytest.mark.parametrize("budget_s", [None, 60.0])
def test_a_run_is_gone_on_with(tmp_path: Path, budget_s: float | None) -> None:
    """What was begun goes on with its own request, in its own time or in that and more."""
    first = measure_guidelines(
        ["G4"], budget_s=80, folder=tmp_path, replicate=keeping(replicated(by_memory, 2))
    )
    before = load_run(tmp_path / "G4")
    asked: list[tuple[Path, Request, Budget]] = []
    more = replicated(by_memory)

    def replicate(request: Request, budget: Budget, folder: Path, **rest: Any) -> Run:
        asked.append((folder, request, budget))
        return more(request, budget, folder)

    report = resume_guidelines(tmp_path, budget_s=budget_s, replicate=replicate)
    assert [row.case for row in report.rows] == [row.case for row in first.rows]
    ((folder, request, budget),) = asked
    assert (folder, request) == (tmp_path / "G4", before.request)
    if budget_s is None:
        assert budget == before.budget
    else:
        assert budget.budget_s == pytest.approx(before.spent_s + 60.0, abs=10.0)


def keeping(measure: Callable[..., Run]) -> Callable[..., Run]:
    """`measure`, which leaves on disk what a run does."""

    def replicate(request: Request, budget: Budget, folder: Path, **rest: Any) -> Run:
        run = measure(request, budget, folder)
        save_request(folder, request, budget, None)
        for outcome in run.outcomes:
            save_outcome(folder, outcome)
        return run

    return replicate


def test_only_guidelines_can_be_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no guidelines that can go on"):
        resume_guidelines(tmp_path)
    (tmp_path / "guidelines.json").write_text('{"guidelines": ["G1"], "widths": "arm"}')
    with pytest.raises(UsageError, match="nothing was begun there"):
        resume_guidelines(tmp_path)


@pytest.mark.parametrize(("device", "widths"), [("cpu", "arm"), ("cuda", "gpu"), ("cuda:1", "gpu")])
def test_widths_suit_the_device(device: str, widths: str) -> None:
    assert widths_for(device) == widths
