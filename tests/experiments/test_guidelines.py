"""The guidelines' networks: what they cost by the paper's equations, and how they are asked for."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from detrbench.cli import main
from detrbench.core.errors import UsageError
from detrbench.core.stats import student_t
from detrbench.counting.tracing import Trace, trace
from detrbench.experiments.guidelines import networks, paper
from detrbench.experiments.guidelines.measuring import measure_guidelines, widths_for
from detrbench.experiments.guidelines.rules import (
    Answer,
    findings,
    judge_guideline,
    judge_trial,
    paper_ratio,
)
from detrbench.experiments.guidelines.tables import document
from detrbench.render import FORMATS, render, render_document
from detrbench.reports.report import Report
from detrbench.reports.verdicts import judge
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request, build_model, measure_process
from detrbench.timing.records import Outcome
from detrbench.timing.replication import Run
from detrbench.timing.schedule import Plan
from detrbench.timing.session import Progress
from tests.timing.runs import measured, taken

HW = paper.SIDE**2


def all_networks() -> list[paper.Network]:
    return [
        network
        for guideline in paper.GUIDELINES
        for widths in paper.WIDTHS
        for experiment in paper.experiments(guideline, widths)
        for network in experiment.networks
    ]


def traced(network: paper.Network, batch: int = 1) -> Trace:
    with torch.device("meta"):
        built = networks.make(network.guideline, network.arguments, batch)
    return trace(built, paper.SIDE, batch)


def eq_1(c1: int, c2: int) -> int:
    return HW * (c1 + c2) + c1 * c2


def eq_2(c: int, groups: int) -> int:
    """By way of B, as the paper writes it: hw c1 + B g / c1 + B / hw."""
    macs = HW * c * c // groups
    return HW * c + macs * groups // c + macs // HW


def by_the_paper(network: paper.Network) -> int:
    """Memory access cost in elements, by Eq. 1 and 2, generalised to 3x3 for table 4."""
    given = dict(network.arguments)
    if network.guideline == "G1":
        return 10 * (eq_1(given["c1"], given["c2"]) + eq_1(given["c2"], given["c1"]))
    if network.guideline == "G2":
        return 10 * eq_2(given["c"], given["groups"])
    if network.guideline == "G3":
        return 10 * given["fragments"] * eq_1(given["c"], given["c"])
    c = given["c"]
    return 10 * (2 * eq_1(c, c // 4) + HW * c // 2 + 9 * (c // 4) ** 2)


@pytest.mark.parametrize("network", all_networks(), ids=lambda network: network.name)
def test_memory_access_is_the_papers_equation(network: paper.Network) -> None:
    assert traced(network).memory_access_elements == by_the_paper(network)


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("G2/c=128,groups=1", 819_200),
        ("G1/c1=36,c2=432", 2 * 1_483_200),
        ("G2/c=360,groups=8", 2_274_120),
    ],
)
def test_memory_access_of_one_block_by_hand(name: str, elements: int) -> None:
    guideline, arguments = networks.parse(name)
    found = trace(networks.make(guideline, arguments), paper.SIDE)
    assert found.memory_access_elements == paper.BLOCKS * elements


def test_a_batch_multiplies_maps_but_not_weights() -> None:
    network = paper.experiments("G1", "arm")[0].networks[0]
    assert traced(network, 8).memory_access_elements == 20 * (8 * HW * 64 + 32 * 32)


@pytest.mark.parametrize("guideline", ["G1", "G2", "G3"])
@pytest.mark.parametrize("widths", paper.WIDTHS)
def test_work_is_about_constant_in_an_experiment(guideline: str, widths: str) -> None:
    for experiment in paper.experiments(guideline, widths):
        first, *others = (traced(network).macs for network in experiment.networks)
        # 9 of the paper's 9.24 channels at 1:12 are the worst of its own rounding.
        assert all(0.94 < macs / first < 1.01 for macs in others), experiment.column


def test_columns_multiply_the_widths() -> None:
    x1, _, x4 = paper.experiments("G1", "gpu")
    assert [dict(network.arguments) for network in x1.networks] == [
        {"c1": 128, "c2": 128}, {"c1": 90, "c2": 180},
        {"c1": 52, "c2": 312}, {"c1": 36, "c2": 432},
    ]  # fmt: skip
    assert x4.networks[3].arguments == {"c1": 144, "c2": 1728}
    assert (x1.networks[3].speed, x4.networks[3].speed) == ("748", "163")


def test_what_removing_an_operation_removes() -> None:
    both, no_shortcut, no_relu, neither = (
        traced(network) for network in paper.experiments("G4", "arm")[0].networks
    )
    assert both.macs == neither.macs
    assert both.kernels - no_shortcut.kernels == 10
    assert both.kernels - no_relu.kernels == 30
    assert neither.kernels == 30


def test_parallel_fragments_are_added() -> None:
    block = networks.Fragments(8, 4, 1)
    x = torch.randn(1, 8, 5, 5)
    assert torch.allclose(block(x), sum(layer(x) for layer in block.fragments), atol=1e-5)


@pytest.mark.parametrize("network", all_networks()[::7], ids=lambda network: network.name)
def test_outputs_neither_vanish_nor_run_away(network: paper.Network) -> None:
    built = build_model(network.name, Request((network.name,), imgsz=(8, 8), seed=3)).eval()
    with torch.inference_mode():
        out = built(torch.zeros(1, 3, 8, 8))
    assert out.shape[2:] == (56, 56)
    assert 1e-3 < out.std().item() < 1e5


def test_a_seed_decides_weights_and_input() -> None:
    one, same, other = (
        networks.make("G1", {"c1": 4, "c2": 8}, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("guideline:G5/c=1", "unknown guideline 'G5'"),
        ("guideline:G1", "'G1' is no network"),
        ("guideline:G1/c1=32", "G1/c1=1,c2=1"),
        ("guideline:G1/c1=32,c2=x", "is no network"),
        ("guideline:G2/c=180,groups=8", "180 channels do not divide into 8 groups"),
        ("guideline:G2/c=180,groups=0", "do not divide"),
        ("guideline:G1/c1=0,c2=4", "do not divide"),
    ],
)
def test_a_name_that_is_no_network(name: str, message: str) -> None:
    with pytest.raises(UsageError, match="(?s)" + message):
        build_model(name, Request((name,)))


def test_a_process_times_them_as_it_times_detectors() -> None:
    names = ("guideline:G1/c1=4,c2=4", "guideline:G1/c1=2,c2=8")
    plan = Plan(budget_s=None, rounds=6)
    measured = measure_process(Request(names, imgsz=(56, 56), threads=1, weigh=False, plan=plan))
    assert [series.status for series in measured.series] == ["ok", "ok"]
    assert [len(series.latency_s) for series in measured.series] == [6, 6]


# --- what intervals say of a guideline ----------------------------------------------------------

SLOW, FAST, LEVEL, OPEN = (1.2, 1.3), (0.7, 0.8), (0.99, 1.01), (0.9, 1.1)


def pair(low: float, high: float, processes: int = 6) -> dict[str, Any]:
    """A comparison whose processes' ratios give exactly this interval's verdict."""
    middle, half = math.log(low * high) / 2, math.log(high / low) / 2
    scatter = half * math.sqrt(processes) / student_t(0.975, processes - 1)
    unit = math.sqrt((processes - 1) / processes)
    logs = [middle + scatter * unit * (-1) ** index for index in range(processes)]
    judged = judge(logs)
    assert judged.interval is not None
    return {
        "verdict": judged.verdict.value,
        "ratio": judged.ratio,
        "ci_low": judged.interval.low,
        "ci_high": judged.interval.high,
        "margin": 0.02,
        "reasons": list(judged.reasons),
        "process_log_ratios": logs,
    }


def trial(guideline: str, *intervals: tuple[float, float]) -> tuple[Answer, list[str]]:
    labels = [one.label for one in paper.experiments(guideline, "arm")[0].networks[1:]]
    pairs = {label: pair(*each) for label, each in zip(labels, intervals, strict=True)}
    return judge_trial(paper.GUIDELINES[guideline], pairs)


HOLDS, DOES_NOT, INCONCLUSIVE = Answer.HOLDS, Answer.DOES_NOT_HOLD, Answer.INCONCLUSIVE


@pytest.mark.parametrize(
    ("guideline", "intervals", "answer"),
    [
        ("G1", (SLOW, SLOW, SLOW), HOLDS),
        ("G1", (LEVEL, OPEN, SLOW), HOLDS),  # it begins to cost somewhere on the way
        ("G1", (SLOW, SLOW, LEVEL), DOES_NOT),
        ("G1", (SLOW, SLOW, FAST), DOES_NOT),
        ("G1", (FAST, SLOW, SLOW), DOES_NOT),
        ("G1", (SLOW, SLOW, OPEN), INCONCLUSIVE),
        ("G1", (LEVEL, LEVEL, LEVEL), DOES_NOT),
        ("G2", (SLOW, SLOW, SLOW), HOLDS),
        ("G2", (OPEN, OPEN, OPEN), INCONCLUSIVE),
        ("G3", (LEVEL, SLOW, LEVEL, SLOW), HOLDS),
        ("G3", (SLOW, LEVEL, SLOW, SLOW), DOES_NOT),  # four in series cost nothing
        ("G3", (SLOW, SLOW, SLOW, OPEN), INCONCLUSIVE),
        ("G4", (FAST, FAST, FAST), HOLDS),
        ("G4", (OPEN, LEVEL, FAST), HOLDS),
        ("G4", (FAST, FAST, LEVEL), DOES_NOT),
        ("G4", (SLOW, FAST, FAST), DOES_NOT),
        ("G4", (FAST, FAST, OPEN), INCONCLUSIVE),
    ],
)
def test_what_an_experiment_says(
    guideline: str, intervals: Sequence[tuple[float, float]], answer: Answer
) -> None:
    found, reasons = trial(guideline, *intervals)
    assert found is answer
    assert bool(reasons) == (answer is not HOLDS)


def test_an_invalid_row_says_nothing_and_why() -> None:
    pairs = {"1:2": pair(*SLOW), "1:6": pair(*SLOW), "1:12": pair(*SLOW, processes=5)}
    answer, reasons = judge_trial(paper.GUIDELINES["G1"], pairs)
    assert answer is INCONCLUSIVE
    assert reasons == [
        "5 processes have a ratio, and a verdict needs 6: the spread between them counts"
    ]


@pytest.mark.parametrize("pairs", [{}, {"1:2": None, "1:6": None, "1:12": None}])
def test_what_was_not_measured_says_nothing(pairs: dict[str, None]) -> None:
    answer, reasons = judge_trial(paper.GUIDELINES["G1"], pairs)
    assert (answer, reasons) == (INCONCLUSIVE, ["not every network was measured"])


@pytest.mark.parametrize(
    ("answers", "answer"),
    [
        ((HOLDS, HOLDS, HOLDS), HOLDS),
        ((HOLDS, DOES_NOT, HOLDS), DOES_NOT),
        ((INCONCLUSIVE, DOES_NOT, HOLDS), DOES_NOT),
        ((HOLDS, INCONCLUSIVE, HOLDS), INCONCLUSIVE),
        ((), INCONCLUSIVE),
    ],
)
def test_a_guideline_is_meant_for_every_experiment(
    answers: Sequence[Answer], answer: Answer
) -> None:
    assert judge_guideline(answers) is answer


# --- from processes to tables -------------------------------------------------------------------


def replicated(
    slowdown: Callable[[str], float], processes: int = 6, stopped: str = "budget"
) -> Callable[..., Run]:
    """A protocol that measures nothing: `slowdown` of a network's name is its time in ms."""

    def replicate(request: Request, budget: Budget, folder: Path, **_: object) -> Run:
        folder.joinpath("process-01.json").write_text("{}")
        runs = [
            {
                name: taken(*(1e-3 * slowdown(name) * (1 + index / 1000),) * 6)
                for name in request.models
            }
            for index in range(processes)
        ]
        outcomes = tuple(
            Outcome(index, measurement=measured(request, series))
            for index, series in enumerate(runs, 1)
        )
        return Run(request, budget, None, outcomes, stopped, 0.05)

    return replicate


