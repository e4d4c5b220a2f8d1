from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import pytest

from detrbench.core import processes
from detrbench.core.errors import UsageError
from detrbench.timing.rounds import OUT_OF_TIME, Observer, Progress, Series, measure_steps
from detrbench.timing.stop_rules import Plan
from tests.timing.fakes import FakeClock, FakeStep

ROUNDS = Plan(budget_s=None, rounds=6)


def measure(clock: FakeClock, *steps: FakeStep, plan: Plan = ROUNDS) -> tuple[Series, ...]:
    return measure_steps(steps, plan, now=clock.now)


def test_every_step_gets_its_own_samples_and_its_first_call_apart() -> None:
    clock = FakeClock()
    a, b = measure(clock, FakeStep(clock, 5.0, 1.0), FakeStep(clock, 7.0, 2.0))
    assert (a.status, a.reason, a.clock) == ("ok", None, "fake")
    assert a.first == {"latency_s": 5.0}
    assert b.first == {"latency_s": 7.0}
    assert a.latency_s == pytest.approx([1.0] * 6)
    assert b.latency_s == pytest.approx([2.0] * 6)
    assert a.overhead_s == 0.0


def test_rounds_interleave_the_steps_in_abba_order() -> None:
    clock = FakeClock()
    measure(clock, FakeStep(clock, 1.0, name="a"), FakeStep(clock, 1.0, name="b"))
    first_calls, warmup, rounds = clock.calls[:2], clock.calls[2:4], "".join(clock.calls[4:])
    assert first_calls == warmup == ["a", "b"]
    assert rounds == "baab" * 3, "six timed rounds, and never two of one kind apart"


def test_every_sample_is_kept_however_far_out() -> None:
    clock = FakeClock()
    script = [1.0] * 2 + [1.0, 1000.0, 1.0, 0.001, 1.0, 1.0]
    (series,) = measure(clock, FakeStep(clock, *script))
    assert series.latency_s == pytest.approx([1.0, 1000.0, 1.0, 0.001, 1.0, 1.0])


@pytest.mark.parametrize(("step_s", "rounds"), [(1.0, 1), (0.25, 2), (0.125, 4)])
def test_rounds_that_never_count_go_on_for_half_a_second(step_s: float, rounds: int) -> None:
    clock = FakeClock()
    (series,) = measure(clock, FakeStep(clock, step_s))
    assert len(series.warmup["latency_s"]) == rounds
    assert len(series.latency_s) == 6


def test_rounds_that_never_count_take_at_most_their_share_of_the_budget() -> None:
    clock = FakeClock()
    plan = Plan(budget_s=30.0, warmup_s=100.0)
    (series,) = measure(clock, FakeStep(clock, 1.0), plan=plan)
    assert len(series.warmup["latency_s"]) == 10


def test_warm_up_ends_when_two_windows_agree_and_these_count() -> None:
    clock = FakeClock()
    falling = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    (series,) = measure(clock, FakeStep(clock, *falling))
    assert series.settled
    # after the first call and the second: 7 6 | 5 4 | 3 2 | 1 1 | 1 1, and two rounds more
    assert series.warmup["latency_s"] == pytest.approx(falling[1:8])
    assert series.latency_s == pytest.approx([1.0] * 6)
    assert len(clock.calls) == 1 + 7 + 6, "no round is taken twice"


def test_what_gets_slower_again_is_noise_and_counts() -> None:
    clock = FakeClock()
    (series,) = measure(clock, FakeStep(clock, 9.0, 9.0, 1.0, 1.0, 5.0, 5.0, 2.0))
    assert series.settled
    assert series.latency_s == pytest.approx([1.0, 1.0, 5.0, 5.0, 2.0, 2.0])


def test_warm_up_waits_for_the_slowest_to_settle() -> None:
    clock = FakeClock()
    steady, falling = measure(
        clock, FakeStep(clock, 1.0), FakeStep(clock, 9.0, 8.0, 7.0, 6.0, 3.0, 2.0, 1.0)
    )
    assert steady.settled
    assert falling.settled
    assert len(steady.warmup["latency_s"]) == len(falling.warmup["latency_s"]) == 5
    assert len(steady.latency_s) == len(falling.latency_s) == 6


def test_warm_up_that_never_settles_stops_at_the_cap_and_says_so() -> None:
    clock = FakeClock()
    script = [float(1.2**-call) for call in range(200)]
    plan = Plan(budget_s=None, rounds=6, warmup_s=0.0, most_windows=4)
    (series,) = measure(clock, FakeStep(clock, *script), plan=plan)
    assert not series.settled
    assert series.warmup["latency_s"] == pytest.approx(script[1 : 2 + 2 * plan.window])
    assert series.latency_s == pytest.approx(script[2 + 2 * plan.window :][:6])


