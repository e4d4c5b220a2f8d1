"""The usual remedies, measured: the variant as it is against the variant with each of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from detrbench.analysis.explain.account import BATCH, BATCHING, CAPTURING, COMPILING, LAYOUT
from detrbench.analysis.explain.findings import Try
from detrbench.analysis.explain.measuring import threads_set
from detrbench.core.errors import DetrbenchError
from detrbench.core.stats import median, paired_log_ratios, quantile
from detrbench.runtimes import open_runtime
from detrbench.runtimes.clocks import Step
from detrbench.runtimes.images import natural_images
from detrbench.timing.process import Request, build_model
from detrbench.timing.schedule import Plan
from detrbench.timing.session import OnProgress, measure_steps


def _with_layout(request: Request) -> Request:
    options = dataclasses.replace(request.options, memory_format="channels_last")
    return dataclasses.replace(request, options=options)


def _with_batch(request: Request) -> Request:
    return dataclasses.replace(request, batch=BATCH * request.batch)


def _with_runtime(name: str) -> Callable[[Request], Request]:
    return lambda request: dataclasses.replace(request, runtime=name)


TRIES: dict[str, tuple[str, Callable[[Request], Request]]] = {
    "channels_last": (LAYOUT, _with_layout),
    "batch": (BATCHING, _with_batch),
    "compile": (COMPILING, _with_runtime("compile")),
    "cudagraph": (CAPTURING, _with_runtime("cudagraph")),
}
"""What --try takes -> its name in tables, and how it changes a request."""


def measure_tries(
    request: Request,
    wanted: Sequence[str],
    *,
    budget_s: float,
    progress: OnProgress | None = None,
) -> tuple[Try, ...]:
    """Time the last model of `request` with each of `wanted` against itself without, in rounds.

    What cannot be tried, for want of a compiler for instance, is a Try without a ratio.

    Raises:
        UsageError: a remedy that this device cannot have.
    """
    with threads_set(request.threads):
        return _measured(request, wanted, budget_s, progress)


def _measured(
    request: Request, wanted: Sequence[str], budget_s: float, progress: OnProgress | None
) -> tuple[Try, ...]:
    present = dataclasses.replace(request, models=request.models[-1:])
    names, steps, found = [], [_step(present)], dict[str, Try]()
    for name in wanted:
        title, change = TRIES[name]
        changed = change(present)
        try:
            steps.append(_step(changed))
            names.append((title, changed.batch / present.batch))
        except DetrbenchError as error:
            found[title] = Try(title, None, measured=True, how=error.what)
    serieses = measure_steps(steps, Plan(budget_s=budget_s), progress=progress)
    reference, *others = serieses
    for (title, images), series in zip(names, others, strict=True):
        ratios = paired_log_ratios(reference.latency_s, series.latency_s)
        if series.status == "failed" or not ratios:
            found[title] = Try(title, None, measured=True, how=series.reason or "no round finished")
            continue
        low, middle, high = (
            math.exp(each) / images
            for each in (quantile(ratios, 0.25), median(ratios), quantile(ratios, 0.75))
        )
        how = f"{len(ratios)} rounds against {request.models[-1]} as it is"
        found[title] = Try(title, middle, measured=True, how=how, low=low, high=high)
    return tuple(found[TRIES[name][0]] for name in wanted)


def _step(request: Request) -> Step:
    """The model of `request`, made ready in its runtime, which is left open with its switches."""
    runtime = open_runtime(request.runtime, request.device, request.options)
    model = build_model(request.models[0], request)
    if request.fuse:
        model = model.fuse()  # type: ignore[operator]  # a Detector, says build_model
    images = natural_images(request.batch, *request.imgsz, seed=request.seed)
    return runtime.prepare(model, images)
