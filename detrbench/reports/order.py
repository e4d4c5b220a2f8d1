"""Where models are executed in several ways: which is fastest in each, and which two change places.

Only verdicts say that one is faster; the rest of an order is no more than a way to list them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detrbench.models.model import Model
from detrbench.reports.case import Execution
from detrbench.reports.comparison import CONFIRMATION, Comparison
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import Verdict

MIRRORED = {Verdict.FASTER: Verdict.SLOWER, Verdict.SLOWER: Verdict.FASTER}


@dataclass(frozen=True)
class Way:
    """The models that are executed alike, fastest first as their rounds have it, and for each but
    the first what its comparison with the one before it says; `None` where there is none."""

    execution: Execution
    rows: tuple[Result, ...]
    verdicts: tuple[Verdict | None, ...]


def ways(report: Report) -> tuple[Way, ...]:
    """Every way in which two or more models were timed, where a workload has two such ways."""
    groups: dict[Execution, list[Result]] = {}
    for row in report.rows:
        timed = row.metrics.get("latency_median_s") is not None
        if row.case is not None and timed and row.settings.get(CONFIRMATION) in (None, 1):
            groups.setdefault(row.case.execution, []).append(row)
    found = [execution for execution, rows in groups.items() if len(rows) > 1]
    several = Counter(execution.workload for execution in found)
    return tuple(
        _way(execution, groups[execution], report)
        for execution in found
        if several[execution.workload] > 1
    )


def _way(execution: Execution, rows: Sequence[Result], report: Report) -> Way:
    ordered = sorted(rows, key=lambda row: _against(row, rows[0], report))
    said = [_verdict(later, earlier, report) for earlier, later in itertools.pairwise(ordered)]
    return Way(execution, tuple(ordered), tuple(said))


def _against(row: Result, first: Result, report: Report) -> float:
    """Its latency over that of the first: in the same rounds, where they were compared."""
    for pair in report.comparisons:
        if pair.case.is_of(row) and pair.baseline.is_of(first) and pair.ratio:
            return pair.ratio
    here, there = (each.metrics["latency_median_s"] for each in (row, first))
    return (here or 0.0) / (there or 1.0)


def _verdict(row: Result, reference: Result, report: Report) -> Verdict | None:
    """On `row` against `reference`, whichever of the two is the baseline of their comparison."""
    for pair in report.comparisons:
        if pair.verdict is None:
            continue
        said = Verdict(pair.verdict)
        if pair.case.is_of(row) and pair.baseline.is_of(reference):
            return said
        if pair.case.is_of(reference) and pair.baseline.is_of(row):
            return MIRRORED.get(said, said)
    return None


def flips(report: Report) -> Iterator[tuple[Comparison, Comparison]]:
    """Of every two models that are decided both ways, the first comparison that says each."""
    decided: dict[frozenset[Model], dict[Model, Comparison]] = {}
    for pair in report.comparisons:
        if is_alike(pair) and pair.verdict in MIRRORED:
            models = [side.case.model for side in (pair.baseline, pair.case) if side.case]
            faster = models[pair.verdict == Verdict.FASTER]
            decided.setdefault(frozenset(models), {}).setdefault(faster, pair)
    for by_faster in decided.values():
        if len(by_faster) > 1:
            first, second = by_faster.values()
            yield first, second


def headline(report: Report) -> list[Comparison]:
    """The comparisons that are told one by one: those with a workload's first case, and with the
    first model in every way that models are executed. The rest is what orders are made of."""
    behind = [pair.case for pair in report.comparisons if is_alike(pair)]
    return [pair for pair in report.comparisons if not (is_alike(pair) and pair.baseline in behind)]


def is_alike(pair: Comparison) -> bool:
    """Whether it compares two models that are executed alike."""
    baseline, case = pair.baseline.case, pair.case.case
    return baseline is not None and case is not None and baseline.execution == case.execution
