"""A whole run: pilot, plan, process after process, a look after each, and a reason to stop.

Knows no model and no device: it lets processes be run and looks at what they say.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from statistics import stdev
from typing import Any

from detrbench.core.errors import UsageError
from detrbench.core.locks import held
from detrbench.core.stats import median, paired_log_ratios, robust_sd
from detrbench.machine.circumstances import Circumstances, circumstances_of
from detrbench.machine.environment import check_versions
from detrbench.models.model import file_differences
from detrbench.reports.case import Case
from detrbench.reports.merge import in_words
from detrbench.reports.report import setting_differences
from detrbench.reports.verdicts import ALPHA, FEWEST_PROCESSES, LEAST_PROCESSES, Judgement, judge
from detrbench.timing.exporting import export_first
from detrbench.timing.plan import (
    BETWEEN_SD,
    LEAST_ROUNDS,
    MOST_ROUNDS,
    PILOT_S,
    Budget,
    Pilot,
    RunPlan,
    in_reach,
    interim_alpha,
    last_alpha,
    may_look,
    pilot_share_s,
    plan_run,
)
from detrbench.timing.process import Request
from detrbench.timing.records import (
    End,
    Outcome,
    load_end,
    load_outcomes,
    load_request,
    request_path,
    save_request,
)
from detrbench.timing.rounds import OnProgress, Progress, Series
from detrbench.timing.starting import starting
from detrbench.timing.supervisor import Limits, run_worker

_MOST_DEATHS = 2  # of the same model in the making, or of processes in a row


Launch = Callable[..., Outcome]
"""Lets a process measure; see `supervisor.run_worker`."""

_OVERTIME, _OVERTIME_S = 0.04, 0.5
"""Share of the budget, and seconds, after which a process is killed that does not see its end."""


@dataclass
class Run:
    """Everything that a run has measured, and how it ended.

    Attributes:
        request: its cases are all that were asked for.
        outcomes: of its processes.
        plan: `None` if it ended with its pilot.
        stopped: "verdicts", "target", "processes", "budget", "interrupted", "failures" or "single".
        alpha: of the intervals: what the look that ended the run may err.
        dropped: name of a case -> why later processes went on without it.
        startup_s: what it took beside its processes, such as what a fork server imports.
    """

    request: Request
    budget: Budget
    plan: RunPlan | None = None
    outcomes: tuple[Outcome, ...] = ()
    stopped: str = "single"
    alpha: float = ALPHA
    dropped: dict[str, str] = field(default_factory=dict)
    startup_s: float = 0.0

    @property
    def finished(self) -> tuple[Outcome, ...]:
        """The processes that came to their end."""
        return tuple(one for one in self.outcomes if one.status == "ok")

    @property
    def spent_s(self) -> float:
        """Seconds that it has taken."""
        return self.startup_s + sum(outcome.took_s for outcome in self.outcomes)

    def check_versions(self, where: str) -> None:
        """Raises UsageError where what is installed is not what its processes ran with."""
        measured = next((one.measurement for one in self.outcomes if one.measurement), None)
        if measured is not None:
            check_versions(measured.environment, where)

    def series(self, outcome: Outcome, name: str) -> Series | None:
        """What `outcome` has of the case, or the part of one, called `name`."""
        measured = outcome.measurement
        if measured is None:
            return None
        pairs = zip(measured.subjects, measured.series, strict=True)
        return next((series for subject, series in pairs if subject.case == name), None)

    def log_ratios(self, name: str, to: str | None = None) -> list[float]:
        """One number per finished process: the median of its paired log-ratios to its baseline, or
        to the case called `to`."""
        found = (self._paired(outcome, name, to) for outcome in self.finished)
        return [median(ratios) for ratios in found if ratios]

    @property
    def circumstances(self) -> Circumstances:
        """What the processes' ledgers have to say."""
        measured = [one.measurement for one in self.outcomes if one.measurement is not None]
        return circumstances_of((one.ledger, one.timed_s) for one in measured)

    def judge(
        self,
        name: str,
        alpha: float | None = None,
        *,
        to: str | None = None,
        spoilt: Sequence[str] = (),
    ) -> Judgement:
        """The verdict on a case against its baseline, or the case called `to`, as far as its ratios
        tell."""
        return judge(
            self.log_ratios(name, to),
            margin=self.budget.margin,
            alpha=self.alpha if alpha is None else alpha,
            process_s=None if self.plan is None else self.plan.process_s,
            spoilt=spoilt,
            disturbed=self.circumstances.spoilt,
        )

    def _paired(self, outcome: Outcome, name: str, to: str | None = None) -> list[float]:
        baseline = to or self.request.baseline(name)
        here = None if baseline is None else self.series(outcome, baseline)
        there = self.series(outcome, name)
        if here is None or there is None or "failed" in (here.status, there.status):
            return []
        return paired_log_ratios(here.latency_s, there.latency_s)

    def pilot(self) -> Pilot | None:
        """What the finished processes showed until now; `None` without one that timed anything."""
        shown = [shape for outcome in self.finished if (shape := self._shape(outcome)) is not None]
        return Pilot(*map(median, zip(*shown, strict=True))) if shown else None

    def between_sd(self) -> float:
        """How far processes are seen to scatter beyond what their rounds explain; the widest of all
        cases', and nothing while there are too few to tell."""
        shown = self.pilot()
        if shown is None or len(self.finished) < FEWEST_PROCESSES:
            return 0.0
        rounds = median([self._rounds(outcome) for outcome in self.finished])
        within = math.sqrt(math.pi / 2) * shown.within_sd / math.sqrt(rounds)
        ratios = [self.log_ratios(name) for name in self.request.compared]
        sds = [stdev(each) for each in ratios if len(each) >= FEWEST_PROCESSES]
        return math.sqrt(max(0.0, max(sds, default=0.0) ** 2 - within**2))

    def _rounds(self, outcome: Outcome) -> int:
        measured = outcome.measurement
        return max((len(one.latency_s) for one in measured.series), default=0) if measured else 0

    def _shape(self, outcome: Outcome) -> Pilot | None:
        measured, rounds = outcome.measurement, self._rounds(outcome)
        if measured is None or not rounds:
            return None
        start_s = measured.started_s + max(0.0, outcome.took_s - measured.took_s)
        paired = (self._paired(outcome, name) for name in self.request.compared)
        return Pilot(
            start_s=start_s,
            round_s=max((outcome.took_s - start_s) / rounds, 1e-9),
            within_sd=max((robust_sd(ratios) for ratios in paired if ratios), default=0.0),
        )


