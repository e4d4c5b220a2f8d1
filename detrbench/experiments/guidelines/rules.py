"""What timed experiments say of a guideline. Pure: a saved report goes in, an answer comes out.

The rule. In every experiment (a column of the paper's table) each network has an interval for its
time against the first one's, and the verdict of `detrbench.reports.verdicts` at the run's margin.
The rows that are farthest from the first (1:12, 8 groups, 4 fragments, neither ReLU nor shortcut)
decide:

- An experiment agrees when each of those is wholly beyond the margin on the side that the paper
  found, and no other row is wholly beyond it on the opposite side.
- It disagrees when one of those is wholly within the margin, or any row is wholly beyond it on the
  opposite side.
- Otherwise, and wherever a row is missing or has no valid verdict, it cannot be told.

A guideline is meant for every size of network: it holds where every experiment agrees, does not
hold where one disagrees, and is inconclusive otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from detrbench.compare.gate.pairs import pairs_of
from detrbench.core.errors import UsageError
from detrbench.core.units import show_change
from detrbench.experiments.guidelines.paper import GUIDELINES, Guideline
from detrbench.render.layout import interval_text
from detrbench.reports.comparison import Comparison
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import Verdict


class Answer(str, Enum):
    """Whether a guideline holds on the device that was measured."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    INCONCLUSIVE = "inconclusive here"


@dataclass(frozen=True)
class Trial:
    """One experiment as it was measured."""

    column: str  # of the paper's table, "x1", "x2" or "x4"
    cells: tuple[Result, ...]  # its rows, the baseline first
    pairs: Mapping[str, Comparison]  # label of a row -> its comparison with the first
    answer: Answer
    reasons: tuple[str, ...] = ()  # why the answer is not a plainer one


@dataclass(frozen=True)
class Finding:
    """A guideline, what was found of it, and the trials that say so."""

    guideline: Guideline
    answer: Answer
    trials: tuple[Trial, ...]

    def sentence(self) -> str:
        """How much it is, with the paper's own figures, in words."""
        shown = [
            f"{label}: {', '.join(_of_trial(trial, label) for trial in self.trials)}"
            for label in self._telling()
        ]
        first = label_of(self.trials[0].cells[0])
        why = f" Because {'; '.join(self._reasons())}." if self._reasons() else ""
        return (
            f"{self.guideline.name} {self.answer.value}. Time against {first}: "
            f"{'; '.join(shown)}.{why}"
        )

    def _reasons(self) -> list[str]:
        """Each reason once, with the trials it is of."""
        columns: dict[str, list[str]] = {}
        for trial in self.trials:
            for reason in trial.reasons:
                columns.setdefault(reason, []).append(trial.column)
        return [f"at {', '.join(of)} {reason}" for reason, of in columns.items()]

    def _telling(self) -> list[str]:
        """The rows that decide, and those that decided against it."""
        contrary = [
            label
            for trial in self.trials
            for label, pair in trial.pairs.items()
            if pair.verdict == _sides(self.guideline)[1]
        ]
        return list(dict.fromkeys((*self.guideline.decisive, *contrary)))


def findings(report: Report) -> tuple[Finding, ...]:
    """What `report` says of every guideline that it has rows of. Raises UsageError where it has
    rows of none, or a comparison that is none."""
    pairs_of(report)
    names = [name for name in GUIDELINES if _rows(report, guideline=name)]
    if not names:
        raise UsageError(
            "the report has no rows of the guidelines' experiments",
            hint="Make one with: detrbench guidelines -o guidelines.json",
        )
    return tuple(_finding(report, GUIDELINES[name]) for name in names)


