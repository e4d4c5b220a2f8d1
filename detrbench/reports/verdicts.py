"""What two models' latencies say of each other: one number per process in, a verdict out. Pure.

A verdict is about a margin, the smallest difference worth talking about, and needs the whole
interval on one side of it, as criterion.rs does. The margin is one of ratios: 2 % reaches from
1 / 1.02 to 1.02, so that exchanging the two models mirrors the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from detrbench.core.errors import UsageError
from detrbench.core.stats import Interval, mean_interval
from detrbench.core.units import show_eta, show_many

LEAST_PROCESSES = 6
"""A 95 % interval for a median exists from six on, and with fewer t alone triples the width."""

FEWEST_PROCESSES = 3
"""From so many on, a difference far beyond the margin is a verdict all the same."""

MARGIN = 0.02
ALPHA = 0.05

FEW_ALPHA = 0.005 / (LEAST_PROCESSES - FEWEST_PROCESSES)
"""Error allowed to each look at three, four and five processes: half a percent in all."""

FEW_SD = 0.02
"""So few may scatter little by accident, as when two modes are there and all three met the same
one; they are taken to scatter at least so much. With it they are wrong no more often than six are,
in every kind of noise that `benchmarks/verdict_simulation.py` tries."""

BUSY_MARGIN = 0.10
"""What neighbours may do to a ratio by themselves: on a disturbed machine, no verdict within it."""


class Verdict(str, Enum):
    """What may be said of a model against its baseline."""

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    EQUIVALENT = "EQUIVALENT"
    INCONCLUSIVE = "INCONCLUSIVE"
    TOO_FEW = "TOO FEW"
    BUSY = "BUSY"
    INVALID = "INVALID"

    @property
    def final(self) -> bool:
        """Whether measuring longer would not be for this."""
        return self in (Verdict.FASTER, Verdict.SLOWER, Verdict.EQUIVALENT)

    @property
    def silent(self) -> bool:
        """Whether nothing may be built on it: data are few, disturbed or wrong."""
        return self in (Verdict.TOO_FEW, Verdict.BUSY, Verdict.INVALID)


@dataclass(frozen=True)
class Judgement:
    """A verdict, the ratio it is of, and why it is not a plainer one.

    Attributes:
        interval: of latency over the baseline's; `None` where fewer than two processes have one.
        ratio: its middle, also of a single process; `None` if there is nothing to divide.
        alpha: of the interval, which holds the true ratio with probability 1 - alpha.
    """

    verdict: Verdict
    ratio: float | None
    interval: Interval | None
    reasons: tuple[str, ...] = ()
    alpha: float = ALPHA


def judge(
    log_ratios: Sequence[float],
    *,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    process_s: float | None = None,
    spoilt: Sequence[str] = (),
    disturbed: Sequence[str] = (),
) -> Judgement:
    """The verdict on a model from its log-ratio to the baseline in each of several processes.

    Args:
        log_ratios: one number per process, the median of the paired ln(model / baseline).
        margin: as a ratio minus one, 0.02 for 2 %.
        alpha: of the interval of six processes and more; that of fewer errs less, see `FEW_ALPHA`.
        process_s: what another process would take, where somebody knows.
        spoilt: what makes any verdict INVALID: outputs not finite, an environment that changed, ...
        disturbed: what the machine did meanwhile that may move a ratio by up to `BUSY_MARGIN`.

    Raises:
        UsageError: a margin that is not positive.
    """
    check_margin(margin)
    enough = len(log_ratios) >= LEAST_PROCESSES
    found = _of(log_ratios, margin, alpha) if enough else _of_few(log_ratios, margin, process_s)
    if spoilt:
        return replace(found, verdict=Verdict.INVALID, reasons=tuple(spoilt))
    if disturbed and not _beyond(found, BUSY_MARGIN):
        if not enough:
            found = _too_few(log_ratios, process_s)
        verdict = Verdict.BUSY if enough else Verdict.TOO_FEW
        return replace(found, verdict=verdict, reasons=(*found.reasons, *disturbed))
    return found


def _of(log_ratios: Sequence[float], margin: float, alpha: float) -> Judgement:
    interval = _interval(log_ratios, alpha)
    assert interval is not None, "two have one already"
    verdict, why = _where(interval, margin)
    return Judgement(verdict, _centre(log_ratios), interval, why, alpha)


def _of_few(log_ratios: Sequence[float], margin: float, process_s: float | None) -> Judgement:
    """A verdict where the difference is so large that so few tell it; else the way it points."""
    centre = _centre(log_ratios)
    wide = None
    if len(log_ratios) >= FEWEST_PROCESSES:
        wide = _interval(log_ratios, FEW_ALPHA, FEW_SD)
    if wide is not None:
        verdict, _ = _where(wide, margin)
        if verdict in (Verdict.FASTER, Verdict.SLOWER):
            return Judgement(verdict, centre, wide, (), FEW_ALPHA)
    return _too_few(log_ratios, process_s)


def _too_few(log_ratios: Sequence[float], process_s: float | None) -> Judgement:
    why = (_direction(log_ratios, process_s),)
    interval = _interval(log_ratios, ALPHA)
    return Judgement(Verdict.TOO_FEW, _centre(log_ratios), interval, why)


def _interval(log_ratios: Sequence[float], alpha: float, least_sd: float = 0.0) -> Interval | None:
    in_logs = mean_interval(log_ratios, alpha, least_sd)
    return None if in_logs is None else in_logs.exp()


def _centre(log_ratios: Sequence[float]) -> float | None:
    return math.exp(math.fsum(log_ratios) / len(log_ratios)) if log_ratios else None


def _direction(log_ratios: Sequence[float], process_s: float | None) -> str:
    """Where so few processes point, and what the rest would take, in words."""
    done, missing = len(log_ratios), LEAST_PROCESSES - len(log_ratios)
    more = show_many(missing, "more process decides", "more processes decide")
    if process_s is not None:
        more += f": about {show_eta(missing * process_s)}"
    if not done:
        return f"no process has a ratio; {more}"
    faster = sum(ratio < 0 for ratio in log_ratios)
    way, ways = ("faster", faster) if 2 * faster >= done else ("slower", done - faster)
    return f"{way} in {ways} of {show_many(done, 'process', 'processes')}; {more}"


def _beyond(found: Judgement, margin: float) -> bool:
    """Whether the interval is on one side of a larger margin than was asked for."""
    if found.interval is None or not found.verdict.final:
        return False
    verdict, _ = _where(found.interval, margin)
    return verdict in (Verdict.FASTER, Verdict.SLOWER)


def intervals_of(
    log_ratios: Sequence[float], confidence: float | None = None
) -> tuple[Interval, ...]:
    """Those that `judge` may have given a ratio, so sure: few processes may have either of two."""
    alpha = ALPHA if confidence is None else 1 - confidence
    found = [_interval(log_ratios, alpha)]
    if len(log_ratios) < LEAST_PROCESSES:
        found = [_interval(log_ratios, ALPHA), _interval(log_ratios, FEW_ALPHA, FEW_SD)]
    return tuple(one for one in found if one is not None)


def follows(verdict: str, interval: Interval | None, processes: int, margin: float | None) -> bool:
    """Whether `judge` can have said `verdict` of so many processes with such an interval.

    What takes the meaning from a run, or disturbs it, is not known here: INVALID always can be.
    """
    said = Verdict(verdict)
    if said is Verdict.INVALID:
        return True
    if said is Verdict.TOO_FEW:
        return processes < LEAST_PROCESSES
    few = processes < LEAST_PROCESSES
    least = FEWEST_PROCESSES if said in (Verdict.FASTER, Verdict.SLOWER) else LEAST_PROCESSES
    if interval is None or processes < least:
        return False
    if said is Verdict.BUSY:
        return _where(interval, BUSY_MARGIN)[0] not in (Verdict.FASTER, Verdict.SLOWER)
    return few or margin is None or _where(interval, margin)[0] is said


def check_margin(margin: float) -> float:
    """`margin`, if a verdict can be about it.

    Raises:
        UsageError: it is not positive, or not smaller than everything.
    """
    if not 0 < margin < 1:
        said = f"a margin of {margin:g} is not between 0 and 1"
        raise UsageError(said, hint="Give 0.02 for 2 %.")
    return margin


def _where(interval: Interval, margin: float) -> tuple[Verdict, tuple[str, ...]]:
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
