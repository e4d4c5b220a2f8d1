from __future__ import annotations

import time

import pytest

from detrbench.runtimes.clocks import WallClock, sampling_overhead


def test_the_wall_clock_reads_the_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([1_000, 251_000])
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(ticks))
    assert WallClock().time(lambda: None) == pytest.approx((250e-6,))


def test_freeing_the_outputs_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    class Output:
        def __del__(self) -> None:
            log.append("freed")

    def read() -> int:
        log.append("read")
        return len(log)

    monkeypatch.setattr(time, "perf_counter_ns", read)
    WallClock().time(Output)
    assert log == ["read", "read", "freed"]


def test_the_overhead_is_what_an_empty_step_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10**9, 700))
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(now))
    assert sampling_overhead(WallClock()) == pytest.approx(700e-9)
