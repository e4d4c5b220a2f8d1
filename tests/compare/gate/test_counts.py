"""Counts, which are exact: one more than allowed is a regression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.compare.gate import Outcome, gate
from detrbench.compare.gate.policy import Policy, policy_of
from detrbench.reports.metrics import METRICS
from tests.compare.gates import COUNTS, counted, outcome, report


def test_what_is_gated_is_what_the_table_shows_of_counts() -> None:
    base = counted()
    checked = [check.metric for check in gate(report(base), report(base)).checks]
    assert checked == [
        "params", "flops", "memory_access_elements", "traffic_eager_bytes", "traffic_fused_bytes",
        "peak_activation_bytes", "kernels",
    ]  # fmt: skip
    base["rows"][0]["settings"]["convention"] = "thop"
    assert "flops_thop" in [each.metric for each in gate(report(base), report(base)).checks]


@pytest.mark.parametrize("key", [key for key in COUNTS if METRICS[key].summary])
def test_a_count_that_was_taken_out_of_both_reports_is_no_pass(key: str) -> None:
    base, now = counted(), counted()
    for plain in (base, now):
        if key == "flops_thop":
            plain["rows"][0]["settings"]["convention"] = "thop"
        del plain["rows"][0]["metrics"][key]
    assert outcome(base, now) is Outcome.INVALID
    assert outcome(base, now, policy_of(max_increase=[f"{key}=any"])) is Outcome.PASS


def test_a_share_is_exact_where_binary_fractions_are_not() -> None:
    base, now = counted(kernels=1000), counted(kernels=1029)
    for text, expected in (("2.9%", Outcome.PASS), ("2.8%", Outcome.REGRESSION)):
        assert outcome(base, now, policy_of(max_increase=[f"kernels={text}"])) is expected


@given(
    key=st.sampled_from([key for key in COUNTS if METRICS[key].summary and key != "flops_thop"]),
    value=st.one_of(st.none(), st.integers(-10, 10**13)),
    limit=st.one_of(st.just(0.0), st.floats(0.001, 0.9)),
)
def test_no_count_passes_that_is_missing_or_beyond(
    key: str, value: int | None, limit: float
) -> None:
    now = counted(**{key: value})
    passes = outcome(counted(), now, Policy(max_increase={key: limit})) is Outcome.PASS
    allowed = COUNTS[key] * (1 + limit)
    assert passes == (value is not None and 0 < value <= allowed * (1 + 1e-12 * bool(limit)))