def replicate(
    request: Request,
    budget: Budget,
    folder: Path,
    *,
    launch: Launch | None = None,
    now: Callable[[], float] = time.monotonic,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    between_sd: float | None = None,
) -> Run:
    """Measure `request` in process after process until `budget` is met or used up, every outcome in
    `folder`. One with processes of an earlier run of the same request is gone on with.

    Args:
        launch: lets a process measure; a worker, if `None`.
        announce: is told the plan, as soon as there is one.
        between_sd: what processes are known to scatter by on this machine.

    Raises:
        UsageError: the request cannot be carried out as given.
    """
    between_sd = BETWEEN_SD if between_sd is None else between_sd
    with ExitStack() as stack:
        stack.enter_context(held(folder, announce))
        run = _begun(request, budget, folder)
        if launch is None:
            export_first(request.cases, progress, announce)
            start = stack.enter_context(starting(request.cases))
            launch = partial(run_worker, start=start)
        going = _Runner(run, folder, launch, now, progress, announce, between_sd)
        try:
            run.stopped = going.until_done()
        except KeyboardInterrupt:
            run.stopped = "interrupted"
    return run


def _begun(request: Request, budget: Budget, folder: Path) -> Run:
    """What is in `folder` of the request, which may be nothing."""
    if not request_path(folder).is_file():
        return Run(request, budget, outcomes=load_outcomes(folder))
    before = load_run(folder)
    if before.request != request:
        other = in_words(_differences(before.request, request))
        raise UsageError(
            f"{folder} is of a run of other models or settings{f': {other}' if other else ''}",
            hint="Name another folder, or go on with that run: --resume.",
        )
    return before if _same(before.budget, budget) else _longer(before, budget)


def _differences(before: Request, now: Request) -> dict[str, tuple[Any, Any]]:
    """What is not the same: which cases, or of the first that differs, files and settings."""
    if before.names != now.names:
        return {"cases": (" ".join(before.names), " ".join(now.names))}
    for one, other in zip(before.cases, now.cases, strict=True):
        if files := file_differences(one.model, other.model):
            return files
        if settings := setting_differences(one.settings(), other.settings(), unsaid=True):
            return settings
    return {}


