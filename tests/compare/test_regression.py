"""Files of now against files of a revision, mostly on a protocol that takes no time."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from detrbench.compare.gate import GateResult, Outcome, Policy
from detrbench.compare.regression import Asked, Versus, compare_with_revision, gate_revision
from detrbench.core.errors import TimeIsUp, UsageError
from detrbench.counting.profiling import profile
from detrbench.counting.worker import Past
from detrbench.models.catalog import find_model
from detrbench.models.model import hashed
from detrbench.models.sources import huggingface, onnx
from detrbench.reports.case import Case
from detrbench.reports.comparison import CONFIRMATION
from detrbench.reports.metrics import METRICS
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.report import Report, Result
from detrbench.timing.plan import Budget, RunPlan
from detrbench.timing.process import Request
from detrbench.timing.records import Outcome as Process
from detrbench.timing.replication import Run
from detrbench.timing.resolution import Resolution
from detrbench.timing.stop_rules import Plan
from detrbench.timing.supervisor import run_worker
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
        blocks = request.cases[0].model.blocks
        self.past_blocks += [] if blocks is None else [Path(blocks).read_text()]
        draw = random.Random(len(self.asked))
        processes = [
            [taken(*[1.0] * 6), taken(*[ratio * (1 + draw.gauss(0, scatter))] * 6)]
            for _ in range(8)
        ]
        run = run_of(*processes, names=request.names)
        threads = request.cases[0].execution.threads
        outcomes = tuple(_with_threads(one, threads or 2) for one in run.outcomes)
        return dataclasses.replace(run, request=request, budget=budget, outcomes=outcomes)


def _with_threads(outcome: Process, threads: int) -> Process:
    """As if so many had been read back."""
    measured = outcome.measurement
    assert measured is not None
    subjects = tuple(
        dataclasses.replace(one, settings=one.settings | {"threads": threads})
        for one in measured.subjects
    )
    return dataclasses.replace(
        outcome, measurement=dataclasses.replace(measured, subjects=subjects)
    )


def count_here(cases: Sequence[Case], past: Past | None = None) -> Report:
    """What models in Ultralytics' format need no process for: none sees the other's modules."""
    return profile(cases)


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


def request_of(*references: str | Path, **settings: Any) -> Request:
    axes = {"imgsz": [(64, 64)], **{key: [value] for key, value in settings.items()}}
    return Request(make_cases(references, axes))


def compare(
    model: Path, machine: Machine, models: Sequence[Path] = (), blocks: str | None = None,
    **more: Any,
) -> Versus:  # fmt: skip
    asked = Asked(request_of(*(models or [model]), blocks=blocks), "main", budget_s=4500, **more)
    return compare_with_revision(asked, replicate=machine.replicate, count=count_here)


def gated(
    asked: Asked, policy: Policy, machine: Machine, **more: Any
) -> tuple[GateResult, Versus]:  # fmt: skip
    return gate_revision(asked, policy, replicate=machine.replicate, count=count_here, **more)


def test_both_sides_are_counted_and_timed_in_one_run(model: Path) -> None:
    machine = Machine(1.01)
    versus = compare(model, machine)
    (now,), (then,) = versus.now.rows, versus.then.rows
    assert now.model == then.model == str(model)
    assert (now.metrics["params"] or 0) > (then.metrics["params"] or 0)
    assert now.metrics["latency_median_s"] == pytest.approx(1.01, rel=0.01)
    ((request, budget),) = machine.asked
    past, present = request.cases
    assert (past.name, past.model.name) == (f"{model}@main", f"{model}@main")
    assert (present.name, present.model.reference) == (str(model), str(model))
    assert past.execution == present.execution
    assert Path(past.model.reference).name == "mine.yaml"
    assert Path(past.model.reference) != model
    assert (budget.budget_s, budget.margin) == (pytest.approx(2250, abs=60), 0.05)
    assert budget.least == 6, "what fails a build has been seen by six processes"
    (pair,) = versus.report.comparisons
    assert (pair.baseline.model, pair.model) == (f"{model}@main", str(model))
    assert (pair.baseline.case, pair.case.case) == (past, present)
    assert pair.verdict == "EQUIVALENT"
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
    assert [one.verdict for one in found] == verdicts
    numbers = [None, 2, 3][: len(ratios)]
    assert [one.settings.get(CONFIRMATION) for one in found] == numbers
    assert [one.baseline.settings.get(CONFIRMATION) for one in found] == numbers
    assert len(versus.report.rows) == 2 * len(ratios)
    present = [row for row in versus.report.rows if row.model == str(model)]
    assert [versus.report.comparison(row) for row in present] == list(found)
    for row, number in zip(present, numbers, strict=True):
        past = versus.report.reference(row)
        assert past is not None
        assert (past.model, past.settings.get(CONFIRMATION)) == (f"{model}@main", number)
    file = model.with_name("run.json")
    versus.report.save(file)
    assert Report.load(file) == versus.report, "no run's rows are taken for another's"


@pytest.mark.parametrize("side", ["now", "then"])
def test_what_there_was_no_time_to_count_is_invalid_and_not_timed(model: Path, side: str) -> None:
    """And counting is of the budget."""
    alarms: list[float] = []

    def count(cases: Sequence[Case], past: Past | None = None) -> Report:
        alarms.append(signal.getitimer(signal.ITIMER_REAL)[0])
        if (past is None) == (side == "now"):
            raise TimeIsUp
        return count_here(cases, past)

    machine = Machine()
    asked = Asked(request_of(model), "main", budget_s=45)
    result, versus = gate_revision(asked, Policy(), replicate=machine.replicate, count=count)
    assert result.outcome is Outcome.INVALID
    assert "the budget was over before it was counted" in result.checks[0].reasons[0]
    assert machine.asked == []
    assert alarms == [pytest.approx(45.0, abs=10.0)] * (1 if side == "now" else 2)
    assert versus.report.exit_code == 4


def test_a_run_without_the_processes_of_a_verdict_goes_on_in_the_time_of_a_second(
    model: Path,
) -> None:
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
    assert first.budget_s == pytest.approx(2250, abs=60)
    assert second.budget_s == pytest.approx(2 * first.budget_s)
    assert machine.folders[0] == machine.folders[1]
    (pair,) = versus.report.comparisons
    assert pair.verdict == "EQUIVALENT"


@pytest.mark.parametrize(("process_s", "runs"), [(10.0, 2), (20.0, 1)])
def test_a_second_run_begins_where_its_six_processes_fit(
    model: Path, process_s: float, runs: int
) -> None:
    """As long as those of the first took, whatever was planned for more of them."""

    class Slow(Machine):
        def replicate(self, *args: Any, **told: object) -> Run:
            run = super().replicate(*args, **told)
            took = (dataclasses.replace(each, took_s=process_s) for each in run.outcomes)
            plan = RunPlan(6, 4, 100.0, 0.0, 0.1)
            return dataclasses.replace(run, outcomes=tuple(took), plan=plan)

    machine = Slow(1.2, 1.2)
    asked = Asked(request_of(model), "main", budget_s=100)
    gated(asked, Policy(max_increase=EVERYTHING), machine)
    assert len(machine.asked) == runs


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
    assert [row.model for row in versus.then.rows] == [str(model)]
    assert [row.model for row in versus.now.rows] == [str(model), str(new)]
    assert versus.absent == (str(new),)


def test_a_named_model_without_a_past_is_invalid_unless_it_is_said_to_be_new(model: Path) -> None:
    new = model.with_name("new.yaml")
    new.write_text(model.read_text())
    asked = Asked(request_of(model, new), "main")
    grown = Policy(max_increase=EVERYTHING)
    result, _ = gated(asked, grown, Machine(1.0))
    assert result.outcome is Outcome.INVALID
    (check,) = [each for each in result.checks if each.outcome is Outcome.INVALID]
    assert check.model == str(new)
    assert f"--new {new}" in (check.hint or "")
    said = dataclasses.replace(asked, new=frozenset([str(new)]))
    result, _ = gated(said, grown, Machine(1.0))
    assert result.outcome is Outcome.PASS
    assert f"not in the baseline, and compared with nothing: {new}" in " ".join(result.notes)


def test_what_is_said_to_be_new_must_be_named(model: Path) -> None:
    asked = Asked(request_of(model), "main", new=frozenset(["other.yaml"]))
    with pytest.raises(UsageError, match=r"--new: other\.yaml is not among the models"):
        gated(asked, Policy(), Machine())


def test_a_folder_of_transformers_is_compared_with_what_it_was(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever builds it, here nobody: its past is resolved, and counted from the revision's."""
    monkeypatch.setattr(huggingface, "find_spec", lambda name: name)
    folder = model.with_name("detr")
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "detr", "d_model": 1}')
    git(model.parent, "add", ".")
    git(model.parent, "commit", "--quiet", "-m", "a folder")
    (folder / "config.json").write_text('{"model_type": "detr", "d_model": 2}')

    def count(cases: Sequence[Case], past: Past | None = None) -> Report:
        (case,) = cases
        read = json.loads((Path(case.model.reference) / "config.json").read_text())
        name, settings = case.model.name, case.settings_of_counts(None)
        return Report((Result(name, name, settings, {"params": read["d_model"]}, case=case),))

    asked = Asked(request_of(folder), "main", counts_only=True)
    versus = compare_with_revision(asked, count=count)
    assert [row.metrics["params"] for row in (*versus.then.rows, *versus.now.rows)] == [1, 2]


