"""Which row is compared with which."""

from __future__ import annotations

import copy

from detrbench.compare.gate import Outcome, gate
from detrbench.compare.gate.policy import ANY, Policy
from tests.compare.gates import COUNTED, counted, modern, outcome, report, run


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


def test_no_row_is_compared_with_two() -> None:
    base, now = counted(), counted()
    base["rows"].append(copy.deepcopy(base["rows"][0]))
    base["rows"][1]["settings"]["threads"] = 1
    result = gate(report(now), report(base))
    assert result.outcome is Outcome.INVALID
    (check,) = [each for each in result.checks if each.outcome is Outcome.INVALID]
    assert check.reasons == ("this run has fewer rows of this model than the baseline",)


def test_of_two_rows_of_one_name_each_is_compared_with_its_own_reference() -> None:
    """As reports hold them that were made before names had to be one model's."""
    base = modern(counted())
    base["rows"].append(copy.deepcopy(base["rows"][0]))
    base["cases"].append(copy.deepcopy(base["cases"][0]))
    base["rows"][1]["case"] = base["cases"][1]["id"] = "case 1"
    base["cases"][1]["model"]["reference"] = "other.yaml"
    base["rows"][1]["metrics"]["kernels"] = 999
    now = copy.deepcopy(base)
    now["rows"].reverse()
    assert outcome(base, now) is Outcome.PASS
    now["rows"][1]["metrics"]["kernels"] = 998
    assert outcome(base, now) is Outcome.REGRESSION


def test_a_model_that_is_new_needs_no_rows_to_be_compared_with() -> None:
    base, now = counted(), counted()
    base["rows"] = []
    limits = Policy(max={"params": 40e6})
    assert outcome(base, now, limits) is Outcome.INVALID
    assert outcome(base, now, limits, new={"mine"}) is Outcome.PASS
    assert outcome(base, now, new={"mine"}) is Outcome.INVALID, "nothing is checked at all"
