"""The gate: what passes, what fails, and what must never pass."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detrbench.cli import main
from detrbench.compare.gate import Check, GateResult, Outcome, gate, time_check
from detrbench.compare.gate.policy import ANY, LATENCY_INCREASE, Policy, load_policy, policy_of
from detrbench.core.stats import Interval, welch_interval
from detrbench.reports.metrics import METRICS
from detrbench.reports.report import Report, ReportError, Result
from detrbench.timing.resolution import Resolution
from tests.compare.gates import COUNTED, COUNTS, MACHINE, NOISE, SETTINGS, counted, pair, run

Plain = dict[str, Any]
Change = Callable[[Plain, Plain], None]


def report(plain: Plain) -> Report:
    return Report.from_json(json.dumps(plain))


def outcome(base: Plain, now: Plain, policy: Policy | None = None, **more: Any) -> Outcome:
    return gate(report(now), report(base), policy, **more).outcome


# --- the table -----------------------------------------------------------------------------------
# Each case changes the baseline or the run, both of which are run() before, and names the exit code
# and words that the output must hold.


def ratio(now: float, noise: tuple[float, ...] = NOISE) -> Change:
    def change(base: Plain, run: Plain) -> None:
        run["comparisons"] = [pair(now, noise=noise)]

    return change


def counts(**values: float | None) -> Change:
    def change(base: Plain, run: Plain) -> None:
        run["rows"][1]["metrics"].update(values)

    return change


def in_run(*path: Any, to: Any) -> Change:
    def change(base: Plain, run: Plain) -> None:
        at = run
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = to

    return change


def in_base(*path: Any, to: Any) -> Change:
    def change(base: Plain, run: Plain) -> None:
        in_run(*path, to=to)(run, base)

    return change


def without_times(base: Plain, run: Plain) -> None:
    for plain in (base, run):
        plain["comparisons"] = []
        for row in plain["rows"]:
            row["metrics"] = dict(COUNTS)


def other_machine_no_times(base: Plain, run: Plain) -> None:
    without_times(base, run)
    run["environment"] = {**MACHINE, "processor": "Xeon", "torch": "2.15.0"}


def all_settings(**values: Any) -> Change:
    def change(base: Plain, run: Plain) -> None:
        for row in run["rows"]:
            row["settings"].update(values)
        for one in run["comparisons"]:
            one["settings"].update(values)

    return change


def only(model: str) -> Change:
    def change(base: Plain, run: Plain) -> None:
        run["rows"] = [row for row in run["rows"] if row["model"] == model]
        run["comparisons"] = []

    return change


def a_chain(base: Plain, run: Plain) -> None:
    """ref measures mine, and mine a third: a reference, and judged all the same."""
    run["comparisons"] = [pair(0.9)]
    for plain in (base, run):
        plain["rows"].append({**copy.deepcopy(plain["rows"][1]), "model": "third"})
        plain["comparisons"].append(pair(0.9, model="third", baseline="mine"))


def only_the_reference(base: Plain, run: Plain) -> None:
    for plain in (base, run):
        del plain["rows"][1]["metrics"]["latency_median_s"]


def other_reference(base: Plain, run: Plain) -> None:
    run["rows"][0]["model"] = "other"
    base["rows"][0]["model"] = "ref"
    base["rows"].append({**base["rows"][0], "model": "other"})
    run["rows"].append({**base["rows"][0], "model": "ref"})
    run["comparisons"] = [pair(0.8, baseline="other")]


def reference_changed(base: Plain, run: Plain) -> None:
    for key in ("params", "flops"):
        run["rows"][0]["metrics"][key] -= 1_000_000


def new_row(base: Plain, run: Plain) -> None:
    run["rows"].append({**copy.deepcopy(run["rows"][1]), "model": "newcomer"})


def minimal_old_file(base: Plain, run: Plain) -> None:
    """As version 1 began: none of the keys that are not required."""
    without_times(base, run)
    for name in ("title", "command", "created", "detrbench_version", "comparisons"):
        del base[name]


def sideways(base: Plain, run: Plain) -> None:
    """Counts of two machines: what only time depends on differs, and there is no time."""
    without_times(base, run)
    for row in run["rows"]:
        row["settings"]["threads"] = 64


def all_failed(base: Plain, run: Plain) -> None:
    for row in run["rows"]:
        row.update(status="failed", reason="out of memory", metrics={})


def nothing(base: Plain, run: Plain) -> None:
    """The case changes nothing."""


LONG = tuple(away * 0.3 for away in NOISE * 3)

CASES: dict[str, tuple[Change, list[str], int, list[str]]] = {
    # Time.
    "equal": (nothing, [], 0, ["PASS"]),
    "improved": (counts(params=30_000_000, kernels=700), [], 0, ["PASS", "-9.0%"]),
    "faster": (ratio(0.7), [], 0, ["PASS", "-12.5%"]),
    "slower within noise": (ratio(0.808), [], 0, ["PASS", "+1.0%"]),
    "slower within the limit": (ratio(0.9), ["--max-latency-increase", "20%"], 0, ["+12.5%"]),
    "slower beyond": (ratio(0.9), [], 1, ["REGRESSION", "+12.5%", "whole interval"]),
    "straddling": (ratio(0.84), [], 3, ["INCONCLUSIVE", "reaches across", "--rev"]),
    "straddling, measured longer": (ratio(0.83, LONG), [], 0, ["+3.7%"]),
    "limit at zero noise": (ratio(0.84, (0.0,) * 6), ["--max-latency-increase", "4.9%"], 3, []),
    "slower, but time left out": (ratio(0.9), ["--counts-only"], 0, ["PASS"]),
    "five processes now": (ratio(0.8, NOISE[:5]), [], 4, ["INVALID", "5 processes have"]),
    "one process before": (
        in_base("comparisons", 0, "process_log_ratios", to=[-0.2]), [], 4, ["1 process has"]
    ),
    "zero samples": (
        in_run("comparisons", 0, "process_log_ratios", to=[]), [], 4, ["0 processes have"]
    ),
    "verdict INVALID before": (
        in_base("comparisons", 0, to=pair(0.8, verdict="INVALID", reasons=["throttled"])),
        [], 4, ["throttled"],
    ),
    "verdict INVALID now": (
        in_run("comparisons", 0, to=pair(0.9, verdict="INVALID", reasons=["contended"])),
        [], 4, ["contended"],
    ),
    "no ratios at all": (in_run("comparisons", to=[]), [], 3, ["no reference in common", "ref"]),
    "other reference": (other_reference, [], 3, ["ref", "other", "--rev"]),
    "a reference that is measured itself": (a_chain, [], 1, ["mine", "+12.5%", "third"]),
    "reference changed": (reference_changed, [], 4, ["ref is not the same model", "params"]),
    "only the reference is timed": (only_the_reference, [], 3, ["there is no other"]),
    "time asked for and not there": (
        without_times, ["--max-latency-increase", "5%"], 4, ["has timed nothing"]
    ),
    "latency missing now": (
        in_run("rows", 1, "metrics", "latency_median_s", to=None), [], 4, ["Latency", "no value"]
    ),
    "environment differs": (
        in_run("environment", "processor", to="Xeon"), [], 4, ["processor (AMD EPYC, Xeon)"]
    ),
    "torch differs": (in_run("environment", "torch", to="2.15"), [], 4, ["torch (2.14.1, 2.15)"]),
    "only the revision differs": (in_run("environment", "revision", to="b"), [], 0, ["PASS"]),
    "environment unknown": (in_run("environment", to={}), [], 4, ["does not say on what"]),
    "threads differ": (all_settings(threads=4), [], 4, ["threads (2, 4)"]),
    # Counts.
    "counts up by one": (counts(params=32_970_477), [], 1, ["32,970,476", "32,970,477"]),
    "kernels up": (counts(kernels=750), [], 1, ["REGRESSION", "+1.1%", "--max-increase kernels"]),
    "within the allowed share": (counts(kernels=750), ["--max-increase", "kernels=2%"], 0, []),
    "exactly the allowed share": (
        counts(kernels=742 + 371), ["--max-increase", "kernels=50%"], 0, ["+50.0%"]
    ),
    "beyond the allowed share": (counts(kernels=780), ["--max-increase", "kernels=2%"], 1, []),
    "a count that is not gated": (counts(kernels=9999), ["--max-increase", "kernels=any"], 0, []),
    "macs only when asked": (counts(macs=10**12), [], 0, []),
    "macs asked": (counts(macs=10**12), ["--max-increase", "macs=0"], 1, ["MACs"]),
    "asked, and nowhere": (nothing, ["--max-increase", "elementwise_flops=1%"], 4, ["no value"]),
    "a count missing now": (counts(params=None), [], 4, ["Params", "no value"]),
    "a count negative": (counts(params=-1), [], 4, ["cannot be negative"]),
    "regression and invalid": (counts(params=None, kernels=800), [], 1, ["REGRESSION", "INVALID"]),
    "other machine, counts alone": (other_machine_no_times, [], 0, ["torch (2.14.1, 2.15.0)"]),
    "other threads, counts alone": (sideways, [], 0, ["PASS"]),
    # Absolute limits.
    "within a limit": (nothing, ["--max-params", "33M", "--max-gflops", "110"], 0, ["at most"]),
    "params beyond": (nothing, ["--max-params", "20M"], 1, ["32,970,476 is more than 20,000,000"]),
    "flops beyond": (nothing, ["--max", "flops=65"], 1, ["65,000,000,000"]),
    "latency within": (nothing, ["--max", "latency_median_s=600"], 0, ["600.0 ms"]),
    "latency beyond": (nothing, ["--max", "latency_median_s=300"], 1, ["300.0 ms"]),
    "latency straddling": (nothing, ["--max", "latency_median_s=505"], 3, ["reaches across"]),
    "latency without interval": (
        in_run("rows", 1, "metrics", "latency_median_low_s", to=None),
        ["--max", "latency_median_s=900"], 4, ["no interval"],
    ),
    "limited, and nowhere": (nothing, ["--max", "traffic_min_bytes=900"], 4, ["no value"]),
    # Rows.
    "missing model": (only("ref"), [], 4, ["mine", "does not have this model"]),
    "renamed model": (
        in_run("rows", 1, "model", to="mine2"), [], 4, ["mine", "did you mean mine2?"]
    ),
    "settings that are not said": (
        in_run("rows", 1, "settings", to={}), [], 4, ["other settings", "imgsz (640x640, None)"]
    ),
    "environment of wrong types": (
        in_run("environment", "memory_bytes", to="much"), [], 4,
        ["environment.memory_bytes is a text, not a whole number"],
    ),
    "processor is a list": (in_run("environment", "processor", to=["x"]), [], 4, [
        "environment.processor is a list, not a text"
    ]),
    "other settings": (
        all_settings(imgsz="320x320"), [], 4, ["other settings", "imgsz (640x640, 320x320)"]
    ),
    "a failed row": (all_failed, [], 4, ["failed: out of memory"]),
    "a failed row before": (
        in_base("rows", 1, "status", to="failed"), [], 4, ["in the baseline, failed"]
    ),
    "an interrupted row": (
        in_run("rows", 1, "status", to="interrupted"), [], 4, ["interrupted: no reason"]
    ),
    "a new row": (new_row, [], 0, ["not in the baseline", "newcomer"]),
    "a new row beyond a limit": (new_row, ["--max-params", "20M"], 1, ["newcomer"]),
    "empty run": (in_run("rows", to=[]), [], 4, ["INVALID"]),
    "empty baseline": (in_base("rows", to=[]), [], 4, ["nothing to check"]),
    "row without figures": (
        in_base("rows", 1, "metrics", to={"params_unused": 1}), [], 4, ["no figure of it"]
    ),
    # Files.
    "older schema": (minimal_old_file, [], 0, ["PASS"]),
    "newer schema": (in_run("schema_version", to=99), [], 4, ["newer detrbench", "99"]),
    "schema before the first": (in_base("schema_version", to=0), [], 4, ["schema_version is 0"]),
    "NaN": (in_run("rows", 1, "metrics", "params", to=math.nan), [], 4, ["NaN"]),
    "infinite ratio": (
        in_run("comparisons", 0, "process_log_ratios", to=[1e999] * 6), [], 4, ["not JSON"]
    ),
    "ratios that are none": (
        in_run("comparisons", 0, "process_log_ratios", to=[1e300] * 6), [], 4, ["no ratios"]
    ),
    "comparison of text": (
        in_run("comparisons", to=["x"]), [], 4, ["this run, comparisons[0]", "baseline"]
    ),
    "verdict unknown": (in_run("comparisons", 0, "verdict", to="FINE"), [], 4, ["FINE"]),
    "confidence of 2": (in_run("comparisons", 0, "confidence", to=2), [], 4, ["confidence is 2"]),
    "model stands twice": (
        lambda base, run: run["rows"].append(run["rows"][0]), [], 4, ["stands twice"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_table(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, flags, code, words = CASES[name]
    base, now = run(), run()
    change(base, now)
    for file, plain in (("base.json", base), ("run.json", now)):
        (tmp_path / file).write_text(json.dumps(plain))
    arguments = ["gate", str(tmp_path / "run.json"), "--baseline", str(tmp_path / "base.json")]
    assert main([*arguments, *flags]) == code
    captured = capsys.readouterr()
    told = " ".join(captured.out.split())
    for word in words:
        assert word in told
    assert captured.out.startswith({0: "PASS", 1: "REGR", 3: "INCO", 4: "INVA"}[code])
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("which", ["run.json", "base.json"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"schema_version": 1, "ro', b"\xff\xfe", b"[]", b"null", None]
)
def test_a_file_that_is_no_report_is_invalid(
    which: str, content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, truncated, not text, not an object, not there."""
    for file in ("run.json", "base.json"):
        (tmp_path / file).write_text(json.dumps(run()))
    (tmp_path / which).unlink()
    if content is not None:
        (tmp_path / which).write_bytes(content)
    arguments = [str(tmp_path / "run.json"), "--baseline", str(tmp_path / "base.json")]
    assert main(["gate", *arguments]) == 4
    captured = capsys.readouterr()
    assert captured.out.startswith("INVALID")
    assert which in captured.out


