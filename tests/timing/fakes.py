"""Steps and clocks in which time passes only when a script says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat

from detrbench.core.errors import DetrbenchError


class FakeClock:
    """Shared time in seconds; a step advances it, `time` reads the difference."""

    name = "fake"
    channels: tuple[str, ...] = ("latency_s",)

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls: list[str] = []

    def now(self) -> float:
        return self.seconds

    def time(self, call: Callable[[], object]) -> tuple[float, ...]:
        before = self.seconds
        call()
        return (self.seconds - before,)


class FakeStep:
    """Takes the scripted seconds, then the last of them for ever; raises a scripted exception."""

    def __init__(
        self,
        clock: FakeClock,
        *script: float | BaseException,
        name: str = "step",
        broken_from_check: int | None = None,
    ) -> None:
        self.clock, self.name = clock, name
        self._script: Iterator[float | BaseException] = chain(script, repeat(script[-1]))
        self._broken_from_check = broken_from_check
        self.checks = 0

    def __call__(self) -> object:
        event = next(self._script)
        if isinstance(event, BaseException):
            raise event
        self.clock.seconds += event
        self.clock.calls.append(self.name)
        return self.name

    def verify(self, outcome: object) -> None:
        assert outcome == self.name, "verified is what a call returned"
        self.checks += 1
        if self._broken_from_check is not None and self.checks >= self._broken_from_check:
            raise DetrbenchError("output 0 has 3 values that are NaN or infinite")
