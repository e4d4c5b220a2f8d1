"""Latency of models against each other: models and settings in, a Report out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detrbench import __version__
from detrbench.errors import UsageError
from detrbench.report import Cell, Report
from detrbench.stats import QUANTILE_DEFINITION, median, paired_ratio, quantile
from detrbench.timing.process import (
    Build,
    Measurement,
    Request,
    Subject,
    build_model,
    measure_process,
)
from detrbench.timing.schedule import Plan
from detrbench.timing.session import OnProgress, Series

if TYPE_CHECKING:
    from torch import nn

METRIC_KEYS = (
    "latency_median_s",
    "latency_q1_s",
    "latency_q3_s",
    "latency_first_s",
    "latency_samples",
)

# trtexec warns at the same share: the device waits for the host, a faster one changes nothing.
_ENQUEUE_BOUND = 0.8


def measure_latency(
    models: Sequence[str | Path | nn.Module],
    *,
    device: str = "cpu",
    batch: int = 1,
    imgsz: int | tuple[int, int] = 640,
    nc: int | None = None,
    fuse: bool = False,
    threads: int | None = None,
    blocks: str | Path | None = None,
    backbone_weights: str | Path | None = None,
    runtime: str = "eager",
    budget_s: float | None = 30.0,
    rounds: int | None = None,
    seed: int = 0,
    progress: OnProgress | None = None,
) -> Report:
    """Time `models` against each other, interleaved round by round in this process.

    Args:
        models: names or paths of detectors, or modules whose forward takes images (B, 3, H, W); a
            module is copied, not changed. The first is the baseline of the ratios.
        device: "cpu", "cuda" or "cuda:N".
        imgsz: pixels of a square, or (height, width).
        nc: classes; `None` for what each file says.
        fuse: fold batch norms and re-parameterised branches first.
        threads: of the processor; `None` for what the control group allows.
        blocks: a Python file with blocks of your own. It is executed.
        backbone_weights: a torchvision state_dict to load into the backbone.
        budget_s: seconds for everything, building and warm-up included; up to twice as many where
            they would not do for six rounds.
        rounds: stop after this many timed rounds, if the budget lasts.
        progress: called between samples with where the run is.

    Returns:
        A Report with one row per model: median, quartiles and first call in seconds, every raw
        sample beside them, and the ratio of each model to the first. After Ctrl-C, what was
        measured until then.

    Raises:
        UsageError: the request cannot be carried out as given.
    """
    given = {_name(model): model for model in models}
    if len(given) < len(models):
        raise UsageError("two of the models have the same name", cure="Name each model once.")
    request = Request(
        models=tuple(given),
        device=device,
        batch=batch,
        imgsz=(imgsz, imgsz) if isinstance(imgsz, int) else imgsz,
        nc=nc,
        fuse=fuse,
        threads=threads,
        blocks=None if blocks is None else str(blocks),
        backbone_weights=None if backbone_weights is None else str(backbone_weights),
        runtime=runtime,
        seed=seed,
        plan=Plan(budget_s=budget_s, rounds=rounds, seed=seed),
    )
    measurement = measure_process(request, build=_builder(given), progress=progress)
    return Report(
        rows=latency_cells(measurement),
        comparisons=latency_comparisons(measurement),
        environment=measurement.environment,
        title="Latency",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        detrbench_version=__version__,
    )


def latency_cells(measurement: Measurement) -> tuple[Cell, ...]:
    """One row per model of the measurement."""
    pairs = zip(measurement.subjects, measurement.series, strict=True)
    return tuple(_cell(measurement, subject, series) for subject, series in pairs)


def latency_comparisons(measurement: Measurement) -> tuple[dict[str, Any], ...]:
    """The ratio of every model to the first, over the rounds that both finished.

    One process shows how its own samples scatter, not how processes do, and that is most of the
    spread between two runs: so there is a ratio, and neither an interval nor a verdict.
    """
    baseline, *others = zip(measurement.subjects, measurement.series, strict=True)
    return tuple(
        {
            "baseline": baseline[0].model,
            "model": subject.model,
            "settings": _settings(measurement, subject),
            "ratio": ratio,
            "ci_low": None,
            "ci_high": None,
            "verdict": None,
            "reasons": [
                "one process: the spread between processes is unknown, so there is no verdict"
            ],
        }
        for subject, series in others
        if (ratio := _ratio(baseline[1], series)) is not None
    )


def _ratio(baseline: Series, other: Series) -> float | None:
    if "failed" in (baseline.status, other.status):
        return None
    return paired_ratio(baseline.latency_s, other.latency_s)


def _cell(measurement: Measurement, subject: Subject, series: Series) -> Cell:
    metrics = _metrics(series)
    absent = series.reason or "no timed round was finished"
    return Cell(
        model=subject.model,
        title=subject.title,
        settings=_settings(measurement, subject),
        metrics=metrics,
        status=series.status,
        reason=series.reason,
        missing={key: absent for key, value in metrics.items() if value is None},
        samples=_samples(measurement, series),
        published=[
            {**figure, "ours": {"latency_median_s": metrics["latency_median_s"]}}
            for figure in subject.published
            if figure["latency_ms"] is not None
        ],
        notes=(*subject.notes, *_notes(series)),
    )


def _metrics(series: Series) -> dict[str, int | float | None]:
    """Derived from the samples; nothing at all from a model whose outputs cannot be trusted."""
    latency = series.latency_s
    if series.status == "failed" or not latency:
        return dict.fromkeys(METRIC_KEYS)
    return {
        "latency_median_s": median(latency),
        "latency_q1_s": quantile(latency, 0.25),
        "latency_q3_s": quantile(latency, 0.75),
        "latency_first_s": series.first.get("latency_s"),
        "latency_samples": len(latency),
    }


def _settings(measurement: Measurement, subject: Subject) -> dict[str, Any]:
    request = measurement.request
    height, width = request.imgsz
    return {
        "imgsz": f"{height}x{width}",
        "batch": request.batch,
        "nc": subject.nc if subject.nc is not None else request.nc,
        "fused": request.fuse,
        **measurement.settings,
    }


def _samples(measurement: Measurement, series: Series) -> dict[str, Any]:
    """Every raw reading in seconds, one list per process, and what is needed to read them."""
    if series.clock is None:
        return {}
    return {
        **{channel: [readings] for channel, readings in series.samples.items()},
        **{f"warmup_{channel}": [readings] for channel, readings in series.warmup.items()},
        **{f"first_{channel}": [reading] for channel, reading in series.first.items()},
        "build_s": [series.build_s],
        "overhead_s": [series.overhead_s],
        "settled": [series.settled],
        "clock": series.clock,
        "order": measurement.request.plan.order,
        "seed": measurement.request.plan.seed,
        "quantiles": QUANTILE_DEFINITION,
    }


def _notes(series: Series) -> Iterator[str]:
    warmup_rounds = len(series.warmup.get("latency_s", ()))
    if series.latency_s and not series.settled:
        yield f"warm-up had not settled after {warmup_rounds} rounds: early samples may be slow"
    enqueue = series.samples.get("enqueue_s")
    if enqueue and median(enqueue) > _ENQUEUE_BOUND * median(series.latency_s):
        share = median(enqueue) / median(series.latency_s)
        yield f"the host is the bottleneck: launching takes {share:.0%} of the device's time"


def _name(model: str | Path | nn.Module) -> str:
    if isinstance(model, (str, Path)):
        return str(model)
    spec = getattr(model, "spec", None)
    return type(model).__name__ if spec is None else str(spec.name)


def _builder(given: Mapping[str, str | Path | nn.Module]) -> Build:
    """Builds what was given by name, and copies what was given as a module."""

    def build(name: str, request: Request) -> nn.Module:
        model = given[name]
        return (
            build_model(name, request) if isinstance(model, (str, Path)) else copy.deepcopy(model)
        )

    return build
