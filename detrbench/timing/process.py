"""One process of a measurement: a Request goes in, a Measurement comes out, both plain JSON.

Nothing else passes the border, so that the same function serves a call in this process and,
replicated, a fresh worker process.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from detrbench.core.errors import UsageError
from detrbench.machine.environment import Environment
from detrbench.machine.threads import check_threads
from detrbench.machine.usage import energy_per_image, peak_memory
from detrbench.machine.validity import Entry, Ledger, open_ledger
from detrbench.models.sources import build_model
from detrbench.models.sources.built import Built, described
from detrbench.reports.case import Case, baseline_of
from detrbench.runtimes import Runtime, check_execution, open_runtime
from detrbench.runtimes.clocks import Step
from detrbench.timing.journal import Journal
from detrbench.timing.rounds import Observer, OnProgress, Progress, Series, measure_steps
from detrbench.timing.schedule import Plan

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Request:
    """Everything that decides what one process measures.

    Attributes:
        cases: what is timed in the same rounds; the first of each workload is its baseline.
        resources: look for peak memory and energy after the samples.

    Raises:
        UsageError: a case that is wrong in itself, or two of one name, before anything heavy is
            imported.
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
    def device(self) -> str:
        """Of whose cases a ledger is kept: the first that is no processor, else the processor."""
        devices = [case.execution.device for case in self.cases]
        return next((each for each in devices if each != "cpu"), devices[0])

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Request:
        """From what `dataclasses.asdict` makes of one."""
        return cls(
            **{
                **plain,
                "cases": tuple(map(Case.from_dict, plain["cases"])),
                "plan": Plan(**plain["plan"]),
            }
        )


