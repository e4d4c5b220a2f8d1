"""Checks of counts, which are exact, and of absolute limits."""

from __future__ import annotations

from collections.abc import Iterator

from detrbench.compare.gate.outcomes import Check, Outcome, judged
from detrbench.compare.gate.pairs import pairs_of, spoilt
from detrbench.compare.gate.policy import ANY, Policy
from detrbench.compare.gate.rows import TIME, invalid_row, no_value
from detrbench.core.errors import nearest
from detrbench.core.stats import Interval
from detrbench.core.units import show_count, show_part, show_quantity
from detrbench.render.layout import summary_metrics
from detrbench.reports.metrics import CONVENTION_METRICS, METRICS, Metric, metric
from detrbench.reports.report import Report, Result, missing_value


def count_checks(before: Result, now: Result, policy: Policy) -> list[Check]:
    """Every count that either report's table shows, and those the policy names: what only one of
    them has is no pass."""
    conventions = [row.settings.get("convention") for row in (before, now)]
    if None not in conventions and conventions[0] != conventions[1]:
        reason = "the tables show FLOPs of other conventions (baseline, this run): "
        hint = "Count both alike: --convention."
        return [invalid_row(now, reason + ", ".join(map(str, conventions)), hint)]
    shares = {_as_shown(key, now): share for key, share in policy.max_increase.items()}
    shown = [*_shown(before), *_shown(now)]
    if shown:  # then all were counted, and what neither has was taken away
        shown += _usual(now)
    shown = [key for key in shown if shares.get(key) != ANY]
    counted = [any(row.metrics.get(key) is not None for key in shown) for row in (before, now)]
    if counted == [False, True] and not shares:  # said once, and not of each
        timed = before.metrics.get(TIME.key) is not None
        lacking = "no counts of it, and this run has" if timed else "no figure of it"
        return [invalid_row(now, f"the baseline has {lacking}", "Make a new baseline.")]
    keys = [key for key in dict.fromkeys([*shown, *shares]) if shares.get(key) != ANY]
    checks = [_increase(before, now, METRICS[key], shares.get(key, 0.0)) for key in keys]
    if not checks and not _shown(before) and before.metrics.get(TIME.key) is None:
        nothing = "the baseline has no figure of it"
        checks.append(invalid_row(before, nothing, "Make a new baseline."))
    return checks


def value_checks(report: Report, policy: Policy) -> Iterator[Check]:
    """Every row against the policy's absolute limits, or those rows that they are for."""
    named = {
        name: [row for row in report.rows if _is_called(row, name, report)]
        for name in policy.models
    }
    for name in [name for name, rows in named.items() if not rows]:
        near = nearest(name, {row.model for row in report.rows})
        reason = "the limits are for it, and this run does not have it"
        yield Check(Outcome.INVALID, name, reasons=(reason,), hint=f"Measure it too; {near}")
    for row in report.rows:
        if row.status != "ok" or (named and not any(row in rows for rows in named.values())):
            continue
        for key, limit in policy.max.items():
            yield _value(row, metric(_as_shown(key, row)), limit, report)


def _is_called(row: Result, name: str, report: Report) -> bool:
    """Whether a user who says `name` may mean `row`: its model, its case, or the model's file."""
    reference = row.case and row.case.model.reference
    return name in (row.model, report.label(row), reference)


def _as_shown(key: str, row: Result) -> str:
    """FLOPs are those that the table of `row` shows, by its own convention."""
    convention = row.settings.get("convention")
    return CONVENTION_METRICS.get(convention or "core", key) if key == "flops" else key


def _shown(row: Result) -> list[str]:
    """The counts that a table shows of `row`, also where it says why it has none; FLOPs by the
    row's own convention."""
    return [
        one.key
        for one in summary_metrics((row,))
        if not one.measured and one.better == "lower" and one.key in row.metrics
    ]


def _usual(row: Result) -> list[str]:
    """The counts that every table has of a row that was counted, FLOPs by its own convention."""
    convention = row.settings.get("convention", "core")
    return [
        one.key
        for one in METRICS.values()
        if one.summary and not one.measured and one.better == "lower"
        if one.convention in (None, convention)
    ]