def test_a_format_of_tomorrow_reads_the_files_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detrbench.reports.report.SCHEMA_VERSION", 2)
    assert outcome(run(), run()) is Outcome.PASS


# --- what a result says --------------------------------------------------------------------------


def test_the_worst_outcome_decides() -> None:
    checks = {each: Check(each) for each in Outcome}
    order = [Outcome.REGRESSION, Outcome.INVALID, Outcome.INCONCLUSIVE, Outcome.PASS]
    for index, worst in enumerate(order):
        there = tuple(checks[each] for each in reversed(order[index:]))
        assert GateResult(there).outcome is worst
        assert GateResult(there).ordered[0].outcome is worst
    assert [each.exit_code for each in order] == [1, 4, 3, 0]
    assert GateResult(()).outcome is Outcome.INVALID


def test_what_is_gated_is_what_the_table_shows_of_counts() -> None:
    base = counted()
    checked = [check.metric for check in gate(report(base), report(base)).checks]
    assert checked == [
        "params", "flops", "memory_access_elements", "traffic_eager_bytes", "traffic_fused_bytes",
        "peak_activation_bytes", "kernels",
    ]  # fmt: skip
    base["rows"][0]["settings"]["convention"] = "thop"
    assert "flops_thop" in [each.metric for each in gate(report(base), report(base)).checks]


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


