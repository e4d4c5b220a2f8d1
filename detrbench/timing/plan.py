"""How many processes, how many rounds, when to look, when to stop: pure, without a clock.

The unit of replication is a fresh process, because what differs between two starts (memory layout,
thread placement, the neighbours of the minute) is most of the spread between two runs. A pilot, the
first process, shows what a process costs and how its rounds scatter; the rest of the budget is then
divided so that the interval over processes becomes narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detrbench.core.errors import UsageError
from detrbench.core.stats import student_t
from detrbench.core.units import show_eta
from detrbench.reports.verdicts import (
    ALPHA,
    FEW_ALPHA,
    FEW_SD,
    FEWEST_PROCESSES,
    LEAST_PROCESSES,
    MARGIN,
    Judgement,
    Verdict,
    check_margin,
)

BETWEEN_SD = 0.008
"""Spread (sd of the log-ratio) that processes have of their own, until this machine's is known.

rtdetr-l against itself on a quiet two-core host: per-process medians of 0.9 to 1.2 %, the scatter
of the rounds inside them included. `detrbench selfcheck` measures it.
"""

INTERIM_ALPHA = 0.01
"""Of the 5 % that all looks together may err, what the looks before the last may: half of it those
at fewer than six processes, as `verdicts.FEW_ALPHA` shares it out, half of it those from six on."""

LEAST_ROUNDS, MOST_ROUNDS = 4, 60
"""Of a process: two ABBA blocks that agree, which is what ends a warm-up and counts; and more than
so many say little that another process would not say better."""

PILOT_S = 2.0
"""Of timed rounds that the first process takes, if its least number of them is done before."""

ENOUGH_S = 600.0
"""What a verdict may take at most where nobody said how long."""

MOST_PROCESSES = 24
"""Of such a run: from there on, four times as many would halve the interval."""


@dataclass(frozen=True)
class Budget:
    """What was asked of a run: time, number, precision; the first that is reached ends it. Each is
    an argument of `measuring.latency`, and explained there.

    Attributes:
        budget_s: `None`, without a number of processes, for what a verdict takes as the pilot finds
            it, and `ENOUGH_S` at most.
        least: processes before the first look.
        extended: how often it was gone on with after its last look.

    Raises:
        UsageError: a number that cannot be carried out.
    """

    budget_s: float | None = None
    processes: int | None = None
    rounds: int | None = None
    target: float | None = None
    margin: float = MARGIN
    early: bool = True
    least: int = FEWEST_PROCESSES
    extended: int = 0

    @property
    def looks(self) -> bool:
        """Whether a look may end the run: who asks for so many processes gets them."""
        early = self.early and self.processes is None
        return not self.extended and (early or self.target is not None)

    @property
    def limit_s(self) -> float:
        """Seconds after which no process begins."""
        if self.budget_s is not None:
            return self.budget_s
        return math.inf if self.processes is not None else ENOUGH_S

    def __post_init__(self) -> None:
        check_margin(self.margin)
        if self.budget_s is not None and not 0 < self.budget_s < math.inf:
            raise UsageError(
                f"a time budget of {self.budget_s} s leaves no time",
                where="budget",
                hint="Give more than 0 seconds.",
            )
        for what, number in (("processes", self.processes), ("rounds", self.rounds)):
            if number is not None and number < 1:
                raise UsageError(f"{number} {what} measure nothing", hint="Give at least 1.")
        if self.target is not None and not 0 < self.target < 1:
            raise UsageError(
                f"a half-width of {self.target:g} is not between 0 and 1", hint="Give 0.01 for 1 %."
            )


class Pilot(NamedTuple):
    """What a process is like on this machine, as the first ones showed.

    Attributes:
        start_s: from its start to its first timed round: imports, building, warm-up.
        round_s: one round of all models.
        within_sd: of the paired log-ratios of its rounds; the widest pair's.
    """

    start_s: float
    round_s: float
    within_sd: float

    def seconds(self, rounds: int) -> float:
        """What a process of so many rounds takes."""
        return self.start_s + rounds * self.round_s


@dataclass(frozen=True)
class RunPlan:
    """What will be done, and what can come of it.

    Attributes:
        processes: at most, those already measured included.
        rounds: of each process still to come, those before the first look left out.
        process_s: expected seconds of each of them.
        left_s: expected seconds until the end, if no look ends it before.
        half_width: expected, of the ratio's interval; infinite with a single process.
        early: whether looks may end it.
        short: rounds of those before the first look, which a large difference ends.
        short_s: expected seconds of each of them.
        shorts: how many of them are still to come.
    """

    processes: int
    rounds: int
    process_s: float
    left_s: float
    half_width: float
    margin: float = MARGIN
    early: bool = True
    short: int = LEAST_ROUNDS
    short_s: float = 0.0
    shorts: int = 0

    @property
    def cannot_reach(self) -> tuple[Verdict, ...]:
        """Verdicts that so few or so noisy processes are not expected to give."""
        if self.processes < FEWEST_PROCESSES:
            return (Verdict.FASTER, Verdict.SLOWER, Verdict.EQUIVALENT)
        few = self.processes < LEAST_PROCESSES
        return (Verdict.EQUIVALENT,) if few or self.half_width >= math.log1p(self.margin) else ()

    def sentences(self) -> tuple[str, ...]:
        """The plan in words, for the person who waits."""
        less = "; less where the difference is clear" if self.early else ""
        each = f"of {self.rounds} rounds, about {show_eta(self.process_s)} each"
        if self.shorts and self.short < self.rounds:
            short = f"of {self.short} rounds, about {show_eta(self.short_s)} each"
            each = f"in all: {self.shorts} more {short}, then those {each}"
        said = [f"plan: {self.processes} processes {each}; {show_eta(self.left_s)} left{less}"]
        if self.processes < FEWEST_PROCESSES:
            missing = FEWEST_PROCESSES - self.processes
            said.append(
                f"plan: no verdict can be reached: that takes {FEWEST_PROCESSES} processes and "
                f"more, about {show_eta(missing * self.process_s)} longer"
            )
        elif math.isfinite(self.half_width):
            least = self.margin + self.half_width
            said.append(
                f"plan: expected interval of a ratio +-{self.half_width:.1%}; at the margin of "
                f"{self.margin:.3g}, FASTER or SLOWER takes a difference of about {least:.1%}"
            )
            if self.cannot_reach:
                said.append(
                    "plan: EQUIVALENT is out of reach; equal models will be INCONCLUSIVE or "
                    "TOO FEW, which is right"
                )
        return tuple(said)


def pilot_share_s(budget: Budget) -> float | None:
    """Seconds the pilot plans with: an eighth of the budget, so that six more fit if it is slow."""
    parts = max(budget.processes or 0, LEAST_PROCESSES + 2)
    return None if budget.budget_s is None else budget.budget_s / parts


def plan_run(
    budget: Budget,
    pilot: Pilot,
    done: int = 1,
    spent_s: float = 0.0,
    between_sd: float = BETWEEN_SD,
) -> RunPlan:
    """Divide what is left of the time into processes and rounds.

    Rounds: with a start that costs s and rounds that cost r each, whose medians vary by w**2 / n
    inside a process and b**2 between processes, a given time buys the narrowest interval at
    n = sqrt(s / r) * w / b (Kalibera & Jones, ISMM 2013, section 6.1). The median of n normal
    values varies by pi / 2 times their mean's variance, so w**2 = pi / 2 * within_sd**2. Fewer
    rounds are taken where only that brings six processes into the budget, but never under four, and
    more where the last process would leave time over. Processes before the first look are short.

    Processes: what fits into the budget; without one, as many as make the interval narrower than
    the margin, so that equal models can be told to be so, within `ENOUGH_S`.

    Args:
        done: processes measured, the pilot among them.
        spent_s: seconds gone.
        between_sd: of the log-ratio from process to process.
    """
    noise = math.sqrt(math.pi / 2) * pilot.within_sd
    rounds = budget.rounds or _even(math.sqrt(pilot.start_s / pilot.round_s) * noise / between_sd)
    left_s = max(budget.limit_s - spent_s, 0.0)
    fitting = math.isfinite(left_s) and budget.rounds is None
    if fitting:
        share_s = left_s / max(1, (budget.processes or LEAST_PROCESSES) - done)
        rounds = max(LEAST_ROUNDS, min(rounds, _rounds_in(share_s, pilot)))
    short = min(rounds, max(LEAST_ROUNDS, _even(PILOT_S / pilot.round_s)))
    short_s = pilot.seconds(short)
    shorts = max(0, budget.least - done) if budget.looks and budget.rounds is None else 0
    sd = math.hypot(between_sd, noise / math.sqrt(rounds))
    fit = _fitting(left_s, shorts, short_s, pilot.seconds(rounds))
    processes = max(done, _processes(budget, done, fit, sd))
    shorts = min(shorts, processes - done)
    longs = processes - done - shorts
    if fitting and budget.budget_s is not None and longs > 0:
        longer = _rounds_in((left_s - shorts * short_s) / longs, pilot)
        rounds = max(rounds, min(MOST_ROUNDS, longer))
    process_s = pilot.seconds(rounds)
    return RunPlan(
        processes=processes,
        rounds=rounds,
        process_s=process_s,
        left_s=shorts * short_s + longs * process_s,
        half_width=expected_half_width(sd, processes),
        margin=budget.margin,
        early=budget.looks,
        short=short if shorts else rounds,
        short_s=short_s,
        shorts=shorts,
    )


def _rounds_in(seconds: float, pilot: Pilot) -> int:
    """Whole ABBA blocks of a process that may take so long."""
    return 2 * math.floor((seconds - pilot.start_s) / pilot.round_s / 2)


def _processes(budget: Budget, done: int, fit: int, sd: float) -> int:
    """In all, where `fit` more fit into the time that is left."""
    if budget.processes is not None:
        return budget.processes
    if budget.budget_s is not None:
        return done + fit
    narrow = budget.target or math.log1p(budget.margin)
    wanted = next(
        (n for n in range(LEAST_PROCESSES, MOST_PROCESSES) if expected_half_width(sd, n) < narrow),
        MOST_PROCESSES,
    )
    return min(done + fit, wanted)


def _fitting(left_s: float, shorts: int, short_s: float, process_s: float) -> int:
    """How many more fit into the time: so many short ones first, then whole ones."""
    if math.isinf(left_s):
        return MOST_PROCESSES
    most = math.floor(left_s / short_s + 1e-9)
    if most > shorts:
        most = shorts + math.floor((left_s - shorts * short_s) / process_s + 1e-9)
    return most


def expected_half_width(sd: float, processes: int) -> float:
    """Of the ratio's interval at the last look, if processes scatter by `sd` of the log-ratio."""
    if processes < 2:
        return math.inf
    few = FEWEST_PROCESSES <= processes < LEAST_PROCESSES
    alpha, sd = (FEW_ALPHA, max(sd, FEW_SD)) if few else (last_alpha(processes), sd)
    return math.expm1(student_t(1 - alpha / 2, processes - 1) * sd / math.sqrt(processes))


