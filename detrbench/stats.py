"""Statistics of samples: pure functions of numbers, each with its definition and source.

Quantiles here are type 7 of Hyndman & Fan, "Sample Quantiles in Statistical Packages" (The American
Statistician 50, 1996): linear between the order statistics, the default of NumPy and of R. Nothing
is ever clipped or dropped: on a machine whose every twentieth call is slow, that call is part of
the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def paired_ratio(baseline: Sequence[float], other: Sequence[float]) -> float | None:
    """Latency of `other` over the baseline's: exp of the median of ln(other_i / baseline_i).

    Sample i of both comes from the same round, so what slows the machine for a while slows both and
    cancels. Rounds that only one of them finished are left out; `None` when no round is left.

    Raises:
        ValueError: a sample that is not positive has no logarithm.
    """
    pairs = list(zip(baseline, other, strict=False))
    if not pairs:
        return None
    return math.exp(median([math.log(there) - math.log(here) for here, there in pairs]))