def load_run(folder: Path) -> Run:
    """The run in `folder` as it was left. Raises UsageError where there is none."""
    request, budget, plan = load_request(folder)
    end = load_end(folder) or End(last_alpha(plan.processes, budget) if plan else ALPHA)
    outcomes = load_outcomes(folder)
    return Run(request, budget, plan, outcomes, alpha=end.alpha, startup_s=end.startup_s)


def _same(before: Budget, budget: Budget) -> bool:
    """Whether nothing else is asked for. What is left of a budget when a command comes to it
    differs a little each time."""
    if None in (before.budget_s, budget.budget_s):
        return before == budget
    near = math.isclose(before.budget_s or 0, budget.budget_s or 0, rel_tol=0.05, abs_tol=5.0)
    # What `_longer` has added to it is not of who asks.
    asked = replace(budget, extended=before.extended, least=before.least)
    return near and replace(asked, budget_s=before.budget_s) == before


def _longer(before: Run, budget: Budget) -> Run:
    """The run `before` with another budget: what was looked at is not looked at again."""
    done = len(before.finished)
    # Fewer than six have no last look: `verdicts.judge` asks as much of them each time.
    extended = before.budget.extended + (done >= LEAST_PROCESSES)
    budget = replace(budget, least=max(budget.least, done + 1), extended=extended)
    return replace(before, budget=budget, plan=None, alpha=ALPHA)


