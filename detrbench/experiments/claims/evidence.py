"""Saved reports as evidence: which models were timed in the same rounds, and what they cost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

from detrbench.compare.gate.pairs import error_of, pairs_of
from detrbench.core.errors import UsageError
from detrbench.experiments.guidelines.rules import findings
from detrbench.machine.environment import Environment
from detrbench.reports.comparison import OF_THE_MODEL, Comparison, Side
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import MARGIN, Judgement, Verdict, judge


@dataclass(frozen=True)
class Bench:
    """Models that were timed against the same baseline, in the same rounds, under one setting. A
    baseline that was executed otherwise has no row here, unless it was timed so as well."""

    baseline: str
    settings: Mapping[str, Any]
    pairs: Mapping[str, Comparison]  # model -> its comparison with the baseline
    rows: Mapping[str, Result]  # model -> its row of the report
    machine: str = ""  # hardware architecture, such as "x86_64"
    margin: float = MARGIN

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.baseline, *self.pairs)))

    @property
    def is_gpu(self) -> bool:
        return str(self.settings.get("device", "cpu")).startswith("cuda")

    @property
    def is_arm(self) -> bool:
        return not self.is_gpu and self.machine.lower().startswith(("arm", "aarch64"))

    def versus(
        self,
        model: str,
        other: str,
        *,
        per: float = 1.0,
        margin: float | None = None,
        tests: int = 1,
    ) -> Judgement:
        """Time of `model` over that of `other`: process by process, the difference of their
        log-ratios to the baseline.

        Args:
            per: divides the ratio, such as the ratio of their FLOPs for time per FLOP.
            margin: of the verdict; the report's own, if `None`.
            tests: how many such questions are asked at once; each may then err less (Bonferroni).
        """
        sides = [self._pair(name) for name in (model, other)]
        timed = [pair for pair in sides if pair is not None]
        spoilt = [reason for pair in timed for reason in _spoilt(pair)]
        logs: list[float] = []
        if len({len(pair.process_log_ratios) for pair in timed}) > 1:
            spoilt.append("the two were not timed in the same processes")
        else:  # the baseline's own log-ratio is 0 in every process
            here, there = (pair.process_log_ratios if pair else () for pair in sides)
            logs = [one - two for one, two in zip_longest(here, there, fillvalue=0.0)]
        return judge(
            [value - math.log(per) for value in logs],
            margin=margin or self.margin,
            alpha=min(map(error_of, timed), default=1.0) / tests,
            spoilt=list(dict.fromkeys(spoilt)),
        )

    def cost(self, model: str, other: str, key: str) -> float | None:
        """A count of `model` over that of `other`; `None` where either is missing or not whole."""
        here, there = (
            self.rows[name].metrics.get(key)
            if name in self.rows and name not in self.partial
            else None
            for name in (model, other)
        )
        return here / there if here and there else None

    @property
    def partial(self) -> dict[str, str]:
        """Models whose counts lack something -> what."""
        rows = ((name, row) for name, row in self.rows.items() if row.status == "partial")
        return {name: row.reason or "no reason was recorded" for name, row in rows}

    def has(self, *models: str) -> bool:
        """Whether all of them were timed here."""
        return all(model in self.models and model in self.rows for model in models)

    def _pair(self, model: str) -> Comparison | None:
        """`None` for the baseline, unless it was timed under this setting against another one."""
        return self.pairs.get(model) if model == self.baseline else self.pairs[model]


@dataclass(frozen=True)
class Evidence:
    """Everything the claims are held against. What is not there was not measured."""

    rivals: tuple[Bench, ...] = ()  # of `detrbench run rivals`, of one device or several
    article: tuple[Bench, ...] = ()  # of `detrbench run article`
    guidelines: tuple[Report, ...] = ()  # of `detrbench guidelines`
    reports: Mapping[str, Report] = field(default_factory=dict)  # by file, of all that was given

    @property
    def exit_code(self) -> int:
        """What a command that measured all of it ends with; see `Report.exit_code`."""
        return max((report.exit_code for report in self.reports.values()), default=0)

    @classmethod
    def of(
        cls,
        rivals: Mapping[str, Report],
        article: Mapping[str, Report],
        guidelines: Mapping[str, Report],
    ) -> Evidence:
        """From reports by their files. Raises UsageError where one is not what it is given as."""
        for file, report in guidelines.items():
            try:
                findings(report)
            except UsageError as error:
                raise UsageError(error.what, where=file, hint=error.hint) from error
        return cls(
            _all_benches(rivals),
            _all_benches(article),
            tuple(guidelines.values()),
            {**rivals, **article, **guidelines},
        )


def benches(report: Report) -> tuple[Bench, ...]:
    """The groups of models that `report` compares. Raises ReportError for a comparison that is
    none."""
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for pair in pairs_of(report):
        key = (pair.baseline.model, _executed(pair.baseline), _executed(pair.case))
        groups.setdefault(key, []).append(pair)
    machine = (Environment.from_dict(report.environment).platform or "").rpartition(" ")[2]
    return tuple(_bench(group, report.rows, machine) for group in groups.values())


def _executed(side: Side) -> str:
    """How it was executed. As it was asked for: a model that failed has nothing read back."""
    known = _common(side.settings) if side.case is None else asdict(side.case.execution)
    return json.dumps(known, sort_keys=True, default=str)


def _all_benches(reports: Mapping[str, Report]) -> tuple[Bench, ...]:
    """Those of all reports, in each of which shufflev2 has to be."""
    found = []
    for file, report in reports.items():
        here = [bench for bench in benches(report) if "shufflev2" in bench.models]
        if not here:
            raise UsageError(
                "the report holds no comparison with shufflev2",
                where=file,
                hint="Give the run.json of detrbench run.",
            )
        found.extend(here)
    return tuple(found)


def _bench(group: Sequence[Comparison], rows: Iterable[Result], machine: str) -> Bench:
    baseline = group[0].baseline
    alike = _executed(baseline) == _executed(group[0].case)
    sides = [*([baseline] if alike else []), *(pair.case for pair in group)]
    timed = next((pair for pair in group if pair.ratio is not None), group[0])
    return Bench(
        baseline=baseline.model,
        settings=_common(timed.settings),
        pairs={pair.model: pair for pair in group},
        rows={row.model: row for row in rows if any(side.is_of(row) for side in sides)},
        machine=machine,
        margin=max(pair.margin or MARGIN for pair in group),
    )


def _common(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in OF_THE_MODEL}


def _spoilt(pair: Comparison) -> tuple[str, ...]:
    if pair.verdict is None or not Verdict(pair.verdict).silent:
        return ()
    return pair.reasons or ("no reason was recorded",)
