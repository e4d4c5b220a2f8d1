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
from importlib import import_module
from typing import TYPE_CHECKING, Any

from detrbench.core.errors import UsageError
from detrbench.machine.devices import parse_device
from detrbench.machine.environment import Environment
from detrbench.machine.threads import check_threads
from detrbench.machine.usage import energy_per_image, peak_memory
from detrbench.machine.validity import Entry, Ledger, open_ledger
from detrbench.runtimes import Runtime, check_runtime, open_runtime
from detrbench.runtimes.clocks import Step
from detrbench.runtimes.options import Options, check_options
from detrbench.timing.journal import Journal
from detrbench.timing.schedule import Plan
from detrbench.timing.session import Observer, OnProgress, Progress, Series, measure_steps

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class StandIn:
    """A model under another name, so that it can be timed against itself or its own past.

    Attributes:
        name: as in the request's models.
        model: what is really built.
        extra_work: convolutions added to every call, a known burden; see `timing.burden`.
        own_files: build it with the two files below instead of the request's.
        blocks: as in the request.
        backbone_weights: as in the request.
    """

    name: str
    model: str
    extra_work: int = 0
    own_files: bool = False
    blocks: str | None = None
    backbone_weights: str | None = None

    def files_of(self, request: Request) -> Request:
        """`request` with the files that this one is built with."""
        if not self.own_files:
            return request
        return dataclasses.replace(
            request, blocks=self.blocks, backbone_weights=self.backbone_weights
        )


@dataclass(frozen=True)
class Request:
    """Everything that decides what one process measures.

    Attributes:
        models: names or paths; the first is the baseline.
        imgsz: height and width in pixels.
        nc: classes; `None` for what each model's file says.
        threads: `None` for what this process is allowed.
        blocks: the user's file of blocks, a path.
        backbone_weights: a torchvision state_dict for the backbone, a path.
        options: number format, memory layout and switches, for the runtime.
        seed: of weights and images.
        stages: time each model's stages beside the whole, from the camera's bytes to boxes.
        weigh: look for peak memory and energy after the samples.
        stand_ins: names among `models` that are another model in truth.

    Raises:
        UsageError: an argument that is wrong in itself, before anything heavy is imported.
    """

    models: tuple[str, ...]
    device: str = "cpu"
    batch: int = 1
    imgsz: tuple[int, int] = (640, 640)
    nc: int | None = None
    fuse: bool = False
    threads: int | None = None
    blocks: str | None = None
    backbone_weights: str | None = None
    runtime: str = "eager"
    options: Options = field(default_factory=Options)
    seed: int = 0
    stages: bool = False
    weigh: bool = True
    stand_ins: tuple[StandIn, ...] = ()
    plan: Plan = field(default_factory=Plan)

    def __post_init__(self) -> None:
        parse_device(self.device)
        check_runtime(self.runtime, self.device)
        check_options(self.options, self.device)
        if self.stages and self.runtime != "eager":
            raise UsageError(
                f"a model has no stages under the runtime {self.runtime}",
                hint="Leave --stages out, or give --runtime eager.",
            )
        check_threads(self.threads)
        if not self.models:
            raise UsageError("there is no model to measure", hint="Name one or more.")
        twice = sorted({name for name in self.models if self.models.count(name) > 1})
        if twice:
            raise UsageError(f"{twice[0]} is named twice", hint="Name each model once.")
        for what, number in (
            ("a batch", self.batch),
            ("an image height", self.imgsz[0]),
            ("an image width", self.imgsz[1]),
        ):
            if number < 1:
                raise UsageError(f"{what} of {number} holds no image", hint="Give 1 or more.")

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
                "models": tuple(plain["models"]),
                "imgsz": tuple(plain["imgsz"]),
                "stand_ins": tuple(StandIn(**each) for each in plain["stand_ins"]),
                "options": Options(**plain["options"]),
                "plan": Plan(**plain["plan"]),
            }
        )

    def stand_in(self, name: str) -> StandIn:
        """What is built under `name`: the model called so, or what was said to stand in for it."""
        return next((each for each in self.stand_ins if each.name == name), StandIn(name, name))


