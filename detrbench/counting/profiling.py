"""Cases in, a Report of counts out: parameters, FLOPs under every convention, memory access."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from detrbench.core.errors import DetrbenchError, UsageError, in_one_line, told
from detrbench.core.units import parse_imgsz, show_share
from detrbench.core.version import __version__
from detrbench.counting.conventions import CONVENTIONS, find_convention
from detrbench.counting.graphs import count_graph
from detrbench.counting.tracing import (
    COUNTED,
    Grouping,
    Op,
    Totals,
    Trace,
    trace,
    trace_decoders,
)
from detrbench.machine.environment import Environment
from detrbench.models.shapes import ShapesOnly
from detrbench.models.sources import build_model
from detrbench.models.sources.built import Built, described
from detrbench.models.sources.onnx import is_graph
from detrbench.reports.case import Case, Execution
from detrbench.reports.metrics import CONVENTION_METRICS
from detrbench.reports.parse_cases import Made, Subjects, cases_of
from detrbench.reports.report import Report, Result
from detrbench.reports.settings import SETTINGS, not_of

if TYPE_CHECKING:
    from torch import nn

    from detrbench.models.detector import Detector

MODULE_DEPTH = 2
"""Names of a module path that `by="module"` shows: "model.7", a row of the model's file."""


def profile(
    models: Subjects, *, by: Grouping | None = None, convention: str = "core", **settings: Any
) -> Report:
    """Count what one evaluation call of each model costs; nothing is computed.

    Args:
        models: references, such as "rtdetr-l", "./my.yaml", "./my.py:build" and
            "rtdetr-l@batch=8"; or modules whose forward takes images (B, 3, H, W), or pairs of a
            module and an example of what it takes: images, a tuple, or a dict of names. A module
            goes by its class; `{"before": a, "after": b}` or `[("before", a), ...]` names it.
        by: also break each model down by "stage", "module" or "op".
        convention: whose FLOPs the tables show; a report holds those of all.
        settings: of all models, by the keys of `detrbench.reports.settings.SETTINGS`: imgsz (H = W,
            or (H, W), in pixels), batch, nc, scale (one of the file's), fuse (fold batch norms and
            merge RepConv branches first), blocks (a Python file or folder with blocks of your own,
            which is run), weights and backbone_weights (loaded to see that they fit). A list of
            several values makes every combination.

    The report has one row per case. A model that cannot be traced is a row with the reason.
    Raises UsageError where a name, file, size or number cannot be used.
    """
    find_convention(convention)
    cases, modules = cases_of(models, settings)
    return Report(
        rows=tuple(
            counted(case, by, convention, modules.get(case.model.reference))
            for case in _counted_apart(cases)
        ),
        environment=Environment.read().to_dict(),
        title="Cost of one forward pass",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        detrbench_version=__version__,
    )


def _counted_apart(cases: Iterable[Case]) -> list[Case]:
    """`cases` without those that differ from an earlier one in nothing that a count depends on."""
    kept = {key for key, one in SETTINGS.items() if one.of == "execution"} - not_of("counts")
    found: dict[tuple[Any, ...], Case] = {}
    for case in cases:
        values = tuple(getattr(case.execution, key) for key in sorted(kept))
        found.setdefault((case.model, values), case)
    return list(found.values())


def build_to_count(case: Case, module: Made | None = None) -> Built:
    """The model of `case`, of shapes only where its source can do that, fused where asked for.

    `module` is what the reference stands for, where somebody has made it already; it is copied
    before anything in it is changed. Raises UsageError where it cannot be built so.
    """
    built = (
        build_model(case.model, "meta") if module is None else described(module, case.model.name)
    )
    built.check_image_size(case.execution.imgsz, case.execution.batch)
    if not case.execution.fused:
        return built
    if module is not None:
        built = replace(built, module=_copy_of(built))
    with ShapesOnly():
        return built.fused(case.execution.imgsz)


def _copy_of(built: Built) -> nn.Module:
    try:
        return copy.deepcopy(built.module)
    except Exception as error:  # the user's code, which may fail in any way
        raise UsageError(
            f"it is fused on a copy, and cannot be copied: {told(error)}",
            where=built.title,
            hint="Call a lazy module once, make its weights parameters, or leave --fuse out.",
        ) from error


def trace_case(case: Case, built: Built | None = None) -> Trace:
    """What one evaluation call of `case` costs."""
    built = built or build_to_count(case)
    channels = 3 if built.images is None else built.images.shape[1]
    size, batch = case.execution.imgsz, case.execution.batch
    with built.beside():
        return trace(built.module, size, batch, channels, in_place=built.stateless)


def metrics_of(totals: Totals, ops: Sequence[Op]) -> dict[str, int | float | None]:
    """A trace's or a part's counts, by the keys of `detrbench.reports.metrics`."""
    counted = {name: getattr(totals, name) for name in COUNTED}
    others = [rule for name, rule in CONVENTIONS.items() if name != "core"]
    emulated = {CONVENTION_METRICS[rule.name]: rule.flops(ops) for rule in others}
    return counted | emulated


