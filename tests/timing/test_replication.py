"""Whole runs without a worker and without time: a script says what each process does and takes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from detrbench.core.errors import UsageError
from detrbench.machine.validity import Entry
from detrbench.reports.case import Case
from detrbench.reports.verdicts import FEW_ALPHA, Verdict
from detrbench.timing import replication
from detrbench.timing.plan import (
    MOST_ROUNDS,
    PILOT_S,
    Budget,
    expected_half_width,
    interim_alpha,
)
from detrbench.timing.process import Request
from detrbench.timing.records import Outcome, load_outcomes, load_request, save_outcome
from detrbench.timing.replication import Run, load_run, replicate
from detrbench.timing.rounds import OUT_OF_TIME, OnProgress, Progress
from detrbench.timing.rows import latency_report
from detrbench.timing.supervisor import Limits
from tests.timing.runs import asked, measured, run_of, taken

PAIR = asked("a", "b")

Script = Callable[[Request, int], Outcome]


class Laboratory:
    """Launches processes that take scripted seconds and are over at once."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seconds = 0.0
        self.requests: list[Request] = []
        self.on_disk: list[int] = []
        self.limits: list[Limits] = []

    def now(self) -> float:
        return self.seconds

    def launch(
        self,
        request: Request,
        folder: Path,
        index: int,
        *,
        limits: Limits,
        progress: OnProgress | None,
    ) -> Outcome:
        self.requests.append(request)
        self.on_disk.append(len(load_outcomes(folder)))
        self.limits.append(limits)
        outcome = self.script(request, index)
        if progress:
            progress(Progress("timing", 1.0, 2.0, None))
        self.seconds += outcome.took_s
        save_outcome(folder, outcome)
        return outcome

    def run(self, folder: Path, budget: Budget, request: Request = PAIR, **options: object) -> Run:
        return replicate(
            request,
            budget,
            folder,
            launch=self.launch,
            now=self.now,
            **options,  # type: ignore[arg-type]
        )


def process(
    request: Request, index: int, ratio: float = 1.0, took_s: float = 10.0, rounds: int = 6
) -> Outcome:
    """A whole process in which every model but the first takes `ratio` times as long."""
    series = {name: taken(*[1.0 if name == "a" else ratio] * rounds) for name in request.names}
    return Outcome(index, took_s=took_s, measurement=measured(request, series, took_s=took_s))


def scattered(ratios: Sequence[float], took_s: float = 10.0) -> Script:
    return lambda request, index: process(request, index, ratios[(index - 1) % len(ratios)], took_s)


EQUAL = (1.004, 0.996, 1.003, 0.998, 1.001, 0.999)
NOISY = (1.05, 0.96, 1.01, 0.93, 1.08, 0.99)


def test_the_budget_is_used_and_kept(tmp_path: Path) -> None:
    laboratory = Laboratory(scattered(NOISY))
    run = laboratory.run(tmp_path, Budget(budget_s=120.0))
    assert run.stopped == "budget"
    assert len(run.outcomes) == 12
    assert laboratory.seconds <= 120.0
    assert run.alpha == pytest.approx(0.04)


def test_every_process_is_on_disk_before_the_next_begins(tmp_path: Path) -> None:
    laboratory = Laboratory(scattered(NOISY))
    laboratory.run(tmp_path, Budget(budget_s=60.0))
    assert laboratory.on_disk == list(range(len(laboratory.on_disk)))


def test_a_clear_difference_ends_early_at_the_stricter_level(tmp_path: Path) -> None:
    laboratory = Laboratory(scattered([0.95, 0.953, 0.9515]))
    run = laboratory.run(tmp_path, Budget(budget_s=120.0))
    assert run.stopped == "verdicts"
    assert len(run.outcomes) == 6, "five tell differences of 9 % and more"
    assert run.plan is not None
    assert run.alpha == interim_alpha(run.plan.processes) < 0.005
    (pair,) = latency_report(run).comparisons
    assert pair.verdict == "FASTER"
    assert pair.confidence == pytest.approx(1 - run.alpha)


@pytest.mark.parametrize(("ratio", "processes"), [(0.5, 3), (1.2, 4), (0.9, 5)])
def test_a_large_difference_ends_it_before_the_sixth(
    ratio: float, processes: int, tmp_path: Path
) -> None:
    run = Laboratory(scattered([ratio])).run(tmp_path, Budget(budget_s=120.0))
    assert (run.stopped, len(run.outcomes)) == ("verdicts", processes)
    (pair,) = latency_report(run).comparisons
    assert pair.verdict == ("FASTER" if ratio < 1 else "SLOWER")
    assert pair.confidence == pytest.approx(1 - FEW_ALPHA)


