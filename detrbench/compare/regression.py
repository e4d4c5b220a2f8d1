"""Models as their files are now against the same files at a git revision, in one paired run.

Two runs of continuous integration are hours and machines apart. Here both sets of files (models,
their Python, blocks, weights) are timed in the same rounds of the same processes, so that whatever
the machine does, it does to both. What is counted needs no such company: each side is counted in a
process of its own, which never sees the other's modules.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from detrbench.compare.gate import Check, GateResult, Outcome, Policy, gate
from detrbench.compare.gate.paired import paired_checks, undecided
from detrbench.compare.gate.rows import TIME
from detrbench.compare.gate.times import Known
from detrbench.compare.revisions import Revision, file_of, unpacked
from detrbench.core.alarms import alarm
from detrbench.core.errors import DetrbenchError, TimeIsUp, UsageError
from detrbench.core.stats import median
from detrbench.core.version import __version__
from detrbench.counting.worker import Past, count_apart
from detrbench.machine.environment import Environment
from detrbench.models.model import Model
from detrbench.models.sources import resolve
from detrbench.models.sources.onnx import is_graph
from detrbench.reports.case import Case
from detrbench.reports.comparison import CONFIRMATION, Comparison, Side
from detrbench.reports.merge import join
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import LEAST_PROCESSES
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.replication import Run, replicate
from detrbench.timing.rounds import OnProgress, Progress
from detrbench.timing.rows import latency_comparisons, latency_results

Replicate = Callable[..., Run]
Count = Callable[..., Report]

FIRST_SHARE = 0.5
"""Of a case's time for its first run; half of what is left for a second, should one be needed."""


@dataclass(frozen=True)
class Asked:
    """What is compared, and how much time there is for it.

    Attributes:
        request: its cases' models are files in a git repository, or callables in such files.
        revision: a branch, tag or commit.
        limit: the largest increase of latency that is no regression, 0.05 for 5 %.
        budget_s: seconds for everything; `None` for what verdicts take.
        new: models, as they are named, that the revision may be without.
    """

    request: Request
    revision: str
    limit: float = 0.05
    budget_s: float | None = None
    counts_only: bool = False
    new: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Versus:
    """Both sides of a comparison: files as they are, and as the revision had them.

    Attributes:
        then: its rows have the names of those of now.
        broken: name of a case -> why the revision's files of its model cannot be built.
        absent: names of cases whose model the revision does not have.
        report: everything measured as one Report, for keeping: the revision's rows are called
            model@revision, and rows of further runs have their number among their settings.
    """

    now: Report
    then: Report
    broken: dict[str, str]
    absent: tuple[str, ...]
    report: Report


def gate_revision(
    asked: Asked, policy: Policy, *, known: Known | None = None, **ways: Any
) -> tuple[GateResult, Versus]:
    """`compare_with_revision`, and what a gate makes of it under `policy`; raises what that does.

    Args:
        known: device -> what its machine can tell apart; a limit below that never passes.
        ways: as there.
    """
    limit = policy.latency_limit
    asked = replace(asked, limit=limit) if policy.judges_time else replace(asked, counts_only=True)
    versus = compare_with_revision(asked, **ways)
    timed = paired_checks(versus.now, versus.then, versus.report, limit, known or {})
    hint = "Name a revision that has a whole model: --rev."
    broken = [
        Check(
            Outcome.INVALID, name, reasons=(f"{asked.revision} cannot be built: {why}",), hint=hint
        )
        for name, why in versus.broken.items()
    ]
    checks = [*_absent(asked, versus), *broken, *timed]
    # Those without a past have their own checks.
    new = {row.model for row in versus.now.rows}
    return gate(versus.now, versus.then, policy, timed=checks, new=new), versus


def _absent(asked: Asked, versus: Versus) -> Iterator[Check]:
    """A check for every model that was named, and compared with nothing."""
    models = {case.name: case.model.reference for case in asked.request.cases}
    for name in versus.absent:
        if models[name] not in asked.new:
            reason = f"{asked.revision} does not have it, nor does git know where it was"
            hint = f"If it is new, say so: --new {models[name]}; if it was moved, `git add` it."
            yield Check(Outcome.INVALID, name, reasons=(reason,), hint=hint)


