"""Runs that nobody measured: series, measurements and outcomes from numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detrbench.models.model import Model
from detrbench.reports.case import Case, Execution
from detrbench.timing.plan import Budget
from detrbench.timing.process import Measurement, Request, Subject
from detrbench.timing.records import Outcome
from detrbench.timing.replication import Run
from detrbench.timing.rounds import Series

ENVIRONMENT = {"processor": "imaginary", "threads": 2}


SETTINGS = {"device": "cpu", "runtime": "eager", "threads": 2}
"""As if they had been read back from a runtime."""


def case(name: str, nc: int | None = None, **execution: object) -> Case:
    """A case of a model that is never built."""
    return Case(name, Model(name, name, nc), Execution(**execution))  # type: ignore[arg-type]


def asked(*names: str, **more: object) -> Request:
    """A request of such cases, all executed alike."""
    fields = {key: more.pop(key) for key in ("plan", "resources") if key in more}
    cases = tuple(case(name, **more) for name in names)  # type: ignore[arg-type]
    return Request(cases, **fields)  # type: ignore[arg-type]


def taken(*samples: float, **fields: object) -> Series:
    """What one model gave in one process."""
    defaults: dict[str, object] = {
        "clock": "fake",
        "overhead_s": 1e-7,
        "first": {"latency_s": 9.0},
        "warmup": {"latency_s": [2.0, 1.0]},
        "samples": {"latency_s": list(samples)},
        "settled": True,
        "build_s": 3.0,
    }
    return Series(**{**defaults, **fields})  # type: ignore[arg-type]


def measured(
    request: Request,
    series: Mapping[str, Series],
    *,
    published: tuple[dict[str, object], ...] = (),
    environment: dict[str, Any] | None = None,
    took_s: float = 10.0,
) -> Measurement:
    """One process in which every model of `series` was timed."""
    return Measurement(
        request=request,
        environment=ENVIRONMENT if environment is None else environment,
        subjects=tuple(
            Subject(name, name.upper(), 80, published, settings=dict(SETTINGS)) for name in series
        ),
        series=tuple(series.values()),
        started_s=took_s / 2,
        took_s=took_s,
    )


def run_of(
    *processes: Sequence[Series],
    names: Sequence[str] = "abc",
    stopped: str = "processes",
    alpha: float = 0.05,
    published: tuple[dict[str, object], ...] = (),
    environments: Sequence[dict[str, Any]] = (),
) -> Run:
    """A run of whole processes, each with one series per model."""
    models = tuple(names[: len(processes[0])])
    request = asked(*models, imgsz=(480, 640))
    outcomes = tuple(
        Outcome(
            index,
            took_s=10.0,
            measurement=measured(
                request,
                dict(zip(models, series, strict=True)),
                published=published,
                environment=environments[index - 1] if environments else None,
            ),
        )
        for index, series in enumerate(processes, 1)
    )
    return Run(request, Budget(), None, outcomes, stopped, alpha)