def test_a_run_may_ask_for_six_before_the_first_look(tmp_path: Path) -> None:
    run = Laboratory(scattered([0.5])).run(tmp_path, Budget(budget_s=120.0, least=6))
    assert (run.stopped, len(run.outcomes)) == ("verdicts", 6)


def test_one_open_pair_keeps_all_going(tmp_path: Path) -> None:
    def script(request: Request, index: int) -> Outcome:
        seconds = {"a": 1.0, "b": 0.5, "c": NOISY[index % 6]}
        series = {name: taken(*[seconds[name]] * 6) for name in request.names}
        return Outcome(index, took_s=10.0, measurement=measured(request, series))

    run = Laboratory(script).run(tmp_path, Budget(budget_s=90.0), asked("a", "b", "c"))
    assert (run.stopped, len(run.outcomes)) == ("budget", 9)


# --- without a budget ----------------------------------------------------------------------------


def test_equal_models_of_a_calm_machine_take_six_processes(tmp_path: Path) -> None:
    run = Laboratory(scattered(EQUAL)).run(tmp_path, Budget())
    assert len(run.outcomes) == 6
    assert run.judge("b").verdict is Verdict.EQUIVALENT


def test_processes_that_are_seen_to_scatter_make_it_longer(tmp_path: Path) -> None:
    """Planned from what is known of the machine, and from what the first five show."""
    laboratory = Laboratory(scattered((1.02, 0.98, 1.03, 0.97, 1.02)))
    run = laboratory.run(tmp_path, Budget(), between_sd=0.001)
    assert run.plan is not None
    sd = math.sqrt(sum(x * x for x in run.log_ratios("b")[:5]) / 4)
    assert sd > 0.02
    wanted = [n for n in range(6, 30) if expected_half_width(sd, n) < math.log1p(0.02)]
    assert abs(run.plan.processes - wanted[0]) <= 1, "about the mean, which is nearly nothing"
    assert len(run.outcomes) == run.plan.processes


def test_there_is_an_end_without_a_budget_too(tmp_path: Path) -> None:
    laboratory = Laboratory(scattered(NOISY, took_s=100.0))
    run = laboratory.run(tmp_path, Budget())
    assert run.stopped == "budget"
    assert laboratory.seconds <= 600.0
    assert {limits.deadline for limits in laboratory.limits} == {None}


def test_what_processes_scatter_by_beyond_their_rounds() -> None:
    """Of 0.9, 1 and 1.1 in logs, mean -0.0033, the standard deviation is 0.1003."""
    apart = [[taken(1.0, 1.0), taken(ratio, ratio)] for ratio in (0.9, 1.0, 1.1)]
    assert run_of(*apart).between_sd() == pytest.approx(0.10038, abs=1e-4)
    assert run_of(*apart[:2]).between_sd() == 0.0, "two tell nothing"
    noisy = [[taken(1.0, 1.0, 1.0), taken(0.5, 1.0, 2.0)]] * 3
    assert run_of(*noisy).between_sd() == 0.0, "all of it is within"
    assert run_of(*[[taken(1.0)]] * 3).between_sd() == 0.0, "one model has no ratio"


# --- the end of the budget -----------------------------------------------------------------------


def test_every_process_knows_when_the_budget_ends(tmp_path: Path) -> None:
    laboratory = Laboratory(scattered(NOISY))
    laboratory.seconds = 1000.0
    laboratory.run(tmp_path, Budget(budget_s=50.0))
    assert {limits.deadline for limits in laboratory.limits} == {1050.0}
    assert {limits.grace_s for limits in laboratory.limits} == {0.04 * 50.0 + 0.5}


def test_who_goes_on_has_what_is_left_of_the_budget(tmp_path: Path) -> None:
    Laboratory(scattered(NOISY)).run(tmp_path, Budget(processes=3))
    laboratory = Laboratory(scattered(NOISY))
    laboratory.run(tmp_path, Budget(budget_s=50.0))
    assert {limits.deadline for limits in laboratory.limits} == {20.0}


