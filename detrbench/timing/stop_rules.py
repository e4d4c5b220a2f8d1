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
        timed_s: stop as soon as the timed rounds have taken so long, if `least_rounds` are done.
        order: a name of `ORDERS`.
        seed: for an order that draws.
        warmup_s: rounds that never count go on for so long; one at least.
        window: rounds of one window, an ABBA block. Two that agree end the warm-up, and count.
        most_windows: the last two count after these, settled or not.
        warmup_share: of the budget, at most this much goes into what does not count.
        tolerance: two windows whose medians are this close have settled.
        least_rounds: timed even beyond the budget, up to twice as long.
    """

    budget_s: float | None = 30.0
    rounds: int | None = None
    timed_s: float | None = None
    order: str = "abba"
    seed: int = 0
    warmup_s: float = 0.5
    window: int = 2
    most_windows: int = 12
    warmup_share: float = 1 / 3
    tolerance: float = 0.05
    least_rounds: int = 4

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
    """Whether a step, by two successive windows, has stopped getting faster: warm-up is over.

    It still does where the whole of the later window lies below the earlier one, and the medians
    are further apart than `tolerance`. What is slower again, or mingled, is noise, which is the
    business of the paired rounds (on a busy machine a tolerance alone would never be met). After
    pyperf, which compares the quartiles of windows of ten values (`pyperf calibrate`); whole
    forward passes are too long for tens of them.
    """
    faster = max(later) < min(earlier)
    return not faster or median(earlier) - median(later) <= tolerance * median(later)


def enough(plan: Plan, rounds: int, elapsed_s: float, round_s: float) -> str | None:
    """Why to stop after `rounds` timed rounds, "rounds", "time" or "budget"; `None` to go on.

    Time and budget are asked only between pairs of rounds, so that an ABBA block is never cut in
    half by them, and the budget answers before it is overdrawn: two more rounds of `round_s`
    seconds must still fit.
    """
    if plan.rounds is not None and rounds >= plan.rounds:
        return "rounds"
    if rounds % 2:
        return None
    least = rounds >= plan.least_rounds
    if plan.timed_s is not None and least and rounds * round_s >= plan.timed_s:
        return "time"
    if plan.budget_s is None:
        return None
    limit_s = plan.budget_s if least else 2 * plan.budget_s
    return "budget" if elapsed_s + 2 * round_s > limit_s else None
