"""One process of a measurement: a Request goes in, a Measurement comes out, both plain JSON.

Nothing else passes the border, so that the same function serves a call in this process and,
replicated, a fresh worker process.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from detrbench.environment import Environment
from detrbench.errors import UsageError
from detrbench.runtimes import Runtime, check_runtime, open_runtime
from detrbench.runtimes.devices import parse_device
from detrbench.runtimes.threads import check_threads
from detrbench.timing.clocks import Step
from detrbench.timing.schedule import Plan
from detrbench.timing.session import OnProgress, Progress, Series, measure_steps

if TYPE_CHECKING:
    from torch import Tensor, nn


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
        seed: of weights and images.

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
    seed: int = 0
    plan: Plan = field(default_factory=Plan)

    def __post_init__(self) -> None:
        parse_device(self.device)
        check_runtime(self.runtime)
        check_threads(self.threads)
        if not self.models:
            raise UsageError("there is no model to measure", cure="Name one or more.")
        twice = sorted({name for name in self.models if self.models.count(name) > 1})
        if twice:
            raise UsageError(f"{twice[0]} is named twice", cure="Name each model once.")
        for what, number in (
            ("a batch", self.batch),
            ("an image height", self.imgsz[0]),
            ("an image width", self.imgsz[1]),
        ):
            if number < 1:
                raise UsageError(f"{what} of {number} holds no image", cure="Give 1 or more.")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        plain = json.loads(text)
        plain.update(
            models=tuple(plain["models"]), imgsz=tuple(plain["imgsz"]), plan=Plan(**plain["plan"])
        )
        return cls(**plain)


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
    """

    request: Request
    settings: dict[str, Any]
    environment: dict[str, Any]
    subjects: tuple[Subject, ...]
    series: tuple[Series, ...]

    def to_json(self) -> str:
        """As text, every sample in full precision."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        plain = json.loads(text)
        return cls(
            request=Request.from_json(json.dumps(plain["request"])),
            settings=plain["settings"],
            environment=plain["environment"],
            subjects=tuple(
                Subject(
                    **{**each, "published": tuple(each["published"]), "notes": tuple(each["notes"])}
                )
                for each in plain["subjects"]
            ),
            series=tuple(Series(**series) for series in plain["series"]),
        )


Build = Callable[[str, Request], "nn.Module"]


def measure_process(
    request: Request,
    *,
    build: Build | None = None,
    now: Callable[[], float] = time.monotonic,
    progress: OnProgress | None = None,
) -> Measurement:
    """Build the models of `request` and time them against each other in this process.

    A model that cannot be built or run is a "failed" series; Ctrl-C makes "interrupted" ones.

    Args:
        build: makes a model from its name; detrbench's own `build`, if `None`.
        now: seconds of a monotonic clock, for the budget.

    Raises:
        UsageError: the request cannot be carried out as given: a model, file, size or device that
            is not there.
    """
    import torch

    from detrbench.runtimes.images import natural_images

    started = now()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(
        check_threads(request.threads)
    )  # before the first operator, which starts the pool
    try:
        runtime = open_runtime(request.runtime, request.device)
        environment = Environment.read(request.device).to_dict()
        images = natural_images(request.batch, *request.imgsz, seed=request.seed)
        contenders = [_Contender(name) for name in request.models]
        _prepare_all(contenders, request, runtime, images, build or build_model, progress)
        ready = [(contender, contender.step) for contender in contenders if contender.step]
        taken = (
            measure_steps(
                [step for _, step in ready],
                request.plan,
                now=now,
                started=started,
                progress=progress,
            )
            if ready
            else ()
        )
        for (contender, _), series in zip(ready, taken, strict=True):
            contender.series = dataclasses.replace(series, build_s=contender.series.build_s)
        settings = dict(runtime.settings(images))
    finally:
        torch.set_num_threads(threads_before)
    return Measurement(
        request=request,
        settings=settings,
        environment=environment,
        subjects=tuple(contender.subject for contender in contenders),
        series=tuple(contender.series for contender in contenders),
    )


def build_model(name: str, request: Request) -> nn.Module:
    """The detector called `name`, as the request wants it.

    Raises:
        UsageError: there is none, or it does not fit the request.
    """
    from detrbench.nn import build

    detector = build(
        name,
        request.nc,
        request.blocks,
        backbone_weights=request.backbone_weights,
        seed=request.seed,
    )
    detector.check_image_size(*request.imgsz)
    return detector


class _Contender:
    """One model on its way from a name to a series."""

    def __init__(self, name: str) -> None:
        self.subject = Subject(name, name)
        self.series = Series(status="interrupted", reason="interrupted before it was built")
        self.step: Step | None = None

    def prepare(self, request: Request, runtime: Runtime, images: Tensor, build: Build) -> None:
        began = time.perf_counter()
        try:
            model = build(self.subject.model, request)
            self.subject = _describe(self.subject.model, model)
            self.step = runtime.prepare(_fused(model) if request.fuse else model, images)
        except UsageError:
            raise
        except Exception as error:
            self.series = Series(status="failed", reason=f"{type(error).__name__}: {error}")
        else:
            self.series = Series(build_s=time.perf_counter() - began)


def _prepare_all(
    contenders: Sequence[_Contender],
    request: Request,
    runtime: Runtime,
    images: Tensor,
    build: Build,
    progress: OnProgress | None,
) -> None:
    """Build every model, or as many as Ctrl-C leaves time for; then none is timed."""
    try:
        for done, contender in enumerate(contenders):
            if progress:
                progress(Progress("building", done, len(contenders), None))
            contender.prepare(request, runtime, images, build)
    except KeyboardInterrupt:
        for contender in contenders:
            contender.step = None
            if contender.series.status == "ok":
                contender.series = dataclasses.replace(
                    contender.series, status="interrupted", reason="interrupted before it was timed"
                )


def _describe(name: str, model: nn.Module) -> Subject:
    spec = getattr(model, "spec", None)
    if spec is None:
        return Subject(name, name)
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
            cure="Leave fuse out, or give a detrbench detector.",
        )
    fused: nn.Module = fuse()
    return fused