KNOWN = Resolution(0.02, 0.01, 9.0, 120.0, 0.08, "rtdetr-l", "320x320", "2026-01-02")


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


def test_checks_of_time_may_be_brought_along() -> None:
    row = Result("mine", "Mine", dict(SETTINGS), {})
    inside, beyond = Interval(0.01, -0.01, 0.03), Interval(0.2, 0.1, 0.3)
    for interval, expected in ((inside, Outcome.PASS), (beyond, Outcome.REGRESSION)):
        check = time_check(row, interval, 0.05, processes=(6,), values=(0.5, 0.51))
        result = gate(report(run(2.0)), report(run()), timed=[check])
        assert result.outcome is expected
        assert result.checks[-1] is check


@pytest.mark.parametrize("confirmed", [(), (6,), (5, 6), (6, 6)])
def test_a_check_of_time_needs_processes_in_every_run(confirmed: tuple[int, ...]) -> None:
    row = Result("mine", "Mine", dict(SETTINGS), {})
    check = time_check(row, Interval(0.0, -0.01, 0.01), 0.05, processes=confirmed)
    assert check.outcome is (Outcome.INVALID if 5 in confirmed else Outcome.PASS)


def test_no_interval_is_invalid_and_says_so() -> None:
    check = time_check(Result("m", "M", {}, {}), None, 0.05, processes=(9, 9))
    assert (check.outcome, check.reasons) == (Outcome.INVALID, ("it has no interval",))


