"""A comparison: whether its ratio, interval and verdict follow from its rows' samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detrbench.core.stats import Interval, median, paired_log_ratios
from detrbench.reports.comparison import Comparison
from detrbench.reports.soundness.rows import Row
from detrbench.reports.soundness.values import Problem, alike, are_samples, shown
from detrbench.reports.verdicts import Verdict, follows, intervals_of

LARGEST_LOG_RATIO = 20.0
"""A latency of five hundred million others is a fault of the file."""

SUREST = 1 - 1e-6
"""No run is more confident: the error is shared out to at most some dozen looks."""


def of_pair(pair: Comparison) -> Iterator[Problem]:
    """Whether ratio, interval and verdict follow from the processes' log-ratios."""
    values = pair.process_log_ratios
    if pair.unusable:
        yield from ((key, "it is missing, or of no such kind") for key in pair.unusable)
        return
    if not all(abs(value) <= LARGEST_LOG_RATIO for value in values):
        yield "process_log_ratios", "it holds no ratios"
        return
    if pair.verdict not in (None, *(one.value for one in Verdict)):
        yield "verdict", f"{shown(pair.verdict)} is none"
        return
    if pair.confidence is not None and not 0 < pair.confidence <= SUREST:
        yield "confidence", f"{pair.confidence!r} is none"
        return
    if pair.margin is not None and not 0 < pair.margin < 1:
        yield "margin", f"{pair.margin!r} is none"
        return
    if pair.verdict is None and pair.explanation is None:
        yield "verdict", "it is missing"
    if pair.explanation is not None:  # of the rounds of few processes, and no verdict
        return
    if (pair.ratio is None) != (not values):
        yield "ratio", "it has to be there where process_log_ratios has values, and only there"
    elif pair.ratio is not None and not alike(pair.ratio, pair.mean_ratio or 0.0):
        yield "ratio", f"it is {pair.ratio!r}, and process_log_ratios give {pair.mean_ratio!r}"
    yield from _of_interval(pair)
    yield from _of_verdict(pair)


def _of_interval(pair: Comparison) -> Iterator[Problem]:
    ends = pair.ci_low, pair.ci_high
    if (pair.ci_low is None) != (pair.ci_high is None):
        yield "ci_low" if pair.ci_low is None else "ci_high", "an interval has two ends"
    elif pair.ci_low is None or pair.ci_high is None:
        if len(pair.process_log_ratios) > 1:
            yield "ci_low", "it is missing, and process_log_ratios are enough for it"
    elif pair.ratio is not None and not pair.ci_low <= pair.ratio <= pair.ci_high:
        yield "ratio", f"it is not in its interval, {pair.ci_low!r} to {pair.ci_high!r}"
    elif not any(
        _same_ends(one, ends) for one in intervals_of(pair.process_log_ratios, pair.confidence)
    ):
        yield "ci_low", "the interval is not that of process_log_ratios"


def _same_ends(interval: Interval, ends: tuple[float | None, float | None]) -> bool:
    low, high = ends
    return (
        low is not None
        and high is not None
        and (alike(interval.low, low) and alike(interval.high, high))
    )


def _of_verdict(pair: Comparison) -> Iterator[Problem]:
    if pair.verdict is None:
        return
    if pair.verdict in ("INVALID", "BUSY") and not pair.reasons:
        yield "reasons", f"the verdict is {pair.verdict}, and no reason was recorded"
    interval = None
    if None not in (pair.ratio, pair.ci_low, pair.ci_high):
        interval = Interval(pair.ratio or 0, pair.ci_low or 0, pair.ci_high or 0)
    if not follows(pair.verdict, interval, len(pair.process_log_ratios), pair.margin):
        yield "verdict", f"{pair.verdict} does not follow from the interval and the margin"


def of_sides(pair: Comparison, rows: Sequence[Row]) -> Iterator[Problem]:
    """Whether its log-ratios are those of its rows' samples."""
    found = {}
    for key, side in (("baseline", pair.baseline), ("case", pair.case)):
        named = [row for row in rows if row.model == side.model]
        if not named:
            yield key, f"no row is of {shown(side.model)}"
        found[key] = [row for row in rows if side.is_of(row)]
        # What schema 1 says of a baseline are its case's settings.
        if named and not found[key] and (key == "case" or side.case is not None):
            yield key, f"no row is of {shown(side.model)} under its settings"
        if len(found[key]) > 1:
            yield key, f"{len(found[key])} rows are of {shown(side.model)} under its settings"
    if not all(len(each) == 1 for each in found.values()):
        return
    here, there = found["baseline"][0], found["case"][0]
    if here is there:
        yield "case", "it is its own baseline"
        return
    if pair.explanation is not None:
        return
    if "failed" in (here.status, there.status):
        if pair.process_log_ratios:
            yield "process_log_ratios", "a row that failed has no ratio"
        return
    again = _log_ratios(here, there)
    if again is None:
        return
    if len(again) != len(pair.process_log_ratios):
        told = len(pair.process_log_ratios)
        yield "process_log_ratios", f"it is of {told} processes, and the samples of {len(again)}"
    elif not all(map(alike, again, pair.process_log_ratios)):
        yield "process_log_ratios", "it is not what the rows' samples give"


def _log_ratios(here: Row, there: Row) -> list[float] | None:
    """One for each process that both rows' samples are of; `None` where they do not say."""
    before, after = (row.samples.get("latency_s") for row in (here, there))
    if not (are_samples(before) and are_samples(after)):
        return None
    status = there.samples.get("process_status")
    ended = [one == "ok" for one in status] if isinstance(status, list) else [True] * len(after)
    pairs = [
        paired_log_ratios(a, b) for a, b, whole in zip(before, after, ended, strict=False) if whole
    ]
    return [median(ratios) for ratios in pairs if ratios]
