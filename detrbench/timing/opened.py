"""Cases made ready in this process, each in a runtime of its own, to be timed in turns."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from detrbench.machine.threads import allowed_threads
from detrbench.machine.validity import open_ledger
from detrbench.models.sources import build_model
from detrbench.models.sources.built import Built
from detrbench.reports.case import Case
from detrbench.runtimes import Runtime, open_runtime
from detrbench.runtimes.clocks import Step
from detrbench.timing.journal import Journal
from detrbench.timing.rounds import Observer

if TYPE_CHECKING:
    from torch import Tensor

Build = Callable[[Case], Built]


def build_case(case: Case, built: Built | None = None) -> Built:
    """The model of `case`, fused where it is to be, for images that it can take.

    Args:
        built: what its reference stands for, where somebody has built it already.

    Raises:
        UsageError: there is none, or it does not fit.
    """
    built = built or build_model(case.model)
    built.check_image_size(case.execution.imgsz, case.execution.batch)
    return built.fused(case.execution.imgsz) if case.execution.fused else built


@lru_cache(maxsize=4)
def _images(batch: int, height: int, width: int, seed: int) -> Tensor:
    from detrbench.runtimes.images import natural_images

    return natural_images(batch, height, width, seed=seed)


class Opened:
    """A case and the runtime that carries it out.

    Attributes:
        case: as asked for, with the number of threads that it really gets.
    """

    def __init__(self, case: Case) -> None:
        self.case = case.replace(threads=case.execution.threads or allowed_threads())
        self.runtime: Runtime = open_runtime(self.case.execution)
        self.runtime.identity = " ".join(file.sha256 for file in case.model.files)

    def build(self, make: Build = build_case) -> tuple[Built, Tensor]:
        """Its model and what goes into it, with the process's switches as they are to be: the
        model's own example, or images of the size asked for. Raises as `make` does."""
        self.runtime.activate()
        built, execution = make(self.case), self.case.execution
        if built.images is not None:
            return built, built.images
        return built, _images(execution.batch, *execution.imgsz, self.case.model.seed)

    def step(self) -> Step:
        """Its whole forward pass, ready to be timed; raises as `build` and `Runtime.prepare` do."""
        built, images = self.build()
        return self.runtime.prepare(built.module, images)


@contextmanager
def opening() -> Iterator[Callable[[Case], Opened]]:
    """Inside, cases can be opened; afterwards the process's switches are as they were before."""
    import torch

    with ExitStack() as undone:
        undone.callback(torch.set_num_threads, torch.get_num_threads())

        def open_case(case: Case) -> Opened:
            opened = Opened(case)
            undone.callback(opened.runtime.close)
            return opened

        yield open_case


class Ready(NamedTuple):
    """A step that can be timed: what it is, what it runs in, and the case that it is of, where that
    is called otherwise."""

    name: str
    step: Step
    runtime: Runtime
    of: str | None = None

    @property
    def case(self) -> str:
        return self.of or self.name


_LOOK_S, _IDLE_S, _LONGEST_SPIN_S = 0.002, 0.0002, 0.25


def wait_until_asleep(
    cpu_s: Callable[[], float] = time.process_time, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Return once this process uses no processor any more: the threads of a runtime spin for a
    while after a call, and would take the processor from another runtime's next sample. Whatever
    still spins after a quarter of a second does so all the time."""
    waited_s = 0.0
    while waited_s < _LONGEST_SPIN_S:
        before = cpu_s()
        sleep(_LOOK_S)
        waited_s += _LOOK_S
        if cpu_s() - before <= _IDLE_S:
            return


class Watch(Observer):
    """Has the runtime of each step active before every sample, since others run between; keeps the
    ledger of the timed rounds; and tells a journal of everything.

    Attributes:
        counting_since: when the first round began that counts, on the clock `now`.
        timed_s: how long the rounds took, those before it included.
        entry: what the ledger says of them, as plain data; `None` where nothing was timed.
    """

    def __init__(
        self,
        ready: Sequence[Ready],
        device: str,
        now: Callable[[], float] = time.monotonic,
        journal: Journal | None = None,
    ) -> None:
        self._ready, self._now, self._journal = ready, now, journal
        self._ledger = open_ledger(device)
        self.counting_since, self.timed_s = now(), 0.0
        self._began = self.counting_since
        self._timed = False  # whether rounds are that may count
        self._last: type[Runtime] | None = None  # whose threads may still spin
        self.entry: dict[str, Any] | None = None

    def first_call(self, index: int) -> None:
        if self._journal:
            self._journal.at(self._ready[index].case)

    def before(self, index: int) -> None:
        if self._journal:  # what its call dies of is its own
            tell = self._journal.during if self._timed else self._journal.at
            tell(self._ready[index].case)
        runtime = self._ready[index].runtime
        runtime.activate()
        if self._last not in (None, type(runtime)):
            wait_until_asleep()
        self._last = type(runtime)

    def begin(self) -> None:
        self._began = self.counting_since = self._now()
        self._timed = True
        if self._journal:
            self._journal.at(None)
            self._journal.channels({one.name: one.step.clock.channels for one in self._ready})
        self._ledger.start()

    def round(self, readings: Sequence[Sequence[float] | None]) -> None:
        if self._journal:
            self._journal.round(readings)
        self._ledger.look()

    def counted(self, rounds: int, since: float) -> None:
        self.counting_since = since
        if self._journal:
            self._journal.counted(rounds)

    def end(self) -> None:
        self.timed_s = self._now() - self._began
        if self._journal:
            self._journal.during(None)
        self.entry = dataclasses.asdict(self._ledger.stop())
