"""The comparisons of a report, read with the suspicion that a gate owes to a file."""

from __future__ import annotations

from collections.abc import Iterable

from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Report, ReportError
from detrbench.reports.soundness.pairs import LARGEST_LOG_RATIO, SUREST
from detrbench.reports.verdicts import ALPHA, Verdict


def spoilt(pairs: Iterable[Comparison]) -> list[str]:
    """Why nothing may be said of what was timed in `pairs`."""
    found = [
        f"{_name(pair.case, pair.baseline)} against {reference_of(pair)} is {pair.verdict}: "
        f"{'; '.join(pair.reasons) or 'no reason was recorded'}"
        for pair in pairs
        if pair.verdict is not None and Verdict(pair.verdict).silent
    ]
    return list(dict.fromkeys(found))


def reference_of(pair: Comparison) -> str:
    """What it was timed against, for readers."""
    return _name(pair.baseline, pair.case)


def _name(side: Side, other: Side) -> str:
    """Its model, or its case where both sides are of one model."""
    return side.model if side.case is None or side.model != other.model else side.case.name


def pairs_of(report: Report, which: str = "this run") -> list[Comparison]:
    """Every comparison of a report, each looked into.

    Args:
        which: report it is, for the messages.

    Raises:
        ReportError: one is not a comparison.
    """
    hint = "Give a run.json written by detrbench latency or detrbench run."
    for index, pair in enumerate(report.comparisons):
        if problem := _problem(pair):
            raise ReportError(problem, where=f"{which}, comparisons[{index}]", hint=hint)
    return list(report.comparisons)


def error_of(pair: Comparison) -> float:
    """How often its interval may err; where nobody said, as often as is usual."""
    return ALPHA if pair.confidence is None else 1 - pair.confidence


def _problem(pair: Comparison) -> str | None:
    """Why it is none: nothing has looked into its values so far."""
    unusable = [*pair.unusable, *(["verdict"] if pair.verdict is None else [])]
    if unusable:
        return f"has no usable {unusable[0]}"
    if not all(abs(value) <= LARGEST_LOG_RATIO for value in pair.process_log_ratios):
        return "process_log_ratios holds no ratios"
    if pair.confidence is not None and not 0 < pair.confidence <= SUREST:
        return f"confidence is {pair.confidence!r}, which is none"
    if pair.verdict not in {one.value for one in Verdict}:
        return f"verdict is {pair.verdict!r}"
    return None