def test_a_graph_is_gated_by_counts_alone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "find_spec", lambda name: name)
    monkeypatch.setattr(onnx, "_weight_files", lambda file: [])
    graph = model.with_name("net.onnx")
    graph.write_bytes(b"any")
    with pytest.raises(UsageError, match="ONNX graph is counted") as caught:
        compare(model, Machine(), [graph])
    assert "--counts-only" in (caught.value.hint or "")


def test_a_moved_model_is_compared_with_what_it_was(model: Path) -> None:
    moved = model.with_name("moved.yaml")
    git(model.parent, "stash", "--quiet")
    git(model.parent, "mv", model.name, moved.name)
    versus = compare(moved, Machine(1.0))
    assert versus.absent == ()
    (now,), (then,) = versus.now.rows, versus.then.rows
    assert (now.model, now.metrics["params"]) == (str(moved), then.metrics["params"])
    assert then.case is not None
    assert Path(then.case.model.reference).name == model.name


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
    assert request.case(str(model)).model.blocks == str(blocks)
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
    asked = Asked(request_of(model), "main")
    result, versus = gated(asked, Policy(max_increase=EVERYTHING), Machine(*ratios))
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
    asked = Asked(request_of(model), "main")
    result, versus = gated(asked, Policy(max_increase=EVERYTHING), machine)
    second = versus.report.comparisons[1]
    assert second.verdict == "INCONCLUSIVE"
    assert result.outcome is outcome


