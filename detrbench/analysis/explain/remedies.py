"""What may make the variant faster, measured: the variant as it is against it with each remedy.

A remedy is the variant's case with one setting changed. Choosing one imports no torch.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from detrbench.analysis.explain.account import BATCH, batching
from detrbench.analysis.explain.findings import Try
from detrbench.core.errors import DetrbenchError, TimeIsUp, UsageError, nearest
from detrbench.core.stats import paired_log_ratios, quantile
from detrbench.machine.circumstances import circumstances_of
from detrbench.models.sources import resolve
from detrbench.reports.case import Case, Execution
from detrbench.reports.parse_cases import named, parse_setting
from detrbench.reports.settings import SETTINGS, plain_value, setting
from detrbench.runtimes import check_execution
from detrbench.timing.rounds import OUT_OF_TIME, OnProgress, Series, measure_steps
from detrbench.timing.stop_rules import Plan

REMEDIES: dict[str, Callable[[Execution], tuple[str, Any]]] = {
    "channels_last": lambda _: ("memory_format", "channels_last"),
    "batch": lambda present: ("batch", BATCH * present.batch),
    "compile": lambda _: ("runtime", "compile"),
    "cudagraph": lambda _: ("runtime", "cudagraph"),
}
"""The usual ones: name -> the setting that one changes, and to what."""


def with_remedy(variant: Case, wanted: str) -> Case:
    """`variant` with one remedy: a name of `REMEDIES`, or any setting, as KEY=VALUE. Raises
    UsageError where it is neither, `variant` cannot have it, or has it already."""
    where = f"--try {wanted}"
    key, value = _change(variant, wanted, where)
    name = named(variant.name, {key: value})
    if SETTINGS[key].of == "model":
        model = dataclasses.replace(variant.model, **{key: value})
        changed = dataclasses.replace(variant, name=name, model=resolve(model))
    else:
        changed = dataclasses.replace(variant.replace(**{key: value}), name=name)
    if key == "name" or (changed.model, changed.execution) == (variant.model, variant.execution):
        raise UsageError(
            f"it changes nothing of {variant.name}", where=where, hint="Try what it is not yet."
        )
    if changed.execution.stages:
        raise UsageError("stages make nothing faster", where=where, hint="Leave it out.")
    check_execution(changed.execution, where=where)
    return changed


def _change(variant: Case, wanted: str, where: str) -> tuple[str, Any]:
    key, equals, text = wanted.partition("=")
    if equals:
        key = setting(key, where=where).key
        return key, parse_setting(key, text, where)
    if wanted not in REMEDIES:
        raise UsageError(
            f"unknown value {wanted!r}",
            where="--try",
            hint=f"{nearest(wanted, REMEDIES)} Any setting can be tried as KEY=VALUE.",
        )
    return REMEDIES[wanted](variant.execution)


def title_of(variant: Case, changed: Case) -> str:
    """What tables call the remedy that makes `changed` of `variant`."""
    titles = []
    for key, one in SETTINGS.items():
        if one.of == "reading":
            continue
        before, after = (
            getattr(case.model if one.of == "model" else case.execution, key)
            for case in (variant, changed)
        )
        if before == after:
            continue
        if key == "batch":
            titles.append(batching(after / before))
        elif isinstance(after, bool):
            titles.append(one.flag if after else f"{key}=false")
        else:
            titles.append(f"{one.flag} {plain_value(key, after)}")
    return " and ".join(titles)


def measure_tries(
    variant: Case,
    tries: Sequence[Case],
    *,
    budget_s: float,
    deadline: float | None = None,
    progress: OnProgress | None = None,
) -> tuple[Try, ...]:
    """Time each of `tries` against `variant` as it is, in the same rounds; per image.

    What cannot be tried, for want of a compiler for instance, is a Try without a ratio. Raises
    DetrbenchError where `variant` itself cannot be built or run.
    """
    try:
        return _measured(variant, tries, budget_s, deadline, progress)
    except TimeIsUp:  # while one was built: what was explained before is told all the same
        return tuple(
            _unknown(variant, case, f"{OUT_OF_TIME} before it was timed") for case in tries
        )


def _measured(
    variant: Case,
    tries: Sequence[Case],
    budget_s: float,
    deadline: float | None,
    progress: OnProgress | None,
) -> tuple[Try, ...]:
    from detrbench.timing.opened import Ready, Watch, opening

    failed: dict[str, str] = {}
    started = time.monotonic()
    with opening() as open_case:
        present = open_case(variant)
        ready = [Ready(variant.name, present.step(), present.runtime)]
        for case in tries:
            try:
                opened = open_case(case)
                ready.append(Ready(case.name, opened.step(), opened.runtime))
            except DetrbenchError as error:
                failed[case.name] = error.what
            except Exception as error:  # such as no memory for a larger batch
                failed[case.name] = f"{type(error).__name__}: {error}"
        steps, watch = [one.step for one in ready], Watch(ready, variant.execution.device)
        serieses = measure_steps(
            steps,
            Plan(budget_s=budget_s, least_rounds=2),
            started=started,
            deadline=deadline,
            progress=progress,
            observer=watch,
        )
    timed = {one.name: series for one, series in zip(ready, serieses, strict=True)}
    disturbed = circumstances_of([(watch.entry, watch.timed_s)]).disturbed
    return tuple(
        _compared(variant, case, timed[variant.name], timed[case.name], disturbed)
        if case.name in timed
        else _unknown(variant, case, failed[case.name])
        for case in tries
    )


def _compared(
    variant: Case, case: Case, reference: Series, series: Series, disturbed: str | None
) -> Try:
    ratios = paired_log_ratios(reference.latency_s, series.latency_s)
    if series.status == "failed" or not ratios:
        return _unknown(variant, case, series.reason or "no round finished")
    images = case.execution.batch / variant.execution.batch
    low, middle, high = (math.exp(quantile(ratios, q)) / images for q in (0.25, 0.5, 0.75))
    how = f"{len(ratios)} rounds against {variant.name} as it is"
    return Try(title_of(variant, case), middle, True, how, low, high, disturbed)


def _unknown(variant: Case, case: Case, why: str) -> Try:
    return Try(title_of(variant, case), None, measured=True, how=why)