@pytest.mark.parametrize(("budget_s", "processes"), [(119.0, 12), (118.0, 11)])
def test_one_more_begins_if_its_least_fits(budget_s: float, processes: int, tmp_path: Path) -> None:
    """Each takes 10 s of 120, but four of its six rounds 8.3 s; its deadline sees to the rest."""
    laboratory = Laboratory(scattered(NOISY))
    run = laboratory.run(tmp_path, Budget(budget_s=budget_s, early=False))
    assert (run.stopped, len(run.outcomes)) == ("budget", processes)


@pytest.mark.parametrize("cut_at", [1, 4])
def test_a_process_that_the_deadline_cut_ends_the_run(cut_at: int, tmp_path: Path) -> None:
    def script(request: Request, index: int) -> Outcome:
        if index == cut_at:
            return Outcome(index, "cut", f"{OUT_OF_TIME} after 1 timed round", 8.0)
        return scattered(NOISY)(request, index)

    run = Laboratory(script).run(tmp_path, Budget(budget_s=120.0))
    assert (run.stopped, len(run.outcomes)) == ("budget", cut_at)
    assert len(run.log_ratios("b")) == cut_at - 1
    report = latency_report(run)
    assert report.comparisons[0].verdict == "TOO FEW"
    assert report.exit_code != 130


def test_thorough_runs_do_not_end_early(tmp_path: Path) -> None:
    laboratory = Laboratory(scattered([0.5]))
    run = laboratory.run(tmp_path, Budget(budget_s=100.0, early=False))
    assert (run.stopped, len(run.outcomes)) == ("budget", 10)


def test_a_target_ends_a_run_when_the_interval_is_narrow(tmp_path: Path) -> None:
    run = Laboratory(scattered(EQUAL)).run(tmp_path, Budget(budget_s=1000.0, target=0.01))
    assert run.stopped == "target"
    judged = run.judge("b")
    assert judged.interval is not None
    assert judged.interval.high / judged.interval.estimate - 1 <= 0.01


def test_a_number_of_processes_is_kept(tmp_path: Path) -> None:
    run = Laboratory(scattered(NOISY)).run(tmp_path, Budget(processes=7))
    assert (run.stopped, len(run.outcomes)) == ("processes", 7)


def test_the_pilot_s_plan_is_announced_and_shapes_the_rest(tmp_path: Path) -> None:
    said: list[str] = []
    laboratory = Laboratory(scattered(NOISY))
    laboratory.run(tmp_path, Budget(budget_s=120.0), announce=said.append)
    # The pilot's 10 s were 5 and six rounds; without noise inside, four are enough: 8.3 s.
    assert said[0].startswith("plan: 14 processes of 4 rounds")
    pilot, second = (each.plan for each in laboratory.requests[:2])
    assert (pilot.budget_s, pilot.rounds, pilot.timed_s) == (15.0, MOST_ROUNDS, PILOT_S)
    assert (second.rounds, second.timed_s) == (4, None)
    assert laboratory.limits[0].silence_s == 300.0
    assert laboratory.limits[-1].silence_s == 60.0


def test_the_rounds_that_were_asked_for_are_the_pilot_s_too(tmp_path: Path) -> None:
    laboratory = Laboratory(scattered(NOISY))
    laboratory.run(tmp_path, Budget(processes=2, rounds=9))
    assert [request.plan.rounds for request in laboratory.requests] == [9, 9]


def test_a_slow_pilot_is_not_the_last_word(tmp_path: Path) -> None:
    laboratory = Laboratory(
        lambda request, index: process(request, index, 1.0, 50.0 if index == 1 else 10.0)
    )
    run = laboratory.run(tmp_path, Budget(budget_s=200.0, early=False))
    assert run.plan is not None
    assert len(run.outcomes) > 200 / 50


def test_models_take_turns_in_being_built_first_and_seeds_differ(tmp_path: Path) -> None:
    laboratory = Laboratory(scattered(NOISY))
    laboratory.run(tmp_path, Budget(processes=4))
    assert [request.names[0] for request in laboratory.requests] == ["a", "b", "a", "b"]
    assert len({request.plan.seed for request in laboratory.requests}) == 4


def test_ratios_are_to_the_first_model_whoever_was_built_first(tmp_path: Path) -> None:
    run = Laboratory(scattered([2.0])).run(tmp_path, Budget(processes=4, early=False))
    assert run.log_ratios("b") == pytest.approx([math.log(2.0)] * 4)