def test_a_second_run_that_says_nothing_confirms_nothing(model: Path) -> None:
    class Cut(Machine):
        def replicate(self, *args: Any, **told: object) -> Run:
            run = super().replicate(*args, **told)
            few = dataclasses.replace(run, outcomes=run.outcomes[:5])
            return run if len(self.asked) == 1 else few

    asked = Asked(request_of(model), "main")
    result, _ = gated(asked, Policy(max_increase=EVERYTHING), Cut(1.2, 1.2))
    (check,) = [each for each in result.checks if each.metric == "latency_median_s"]
    assert check.outcome is Outcome.INCONCLUSIVE
    assert "seen once" in check.reasons[0]
    assert "run 2, in fresh processes, says nothing: 5 processes" in check.reasons[1]


def test_the_gate_counts_exactly(model: Path) -> None:
    asked = Asked(request_of(model), "main", counts_only=True)
    result, _ = gated(asked, Policy(), Machine())
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
    asked = Asked(request_of(model), "main")
    result, _ = gated(asked, Policy(), Machine())
    assert result.outcome is Outcome.INVALID


def test_a_limit_below_what_the_machine_resolves_does_not_pass(model: Path) -> None:
    known = {"cpu": Resolution(0.05, 0.05, 10.0, 120.0, 0.08, "a", "64x64", "2026-01-02")}
    asked = Asked(request_of(model), "main")
    result, _ = gated(asked, Policy(max_increase=EVERYTHING), Machine(1.0), known=known)
    assert result.outcome is Outcome.INCONCLUSIVE


def test_only_new_models_are_nothing_to_compare(model: Path) -> None:
    new = model.with_name("new.yaml")
    new.write_text(model.read_text())
    asked = Asked(request_of(new), "main")
    result, _ = gated(asked, Policy(), Machine())
    assert result.outcome is Outcome.INVALID


# --- cases ---------------------------------------------------------------------------------------


def test_the_past_is_the_same_case_of_the_revision_s_own_files(model: Path) -> None:
    old = find_model("shufflev2-x0.5")
    machine = Machine(1.0)
    versus = compare(model, machine)
    ((request, _),) = machine.asked
    past, present = request.cases
    assert [file.sha256 for file in past.model.files] == [hashed(old).sha256]
    assert [file.sha256 for file in present.model.files] == [hashed(model).sha256]
    assert dataclasses.replace(
        past.model, name=present.model.name, reference=str(model), files=present.model.files
    ) == present.model  # fmt: skip
    assert {case.name for case in versus.report.cases.values()} == {past.name, present.name}
    (then,) = versus.then.rows
    assert then.case is not None
    assert (then.case.name, then.case.model.files) == (str(model), past.model.files)


