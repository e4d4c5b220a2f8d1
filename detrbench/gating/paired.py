"""Checks of time where both sides were timed in the same rounds: there is no drift between them.

What a gate fails for must have been seen twice, the second time in processes that share nothing
with the first but the machine: the second run must lie beyond the limit too, and the interval over
the processes of both must leave no doubt. The second run alone need not: where the first was right,
half of the second ones are a little nearer to the limit, and asking each for a whole interval would
let real regressions pass undecided.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from detrbench.gating.outcomes import Check, Outcome
from detrbench.gating.pairs import Pair, pairs_of, spoilt
from detrbench.gating.rows import TIME
from detrbench.gating.times import Known, doubts_about, time_check
from detrbench.report import Cell, Report
from detrbench.stats import Interval, mean_interval
from detrbench.units import show_change

CONFIRMATION = "confirmation"
"""The setting that tells a second run's comparison from the first one's."""

_LONGER = "Time it longer: --budget; or when the machine is quiet."


def paired_checks(
    now: Report, then: Report, measured: Report, limit: float, known: Known
) -> Iterator[Check]:
    """The latency of every row of `now` that `measured` has a comparison of.

    Args:
        measured: holds the comparisons, those of second runs with CONFIRMATION in their settings.
        limit: the allowed increase, 0.05 for 5 %.
        known: as in `gate`.

    Raises:
        ReportError: a comparison is not one.
    """
    pairs = pairs_of(measured)
    for row in now.rows:
        of_row = [pair for pair in pairs if pair.model == row.model]
        first = [pair for pair in of_row if not pair.settings.get(CONFIRMATION)]
        again = [pair for pair in of_row if pair.settings.get(CONFIRMATION)]
        if first:
            before = next((one for one in then.rows if one.model == row.model), None)
            values = (None if before is None else _median(before), _median(row))
            yield _confirmed(row, first[0], again, limit, known, values)


def _confirmed(
    row: Cell,
    first: Pair,
    again: Sequence[Pair],
    limit: float,
    known: Known,
    values: tuple[float | None, float | None],
) -> Check:
    check = _check(row, [first], limit, known, values)
    if check.outcome is not Outcome.REGRESSION:
        return check
    if not again:
        return _doubtful(check, "it was seen once, and no second run has confirmed it")
    second = _check(row, again, limit, known, values)
    told = f"a second run, in fresh processes, finds {_said(second)}"
    if second.interval is None or second.interval.estimate <= 1 + limit:
        return _doubtful(check, f"{told}: the first is not confirmed")
    both = _check(row, [first, *again], limit, known, values)
    return dataclasses.replace(both, reasons=(*both.reasons, told))


def _doubtful(check: Check, reason: str) -> Check:
    return dataclasses.replace(check, outcome=Outcome.INCONCLUSIVE, reasons=(reason,), cure=_LONGER)


def _check(
    row: Cell,
    runs: Sequence[Pair],
    limit: float,
    known: Known,
    values: tuple[float | None, float | None],
) -> Check:
    """What the processes of all `runs` together say."""
    log_ratios = [value for run in runs for value in run.log_ratios]
    # Where a run's own interval had to pay for looking early, this one pays likewise.
    alpha = min(1 - run.confidence for run in runs)
    return time_check(
        row,
        mean_interval(log_ratios, alpha),
        limit,
        processes=[len(run.log_ratios) for run in runs],
        spoilt=spoilt(runs),
        doubts=doubts_about(limit, row, known),
        values=values,
        cure=_LONGER,
    )


def _median(row: Cell) -> float | None:
    return row.metrics.get(TIME.key)


def _said(check: Check) -> str:
    if check.interval is None:
        return "; ".join(check.reasons)
    ends: Interval = check.interval
    return f"{show_change(ends.low)} to {show_change(ends.high)}"