def _increase(before: Result, now: Result, one: Metric, limit: float) -> Check:
    old, new = before.metrics.get(one.key), now.metrics.get(one.key)
    outcome, reason = Outcome.INVALID, ""
    if old is None:
        reason = no_value(before, one.key, "the baseline")
    elif new is None:
        reason = no_value(now, one.key, "this run")
    elif min(old, new) < 0:
        reason = "a count cannot be negative"
    elif 0 in (old, new) and old != new:
        which = "this run" if new == 0 else "the baseline"
        reason = f"it is 0 in {which}, where nothing of it can have been counted"
    elif _beyond(old, new, limit):
        allowed = f"{show_part(limit)} more is" if limit else "no increase is"
        reason = f"{_exactly(old, one)} before, {_exactly(new, one)} now, and {allowed} allowed"
        outcome = Outcome.REGRESSION
    else:
        outcome = Outcome.PASS
    hints = {
        Outcome.REGRESSION: f"Make it smaller, or allow it: --max-increase {one.key}=SHARE.",
        Outcome.INVALID: "Count both again: detrbench profile -o run.json.",
    }
    return Check(
        outcome, now.model, now.settings, one.key, old, new, limit,
        reasons=(reason,) if reason else (), hint=hints.get(outcome),
    )  # fmt: skip


def _beyond(old: float, new: float, limit: float) -> bool:
    """Whether `new` is more than `limit` allows; 29 % of 100 are 29, whatever 0.29 * 100 says."""
    return new > old * (1 + limit) * (1 + 1e-12) if limit else new > old


def _value(row: Result, one: Metric, limit: float, report: Report) -> Check:
    value = row.metrics.get(one.key)
    interval: Interval | None = None
    reasons: tuple[str, ...] = ()
    if value is None:
        outcome, reasons = Outcome.INVALID, (no_value(row, one.key, "this run"),)
    elif value < 0:
        outcome, reasons = Outcome.INVALID, ("it cannot be negative",)
    elif value == 0:
        outcome, reasons = Outcome.INVALID, ("it is 0: nothing of it can have been counted",)
    elif one.measured:
        interval, invalid = _interval(row, one, report)
        outcome, reasons = judged(interval, limit, invalid)
        outcome = Outcome.EXCEEDED if outcome is Outcome.REGRESSION else outcome
    elif value > limit:
        outcome = Outcome.EXCEEDED
        reasons = (f"{_exactly(value, one)} is more than {_exactly(limit, one)}",)
    else:
        outcome = Outcome.PASS
    hints = {
        Outcome.EXCEEDED: f"Make it smaller, or raise the limit: --max {one.key}=VALUE.",
        Outcome.INVALID: "Measure again, and everything that is limited.",
        Outcome.INCONCLUSIVE: "Measure longer: --budget.",
    }
    return Check(
        outcome, row.model, row.settings, one.key, None, value, limit, ceiling=True,
        interval=interval, reasons=reasons, hint=hints.get(outcome),
    )  # fmt: skip


def _interval(row: Result, one: Metric, report: Report) -> tuple[Interval | None, list[str]]:
    """The interval over processes, and what takes all meaning from it. The first of a metric's
    spreads is that interval; the others, such as quartiles, are no intervals."""
    spread = one.spread[0]
    invalid = spoilt(pair for pair in pairs_of(report) if pair.concerns(row))
    middle, low, high = (row.metrics.get(key) for key in (one.key, spread.low, spread.high))
    if middle is None or low is None or high is None:
        return None, [*invalid, f"it has no interval: {missing_value(row, spread.low)}"]
    if not low <= middle <= high:
        return None, [*invalid, "its interval does not hold it"]
    return Interval(middle, low, high), invalid


def _exactly(value: float, one: Metric) -> str:
    """A value to its last digit: as a whole number, as counts are, or as it is."""
    if one.measured:
        return show_quantity(value, one.unit)
    return show_count(int(value)) if value == int(value) else f"{value:,}"
