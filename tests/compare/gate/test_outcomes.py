"""Which outcome decides."""

from __future__ import annotations

from detrbench.compare.gate import Check, GateResult, Outcome


def test_the_worst_outcome_decides() -> None:
    checks = {each: Check(each) for each in Outcome}
    order = [Outcome.REGRESSION, Outcome.INVALID, Outcome.INCONCLUSIVE, Outcome.PASS]
    for index, worst in enumerate(order):
        there = tuple(checks[each] for each in reversed(order[index:]))
        assert GateResult(there).outcome is worst
        assert GateResult(there).ordered[0].outcome is worst
    assert [each.exit_code for each in order] == [1, 4, 3, 0]
    assert GateResult(()).outcome is Outcome.INVALID
