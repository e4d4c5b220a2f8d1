"""Which row of a report is which row of its baseline, and how to say why one cannot be checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from detrbench.compare.gate.outcomes import Check, Outcome
from detrbench.core.errors import nearest
from detrbench.reports.merge import closest, in_words
from detrbench.reports.metrics import METRICS
from detrbench.reports.report import Report, Result, missing_value, setting_differences
from detrbench.reports.settings import not_of

NOT_OF_COUNTS = not_of("counts")
"""Settings that no count depends on; any other must be the same for rows to be compared at all."""

NOT_OF_TIME = not_of("time")

TIME = next(one for one in METRICS.values() if one.measured and one.spread)
"""What is judged by its interval: the latency."""


@dataclass(frozen=True)
class Match:
    """A row of the baseline, and the row of the report that is the same model; `None` for none."""

    before: Result
    now: Result | None

    @property
    def both(self) -> tuple[Result, Result] | None:
        """The rows, where both are there and whole."""
        if self.now is None or not self.before.status == self.now.status == "ok":
            return None
        return self.before, self.now


def match(baseline: Report, report: Report) -> tuple[Match, ...]:
    """Every row of the baseline with its own of the report: the same model under the same settings,
    as far as counts depend on them, and of several the one most like it. No row is two's."""
    found = closest(baseline.rows, report.rows, _distance)
    return tuple(
        Match(before, report.rows[found[index]] if index in found else None)
        for index, before in enumerate(baseline.rows)
    )


def _distance(before: Result, now: Result) -> tuple[int, int] | None:
    """Of rows that may be compared: whether other things were named, then settings that differ."""
    if now.model != before.model or differing(before, now, NOT_OF_COUNTS):
        return None
    references = [row.case and row.case.model.reference for row in (before, now)]
    other = None not in references and references[0] != references[1]
    return int(other), len(differing(before, now))


def differing(
    before: Result, now: Result, ignored: frozenset[str] = frozenset()
) -> dict[str, tuple[Any, Any]]:
    """Setting -> (before, now), of what is not the same; what one of them does not say is None."""
    found = setting_differences(before.settings, now.settings, unsaid=True)
    return {name: values for name, values in found.items() if name not in ignored}


def missing(before: Result, rows: Sequence[Result]) -> Check:
    """The check of a row of the baseline that none of `rows` is a match for."""
    named = [row for row in rows if row.model == before.model]
    if not named:
        near = nearest(before.model, {row.model for row in rows})
        return invalid_row(before, "this run does not have this model", f"Measure it too; {near}")
    found = min((differing(before, row, NOT_OF_COUNTS) for row in named), key=len)
    reason = f"this run has it under other settings (baseline, this run): {in_words(found)}"
    if not found:  # the row that is like it is compared with another one
        reason = "this run has fewer rows of this model than the baseline"
    return invalid_row(before, reason, "Measure both under the same settings.")


def unfinished(rows: Sequence[Result], where: str = "") -> Iterator[Check]:
    """A check for every row that failed, was interrupted, or is not wholly counted."""
    for row in rows:
        if row.status != "ok":
            reason = row.reason or "no reason was recorded"
            cure = "Its figures are too low." if row.status == "partial" else "Run it again."
            yield invalid_row(row, f"{where}{row.status}: {reason}", cure)


def invalid_row(row: Result, reason: str, hint: str) -> Check:
    """The check of a row that has no figure to check."""
    return Check(Outcome.INVALID, row.model, row.settings, reasons=(reason,), hint=hint)


def no_value(row: Result, key: str, which: str) -> str:
    """Why a figure that is needed is not there."""
    return f"{which} has no value: {missing_value(row, key)}"
