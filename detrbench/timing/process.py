"""One process of a measurement: a Request goes in, a Measurement comes out, both plain JSON.

Nothing else passes the border, so that the same function serves a call in this process and,
replicated, a fresh worker process.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from detrbench.core.errors import UsageError
from detrbench.machine.environment import Environment
from detrbench.machine.usage import energy_per_image, peak_memory
from detrbench.models.sources.built import Built
from detrbench.reports.case import Case, baseline_of, pairs_alike
from detrbench.runtimes import check_execution
from detrbench.runtimes.clocks import Step
from detrbench.timing.journal import Journal
from detrbench.timing.opened import Build, Opened, Ready, Watch, build_case, opening
from detrbench.timing.rounds import (
    OUT_OF_TIME,
    OnProgress,
    Progress,
    Series,
    failure_of,
    measure_steps,
)
from detrbench.timing.stop_rules import Plan

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Request:
    """Everything that decides what one process measures.

    Attributes:
        cases: what is timed in the same rounds; the first of each workload is its baseline.
        resources: look for peak memory and energy after the samples.

    Raises:
        UsageError: no case, a wrong one, or two of one name, before anything heavy is imported.
    """

    cases: tuple[Case, ...]
    resources: bool = True
    plan: Plan = field(default_factory=Plan)

    def __post_init__(self) -> None:
        if not self.cases:
            raise UsageError("there is no model to measure", hint="Name one or more.")
        for case in self.cases:
            check_execution(case.execution, where=case.name if len(self.cases) > 1 else None)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise UsageError(f"{twice[0]} is named twice", hint="Name each model once.")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(case.name for case in self.cases)

    def case(self, name: str) -> Case:
        return next(case for case in self.cases if case.name == name)

    def baseline(self, name: str) -> str | None:
        """What the case of that name is compared with; `None` where others are with it."""
        found = baseline_of(self.case(name), self.cases)
        return None if found is None else found.name

    @property
    def compared(self) -> tuple[str, ...]:
        """The names of all cases that have a baseline."""
        return tuple(name for name in self.names if self.baseline(name) is not None)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """What is compared, as names of a baseline and a case: first every case with its baseline,
        then models with each other that are executed alike in another way than that one."""
        against = [(str(self.baseline(name)), name) for name in self.compared]
        return (*against, *((one.name, other.name) for one, other in pairs_alike(self.cases)))

    @property
    def device(self) -> str:
        """Of whose cases a ledger is kept: the first that is no processor, else the processor."""
        devices = [case.execution.device for case in self.cases]
        return next((each for each in devices if each != "cpu"), devices[0])

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Request:
        """From what `dataclasses.asdict` makes of one, also by way of JSON."""
        cases = tuple(map(Case.from_dict, plain["cases"]))
        return cls(**{**plain, "cases": cases, "plan": Plan(**plain["plan"])})


@dataclass(frozen=True)
class Subject:
    """A case as it was really built and run.

    Attributes:
        case: its name in the request.
        title: the one for readers.
        nc: its classes, where it knows them.
        published: figures that others printed of it, as in a report's rows, without ours.
        notes: what its file leaves open and was decided for it.
        settings: read back from the runtime, not assumed: device, dtype, threads and so on.
    """

    case: str
    title: str
    nc: int | None = None
    published: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What one process measured: `series[i]` is of `subjects[i]`, in the order of the request.

    Attributes:
        environment: of this process, as it started.
        started_s: from its start to its first timed round.
        took_s: from its start to its end.
        timed_s: from the first timed round to the last.
        ledger: a `machine.validity.Entry` of that, as plain data; `None` where nothing was timed.
    """

    request: Request
    environment: dict[str, Any]
    subjects: tuple[Subject, ...]
    series: tuple[Series, ...]
    started_s: float = 0.0
    took_s: float = 0.0
    timed_s: float = 0.0
    ledger: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Measurement:
        """From what `dataclasses.asdict` makes of one, also by way of JSON."""
        subjects = (
            {**each, "published": tuple(each["published"]), "notes": tuple(each["notes"])}
            for each in plain["subjects"]
        )
        inside = {
            "request": Request.from_dict(plain["request"]),
            "subjects": tuple(Subject(**each) for each in subjects),
            "series": tuple(Series(**each) for each in plain["series"]),
        }
        return cls(**{**plain, **inside})


def measure_process(
    request: Request,
    *,
    build: Build = build_case,
    now: Callable[[], float] = time.monotonic,
    started: float | None = None,
    deadline: float | None = None,
    progress: OnProgress | None = None,
    journal: Journal | None = None,
) -> Measurement:
    """Build the cases of `request` and time them against each other in this process.

    A case that cannot be built or run is a "failed" series; Ctrl-C makes "interrupted" ones, and so
    does the deadline, where it leaves no time for a block of rounds.

    Args:
        now: seconds of a monotonic clock, for the budget.
        started: when the process began, on that clock; now, if it begins here.
        deadline: when it must be over, on that clock.
        journal: is told of everything while it happens.

    Raises:
        UsageError: the request cannot be carried out: a model, file, size or device is not there.
    """
    started = now() if started is None else started
    with opening() as open_case:
        contenders = [_Contender(open_case(case)) for case in request.cases]
        # Before the first operator, which starts the pool of threads.
        contenders[0].runtime.activate()
        environment = Environment.read(request.device).to_dict()
        in_time = partial(_before, deadline, now)
        _prepare_all(contenders, build, progress, journal, in_time)
        ready = [
            Ready(name, step, one.runtime, one.case.name)
            for one in contenders
            for name, step in one.steps.items()
        ]
        watch = Watch(ready, request.device, now, journal)
        if ready:
            steps = [one.step for one in ready]
            taken = measure_steps(
                steps,
                request.plan,
                now=now,
                started=started,
                deadline=deadline,
                progress=progress,
                observer=watch,
            )
            following = iter(taken)
            for contender in contenders:
                contender.take(following)
        for contender in contenders:
            if request.resources and in_time(watch.timed_s):
                contender.look_for_resources()
    return Measurement(
        request=request,
        environment=environment,
        subjects=tuple(subject for one in contenders for subject in one.subjects()),
        series=tuple(series for one in contenders for series in one.series.values()),
        started_s=watch.counting_since - started,
        took_s=now() - started,
        timed_s=watch.timed_s,
        ledger=watch.entry,
    )