@dataclass(frozen=True)
class Subject:
    """A case as it was really built and run.

    Attributes:
        case: its name in the request.
        title: its name for readers.
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
        ledger: a `detrbench.machine.validity.Entry` of that time; `None` where nothing was timed.
    """

    request: Request
    environment: dict[str, Any]
    subjects: tuple[Subject, ...]
    series: tuple[Series, ...]
    started_s: float = 0.0
    took_s: float = 0.0
    timed_s: float = 0.0
    ledger: dict[str, Any] | None = None

    def to_json(self) -> str:
        """As text, every sample in full precision."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Measurement:
        """From what `dataclasses.asdict` makes of one."""
        subjects = (
            {**each, "published": tuple(each["published"]), "notes": tuple(each["notes"])}
            for each in plain["subjects"]
        )
        return cls(
            **{
                **plain,
                "request": Request.from_dict(plain["request"]),
                "subjects": tuple(Subject(**each) for each in subjects),
                "series": tuple(Series(**each) for each in plain["series"]),
            }
        )


Build = Callable[[Case], Built]


def measure_process(
    request: Request,
    *,
    build: Build | None = None,
    now: Callable[[], float] = time.monotonic,
    started: float | None = None,
    progress: OnProgress | None = None,
    journal: Journal | None = None,
) -> Measurement:
    """Build the cases of `request` and time them against each other in this process.

    A case that cannot be built or run is a "failed" series; Ctrl-C makes "interrupted" ones.

    Args:
        build: makes a case's model; by its source, if `None`.
        now: seconds of a monotonic clock, for the budget.
        started: when the process began, on that clock; now, if it begins here.
        journal: is told of everything while it happens.

    Raises:
        UsageError: the request cannot be carried out as given: a model, file, size or device that
            is not there.
    """
    import torch

    started = now() if started is None else started
    threads_before = torch.get_num_threads()
    contenders: list[_Contender] = []
    try:
        contenders.extend(_Contender(case) for case in request.cases)
        contenders[0].activate()  # before the first operator, which starts the pool of threads
        environment = Environment.read(request.device).to_dict()
        _prepare_all(contenders, build or build_case, progress, journal)
        timed = [each for one in contenders for each in (one, *one.parts)]
        watch = _Watch(timed, now, journal, open_ledger(request.device))
        watch.take(request.plan, started, progress)
        if request.resources:
            watch.look_for_resources()
    finally:
        for contender in reversed(contenders):
            contender.close()
        torch.set_num_threads(threads_before)
    return Measurement(
        request=request,
        environment=environment,
        subjects=tuple(contender.subject for contender in timed),
        series=tuple(contender.series for contender in timed),
        started_s=watch.began - started,
        took_s=now() - started,
        timed_s=watch.timed_s,
        # By way of JSON, so that a measurement is the same before and after it was on disk.
        ledger=None if watch.entry is None else json.loads(json.dumps(asdict(watch.entry))),
    )


def build_case(case: Case, module: nn.Module | None = None) -> Built:
    """The model of `case`, fused where it is to be, for images that it can take.

    Args:
        module: what its reference stands for, where somebody has made it already.

    Raises:
        UsageError: there is none, or it does not fit.
    """
    built = build_model(case.model) if module is None else described(module, case.model.name)
    built.check_image_size(case.execution.imgsz, case.execution.batch)
    return built.fused() if case.execution.fused else built


def images_for(case: Case, built: Built) -> Tensor:
    """What goes into the model: its own example, or images of the size asked for."""
    if built.images is not None:
        return built.images
    return _images(case.execution.batch, *case.execution.imgsz, case.model.seed)


@lru_cache(maxsize=4)
def _images(batch: int, height: int, width: int, seed: int) -> Tensor:
    from detrbench.runtimes.images import natural_images

    return natural_images(batch, height, width, seed=seed)


def part_name(case: str, part: str) -> str:
    """What a measurement calls a stage of a case."""
    return f"{case}: {part}"


class _Contender:
    """One case, or a stage of one, on its way from a request to a series."""

    def __init__(self, case: Case, runtime: Runtime | None = None) -> None:
        threads = check_threads(case.execution.threads)
        self.case = case.replace(threads=threads)
        self.subject = Subject(case.name, case.model.name)
        self.series = Series(status="interrupted", reason="interrupted before it was built")
        self.step: Step | None = None
        self.parts: list[_Contender] = []
        self.is_part = runtime is not None
        self._runtime = runtime or open_runtime(self.case.execution)

    def activate(self) -> None:
        """Have the process's switches as this case wants them."""
        self._runtime.activate()

    def close(self) -> None:
        if not self.is_part:
            self._runtime.close()

    def prepare(self, build: Build) -> None:
        began = time.perf_counter()
        self.activate()
        try:
            built = build(self.case)
            images = images_for(self.case, built)
            self.subject = _subject(self.case, built)
            if self.case.execution.stages:
                self._take_stages(built)
            else:
                step = self._runtime.prepare(built.module, images)
                self.step = _loaded(step, self.case)
            self.subject = dataclasses.replace(
                self.subject, settings=dict(self._runtime.settings(images))
            )
        except UsageError:
            raise
        except Exception as error:
            self.series = Series(status="failed", reason=f"{type(error).__name__}: {error}")
        else:
            self.series = Series(
                build_s=time.perf_counter() - began, prepared=dict(self._runtime.prepared)
            )

    def _take_stages(self, built: Built) -> None:
        from detrbench.models.detector import Detector
        from detrbench.runtimes.stages import PARTS, WHOLE, stage_steps

        execution = self.case.execution
        if not isinstance(built.module, Detector):
            raise UsageError(
                f"a {type(built.module).__name__} has no stages",
                where=self.case.name,
                hint="Leave --stages out, or write NAME@stages=false for this one.",
            )
        steps = stage_steps(
            built.module, self._runtime, execution.imgsz, execution.batch, seed=self.case.model.seed
        )
        self.step = steps[WHOLE]
        for part in PARTS:
            named = dataclasses.replace(self.case, name=part_name(self.case.name, part))
            contender = _Contender(named, self._runtime)
            contender.series, contender.step = Series(), steps[part]
            self.parts.append(contender)

    def look_for_resources(self) -> None:
        """Memory and energy of a whole model that ran to the end; no sample pays for it."""
        if self.series.status == "ok" and self.step is not None and not self.is_part:
            self.activate()
            self.series = dataclasses.replace(
                self.series, **_resources(self.step, self.series, self.case)
            )