def _even(rounds: float) -> int:
    """Up to an even number, for whole ABBA blocks, within what makes sense."""
    return min(max(2 * math.ceil(rounds / 2), LEAST_ROUNDS), MOST_ROUNDS)


# --- looking more than once ----------------------------------------------------------------------
# Who looks after every process and stops at the first verdict he likes errs more often than 5 %.
# So the error is divided: all interim looks together may err in 1 %, the last in the other 4 %. By
# Bonferroni's inequality the interval reported, at whichever look, then misses the true ratio in at
# most 5 % of runs, however the looks depend on each other. It is the "repeated confidence interval"
# of Jennison & Turnbull (J. R. Statist. Soc. B 51, 1989) with the plainest spending of the error:
# a clear difference stops early all the same, and the last look is 7 % wider than without any.
# Looks at three, four and five processes have the shares that `verdicts.judge` knows by itself.


def interim_looks(planned: int) -> int:
    """Looks from the sixth process on, and before the last."""
    return max(0, planned - LEAST_PROCESSES)


def last_alpha(planned: int, budget: Budget | None = None) -> float:
    """Error allowed to the look that ends a run whose end the samples did not choose. Of one that
    was gone on with after such a look, half a percent, and half of that each time again."""
    budget = budget or Budget()
    if budget.extended:
        return INTERIM_ALPHA * 0.5**budget.extended
    return ALPHA - INTERIM_ALPHA if budget.looks and planned > budget.least else ALPHA


def interim_alpha(planned: int) -> float:
    """Error allowed to each look from six processes on at which the samples may end the run."""
    return INTERIM_ALPHA / 2 / max(1, interim_looks(planned))


def may_look(done: int, planned: int, least: int = FEWEST_PROCESSES) -> bool:
    """Whether there is an interim look after `done` processes."""
    return least <= done < planned


def in_reach(judged: Sequence[Judgement], budget: Budget) -> bool:
    """Whether an interim look ends the run: every verdict is in, or every interval narrow enough.

    A target for the half-width asks for precision beyond the verdicts: then it alone decides, once
    there are processes enough for an interval to mean it.
    """
    target = budget.target
    if target is None:
        return budget.early and bool(judged) and all(one.verdict.final for one in judged)
    found = [None if one.verdict is Verdict.TOO_FEW else one.interval for one in judged]
    return bool(found) and all(one and one.high / one.estimate - 1 <= target for one in found)
