"""When warm-up is over, how many rounds are enough, in which order steps run: pure, no clock.

Every round runs every step once. What happens to the machine meanwhile (a neighbour, the clock, the
temperature) then happens to all of them, and their ratio within a round hardly notices.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from detrbench.core.errors import UsageError, nearest
from detrbench.core.stats import median


@dataclass(frozen=True)
class Plan:
    """How long to measure, and how.

    Attributes:
        budget_s: seconds for everything in this process, building included; `None` for no limit.
        rounds: stop after this many timed rounds; `None` to use up the budget.
        order: a name of `ORDERS`.
        seed: for an order that draws.
        window: rounds of one warm-up window.
        most_windows: warm-up ends after these, settled or not.
        warmup_share: of the budget, at most this much goes into warm-up.
        tolerance: two windows whose medians are this close have settled.
        least_rounds: timed even beyond the budget, up to twice as long. A 95 % interval for a
            median exists from six samples on (1 - 2 * 0.5**6 = 0.969, and 0.9375 with five).
    """

    budget_s: float | None = 30.0
    rounds: int | None = None
    order: str = "abba"
    seed: int = 0
    window: int = 3
    most_windows: int = 10
    warmup_share: float = 1 / 3
    tolerance: float = 0.05
    least_rounds: int = 6

    def __post_init__(self) -> None:
        if self.budget_s is None and self.rounds is None:
            hint = "Give a time budget, a number of rounds, or both."
            raise UsageError("a measurement needs an end", hint=hint)
        if self.budget_s is not None and not self.budget_s > 0:
            what = f"a time budget of {self.budget_s} s leaves no time"
            raise UsageError(what, hint="Give more than 0 seconds.")
        if self.rounds is not None and self.rounds < 1:
            what = f"{self.rounds} rounds measure nothing"
            raise UsageError(what, hint="Ask for at least 1 round.")
        if self.order not in ORDERS:
            raise UsageError(f"unknown order {self.order!r}", hint=nearest(self.order, ORDERS))


def abba(steps: int, seed: int) -> Iterator[tuple[int, ...]]:
    """0 1 2, 2 1 0, 0 1 2, ...: over two rounds a linear drift costs every step the same."""
    forward = tuple(range(steps))
    while True:
        yield forward
        yield forward[::-1]


def shuffled(steps: int, seed: int) -> Iterator[tuple[int, ...]]:
    """A fresh permutation each round, from the seed: nothing periodic can lock onto it."""
    draw = random.Random(seed)
    while True:
        yield tuple(draw.sample(range(steps), steps))


Order = Callable[[int, int], Iterator[tuple[int, ...]]]
ORDERS: dict[str, Order] = {"abba": abba, "shuffled": shuffled}


def settled(earlier: Sequence[float], later: Sequence[float], tolerance: float) -> bool:
    """Whether two successive windows of one step look alike, so that warm-up is over.

    They do when their medians agree within `tolerance`, or when each median lies inside the other
    window: what is left is then noise, not a trend, and noise is the business of the paired rounds
    (on a busy machine a fixed tolerance alone would never be met). After pyperf, which compares the
    quartiles of windows of ten values (`pyperf calibrate`); whole forward passes are too long for
    tens of them.
    """
    first, second = median(earlier), median(later)
    close = abs(first - second) <= tolerance * min(first, second)
    mingled = min(earlier) <= second <= max(earlier) and min(later) <= first <= max(later)
    return close or mingled


def enough(plan: Plan, rounds: int, elapsed_s: float, round_s: float) -> str | None:
    """Why to stop after `rounds` timed rounds, "rounds" or "budget"; `None` to go on.

    The budget is asked only between pairs of rounds, so that an ABBA block is never cut in half by
    it, and answers before it is overdrawn: two more rounds of `round_s` seconds must still fit.
    """
    if plan.rounds is not None and rounds >= plan.rounds:
        return "rounds"
    if plan.budget_s is None or rounds % 2:
        return None
    limit_s = plan.budget_s if rounds >= plan.least_rounds else 2 * plan.budget_s
    return "budget" if elapsed_s + 2 * round_s > limit_s else None