def test_progress_is_of_the_whole_run(tmp_path: Path) -> None:
    told: list[Progress] = []
    Laboratory(scattered(NOISY)).run(tmp_path, Budget(processes=3), progress=told.append)
    assert [each.phase for each in told] == ["pilot", "process 2 of 3", "process 3 of 3"]
    assert told[1].eta_s is not None
    assert told[2].eta_s is not None
    assert told[1].eta_s > told[2].eta_s > 0


def test_progress_never_promises_more_than_the_budget_leaves(tmp_path: Path) -> None:
    """Who was slow at first has planned longer processes than those that are left time for."""
    told: list[Progress] = []
    laboratory = Laboratory(
        lambda request, index: process(request, index, 1.0, 10.0 if index < 7 else 30.0)
    )
    laboratory.run(tmp_path, Budget(budget_s=120.0, early=False), progress=told.append)
    assert any(each.phase.startswith("process 8") for each in told)
    for each in told[1:]:
        assert each.eta_s is not None
        assert each.done + each.eta_s <= 120.0


def test_progress_counts_what_is_to_come_beyond_processes_that_failed(tmp_path: Path) -> None:
    told: list[Progress] = []
    laboratory = Laboratory(
        lambda request, index: died(index) if index in (1, 3) else process(request, index)
    )
    laboratory.run(tmp_path, Budget(processes=3), progress=told.append)
    assert [each.phase for each in told] == [
        "pilot",
        "pilot",
        "process 3 of 4",
        "process 4 of 5",
        "process 5 of 5",
    ]


# --- what goes wrong -----------------------------------------------------------------------------


def died(index: int, at: str | None = None, reason: str = "killed by SIGKILL") -> Outcome:
    return Outcome(index, "failed", reason, 3.0, at, rounds={"a": {"latency_s": [1.0]}})


def test_a_killed_process_is_missing_and_the_others_go_on(tmp_path: Path) -> None:
    laboratory = Laboratory(
        lambda request, index: died(index) if index == 3 else process(request, index, 0.5)
    )
    run = laboratory.run(tmp_path, Budget(processes=6, early=False))
    assert [one.status for one in run.outcomes] == ["ok", "ok", "failed", "ok", "ok", "ok", "ok"]
    assert len(run.log_ratios("b")) == 6
    report = latency_report(run)
    assert report.comparisons[0].verdict == "FASTER"
    assert "process 3 of 7 is missing: killed by SIGKILL" in report.rows[0].notes[0]


def test_a_pilot_that_dies_is_tried_again(tmp_path: Path) -> None:
    laboratory = Laboratory(
        lambda request, index: died(index, at="b") if index == 1 else process(request, index)
    )
    run = laboratory.run(tmp_path, Budget(processes=6))
    assert len(run.finished) == 6
    assert run.dropped == {}


def test_a_model_that_processes_die_of_twice_is_a_failed_row_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    laboratory = Laboratory(
        lambda request, index: (
            died(index, "b", "killed by SIGSEGV while b was made ready")
            if "b" in request.names
            else process(request, index)
        )
    )
    run = laboratory.run(
        tmp_path,
        Budget(processes=6),
        asked("a", "b", "c"),
    )
    assert run.dropped == {"b": "killed by SIGSEGV while b was made ready"}
    report = latency_report(run)
    assert [row.status for row in report.rows] == ["ok", "failed", "ok"]
    assert [pair.verdict for pair in report.comparisons] == ["INVALID", "EQUIVALENT"]
    assert report.exit_code == 4


def test_a_model_that_fails_by_itself_is_not_tried_again(tmp_path: Path) -> None:
    def script(request: Request, index: int) -> Outcome:
        series = {name: taken(*[1.0] * 8) for name in request.names}
        if "b" in series:
            series["b"] = taken(status="failed", reason="output 0 has 3 NaN")
        return Outcome(index, took_s=10.0, measurement=measured(request, series))

    laboratory = Laboratory(script)
    run = laboratory.run(tmp_path, Budget(processes=3))
    assert [set(request.names) for request in laboratory.requests] == [{"a", "b"}, {"a"}, {"a"}]
    assert latency_report(run).rows[1].reason == "output 0 has 3 NaN"


def test_processes_that_only_die_end_the_run(tmp_path: Path) -> None:
    laboratory = Laboratory(lambda request, index: died(index))
    run = laboratory.run(tmp_path, Budget())
    assert run.stopped == "failures"
    assert len(run.outcomes) == 3
    report = latency_report(run)
    assert [(row.status, row.reason) for row in report.rows] == [
        ("failed", "killed by SIGKILL")
    ] * 2
    assert report.rows[0].samples["latency_s"] == [[1.0]] * 3
    assert report.comparisons[0].verdict == "INVALID"