def compare_with_revision(
    asked: Asked,
    *,
    replicate: Replicate = replicate,
    count: Count = count_apart,
    now: Callable[[], float] = time.monotonic,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Versus:
    """Count and time every case of `asked` against its own past.

    One that looks slower beyond the limit, or that may be, is timed again in fresh processes: what
    a gate fails for must have been seen twice.

    Args:
        replicate: the protocol.
        count: counts cases, those of one side alone.
        now: seconds of a monotonic clock, for the budget.
        announce: is told what is being done, in sentences.

    Raises:
        UsageError: no such revision, files outside of the repository, or a request that cannot be
            carried out as given.
        DetrbenchError: a case of now ends the process that counts it.
    """
    cases = asked.request.cases
    unnamed = sorted(asked.new - {case.model.reference for case in cases})
    if unnamed:
        hint = "Name models of this run."
        raise UsageError(f"{unnamed[0]} is not among the models", where="--new", hint=hint)
    graph = next((c.name for c in cases if is_graph(c.model.reference)), None)
    if graph is not None and not asked.counts_only:
        said = "an ONNX graph is counted, and not executed here, so that it has no time"
        hint = "Give --counts-only, or the module that it was made from: ./FILE.py:NAME."
        raise UsageError(said, where=graph, hint=hint)
    began = now()
    with unpacked(asked.revision, file_of(cases[0].model.reference)) as revision:
        going = _Runner(asked, revision, replicate, count, now, progress, announce)
        try:
            with alarm(None if asked.budget_s is None else began + asked.budget_s - now()):
                going.count_all()
        except TimeIsUp:
            going.give_up()
            return going.versus()
        with suppress(KeyboardInterrupt):  # what was timed until then is in the rows
            # What both have, and can build.
            names = [] if asked.counts_only else list(going.then)
            for left, name in zip(range(len(names), 0, -1), names, strict=True):
                ends = None
                if asked.budget_s is not None:
                    ends = now() + max(began + asked.budget_s - now(), 1.0) / left
                going.time(going.cases[name], ends)
        return going.versus()


def _least_s(run: Run) -> float:
    """What a further run takes that can decide something, if its processes take as long as these:
    it plans them shorter where time is short, and goes on beyond its share of what is left."""
    took_s = [outcome.took_s for outcome in run.finished]
    return run.startup_s + LEAST_PROCESSES * median(took_s) if took_s else 0.0


@dataclass
class _Runner:
    """A comparison on its way. Rows and reasons are kept by the names of the cases of now."""

    asked: Asked
    revision: Revision
    replicate: Replicate
    count: Count
    now_s: Callable[[], float]
    progress: OnProgress | None
    announce: Callable[[str], None] | None
    now: dict[str, Result] = field(default_factory=dict)
    then: dict[str, Result] = field(default_factory=dict)
    confirmed: list[Result] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    absent: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=lambda: Environment.read().to_dict())

    @property
    def cases(self) -> dict[str, Case]:
        return {case.name: case for case in self.asked.request.cases}

    def give_up(self) -> None:
        """The time is over, and something was not counted on both sides."""
        for name, case in self.cases.items():
            if name not in self.counted:
                why = "the budget was over before it was counted"
                model = case.model.name
                self.now[name] = Result(model, model, case.settings(), {}, "failed", why, case=case)

    def count_all(self) -> None:
        """Everything as it is and as it was; once, what differs in nothing counts depend on."""
        self._tell("counting the models as they are")
        for row in self._count_now():
            assert row.case is not None  # as it was asked for
            same = _counted(row.case)
            alike = [case for case in self.cases.values() if _counted(case) == same]
            self.now |= {case.name: replace(row, case=case) for case in alike}
            if past := self._past_model(alike[0].model):
                self._tell(f"counting {past.name}")
                self._count_past(alike, past)
            else:
                self.absent += [case.name for case in alike]
            self.counted |= {case.name for case in alike}

    def _count_now(self) -> Iterable[Result]:
        """All together; where that fails, each by itself, so that one which cannot be built hides
        nothing of the others. Raises what counting does where all of them fail."""
        cases = list(self.cases.values())
        try:
            return self.count(cases).rows
        except DetrbenchError:
            if len(cases) == 1:
                raise
        rows: list[Result] = []
        errors: list[DetrbenchError] = []
        for case in cases:
            try:
                rows += self.count([case]).rows
            except DetrbenchError as error:
                errors.append(error)
                model, settings = case.model.name, case.settings()
                why = f"it cannot be counted: {error}"
                self.now[case.name] = Result(model, model, settings, {}, "failed", why, case=case)
                self.counted.add(case.name)
        if not rows:
            raise errors[0]
        return rows

    def _tell(self, phase: str) -> None:
        if self.progress is not None:
            self.progress(Progress(phase, 0.0, None))

    def _count_past(self, alike: list[Case], past: Model) -> None:
        repository, folder = str(self.revision.repository), str(self.revision.folder)
        place = Past(repository, folder, beside=not self.asked.counts_only)
        try:
            model = resolve(past)
            cases = {case.name: self._past_case(case, model) for case in alike}
            (row,) = self.count([cases[alike[0].name]], place).rows
        except DetrbenchError as error:  # the files of the past are not the user's to mend
            why = str(error).replace(f"{folder}/", f"{self.revision.name}:")
            if left_out := ", ".join(self.revision.submodules):
                why += f"; what is in its submodules ({left_out}) is not looked at"
            self.broken |= {case.name: why for case in alike}
        else:
            self.then |= {name: replace(row, case=case) for name, case in cases.items()}

    def time(self, case: Case, ends: float | None) -> None:
        """In as many runs as it takes to decide, and as end in time."""
        for number in itertools.count(1):
            run = self._run(case, ends)
            self._keep(case, run, number)
            if run.stopped == "interrupted":
                raise KeyboardInterrupt
            runs = [pair for pair in self.comparisons if pair.case.case == case]
            why = undecided(runs, self.asked.limit)
            if why is None or (ends is not None and self.now_s() + _least_s(run) > ends):
                return
            if self.announce is not None:
                self.announce(f"{case.name}: {why}; run {number + 1}, in fresh processes")

    def _run(self, case: Case, ends: float | None) -> Run:
        past = self.then[case.name].case
        assert past is not None  # as it was counted
        request = replace(self.asked.request, cases=(past, case))
        left_s = None if ends is None else max(ends - self.now_s(), 1.0)
        seconds = None if left_s is None else FIRST_SHARE * left_s
        budget = Budget(budget_s=seconds, margin=self.asked.limit, least=LEAST_PROCESSES)
        told: dict[str, Any] = {"progress": self.progress, "announce": self.announce}
        with tempfile.TemporaryDirectory(prefix="detrbench-gate-") as folder:
            run = self.replicate(request, budget, Path(folder), **told)
            short = run.stopped == "budget" and len(run.finished) < LEAST_PROCESSES
            if left_s is not None and short:  # a busy minute: goes on
                run = self.replicate(
                    request, replace(budget, budget_s=left_s), Path(folder), **told
                )
        return run

    def _keep(self, case: Case, run: Run, number: int) -> None:
        then, now = latency_results(run)
        pairs = latency_comparisons(run)
        measured = next((one.measurement for one in run.outcomes if one.measurement), None)
        if measured is not None:
            self.environment = measured.environment
        if number == 1:
            self.now[case.name] = join(self.now[case.name], now)
            self.then[case.name] = join(self.then[case.name], then)
            self.comparisons += pairs
            return
        self.confirmed += [_numbered(row, number) for row in (then, now)]
        for pair in pairs:
            baseline, subject = (_numbered(side, number) for side in (pair.baseline, pair.case))
            self.comparisons.append(replace(pair, baseline=baseline, case=subject))

    def versus(self) -> Versus:
        then = [_called(row, self.cases[name]) for name, row in self.then.items()]
        now, commit = self.now.values(), self.revision.commit[:12]
        measured = replace(
            self._report([*self.then.values(), *now, *self.confirmed]),
            comparisons=tuple(self.comparisons),
            title=f"Against {self.asked.revision} ({commit})",
        )
        before = self._report(then, revision=commit)
        return Versus(self._report(now), before, self.broken, tuple(self.absent), measured)

    def _report(self, rows: Iterable[Result], **facts: Any) -> Report:
        return Report(
            tuple(_apart(rows)),
            {**self.environment, **facts},
            created=datetime.now().astimezone().isoformat(timespec="seconds"),
            detrbench_version=__version__,
        )

    def _past_model(self, model: Model) -> Model | None:
        """The model as the revision had it; `None` if it had none."""
        there = self.revision.reference(model.reference)
        if there is None:
            return None
        return replace(
            model,
            name=f"{model.name}@{self.revision.name}",
            reference=there,
            blocks=self._past_file(model.blocks),
            backbone_weights=self._past_file(model.backbone_weights),
            weights=self._past_file(model.weights),
            files=(),
        )

    def _past_file(self, file: str | None) -> str | None:
        there = None if file is None else self.revision.counterpart(file)
        return None if there is None else str(there)

    def _past_case(self, case: Case, model: Model) -> Case:
        """`case` of the past's `model`; its own settings stay behind the revision's name."""
        own = case.name.removeprefix(case.model.name)
        name = f"{model.name}{own}" if own != case.name else f"{own}@{self.revision.name}"
        return Case(name, model, case.execution)


def _counted(case: Case) -> tuple[Model, dict[str, Any]]:
    """What its counts depend on."""
    return case.model, case.settings_of_counts(None)


def _apart(rows: Iterable[Result]) -> Iterator[Result]:
    """`rows`, once each; of cases that were counted together and not timed there are several."""
    seen = set()
    for row in rows:
        if TIME.key in row.metrics or row.identity not in seen:
            yield row
        seen.add(row.identity)


def _called(row: Result, case: Case) -> Result:
    """A row of the past under the name of its case of now."""
    assert row.case is not None  # as it was counted
    model = replace(row.case.model, name=case.model.name)
    return replace(row, model=model.name, case=replace(row.case, name=case.name, model=model))


_Settings = TypeVar("_Settings", Result, Side)


def _numbered(one: _Settings, number: int) -> _Settings:
    """What a further run is of, told from the first one's by which run it is."""
    return replace(one, settings={**one.settings, CONFIRMATION: number})