def by_memory(name: str) -> float:
    """A device on which memory access is all that takes time."""
    guideline, arguments = networks.parse(name.partition(":")[2])
    return float(traced(paper.Network(guideline, name, arguments, "")).memory_access_elements)


def test_a_device_bound_by_memory_keeps_the_first_three_guidelines(tmp_path: Path) -> None:
    report = measure_guidelines(folder=tmp_path, replicate=replicated(by_memory))
    found = {one.guideline.name: one for one in findings(report)}
    # Without element-wise operations memory access is what it was: only convolutions count in it.
    assert {name: one.answer for name, one in found.items()} == {
        "G1": HOLDS, "G2": HOLDS, "G3": HOLDS, "G4": DOES_NOT,
    }  # fmt: skip
    x1 = found["G1"].trials[0]
    expected = eq_1(9, 108) / eq_1(32, 32)
    assert x1.pairs["1:12"]["ratio"] == pytest.approx(expected)
    assert paper_ratio(x1.cells[3], x1.cells[0]) == pytest.approx(76.2 / 57.6)
    assert "1:12: x1 +82.4% (+82.4% to +82.4%; in the paper +32.3%)" in found["G1"].sentence()
    assert "at x1, x2, x4 neither takes the first row's time" in found["G4"].sentence()


def test_every_network_is_compared_with_the_first_of_its_own_experiment(tmp_path: Path) -> None:
    report = measure_guidelines(["G1"], folder=tmp_path, replicate=replicated(by_memory))
    assert [(row.settings["experiment"], row.settings["network"]) for row in report.rows] == [
        (column, label) for column in ("x1", "x2", "x4") for label in ("1:1", "1:2", "1:6", "1:12")
    ]
    assert {pair["baseline"] for pair in report.comparisons} == {
        f"guideline:G1/c1={c},c2={c}" for c in (32, 64, 128)
    }
    assert len(report.comparisons) == 9
    row = report.rows[0]
    assert row.metrics["memory_access_elements"] == 20 * eq_1(32, 32)
    assert row.metrics["latency_processes"] == 6
    assert {"nc", "fused"}.isdisjoint(row.settings)


