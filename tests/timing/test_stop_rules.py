from __future__ import annotations

from itertools import islice

import pytest

from detrbench.core.errors import UsageError
from detrbench.timing.stop_rules import ORDERS, Plan, abba, enough, settled, shuffled


def test_abba_runs_every_second_round_backwards() -> None:
    assert list(islice(abba(3, seed=0), 4)) == [(0, 1, 2), (2, 1, 0), (0, 1, 2), (2, 1, 0)]


def test_abba_cancels_linear_drift() -> None:
    spent = [0.0, 0.0]
    for slot, step in enumerate(step for order in islice(abba(2, seed=0), 2) for step in order):
        spent[step] += 1.0 + 0.1 * slot  # the machine slows down steadily
    assert spent[0] == pytest.approx(spent[1])


def test_shuffled_draws_permutations_from_its_seed() -> None:
    first = list(islice(shuffled(4, seed=1), 20))
    assert first == list(islice(shuffled(4, seed=1), 20))
    assert first != list(islice(shuffled(4, seed=2), 20))
    assert {tuple(sorted(order)) for order in first} == {(0, 1, 2, 3)}
    assert len(set(first)) > 5


@pytest.mark.parametrize("name", ORDERS)
def test_every_order_runs_every_step_once_a_round(name: str) -> None:
    assert all(sorted(order) == [0, 1, 2] for order in islice(ORDERS[name](3, 0), 10))


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ([1.00, 1.01], [0.97, 0.98], True),  # all below, but medians within 5 %
        ([1.3, 1.2], [1.0, 0.98], False),  # still getting faster
        ([1.06, 1.06], [1.0, 1.0], False),  # by just more than 5 %
        ([1.0, 1.6], [1.05, 0.9], True),  # mingled: noise as wide as that
        ([1.0, 1.0], [1.2, 1.3], True),  # slower again: nothing that warms up does that
        ([1.0, 1.0, 1.3], [1.2, 1.2, 1.2], True),  # the median fell, but only within what was seen
    ],
)
def test_settled(earlier: list[float], later: list[float], expected: bool) -> None:
    assert settled(earlier, later, tolerance=0.05) is expected


def test_rounds_end_a_plan_at_once() -> None:
    plan = Plan(budget_s=None, rounds=3)
    assert enough(plan, 2, elapsed_s=1e9, round_s=1.0) is None
    assert enough(plan, 3, elapsed_s=0.0, round_s=1.0) == "rounds"


def test_the_budget_ends_a_plan_only_after_whole_pairs_of_rounds() -> None:
    plan = Plan(budget_s=10.0)
    assert enough(plan, 7, elapsed_s=50.0, round_s=1.0) is None
    assert enough(plan, 8, elapsed_s=8.1, round_s=1.0) == "budget"
    assert enough(plan, 8, elapsed_s=8.0, round_s=1.0) is None


def test_four_rounds_are_timed_even_beyond_the_budget_but_not_for_ever() -> None:
    plan = Plan(budget_s=60.0)
    assert enough(plan, 2, elapsed_s=90.0, round_s=10.0) is None
    assert enough(plan, 4, elapsed_s=90.0, round_s=10.0) == "budget"
    assert enough(plan, 2, elapsed_s=101.0, round_s=10.0) == "budget"
    assert enough(plan, 1, elapsed_s=999.0, round_s=900.0) is None, "one ABBA block is the least"


def test_seconds_of_timed_rounds_end_a_plan_once_its_least_rounds_are_done() -> None:
    plan = Plan(budget_s=None, rounds=60, timed_s=2.0)
    assert enough(plan, 2, elapsed_s=0.0, round_s=9.0) is None, "four are the least"
    assert enough(plan, 4, elapsed_s=0.0, round_s=0.4) is None
    assert enough(plan, 4, elapsed_s=0.0, round_s=0.5) == "time"
    assert enough(plan, 5, elapsed_s=0.0, round_s=0.5) is None, "only after whole pairs"
    assert enough(plan, 60, elapsed_s=0.0, round_s=0.001) == "rounds"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget_s": None}, "needs an end"),
        ({"budget_s": 0.0}, "leaves no time"),
        ({"budget_s": float("nan")}, "leaves no time"),
        ({"rounds": 0}, "0 rounds"),
        ({"order": "abab"}, "did you mean abba"),
    ],
)
def test_plans_that_cannot_be_carried_out(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plan(**arguments)  # type: ignore[arg-type]
