from __future__ import annotations

import time

import pytest

from detrbench.runtimes.clocks import CudaClock, WallClock, sampling_overhead


def test_the_wall_clock_reads_the_call_alone() -> None:
    ticks = iter([1_000, 251_000])
    assert WallClock(lambda: next(ticks)).time(lambda: None) == pytest.approx((250e-6,))


def test_a_model_that_replaces_the_clock_is_timed_by_the_true_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def model() -> None:
        monkeypatch.setattr(time, "perf_counter_ns", lambda: 1)

    monkeypatch.setattr(time, "perf_counter_ns", lambda: 1)
    assert WallClock().time(model)[0] > 0


def test_freeing_the_outputs_is_not_timed() -> None:
    log: list[str] = []

    class Output:
        def __del__(self) -> None:
            log.append("freed")

    def read() -> int:
        log.append("read")
        return len(log)

    WallClock(read).time(Output)
    assert log == ["read", "read", "freed"]


def test_the_overhead_is_what_an_empty_step_reads() -> None:
    now = iter(range(0, 10**9, 700))
    assert sampling_overhead(WallClock(lambda: next(now))) == pytest.approx(700e-9)


class FakeStream:
    """Host time in ns, device time in ms; a launch takes the host 30 us, the device longer."""

    def __init__(self, device_ms: float) -> None:
        self.log: list[str] = []
        self.host_ns = 0
        self.device_ms = 0.0
        self._work_ms = device_ms

    def now_ns(self) -> int:
        return self.host_ns

    def launch(self) -> None:
        self.log.append("launch")
        self.host_ns += 30_000
        self.device_ms += self._work_ms

    def synchronize(self) -> None:
        self.log.append("synchronize")
        self.host_ns = max(self.host_ns, round(self.device_ms * 1e6))

    def event(self) -> FakeEvent:
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, stream: FakeStream) -> None:
        self._stream = stream
        self.at_ms = 0.0

    def record(self) -> None:
        self._stream.log.append("record")
        self.at_ms = self._stream.device_ms

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self._stream.log[-1] == "synchronize", "events are read only once they happened"
        return end.at_ms - self.at_ms


@pytest.fixture
def stream() -> FakeStream:
    return FakeStream(device_ms=2.0)


def test_the_cuda_clock_reads_events_wall_and_enqueue(stream: FakeStream) -> None:
    clock = CudaClock(stream.event, stream.synchronize, stream.now_ns)
    latency_s, wall_s, enqueue_s = clock.time(stream.launch)
    assert latency_s == pytest.approx(2.0e-3)
    assert wall_s == pytest.approx(2.0e-3)
    assert enqueue_s == pytest.approx(30e-6)
    assert stream.log == ["synchronize", "record", "launch", "record", "synchronize"]


def test_work_left_on_the_stream_is_not_billed_to_the_next_sample(stream: FakeStream) -> None:
    clock = CudaClock(stream.event, stream.synchronize, stream.now_ns)
    stream.launch()  # still running when the sample begins
    latency_s, wall_s, _ = clock.time(stream.launch)
    assert latency_s == pytest.approx(2.0e-3)
    assert wall_s == pytest.approx(2.0e-3)


def test_a_cache_is_flushed_before_a_sample_and_outside_of_it(stream: FakeStream) -> None:
    def flush() -> None:
        stream.log.append("flush")
        stream.device_ms += 100.0

    clock = CudaClock(stream.event, stream.synchronize, stream.now_ns, before=flush)
    latency_s, wall_s, enqueue_s = clock.time(stream.launch)
    assert latency_s == wall_s == pytest.approx(2.0e-3)
    assert enqueue_s == pytest.approx(30e-6)
    assert stream.log == ["flush", "synchronize", "record", "launch", "record", "synchronize"]