def test_no_model_left_ends_the_run(tmp_path: Path) -> None:
    laboratory = Laboratory(
        lambda request, index: died(index, at=sorted(request.names)[0], reason="hung")
    )
    run = laboratory.run(tmp_path, Budget())
    assert run.stopped == "failures"
    assert [row.status for row in latency_report(run).rows] == ["failed", "failed"]


def test_an_interrupted_process_ends_the_run_with_what_there_is(tmp_path: Path) -> None:
    def script(request: Request, index: int) -> Outcome:
        whole = process(request, index)
        return dataclasses.replace(whole, status="interrupted") if index == 3 else whole

    run = Laboratory(script).run(tmp_path, Budget())
    assert (run.stopped, len(run.outcomes)) == ("interrupted", 3)
    report = latency_report(run)
    assert report.exit_code == 130
    assert report.rows[0].metrics["latency_processes"] == 3
    assert len(report.comparisons[0].process_log_ratios) == 2


def test_an_interrupt_between_processes_likewise(tmp_path: Path) -> None:
    def script(request: Request, index: int) -> Outcome:
        if index == 3:
            raise KeyboardInterrupt
        return process(request, index)

    run = Laboratory(script).run(tmp_path, Budget())
    assert (run.stopped, len(run.outcomes)) == ("interrupted", 2)


def test_a_wrong_request_is_the_caller_s_error(tmp_path: Path) -> None:
    def script(request: Request, index: int) -> Outcome:
        raise UsageError("no such model")

    with pytest.raises(UsageError, match="no such model"):
        Laboratory(script).run(tmp_path, Budget())


def test_a_refused_request_leaves_its_folder_to_the_next(tmp_path: Path) -> None:
    def refuse(request: Request, index: int) -> Outcome:
        raise UsageError("there is no CUDA")

    with pytest.raises(UsageError):
        Laboratory(refuse).run(tmp_path, Budget())
    assert list(tmp_path.iterdir()) == []
    other = asked("a", "c")
    Laboratory(scattered(NOISY)).run(tmp_path, Budget(processes=1), other)
    assert load_request(tmp_path)[0] == other


def test_a_run_that_is_refused_later_stays_what_it_is(tmp_path: Path) -> None:
    def script(request: Request, index: int) -> Outcome:
        if index == 2:
            raise UsageError("the GPU is gone")
        return scattered(NOISY)(request, index)

    with pytest.raises(UsageError):
        Laboratory(script).run(tmp_path, Budget(processes=2))
    assert load_request(tmp_path)[0] == PAIR


# --- going on ------------------------------------------------------------------------------------


def test_a_killed_parent_loses_nothing_and_another_goes_on(tmp_path: Path) -> None:
    class Killed(BaseException):
        """As kill -9 looks from inside: nothing of ours runs any more."""

    def script(request: Request, index: int) -> Outcome:
        if index == 4:
            raise Killed
        return process(request, index, 0.5)

    with pytest.raises(Killed):
        Laboratory(script).run(tmp_path, Budget(processes=8, early=False))

    def stopped(request: Request, index: int) -> Outcome:
        raise KeyboardInterrupt

    request, budget, _ = load_request(tmp_path)
    so_far = Laboratory(stopped).run(tmp_path, budget, request)
    assert [one.status for one in so_far.outcomes] == ["ok"] * 3
    report = latency_report(so_far)
    assert report.exit_code == 130
    assert report.comparisons[0].verdict == "FASTER", "three tell a difference so large"

    laboratory = Laboratory(scattered([0.5]))
    run = laboratory.run(tmp_path, budget, request)
    assert [one.index for one in run.outcomes] == list(range(1, len(run.outcomes) + 1))
    assert len(laboratory.requests) == len(run.outcomes) - 3
    assert run.judge("b").verdict is Verdict.FASTER


def test_time_spent_before_counts_against_the_budget(tmp_path: Path) -> None:
    Laboratory(scattered(NOISY)).run(tmp_path, Budget(processes=5))
    laboratory = Laboratory(scattered(NOISY))
    run = laboratory.run(tmp_path, Budget(budget_s=70.0))
    assert len(run.outcomes) <= 7


def test_another_run_s_folder_is_not_gone_on_with(tmp_path: Path) -> None:
    Laboratory(scattered(NOISY)).run(tmp_path, Budget(processes=1))
    with pytest.raises(UsageError, match="other models or settings"):
        Laboratory(scattered(NOISY)).run(tmp_path, Budget(), asked("a", "c"))
    assert load_request(tmp_path)[0] == PAIR