def judge_trial(
    guideline: Guideline, pairs: Mapping[str, Comparison | None]
) -> tuple[Answer, list[str]]:
    """The answer of one experiment, of which `pairs` holds every row but the first by its label,
    `None` where that has no comparison; and the reasons where it is not a plain yes."""
    wanted, contrary = _sides(guideline)
    verdicts = {label: None if pair is None else pair.verdict for label, pair in pairs.items()}
    silent = [pairs[label] for label, said in verdicts.items() if not _tells(said)]
    if silent or not all(label in pairs for label in guideline.decisive):
        reasons = [reason for pair in silent if pair for reason in pair.reasons]
        return Answer.INCONCLUSIVE, list(dict.fromkeys(reasons)) or [
            "not every network was measured"
        ]
    against = [label for label, verdict in verdicts.items() if verdict == contrary]
    level = [label for label in guideline.decisive if verdicts[label] == Verdict.EQUIVALENT]
    if against or level:
        found = contrary.value.lower()
        return Answer.DOES_NOT_HOLD, [
            *(f"{label} is {found} than the first row" for label in against),
            *(f"{label} takes the first row's time, within the margin" for label in level),
        ]
    undecided = [label for label in guideline.decisive if verdicts[label] != wanted]
    across = [f"the interval of {label} reaches across the margin" for label in undecided]
    return Answer.INCONCLUSIVE if across else Answer.HOLDS, across


def _tells(verdict: str | None) -> bool:
    """Whether it says where an interval lies; others say why there is none to look at."""
    telling = [one for one in Verdict if one.final or one is Verdict.INCONCLUSIVE]
    return verdict in telling


def judge_guideline(answers: Sequence[Answer]) -> Answer:
    """The answer of all of a guideline's experiments."""
    if Answer.DOES_NOT_HOLD in answers:
        return Answer.DOES_NOT_HOLD
    if answers and all(answer is Answer.HOLDS for answer in answers):
        return Answer.HOLDS
    return Answer.INCONCLUSIVE


def paper_ratio(cell: Result, first: Result) -> float | None:
    """Time over the first row's, as the paper measured it: the inverse of its speeds."""
    here, there = (_printed_speed(each) for each in (cell, first))
    return there / here if here and there else None


def label_of(cell: Result) -> str:
    """The row of the paper's table that `cell` is."""
    return str(cell.settings["network"])


_PLACE = {"guideline", "experiment", "network"}


def _finding(report: Report, guideline: Guideline) -> Finding:
    rows = _rows(report, guideline=guideline.name)
    columns = dict.fromkeys(str(row.settings["experiment"]) for row in rows)
    trials = tuple(_trial(report, guideline, column) for column in columns)
    return Finding(guideline, judge_guideline([trial.answer for trial in trials]), trials)


def _trial(report: Report, guideline: Guideline, column: str) -> Trial:
    cells = _rows(report, guideline=guideline.name, experiment=column)
    pairs = {label_of(cell): report.comparison(cell) for cell in cells[1:]}
    answer, reasons = judge_trial(guideline, pairs)
    there = {label: pair for label, pair in pairs.items() if pair is not None}
    return Trial(column, cells, there, answer, tuple(reasons))


def _rows(report: Report, **settings: str) -> tuple[Result, ...]:
    return tuple(
        row
        for row in report.rows
        if settings.items() <= row.settings.items() and row.settings.keys() >= _PLACE
    )


def _sides(guideline: Guideline) -> tuple[Verdict, Verdict]:
    """What the paper found of the rows after the first, and its opposite."""
    sides = Verdict.SLOWER, Verdict.FASTER
    return sides[::-1] if guideline.faster else sides


def _of_trial(trial: Trial, label: str) -> str:
    """Such as "x1 +33.0% (+30.1% to +35.9%; in the paper +32.3%)"."""
    pair = trial.pairs.get(label)
    cell = next((each for each in trial.cells if label_of(each) == label), None)
    printed = None if cell is None else paper_ratio(cell, trial.cells[0])
    paper = "" if printed is None else f"in the paper {show_change(printed)}"
    if pair is None or pair.ratio is None:
        return f"{trial.column} n/a ({paper})" if paper else f"{trial.column} n/a"
    inside = "; ".join(part for part in (interval_text(pair), paper) if part)
    return f"{trial.column} {show_change(pair.ratio)} ({inside})"


def _printed_speed(cell: Result) -> float | None:
    return next((float(each["speed"]) for each in cell.published if "speed" in each), None)