def test_a_comparison_that_is_none_is_named() -> None:
    now = run()
    del now["comparisons"][0]["reasons"]
    with pytest.raises(ReportError, match=r"comparisons\[0\].*reasons"):
        gate(report(now), report(run()))


# --- properties ----------------------------------------------------------------------------------

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
    assert passes == (value is not None and 0 <= value <= allowed * (1 + 1e-12 * bool(limit)))


@given(gone=st.sets(st.sampled_from(["rows", "metrics", "latency", "pairs", "samples"])))
def test_whatever_is_gone_never_passes(gone: set[str]) -> None:
    now = run()
    if "latency" in gone:
        now["rows"][1]["metrics"]["latency_median_s"] = None
    if "metrics" in gone:
        now["rows"][1]["metrics"] = {}
    if "pairs" in gone:
        now["comparisons"] = []
    if "samples" in gone and now["comparisons"]:
        now["comparisons"][0]["process_log_ratios"] = []
    if "rows" in gone:
        del now["rows"][1]
    assert (outcome(run(), now) is Outcome.PASS) == (not gone)


# --- policies ------------------------------------------------------------------------------------


def policy_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return path


def test_a_policy_from_a_file(tmp_path: Path) -> None:
    text = """
max_latency_increase: 3%
max_increase: {kernels: 10%, traffic_fused_bytes: any, params: 0}
max:
  params: 20M
  flops: 65
  latency_median_s: 12.5
"""
    found = load_policy(policy_file(tmp_path, text))
    assert found == Policy(
        0.03,
        {"kernels": 0.1, "traffic_fused_bytes": ANY, "params": 0.0},
        {"params": 20e6, "flops": 65e9, "latency_median_s": 0.0125},
    )
    assert found.to_dict()["max_increase"]["traffic_fused_bytes"] == "any"


