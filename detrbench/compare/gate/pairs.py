"""The comparisons of a report, read with the suspicion that a gate owes to a file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from detrbench.core.units import is_finite
from detrbench.reports.report import OF_THE_MODEL, Report, ReportError, Result
from detrbench.reports.verdicts import ALPHA, Verdict


@dataclass(frozen=True)
class Pair:
    """A model timed against another in the same rounds: a comparison of a report, checked."""

    baseline: str
    model: str
    settings: Mapping[str, Any]
    verdict: Verdict
    reasons: tuple[str, ...]
    log_ratios: tuple[float, ...]
    confidence: float

    @property
    def ratio(self) -> float | None:
        """Latency over the baseline's, over all processes."""
        values = self.log_ratios
        return math.exp(math.fsum(values) / len(values)) if values else None

    def is_of(self, row: Result) -> bool:
        """Whether the row is of the model that was timed against the other."""
        return row.model == self.model and self._under(row, frozenset())

    def refers_to(self, row: Result) -> bool:
        """Whether the row is of the model that the other was timed against."""
        return row.model == self.baseline and self._under(row, OF_THE_MODEL)

    def concerns(self, row: Result) -> bool:
        """Whether the row is of either model."""
        return self.is_of(row) or self.refers_to(row)

    def _under(self, row: Result, ignored: frozenset[str]) -> bool:
        return not {
            name
            for name, value in self.settings.items()
            if name not in ignored and (name not in row.settings or row.settings[name] != value)
        }


def spoilt(pairs: Iterable[Pair]) -> list[str]:
    """Why nothing may be said of what was timed in `pairs`."""
    found = [
        f"{pair.model} against {pair.baseline} is INVALID: "
        f"{'; '.join(pair.reasons) or 'no reason was recorded'}"
        for pair in pairs
        if pair.verdict is Verdict.INVALID
    ]
    return list(dict.fromkeys(found))


def pairs_of(report: Report, which: str = "this run") -> list[Pair]:
    """Every comparison of a report.

    Args:
        which: report it is, for the messages.

    Raises:
        ReportError: one is not a comparison.
    """
    return [
        _pair(plain, f"{which}, comparisons[{index}]")
        for index, plain in enumerate(report.comparisons)
    ]


_LARGEST = 20.0
"""Of a log-ratio: a latency of five hundred million others is a fault of the file."""

_SUREST = 1 - 1e-6
"""No run is more confident: the error is shared out to at most some dozen looks."""

_TYPES: dict[str, type] = {
    "baseline": str, "model": str, "settings": dict, "verdict": str, "reasons": list,
    "process_log_ratios": list,
}  # fmt: skip


def _pair(plain: Any, where: str) -> Pair:
    """A comparison as it stands in a file, which nothing has looked into so far."""
    hint = "Give a run.json written by detrbench latency or detrbench run."
    for name, kind in _TYPES.items():
        if not isinstance(plain, dict) or not isinstance(plain.get(name), kind):
            raise ReportError(f"has no usable {name}", where=where, hint=hint)
    ratios, confidence = plain["process_log_ratios"], plain.get("confidence", 1 - ALPHA)
    if not all(is_finite(value) and abs(value) <= _LARGEST for value in ratios):
        raise ReportError("process_log_ratios holds no ratios", where=where, hint=hint)
    if not (is_finite(confidence) and 0 < confidence <= _SUREST):
        raise ReportError(f"confidence is {confidence!r}, which is none", where=where, hint=hint)
    if plain["verdict"] not in {one.value for one in Verdict}:
        raise ReportError(f"verdict is {plain['verdict']!r}", where=where, hint=hint)
    return Pair(
        plain["baseline"],
        plain["model"],
        plain["settings"],
        Verdict(plain["verdict"]),
        tuple(map(str, plain["reasons"])),
        tuple(map(float, ratios)),
        float(confidence),
    )
