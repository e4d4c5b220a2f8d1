"""Statistics of samples: pure functions of numbers, each with its definition and source.

Quantiles here are type 7 of Hyndman & Fan, "Sample Quantiles in Statistical Packages" (The American
Statistician 50, 1996): linear between the order statistics, the default of NumPy and of R. Nothing
is ever clipped or dropped: on a machine whose every twentieth call is slow, that call is part of
the answer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, takewhile

QUANTILE_DEFINITION = "linear between order statistics (Hyndman & Fan type 7)"


def quantile(samples: Sequence[float], share: float) -> float:
    """The `share` quantile (0 to 1) of `samples`, Hyndman & Fan type 7.

    Raises:
        ValueError: no samples, or a share outside 0 to 1.
    """
    if not samples:
        raise ValueError("a quantile needs at least one sample")
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a quantile's share lies in 0 to 1, not {share}")
    ordered = sorted(samples)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    weight = position - below
    return ordered[below] * (1.0 - weight) + ordered[above] * weight


def median(samples: Sequence[float]) -> float:
    """The middle of `samples`, the mean of the two middle ones when their number is even."""
    return quantile(samples, 0.5)


# --- intervals ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval, all in the unit of the samples."""

    estimate: float
    low: float
    high: float

    def exp(self) -> Interval:
        """From logarithms back to ratios; an end beyond every float becomes the last one."""
        least, most = math.log(sys.float_info.min), math.log(sys.float_info.max)
        estimate, low, high = (
            math.exp(min(max(each, least), most)) for each in (self.estimate, self.low, self.high)
        )
        return Interval(estimate, low, high)


def mean_interval(
    values: Sequence[float], alpha: float = 0.05, least_sd: float = 0.0
) -> Interval | None:
    """Mean of `values` with its two-sided 1 - alpha interval; `None` for fewer than two. They are
    taken to scatter by `least_sd` at least, where their number is too small to tell.

    Student, "The Probable Error of a Mean" (Biometrika 6, 1908). For a latency ratio the values are
    one number per process, the median of its paired log-ratios: rounds inside a process depend on
    each other, processes do not (Kalibera & Jones, "Rigorous Benchmarking in Reasonable Time",
    ISMM 2013). Medians of rounds have lost most of the tails; what is left of heavy tails makes
    this interval wider than it need be, not narrower, which the tests show by simulation.
    """
    n = len(values)
    if n < 2:
        return None
    mean, variance = _mean_and_its_variance(values)
    half = student_t(1 - alpha / 2, n - 1) * max(math.sqrt(variance), least_sd / math.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def welch_interval(
    before: Sequence[float], after: Sequence[float], alpha: float = 0.05
) -> Interval | None:
    """Mean of `after` minus mean of `before`, with its two-sided 1 - alpha interval.

    For two samples that know nothing of each other, and may spread differently: Welch, "The
    Generalization of 'Student's' Problem when Several Different Population Variances are Involved"
    (Biometrika 34, 1947). Its degrees of freedom are rounded down, which widens the interval.
    `None` where either has fewer than two values.
    """
    if min(len(before), len(after)) < 2:
        return None
    (mean_before, a), (mean_after, b) = map(_mean_and_its_variance, (before, after))
    centre = mean_after - mean_before
    if a + b == 0:
        return Interval(centre, centre, centre)
    # In shares of a + b, which may be too small to be squared.
    share_a, share_b = a / (a + b), b / (a + b)
    degrees = 1 / (share_a**2 / (len(before) - 1) + share_b**2 / (len(after) - 1))
    half = student_t(1 - alpha / 2, max(1, math.floor(degrees))) * math.sqrt(a + b)
    return Interval(centre, centre - half, centre + half)


def _mean_and_its_variance(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the squared standard error of it; needs two values."""
    n = len(values)
    mean = math.fsum(values) / n
    return mean, math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n


def median_interval(values: Sequence[float], alpha: float = 0.05) -> Interval | None:
    """Median of `values` between two order statistics; `None` where too few for the confidence.

    The k-th smallest and k-th largest enclose the median of any continuous distribution, unless
    fewer than k of n values fall on one side of it: 2 P(Binomial(n, 1/2) < k). The largest k for
    which that is at most alpha is taken; for 95 % it exists from six values on.
    David & Nagaraja, "Order Statistics" (3rd ed., 2003), section 7.1.
    """
    n = len(values)
    below = accumulate(math.comb(n, k) / 2**n for k in range(n))
    k = sum(1 for _ in takewhile(lambda share: 2 * share <= alpha, below))
    if k == 0:
        return None
    ordered = sorted(values)
    return Interval(median(ordered), ordered[k - 1], ordered[n - k])


@cache
def student_t(share: float, degrees: int) -> float:
    """The `share` quantile of Student's t distribution, for whole degrees of freedom.

    With theta = atan(t / sqrt(degrees)) the distribution function is a finite sum (Abramowitz &
    Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4); theta is found by bisection.

    Raises:
        ValueError: a share outside 0 to 1, or fewer than one degree of freedom.
    """
    if not 0.0 < share < 1.0 or degrees < 1:
        raise ValueError(f"t has no quantile {share} with {degrees} degrees of freedom")
    if share < 0.5:
        return -student_t(1 - share, degrees)
    inside = 2 * share - 1  # P(|T| <= t)
    low, high = 0.0, math.pi / 2
    for _ in range(100):  # to the last bit: each step halves an interval of 1.6
        middle = (low + high) / 2
        if _inside_t(middle, degrees) < inside:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _inside_t(theta: float, degrees: int) -> float:
    """P(|T| <= sqrt(degrees) tan theta)."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for factor in range(2 + odd, degrees - 1, 2):  # 2/3, 4/5, ... or 1/2, 3/4, ...
        term *= (factor - 1) / factor * cosine**2
        total += term
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def paired_log_ratios(baseline: Sequence[float], other: Sequence[float]) -> list[float]:
    """ln(other_i / baseline_i) of every round that both finished.

    Sample i of both comes from the same round, so what slows the machine for a while slows both and
    cancels. Rounds that only one of them finished are left out.

    Raises:
        ValueError: a sample that is not positive has no logarithm.
    """
    pairs = zip(baseline, other, strict=False)
    return [math.log(there) - math.log(here) for here, there in pairs]


def robust_sd(samples: Sequence[float]) -> float:
    """1.4826 times the median absolute deviation: the standard deviation of a normal bulk, which
    far-out samples do not inflate. Rousseeuw & Croux, JASA 88, 1993."""
    middle = median(samples)
    return 1.4826 * median([abs(sample - middle) for sample in samples])


# --- percentiles -------------------------------------------------------------------------------

LEAST_SAMPLES = {0.50: 11, 0.90: 64, 0.95: 130, 0.99: 662}
"""Share -> samples without which that percentile says nothing; MLPerf LoadGen's early stopping."""


def too_few_for(share: float, samples: int) -> str | None:
    """Why `samples` samples do not allow the percentile `share`, such as "n=200 < 662"."""
    least = LEAST_SAMPLES[share]
    return f"n={samples} < {least}" if samples < least else None