@dataclass(frozen=True)
class Subject:
    """A model as it was really built.

    Attributes:
        model: as in the request.
        title: its name for readers.
        nc: its classes, where it knows them.
        published: figures that others printed of it, as in a report's rows, without ours.
        notes: what its file leaves open and was decided for it.
    """

    model: str
    title: str
    nc: int | None = None
    published: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What one process measured: `series[i]` is of `subjects[i]`, in the order of the request.

    Attributes:
        settings: read back from the runtime, not assumed: device, dtype, threads and so on.
        environment: of this process, as it started.
        started_s: from its start to its first timed round.
        took_s: from its start to its end.
        timed_s: from the first timed round to the last.
        ledger: a `detrbench.machine.validity.Entry` of that time; `None` where nothing was timed.
    """

    request: Request
    settings: dict[str, Any]
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


Build = Callable[[str, Request], "nn.Module"]


def measure_process(
    request: Request,
    *,
    build: Build | None = None,
    now: Callable[[], float] = time.monotonic,
    started: float | None = None,
    progress: OnProgress | None = None,
    journal: Journal | None = None,
) -> Measurement:
    """Build the models of `request` and time them against each other in this process.

    A model that cannot be built or run is a "failed" series; Ctrl-C makes "interrupted" ones.

    Args:
        build: makes a model from its name; detrbench's own `build`, if `None`.
        now: seconds of a monotonic clock, for the budget.
        started: when the process began, on that clock; now, if it begins here.
        journal: is told of everything while it happens.

    Raises:
        UsageError: the request cannot be carried out as given: a model, file, size or device that
            is not there.
    """
    import torch

    from detrbench.runtimes.images import natural_images

    started = now() if started is None else started
    threads_before = torch.get_num_threads()
    # Before the first operator, which starts the pool.
    torch.set_num_threads(check_threads(request.threads))
    try:
        runtime = open_runtime(request.runtime, request.device, request.options)
        environment = Environment.read(request.device).to_dict()
        images = natural_images(request.batch, *request.imgsz, seed=request.seed)
        contenders = [_Contender(request.stand_in(name)) for name in request.models]
        _prepare_all(contenders, request, runtime, images, build or build_model, progress, journal)
        contenders = [each for one in contenders for each in (one, *one.parts)]
        watch = _Watch(contenders, now, journal, open_ledger(request.device))
        watch.take(request.plan, started, progress)
        if request.weigh:
            watch.weigh(request)
        settings = dict(runtime.settings(images))
        runtime.close()
    finally:
        torch.set_num_threads(threads_before)
    return Measurement(
        request=request,
        settings=settings,
        environment=environment,
        subjects=tuple(contender.subject for contender in contenders),
        series=tuple(contender.series for contender in contenders),
        started_s=watch.began - started,
        took_s=now() - started,
        timed_s=watch.timed_s,
        # By way of JSON, so that a measurement is the same before and after it was on disk.
        ledger=None if watch.entry is None else json.loads(json.dumps(asdict(watch.entry))),
    )


# What stands before the colon of a name that is no detector's -> "module:function", which builds
# it from what stands behind the colon and the request.
SCHEMES: dict[str, str] = {"guideline": "detrbench.experiments.guidelines.networks:build"}


def build_model(name: str, request: Request) -> nn.Module:
    """The detector called `name`, or what one of `SCHEMES` builds, as the request wants it.

    Raises:
        UsageError: there is none, or it does not fit the request.
    """
    scheme, _, rest = name.partition(":")
    if scheme in SCHEMES:
        module, function = SCHEMES[scheme].split(":")
        built: nn.Module = getattr(import_module(module), function)(rest, request)
        return built

    from detrbench.models.nn import build

    detector = build(
        name,
        request.nc,
        request.blocks,
        backbone_weights=request.backbone_weights,
        seed=request.seed,
    )
    detector.check_image_size(*request.imgsz)
    return detector


def part_name(model: str, part: str) -> str:
    """What a measurement calls a stage of `model`."""
    return f"{model}: {part}"


class _Contender:
    """One model, or a stage of one, on its way from a name to a series."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self.subject = Subject(stand_in.name, stand_in.name)
        self.series = Series(status="interrupted", reason="interrupted before it was built")
        self.step: Step | None = None
        self.parts: list[_Contender] = []

    def prepare(self, request: Request, runtime: Runtime, images: Tensor, build: Build) -> None:
        began = time.perf_counter()
        try:
            model = build(self._stand_in.model, self._stand_in.files_of(request))
            self.subject = _describe(self._stand_in, model)
            model = _fused(model) if request.fuse else model
            if request.stages:
                self._take_stages(model, runtime, request)
            else:
                step = runtime.prepare(model, images)
                self.step = _burdened(step, self._stand_in.extra_work, request)
        except UsageError:
            raise
        except Exception as error:
            self.series = Series(status="failed", reason=f"{type(error).__name__}: {error}")
        else:
            self.series = Series(
                build_s=time.perf_counter() - began, prepared=dict(runtime.prepared)
            )

    def _take_stages(self, model: nn.Module, runtime: Runtime, request: Request) -> None:
        from detrbench.models.detector import Detector
        from detrbench.runtimes.stages import PARTS, WHOLE, stage_steps

        if not isinstance(model, Detector):
            raise UsageError(
                f"a {type(model).__name__} has no stages", hint="Give a detrbench detector."
            )
        steps = stage_steps(model, runtime, request.imgsz, request.batch, seed=request.seed)
        self.step = steps[WHOLE]
        for part in PARTS:
            name = part_name(self.subject.model, part)
            contender = _Contender(StandIn(name, name))
            contender.series, contender.step = Series(), steps[part]
            self.parts.append(contender)


