"""Of several probes the best is the ceiling."""

from __future__ import annotations

import pytest
import torch

from detrbench.analysis.probe.probes import Probe, _Stream, ceilings
from detrbench.core.errors import DetrbenchError
from detrbench.runtimes.clocks import WallClock
from detrbench.timing.rounds import Series


def test_the_best_of_the_probes_is_the_ceiling_with_its_quartiles() -> None:
    class Idle:
        clock = WallClock()

        def __call__(self) -> object:
            return None

        def verify(self, outcome: object) -> None:
            return None

    def series(*seconds: float) -> Series:
        return Series(samples={"latency_s": list(seconds)})

    probes = [
        Probe("convolution", "slow", 100, Idle()),
        Probe("convolution", "fast", 100, Idle()),
        Probe("convolution", "broken", 100, Idle()),
        *(Probe(name, name, 100, Idle()) for name in ("matmul", "memory", "cache")),
        Probe("dispatch", "tiny", 100, Idle()),
    ]
    samples = [
        series(4, 4),
        series(1, 2, 4),
        Series(status="failed", reason="no kernel"),
        *(series(1.0) for _ in range(3)),
        # Of a device whose clock tells the host's time from its own.
        Series(samples={"latency_s": [1.0], "wall_s": [1.1], "enqueue_s": [0.5]}),
    ]
    found = ceilings(probes, samples, 7)
    best = found.each["convolution"]
    assert (best.source, best.low, best.value, best.high) == ("fast", 37.5, 50.0, 75.0)
    assert found["dispatch"] == 0.01
    assert found.each["dispatch"].source == "tiny, enqueued in 5,000.00 us"
    assert found.cache_bytes == 7
    samples[-1] = Series(status="failed", reason="out of luck")
    with pytest.raises(DetrbenchError, match="launching one operator: out of luck"):
        ceilings(probes, samples, 7)


def test_of_a_stream_the_beginning_is_looked_at() -> None:
    stream = _Stream(lambda: None, WallClock())
    numbers = torch.full((5000,), 1.5)
    numbers[4000] = torch.nan
    stream.verify(numbers)
    numbers[1000] = torch.nan
    with pytest.raises(DetrbenchError, match="1 value"):
        stream.verify(numbers)
