"""What becomes of the checks of a gate, and of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from detrbench.compare.gate.policy import Policy
from detrbench.core.stats import Interval
from detrbench.reports.report import ReportError


class Outcome(str, Enum):
    """What became of a check, the one that decides a gate first."""

    REGRESSION = "REGRESSION"
    EXCEEDED = "LIMIT EXCEEDED"
    INVALID = "INVALID"
    INCONCLUSIVE = "INCONCLUSIVE"
    PASS = "PASS"

    @property
    def exit_code(self) -> int:
        """What a command ends with: 0 pass, 1 regression or limit exceeded, 3 inconclusive, 4
        invalid; 2 is left to usage errors. Stable."""
        codes = {Outcome.PASS: 0, Outcome.INCONCLUSIVE: 3, Outcome.INVALID: 4}
        return codes.get(self, 1)


@dataclass(frozen=True)
class Check:
    """One figure of one model against its limit.

    Attributes:
        metric: key of the figure; `None` where a whole row, or a whole file, cannot be checked.
        baseline, value: before and now, in base units; of a latency from two runs, as ratios to
            that of `reference`.
        limit: the allowed increase, 0.05 for 5 %; with `ceiling` the largest value allowed.
        interval: of now over before; with `ceiling` of the value itself.
        reasons: why it is not a pass.
        hint: the next thing to do about it.
    """

    outcome: Outcome
    model: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    metric: str | None = None
    baseline: float | None = None
    value: float | None = None
    limit: float | None = None
    ceiling: bool = False
    interval: Interval | None = None
    reference: str | None = None
    reasons: tuple[str, ...] = ()
    hint: str | None = None

    @property
    def ratio(self) -> float | None:
        """Now over before, as well as it is known."""
        if self.ceiling or self.value is None or not self.baseline:
            return None
        return self.interval.estimate if self.interval else self.value / self.baseline

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        plain = dict(vars(self))
        interval = plain.pop("interval")
        return {
            **plain,
            "outcome": self.outcome.value,
            "settings": dict(self.settings),
            "reasons": list(self.reasons),
            "ratio": self.ratio,
            "interval": interval and dict(vars(interval)),
        }


@dataclass(frozen=True)
class GateResult:
    """Every check, and what a reader of them must know."""

    checks: tuple[Check, ...]
    policy: Policy = field(default_factory=Policy)
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The worst: a proven regression is worth more than what could not be checked beside it,
        and nothing but passes is a pass."""
        return self.ordered[0].outcome if self.checks else Outcome.INVALID

    @property
    def ordered(self) -> tuple[Check, ...]:
        """The checks, those that decide first."""
        order = list(Outcome)
        return tuple(sorted(self.checks, key=lambda check: order.index(check.outcome)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "outcome": self.outcome.value,
            "exit_code": self.outcome.exit_code,
            "checks": [check.to_dict() for check in self.checks],
            "notes": list(self.notes),
            "policy": self.policy.to_dict(),
        }


def unreadable(error: ReportError) -> GateResult:
    """The result where a file is no report that this version can read: never a pass."""
    where = f"{error.where}: " if error.where else ""
    check = Check(Outcome.INVALID, reasons=(f"{where}{error.what}",), hint=error.hint)
    return GateResult((check,))


def judged(
    interval: Interval | None, limit: float, invalid: Sequence[str] = (), doubts: Sequence[str] = ()
) -> tuple[Outcome, tuple[str, ...]]:
    """Where an interval lies, seen from a limit that it should stay below; and why.

    Args:
        invalid: what takes all meaning from it.
        doubts: what does not let it pass, though it may still fail.
    """
    if interval is None or invalid:
        return Outcome.INVALID, tuple(invalid)
    if interval.low > limit:
        return Outcome.REGRESSION, ("the whole interval is beyond the limit",)
    if not interval.high < limit:
        return Outcome.INCONCLUSIVE, ("the interval reaches across the limit", *doubts)
    return (Outcome.INCONCLUSIVE if doubts else Outcome.PASS), tuple(doubts)
