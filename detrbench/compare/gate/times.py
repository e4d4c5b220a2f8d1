"""Checks of time, which is known as an interval, and only as a ratio.

Two runs of the same model differ by as much as their machines' moods do. What both runs timed in
the same rounds as a reference has that divided out: the change is the difference of the mean
log-ratios to the reference, with Welch's interval over the processes of both.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from detrbench.compare.gate.outcomes import Check, Outcome, judged
from detrbench.compare.gate.pairs import error_of, pairs_of, reference_of, spoilt
from detrbench.compare.gate.policy import Policy
from detrbench.compare.gate.rows import NOT_OF_TIME, TIME, Match, differing, no_value
from detrbench.core.stats import Interval, median, welch_interval
from detrbench.core.units import show_many
from detrbench.models.model import file_differences
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.merge import in_words, machine_differences
from detrbench.reports.metrics import METRICS
from detrbench.reports.report import Report, Result, setting_differences, value_differences
from detrbench.reports.verdicts import ALPHA, LEAST_PROCESSES

if TYPE_CHECKING:
    from detrbench.timing.resolution import Resolution

Known = Mapping[str, "Resolution"]
"""Device -> what the machine of the runs can tell apart on it, says its self-check."""

_TOGETHER = "Time both together, detrbench gate --rev REV MODEL.yaml; or both alike, and longer."


def time_check(
    row: Result,
    interval: Interval | None,
    limit: float,
    *,
    processes: Sequence[int],
    spoilt: Sequence[str] = (),
    doubts: Sequence[str] = (),
    values: tuple[float | None, float | None] = (None, None),
    reference: str | None = None,
    hint: str = _TOGETHER,
) -> Check:
    """Whether a row's latency grew by more than `limit`.

    Args:
        interval: of ln(now / before); `None` where there is none.
        limit: the allowed increase, 0.05 for 5 %.
        processes: how many each run had that the interval is from.
        spoilt, doubts: as `invalid` and `doubts` of `judged`.
        values: before and now, for the reader.
        reference: the model that `values` are ratios to; `None` where they are seconds.
        hint: what decides it, where this does not.
    """
    few = [too_few(number) for number in processes if number < LEAST_PROCESSES]
    invalid = list(spoilt) or few  # what spoils a run names its processes too
    if interval is None and not invalid:
        invalid.append("it has no interval")
    ratios = None if interval is None or invalid else interval.exp()
    outcome, reasons = judged(ratios, 1 + limit, invalid, doubts)
    if outcome is Outcome.REGRESSION:
        hint = "Find where the time goes, detrbench latency --stages; or allow it: "
        hint += "--max-latency-increase."
    return Check(
        outcome,
        row.model,
        row.settings,
        TIME.key,
        *values,
        limit,
        interval=ratios,
        reference=reference,
        reasons=reasons,
        hint=None if outcome is Outcome.PASS else hint,
    )


def too_few(processes: int) -> str:
    """Why a run of so many says nothing here: what few tell of 2 % they need not of a limit."""
    has = show_many(processes, "process has", "processes have")
    return f"{has} a ratio, and {LEAST_PROCESSES} are needed"


def doubts_about(limit: float, row: Result, known: Known) -> list[str]:
    """Why a machine that cannot tell `limit` apart must not let a row pass it."""
    resolution = known.get(str(row.settings.get("device")))
    if resolution is None or limit >= resolution.detectable:
        return []
    return [resolution.too_small(limit)]


def time_checks(
    baseline: Report, report: Report, matches: Sequence[Match], policy: Policy, known: Known
) -> Iterator[Check]:
    """The latency of every row that the baseline has one of, from two runs, as far as the policy
    limits it.

    A reference's own time is what the others are measured with, and has a check only where the
    policy limits it; where there is nothing else, that is said by a check that does not pass.
    """
    whole = [both for one in matches if (both := one.both) is not None]
    timed = [both for both in whole if both[0].metrics.get(TIME.key) is not None]
    if policy.judges_time:
        for before, now in whole:
            times = [row.metrics.get(TIME.key) for row in (before, now)]
            asked = timed and policy.max_latency_increase is not None
            if times[0] is None and (times[1] is not None or asked):
                yield _untimed(before, now)
    runs = _Runs(baseline, report, policy, known)
    references = [both for both in timed if runs.only_refer_to(*both)]
    judgeable = [both for both in timed if both not in references]
    for both in judgeable if policy.judges_time else ():
        yield runs.check(*both)
    limit = policy.reference_limit
    if limit is not None:
        yield from runs.reference_checks(references, limit)
    elif timed and not judgeable:
        yield _undecided(timed[0][1], "it is what others are measured with, and there is no other")
    elif not timed and policy.max_latency_increase is not None:
        yield Check(
            Outcome.INVALID,
            metric=TIME.key,
            reasons=("a limit on latency is asked for, and the baseline has timed nothing",),
            hint="Time both, detrbench latency -o run.json; or use detrbench gate --rev.",
        )


class _Runs:
    def __init__(self, baseline: Report, report: Report, policy: Policy, known: Known) -> None:
        self._baseline, self._report = baseline, report
        self._limit, self._known = policy.latency_limit, known
        self._then, self._today = pairs_of(baseline, "the baseline"), pairs_of(report)

    def only_refer_to(self, before: Result, now: Result) -> bool:
        """Whether both runs measured others with this row, and the baseline it with no other."""
        return (
            any(pair.baseline.is_of(before) for pair in self._then)
            and any(pair.baseline.is_of(now) for pair in self._today)
            and not any(pair.case.is_of(before) for pair in self._then)
        )

    def check(self, before: Result, now: Result) -> Check:
        """Whether a row's time grew, as far as the runs can tell."""
        then = [pair for pair in self._then if pair.case.is_of(before)]
        today = [pair for pair in self._today if pair.case.is_of(now)]
        invalid = [*self._not_comparable(before, now), *spoilt([*then, *today])]
        common = [(a, b) for a in then for b in today if a.baseline.model == b.baseline.model]
        if not common and not invalid:
            old, new = (", ".join(map(reference_of, pairs)) or "nothing" for pairs in (then, today))
            lacking = "the runs have no reference in common: the baseline was timed against"
            return _undecided(now, f"{lacking} {old}, this run against {new}")
        if not common:
            return time_check(now, None, self._limit, processes=(), spoilt=invalid)
        a, b = min(common, key=lambda both: len(_other_settings(*both)))
        # Where a run's own interval had to pay for looking early, this one pays likewise.
        alpha = min(ALPHA, error_of(a), error_of(b))
        return time_check(
            now,
            welch_interval(a.process_log_ratios, b.process_log_ratios, alpha),
            self._limit,
            processes=(len(a.process_log_ratios), len(b.process_log_ratios)),
            spoilt=[*invalid, *self._changed(a, b)],
            doubts=doubts_about(self._limit, now, self._known),
            values=(a.mean_ratio, b.mean_ratio),
            reference=reference_of(b),
        )

    def reference_checks(
        self, references: Sequence[tuple[Result, Result]], limit: float
    ) -> Iterator[Check]:
        """Whether what both runs measured others with has become slower itself: by its own seconds,
        so that what the machine did between the runs counts too."""
        if not references:
            yield Check(
                Outcome.INVALID,
                metric=TIME.key,
                limit=limit,
                reasons=("a limit on the reference's time is asked for, and both runs have none",),
                hint="In both runs, time a model that does not change first.",
            )
        for before, now in references:
            then, today = ([math.log(one) for one in _medians(row)] for row in (before, now))
            check = time_check(
                now,
                welch_interval(then, today),
                limit,
                processes=(len(then), len(today)),
                spoilt=[*self._not_comparable(before, now), *self._other_reference(before, now)],
                values=(before.metrics.get(TIME.key), now.metrics.get(TIME.key)),
            )
            if check.outcome is Outcome.REGRESSION:
                hint = "See what the machine did; or allow it: --max-reference-increase."
                check = dataclasses.replace(check, hint=hint)
            yield check

    def _other_reference(self, before: Result, now: Result) -> list[str]:
        pairs = (
            (a, b)
            for a in self._then
            for b in self._today
            if a.baseline.is_of(before) and b.baseline.is_of(now)
        )
        return list(dict.fromkeys(why for a, b in pairs for why in self._changed(a, b)))

    def _not_comparable(self, before: Result, now: Result) -> Iterator[str]:
        for which, report in (("the baseline", self._baseline), ("this run", self._report)):
            if not (report.environment.get("processor") and report.environment.get("torch")):
                yield f"{which} does not say on what it was measured"
        if facts := machine_differences(self._baseline, self._report):
            yield f"the environments differ (baseline, this run): {in_words(facts)}"
        if settings := differing(before, now, NOT_OF_TIME):
            yield f"the settings differ (baseline, this run): {in_words(settings)}"
        if now.metrics.get(TIME.key) is None:
            yield no_value(now, TIME.key, "this run")

    def _changed(self, then: Comparison, today: Comparison) -> Iterator[str]:
        """What of the reference is not as it was: it shifts every ratio."""
        reference = f"the reference {reference_of(today)}"
        if settings := _other_settings(then, today):
            yield (
                f"{reference} was timed under other settings (baseline, this run): "
                f"{in_words(settings)}"
            )
        yield from self._other_files(reference, then.baseline, today.baseline)
        counts = {one.key for one in METRICS.values() if not one.measured}
        for before, now in self._rows_of(then.baseline, today.baseline):
            found = {} if differing(before, now, NOT_OF_TIME) else value_differences(before, now)
            if changed := {key: values for key, values in found.items() if key in counts}:
                yield (
                    f"{reference} is not the same model in both runs (baseline, this run): "
                    f"{in_words(changed)}"
                )

    def _rows_of(self, then: Side, today: Side) -> Iterator[tuple[Result, Result]]:
        yield from itertools.product(
            [row for row in self._baseline.rows if then.is_of(row)],
            [row for row in self._report.rows if today.is_of(row)],
        )

    def _other_files(self, reference: str, then: Side, today: Side) -> Iterator[str]:
        """By the content of the files it is built of, or where a report of schema 1 does not have
        that, by its counts; a model of the user's own without either is not known to be the same.
        """
        if then.case is not None and today.case is not None:
            if differing := file_differences(then.case.model, today.case.model):
                yield (
                    f"{reference} is not the same in both runs (baseline, this run): "
                    f"{in_words(differing)}"
                )
        elif _is_own(today.model) and not any(
            {*before.metrics, *now.metrics} >= {"params", "macs"}
            for before, now in self._rows_of(then, today)
        ):
            yield (
                f"{reference} is not known to be the same model in both runs: a report of schema 1 "
                "says neither what is in its files nor, here, what it counts"
            )


