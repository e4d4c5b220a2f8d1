"""What counts as a right answer, and how it is told."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.scripts import load


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("time_to_verdict", monkeypatch)


def trial(verdict: str = "FASTER", **more: Any) -> dict[str, Any]:
    usual = {
        "naive_s": 80.0, "naive": "0.612", "seconds": 60.0, "verdict": verdict, "reasons": [],
        "ratio": 0.6, "processes": 3, "next": None,
    }  # fmt: skip
    return {**usual, **more}


POINTS = {"reasons": ["faster in 2 of 2 processes; 4 more processes decide"]}
NEXT = {"next": "go on with: detrbench latency --resume x --budget 9"}


@pytest.mark.parametrize(
    ("told", "right"),
    [
        (trial(), True),
        (trial("SLOWER"), False),
        (trial("EQUIVALENT"), False),
        (trial("TOO FEW", **POINTS, **NEXT), True),
        (trial("TOO FEW", **POINTS), False),
        (trial("TOO FEW", **NEXT), False),
        (trial("INVALID", **POINTS, **NEXT), False),
    ],
)
def test_an_answer_is_a_verdict_or_a_direction_with_the_next_command(
    script: ModuleType, told: dict[str, Any], right: bool
) -> None:
    assert script.right(told) is right


def test_the_goal_is_of_the_command_and_the_load(script: ModuleType) -> None:
    settings = {"command": "latency", "load": 0}
    kept = {"settings": settings, "trials": [trial(seconds=s) for s in (40.0, 60.0, 200.0)]}
    text = script.summary(kept)
    assert "median 0.75 of the naive script's time: met (goal 1.0)" in text
    assert "3 of 3 answers are right: met" in text
    kept["settings"] = {"command": "run", "load": 4}
    assert "met (goal 2.0)" in script.summary(kept)
    assert script.summary({**kept, "trials": []}).count("\n") == 0