def test_a_saved_run_is_laid_out_again(tmp_path: Path) -> None:
    report = measure_guidelines(["G1", "G4"], folder=tmp_path, replicate=replicated(by_memory))
    report.save(tmp_path / "run.json")
    again = Report.load(tmp_path / "run.json")
    for format in FORMATS:
        text = render_document(document(again), format)
        assert text == render_document(document(report), format)
        assert text == render(again, format), "`detrbench report` lays it out likewise"
        assert "guideline" in text.lower()
    assert Report.from_json(render_document(document(again), "json")) == again
    assert render(again, "markdown")  # as any report
    rows = list(csv.DictReader(io.StringIO(render_document(document(again), "csv"))))
    assert [row["verdict"] for row in rows[:4]] == ["", "SLOWER", "SLOWER", "SLOWER"]


def test_too_few_processes_are_no_answer(tmp_path: Path) -> None:
    few = replicated(by_memory, processes=3)
    (found,) = findings(measure_guidelines(["G2"], folder=tmp_path, replicate=few))
    assert found.answer is INCONCLUSIVE
    assert "at x1, x2, x4 3 processes have a ratio, and a verdict needs 6" in found.sentence()


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
    assert f"--folder {kept}" in said[-1]
    assert "n/a" in render_document(document(report), "table")


