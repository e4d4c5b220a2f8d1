"""Files of now against files of a revision, on a protocol that takes no time."""

from __future__ import annotations

import dataclasses
import math
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from detrbench.compare.gate import Outcome, Policy
from detrbench.compare.gate.paired import CONFIRMATION, paired_checks, undecided
from detrbench.compare.gate.pairs import pairs_of
from detrbench.compare.regression import Asked, Versus, compare_with_revision, gate_revision
from detrbench.core.errors import UsageError
from detrbench.models.catalog import find_model
from detrbench.reports.metrics import METRICS
from detrbench.reports.report import Report, Result
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.replication import Run
from detrbench.timing.resolution import Resolution
from tests.timing.runs import run_of, taken

BLOCKS = """
from torch import nn
class Mine(nn.Conv2d):
    def __init__(self, c1, c2=8):
        super().__init__(c1, {channels}, 1)
        self.out_channels = {channels}
"""


EVERYTHING = {key: math.inf for key, one in METRICS.items() if not one.measured}


class Machine:
    """Each run finds the next of `ratios`, whatever it is asked to time."""

    def __init__(self, *ratios: float, scatters: Sequence[float] = (0.002,) * 3) -> None:
        self.ratios, self.scatters = list(ratios), scatters
        self.asked: list[tuple[Request, Budget]] = []
        self.past_blocks: list[str] = []

    def replicate(self, request: Request, budget: Budget, folder: Path, **told: object) -> Run:
        assert folder.is_dir()
        ratio, scatter = self.ratios[len(self.asked)], self.scatters[len(self.asked)]
        self.asked.append((request, budget))
        files = [each.files_of(request).blocks for each in request.stand_ins]
        self.past_blocks += [Path(file).read_text() for file in files if file is not None]
        draw = random.Random(len(self.asked))
        processes = [
            [taken(*[1.0] * 6), taken(*[ratio * (1 + draw.gauss(0, scatter))] * 6)]
            for _ in range(8)
        ]
        return dataclasses.replace(run_of(*processes, names=request.models), budget=budget)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's file with one row more than the last commit had."""
    top = tmp_path / "repository"
    top.mkdir()
    file = top / "mine.yaml"
    text = find_model("shufflev2-x0.5").read_text(encoding="utf-8")
    file.write_text(text)
    git(top, "init", "--quiet", "--initial-branch=main")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "old")
    file.write_text(text.replace("RepC3, [256]", "RepC3, [320]", 1))
    return file


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    subprocess.run(command, check=True)


def compare(model: Path, machine: Machine, models: Sequence[Path] = (), **more: object) -> Versus:
    names = tuple(map(str, models or [model]))
    request = Request(names, imgsz=(64, 64), blocks=more.pop("blocks", None))  # type: ignore[arg-type]
    asked = Asked(request, "main", budget_s=45, **more)  # type: ignore[arg-type]
    return compare_with_revision(asked, replicate=machine.replicate)


def test_both_sides_are_counted_and_timed_in_one_run(model: Path) -> None:
    machine = Machine(1.01)
    versus = compare(model, machine)
    (now,), (then,) = versus.now.rows, versus.then.rows
    assert now.model == then.model == str(model)
    assert (now.metrics["params"] or 0) > (then.metrics["params"] or 0)
    assert now.metrics["latency_median_s"] == pytest.approx(1.01, rel=0.01)
    ((request, budget),) = machine.asked
    assert request.models == (f"{model}@main", str(model))
    (past,) = request.stand_ins
    assert past.own_files
    assert past.name == f"{model}@main"
    assert Path(past.model).name == "mine.yaml"
    assert Path(past.model) != model
    assert (budget.budget_s, budget.margin) == (45, 0.05)
    (pair,) = versus.report.comparisons
    assert (pair["baseline"], pair["model"]) == (f"{model}@main", str(model))
    assert pair["verdict"] == "EQUIVALENT"
    assert [row.model for row in versus.report.rows] == [f"{model}@main", str(model)]
    assert Report.from_json(versus.report.to_json()) == versus.report


@pytest.mark.parametrize(
    ("ratios", "verdicts"),
    [
        ([1.2, 1.2], ["SLOWER", "SLOWER"]),
        ([1.2, 1.0, 1.0], ["SLOWER", "EQUIVALENT", "EQUIVALENT"]),
        ([1.05, 1.0], ["INCONCLUSIVE", "EQUIVALENT"]),
    ],
)
def test_what_may_be_slower_is_timed_again(
    model: Path, ratios: list[float], verdicts: list[str]
) -> None:
    machine = Machine(*ratios)
    versus = compare(model, machine)
    assert len(machine.asked) == len(ratios)
    found = versus.report.comparisons
    assert [one["verdict"] for one in found] == verdicts
    assert [one["settings"].get(CONFIRMATION) for one in found] == [None, 2, 3][: len(ratios)]
    assert len(versus.report.rows) == 2 * len(ratios)
    assert Report.from_json(versus.report.to_json()) == versus.report


