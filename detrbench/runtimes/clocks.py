"""What can be timed, and with what: the two protocols between the runtimes and the measuring.

A clock names its channels, all in seconds. The first, `latency_s`, is what statistics are made of;
a device with more than one notion of time (events, wall clock, enqueue) adds its own beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol


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
    """The host's monotonic clock, for work that is over when the call returns.

    The clock is the one of the moment this module was imported, which is before any model's own
    code: a model that replaces `time.perf_counter_ns` does not change what its calls take.
    """

    name = "perf_counter_ns"
    channels = ("latency_s",)

    def __init__(self, now_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._now_ns = now_ns

    def time(self, call: Callable[[], object]) -> tuple[float, ...]:
        now = self._now_ns
        begin = now()
        # Kept until the clock was read: freeing the outputs is not the model's time.
        result = call()
        end = now()
        del result
        return ((end - begin) * 1e-9,)


class CudaClock:
    """Two events on the stream, inside two synchronisations on the host.

    - `latency_s`: from the first event to the second, both of the device's own clock. The device is
      idle when the first is recorded, so on a launch-bound model this includes waiting for the
      host's launches.
    - `wall_s`: what the host waited, launch to synchronised.
    - `enqueue_s`: what the host needed to launch everything; near `wall_s`, the host is the
      bottleneck.

    Args:
        event: makes what a torch.cuda.Event with timing is.
        before: done on the device ahead of every sample, outside of it, such as flushing a cache.
    """

    name = "cuda events"
    channels = ("latency_s", "wall_s", "enqueue_s")

    def __init__(
        self,
        event: Callable[[], Any],
        synchronize: Callable[[], object],
        now_ns: Callable[[], int] = time.perf_counter_ns,
        before: Callable[[], object] | None = None,
    ) -> None:
        self._begin, self._end = event(), event()
        self._synchronize, self._now_ns, self._before = synchronize, now_ns, before

    def time(self, call: Callable[[], object]) -> tuple[float, ...]:
        now_ns = self._now_ns
        if self._before is not None:
            self._before()
        self._synchronize()
        begin = now_ns()
        self._begin.record()
        # Kept until the clock was read: freeing the outputs is not the model's time.
        result = call()
        self._end.record()
        enqueued = now_ns()
        self._synchronize()
        finished = now_ns()
        del result
        device_s = self._begin.elapsed_time(self._end) * 1e-3
        return device_s, (finished - begin) * 1e-9, (enqueued - begin) * 1e-9


def sampling_overhead(clock: Clock, samples: int = 200) -> float:
    """Median seconds that `clock` reports for a step that does nothing: our part of each sample."""
    readings = sorted(clock.time(lambda: None)[0] for _ in range(samples))
    return readings[len(readings) // 2]
