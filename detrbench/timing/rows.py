"""A run as a Report: rows, comparisons and notes, all derived from the samples kept beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from detrbench.core.stats import (
    QUANTILE_DEFINITION,
    median,
    median_interval,
    quantile,
    too_few_for,
)
from detrbench.core.units import show_change, show_many, show_quantity
from detrbench.core.version import __version__
from detrbench.machine.environment import Environment
from detrbench.machine.usage import PEAKS
from detrbench.reports.case import Case
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.metrics import METRICS, TIMING
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import LEAST_PROCESSES
from detrbench.runtimes import PARTS
from detrbench.timing.process import Measurement, Subject, part_name
from detrbench.timing.replication import Run
from detrbench.timing.rounds import Series

_RESOURCES = (*PEAKS, "energy_per_image_j")
METRIC_KEYS = tuple(key for key, one in METRICS.items() if one.source == TIMING)
PERCENTILES = {"latency_p90_s": 0.90, "latency_p95_s": 0.95, "latency_p99_s": 0.99}

# trtexec warns at the same share: the device waits for the host, a faster one changes nothing.
_ENQUEUE_BOUND = 0.8


def latency_report(run: Run) -> Report:
    """Rows, comparisons and environment of `run`, all derived from the samples it keeps."""
    measured = _measurements(run)
    return Report(
        rows=latency_results(run),
        comparisons=latency_comparisons(run),
        environment=measured[0].environment if measured else {},
        title="Latency",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        detrbench_version=__version__,
    )


def latency_results(run: Run) -> tuple[Result, ...]:
    """One row per case of the run, those of one workload beside each other."""
    workloads = list(dict.fromkeys(case.execution.workload for case in run.request.cases))
    ordered = sorted(run.request.cases, key=lambda case: workloads.index(case.execution.workload))
    return tuple(_result(run, case) for case in ordered)


def latency_comparisons(run: Run) -> tuple[Comparison, ...]:
    """The ratio with its interval and the verdict of all that is compared; see `Request.pairs`."""
    return tuple(_comparison(run, *pair) for pair in run.request.pairs)


def _comparison(run: Run, baseline: str, name: str) -> Comparison:
    ratios = run.log_ratios(name, baseline)
    broken = [
        f"{one} has no latency: {reason}"
        for one in (baseline, name)
        if (reason := _failure(run, one)) is not None
    ]
    judged = run.judge(name, to=baseline, spoilt=[*broken, *_changed(run)])
    interval = None if broken else judged.interval
    return Comparison(
        baseline=_side(run, baseline),
        case=_side(run, name),
        ratio=None if broken else judged.ratio,
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        verdict=judged.verdict.value,
        reasons=judged.reasons,
        margin=run.budget.margin,
        confidence=1 - judged.alpha,
        process_log_ratios=() if broken else tuple(ratios),
    )


def _side(run: Run, name: str) -> Side:
    case = run.request.case(name)
    return Side(case.model.name, _settings(run, case), case)


def _changed(run: Run) -> Iterator[str]:
    """Facts of the machine that are not the same in all processes: no verdict is about both."""
    environments = [Environment.from_dict(one.environment) for one in _measurements(run)]
    differences = {
        name for other in environments[1:] for name in environments[0].differences(other)
    }
    differing = sorted(differences - _facts_of_cases(run))
    if differing:
        yield f"the processes ran in different environments: {', '.join(differing)}"


def _facts_of_cases(run: Run) -> set[str]:
    """Facts of an environment in which the cases differ: a process tells the one of the case that
    it happened to begin with."""
    decided_by = {"threads": ("threads",), "flags": ("tf32", "cudnn_benchmark")}
    executions = [case.execution for case in run.request.cases]
    return {
        fact
        for fact, keys in decided_by.items()
        if any(len({getattr(one, key) for one in executions}) > 1 for key in keys)
    }


def _failure(run: Run, model: str) -> str | None:
    """Why `model` must not have a number: it failed in some process, or no process came to it."""
    serieses = _serieses(run, model)
    for series in serieses:
        if series.status == "failed":
            return series.reason or "it failed"
    if model in run.dropped:
        return run.dropped[model]
    dead = [one for one in run.outcomes if one.status == "failed"]
    return dead[-1].reason or "its process failed" if dead and not serieses else None


def _measurements(run: Run) -> list[Measurement]:
    return [one.measurement for one in run.outcomes if one.measurement is not None]


def _kept(run: Run, model: str) -> list[Series]:
    """What each process has of `model`, also one that did not come to its end."""
    return [
        run.series(outcome, model) or Series(samples=outcome.rounds.get(model, {}))
        for outcome in run.outcomes
    ]


def _result(run: Run, case: Case) -> Result:
    model = case.name
    subject = _subject(run, case)
    processes = [each.latency_s for each in _kept(run, model)]
    status, reason = _status(run, model, processes)
    absent = reason or "no timed round was finished"
    metrics: dict[str, Any] = dict.fromkeys(METRIC_KEYS)
    missing: dict[str, str] = {}
    if status != "failed" and any(processes):
        values, missing = _metrics(run, case, [each for each in processes if each])
        metrics |= values
    settings = _settings(run, case)
    executed = [f"executed by {one}" for one in [settings.get("runtime_version")] if one]
    return Result(
        model=case.model.name,
        title=subject.title,
        settings=settings,
        metrics=metrics,
        status=status,
        reason=reason,
        missing={key: missing.get(key, absent) for key, value in metrics.items() if value is None},
        samples=_samples(run, model),
        parts={"stage": parts} if (parts := _parts(run, case)) else {},
        published=[
            {**figure, "ours": ours}
            for figure in subject.published
            if (ours := _as_printed(figure, metrics))
        ],
        notes=(*subject.notes, *executed, *_notes(run, model), *_sum_note(metrics, parts)),
        case=case,
    )


def _as_printed(figure: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Our times of what the figure printed."""
    return {
        one.key: metrics.get(one.key)
        for one in METRICS.values()
        if one.measured and figure.get(one.published_as or "") is not None
    }


