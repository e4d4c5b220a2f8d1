"""One measuring session in one process: first calls, settled warm-up, interleaved rounds.

It knows steps, clocks and a stop rule. It knows no model, no device and no report.
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from detrbench.core.errors import TimeIsUp, UsageError
from detrbench.core.processes import is_of_code
from detrbench.core.units import show_many
from detrbench.runtimes.clocks import Step, sampling_overhead
from detrbench.timing.stop_rules import ORDERS, Plan, enough, settled


@dataclass(frozen=True)
class Progress:
    """Where a run is, for whoever draws it: `done` of `total`, and seconds to the end if known."""

    phase: str
    done: float
    total: float | None
    eta_s: float | None = None


OnProgress = Callable[[Progress], None]


class Observer:
    """Sees a session from outside its samples. This one does nothing; `opened.Watch` is a real one.

    What a method costs falls between samples, so it delays the run but no reading.
    """

    def first_call(self, index: int) -> None:
        """Step `index` is about to be called for the first time."""

    def before(self, index: int) -> None:
        """Step `index` is about to be called and timed."""

    def begin(self) -> None:
        """The rounds begin that may count."""

    def round(self, readings: Sequence[Sequence[float] | None]) -> None:
        """Such a round is over: per step, what its clock read, or `None` if it is out."""

    def counted(self, rounds: int, since: float) -> None:
        """Warm-up is over: the last `rounds` count, which began at `since`, and all to come."""

    def end(self) -> None:
        """The timed rounds are over, however they ended."""


@dataclass
class Series:
    """What one step gave in one process, every sample in seconds and in the order taken.

    Attributes:
        status: "ok", "failed" or "interrupted".
        reason: why it is not "ok".
        clock: its name.
        overhead_s: what it reads for an empty step.
        first: the very first call, per channel.
        warmup: later calls, in no statistic, per channel: kept because they show how it settled.
        samples: the timed rounds, per channel; sample i is of round i.
        settled: whether its first two windows agreed, so that it was warm when they were taken.
        build_s: seconds to make it ready, outside all samples; filled in by who built it.
        prepared: what the runtime told of that; see `Runtime.prepared`.
        resources: peak memory and energy by metric key, looked for after the samples; `unmeasured`
            says why one is not known. Filled in likewise.
    """

    status: str = "ok"
    reason: str | None = None
    clock: str | None = None
    overhead_s: float | None = None
    first: dict[str, float] = field(default_factory=dict)
    warmup: dict[str, list[float]] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    settled: bool = False
    build_s: float | None = None
    prepared: dict[str, float] = field(default_factory=dict)
    resources: dict[str, float | None] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)

    @property
    def latency_s(self) -> list[float]:
        """The samples that statistics are made of."""
        return self.samples.get("latency_s", [])


def measure_steps(
    steps: Sequence[Step],
    plan: Plan,
    *,
    now: Callable[[], float] = time.monotonic,
    started: float | None = None,
    deadline: float | None = None,
    progress: OnProgress | None = None,
    observer: Observer | None = None,
) -> tuple[Series, ...]:
    """Time `steps` against each other, round by round; one Series for each, in the order given.

    A step that raises, or whose `verify` does, becomes a "failed" series and the others go on.
    Ctrl-C ends the session; what was taken until then is returned as "interrupted". So does the
    deadline, before a call that would not fit; but a block of rounds that was taken until then
    counts.

    Args:
        now: seconds of a monotonic clock, for the budget.
        started: when the budget began, on that clock; now, if it begins here.
        deadline: when all must be over, on that clock, whatever the plan says.
        progress, observer: called between samples, never inside one.

    Raises:
        UsageError: raised by a step, because then the request is wrong and not the step.
    """
    clock = _Clock(now, now() if started is None else started, deadline)
    session = _Session(steps, plan, clock, progress, observer or Observer())
    with _collector_paused():
        try:
            session.first_calls()
            session.warm_up()
            session.timed_rounds()
            session.verify()
        except _OutOfTime:
            session.out_of_time()
            session.verify()
        except TimeIsUp:  # in the middle of a call, which has nothing to look at
            session.out_of_time()
        except KeyboardInterrupt:
            session.interrupt()
    return tuple(track.whole() for track in session.tracks)


OUT_OF_TIME = "its time was over"
"""How the reason begins of a series that the deadline left without a block of timed rounds."""


def failure_of(error: BaseException | None) -> str | None:
    """Why a case failed, where an error is its own: neither of the request, nor an interrupt."""
    own = isinstance(error, Exception) or is_of_code(error)
    if not own or isinstance(error, UsageError):
        return None
    return f"{type(error).__name__}: {error}".removesuffix(": ")


class _OutOfTime(Exception):
    """The next call would not end before the deadline."""


@dataclass(frozen=True)
class _Clock:
    now: Callable[[], float]
    started: float
    deadline: float | None

    def elapsed_s(self) -> float:
        return self.now() - self.started

    def allow(self, seconds: float) -> None:
        """Raises _OutOfTime where what takes so long would not end in time."""
        if self.deadline is not None and self.now() + seconds > self.deadline:
            raise _OutOfTime


class _Track:
    """The growing record of one step; appending a float to an array makes nothing to collect."""

    def __init__(self, step: Step) -> None:
        self.step, self.clock = step, step.clock
        self.series = Series(clock=step.clock.name)
        self.warmup = tuple(array("d") for _ in self.clock.channels)
        self.samples = tuple(array("d") for _ in self.clock.channels)
        self._outcome: object = None

    def time(self) -> tuple[float, ...]:
        """One call of the step, by its clock; what it returned is kept for `verify`."""
        # What the call before returned is freed out here: that is nobody's time.
        self._outcome = None
        return self.clock.time(self._call)

    def verify(self) -> None:
        """Look at what the last call returned."""
        self.step.verify(self._outcome)

    def _call(self) -> None:
        self._outcome = self.step()

    def count_last(self, rounds: int) -> None:
        """Of what was taken so far, all but the last `rounds` samples were warm-up."""
        for warmup, samples in zip(self.warmup, self.samples, strict=True):
            early = max(0, len(samples) - rounds)
            warmup.extend(samples[:early])
            del samples[:early]

    def __enter__(self) -> None:
        """Whatever is raised inside becomes its failure: one broken model does not end the run."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        reason = failure_of(error)
        if reason is not None:
            self.end("failed", reason)
        return reason is not None

    def end(self, status: str, reason: str) -> None:
        self.series.status, self.series.reason = status, reason

    def whole(self) -> Series:
        """The series with its samples."""
        self.series.warmup = _whole(self.clock.channels, self.warmup)
        self.series.samples = _whole(self.clock.channels, self.samples)
        return self.series


