"""What intervals say of a guideline."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from detrbench.core.errors import UsageError
from detrbench.experiments.guidelines import paper
from detrbench.experiments.guidelines.rules import Answer, findings, judge_guideline, judge_trial
from detrbench.reports.report import Report
from tests.experiments.guidelines.fakes import pair

SLOW, FAST, LEVEL, OPEN = (1.2, 1.3), (0.7, 0.8), (0.99, 1.01), (0.9, 1.1)
HOLDS, DOES_NOT, INCONCLUSIVE = Answer.HOLDS, Answer.DOES_NOT_HOLD, Answer.INCONCLUSIVE


def trial(guideline: str, *intervals: tuple[float, float]) -> tuple[Answer, list[str]]:
    labels = [one.label for one in paper.experiments(guideline, "arm")[0].networks[1:]]
    pairs = {label: pair(*each) for label, each in zip(labels, intervals, strict=True)}
    return judge_trial(paper.GUIDELINES[guideline], pairs)


@pytest.mark.parametrize(
    ("guideline", "intervals", "answer"),
    [
        ("G1", (SLOW, SLOW, SLOW), HOLDS),
        ("G1", (LEVEL, OPEN, SLOW), HOLDS),  # it begins to cost somewhere on the way
        ("G1", (SLOW, SLOW, LEVEL), DOES_NOT),
        ("G1", (SLOW, SLOW, FAST), DOES_NOT),
        ("G1", (FAST, SLOW, SLOW), DOES_NOT),
        ("G1", (SLOW, SLOW, OPEN), INCONCLUSIVE),
        ("G1", (LEVEL, LEVEL, LEVEL), DOES_NOT),
        ("G2", (SLOW, SLOW, SLOW), HOLDS),
        ("G2", (OPEN, OPEN, OPEN), INCONCLUSIVE),
        ("G3", (LEVEL, SLOW, LEVEL, SLOW), HOLDS),
        ("G3", (SLOW, LEVEL, SLOW, SLOW), DOES_NOT),  # four in series cost nothing
        ("G3", (SLOW, SLOW, SLOW, OPEN), INCONCLUSIVE),
        ("G4", (FAST, FAST, FAST), HOLDS),
        ("G4", (OPEN, LEVEL, FAST), HOLDS),
        ("G4", (FAST, FAST, LEVEL), DOES_NOT),
        ("G4", (SLOW, FAST, FAST), DOES_NOT),
        ("G4", (FAST, FAST, OPEN), INCONCLUSIVE),
    ],
)
def test_what_an_experiment_says(
    guideline: str, intervals: Sequence[tuple[float, float]], answer: Answer
) -> None:
    found, reasons = trial(guideline, *intervals)
    assert found is answer
    assert bool(reasons) == (answer is not HOLDS)


def test_an_invalid_row_says_nothing_and_why() -> None:
    pairs = {"1:2": pair(*SLOW), "1:6": pair(*SLOW), "1:12": pair(*SLOW, processes=2)}
    answer, reasons = judge_trial(paper.GUIDELINES["G1"], pairs)
    assert answer is INCONCLUSIVE
    assert reasons == ["slower in 2 of 2 processes; 4 more processes decide"]


@pytest.mark.parametrize("pairs", [{}, {"1:2": None, "1:6": None, "1:12": None}])
def test_what_was_not_measured_says_nothing(pairs: dict[str, None]) -> None:
    answer, reasons = judge_trial(paper.GUIDELINES["G1"], pairs)
    assert (answer, reasons) == (INCONCLUSIVE, ["not every network was measured"])


@pytest.mark.parametrize(
    ("answers", "answer"),
    [
        ((HOLDS, HOLDS, HOLDS), HOLDS),
        ((HOLDS, DOES_NOT, HOLDS), DOES_NOT),
        ((INCONCLUSIVE, DOES_NOT, HOLDS), DOES_NOT),
        ((HOLDS, INCONCLUSIVE, HOLDS), INCONCLUSIVE),
        ((), INCONCLUSIVE),
    ],
)
def test_a_guideline_is_meant_for_every_experiment(
    answers: Sequence[Answer], answer: Answer
) -> None:
    assert judge_guideline(answers) is answer


def test_a_report_of_something_else_says_nothing() -> None:
    with pytest.raises(UsageError, match="no rows of the guidelines' experiments"):
        findings(Report(title="Latency"))