def _subject(case: Case, built: Built) -> Subject:
    """Figures that were published of a model are not of the same one under another name."""
    if not case.model.name.startswith(case.model.reference):
        return Subject(case.name, case.model.name, built.nc)
    return Subject(case.name, built.title, built.nc, built.published, built.notes)


def _prepare_all(
    contenders: Sequence[_Contender],
    build: Build,
    progress: OnProgress | None,
    journal: Journal | None,
) -> None:
    """Build every model, or as many as Ctrl-C leaves time for; then none is timed."""
    try:
        for done, contender in enumerate(contenders):
            if progress:
                progress(Progress("building", done, len(contenders), None))
            if journal:
                journal.at(contender.subject.case)
            contender.prepare(build)
    except KeyboardInterrupt:
        for contender in contenders:
            contender.step, contender.parts = None, []
            if contender.series.status == "ok":
                contender.series = dataclasses.replace(
                    contender.series, status="interrupted", reason="interrupted before it was timed"
                )


class _Watch(Observer):
    """Lets a session run, keeps the ledger and tells the journal of it."""

    def __init__(
        self,
        contenders: Sequence[_Contender],
        now: Callable[[], float],
        journal: Journal | None,
        ledger: Ledger,
    ) -> None:
        self._ready = [(one, one.step) for one in contenders if one.step is not None]
        self._now, self._journal, self._ledger = now, journal, ledger
        self.began = now()
        self.timed_s = 0.0
        self.entry: Entry | None = None

    def take(self, plan: Plan, started: float, progress: OnProgress | None) -> None:
        """Time whoever is ready."""
        if not self._ready:
            return
        steps = [step for _, step in self._ready]
        taken = measure_steps(
            steps, plan, now=self._now, started=started, progress=progress, observer=self
        )
        for (contender, _), series in zip(self._ready, taken, strict=True):
            made = contender.series
            contender.series = dataclasses.replace(
                series, build_s=made.build_s, prepared=made.prepared
            )

    def look_for_resources(self) -> None:
        for contender, _ in self._ready:
            contender.look_for_resources()

    def first_call(self, index: int) -> None:
        if self._journal:
            self._journal.at(self._ready[index][0].subject.case)

    def before(self, index: int) -> None:
        self._ready[index][0].activate()

    def begin(self) -> None:
        self.began = self._now()
        if self._journal:
            self._journal.at(None)
            self._journal.channels(
                {one.subject.case: step.clock.channels for one, step in self._ready}
            )
        self._ledger.start()

    def round(self, readings: Sequence[Sequence[float] | None]) -> None:
        if self._journal:
            self._journal.round(readings)
        self._ledger.look()

    def end(self) -> None:
        self.timed_s = self._now() - self.began
        self.entry = self._ledger.stop()


def _resources(step: Step, series: Series, case: Case) -> dict[str, Any]:
    """`Series.resources` and `Series.unmeasured`; metric keys."""
    execution = case.execution
    peak = peak_memory(step, execution.device, series.prepared.get("resident_bytes", 0))
    energy = energy_per_image(step, execution.batch, execution.device)
    values = {f"peak_{name}": getattr(peak, name) for name in _PEAKS}
    missing = {f"peak_{name}": why for name, why in peak.missing.items()}
    values["energy_per_image_j"] = energy.joules_per_image
    if energy.reason is not None:
        missing["energy_per_image_j"] = energy.reason
    return {"resources": values, "unmeasured": missing}


_PEAKS = ("allocated_bytes", "reserved_bytes", "rss_growth_bytes")


def _loaded(step: Step, case: Case) -> Step:
    execution = case.execution
    if not execution.extra_work:
        return step
    from detrbench.timing.synthetic_load import Loaded

    return Loaded(step, execution.extra_work, execution.batch, execution.imgsz, execution.device)
