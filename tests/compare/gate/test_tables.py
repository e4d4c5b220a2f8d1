"""What a reader sees of a gate's result, to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from detrbench.compare.gate import Check, GateResult, Outcome
from detrbench.compare.gate.tables import document
from detrbench.render import render_document
from tests.compare.gates import PASSED, RESULT, check_golden

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("name", "format"),
    [("gate.txt", "table"), ("gate.md", "markdown"), ("gate.csv", "csv"), ("gate.json", "json")],
)
def test_golden(name: str, format: str) -> None:
    check_golden(GOLDEN / name, render_document(document(RESULT), format))


@pytest.mark.parametrize("outcome", Outcome)
def test_the_first_line_says_the_outcome_and_what_to_do(outcome: Outcome) -> None:
    check = Check(outcome, "mine", reasons=("so",), hint="Do this.")
    line = document(GateResult((PASSED, check))).tables[0].caption
    assert line.startswith(f"{outcome.value}: ")
    assert line.endswith("Do this.")