def test_every_combination_of_settings_is_compared_with_its_own_past(model: Path) -> None:
    counted: list[list[str]] = []

    def count(cases: Sequence[Case], past: Past | None = None) -> Report:
        counted.append([case.name for case in cases])
        return profile(cases)

    axes = {"imgsz": [(64, 64)], "batch": [1, 2], "threads": [1, 2]}
    machine = Machine(*[1.0] * 4, scatters=(0.002,) * 4)
    asked = Asked(Request(make_cases([model], axes)), "main")
    versus = compare_with_revision(asked, replicate=machine.replicate, count=count)
    ends = [f"@batch={batch},threads={threads}" for batch in (1, 2) for threads in (1, 2)]
    assert [request.names for request, _ in machine.asked] == [
        (f"{model}@main{end}", f"{model}{end}") for end in ends
    ]
    # What threads have no part in is counted once; and each past alone.
    assert counted == [
        [f"{model}{end}" for end in ends], [f"{model}@main{ends[0]}"], [f"{model}@main{ends[2]}"],
    ]  # fmt: skip
    assert [row.case and row.case.name for row in versus.now.rows] == [
        f"{model}{end}" for end in ends
    ]
    assert [row.settings["batch"] for row in versus.now.rows] == [1, 1, 2, 2]
    assert all(row.metrics["params"] and row.metrics["latency_median_s"]
               for row in (*versus.now.rows, *versus.then.rows))  # fmt: skip
    assert len(versus.report.comparisons) == 4
    assert Report.from_json(versus.report.to_json()) == versus.report


def test_of_counts_alone_what_counts_the_same_is_one_row(model: Path) -> None:
    asked = Asked(request_of(f"{model}@threads=1", f"{model}@threads=2"), "main", counts_only=True)
    versus = compare_with_revision(asked, count=count_here)
    assert len(versus.now.rows) == len(versus.then.rows) == 1
    assert len(versus.report.rows) == 2


def test_a_name_of_its_own_stays_before_the_revision_s(model: Path) -> None:
    machine = Machine(1.0)
    asked = Asked(request_of(f"{model}@name=copy"), "main")
    compare_with_revision(asked, replicate=machine.replicate, count=count_here)
    ((request, _),) = machine.asked
    assert [case.model.name for case in request.cases] == ["copy@main", "copy"]
    assert request.names == (f"{model}@name=copy@main", f"{model}@name=copy")


# --- callables, in real processes ----------------------------------------------------------------

CALLABLE = """
from torch import nn
from helper import CHANNELS

print("a word on stdout")

def build():
    return nn.Conv2d(3, CHANNELS, 1, bias=False)
"""


