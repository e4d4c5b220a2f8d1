"""Models as their files are now against the same files at a git revision, in one paired run.

Two runs of continuous integration are hours and machines apart. Here both sets of files (models,
blocks, weights) are built and timed in the same rounds of the same processes, so that whatever the
machine does, it does to both.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from detrbench.compare.gate import Check, GateResult, Outcome, Policy, gate
from detrbench.compare.gate.paired import CONFIRMATION, paired_checks, undecided
from detrbench.compare.gate.pairs import Pair, pairs_of
from detrbench.compare.gate.times import Known
from detrbench.compare.revisions import Revision, unpacked
from detrbench.core.errors import UsageError
from detrbench.core.version import __version__
from detrbench.counting.profiling import profile
from detrbench.machine.environment import Environment
from detrbench.reports.merge import join
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import LEAST_PROCESSES
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request, StandIn
from detrbench.timing.replication import Run, replicate
from detrbench.timing.rows import latency_comparisons, latency_results
from detrbench.timing.session import OnProgress

Replicate = Callable[..., Run]

STRETCH = 1.5
"""Of its time a run may take, where a busy minute left it without the processes of a verdict."""


@dataclass(frozen=True)
class Asked:
    """What is compared, and how much time there is for it.

    Attributes:
        request: its models are paths of files in a git repository, its settings those of all runs.
        revision: a branch, tag or commit.
        limit: the largest increase of latency that is no regression, 0.05 for 5 %.
        budget_s: seconds for one run of a model; what it leaves open takes up to two more.
        counts_only: nothing is timed.
    """

    request: Request
    revision: str
    limit: float = 0.05
    budget_s: float = 120.0
    counts_only: bool = False


@dataclass(frozen=True)
class Versus:
    """Both sides of a comparison.

    Attributes:
        now: rows of the files as they are.
        then: rows of the files as the revision had them, under the same names.
        new: models that the revision did not have.
        broken: model -> why the revision's files of it cannot be built.
        report: everything measured as one Report, for keeping: the revision's rows are called
            model@revision, and rows of further runs have their number among their settings.
    """

    now: Report
    then: Report
    new: tuple[str, ...]
    broken: dict[str, str]
    report: Report


def gate_revision(
    asked: Asked,
    policy: Policy,
    *,
    known: Known | None = None,
    replicate: Replicate = replicate,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> tuple[GateResult, Versus]:
    """`compare_with_revision`, and what a gate makes of it under `policy`.

    Args:
        known: device -> what its machine can tell apart; a limit below that never passes.

    Raises:
        UsageError: as there.
    """
    versus = compare_with_revision(
        dataclasses.replace(
            asked,
            limit=asked.limit if not policy.judges_time else policy.latency_limit,
            counts_only=asked.counts_only or not policy.judges_time,
        ),
        replicate=replicate,
        progress=progress,
        announce=announce,
    )
    timed = paired_checks(versus.now, versus.then, versus.report, policy.latency_limit, known or {})
    broken = [
        Check(
            Outcome.INVALID,
            model,
            reasons=(f"{asked.revision} cannot be built: {why}",),
            hint="Name a revision that has a whole model: --rev.",
        )
        for model, why in versus.broken.items()
    ]
    return gate(versus.now, versus.then, policy, timed=[*broken, *timed]), versus


def compare_with_revision(
    asked: Asked,
    *,
    replicate: Replicate = replicate,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> Versus:
    """Count and time every model of `asked` against its own past.

    A model that looks slower beyond the limit, or that may be, is timed again in fresh processes:
    what a gate fails for must have been seen twice.

    Args:
        replicate: the protocol.
        announce: is told what is being done, in sentences.

    Raises:
        UsageError: no such revision, files outside of the repository, or a request that cannot be
            carried out as given.
    """
    request = asked.request
    with unpacked(asked.revision, Path(request.models[0])) as revision:
        going = _Runner(asked, revision, replicate, progress, announce)
        for model in request.models:
            going.count(model)
        with suppress(KeyboardInterrupt):  # what was timed until then is in the rows
            for model in () if asked.counts_only else going.both:
                going.time(model)
        return going.versus()


class _Runner:
    """A comparison on its way."""

    def __init__(
        self,
        asked: Asked,
        revision: Revision,
        replicate: Replicate,
        progress: OnProgress | None,
        announce: Callable[[str], None] | None,
    ) -> None:
        self._asked, self._revision, self._replicate = asked, revision, replicate
        self._progress, self._announce = progress, announce
        self._now: dict[str, Result] = {}
        self._then: dict[str, Result] = {}
        self._confirmed: list[Result] = []
        self._comparisons: list[dict[str, Any]] = []
        self._new: list[str] = []
        self._broken: dict[str, str] = {}
        self._environment = Environment.read().to_dict()

    @property
    def both(self) -> list[str]:
        """Models that both sides have and can build."""
        return list(self._then)

    def count(self, model: str) -> None:
        request = self._asked.request
        self._now[model] = self._counted(model, request)
        stand_in = self._past(model)
        if stand_in is None:
            self._new.append(model)
            return
        try:
            counted = self._counted(stand_in.model, stand_in.files_of(request))
        except UsageError as error:  # the files of the past are not the user's to mend
            self._broken[model] = str(error)
        else:
            self._then[model] = dataclasses.replace(counted, model=model)

    def time(self, model: str) -> None:
        """In as many runs as it takes to decide."""
        number = 1
        self._time_once(model, number)
        while (why := undecided(self._runs(model), self._asked.limit)) is not None:
            number += 1
            self._say(f"{model}: {why}; run {number}, in fresh processes")
            self._time_once(model, number)

    def versus(self) -> Versus:
        now, then = self._report(self._now.values()), self._report(self._then.values())
        commit = {"revision": self._revision.commit[:12]}
        then = dataclasses.replace(then, environment=then.environment | commit)
        past = [
            dataclasses.replace(row, model=self._past_name(row.model))
            for row in self._then.values()
        ]
        kept = self._report([*past, *self._now.values(), *self._confirmed])
        kept = dataclasses.replace(
            kept,
            comparisons=tuple(self._comparisons),
            title=f"Against {self._asked.revision} ({self._revision.commit[:12]})",
        )
        return Versus(now, then, tuple(self._new), dict(self._broken), kept)

    def _runs(self, model: str) -> list[Pair]:
        pairs = pairs_of(Report((), comparisons=tuple(self._comparisons)))
        return [pair for pair in pairs if pair.model == model]

    def _time_once(self, model: str, number: int) -> None:
        run = self._run(model)
        self._keep(model, run, number)
        if run.stopped == "interrupted":
            raise KeyboardInterrupt

    def _run(self, model: str) -> Run:
        past = self._past(model)
        assert past is not None  # only models of both sides are timed
        request = dataclasses.replace(
            self._asked.request, models=(past.name, model), stand_ins=(past,)
        )
        budget = Budget(budget_s=self._asked.budget_s, margin=self._asked.limit)
        longer = dataclasses.replace(
            budget, budget_s=STRETCH * self._asked.budget_s, processes=LEAST_PROCESSES
        )
        told: dict[str, Any] = {"progress": self._progress, "announce": self._announce}
        with tempfile.TemporaryDirectory(prefix="detrbench-gate-") as folder:
            run = self._replicate(request, budget, Path(folder), **told)
            if run.stopped == "budget" and len(run.finished) < LEAST_PROCESSES:
                run = self._replicate(request, longer, Path(folder), **told)  # goes on
        return run

    def _keep(self, model: str, run: Run, number: int) -> None:
        then, now = latency_results(run)
        pairs = list(latency_comparisons(run))
        measured = next((one.measurement for one in run.outcomes if one.measurement), None)
        if measured is not None:
            self._environment = measured.environment
        if number > 1:
            again = {CONFIRMATION: number}
            self._confirmed += [
                dataclasses.replace(cell, settings=cell.settings | again) for cell in (then, now)
            ]
            pairs = [{**pair, "settings": pair["settings"] | again} for pair in pairs]
        else:
            self._now[model] = join(self._now[model], now)
            self._then[model] = join(self._then[model], dataclasses.replace(then, model=model))
        self._comparisons += pairs

    def _past(self, model: str) -> StandIn | None:
        """The model as the revision had it; `None` if it had none."""
        there = self._revision.counterpart(model)
        if there is None:
            return None
        request = self._asked.request
        return StandIn(
            self._past_name(model),
            str(there),
            own_files=True,
            blocks=self._past_file(request.blocks),
            backbone_weights=self._past_file(request.backbone_weights),
        )

    def _past_file(self, file: str | None) -> str | None:
        there = None if file is None else self._revision.counterpart(file)
        return None if there is None else str(there)

    def _past_name(self, model: str) -> str:
        return f"{model}@{self._revision.name}"

    def _counted(self, model: str, request: Request) -> Result:
        report = profile(
            [model],
            imgsz=request.imgsz,
            batch=request.batch,
            nc=request.nc,
            fuse=request.fuse,
            blocks=request.blocks,
        )
        return report.rows[0]

    def _report(self, rows: Iterable[Result]) -> Report:
        return Report(
            tuple(rows),
            self._environment,
            created=datetime.now().astimezone().isoformat(timespec="seconds"),
            detrbench_version=__version__,
        )

    def _say(self, text: str) -> None:
        if self._announce is not None:
            self._announce(text)
