"""Times of two runs, known as ratios to a reference, and as intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.compare.gate import Outcome, gate, time_check
from detrbench.compare.gate.policy import Policy, policy_of
from detrbench.core.stats import Interval, welch_interval
from detrbench.reports.report import Result
from detrbench.timing.resolution import Resolution
from tests.compare.gates import COUNTS, LONG, SETTINGS, Plain, modern, outcome, pair, report, run

KNOWN = Resolution(0.02, 0.01, 9.0, 120.0, 0.08, "rtdetr-l", "320x320", "2026-01-02")


def test_a_models_own_number_of_classes_does_not_hide_the_reference() -> None:
    base = run()
    base["rows"][0]["settings"]["nc"] = 3  # of its own file: the comparison has the model's
    assert outcome(base, base) is Outcome.PASS


def test_the_interval_is_welchs_of_the_mean_log_ratios() -> None:
    base, now = run(), run()
    now["comparisons"] = [pair(0.9, noise=LONG)]
    (check,) = [c for c in gate(report(now), report(base)).checks if c.reference]
    a, b = (each["comparisons"][0]["process_log_ratios"] for each in (base, now))
    expected = welch_interval(a, b)
    assert expected is not None
    assert check.interval == expected.exp()
    assert check.interval.estimate == pytest.approx(0.9 / 0.8)
    assert (check.baseline, check.value) == (pytest.approx(0.8), pytest.approx(0.9))


def test_a_run_that_looked_early_pays_in_the_interval_here_too() -> None:
    def width(confidence: float) -> float:
        base, now = run(), run()
        now["comparisons"] = [pair(0.8, confidence=confidence)]
        (check,) = [c for c in gate(report(now), report(base)).checks if c.reference]
        assert check.interval is not None
        return check.interval.high - check.interval.low

    assert width(0.99) > width(0.95) * 1.3
    assert width(0.5) == width(0.95)  # and none is ever less sure than 95 %


def test_a_limit_below_what_the_machine_resolves_never_passes() -> None:
    for now, expected in ((0.8, Outcome.INCONCLUSIVE), (0.7, Outcome.INCONCLUSIVE)):
        assert outcome(run(), run(now), known={"cpu": KNOWN}) is expected
    assert outcome(run(), run(1.0), known={"cpu": KNOWN}) is Outcome.REGRESSION  # it is proven
    assert outcome(run(), run(), policy_of("8%"), known={"cpu": KNOWN}) is Outcome.PASS
    assert outcome(run(), run(), known={"cuda:0": KNOWN}) is Outcome.PASS
    result = gate(report(run()), report(run()), known={"cpu": KNOWN})
    (check,) = [each for each in result.checks if each.outcome is Outcome.INCONCLUSIVE]
    assert "8.0% in 2 min 0 s" in check.reasons[0]
    assert "--budget" in check.reasons[0]


@pytest.mark.parametrize("confirmed", [(), (6,), (5, 6), (6, 6)])
def test_a_check_of_time_needs_processes_in_every_run(confirmed: tuple[int, ...]) -> None:
    row = Result("mine", "Mine", dict(SETTINGS), {})
    check = time_check(row, Interval(0.0, -0.01, 0.01), 0.05, processes=confirmed)
    assert check.outcome is (Outcome.INVALID if 5 in confirmed else Outcome.PASS)


def test_no_interval_is_invalid_and_says_so() -> None:
    check = time_check(Result("m", "M", {}, {}), None, 0.05, processes=(9, 9))
    assert (check.outcome, check.reasons) == (Outcome.INVALID, ("it has no interval",))


def compiled(ratio: float, reference: str = "eager") -> Plain:
    """A report of one model, timed compiled against itself under the runtime `reference`."""
    plain = run(ratio)
    plain["comparisons"] = [pair(ratio, model="one", baseline="one")]
    for row in plain["rows"]:
        row["model"] = "one"
    plain["rows"][0]["settings"]["runtime"] = reference
    plain["rows"][1]["settings"]["runtime"] = "compile"
    now = modern(plain)
    for row, side in zip(now["rows"], ("baseline", "case"), strict=True):
        now["comparisons"][0][side] = {key: row[key] for key in ("model", "settings", "case")}
        (case,) = [each for each in now["cases"] if each["id"] == row["case"]]
        case["execution"]["runtime"] = row["settings"]["runtime"]
        case["name"] = f"one@runtime={row['settings']['runtime']}"
    return now


def test_a_model_may_be_the_reference_of_itself_under_other_settings() -> None:
    for now, expected in ((0.8, Outcome.PASS), (0.9, Outcome.REGRESSION)):
        result = gate(report(compiled(now)), report(compiled(0.8)))
        assert result.outcome is expected
        (check,) = [each for each in result.checks if each.metric == "latency_median_s"]
        assert (check.settings["runtime"], check.reference) == ("compile", "one@runtime=eager")


def test_a_reference_under_other_settings_is_another_one() -> None:
    result = gate(report(compiled(0.8, "cudagraph")), report(compiled(0.8)))
    assert result.outcome is Outcome.INVALID
    (check,) = [each for each in result.checks if each.metric == "latency_median_s"]
    assert any(
        "was timed under other settings (baseline, this run): runtime (eager, cudagraph)" in why
        for why in check.reasons
    )


def test_a_baseline_of_schema_1_compares_with_a_run_of_schema_2() -> None:
    for now, expected in ((0.8, Outcome.PASS), (0.9, Outcome.REGRESSION)):
        assert outcome(run(), modern(run(now))) is expected


def built_of(sha256: str) -> Plain:
    """A run whose reference is built of a file with that content."""
    now = modern(run())
    now["cases"][0]["model"]["files"] = [{"path": "nets/ref.yaml", "sha256": sha256}]
    return now


def test_a_reference_of_other_files_is_another_one() -> None:
    assert outcome(built_of("a" * 64), built_of("a" * 64)) is Outcome.PASS
    result = gate(report(built_of("b" * 64)), report(built_of("a" * 64)))
    assert result.outcome is Outcome.INVALID
    (check,) = [each for each in result.checks if each.metric == "latency_median_s"]
    assert "ref.yaml (aaaaaaaaaaaa, bbbbbbbbbbbb)" in check.reasons[0]
    assert outcome(built_of("a" * 64), modern(run())) is Outcome.INVALID, "a file that one lacks"


def test_what_a_reference_of_schema_1_was_built_of_is_told_by_its_counts() -> None:
    def own(counted: bool) -> Plain:
        plain = run()
        plain["rows"][0]["model"] = plain["comparisons"][0]["baseline"] = "./ref.yaml"
        if not counted:
            for key in COUNTS:
                del plain["rows"][0]["metrics"][key]
        return plain

    assert outcome(own(True), own(True)) is Outcome.PASS
    limit = policy_of(max_increase=[f"{key}=any" for key in COUNTS])
    result = gate(report(own(False)), report(own(False)), limit)
    assert result.outcome is Outcome.INVALID
    said = [why for check in result.checks for why in check.reasons]
    assert any("./ref.yaml is not known to be the same model" in why for why in said)


log_ratios = st.lists(st.floats(-1.0, 1.0), min_size=0, max_size=12)


@given(before=log_ratios, now=log_ratios, limit=st.floats(0.001, 0.9))
def test_no_time_passes_whose_interval_is_not_wholly_below_the_limit(
    before: list[float], now: list[float], limit: float
) -> None:
    base, this = run(), run()
    base["comparisons"][0]["process_log_ratios"] = before
    this["comparisons"][0]["process_log_ratios"] = now
    result = gate(report(this), report(base), Policy(max_latency_increase=limit))
    interval = welch_interval(before, now)
    if interval is None or min(len(before), len(now)) < 6:
        assert result.outcome is Outcome.INVALID
    elif interval.exp().low > 1 + limit:
        assert result.outcome is Outcome.REGRESSION
    elif interval.exp().high >= 1 + limit:
        assert result.outcome is Outcome.INCONCLUSIVE
    else:
        assert result.outcome is Outcome.PASS