@pytest.mark.parametrize("before", [4, 8])
def test_more_time_makes_another_plan(before: int, tmp_path: Path) -> None:
    first = Laboratory(scattered(NOISY)).run(tmp_path, Budget(budget_s=10.0 * before))
    assert first.plan is not None
    run = Laboratory(scattered(NOISY)).run(tmp_path, Budget(budget_s=10.0 * before + 60.0))
    assert run.plan is not None
    assert run.plan.processes > first.plan.processes
    assert len(run.outcomes) >= before + 6


def test_an_extension_is_looked_at_once_and_at_its_own_level(tmp_path: Path) -> None:
    Laboratory(scattered(NOISY)).run(tmp_path, Budget(budget_s=80.0))
    clear = Laboratory(scattered([0.5]))
    run = clear.run(tmp_path, Budget(budget_s=140.0))
    assert run.budget.extended == 1
    assert run.stopped == "budget"
    assert len(clear.requests) >= 6, "no look ends it before"
    assert run.alpha == 0.005
    assert latency_report(run).comparisons[0].confidence == pytest.approx(0.995)
    again = Laboratory(scattered([0.5]))
    run = again.run(tmp_path, Budget(budget_s=138.0))
    assert again.requests == []
    assert run.alpha == 0.005, "the same budget, of which a moment is gone, is the same look"
    assert again.run(tmp_path, Budget(budget_s=200.0)).alpha == 0.0025


def test_what_was_looked_at_is_not_looked_at_again(tmp_path: Path) -> None:
    """Seconds more are for more processes, also of a run that three ended."""
    ended = Laboratory(scattered([0.5])).run(tmp_path, Budget())
    assert (ended.stopped, len(ended.finished)) == ("verdicts", 3)
    longer = Laboratory(scattered([0.5]))
    run = longer.run(tmp_path, Budget(budget_s=200.0))
    assert (run.stopped, len(longer.requests), run.budget.extended) == ("verdicts", 1, 0)


def test_a_look_that_the_machine_disturbed_ends_nothing(tmp_path: Path) -> None:
    """What would be told as TOO FEW or BUSY is no verdict to stop at."""
    ledger = dataclasses.asdict(Entry(throttled_periods=40, throttled_s=9.0))
    quiet = scattered([0.93])

    def throttled(request: Request, index: int) -> Outcome:
        outcome = quiet(request, index)
        assert outcome.measurement is not None
        watched = dataclasses.replace(outcome.measurement, ledger=ledger, timed_s=10.0)
        return dataclasses.replace(outcome, measurement=watched)

    run = Laboratory(throttled).run(tmp_path, Budget(budget_s=200.0))
    assert run.stopped == "budget"
    assert len(run.finished) > 6


def test_how_it_ended_is_on_disk(tmp_path: Path) -> None:
    ended = Laboratory(scattered([0.5])).run(tmp_path, Budget())
    kept = load_run(tmp_path)
    assert (kept.alpha, kept.startup_s, kept.spent_s) == (
        ended.alpha, ended.startup_s, ended.spent_s,
    )  # fmt: skip


# --- who starts them -----------------------------------------------------------------------------


def test_workers_are_started_as_their_cases_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    @contextmanager
    def starting(cases: Sequence[Case]) -> Iterator[str]:
        told.append(cases)
        yield "a way to start"
        told.append("closed")

    def run_worker(request: Request, folder: Path, index: int, **options: object) -> Outcome:
        told.append(options["start"])
        raise KeyboardInterrupt

    monkeypatch.setattr(replication, "starting", starting)
    monkeypatch.setattr(replication, "run_worker", run_worker)
    assert replicate(PAIR, Budget(), tmp_path).stopped == "interrupted"
    assert told == [PAIR.cases, "a way to start", "closed"]


def test_what_runtimes_execute_is_exported_before_the_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for a run, a gate too; what plays the processes needs nothing."""

    def export(cases: object, *told: object) -> None:
        raise UsageError("no room for graphs")

    monkeypatch.setattr("detrbench.timing.replication.export_first", export)
    with pytest.raises(UsageError, match="no room for graphs"):
        replicate(PAIR, Budget(processes=1), tmp_path)
    assert Laboratory(scattered(NOISY)).run(tmp_path, Budget(processes=1)).outcomes