class _Session:
    def __init__(
        self,
        steps: Sequence[Step],
        plan: Plan,
        clock: _Clock,
        progress: OnProgress | None,
        observer: Observer,
    ) -> None:
        self.tracks = [_Track(step) for step in steps]
        self._plan, self._clock = plan, clock
        self._progress, self._observer = progress, observer
        self._orders = ORDERS[plan.order](len(self.tracks), plan.seed)
        self._round_s = 0.0  # of the last round, or of all first calls

    def first_calls(self) -> None:
        """Each step's first call: it allocates, compiles and reads what later calls find ready."""
        began = self._clock.now()
        for done, track in enumerate(self.tracks):
            self._clock.allow(0.0)
            self._tell("first calls", done, len(self.tracks), None)
            self._observer.first_call(done)
            with track:
                self._observer.before(done)
                first = track.time()
                track.series.first = dict(zip(track.clock.channels, first, strict=True))
                track.verify()
                track.series.overhead_s = sampling_overhead(track.clock)
        self._round_s = self._clock.now() - began

    def warm_up(self) -> None:
        """Rounds like the timed ones that never count: a second call is slower than a third."""
        began, limit_s = self._clock.now(), self._warmup_limit_s()
        while self._live():
            self._round("warmup")
            spent_s = self._clock.now() - began
            self._tell("warm-up", spent_s, limit_s, None)
            if spent_s + self._round_s > min(self._plan.warmup_s, limit_s):
                return

    def timed_rounds(self) -> None:
        self._observer.begin()
        try:
            counted = self._settle()
            for rounds in count(counted + 1):
                if not self._live() or self._enough(rounds - 1):
                    return
                self._observer.round(self._round("samples"))
        finally:
            self._observer.end()

    def _settle(self) -> int:
        """Windows of rounds until two of every step agree, or up to the cap; the last two count,
        however they ended, and their rounds are returned."""
        plan, began = self._plan, [self._clock.now()]
        try:
            self._take_windows(began)
        finally:
            counted = min(2 * plan.window, len(began) - 1, plan.rounds or 2 * plan.window)
            for track in self.tracks:
                track.count_last(counted)
            self._observer.counted(counted, began[-1 - counted])
        return counted

    def _take_windows(self, began: list[float]) -> None:
        """As `_settle` says; when each of their rounds was over is added to `began`."""
        plan, limit_s = self._plan, self._warmup_limit_s()
        for windows in range(1, plan.most_windows + 1):
            for _ in range(plan.window):
                if not self._live():
                    return
                self._observer.round(self._round("samples"))
                began.append(self._clock.now())
                self._tell("warm-up", began[-1] - began[0], limit_s, None)
            self._judge_windows()
            if windows > 1 and (
                all(track.series.settled for track in self._live())
                or began[-1] - began[0] > limit_s
            ):
                return

    def _judge_windows(self) -> None:
        window = self._plan.window
        for track in self._live():
            recent = list(track.samples[0][-2 * window :])
            track.series.settled = len(recent) == 2 * window and settled(
                recent[:window], recent[window:], self._plan.tolerance
            )

    def _enough(self, rounds: int) -> bool:
        """Whether so many timed rounds are; said to whoever looks, too."""
        elapsed_s = self._clock.elapsed_s()
        self._tell_rounds(rounds, elapsed_s)
        return enough(self._plan, rounds, elapsed_s, self._round_s) is not None

    def _warmup_limit_s(self) -> float:
        plan = self._plan
        return float("inf") if plan.budget_s is None else plan.budget_s * plan.warmup_share

    def verify(self) -> None:
        """Once more at the end: a model that turned to NaN on the way has no latency to print."""
        for track in self._live():
            with track:
                track.verify()

    def out_of_time(self) -> None:
        """A whole block of rounds counts, as ABBA has it; less is nothing."""
        for track in self._live():
            rounds = len(track.samples[0])
            if rounds < self._plan.window:
                track.end("interrupted", f"{OUT_OF_TIME} after {show_many(rounds, 'timed round')}")

    def interrupt(self) -> None:
        for track in self._live():
            rounds = show_many(len(track.samples[0]), "timed round")
            track.end("interrupted", f"interrupted after {rounds}")

    def _live(self) -> list[_Track]:
        return [track for track in self.tracks if track.series.status == "ok"]

    def _round(self, into: str) -> list[tuple[float, ...] | None]:
        self._clock.allow(self._round_s)
        began = self._clock.now()
        readings: list[tuple[float, ...] | None] = [None] * len(self.tracks)
        for index in next(self._orders):
            track = self.tracks[index]
            if track.series.status != "ok":
                continue
            with track:
                self._observer.before(index)
                reading = track.time()
                for channel, seconds in zip(getattr(track, into), reading, strict=True):
                    channel.append(seconds)
                readings[index] = reading
        # Between samples, youngest generation only: cycles that hold tensors must not pile up while
        # the collector is off, and a full collection would empty the caches for whoever is next.
        gc.collect(0)
        self._round_s = self._clock.now() - began
        return readings

    def _tell_rounds(self, rounds: int, elapsed_s: float) -> None:
        plan, least_s = self._plan, (self._plan.least_rounds - rounds) * self._round_s
        left_s = [] if plan.rounds is None else [(plan.rounds - rounds) * self._round_s]
        if plan.timed_s is not None:
            left_s.append(max(plan.timed_s - rounds * self._round_s, least_s, 0.0))
        if plan.budget_s is not None:
            left_s.append(max(plan.budget_s - elapsed_s, least_s, 0.0))
        self._tell("timing", elapsed_s, elapsed_s + min(left_s), min(left_s))

    def _tell(self, phase: str, done: float, total: float, eta_s: float | None) -> None:
        if self._progress:
            self._progress(Progress(phase, done, None if total == float("inf") else total, eta_s))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """The garbage collector off, and afterwards as it was: its pauses are not the model's time."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _whole(names: Sequence[str], channels: Sequence[array[float]]) -> dict[str, list[float]]:
    """Channels as lists of one length: Ctrl-C may have come between two of the last sample's."""
    length = min(map(len, channels))
    return {name: list(channel[:length]) for name, channel in zip(names, channels, strict=True)}
