"""Checks of time where both sides were timed in the same rounds, once or several times."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from detrbench.compare.gate import Outcome
from detrbench.compare.gate.paired import paired_checks, undecided
from detrbench.compare.gate.pairs import pairs_of
from detrbench.reports.case import Case
from detrbench.reports.comparison import CONFIRMATION, Comparison, Side
from detrbench.reports.report import Report, Result
from tests.compare.gates import NOISE
from tests.timing.runs import case


def run_number(number: int, logs: Sequence[float], of: Case | None = None) -> Comparison:
    """What one run found of a model "m" against its past."""
    settings = {} if number == 1 else {CONFIRMATION: number}
    return Comparison(
        Side("then", settings),
        Side("m", settings, of),
        verdict="INCONCLUSIVE",
        process_log_ratios=tuple(logs),
    )


@pytest.mark.parametrize(
    ("increase", "most_failing", "most_passing"),
    [(0.0, 0.0, 1.0), (0.05, 0.025, 0.05), (0.12, 1.0, 0.0)],
    ids=["nothing changed", "just the limit", "a regression"],
)
def test_as_many_looks_as_it_takes_err_in_five_percent(
    increase: float, most_failing: float, most_passing: float
) -> None:
    """Runs of six processes whose ratios scatter by 3 %, as those of a busy machine do."""
    draw, trials = random.Random(5), 1000
    ends = [_decision(draw, increase, 0.03) for _ in range(trials)]
    failing, passing = (ends.count(one) / trials for one in (Outcome.REGRESSION, Outcome.PASS))
    assert failing <= most_failing
    assert passing <= most_passing
    if increase in (0.0, 0.12):
        assert max(failing, passing) > 0.9


def _decision(draw: random.Random, increase: float, scatter: float) -> Outcome:
    """How the gate ends, if each process's ratio is `increase` and noise."""
    runs: list[Comparison] = []
    while not runs or undecided(pairs_of(Report(comparisons=tuple(runs))), 0.05):
        logs = [math.log1p(increase) + draw.gauss(0, scatter) for _ in range(6)]
        runs.append(run_number(len(runs) + 1, logs))
    now = Report((Result("m", "m", {}, {}),))
    (check,) = paired_checks(now, now, Report(comparisons=tuple(runs)), 0.05, {})
    return check.outcome


def test_of_several_cases_of_a_model_each_has_its_own_runs() -> None:
    slow, fast = case("m@batch=1"), case("m@batch=8", batch=8)
    rows = tuple(
        Result("m", "m", {"batch": each.execution.batch}, {"latency_median_s": 1.0}, case=each)
        for each in (slow, fast)
    )
    found = (
        run_number(1, [0.2 + away for away in NOISE], slow),
        run_number(1, list(NOISE), fast),
        run_number(2, [0.2 + away for away in NOISE], slow),
    )
    now = Report(rows)
    then = Report(tuple(
        Result("m", "m", row.settings, {"latency_median_s": seconds}, case=row.case)
        for row, seconds in zip(rows, (0.8, 0.99), strict=True)
    ))  # fmt: skip
    checks = list(paired_checks(now, then, Report(comparisons=found), 0.05, {}))
    assert [check.outcome for check in checks] == [Outcome.REGRESSION, Outcome.PASS]
    assert [check.settings["batch"] for check in checks] == [1, 8]
    assert [check.baseline for check in checks] == [0.8, 0.99]