def test_warm_up_takes_at_most_its_share_of_the_budget() -> None:
    clock = FakeClock()
    falling = [200.0 * 0.9**call for call in range(6)]
    plan = Plan(budget_s=1200.0)
    (series,) = measure(clock, FakeStep(clock, *falling, 30.0), plan=plan)
    # Windows of 308 and 249 s are beyond 400 s together: they count as they are.
    assert not series.settled
    assert series.warmup["latency_s"] == pytest.approx(falling[1:2])
    assert series.latency_s[:4] == pytest.approx(falling[2:])
    assert clock.seconds <= 1200.0


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_fewer_rounds_than_two_windows_are_the_last_of_them(rounds: int) -> None:
    clock = FakeClock()
    plan = Plan(budget_s=None, rounds=rounds)
    script = [9.0, 9.0, 1.0, 2.0, 3.0, 4.0]
    (series,) = measure(clock, FakeStep(clock, *script), plan=plan)
    assert series.latency_s == pytest.approx(script[-rounds:])
    assert len(clock.calls) == 6


def test_a_plan_of_seconds_ends_with_whole_pairs_of_rounds() -> None:
    clock = FakeClock()
    plan = Plan(budget_s=None, rounds=60, timed_s=6.5)
    (series,) = measure(clock, FakeStep(clock, 1.0), plan=plan)
    assert len(series.latency_s) == 8


class _Watches(Observer):
    def __init__(self) -> None:
        self.rounds = 0
        self.told: list[tuple[int, float]] = []

    def round(self, readings: Sequence[Sequence[float] | None]) -> None:
        self.rounds += 1

    def counted(self, rounds: int, since: float) -> None:
        self.told.append((rounds, since))


def test_an_observer_learns_which_rounds_count_and_since_when() -> None:
    clock, watch = FakeClock(), _Watches()
    script = [9.0, 8.0, 6.0, 5.0, 3.0, 2.0, 1.0]
    measure_steps([FakeStep(clock, *script)], ROUNDS, now=clock.now, observer=watch)
    assert watch.told == [(4, sum(script[:6]))], "from the first round of 1 s"
    assert watch.rounds == 4 + 6, "of all windows, and of the two that follow"


def test_verification_costs_no_call_of_its_own() -> None:
    clock = FakeClock()
    step = FakeStep(clock, 1.0)
    measure(clock, step)
    assert step.checks == 2, "of the first call and of the last"
    assert len(clock.calls) == 1 + 1 + 6


def test_the_budget_is_kept() -> None:
    clock = FakeClock()
    a, b = measure(clock, FakeStep(clock, 1.0), FakeStep(clock, 0.5), plan=Plan(budget_s=60.0))
    assert 57.0 <= clock.seconds <= 60.0
    assert len(a.latency_s) == len(b.latency_s)
    assert len(a.latency_s) % 2 == 0


def test_time_spent_before_the_session_counts() -> None:
    clock = FakeClock()
    clock.seconds = 40.0
    measure_steps([FakeStep(clock, 1.0)], Plan(budget_s=60.0), now=clock.now, started=0.0)
    assert 58.0 <= clock.seconds <= 60.0


def test_a_step_that_raises_at_once_is_a_failed_series_and_the_others_go_on() -> None:
    clock = FakeClock()
    good, bad = measure(clock, FakeStep(clock, 1.0), FakeStep(clock, RuntimeError("out of memory")))
    assert bad.status == "failed"
    assert bad.reason == "RuntimeError: out of memory"
    assert bad.latency_s == []
    assert good.status == "ok"
    assert len(good.latency_s) == 6


def test_a_step_that_raises_midway_keeps_what_it_had() -> None:
    clock = FakeClock()
    good, bad = measure(
        clock, FakeStep(clock, 1.0), FakeStep(clock, *[2.0] * 4, RuntimeError("lost"))
    )
    assert bad.status == "failed"
    assert bad.latency_s == pytest.approx([2.0, 2.0])  # 1 first call, 1 warm-up, 2 timed
    assert len(good.latency_s) == 6


@pytest.mark.parametrize(("check", "samples"), [(1, 0), (2, 6)])
def test_outputs_that_are_not_finite_fail_the_step_before_and_after(
    check: int, samples: int
) -> None:
    clock = FakeClock()
    good, bad = measure(clock, FakeStep(clock, 1.0), FakeStep(clock, 1.0, broken_from_check=check))
    assert good.status == "ok"
    assert bad.status == "failed"
    assert "NaN" in str(bad.reason)
    assert len(bad.latency_s) == samples


