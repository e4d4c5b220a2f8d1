"""A gate's result laid out: what decides first, then every check, then why and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detrbench.compare.gate import Check, GateResult, Outcome
from detrbench.core.units import show_change, show_part, show_quantity, show_range
from detrbench.render.layout import Document, Line, Table, columns
from detrbench.reports.metrics import metric
from detrbench.reports.settings import settings_text

_HEADLINES = {
    Outcome.PASS: "within the limits in all of {all} checks",
    Outcome.REGRESSION: "beyond the limit in {some} of {all} checks",
    Outcome.EXCEEDED: "above the limit in {some} of {all} checks",
    Outcome.INVALID: "nothing can be said in {some} of {all} checks",
    Outcome.INCONCLUSIVE: "undecided in {some} of {all} checks",
}


def document(result: GateResult) -> Document:
    """The result as a table for readers, records for CSV, data for JSON."""
    checks = result.ordered
    settings = [check.settings for check in checks if check.settings]
    common = {
        name: value
        for name, value in (settings[0] if settings else {}).items()
        if all(name in each and each[name] == value for each in settings)
    }
    reasons = list(dict.fromkeys(_why(check) for check in checks if check.reasons))
    titles = ("Model", "Figure", "Baseline", "Now", "Change", "Limit", "Outcome")
    table = Table(
        caption=headline(result),
        columns=columns("llrrrrl", *titles),
        lines=tuple(_line(check, common, reasons) for check in checks),
        notes=(
            *(f"[{number}] {reason}" for number, reason in enumerate(reasons, 1)),
            *([f"settings: {settings_text(common, short=True)}"] if common else []),
            *result.notes,
        ),
    )
    return Document((table,), [_record(check) for check in checks], result.to_dict())


def headline(result: GateResult) -> str:
    """The outcome in one line, with the next thing to do."""
    outcome, checks = result.outcome, result.ordered
    some = sum(check.outcome is outcome for check in checks)
    said = _HEADLINES[outcome].format(some=some, all=len(checks))
    hint = next((check.hint for check in checks if check.outcome is outcome and check.hint), None)
    return f"{outcome.value}: {said}.{f' {hint}' if hint else ''}"


def subject(check: Check, settings: Mapping[str, Any] | None = None) -> str:
    """What a check is of: the model, with those of its settings that tell it from others."""
    text = settings_text(check.settings if settings is None else settings, short=True)
    return f"{check.model} ({text})" if text else check.model


def figure(check: Check) -> str:
    """What a check looked at, in a word or two."""
    if check.metric is None:
        return "every figure" if check.model else "the report"
    title = metric(check.metric).title
    return f"{title} against {check.reference}" if check.reference else title


def change(check: Check) -> str:
    """By how much it grew, with the interval of what is known as one."""
    if check.ratio is None:
        return ""
    if check.interval is None:
        return show_change(check.ratio)
    low, high = map(show_change, (check.interval.low, check.interval.high))
    return f"{show_change(check.ratio)} [{low} to {high}]"


def limit(check: Check) -> str:
    """What it may be, or by how much it may grow."""
    if check.limit is None:
        return ""
    if check.ceiling:
        return f"at most {show_quantity(check.limit, _unit(check))}"
    return f"+{show_part(check.limit)}"


def value(check: Check, number: float | None) -> str:
    """The check's baseline or value as a table shows it."""
    if number is None:
        return ""
    if check.reference:
        return show_change(number)
    return show_quantity(number, _unit(check))


def _line(check: Check, common: Mapping[str, Any], reasons: Sequence[str]) -> Line:
    own = {name: value for name, value in check.settings.items() if name not in common}
    mark = f" [{reasons.index(_why(check)) + 1}]" if check.reasons else ""
    now = value(check, check.value)
    if check.ceiling and check.interval is not None:
        now += f" {show_range(check.interval.low, check.interval.high, _unit(check))}"
    before, outcome = value(check, check.baseline), f"{check.outcome.value}{mark}"
    cells = (figure(check), before, now, change(check), limit(check), outcome)
    return Line(subject(check, own), cells)


def _unit(check: Check) -> str:
    return metric(check.metric or "").unit


def _why(check: Check) -> str:
    return "; ".join(check.reasons)


def _record(check: Check) -> dict[str, Any]:
    interval = check.interval
    return {
        "outcome": check.outcome.value,
        "model": check.model,
        "settings": settings_text(check.settings, short=True),
        "metric": check.metric,
        "reference": check.reference,
        "baseline": check.baseline,
        "value": check.value,
        "ratio": check.ratio,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "limit": check.limit,
        "limit_is": "value" if check.ceiling else "increase",
        "reasons": _why(check) or None,
        "hint": check.hint,
    }