def test_a_run_without_the_processes_of_a_verdict_goes_on_for_half_as_long(model: Path) -> None:
    class Busy(Machine):
        folders: ClassVar[list[Path]] = []

        def replicate(self, request: Request, budget: Budget, folder: Path, **told: object) -> Run:
            self.folders.append(folder)
            run = super().replicate(request, budget, folder, **told)
            if len(self.asked) > 1:
                return run
            return dataclasses.replace(run, outcomes=run.outcomes[:5], stopped="budget")

    machine = Busy(1.0, 1.0)
    versus = compare(model, machine)
    (_, first), (_, second) = machine.asked
    assert (first.budget_s, first.processes) == (45, None)
    assert (second.budget_s, second.processes) == (67.5, 6)
    assert machine.folders[0] == machine.folders[1]
    (pair,) = versus.report.comparisons
    assert pair["verdict"] == "EQUIVALENT"


def test_counts_alone_time_nothing(model: Path) -> None:
    machine = Machine()
    versus = compare(model, machine, counts_only=True)
    assert machine.asked == []
    assert versus.now.rows[0].metrics["params"]
    assert "latency_median_s" not in versus.now.rows[0].metrics


def test_a_model_that_the_revision_had_not_is_new(model: Path) -> None:
    new = model.with_name("new.yaml")
    new.write_text(model.read_text())
    versus = compare(model, Machine(1.0), [model, new])
    assert versus.new == (str(new),)
    assert [row.model for row in versus.then.rows] == [str(model)]
    assert [row.model for row in versus.now.rows] == [str(model), str(new)]


def test_a_past_that_cannot_be_built_is_told_apart_from_a_present_one(model: Path) -> None:
    good = model.read_text()
    model.write_text("nonsense: [")
    git(model.parent, "commit", "--quiet", "-am", "broken")
    with pytest.raises(UsageError):
        compare(model, Machine())
    model.write_text(good)
    versus = compare(model, Machine())
    assert list(versus.broken) == [str(model)]
    assert versus.then.rows == ()


def test_each_side_is_built_with_its_own_blocks(model: Path) -> None:
    blocks = model.with_name("blocks.py")
    blocks.write_text(BLOCKS.format(channels=8))
    git(model.parent, "add", "blocks.py")
    git(model.parent, "commit", "--quiet", "-am", "with blocks")
    blocks.write_text(BLOCKS.format(channels=16))
    machine = Machine(1.0)
    compare(model, machine, blocks=str(blocks))
    ((request, _),) = machine.asked
    assert request.blocks == str(blocks)
    assert machine.past_blocks == [BLOCKS.format(channels=8)]


def test_an_interruption_leaves_what_there_is(model: Path) -> None:
    class Interrupted(Machine):
        def replicate(self, *args: object, **told: object) -> Run:
            run = super().replicate(*args, **told)  # type: ignore[arg-type]
            return dataclasses.replace(run, stopped="interrupted")

    versus = compare(model, Interrupted(1.0))
    assert versus.report.exit_code == 130


@pytest.mark.parametrize(
    ("ratios", "outcome"),
    [
        ([1.0], Outcome.PASS),
        ([0.8], Outcome.PASS),
        ([1.2, 1.2], Outcome.REGRESSION),
        ([1.2, 1.0, 1.0], Outcome.INCONCLUSIVE),
        ([1.2, 1.049], Outcome.INCONCLUSIVE),
        ([1.05, 1.05, 1.05], Outcome.INCONCLUSIVE),
        ([1.05, 1.0], Outcome.PASS),
        ([1.049, 1.2], Outcome.INCONCLUSIVE),
    ],
)
def test_the_gate_fails_only_for_what_it_has_seen_twice(
    model: Path, ratios: list[float], outcome: Outcome
) -> None:
    asked = Asked(Request((str(model),), imgsz=(64, 64)), "main")
    result, versus = gate_revision(
        asked, Policy(max_increase=EVERYTHING), replicate=Machine(*ratios).replicate
    )
    (check,) = [each for each in result.checks if each.metric == "latency_median_s"]
    assert check.outcome is outcome
    assert result.outcome is outcome
    assert len(versus.report.comparisons) == len(ratios)


@pytest.mark.parametrize(
    ("scatter", "outcome"),
    [(0.05, Outcome.REGRESSION), (0.4, Outcome.INCONCLUSIVE)],
    ids=["both together leave no doubt", "both together leave one"],
)
def test_the_second_run_need_not_decide_alone(
    model: Path, scatter: float, outcome: Outcome
) -> None:
    """Its interval reaches across the limit; what counts is that of all processes."""
    machine = Machine(1.12, 1.08, 1.08, scatters=(0.002, scatter, scatter))
    asked = Asked(Request((str(model),), imgsz=(64, 64)), "main")
    result, versus = gate_revision(
        asked, Policy(max_increase=EVERYTHING), replicate=machine.replicate
    )
    second = versus.report.comparisons[1]
    assert second["verdict"] == "INCONCLUSIVE"
    assert result.outcome is outcome


