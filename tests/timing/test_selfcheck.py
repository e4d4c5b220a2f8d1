"""The self-check on a protocol that takes no time and knows every answer."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from detrbench.cli import main
from detrbench.core.errors import DetrbenchError, DetrbenchWarning, UsageError
from detrbench.machine.circumstances import Circumstances
from detrbench.machine.state import state_file
from detrbench.machine.validity import Entry
from detrbench.render import FORMATS
from detrbench.reports.case import Case
from detrbench.reports.verdicts import Verdict
from detrbench.timing import measuring as latency
from detrbench.timing import selfcheck
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.records import save_outcome, save_request
from detrbench.timing.replication import Run
from detrbench.timing.resolution import (
    Resolution,
    detectable,
    remember,
    remembered,
    seconds_for,
)
from detrbench.timing.rows import latency_comparisons
from detrbench.timing.selfcheck import (
    COPY,
    case_with_load,
    check_longer,
    check_machine,
    exit_code,
    share_of_a_unit,
)
from tests.timing.runs import case as a_case
from tests.timing.runs import run_of, taken

KNOWN = Resolution(
    0.0115, 0.009, 10.0, 120.0, 0.015, "rtdetr-l", "320x320", "2026-01-02", Circumstances()
)


class Machine:
    """Processes that scatter by `sd`; one unit of extra work takes `unit` of the model's time."""

    def __init__(self, unit: float = 0.002, sd: float = 0.005, processes: int = 12) -> None:
        self.unit, self.sd, self.processes = unit, sd, processes
        self.asked: list[tuple[Request, Budget, Path]] = []

    def replicate(self, request: Request, budget: Budget, folder: Path, **told: object) -> Run:
        self.asked.append((request, budget, folder))
        draw = random.Random(len(self.asked))
        processes = [
            [
                taken(*[(1 + self.unit * case.execution.extra_work) * math.exp(own)] * 6)
                for case in request.cases
                for own in [0.0 if case is request.cases[0] else draw.gauss(0, self.sd)]
            ]
            for _ in range(self.processes)
        ]
        return dataclasses.replace(run_of(*processes, names=request.names), request=request)


def check(machine: Machine, folder: Path, **options: Any) -> selfcheck.SelfCheck:
    return check_machine("rtdetr-l", folder=folder, replicate=machine.replicate, **options)


def test_burdens_are_sized_by_measuring_and_found_again(tmp_path: Path) -> None:
    machine = Machine(unit=0.004)
    found = check(machine, tmp_path)
    assert [each.name for each in found.findings] == [COPY, "3% more", "5% more", "10% more"]
    assert [each.known for each in found.findings] == pytest.approx([0, 0.03, 0.05, 0.10], rel=0.1)
    assert [each.seen for each in found.findings] == [False, True, True, True]
    assert found.findings[0].verdict is Verdict.EQUIVALENT
    assert [each.verdict for each in found.findings[2:]] == [Verdict.SLOWER] * 2
    assert found.windows == 12 - 5
    assert exit_code(found) == 0


def test_the_budget_is_shared_between_sizing_and_checking(tmp_path: Path) -> None:
    machine = Machine(unit=0.004)
    check(machine, tmp_path, budget_s=200.0)
    *trials, checking = [budget.budget_s or 0 for _, budget, _ in machine.asked]
    assert sum(trials) <= 120.0
    assert [budget.processes for _, budget, _ in machine.asked] == [2] * len(trials) + [None]
    assert 150.0 <= checking <= 200.0, "what the trials leave, which here take no time"
    assert not any(budget.early for _, budget, _ in machine.asked)
    assert len({folder for _, _, folder in machine.asked}) == len(machine.asked)


def test_more_processes_can_be_added(tmp_path: Path) -> None:
    """The burdens are the ones that were sized; the seconds are those of both."""
    machine = Machine(unit=0.004)
    first = check(machine, tmp_path, budget_s=100.0)
    save_request(tmp_path / "check", first.run.request, first.run.budget, None)
    for outcome in first.run.outcomes:
        save_outcome(tmp_path / "check", outcome)
    found = check_longer(tmp_path, budget_s=50.0, replicate=machine.replicate)
    assert [each.known for each in found.findings] == [each.known for each in first.findings]
    request, budget, folder = machine.asked[-1]
    assert (request, folder) == (first.run.request, tmp_path / "check")
    assert budget.budget_s == pytest.approx(first.run.spent_s + 50.0)


def test_only_a_self_check_can_be_added_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the folder of a run"):
        check_longer(tmp_path, budget_s=50.0)


def test_a_trial_too_small_to_tell_is_made_larger(tmp_path: Path) -> None:
    machine = Machine(unit=0.0005)
    found = check(machine, tmp_path)
    assert len(machine.asked) > 2
    assert found.findings[2].known == pytest.approx(0.05, rel=0.02)


def test_a_machine_that_tells_nothing_apart_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DetrbenchError, match="could not be told from noise"):
        check(Machine(unit=0.0), tmp_path)


