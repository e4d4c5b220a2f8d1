"""Models in, a Report of counts out: parameters, FLOPs under every convention, memory access."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from detrbench.core.errors import DetrbenchError, UsageError
from detrbench.core.units import parse_imgsz, show_imgsz, show_share
from detrbench.core.version import __version__
from detrbench.counting.conventions import CONVENTIONS, find_convention
from detrbench.counting.tracing import COUNTED, Grouping, Op, Totals, Trace, qualified, trace
from detrbench.machine.environment import Environment
from detrbench.models.nn import Detector, build
from detrbench.models.shapes import ShapesOnly
from detrbench.models.spec import Published
from detrbench.reports.metrics import CONVENTION_METRICS
from detrbench.reports.report import Report, Result

MODULE_DEPTH = 2
"""Names of a module path that `by="module"` shows: "model.7", a row of the model's file."""


@dataclass(frozen=True)
class Subject:
    """One model at the settings that decide what it costs.

    Attributes:
        model: a name, or the path of a model's file.
        imgsz: (H, W) in pixels.
        nc: number of classes; the file's own where None.
        fuse: whether batch norms are folded and RepConv branches merged first.
        blocks: a Python file with the user's own blocks.
    """

    model: str | Path
    imgsz: tuple[int, int] = (640, 640)
    batch: int = 1
    nc: int | None = None
    fuse: bool = False
    blocks: str | Path | None = None

    def build(self, backbone_weights: str | Path | None = None) -> Detector:
        """The detector, as shapes only unless weights are to be loaded."""
        device = "meta" if backbone_weights is None else "cpu"
        detector = build(
            self.model, self.nc, self.blocks, device=device, backbone_weights=backbone_weights
        )
        detector.check_image_size(*self.imgsz)
        with ShapesOnly():
            return detector.fuse() if self.fuse else detector

    def trace(self, detector: Detector | None = None) -> Trace:
        """What one evaluation call costs."""
        return trace(detector or self.build(), self.imgsz, self.batch)


def profile(
    models: Sequence[str | Path],
    *,
    imgsz: int | tuple[int, int] = 640,
    batch: int = 1,
    nc: int | None = None,
    fuse: bool = False,
    by: Grouping | None = None,
    convention: str = "core",
    blocks: str | Path | None = None,
    backbone_weights: str | Path | None = None,
) -> Report:
    """Count what one evaluation call of each model costs; nothing is computed.

    Args:
        models: names, or paths of model files.
        imgsz: H = W, or (H, W), in pixels.
        nc: number of classes; each file's own by default.
        fuse: fold batch norms and merge RepConv branches first.
        by: also break each model down by "stage", "module" or "op".
        convention: whose FLOPs the tables show; a report holds those of all.
        blocks: a Python file with blocks of your own. It is run.
        backbone_weights: loaded to see that they fit; no count depends on them.

    Returns:
        One row per model. A model that cannot be traced is a row with the reason.

    Raises:
        UsageError: a name, file, size or number that cannot be used.
    """
    size = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    find_convention(convention)
    subjects = [Subject(model, size, batch, nc, fuse, blocks) for model in models]
    return Report(
        rows=tuple(_cell(subject, by, convention, backbone_weights) for subject in subjects),
        environment=Environment.read().to_dict(),
        title="Cost of one forward pass",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        detrbench_version=__version__,
    )


def metrics_of(totals: Totals, ops: Iterable[Op]) -> dict[str, int | float | None]:
    """A trace's or a part's counts, by the keys of `detrbench.reports.metrics`."""
    counted = {name: getattr(totals, name) for name in COUNTED}
    chosen = tuple(ops)
    emulated = {
        CONVENTION_METRICS[name]: rule.flops(chosen)
        for name, rule in CONVENTIONS.items()
        if name != "core"
    }
    return counted | emulated


def _cell(
    subject: Subject,
    by: Grouping | None,
    convention: str,
    backbone_weights: str | Path | None,
) -> Result:
    detector = subject.build(backbone_weights)
    spec = detector.spec
    blank = Result(
        model=str(subject.model),
        title=spec.title,
        settings={
            "imgsz": show_imgsz(subject.imgsz),
            "batch": subject.batch,
            "nc": spec.nc,
            "fused": subject.fuse,
            "convention": convention,
        },
        metrics={},
        notes=spec.notes,
    )
    try:
        traced = subject.trace(detector)
        published = [_published(figure, subject, spec.nc, traced) for figure in spec.published]
    except UsageError:
        raise
    except DetrbenchError as error:
        return replace(blank, status="failed", reason=str(error))
    return replace(
        blank,
        metrics=metrics_of(traced, traced.ops),
        parts={by: _parts(traced, by)} if by else {},
        published=published,
        notes=(*spec.notes, *_uncounted(traced)),
    )


def _parts(traced: Trace, by: Grouping) -> list[dict[str, Any]]:
    return [
        {"part": _called(part.name, traced) if by == "module" else part.name}
        | metrics_of(part.totals, part.ops)
        for part in traced.parts(by, MODULE_DEPTH)
    ]


def _called(path: str, traced: Trace) -> str:
    """A module's path and class, such as "model.15 RepC3": a path alone says little."""
    found = traced.modules.get(path)
    return f"{path} {found.__name__}" if found else path


def _uncounted(traced: Trace) -> tuple[str, ...]:
    """Operators whose FLOPs are unknown are said, with how much of the model they are."""
    kernels, traffic = traced.kernels, traced.traffic_eager_bytes
    return tuple(
        f"no formula for {qualified(one.name)}: {one.calls} of {kernels} kernels, "
        f"{show_share(one.nbytes, traffic)} of the traffic; its FLOPs are not in the figures"
        for one in traced.uncounted
    )


def _published(figure: Published, subject: Subject, nc: int, traced: Trace) -> dict[str, Any]:
    """A printed figure, beside ours at the settings that it was printed for."""
    settings = dict(figure.settings)
    likewise = replace(
        subject,
        imgsz=parse_imgsz(str(settings.get("imgsz", 640))),
        batch=settings.get("batch", 1),
        nc=settings.get("nc", nc),
        fuse=settings.get("fused", False),
    )
    same = replace(subject, nc=nc) == likewise
    ours = traced if same else likewise.trace()
    return {
        "label": figure.label,
        "source": figure.source,
        "params": figure.params,
        "gflops": figure.gflops,
        "latency_ms": figure.latency_ms,
        "settings": settings,
        "ours": metrics_of(ours, ours.ops),
    }