def test_a_complete_run_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    measure_guidelines(["G4"], replicate=replicated(lambda name: 1.0))
    assert list(tmp_path.iterdir()) == []


def test_the_budget_is_divided_and_progress_is_of_everything(tmp_path: Path) -> None:
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
    assert budgets == [100.0, 100.0]
    assert told == [
        Progress("G1, process 2 of 6", 20.0, 200.0, 180.0),
        Progress("G2, process 2 of 6", 120.0, 200.0, 80.0),
    ]


@pytest.mark.parametrize(("device", "widths"), [("cpu", "arm"), ("cuda", "gpu"), ("cuda:1", "gpu")])
def test_widths_suit_the_device(device: str, widths: str) -> None:
    assert widths_for(device) == widths


# --- the command --------------------------------------------------------------------------------


def test_the_command_measures_for_real(tmp_path: Path) -> None:
    code = main(
        ["guidelines", "g1", "--threads", "1", "--budget", "4", "--folder", str(tmp_path / "kept"),
         "-o", str(tmp_path / "run.json")]
    )  # fmt: skip
    assert code == 0
    report = Report.load(tmp_path / "run.json")
    assert len(report.rows) == 12
    assert all(row.metrics["latency_median_s"] for row in report.rows)
    assert report.command.startswith("detrbench")
    (found,) = findings(report)
    assert found.guideline.name == "G1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["G5"], ["unknown guideline 'G5'", "G4"]),
        (["--device", "gpu"], ["--device", "cuda:N"]),
        (["--widths", "amd"], ["--widths", "arm"]),
        (["--budget", "0"], ["--budget", "more than 0"]),
        (["--margin", "0"], ["--margin", "2%"]),
        (["--batch", "0"], ["--batch"]),
        (["--from", "none.json"], ["none.json", "cannot be read"]),
        (["G1", "--from", "none.json"], ["--from", "names cannot be given again"]),
        (["--format", "tabel"], ["--format", "table?"]),
    ],
)
def test_usage_errors(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["guidelines", *arguments]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


def test_a_report_of_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Report(title="Latency").save(tmp_path / "run.json")
    assert main(["guidelines", "--from", str(tmp_path / "run.json")]) == 2
    assert "no rows of the guidelines' experiments" in capsys.readouterr().err
