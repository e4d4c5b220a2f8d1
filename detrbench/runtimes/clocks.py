"""What can be timed, and with what: the two protocols between the runtimes and the measuring.

A clock names its channels, all in seconds. The first, `latency_s`, is what statistics are made of;
a device with more than one notion of time (events, wall clock, enqueue) adds its own beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Times one call, whatever it takes for the device to have really finished it."""

    @property
    def name(self) -> str:
        """As printed beside the numbers."""

    @property
    def channels(self) -> tuple[str, ...]:
        """What each number of `time` is; the first is `latency_s`."""

    def time(self, call: Callable[[], object]) -> tuple[float, ...]:
        """Run `call` once and return its seconds, one number per channel."""


class Step(Protocol):
    """One call that can be repeated and timed: a model and its input, ready on their device."""

    @property
    def clock(self) -> Clock:
        """The clock that understands this step's device."""

    def __call__(self) -> object:
        """Do the work once; may return before an asynchronous device has finished."""

    def verify(self, outcome: object) -> None:
        """Raise a DetrbenchError if `outcome`, what a call returned, is not usable."""


class WallClock:
    """The host's monotonic clock, for work that is over when the call returns."""

    name = "perf_counter_ns"
    channels = ("latency_s",)

    def time(self, call: Callable[[], object]) -> tuple[float, ...]:
        now = time.perf_counter_ns
        begin = now()
        # Kept until the clock was read: freeing the outputs is not the model's time.
        result = call()
        end = now()
        del result
        return ((end - begin) * 1e-9,)


def sampling_overhead(clock: Clock, samples: int = 200) -> float:
    """Median seconds that `clock` reports for a step that does nothing: our part of each sample."""
    readings = sorted(clock.time(lambda: None)[0] for _ in range(samples))
    return readings[len(readings) // 2]
