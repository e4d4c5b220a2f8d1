"""Checks of time where both sides were timed in the same rounds: there is no drift between them.

What one run leaves open is timed again, in processes that share nothing with the first but the
machine, and decided by the processes of all runs together. A failure must have been seen in every
one of them, at least twice: each run's own ratio is beyond the limit, and the interval over all
processes leaves no doubt. One run's own interval need not: where the first was right, half of the
others are a little nearer to the limit, and asking each for a whole interval would let real
regressions pass undecided.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from detrbench.compare.gate.outcomes import Check, Outcome, judged
from detrbench.compare.gate.pairs import error_of, pairs_of, spoilt
from detrbench.compare.gate.rows import TIME
from detrbench.compare.gate.times import Known, doubts_about, time_check, too_few
from detrbench.core.stats import Interval, mean_interval
from detrbench.core.units import show_change
from detrbench.reports.comparison import CONFIRMATION, Comparison, Side
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import LEAST_PROCESSES

MOST_RUNS = 3
"""Of one model. The first look may err in 5 %, half of it to either side, and both others in half
of that: an increase of just the limit passes in at most 5 %, whichever run ends it, and fails in
fewer (Bonferroni)."""

_LONGER = "Time it longer: --budget; or when the machine is quiet."


def undecided(runs: Sequence[Comparison], limit: float) -> str | None:
    """Why one more run is worth its time; `None` where these decide, or none can.

    Args:
        runs: of one model, the first one first.
        limit: the allowed increase, 0.05 for 5 %.
    """
    interval = _together(runs)
    if len(runs) >= MOST_RUNS or spoilt(runs) or interval is None:
        return None
    outcome, _ = judged(interval.exp(), 1 + limit)
    if outcome is Outcome.INCONCLUSIVE:
        return "its interval reaches across the limit"
    if outcome is Outcome.REGRESSION and len(runs) == 1:
        return "it looks slower by more than the limit"
    return None


def paired_checks(
    now: Report, then: Report, measured: Report, limit: float, known: Known
) -> Iterator[Check]:
    """The latency of every row of `now` that `measured` has a comparison of.

    Args:
        measured: holds the comparisons, those of further runs with CONFIRMATION in their settings.
        limit: the allowed increase, 0.05 for 5 %.

    Raises:
        ReportError: a comparison is not one.
    """
    pairs = pairs_of(measured)
    for row in now.rows:
        if runs := [pair for pair in pairs if _same(pair.case, row)]:
            before = next((one for one in then.rows if _same(one, row)), None)
            value = None if before is None else before.metrics.get(TIME.key)
            values = (value, row.metrics.get(TIME.key))
            yield _decided(row, sorted(runs, key=_number), limit, known, values)


def _same(one: Side | Result, row: Result) -> bool:
    """Whether both are of what was asked for as one case, at whatever revision and in which run."""
    here, there = ((each.model, each.case and each.case.name) for each in (one, row))
    return here == there


def _decided(
    row: Result,
    runs: Sequence[Comparison],
    limit: float,
    known: Known,
    values: tuple[float | None, float | None],
) -> Check:
    first, *more = runs
    sound = [first, *(run for run in more if _silence(run) is None)]
    processes = [len(run.process_log_ratios) for run in sound]
    check = time_check(
        row,
        _together(sound),
        limit,
        processes=processes,
        spoilt=spoilt(sound),
        doubts=doubts_about(limit, row, known),
        values=values,
        hint=_LONGER,
    )
    if check.outcome is Outcome.REGRESSION:
        if len(sound) == 1:
            check = _doubtful(check, "it was seen once, and no second run has confirmed it")
        elif not all((run.mean_ratio or 0) > 1 + limit for run in sound):
            check = _doubtful(check, "it was not seen in every run")
    return dataclasses.replace(check, reasons=(*check.reasons, *map(_told, more)))


def _doubtful(check: Check, reason: str) -> Check:
    return dataclasses.replace(check, outcome=Outcome.INCONCLUSIVE, reasons=(reason,), hint=_LONGER)


def _together(runs: Sequence[Comparison]) -> Interval | None:
    """Over the processes of all `runs`. Where one had to pay for looking early, this pays too."""
    log_ratios = [value for run in runs for value in run.process_log_ratios]
    alpha = min(map(error_of, runs))
    return mean_interval(log_ratios, alpha if len(runs) == 1 else alpha / 2)


def _told(run: Comparison) -> str:
    """What a further run found by itself."""
    what = f"run {_number(run)}, in fresh processes,"
    silence, interval = _silence(run), _together([run])
    if silence is not None or interval is None:
        return f"{what} says nothing: {silence or 'it has no interval'}"
    ends = interval.exp()
    return f"{what} finds {show_change(ends.low)} to {show_change(ends.high)}"


def _silence(run: Comparison) -> str | None:
    """Why a further run says nothing, if it does not."""
    processes = len(run.process_log_ratios)
    if spoilt([run]):
        return "; ".join(run.reasons) or "no reason was recorded"
    return too_few(processes) if processes < LEAST_PROCESSES else None


def _number(run: Comparison) -> int:
    return int(run.settings.get(CONFIRMATION) or 1)