def part_name(case: str, part: str) -> str:
    """What a measurement calls a stage of a case."""
    return f"{case}: {part}"


class _Contender:
    """One case on its way from a request to series: its own, and one of each of its stages.

    Attributes:
        steps: what is timed of it, by name; nothing, if it is not ready.
        series: what came of that, the whole model's first.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened, self.case, self.runtime = opened, opened.case, opened.runtime
        self.steps: dict[str, Step] = {}
        unbuilt = Series(status="interrupted", reason="interrupted before it was built")
        self.series = {self.case.name: unbuilt}
        self._subject = Subject(self.case.name, self.case.model.name)

    def subjects(self) -> Iterator[Subject]:
        """As many as there are series, in their order."""
        yield self._subject
        for name in list(self.series)[1:]:
            yield Subject(name, self.case.model.name)

    def prepare(self, build: Build) -> None:
        began = time.perf_counter()
        try:
            built, images = self._opened.build(build)
            self._subject = _subject(self.case, built)
            steps = self._steps(built, images)
            settings = dict(self.runtime.settings(images))
        except (Exception, KeyboardInterrupt) as error:
            reason = failure_of(error)
            if reason is None:
                raise
            self.series = {self.case.name: Series(status="failed", reason=reason)}
        else:
            self._subject = dataclasses.replace(self._subject, settings=settings)
            self.steps, self.series = steps, {name: Series() for name in steps}
            self.series[self.case.name] = Series(
                build_s=time.perf_counter() - began, prepared=dict(self.runtime.prepared)
            )

    def _steps(self, built: Built, images: Tensor) -> dict[str, Step]:
        execution, name = self.case.execution, self.case.name
        if not execution.stages:
            step = self.runtime.prepare(built.module, images)
            if execution.extra_work:
                from detrbench.timing.synthetic_load import Loaded

                step = Loaded(step, execution)
            return {name: step}
        from detrbench.models.detector import Detector
        from detrbench.runtimes.stages import WHOLE, stage_steps

        if not isinstance(built.module, Detector):
            raise UsageError(
                f"a {type(built.module).__name__} has no stages",
                where=name,
                hint="Leave --stages out, or write NAME@stages=false for this one.",
            )
        steps = stage_steps(
            built.module, self.runtime, execution.imgsz, execution.batch, seed=self.case.model.seed
        )
        whole = {name: steps.pop(WHOLE)}
        return whole | {part_name(name, part): step for part, step in steps.items()}

    def give_up(self, why: str) -> None:
        """Before it was timed, as nothing will be any more."""
        self.steps, series = {}, self.series[self.case.name]
        if series.status != "failed":
            next_step = "timed" if series.status == "ok" else "built"
            series.status, series.reason = "interrupted", f"{why} before it was {next_step}"
        self.series = {self.case.name: series}

    def take(self, taken: Iterator[Series]) -> None:
        """Beside what making them ready took, the samples of its steps, which are next."""
        for name in self.steps:
            made, timed = self.series[name], next(taken)
            timed.build_s, timed.prepared = made.build_s, made.prepared
            self.series[name] = timed

    def look_for_resources(self) -> None:
        """Memory and energy of a whole model that ran to the end; no sample pays for it."""
        series, execution = self.series[self.case.name], self.case.execution
        if series.status != "ok":
            return
        self.runtime.activate()
        step, device = self.steps[self.case.name], execution.device
        told = peak_memory(step, device, series.prepared.get("resident_bytes", 0))
        told["energy_per_image_j"] = energy_per_image(step, execution.batch, device)
        series.resources = {key: one for key, one in told.items() if not isinstance(one, str)}
        series.unmeasured = {key: why for key, why in told.items() if isinstance(why, str)}


def _subject(case: Case, built: Built) -> Subject:
    """Figures that were published of a model are not of the same one under another name."""
    if not case.model.name.startswith(case.model.reference):
        return Subject(case.name, case.model.name, built.nc)
    return Subject(case.name, built.title, built.nc, built.published, built.notes)


def _before(deadline: float | None, now: Callable[[], float], seconds: float = 0.0) -> bool:
    """Whether what takes so long ends before the deadline."""
    return deadline is None or now() + seconds < deadline


def _prepare_all(
    contenders: Sequence[_Contender],
    build: Build,
    progress: OnProgress | None,
    journal: Journal | None,
    in_time: Callable[[], bool],
) -> None:
    """Build every model, or as many as Ctrl-C and the deadline leave time for; then none is
    timed."""
    why = None
    try:
        for done, contender in enumerate(contenders):
            if not in_time():
                why = OUT_OF_TIME
                break
            if progress:
                progress(Progress("building", done, len(contenders)))
            if journal:
                journal.at(contender.case.name)
            contender.prepare(build)
    except KeyboardInterrupt:
        why = "interrupted"
    for contender in contenders if why else ():
        contender.give_up(str(why))