def _is_own(model: str) -> bool:
    """Whether rows call a model so that is in a file of the user's, which may have changed."""
    return any(sign in model for sign in "/\\:") or bool(PurePath(model).suffix)


def _medians(row: Result) -> list[float]:
    """Of each process, in seconds; what a row does not say is no process."""
    processes = row.samples.get("latency_s")
    return [median(each) for each in processes if each] if isinstance(processes, list) else []


def _untimed(before: Result, now: Result) -> Check:
    return Check(
        Outcome.INVALID,
        now.model,
        now.settings,
        TIME.key,
        value=now.metrics.get(TIME.key),
        reasons=(no_value(before, TIME.key, "the baseline"),),
        hint="Time both, detrbench latency -o run.json; or leave time out: --counts-only.",
    )


def _other_settings(then: Comparison, today: Comparison) -> dict[str, tuple[Any, Any]]:
    """Setting -> (then, today), of what the references' times depend on."""
    here, there = then.baseline, today.baseline
    told = here.case is not None and there.case is not None  # schema 1 does not say all of it
    found = setting_differences(here.settings, there.settings, unsaid=told)
    return {name: values for name, values in found.items() if name not in NOT_OF_TIME}


def _undecided(row: Result, reason: str) -> Check:
    return Check(
        Outcome.INCONCLUSIVE,
        row.model,
        row.settings,
        TIME.key,
        reasons=(reason,),
        hint="In both runs, time a model that does not change first; or time both together: "
        "detrbench gate --rev REV MODEL.yaml.",
    )