def _prepare_all(
    contenders: Sequence[_Contender],
    request: Request,
    runtime: Runtime,
    images: Tensor,
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
                journal.at(contender.subject.model)
            contender.prepare(request, runtime, images, build)
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

    def weigh(self, request: Request) -> None:
        """Memory and energy of every whole model that ran to the end; no sample pays for it."""
        for contender, step in self._ready:
            if contender.series.status == "ok" and contender.subject.model in request.models:
                contender.series = dataclasses.replace(
                    contender.series, **_weight(step, contender.series, request)
                )

    def first_call(self, index: int) -> None:
        if self._journal:
            self._journal.at(self._ready[index][0].subject.model)

    def begin(self) -> None:
        self.began = self._now()
        if self._journal:
            self._journal.at(None)
            self._journal.channels(
                {one.subject.model: step.clock.channels for one, step in self._ready}
            )
        self._ledger.start()

    def round(self, readings: Sequence[Sequence[float] | None]) -> None:
        if self._journal:
            self._journal.round(readings)
        self._ledger.look()

    def end(self) -> None:
        self.timed_s = self._now() - self.began
        self.entry = self._ledger.stop()


def _weight(step: Step, series: Series, request: Request) -> dict[str, Any]:
    """`Series.weight` and `Series.unmeasured`; metric keys."""
    peak = peak_memory(step, request.device, series.prepared.get("resident_bytes", 0))
    energy = energy_per_image(step, request.batch, request.device)
    values = {f"peak_{name}": getattr(peak, name) for name in _PEAKS}
    missing = {f"peak_{name}": why for name, why in peak.missing.items()}
    values["energy_per_image_j"] = energy.joules_per_image
    if energy.reason is not None:
        missing["energy_per_image_j"] = energy.reason
    return {"weight": values, "unmeasured": missing}


_PEAKS = ("allocated_bytes", "reserved_bytes", "rss_growth_bytes")


def _burdened(step: Step, extra_work: int, request: Request) -> Step:
    if not extra_work:
        return step
    from detrbench.timing.synthetic_load import Burdened

    return Burdened(step, extra_work, request.batch, request.imgsz, request.device)


def _describe(stand_in: StandIn, model: nn.Module) -> Subject:
    name, spec = stand_in.name, getattr(model, "spec", None)
    if spec is None:
        return Subject(name, name)
    if name != stand_in.model:
        return Subject(name, name, spec.nc)
    published = tuple(
        {**dataclasses.asdict(figure), "settings": dict(figure.settings)}
        for figure in spec.published
    )
    return Subject(name, spec.title, spec.nc, published, tuple(spec.notes))


def _fused(model: nn.Module) -> nn.Module:
    fuse = getattr(model, "fuse", None)
    if fuse is None:
        raise UsageError(
            f"a {type(model).__name__} cannot be fused",
            hint="Leave fuse out, or give a detrbench detector.",
        )
    fused: nn.Module = fuse()
    return fused
