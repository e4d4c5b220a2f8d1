"""Which row is compared with which."""

from __future__ import annotations

import copy

from detrbench.compare.gate import Outcome
from tests.compare.gates import COUNTED, counted, outcome, run


def test_a_convention_is_of_the_table_and_keeps_no_rows_apart() -> None:
    base, now = counted(), counted()
    now["rows"][0]["settings"]["convention"] = "thop"
    assert outcome(base, now) is Outcome.PASS


def test_counts_alone_compare_with_a_run_that_also_timed() -> None:
    base = counted()
    base["rows"][0]["settings"] = dict(COUNTED)
    assert outcome(base, run()) is Outcome.PASS


def test_of_two_rows_under_settings_of_time_the_likest_is_taken() -> None:
    base, now = run(), run()
    other = copy.deepcopy(now["rows"][1])
    other["settings"]["threads"] = 1
    other["metrics"]["kernels"] = 9999
    now["rows"].insert(0, other)
    assert outcome(base, now) is Outcome.PASS