def counted(case: Case, by: Grouping | None, convention: str, module: Made | None = None) -> Result:
    """The row of one case. Raises UsageError where it cannot be built."""
    if module is None and is_graph(case.model.reference):
        return count_graph(case, convention)
    built = build_to_count(case, module)
    blank = Result(
        model=case.model.name,
        title=built.title,
        settings={**case.settings_of_counts(built.nc), "convention": convention},
        metrics={},
        notes=built.notes,
        case=case,
    )
    asked = case.with_classes(built.nc)
    likewise = [_likewise(figure, asked) for figure in built.published]
    try:
        traces = _trace_all(built, asked, likewise)
    except UsageError:
        raise
    except DetrbenchError as error:
        return replace(blank, status="failed", reason=in_one_line(error))
    ours = {one: metrics_of(traced, traced.ops) for one, traced in traces.items()}
    traced = traces[asked]
    return replace(
        blank,
        **completeness(not_counted(traced)),
        metrics=ours[asked],
        parts={by: _parts(traced, by)} if by else {},
        published=[
            {**figure, "ours": ours[one]}
            for figure, one in zip(built.published, likewise, strict=True)
        ],
        notes=(*built.notes, *_fast_note(traced)),
    )


def _fast_note(traced: Trace) -> tuple[str, ...]:
    """Which layers a real call runs in fewer kernels than are counted."""
    if not traced.fast:
        return ()
    first, more = traced.fast[0] or "the model itself", len(traced.fast) - 1
    where = f"{first} and {more} more" if more else first
    return (
        f"without gradients torch runs {where} as one fused kernel each (its attention fast path): "
        "kernels, traffic and peak are those of the layer in parts, FLOPs are the same, and "
        "FlopCounterMode, which would book none of it, is emulated with that path switched off",
    )


def _parts(traced: Trace, by: Grouping) -> list[dict[str, Any]]:
    # A module's path and class, such as "model.15 RepC3": a path alone says little.
    classes = {p: f" {found.__name__}" for p, found in traced.modules.items() if by == "module"}
    return [
        {"part": part.name + classes.get(part.name, "")} | metrics_of(part.totals, part.ops)
        for part in traced.parts(by, MODULE_DEPTH)
    ]


def not_counted(traced: Trace) -> tuple[str, ...]:
    """What is not in the figures: operators whose FLOPs are unknown, with how much of the model
    they are, and what depends on the values of the images."""
    kernels, traffic = traced.kernels, traced.traffic_eager_bytes
    unknown = tuple(
        f"no formula for {part.name}: {part.totals.kernels} of {kernels} kernels, "
        f"{show_share(part.totals.traffic_eager_bytes, traffic)} of the traffic; "
        "its FLOPs are not in the figures"
        for part in traced.uncounted
    )
    if not traced.unfollowed:
        return (*unknown, *traced.doubts)
    return (
        *unknown,
        *traced.doubts,
        f"from {traced.unfollowed} on, what is done depends on the values of the images: it is "
        "not in the figures, and parameters that only it uses count as unused",
    )


def completeness(lacking: Sequence[str]) -> dict[str, Any]:
    """Status and reason of figures that lack what `not_counted` told, as rows and records say."""
    return {"status": "partial" if lacking else "ok", "reason": "; ".join(lacking) or None}


def _likewise(figure: dict[str, Any], case: Case) -> Case:
    """`case` at the settings that a figure was printed for."""
    settings = figure["settings"]
    return case.with_classes(settings.get("nc", case.model.nc)).replace(
        imgsz=parse_imgsz(str(settings.get("imgsz", 640))),
        batch=settings.get("batch", 1),
        fused=settings.get("fused", False),
    )


def _trace_all(built: Built, case: Case, others: Iterable[Case]) -> dict[Case, Trace]:
    """Of `case`, which `built` is of, and of others of the same model. What some of them have in
    common is built and traced once."""
    alike: dict[Execution, list[Case]] = defaultdict(list)
    for one in dict.fromkeys((case, *others)):
        alike[one.execution].append(one)
    traces: dict[Case, Trace] = {}
    for execution, cases in alike.items():
        if detectors := _of_shared_rows(built, case, cases):
            found = trace_decoders(detectors, execution.imgsz, execution.batch)
            traces |= zip(cases, found, strict=True)
            continue
        for one in cases:
            same = (one.model, execution.fused) == (case.model, case.execution.fused)
            traces[one] = trace_case(one, built if same else None)
    return traces


def _of_shared_rows(built: Built, case: Case, cases: Sequence[Case]) -> list[Detector]:
    """The detectors of `cases`, which share all rows but the last with `built`; empty where they
    cannot."""
    from detrbench.models.builder import with_classes

    detector, execution = built.detector, cases[0].execution
    if not built.stateless or detector is None or case.execution.fused or execution.fused:
        return []
    built.check_image_size(execution.imgsz, execution.batch)
    classes = [one.model.nc or detector.spec.nc for one in cases]
    others = [detector if nc == built.nc else with_classes(detector, nc) for nc in classes]
    shared = [one for one in others if one is not None]
    return shared if len(shared) == len(cases) else []