def test_all_steps_failing_ends_the_session() -> None:
    clock = FakeClock()
    series = measure(clock, FakeStep(clock, RuntimeError("no")), plan=Plan(budget_s=1e9))
    assert [each.status for each in series] == ["failed"]


def test_an_interrupt_keeps_the_samples_taken() -> None:
    clock = FakeClock()
    a, b = measure(clock, FakeStep(clock, 1.0), FakeStep(clock, *[2.0] * 6, KeyboardInterrupt()))
    assert a.status == b.status == "interrupted"
    assert a.reason == "interrupted after 4 timed rounds"  # round 5 is b, a: it never reached a
    assert a.latency_s == pytest.approx([1.0] * 4)
    assert b.latency_s == pytest.approx([2.0] * 4)


def test_an_interrupt_before_two_windows_agree_keeps_the_last_two() -> None:
    clock = FakeClock()
    script = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]
    (series,) = measure(clock, FakeStep(clock, *script, KeyboardInterrupt()))
    assert series.warmup["latency_s"] == pytest.approx(script[1:3])
    assert series.latency_s == pytest.approx(script[3:])


def test_an_interrupt_leaves_a_failure_a_failure() -> None:
    clock = FakeClock()
    a, b = measure(
        clock,
        FakeStep(clock, *[1.0] * 5, KeyboardInterrupt()),
        FakeStep(clock, RuntimeError("no")),
    )
    assert (a.status, b.status) == ("interrupted", "failed")


def test_a_wrong_request_is_not_a_broken_step() -> None:
    clock = FakeClock()
    with pytest.raises(UsageError, match="a multiple of 32"):
        measure(clock, FakeStep(clock, UsageError("height 641 is not a multiple of 32")))
    assert gc.isenabled()


class _WatchesCollector(FakeStep):
    def __call__(self) -> object:
        assert not gc.isenabled()
        return super().__call__()


def test_an_interrupt_of_a_models_own_is_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.signal, "getsignal", lambda number: processes._interrupt)
    clock = FakeClock()
    script = [2.0] * 6, KeyboardInterrupt()
    a, b = measure(clock, FakeStep(clock, 1.0), FakeStep(clock, *script[0], script[1]))
    assert (a.status, b.status, b.reason) == ("ok", "failed", "KeyboardInterrupt")
    signalled = FakeStep(clock, *[2.0] * 6, processes.Interrupted())
    a, b = measure(clock, FakeStep(clock, 1.0), signalled)
    assert {a.status, b.status} == {"interrupted"}


@pytest.mark.parametrize("last", [1.0, RuntimeError("no"), KeyboardInterrupt()])
def test_the_collector_is_off_inside_samples_and_on_afterwards(last: float | BaseException) -> None:
    clock = FakeClock()
    assert gc.isenabled()
    measure(clock, _WatchesCollector(clock, 1.0, 1.0, last))
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        clock = FakeClock()
        measure(clock, FakeStep(clock, 1.0))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_with_cycles_does_not_pile_up() -> None:
    alive: list[int] = []

    class Big:
        def __init__(self) -> None:
            self.itself = self
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    class Litters(FakeStep):
        most = 0

        def __call__(self) -> object:
            Big()
            Litters.most = max(Litters.most, len(alive))
            return super().__call__()

    clock = FakeClock()
    measure(clock, Litters(clock, 1.0), plan=Plan(budget_s=None, rounds=50))
    assert Litters.most <= 4


class _TwoChannels(FakeClock):
    channels = ("latency_s", "wall_s")

    def time(self, call: Callable[[], object]) -> tuple[float, ...]:
        (seconds,) = super().time(call)
        return seconds, seconds + 0.25


def test_all_channels_of_a_clock_are_kept() -> None:
    clock = _TwoChannels()
    (series,) = measure(clock, FakeStep(clock, 1.0))
    assert series.samples["latency_s"] == pytest.approx([1.0] * 6)
    assert series.samples["wall_s"] == pytest.approx([1.25] * 6)
    assert series.first == pytest.approx({"latency_s": 1.0, "wall_s": 1.25})


def test_progress_is_told_between_rounds_and_ends_at_the_end() -> None:
    clock = FakeClock()
    told: list[Progress] = []
    measure_steps([FakeStep(clock, 1.0)], Plan(budget_s=30.0), now=clock.now, progress=told.append)
    assert list(dict.fromkeys(each.phase for each in told)) == [
        "first calls",
        "warm-up",
        "timing",
    ]
    timing = [each for each in told if each.phase == "timing"]
    assert all(each.eta_s is not None and each.eta_s >= 0 for each in timing)
    assert timing[0].eta_s == pytest.approx(30.0 - 6.0)
    assert timing[0].total == pytest.approx(30.0)
    assert timing[-1].done == pytest.approx(clock.seconds)