def test_a_second_run_that_says_nothing_confirms_nothing(model: Path) -> None:
    class Cut(Machine):
        def replicate(self, *args: Any, **told: object) -> Run:
            run = super().replicate(*args, **told)
            few = dataclasses.replace(run, outcomes=run.outcomes[:5])
            return run if len(self.asked) == 1 else few

    asked = Asked(Request((str(model),), imgsz=(64, 64)), "main")
    result, _ = gate_revision(
        asked, Policy(max_increase=EVERYTHING), replicate=Cut(1.2, 1.2).replicate
    )
    (check,) = [each for each in result.checks if each.metric == "latency_median_s"]
    assert check.outcome is Outcome.INCONCLUSIVE
    assert "seen once" in check.reasons[0]
    assert "run 2, in fresh processes, says nothing: 5 processes" in check.reasons[1]


@pytest.mark.parametrize(
    ("increase", "most_failing", "most_passing"),
    [(0.0, 0.0, 1.0), (0.05, 0.025, 0.05), (0.12, 1.0, 0.0)],
    ids=["nothing changed", "just the limit", "a regression"],
)
def test_as_many_looks_as_it_takes_err_in_five_percent(
    increase: float, most_failing: float, most_passing: float
) -> None:
    """Runs of six processes whose ratios scatter by 3 %, as those of a busy machine do."""
    draw, trials = random.Random(5), 1000
    ends = [_decision(draw, increase, 0.03) for _ in range(trials)]
    failing, passing = (ends.count(one) / trials for one in (Outcome.REGRESSION, Outcome.PASS))
    assert failing <= most_failing
    assert passing <= most_passing
    if increase in (0.0, 0.12):
        assert max(failing, passing) > 0.9


def _decision(draw: random.Random, increase: float, scatter: float) -> Outcome:
    """How the gate ends, if each process's ratio is `increase` and noise."""
    settings: dict[str, object] = {}
    runs: list[dict[str, object]] = []
    while not runs or undecided(pairs_of(Report((), comparisons=tuple(runs))), 0.05):
        number = len(runs) + 1
        logs = [math.log1p(increase) + draw.gauss(0, scatter) for _ in range(6)]
        plain: dict[str, object] = {
            "baseline": "then", "model": "m", "verdict": "INCONCLUSIVE", "reasons": [],
            "settings": settings if number == 1 else {CONFIRMATION: number},
            "process_log_ratios": logs,
        }  # fmt: skip
        runs.append(plain)
    now = Report((Result("m", "m", {}, {}),))
    (check,) = paired_checks(now, now, Report((), comparisons=tuple(runs)), 0.05, {})
    return check.outcome


def test_the_gate_counts_exactly(model: Path) -> None:
    asked = Asked(Request((str(model),), imgsz=(64, 64)), "main", counts_only=True)
    result, _ = gate_revision(asked, Policy(), replicate=Machine().replicate)
    assert result.outcome is Outcome.REGRESSION
    assert {check.metric for check in result.checks if check.outcome is Outcome.REGRESSION} >= {
        "params",
        "flops",
    }


def test_a_broken_past_is_invalid(model: Path) -> None:
    good = model.read_text()
    model.write_text("nonsense: [")
    git(model.parent, "commit", "--quiet", "-am", "broken")
    model.write_text(good)
    asked = Asked(Request((str(model),), imgsz=(64, 64)), "main")
    result, _ = gate_revision(asked, Policy(), replicate=Machine().replicate)
    assert result.outcome is Outcome.INVALID


def test_a_limit_below_what_the_machine_resolves_does_not_pass(model: Path) -> None:
    known = {"cpu": Resolution(0.05, 0.05, 10.0, 120.0, 0.08, "a", "64x64", "2026-01-02")}
    asked = Asked(Request((str(model),), imgsz=(64, 64)), "main")
    result, _ = gate_revision(
        asked, Policy(max_increase=EVERYTHING), known=known, replicate=Machine(1.0).replicate
    )
    assert result.outcome is Outcome.INCONCLUSIVE


def test_only_new_models_are_nothing_to_compare(model: Path) -> None:
    new = model.with_name("new.yaml")
    new.write_text(model.read_text())
    asked = Asked(Request((str(new),), imgsz=(64, 64)), "main")
    result, _ = gate_revision(asked, Policy(), replicate=Machine().replicate)
    assert result.outcome is Outcome.INVALID
