"""The page's summary: each verdict and each saving as a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from detrbench.core.units import show_change, show_many, show_part, show_quantity
from detrbench.render.layout import baseline_label, change_of, interval_text, row_label, side_label
from detrbench.render.plots import named_pairs
from detrbench.reports.comparison import Comparison
from detrbench.reports.metrics import METRICS
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import Verdict


@dataclass(frozen=True)
class Finding:
    """One verdict in words.

    Attributes:
        verdict: the word; "" where a pair was timed but not judged.
        sign: a character that says the same at a glance.
        details: interval, processes and margin; then every reason.
    """

    verdict: str
    sign: str
    sentence: str
    details: tuple[str, ...]


_VERDICTS: dict[str, tuple[str, str]] = {
    Verdict.FASTER: ("▼", "{model} is faster than {baseline}: {takes}."),
    Verdict.SLOWER: ("▲", "{model} is slower than {baseline}: {takes}."),
    Verdict.EQUIVALENT: ("=", "{model} takes the same time as {baseline}{within}."),
    Verdict.INCONCLUSIVE: (
        "?",
        "{model} may or may not be faster than {baseline}: in this run {takes}.",
    ),
    Verdict.TOO_FEW: (
        "…",
        "Too few processes to say whether {model} is faster than {baseline}: so far {takes}.",
    ),
    Verdict.BUSY: (
        "~",
        "The machine was too busy to compare {model} with {baseline}: in this run {takes}.",
    ),
    Verdict.INVALID: ("×", "Nothing can be said of {model} against {baseline}."),
}
"""Verdict -> its sign, and what it means."""

_UNJUDGED = "", "{model} against {baseline}: {takes}; no verdict was made."


def findings(report: Report) -> tuple[Finding, ...]:
    """Every comparison of the report, judged or not."""
    return tuple(_finding(pair, report) for pair in named_pairs(report))


def _finding(pair: Comparison, report: Report) -> Finding:
    verdict = pair.verdict or ""
    sign, sentence = _VERDICTS.get(verdict, _UNJUDGED)
    takes = f"it takes {_more_or_less(pair.ratio)} time" if pair.ratio else "its ratio is not known"
    told = sentence.format(
        model=side_label(pair.case, report),
        baseline=baseline_label(pair, report),
        takes=takes,
        within=f" to within {show_part(pair.margin)}" if pair.margin else "",
    )
    return Finding(verdict, sign, told, (*_evidence(pair), *map(_capital, pair.reasons)))


def _more_or_less(change: float) -> str:
    """Such as "41.8% less"."""
    percent = show_change(change)
    return f"{percent.lstrip('+-')} {'less' if percent.startswith('-') else 'more'}"


def _evidence(pair: Comparison) -> Iterator[str]:
    facts = []
    if interval := interval_text(pair):
        how = f"{show_part(round(pair.confidence, 4))} " if pair.confidence else ""
        facts.append(f"{how}interval {interval}")
    if processes := len(pair.process_log_ratios):
        facts.append(show_many(processes, "process", "processes"))
    if pair.margin:
        facts.append(f"margin {show_part(pair.margin)}")
    if facts:
        yield f"{_capital(', '.join(facts))}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def savings(report: Report) -> tuple[str, ...]:
    """Of every model the figures that papers print, and how they differ from its reference's."""
    return tuple(_saving(row, report) for row in report.rows)


def _saving(row: Result, report: Report) -> str:
    name, reference = row_label(row, report.rows), report.reference(row)
    asked = row.settings.get("convention", "core")
    facts = []
    for one in METRICS.values():
        value = row.metrics.get(one.key)
        if (
            not (one.summary and one.published_as)
            or one.convention not in {None, asked}
            or value is None
        ):
            continue
        change = None if reference is None else change_of(row, reference, one)
        # A measured difference needs its verdict beside it, which the findings have.
        against = f" ({show_change(change)})" if change is not None and not one.spread else ""
        facts.append(f"{one.title} {show_quantity(value, one.unit)}{against}")
    told = [", ".join(facts)] if facts else []
    if row.status != "ok":
        told.append(f"{row.status}: {row.reason or 'no reason was recorded'}")
    return f"{name}: {'; '.join(told)}."