def test_progress_of_a_plan_in_rounds_knows_when_it_ends() -> None:
    clock = FakeClock()
    told: list[Progress] = []
    measure_steps([FakeStep(clock, 2.0)], ROUNDS, now=clock.now, progress=told.append)
    assert [each.eta_s for each in told if each.phase == "timing"] == pytest.approx([4.0, 2.0, 0.0])


def test_progress_of_a_plan_of_seconds_knows_when_it_ends() -> None:
    clock = FakeClock()
    told: list[Progress] = []
    plan = Plan(budget_s=None, rounds=60, timed_s=13.0)
    measure_steps([FakeStep(clock, 2.0)], plan, now=clock.now, progress=told.append)
    assert [each.eta_s for each in told if each.phase == "timing"] == pytest.approx(
        [5.0, 3.0, 1.0, 0.0, 0.0]
    )


def test_rounds_before_two_windows_agree_are_signs_of_life_too() -> None:
    clock = FakeClock()
    told: list[Progress] = []
    measure_steps([FakeStep(clock, 2.0)], ROUNDS, now=clock.now, progress=told.append)
    assert [each.phase for each in told].count("warm-up") == 1 + 4


# --- the deadline --------------------------------------------------------------------------------


def until(deadline: float, clock: FakeClock, *steps: FakeStep, rounds: int = 6) -> list[Series]:
    plan = Plan(budget_s=None, rounds=rounds)
    return list(measure_steps(steps, plan, now=clock.now, deadline=deadline))


def test_the_deadline_reaches_the_first_calls() -> None:
    clock = FakeClock()
    steps = [FakeStep(clock, 5.0, name=name) for name in "abc"]
    series = until(8.0, clock, *steps)
    assert clock.calls == ["a", "b"]
    assert [one.status for one in series] == ["interrupted"] * 3
    assert {one.reason for one in series} == {"its time was over after 0 timed rounds"}


def test_the_deadline_reaches_the_warm_up() -> None:
    clock = FakeClock()
    (series,) = until(9.0, clock, FakeStep(clock, 5.0))
    assert len(clock.calls) == 1, "a second call would end at 10 s"
    assert series.status == "interrupted"
    assert str(series.reason).startswith(OUT_OF_TIME)


def test_the_deadline_before_a_whole_block_leaves_nothing() -> None:
    clock = FakeClock()
    (series,) = until(3.5, clock, FakeStep(clock, 1.0))
    assert len(clock.calls) == 3, "a first call, a warm-up round and a timed one"
    assert (series.status, series.reason) == (
        "interrupted",
        "its time was over after 1 timed round",
    )


def test_a_block_of_rounds_before_the_deadline_counts() -> None:
    clock = FakeClock()
    a, b = until(8.5, clock, FakeStep(clock, 1.0), FakeStep(clock, 1.0))
    assert (a.status, b.status) == ("ok", "ok")
    assert (len(a.latency_s), len(b.latency_s)) == (2, 2)
    assert not a.settled, "nobody knows: there is one window"


def test_the_deadline_before_two_windows_agree_leaves_the_last_two() -> None:
    clock = FakeClock()
    script = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    (series,) = until(sum(script[:7]) + 2.5, clock, FakeStep(clock, *script))
    assert series.status == "ok"
    assert not series.settled
    assert series.warmup["latency_s"] == pytest.approx(script[1:3])
    assert series.latency_s == pytest.approx(script[3:7])


def test_the_deadline_ends_the_timed_rounds_before_one_that_would_not_fit() -> None:
    clock = FakeClock()
    (series,) = until(20.0, clock, FakeStep(clock, 3.0), rounds=1000)
    assert clock.seconds == 18.0
    assert (series.status, len(series.latency_s)) == ("ok", 4)


def test_outputs_are_looked_at_after_the_deadline_too() -> None:
    clock = FakeClock()
    broken = FakeStep(clock, 1.0, broken_from_check=2)
    (series,) = until(20.0, clock, broken, rounds=1000)
    assert series.status == "failed"
    assert "NaN" in str(series.reason)


def test_the_deadline_leaves_a_failure_a_failure() -> None:
    clock = FakeClock()
    good, bad = until(2.5, clock, FakeStep(clock, 1.0), FakeStep(clock, RuntimeError("no")))
    assert (good.status, bad.status) == ("interrupted", "failed")