@dataclass
class _Runner:
    """A run on its way."""

    run: Run
    folder: Path
    launch: Launch
    now: Callable[[], float]
    progress: OnProgress | None
    announce: Callable[[str], None] | None
    between_sd: float

    def __post_init__(self) -> None:
        self.called, self.before_s = self.now(), self.run.spent_s
        self.began = self.called - self.before_s
        for outcome in self.run.outcomes:
            self._drop_failed(outcome)

    def until_done(self) -> str:
        """Why it ended, as `Run.stopped` says it."""
        new = not request_path(self.folder).is_file()
        save_request(self.folder, self.run.request, self.run.budget, self.run.plan)
        try:
            while True:
                self._make_plan()
                ended = self._ended()
                if ended is not None:
                    self._save_end()
                    return ended
                outcome = self._next_process()
                self._take(outcome)
                if outcome.status == "interrupted":
                    return "interrupted"
                if outcome.status == "cut":
                    return "budget"
                self._drop_failed(outcome)
        except UsageError:
            if new and not self.run.outcomes:  # refused: the folder is free for something else
                request_path(self.folder).unlink()
            raise

    def _take(self, outcome: Outcome) -> None:
        """What it took beside its processes is known with each of them."""
        run = self.run
        beside_s = self.now() - self.called - (run.spent_s - self.before_s) - outcome.took_s
        run.outcomes = (*run.outcomes, outcome)
        run.startup_s += max(0.0, beside_s)
        self._save_end()

    def _save_end(self) -> None:
        run = self.run
        save_request(self.folder, run.request, run.budget, run.plan, End(run.alpha, run.startup_s))

    def _make_plan(self) -> None:
        """As soon as a process has shown what one costs, and again as long as nobody has looked.

        A busy minute makes one process slow, and the next one teaches better. What decides is how
        long processes take and how they and their rounds scatter, never the ratio itself: the error
        that the looks share out stays what it is.
        """
        run, before = self.run, self.run.plan
        done = len(run.finished)
        shown = run.pilot()
        if shown is None or (before is not None and done >= LEAST_PROCESSES):
            return
        between_sd = max(self.between_sd, run.between_sd())
        run.plan = plan = plan_run(run.budget, shown, done, self._spent_s(), between_sd)
        run.alpha = last_alpha(plan.processes, run.budget)
        self._save_end()
        news = before is None or plan.cannot_reach != before.cannot_reach
        longer = before is None or plan.left_s > 1.5 * before.left_s
        if self.announce is not None and (news or longer):
            # With one case there is no ratio to speak of; a plan that moves need not say it again.
            whole = news and bool(run.request.compared)
            for sentence in plan.sentences()[: None if whole else 1]:
                self.announce(sentence)

    def _ended(self) -> str | None:
        """The reason not to go on, if there is one."""
        run, plan, budget = self.run, self.run.plan, self.run.budget
        done = len(run.finished)
        if not self._live() or self._deaths_in_a_row() > _MOST_DEATHS:
            return "failures"
        if plan is None:
            return None  # the pilot
        if done >= plan.processes:
            return "processes" if budget.processes else "budget"
        if budget.looks and may_look(done, plan.processes, budget.least):
            alpha = interim_alpha(plan.processes)
            names = [name for name in run.request.compared if name not in run.dropped]
            if in_reach([run.judge(name, alpha) for name in names], budget):
                run.alpha = alpha
                return "verdicts" if budget.target is None else "target"
        return "budget" if self._spent_s() + self._least_s() > budget.limit_s else None

    def _least_s(self) -> float:
        """What the shortest process takes that would still say something."""
        shown = self.run.pilot()
        return 0.0 if shown is None else shown.seconds(LEAST_ROUNDS)

    def _next_process(self) -> Outcome:
        asked, plan, budget = self.run.request, self.run.plan, self.run.budget
        index = 1 + max((outcome.index for outcome in self.run.outcomes), default=0)
        if plan is None:
            share_s, silence_s = pilot_share_s(budget), 300.0
            alone = budget.processes == 1  # it is all that there will be
            share_s = budget.budget_s if alone else share_s
            rounds, timed_s = budget.rounds or MOST_ROUNDS, None if alone else PILOT_S
        else:
            share_s, silence_s = plan.process_s, max(60.0, 5 * plan.process_s)
            looked = len(self.run.finished) >= budget.least
            rounds, timed_s = plan.rounds if looked else plan.short, None
        # Another seed for every process: a drawn order must not be the same accident each time.
        seed = asked.plan.seed + index
        request = dataclasses.replace(
            asked,
            # Which case is built first, and where in memory that puts it, takes turns too.
            cases=self._live() if index % 2 else self._live()[::-1],
            plan=dataclasses.replace(
                asked.plan, budget_s=share_s, rounds=rounds, timed_s=timed_s, seed=seed
            ),
            # Once is enough.
            resources=asked.resources and not self.run.finished,
        )
        limits = Limits(silence_s)
        if budget.budget_s is not None:
            grace_s = _OVERTIME * budget.budget_s + _OVERTIME_S
            limits = Limits(silence_s, self.began + budget.budget_s, grace_s)
        progress = self.progress and self._teller(index, self.progress)
        return self.launch(request, self.folder, index, limits=limits, progress=progress)

    def _live(self) -> tuple[Case, ...]:
        return tuple(case for case in self.run.request.cases if case.name not in self.run.dropped)

    def _drop_failed(self, outcome: Outcome) -> None:
        """Go on without a case that fails by itself, or that processes die of in the making."""
        measured = outcome.measurement
        if measured is not None:
            for subject, series in zip(measured.subjects, measured.series, strict=True):
                if series.status == "failed":
                    self.run.dropped.setdefault(subject.case, series.reason or "failed")
        elif outcome.at is not None:
            unmeasured = [one.at for one in self.run.outcomes if one.measurement is None]
            if unmeasured.count(outcome.at) >= _MOST_DEATHS:
                self.run.dropped.setdefault(outcome.at, outcome.reason or "its process died")

    def _deaths_in_a_row(self) -> int:
        """Of processes, counted anew whenever a case was dropped for it."""
        outcomes, dropped = reversed(self.run.outcomes), self.run.dropped
        deaths = takewhile(lambda one: one.status == "failed" and one.at not in dropped, outcomes)
        return len(list(deaths))

    def _spent_s(self) -> float:
        """Those of an earlier run in this folder included."""
        return self.now() - self.began

    def _teller(self, index: int, tell: OnProgress) -> OnProgress:
        """Turns one process's progress into the run's."""

        began = self.now()

        def told(progress: Progress) -> None:
            plan, spent_s = self.run.plan, self._spent_s()
            if plan is None:
                total_s = self.run.budget.limit_s
                tell(Progress("pilot", spent_s, None if math.isinf(total_s) else total_s))
                return
            left = plan.processes - len(self.run.finished)
            expected_s = left * plan.process_s - (self.now() - began)
            eta_s = max(0.0, min(expected_s, self.run.budget.limit_s - spent_s))
            # Those that failed, or that time cut, have an index and are none of the plan's.
            phase = f"process {index} of {index + left - 1}"
            tell(Progress(phase, spent_s, spent_s + eta_s, eta_s))

        return told