def test_too_few_processes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DetrbenchError, match="1 processes came to their end"):
        check(Machine(unit=0.004, processes=1), tmp_path)


def test_the_resolution_is_of_identical_models(tmp_path: Path) -> None:
    quiet = check(Machine(unit=0.004, sd=0.002, processes=40), tmp_path / "a").resolution
    noisy = check(Machine(unit=0.004, sd=0.03, processes=40), tmp_path / "b").resolution
    assert quiet.process_sd == pytest.approx(0.002, rel=0.3)
    assert noisy.process_sd == pytest.approx(0.03, rel=0.3)
    assert quiet.detectable < noisy.detectable


def test_detectable_by_hand() -> None:
    # t(0.98, 7) = 2.517, t(0.8, 7) = 0.896: 3.413 standard errors of 1.15 % / sqrt(8)
    assert detectable(0.0115, 8) == pytest.approx(
        math.expm1(3.413 * 0.0115 / math.sqrt(8)), abs=1e-5
    )
    assert detectable(0.0115, 1) == math.inf


def test_detectable_is_what_is_found_in_80_percent() -> None:
    from detrbench.core.stats import mean_interval
    from detrbench.timing.plan import last_alpha

    draw, effect, found = random.Random(1), math.log1p(detectable(0.01, 8)), 0
    for _ in range(2000):
        interval = mean_interval([draw.gauss(effect, 0.01) for _ in range(8)], last_alpha(8))
        found += interval is not None and interval.low > 0
    assert found / 2000 == pytest.approx(0.8, abs=0.04)


def test_time_for_a_verdict_grows_with_its_fineness() -> None:
    five, two = seconds_for(0.05, 0.0115, 10.0), seconds_for(0.02, 0.0115, 10.0)
    assert five == 60.0
    assert two is not None
    assert two >= five
    assert seconds_for(1e-6, 0.0115, 10.0) is None
    assert "--budget 60" in KNOWN.time_for(0.05)
    assert "out of reach" in KNOWN.time_for(1e-6)


# --- memory --------------------------------------------------------------------------------------


def test_a_resolution_is_remembered_for_its_device_alone(tmp_path: Path) -> None:
    assert remembered("cpu") is None
    path = tmp_path / "state" / "detrbench" / "selfcheck.json"
    assert state_file("selfcheck") == path
    assert remember(KNOWN, "cpu") == f"remembered in {path}"
    assert remembered("cpu") == KNOWN
    assert remembered("cuda") is None
    remember(KNOWN, "cuda")
    assert remembered("cuda:0") == KNOWN
    assert remembered("cuda:1") is None


def test_a_memory_that_cannot_be_read_is_none() -> None:
    remember(KNOWN, "cpu")
    path = state_file("selfcheck")
    entries = json.loads(path.read_text())
    path.write_text(json.dumps({key: {"old": 1} for key in entries}))
    assert remembered("cpu") is None
    path.write_text("{")
    assert remembered("cpu") is None


def test_a_relative_state_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_file("selfcheck") == tmp_path / ".local/state/detrbench/selfcheck.json"


def test_latency_warns_of_a_margin_below_what_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def fake(request: Request, budget: Budget, folder: Path, **options: Any) -> Run:
        seen.update(options)
        return run_of([taken(1.0)], names=request.names)

    monkeypatch.setattr(latency, "replicate", fake)
    latency.measure_latency(["rtdetr-l"], margin=0.01)
    assert seen["between_sd"] is None
    remember(KNOWN, "cpu")
    with pytest.warns(DetrbenchWarning, match=r"margin of 1% is below .* 1\.5% in 2 min"):
        latency.measure_latency(["rtdetr-l"], margin=0.01)
    assert seen["between_sd"] == 0.009
    latency.measure_latency(["rtdetr-l"], margin=0.02)


# --- what happened meanwhile ---------------------------------------------------------------------

QUIET = dataclasses.asdict(Entry(cpus=2, own_cpu_s=10.0))
OTHERS = dataclasses.asdict(Entry(cpus=2, own_cpu_s=10.0, foreign_cpu_s=8.0))
WAITING = dataclasses.asdict(Entry(cpus=2, own_cpu_s=1.0, waited_s=9.0))


def with_ledger(run: Run, ledger: dict[str, Any]) -> Run:
    """The same run, each process with this ledger of ten seconds."""
    outcomes = tuple(
        dataclasses.replace(
            one, measurement=dataclasses.replace(one.measurement, ledger=ledger, timed_s=10.0)
        )
        for one in run.outcomes
        if one.measurement is not None
    )
    return dataclasses.replace(run, outcomes=outcomes)


class Watched(Machine):
    def __init__(self, ledger: dict[str, Any]) -> None:
        super().__init__(unit=0.004)
        self.ledger = ledger

    def replicate(self, request: Request, budget: Budget, folder: Path, **told: object) -> Run:
        return with_ledger(super().replicate(request, budget, folder), self.ledger)


