"""A whole run: pilot, plan, process after process, a look after each, and a reason to stop.

Knows no model and no device: it lets processes be run and looks at what they say.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from detrbench.core.errors import UsageError
from detrbench.core.stats import median, paired_log_ratios, robust_sd
from detrbench.reports.case import Case
from detrbench.reports.verdicts import LEAST_PROCESSES, Judgement, judge
from detrbench.timing.plan import (
    BETWEEN_SD,
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
    Outcome,
    forget_request,
    load_outcomes,
    load_request,
    save_request,
)
from detrbench.timing.rounds import OnProgress, Progress, Series
from detrbench.timing.supervisor import run_worker

_PILOT_S = 15.0  # where no budget says how long a process should be
_MOST_DEATHS = 2  # of the same model in the making, or of processes in a row


class Launch(Protocol):
    """Lets a fresh process measure; see `supervisor.run_worker`."""

    def __call__(
        self,
        request: Request,
        folder: Path,
        index: int,
        *,
        silence_s: float,
        progress: OnProgress | None,
    ) -> Outcome: ...


@dataclass(frozen=True)
class Run:
    """Everything that a run measured, and how it ended.

    Attributes:
        request: of the run; its cases are all that were asked for.
        plan: `None` if it ended with its pilot.
        outcomes: of its processes.
        stopped: "verdicts", "target", "processes", "budget", "interrupted", "failures" or "single".
        alpha: of the intervals: what the look that ended the run may err.
        dropped: name of a case -> why later processes went on without it.
    """

    request: Request
    budget: Budget
    plan: RunPlan | None = None
    outcomes: tuple[Outcome, ...] = ()
    stopped: str = "single"
    alpha: float = 0.05
    dropped: Mapping[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> tuple[Outcome, ...]:
        """The processes that came to their end."""
        return tuple(one for one in self.outcomes if one.status == "ok")

    def series(self, outcome: Outcome, name: str) -> Series | None:
        """What `outcome` has of the case, or the part of one, called `name`."""
        measured = outcome.measurement
        if measured is None:
            return None
        pairs = zip(measured.subjects, measured.series, strict=True)
        return next((series for subject, series in pairs if subject.case == name), None)

    def log_ratios(self, name: str) -> list[float]:
        """One number per finished process: the median of its paired log-ratios to the baseline."""
        baseline = self.request.baseline(name)
        if baseline is None:
            return []
        found = (self._paired(outcome, baseline, name) for outcome in self.finished)
        return [median(ratios) for ratios in found if ratios]

    def judgements(self, alpha: float, spoilt: Sequence[str] = ()) -> dict[str, Judgement]:
        """The verdict on every case that has a baseline, as far as its ratios tell."""
        return {
            name: judge(
                self.log_ratios(name), margin=self.budget.margin, alpha=alpha, spoilt=spoilt
            )
            for name in self.request.compared
        }

    def _paired(self, outcome: Outcome, baseline: str, name: str) -> list[float]:
        here, there = self.series(outcome, baseline), self.series(outcome, name)
        if here is None or there is None or "failed" in (here.status, there.status):
            return []
        return paired_log_ratios(here.latency_s, there.latency_s)

    def pilot(self) -> Pilot | None:
        """What the finished processes showed until now; `None` without one that timed anything."""
        shown = [shape for outcome in self.finished if (shape := self._shape(outcome)) is not None]
        if not shown:
            return None
        return Pilot(
            start_s=median([each.start_s for each in shown]),
            round_s=median([each.round_s for each in shown]),
            within_sd=median([each.within_sd for each in shown]),
        )

    def _shape(self, outcome: Outcome) -> Pilot | None:
        measured, rounds = outcome.measurement, _rounds(outcome)
        if measured is None or not rounds:
            return None
        start_s = measured.started_s + max(0.0, outcome.took_s - measured.took_s)
        spreads = [
            robust_sd(ratios)
            for name in self.request.compared
            if (ratios := self._paired(outcome, self.request.baseline(name) or "", name))
        ]
        return Pilot(
            start_s=start_s,
            round_s=max((outcome.took_s - start_s) / rounds, 1e-9),
            within_sd=max(spreads, default=0.0),
        )


def replicate(
    request: Request,
    budget: Budget,
    folder: Path,
    *,
    launch: Launch = run_worker,
    now: Callable[[], float] = time.monotonic,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    between_sd: float | None = None,
) -> Run:
    """Measure `request` in fresh processes until `budget` is met or used up, every outcome in
    `folder`.

    A folder with processes of an earlier run of the same request is gone on with.

    Args:
        announce: is told the plan, as soon as there is one.
        between_sd: what processes are known to scatter by on this machine.

    Raises:
        UsageError: the request cannot be carried out as given.
    """
    going = _Runner(request, budget, folder, launch, now, progress, announce, between_sd)
    try:
        return going.until_done()
    except KeyboardInterrupt:
        return going.run("interrupted")


def resumable(folder: Path) -> tuple[Request, Budget]:
    """What the run in `folder` was asked to do, for going on with it.

    Raises:
        UsageError: it is not the folder of a run.
    """
    request, budget, _ = load_request(folder)
    return request, budget


def recorded(folder: Path) -> Run:
    """The run in `folder` as far as it came, without measuring anything.

    Raises:
        UsageError: it is not the folder of a run.
    """
    request, budget, plan = load_request(folder)
    outcomes = load_outcomes(folder)
    planned = len(outcomes) if plan is None else plan.processes
    return Run(request, budget, plan, outcomes, "interrupted", last_alpha(planned))


class _Runner:
    """A run on its way."""

    def __init__(
        self,
        request: Request,
        budget: Budget,
        folder: Path,
        launch: Launch,
        now: Callable[[], float],
        progress: OnProgress | None,
        announce: Callable[[str], None] | None,
        between_sd: float | None,
    ) -> None:
        self._request, self._budget, self._folder = request, budget, folder
        self._launch, self._now = launch, now
        self._progress, self._announce = progress, announce
        self._between_sd = BETWEEN_SD if between_sd is None else between_sd
        self._outcomes = list(load_outcomes(folder))
        self._plan = _earlier_plan(folder, request)
        self._spent_before_s = sum(outcome.took_s for outcome in self._outcomes)
        self._began = now()
        self._dropped: dict[str, str] = {}
        for outcome in self._outcomes:
            self._drop_failed(outcome)

    def run(self, stopped: str, alpha: float | None = None) -> Run:
        planned = len(self._outcomes) if self._plan is None else self._plan.processes
        return Run(
            self._request,
            self._budget,
            self._plan,
            tuple(self._outcomes),
            stopped,
            last_alpha(planned) if alpha is None else alpha,
            dict(self._dropped),
        )

    def until_done(self) -> Run:
        new = save_request(self._folder, self._request, self._budget, self._plan)
        try:
            return self._until_ended()
        except UsageError:
            if new and not self._outcomes:  # refused: the folder is free for what is asked instead
                forget_request(self._folder)
            raise

    def _until_ended(self) -> Run:
        while True:
            self._make_plan()
            ended = self._ended()
            if ended is not None:
                return ended
            outcome = self._next_process()
            self._outcomes.append(outcome)
            if outcome.status == "interrupted":
                return self.run("interrupted")
            self._drop_failed(outcome)

    def _make_plan(self) -> None:
        """As soon as a process has shown what one costs, and again as long as nobody has looked.

        A busy minute makes one process slow, and the next one teaches better. What decides is how
        long processes take and how their rounds scatter, never their ratio: the error that the
        looks share out stays what it is.
        """
        so_far = self.run("")
        done = len(so_far.finished)
        shown = so_far.pilot()
        if shown is None or (self._plan is not None and done >= LEAST_PROCESSES):
            return
        plan = plan_run(self._budget, shown, done, self._spent_s(), self._between_sd)
        before, self._plan = self._plan, plan
        news = before is None or plan.cannot_reach != before.cannot_reach
        save_request(self._folder, self._request, self._budget, plan)
        changed = before is None or plan.processes != before.processes
        if self._announce is not None and (news or changed):
            # With one case there is no ratio to speak of; a plan that moves need not say it again.
            whole = news and bool(self._request.compared)
            for sentence in plan.sentences()[: None if whole else 1]:
                self._announce(sentence)

    def _ended(self) -> Run | None:
        """The run, if there is a reason not to go on."""
        so_far = self.run("")
        done = len(so_far.finished)
        if not self._live() or self._deaths_in_a_row() > _MOST_DEATHS:
            return self.run("failures")
        if self._plan is None:
            return None  # the pilot
        if done >= self._plan.processes:
            return self.run("processes" if self._budget.processes else "budget")
        if may_look(done, self._plan.processes):
            ended = self._look(so_far)
            if ended is not None:
                return ended
        budget_s = math.inf if self._budget.budget_s is None else self._budget.budget_s
        if self._spent_s() + self._process_s() > budget_s:
            return self.run("budget")
        return None

    def _look(self, so_far: Run) -> Run | None:
        planned = self._plan.processes if self._plan else 0
        alpha = interim_alpha(planned)
        judged = [
            each for name, each in so_far.judgements(alpha).items() if name not in self._dropped
        ]
        widths = [
            math.inf if one.interval is None else one.interval.high / one.interval.estimate - 1
            for one in judged
        ]
        if not judged or not in_reach([one.verdict for one in judged], widths, self._budget):
            return None
        return self.run("target" if self._budget.target is not None else "verdicts", alpha)

    def _next_process(self) -> Outcome:
        index = 1 + max((outcome.index for outcome in self._outcomes), default=0)
        budget_s, rounds = self._shape()
        plan = dataclasses.replace(self._request.plan, budget_s=budget_s, rounds=rounds)
        # Another seed for every process: a drawn order must not be the same accident each time.
        plan = dataclasses.replace(plan, seed=self._request.plan.seed + index)
        # Which case is built first, and where in memory that puts it, takes turns too.
        cases = self._live() if index % 2 else self._live()[::-1]
        request = dataclasses.replace(
            self._request,
            cases=cases,
            plan=plan,
            # Once is enough.
            resources=self._request.resources and not self.run("").finished,
        )
        silence_s = 300.0 if self._plan is None else max(60.0, 5 * self._plan.process_s)
        return self._launch(
            request,
            self._folder,
            index,
            silence_s=silence_s,
            progress=self._teller(index),
        )

    def _shape(self) -> tuple[float, int | None]:
        """Seconds and rounds of the next process."""
        if self._plan is not None:
            return self._plan.process_s, self._plan.rounds
        return pilot_share_s(self._budget) or _PILOT_S, self._budget.rounds

    def _live(self) -> tuple[Case, ...]:
        return tuple(case for case in self._request.cases if case.name not in self._dropped)

    def _drop_failed(self, outcome: Outcome) -> None:
        """Go on without a case that fails by itself, or that processes die of in the making."""
        measured = outcome.measurement
        if measured is not None:
            for subject, series in zip(measured.subjects, measured.series, strict=True):
                if series.status == "failed":
                    self._dropped.setdefault(subject.case, series.reason or "failed")
        elif outcome.at is not None:
            deaths = [one for one in self._outcomes if one.at == outcome.at and not one.measurement]
            if len(deaths) >= _MOST_DEATHS:
                self._dropped.setdefault(outcome.at, outcome.reason or "its process died")

    def _deaths_in_a_row(self) -> int:
        """Of processes, counted anew whenever a case was dropped for it."""
        count = 0
        for outcome in reversed(self._outcomes):
            if outcome.status != "failed" or outcome.at in self._dropped:
                break
            count += 1
        return count

    def _spent_s(self) -> float:
        return self._spent_before_s + self._now() - self._began

    def _process_s(self) -> float:
        took = [outcome.took_s for outcome in self._outcomes if outcome.status == "ok"]
        return median(took[-3:]) if took else 0.0

    def _teller(self, index: int) -> OnProgress | None:
        """Turns one process's progress into the run's."""
        tell = self._progress
        if tell is None:
            return None

        def told(progress: Progress) -> None:
            spent_s = self._spent_s()
            if self._plan is None:
                tell(Progress("pilot", spent_s, self._budget.budget_s, None))
                return
            left = self._plan.processes - len(self.run("").finished) - 1
            share = min(1.0, progress.done / progress.total) if progress.total else 0.0
            share = share if progress.phase == "timing" else 0.0
            eta_s = (left + 1 - share) * self._plan.process_s
            phase = f"process {index} of {max(index, self._plan.processes)}"
            tell(Progress(phase, spent_s, spent_s + eta_s, eta_s))

        return told


def _earlier_plan(folder: Path, request: Request) -> RunPlan | None:
    if not (folder / "request.json").is_file():
        return None
    earlier, _, plan = load_request(folder)
    if earlier != request:
        raise UsageError(
            f"{folder} is of a run of other models or settings",
            hint="Name another folder, or go on with that run: --resume.",
        )
    return plan


def _rounds(outcome: Outcome) -> int:
    measured = outcome.measurement
    return max((len(series.latency_s) for series in measured.series), default=0) if measured else 0