def test_flags_have_the_last_word() -> None:
    file = Policy(0.03, {"kernels": 0.1, "params": 0.2}, {"params": 20e6})
    flags = policy_of(max_increase=["kernels=5%"], max=["flops=65"])
    assert file.overridden_by(flags) == Policy(
        0.03, {"kernels": 0.05, "params": 0.2}, {"params": 20e6, "flops": 65e9}
    )
    assert file.overridden_by(policy_of("8%")).latency_limit == 0.08
    assert Policy().latency_limit == LATENCY_INCREASE


WRONG: dict[str, tuple[str, list[str]]] = {
    "unknown key": ("max_latency: 5%", ["line 1", "max_latency", "max_latency_increase"]),
    "unknown metric": ("max: {param: 20M}", ["line 1", "'param'", "params"]),
    "no mapping": ("max: 20M", ["line 1", "mapping"]),
    "empty": ("max:", ["mapping"]),
    "list": ("- max", ["mapping"]),
    "no share": ("max_increase:\n  kernels: lots", ["line 2", "'lots'", "2%"]),
    "no limit": ("max_increase:\n  kernels:", ["line 2", "limit"]),
    "nested": ("max_latency_increase: {a: 1}", ["mapping", "limit"]),
    "increase of a time": ("max_increase: {latency_p99_s: 5%}", ["measured", "--max-latency"]),
    "limit without interval": ("max: {latency_p99_s: 5}", ["no interval", "latency_median_s"]),
    "higher is better": ("max: {images_per_s: 5}", ["less of images_per_s is not better"]),
    "neither is better": ("max: {params_unused: 5}", ["params_unused"]),
    "without a prefix": ("max: {params: 20000000}", ["20000000 M", "20M"]),
    "negative": ("max: {params: -3M}", ["'-3M'", "32.8M"]),
    "twice": ("max: {params: 1M, params: 2M}", ["twice"]),
    "beyond all": ("max_latency_increase: 500%", ["500%"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_policy_is_a_usage_error_with_its_place(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words = WRONG[name]
    (tmp_path / "run.json").write_text(json.dumps(run()))
    arguments = [str(tmp_path / "run.json"), "--baseline", str(tmp_path / "run.json")]
    path = policy_file(tmp_path, text)
    assert main(["gate", *arguments, "--policy", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for word in ("policy.yaml", *words):
        assert word in captured.err


@pytest.mark.parametrize(
    ("text", "share"), [("0", 0.0), ("0%", 0.0), ("0.0", 0.0), ("any", ANY), ("29%", 0.29)]
)
def test_shares(text: str, share: float) -> None:
    assert policy_of(text).max_latency_increase == share


def test_a_share_is_exact_where_binary_fractions_are_not() -> None:
    base, now = counted(kernels=1000), counted(kernels=1029)
    for text, expected in (("2.9%", Outcome.PASS), ("2.8%", Outcome.REGRESSION)):
        assert outcome(base, now, policy_of(max_increase=[f"kernels={text}"])) is expected