class Timed(Machine):
    """Lets one real process build and time both sides, and believes none of its times."""

    def replicate(self, request: Request, budget: Budget, folder: Path, **told: object) -> Run:
        short = dataclasses.replace(request, plan=Plan(budget_s=None, rounds=1))
        self.outcome = run_worker(short, folder, 1)
        return super().replicate(request, budget, folder, **told)

    @property
    def resident_bytes(self) -> list[float]:
        """Of weights and images of each side."""
        assert self.outcome.measurement is not None
        return [one.prepared["resident_bytes"] for one in self.outcome.measurement.series]


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `my.py:build`, whose helper has changed since the last commit; we are in the
    repository, above it."""
    folder = tmp_path / "repository" / "code"
    folder.mkdir(parents=True)
    (folder / "my.py").write_text(CALLABLE)
    (folder / "helper.py").write_text("CHANNELS = 8\n")
    git(folder, "init", "--quiet", "--initial-branch=main", "..")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "old")
    (folder / "helper.py").write_text("CHANNELS = 16\n")
    monkeypatch.chdir(folder.parent)
    return folder


def test_a_callable_is_counted_and_timed_with_each_side_s_own_helper(code: Path) -> None:
    machine = Timed(1.0)
    request = request_of("code/my.py:build@threads=1")
    versus = compare_with_revision(Asked(request, "main"), replicate=machine.replicate)
    (now,), (then,) = versus.now.rows, versus.then.rows
    assert (now.model, then.model) == ("code/my.py:build", "code/my.py:build")
    assert (now.metrics["params"], then.metrics["params"]) == (3 * 16, 3 * 8)
    images = 4 * 3 * 64 * 64
    assert machine.resident_bytes == [images + 4 * 3 * 8, images + 4 * 3 * 16]
    assert machine.asked[0][0].names == (
        "code/my.py:build@main@threads=1", "code/my.py:build@threads=1",
    )  # fmt: skip


def test_a_plain_module_is_its_file(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(code)
    machine = Timed(1.0)
    asked = Asked(request_of("my:build", threads=1), "main")
    versus = compare_with_revision(asked, replicate=machine.replicate)
    (now,), (then,) = versus.now.rows, versus.then.rows
    assert (now.metrics["params"], then.metrics["params"]) == (3 * 16, 3 * 8)
    images = 4 * 3 * 64 * 64
    assert machine.resident_bytes == [images + 4 * 3 * 8, images + 4 * 3 * 16]
    past, _ = machine.asked[0][0].cases
    assert past.model.reference.endswith("code/my.py:build")


def test_a_past_that_needs_a_module_from_elsewhere_is_never_timed_with_today_s(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted alone it has its own; beside today's side it would not."""
    monkeypatch.setenv("PYTHONPATH", ".")
    top = code.parent / "shared_helper.py"
    top.write_text("CHANNELS = 8\n")
    (code / "my.py").write_text(CALLABLE.replace("helper", "shared_helper"))
    git(code, "add", "..")
    git(code, "commit", "--quiet", "-m", "moved")
    top.write_text("CHANNELS = 16\n")
    request = request_of("code/my.py:build")
    alone = compare_with_revision(Asked(request, "main", counts_only=True))
    assert [row.metrics["params"] for row in (*alone.now.rows, *alone.then.rows)] == [48, 24]
    versus = compare_with_revision(Asked(request, "main"), replicate=Machine().replicate)
    assert versus.then.rows == ()
    (why,) = versus.broken.values()
    assert "imports shared_helper, which does not lie beside it" in why


def test_a_past_whose_callable_is_broken_is_said_without_its_temporary_folder(code: Path) -> None:
    (code / "my.py").write_text(CALLABLE.replace("print(", "raise ImportError("))
    git(code, "commit", "--quiet", "-am", "broken")
    (code / "my.py").write_text(CALLABLE)
    versus = compare_with_revision(Asked(request_of("code/my.py:build"), "main", counts_only=True))
    (why,) = versus.broken.values()
    assert "main:code/my.py" in why
    assert "detrbench-revision" not in why
    assert "ImportError: a word on stdout" in why


def test_a_model_that_cannot_be_counted_hides_nothing_of_the_others(model: Path) -> None:
    other = model.with_name("other.yaml")
    other.write_text(model.read_text())

    def count(cases: Sequence[Case], past: Past | None = None) -> Report:
        if past is None and any(case.name == str(other) for case in cases):
            raise UsageError("its forward fails", where=str(other))
        return count_here(cases, past)

    asked = Asked(request_of(model, other), "main", counts_only=True)
    result, versus = gate_revision(asked, Policy(), count=count)
    assert result.outcome is Outcome.REGRESSION, "of the one that grew"
    (row,) = [row for row in versus.now.rows if row.model == str(other)]
    assert (row.status, "its forward fails" in str(row.reason)) == ("failed", True)
    with pytest.raises(UsageError, match="its forward fails"):
        gate_revision(Asked(request_of(other), "main", counts_only=True), Policy(), count=count)


def test_a_past_that_needs_a_submodule_is_told_that_it_has_none(code: Path, tmp_path: Path) -> None:
    other = tmp_path / "parts"
    other.mkdir()
    (other / "width.py").write_text("WIDTH = 4\n")
    git(other, "init", "--quiet")
    git(other, "add", "width.py")
    git(other, "commit", "--quiet", "-m", "parts")
    add = ("submodule", "--quiet", "add", str(other), "parts")
    git(code.parent, "-c", "protocol.file.allow=always", *add)
    needs = "import sys\nsys.path.append(__file__.rsplit('/', 2)[0] + '/parts')\nimport width\n"
    (code / "my.py").write_text(needs + CALLABLE)
    git(code, "commit", "--quiet", "-am", "needs a submodule")
    versus = compare_with_revision(Asked(request_of("code/my.py:build"), "main", counts_only=True))
    (why,) = versus.broken.values()
    assert why.endswith("; what is in its submodules (parts) is not looked at")