def _parts(run: Run, case: Case) -> list[dict[str, Any]]:
    """A model's stages, from the camera's bytes to boxes, each timed like a model."""
    if not case.execution.stages:
        return []
    found = []
    for part in PARTS:
        named = dataclasses.replace(case, name=part_name(case.name, part))
        rounds = [each.latency_s for each in _kept(run, named.name) if each.latency_s]
        if rounds:
            values, _ = _metrics(run, named, rounds)
            kept = {key: value for key, value in values.items() if value is not None}
            found.append({"part": part, **kept, "samples_s": rounds})
    return found


def _sum_note(
    metrics: Mapping[str, int | float | None], parts: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    whole = metrics.get("latency_median_s")
    if parts and whole:
        total = sum(part["latency_median_s"] for part in parts)
        yield (
            f"the stages add up to {show_quantity(total, 's')}, {show_change(total / whole)} "
            "against the whole: between them the device is waited for, and caches hold other things"
        )


def _status(run: Run, model: str, processes: Sequence[Sequence[float]]) -> tuple[str, str | None]:
    failure = _failure(run, model)
    if failure is not None:
        return "failed", failure
    if run.stopped == "interrupted":
        done = show_many(len(run.finished), "whole process", "whole processes")
        rounds = show_many(sum(map(len, processes)), "timed round")
        return "interrupted", f"interrupted after {done}, {rounds}"
    if not any(processes):
        ended = run.outcomes[-1].reason if run.outcomes else None
        return "failed", f"nothing was timed: {ended or 'there was no time'}"
    return "ok", None


def _metrics(
    run: Run, case: Case, processes: Sequence[Sequence[float]]
) -> tuple[dict[str, int | float | None], dict[str, str]]:
    """Values, and why some are not there. The median and its interval are over processes, the unit
    of replication; quartiles and percentiles are of all rounds together."""
    medians = [median(each) for each in processes]
    middle = median(medians)
    interval = median_interval(medians)
    rounds = [sample for each in processes for sample in each]
    serieses = _serieses(run, case.name)
    first = next((series.first.get("latency_s") for series in serieses if series.first), None)
    values: dict[str, int | float | None] = {
        "latency_median_s": middle,
        "latency_median_low_s": interval.low if interval else None,
        "latency_median_high_s": interval.high if interval else None,
        "latency_q1_s": quantile(rounds, 0.25),
        "latency_q3_s": quantile(rounds, 0.75),
        "latency_first_s": first,
        "latency_samples": len(rounds),
        "latency_processes": len(processes),
        "images_per_s": case.execution.batch / middle,
    }
    why = f"{show_many(len(processes), 'process', 'processes')} < {LEAST_PROCESSES}"
    missing = dict.fromkeys(("latency_median_low_s", "latency_median_high_s"), why)
    for key, share in PERCENTILES.items():
        refused = too_few_for(share, len(rounds))
        values[key] = None if refused else quantile(rounds, share)
        missing[key] = refused or ""
    found = next((one for one in serieses if one.resources or one.unmeasured), Series())
    missing |= dict.fromkeys(_RESOURCES, "not looked for") | found.unmeasured
    return values | found.resources, missing


def _serieses(run: Run, model: str) -> list[Series]:
    found = (run.series(outcome, model) for outcome in run.outcomes)
    return [series for series in found if series is not None]


def _subject(run: Run, case: Case) -> Subject:
    """As the first process had it that built it."""
    for measured in _measurements(run):
        for subject in measured.subjects:
            known = subject.settings or subject.title != case.model.name or subject.nc is not None
            if subject.case == case.name and known:
                return subject
    return Subject(case.name, case.model.name)


def _settings(run: Run, case: Case) -> dict[str, Any]:
    """As they were read back, or else as they were asked for."""
    subject, asked = _subject(run, case), case.settings()
    nc = subject.nc if subject.nc is not None else asked["nc"]
    if not subject.settings:
        return asked
    first = {key: asked[key] for key in ("imgsz", "batch")}
    noted: dict[str, Any] = {key: asked[key] for key in ("scale", "stages") if key in asked}
    return {**first, "nc": nc, "fused": asked["fused"], **noted, **subject.settings}


def _samples(run: Run, model: str) -> dict[str, Any]:
    """Every raw reading in seconds, and what is needed to read them; list i is of process i."""
    kept = _kept(run, model)
    clocks = {series.clock for series in kept if series.clock}
    of_series = ("build_s", "prepared", "overhead_s", "settled")
    if not clocks and not any(series.samples for series in kept):
        return {}
    return {
        **_channels("", [series.samples for series in kept], absent=[]),
        **_channels("warmup_", [series.warmup for series in kept], absent=[]),
        **_channels("first_", [series.first for series in kept], absent=None),
        **{key: [getattr(series, key) for series in kept] for key in of_series},
        "process_s": [outcome.took_s for outcome in run.outcomes],
        "ledger": [one.measurement and one.measurement.ledger for one in run.outcomes],
        "timed_s": [one.measurement and one.measurement.timed_s for one in run.outcomes],
        "process_status": [outcome.reason or outcome.status for outcome in run.outcomes],
        "clock": ", ".join(sorted(clocks)),
        "order": run.request.plan.order,
        "seed": run.request.plan.seed,
        "quantiles": QUANTILE_DEFINITION,
        "stopped": run.stopped,
    }


def _channels(prefix: str, processes: Sequence[Mapping[str, Any]], absent: Any) -> dict[str, Any]:
    names = dict.fromkeys(name for process in processes for name in process)
    return {
        f"{prefix}{name}": [process.get(name, absent) for process in processes] for name in names
    }


def _overhead_note(run: Run) -> Iterator[str]:
    serieses = [series for measured in _measurements(run) for series in measured.series]
    read = [series.overhead_s for series in serieses if series.overhead_s is not None]
    if read:
        yield f"an empty step reads {show_quantity(median(read), 'fine s')} on the same clock"


def _missing_notes(run: Run, model: str) -> Iterator[str]:
    """The processes without a ratio. Of one that Ctrl-C ended the row's own status tells, unless
    the run went on after it."""
    for outcome, series in zip(run.outcomes, _kept(run, model), strict=True):
        gone_on = outcome.status == "interrupted" and run.stopped != "interrupted"
        if outcome.status in ("failed", "cut") or gone_on:
            rounds = len(series.latency_s)
            are = show_many(rounds, "round is", "rounds are")
            kept = f"; its {are} kept, but in no ratio" if rounds else ""
            which = f"process {outcome.index} of {len(run.outcomes)}"
            yield f"{which} is missing: {outcome.reason}{kept}"


def _prepared_note(run: Run, model: str) -> Iterator[str]:
    """What making ready took, apart from all samples, and how near its outputs came to eager's."""
    told = [series for series in _serieses(run, model) if series.prepared]
    costs = [
        f"{key.removesuffix('_s')} {median([one.prepared[key] for one in told]):.1f} s"
        for key in ("compile_s", "capture_s", "load_s")
        if told and all(key in one.prepared for one in told)
    ]
    if costs:
        yield f"made ready in every process, outside all samples: {', '.join(costs)}"
    if told and (said := _precisions(told[0].prepared)):
        yield said
    graph = next((one.prepared for one in told if "export_s" in one.prepared), None)
    if graph is not None:
        size = show_quantity(graph["file_bytes"], "B")
        steps = {"exported": "export_s", "quantised": "quantise_s"}
        took = [f"{done} in {graph[key]:.1f} s" for done, key in steps.items() if key in graph]
        yield f"its graph, {size}, was {' and '.join(took)}, once"
    off = [one.prepared for one in told if "agreement" in one.prepared]
    if off:
        worst = max(off, key=lambda each: each["agreement"])
        yield (
            f"outputs differ from eager's by at most {worst['agreement']:.1e} of the largest value "
            f"(tolerance {worst['tolerance']:.0e})"
        )


def _precisions(prepared: Mapping[str, float]) -> str:
    """What its convolutions and matrix products ran in, where the runtime was asked; and of int8
    how far that is from eager."""
    found = {
        key.removeprefix("products_"): int(count)
        for key, count in prepared.items()
        if key.startswith("products_")
    }
    counts = " and ".join(f"{count} in {precision}" for precision, count in found.items())
    if len(found) == 1:
        ((precision, count),) = found.items()
        counts = f"all {count} in {precision}"
    said = f"of its convolutions and matrix products {counts}" if found else ""
    if "int8_deviation" in prepared:
        said += (
            "; speed only: its ranges are of seeded images, its outputs differ from eager's by "
            f"{prepared['int8_deviation']:.1e} of the largest value, and nothing is said of "
            "accuracy"
        )
    return said


def _notes(run: Run, model: str) -> Iterator[str]:
    serieses = [series for series in _serieses(run, model) if series.latency_s]
    unsettled = [series for series in serieses if not series.settled]
    if unsettled:
        rounds = len(unsettled[0].warmup.get("latency_s", ()))
        yield (
            f"warm-up had not settled after {show_many(rounds, 'round')} in {len(unsettled)} of "
            f"{len(serieses)} processes: their first samples, which are kept, may be slow"
        )
    enqueue = [sample for series in serieses for sample in series.samples.get("enqueue_s", ())]
    latency = [sample for series in serieses for sample in series.latency_s]
    if enqueue and median(enqueue) > _ENQUEUE_BOUND * median(latency):
        share = median(enqueue) / median(latency)
        yield f"the host is the bottleneck: launching takes {share:.0%} of the device's time"
    yield from _missing_notes(run, model)
    yield from _prepared_note(run, model)
    yield from run.circumstances.notes
    yield from _overhead_note(run)
