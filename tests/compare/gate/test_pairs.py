"""Comparisons of a file, which nothing has looked into before."""

from __future__ import annotations

from typing import Any

import pytest

from detrbench.compare.gate import gate
from detrbench.compare.gate.pairs import error_of, pairs_of, spoilt
from detrbench.reports.comparison import Comparison
from detrbench.reports.report import Report, ReportError
from tests.compare.gates import MACHINE, modern, pair, report, run

SCHEMAS = pytest.mark.parametrize("schema", [1, 2])


def saved(schema: int, **changes: Any) -> Report:
    """A report with one comparison; a change to `None` leaves its key out."""
    plain = run() if schema == 1 else modern(run())
    (one,) = plain["comparisons"]
    one |= changes
    for key in [key for key, value in changes.items() if value is None]:
        del one[key]
    return report(plain)


def test_a_comparison_that_is_none_is_named() -> None:
    now = run()
    del now["comparisons"][0]["reasons"]
    with pytest.raises(ReportError, match=r"comparisons\[0\].*reasons"):
        gate(report(now), report(run()))


@SCHEMAS
@pytest.mark.parametrize("key", ["baseline", "verdict", "reasons", "process_log_ratios"])
@pytest.mark.parametrize("value", [None, 7, {"a": []}])
def test_what_a_verdict_needs_must_be_there_and_of_its_type(
    schema: int, key: str, value: object
) -> None:
    with pytest.raises(ReportError, match=rf"base, comparisons\[0\].*usable {key}"):
        pairs_of(saved(schema, **{key: value}), "base")


@pytest.mark.parametrize("key", ["model", "settings"])
@pytest.mark.parametrize("value", [None, 7])
def test_so_must_the_two_sides(key: str, value: object) -> None:
    with pytest.raises(ReportError, match=f"usable {key}"):
        pairs_of(saved(1, **{key: value}))
    for side in ("baseline", "case"):
        plain = modern(run())
        plain["comparisons"][0][side][key] = value
        with pytest.raises(ReportError, match="usable"):
            pairs_of(report(plain))


@SCHEMAS
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"process_log_ratios": ["x"]}, "process_log_ratios"),
        ({"process_log_ratios": [0.1, None]}, "process_log_ratios"),
        ({"process_log_ratios": [21.0]}, "process_log_ratios holds no ratios"),
        ({"confidence": 2}, "confidence is 2"),
        ({"confidence": 1}, "confidence is 1"),
        ({"confidence": 0}, "confidence"),
        ({"confidence": "high"}, "confidence"),
        ({"verdict": "FINE"}, "verdict is 'FINE'"),
    ],
    ids=lambda each: str(each),
)
def test_values_that_no_run_has_are_said(schema: int, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ReportError, match=said):
        pairs_of(saved(schema, **changes))


@SCHEMAS
def test_whole_ones_are_the_report_s_own(schema: int) -> None:
    whole = saved(schema)
    assert tuple(pairs_of(whole)) == whole.comparisons


@SCHEMAS
def test_where_no_confidence_is_said_it_is_the_usual_one(schema: int) -> None:
    (said,) = pairs_of(saved(schema, confidence=0.99))
    (unsaid,) = pairs_of(saved(schema, confidence=None))
    assert error_of(said) == pytest.approx(0.01)
    assert error_of(unsaid) == 0.05


def test_what_spoils_a_pair_is_told_once() -> None:
    busy = pair(0.8, verdict="BUSY", reasons=["throttled", "hot"])
    bare = pair(0.8, verdict="INVALID", model="other")
    found = Report((), MACHINE, tuple(Comparison.from_dict(each, {}) for each in
                                      (busy, busy, bare, pair(0.8))))  # fmt: skip
    assert spoilt(pairs_of(found)) == [
        "mine against ref is BUSY: throttled; hot",
        "other against ref is INVALID: no reason was recorded",
    ]
