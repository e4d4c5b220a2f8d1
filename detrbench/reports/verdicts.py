"""What two models' latencies say of each other: one number per process in, a verdict out. Pure.

A verdict is about a margin, the smallest difference worth talking about, and needs the whole
interval on one side of it, as criterion.rs does. The margin is one of ratios: 2 % reaches from
1 / 1.02 to 1.02, so that exchanging the two models mirrors the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from detrbench.core.errors import UsageError
from detrbench.core.stats import Interval, mean_interval
from detrbench.core.units import show_many

LEAST_PROCESSES = 6
"""A 95 % interval for a median exists from six on, and with fewer t alone triples the width."""

MARGIN = 0.02
ALPHA = 0.05


class Verdict(str, Enum):
    """What may be said of a model against its baseline."""

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    EQUIVALENT = "EQUIVALENT"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"

    @property
    def final(self) -> bool:
        """Whether measuring longer would not be for this."""
        return self in (Verdict.FASTER, Verdict.SLOWER, Verdict.EQUIVALENT)


@dataclass(frozen=True)
class Judgement:
    """A verdict, the ratio it is of, and why it is not a plainer one.

    Attributes:
        interval: of latency over the baseline's; `None` where fewer than two processes have one.
        ratio: its middle, also of a single process; `None` if there is nothing to divide.
    """

    verdict: Verdict
    ratio: float | None
    interval: Interval | None
    reasons: tuple[str, ...] = ()


def judge(
    log_ratios: Sequence[float],
    *,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    spoilt: Sequence[str] = (),
) -> Judgement:
    """The verdict on a model from its log-ratio to the baseline in each of several processes.

    Args:
        log_ratios: one number per process, the median of the paired ln(model / baseline).
        margin: as a ratio minus one, 0.02 for 2 %.
        alpha: of the interval; the interval holds the true ratio with probability 1 - alpha.
        spoilt: what makes any verdict INVALID: throttled, contended, outputs not finite, ...

    Raises:
        UsageError: a margin that is not positive.
    """
    check_margin(margin)
    centre = math.exp(math.fsum(log_ratios) / len(log_ratios)) if log_ratios else None
    in_logs = mean_interval(log_ratios, alpha)
    interval = None if in_logs is None else in_logs.exp()
    reasons = list(spoilt)
    if len(log_ratios) < LEAST_PROCESSES:
        has = show_many(len(log_ratios), "process has", "processes have")
        needed = f"a verdict needs {LEAST_PROCESSES}: the spread between them counts"
        reasons.append(f"{has} a ratio, and {needed}")
    if reasons or interval is None:
        return Judgement(Verdict.INVALID, centre, interval, tuple(reasons))
    verdict, why = _of(interval, margin)
    return Judgement(verdict, centre, interval, why)


def check_margin(margin: float) -> float:
    """`margin`, if a verdict can be about it.

    Raises:
        UsageError: it is not positive, or not smaller than everything.
    """
    if not 0 < margin < 1:
        said = f"a margin of {margin:g} is not between 0 and 1"
        raise UsageError(said, hint="Give 0.02 for 2 %.")
    return margin


def _of(interval: Interval, margin: float) -> tuple[Verdict, tuple[str, ...]]:
    """Where the interval lies, seen from the margin; and why that decides nothing."""
    fast, slow = 1 / (1 + margin), 1 + margin
    if interval.high < fast:
        return Verdict.FASTER, ()
    if interval.low > slow:
        return Verdict.SLOWER, ()
    if fast < interval.low and interval.high < slow:
        return Verdict.EQUIVALENT, ()
    side = "both ends" if interval.low <= fast and slow <= interval.high else "one end"
    across = f"the interval reaches across {side} of the {margin:.3g} margin"
    return Verdict.INCONCLUSIVE, (f"{across}; a longer run narrows it",)
