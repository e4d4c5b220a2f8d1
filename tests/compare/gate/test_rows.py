"""Which row is compared with which."""

from __future__ import annotations

import copy

from detrbench.compare.gate import Outcome, gate
from detrbench.compare.gate.policy import ANY, Policy
from tests.compare.gates import COUNTED, counted, outcome, report, run


def test_tables_of_two_conventions_show_other_figures_and_do_not_compare() -> None:
    base, now = counted(), counted()
    now["rows"][0]["settings"]["convention"] = "thop"
    (check, *_) = gate(report(now), report(base)).ordered
    assert (check.outcome, check.model) == (Outcome.INVALID, "mine"), "and it keeps no rows apart"
    assert "other conventions (baseline, this run): core, thop" in check.reasons[0]


def test_counts_alone_compare_with_a_run_that_also_timed_where_time_is_left_out() -> None:
    base, new = counted(), {"ref"}
    base["rows"][0]["settings"] = dict(COUNTED)
    assert outcome(base, run(), Policy(max_latency_increase=ANY), new=new) is Outcome.PASS
    result = gate(report(run()), report(base), new=new)
    assert result.outcome is Outcome.INVALID
    (check,) = [each for each in result.checks if each.outcome is Outcome.INVALID]
    assert (check.metric, check.model) == ("latency_median_s", "mine")
    assert "--counts-only" in (check.hint or "")


def test_a_row_that_the_baseline_lacks_is_no_pass_unless_it_is_said_to_be_new() -> None:
    base, now = counted(), counted()
    now["rows"].append({**copy.deepcopy(now["rows"][0]), "model": "other"})
    assert outcome(base, now) is Outcome.INVALID
    assert outcome(base, now, new={"mine"}) is Outcome.INVALID
    assert outcome(base, now, new={"other"}) is Outcome.PASS


def test_of_two_rows_under_settings_of_time_the_likest_is_taken() -> None:
    base, now = run(), run()
    other = copy.deepcopy(now["rows"][1])
    other["settings"]["threads"] = 1
    other["metrics"]["kernels"] = 9999
    now["rows"].insert(0, other)
    assert outcome(base, now, new={"mine"}) is Outcome.PASS