def test_a_self_check_is_judged_as_latency_is(tmp_path: Path) -> None:
    """The same ratio, interval, verdict and reasons as `latency` has of the same run."""
    for number, ledger in enumerate((QUIET, OTHERS, WAITING)):
        found = check(Watched(ledger), tmp_path / str(number))
        pairs = latency_comparisons(found.run)
        assert [
            (one.ratio, one.low, one.high, one.verdict.value, one.reasons) for one in found.findings
        ] == [(one.ratio, one.ci_low, one.ci_high, one.verdict, one.reasons) for one in pairs]
        spoilt = ledger is WAITING
        assert all(not one.verdict.final for one in found.findings) is spoilt
        assert ("contended in 12 of 12 processes" in str(found.findings[1].reasons)) is spoilt


def test_the_size_of_a_burden_is_the_ratio_that_is_printed_of_it(tmp_path: Path) -> None:
    """Sized and found again by one estimator: the verdict's, not a median beside a mean."""
    case = a_case("m")

    def run(cases: tuple[Case, ...], *_: object) -> Run:
        ratios = (1.2, 1.3, 2.0)
        names = ("m", cases[0].name)
        return run_of(*[[taken(1.0), taken(each)] for each in ratios], names=names)

    ratio = run((case_with_load(case, "16 units more", 16),)).judge("16 units more").ratio
    assert ratio is not None
    assert ratio == pytest.approx((1.2 * 1.3 * 2.0) ** (1 / 3))
    assert share_of_a_unit(case, 10.0, run) == pytest.approx((ratio - 1) / 16)


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        (QUIET, "remembered in "),
        (OTHERS, "marked: measured on a busy machine (foreign work)"),
        (
            WAITING,
            "not remembered: measured on a busy machine (contended), so that it says nothing",
        ),
    ],
)
def test_whether_it_is_remembered_is_said_with_the_reason(
    ledger: dict[str, Any], said: str, tmp_path: Path
) -> None:
    found = check(Watched(ledger), tmp_path).resolution
    assert said in remember(found, "cpu")
    assert remembered("cpu") == (None if ledger is WAITING else found)


def test_what_is_used_later_of_a_busy_self_check_says_so(tmp_path: Path) -> None:
    found = check(Watched(OTHERS), tmp_path).resolution
    assert "320x320, made on a busy machine (foreign work))" in found.too_small(0.001)
    assert "busy" not in KNOWN.too_small(0.001)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_what_the_machine_did_meanwhile(
    format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake(model: str, *, folder: Path, **_: Any) -> selfcheck.SelfCheck:
        return check(Watched(OTHERS), folder)

    monkeypatch.setattr(selfcheck, "check_machine", fake)
    assert main(["selfcheck", "--format", format]) == 0
    told = capsys.readouterr()
    shown = " ".join(told.out.replace("\\%", "%").split())
    assert "foreign work" in shown
    assert "others used 40% of the 2 processors" in shown
    if format not in ("csv", "json"):
        assert "measured on a busy machine (foreign work): a quiet one tells more apart" in shown
    if format == "json":
        (noted,) = json.loads(told.out)["resolution"]["circumstances"]
        assert (noted["touched"], noted["processes"]) == (12, 12)


# --- command -------------------------------------------------------------------------------------


def test_the_command_prints_and_remembers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    machine = Machine(unit=0.004)

    def fake(model: str, *, folder: Path, **options: Any) -> selfcheck.SelfCheck:
        return check_machine(model, folder=folder, replicate=machine.replicate, **options)

    monkeypatch.setattr(selfcheck, "check_machine", fake)
    assert main(["selfcheck", "shufflev2", "--budget", "120"]) == 0
    captured = capsys.readouterr()
    for words in ("an identical copy", "10% more", "false alarms", "2% verdict", "5% verdict"):
        assert words in captured.out
    assert "remembered in" in captured.err
    assert remembered("cpu") is not None
    assert main(["selfcheck", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["findings"]) == 4
    assert len(data["log_ratios"][COPY]) == 12


def test_the_command_hands_on_what_its_flags_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def fake(model: str, *, folder: Path, **options: Any) -> selfcheck.SelfCheck:
        asked.append((model, options))
        return check_machine(model, folder=folder, replicate=Machine(unit=0.004).replicate)

    monkeypatch.setattr(selfcheck, "check_machine", fake)
    assert main(["selfcheck"]) == 0
    assert main(["selfcheck", "shufflev2@fused=true", "--imgsz", "64", "--threads", "1"]) == 0
    names = ("device", "imgsz", "threads")
    assert [(model, *map(options.get, names)) for model, options in asked] == [
        ("rtdetr-l", "cpu", (320, 320), None),
        ("shufflev2@fused=true", "cpu", (64, 64), 1),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rtdetr-m"], "did you mean"),
        (["--imgsz", "big"], "--imgsz"),
        (["--device", "gpu"], "--device"),
        (["--threads", "0"], "--threads"),
        (["--threads", "1,2"], "are several values"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(selfcheck, "check_machine", lambda *_, **__: pytest.fail("asked for"))
    assert main(["selfcheck", *arguments]) == 2
    assert said in capsys.readouterr().err
