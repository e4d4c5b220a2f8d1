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
from detrbench.compare.gate import Outcome, gate, time_check
from detrbench.core.stats import Interval
from detrbench.reports.report import Result
from tests.compare.gates import (
    COUNTS,
    LONG,
    MACHINE,
    NOISE,
    SETTINGS,
    Plain,
    modern,
    outcome,
    pair,
    plain_row,
    report,
    run,
    seconds,
    timed,
)
from tests.compare.gates import run as of

Change = Callable[[Plain, Plain], None]


# --- the table -----------------------------------------------------------------------------------
# Each line changes the baseline or the run, both of which are run() before, and names the exit code
# and words that the output must hold. It is told to the gate as files of schema 1, and of schema 2.


def ratio(now: float, noise: tuple[float, ...] = NOISE) -> Change:
    def change(base: Plain, run: Plain) -> None:
        run |= of(now, noise=noise)

    return change


def before(noise: tuple[float, ...]) -> Change:
    def change(base: Plain, run: Plain) -> None:
        base |= of(noise=noise)

    return change


def counts(**values: float | None) -> Change:
    def change(base: Plain, run: Plain) -> None:
        row = run["rows"][1]
        row["metrics"].update(values)
        row["missing"] |= {key: "not said" for key, value in values.items() if value is None}

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
            row.update(metrics=dict(COUNTS), samples={}, missing={})


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
    run |= of(0.9)
    for plain, ratio in ((base, 0.8), (run, 0.9)):
        third = timed("third", seconds(ratio * 0.9, [2 * away for away in NOISE]))
        plain["rows"].append(plain_row(third))
        plain["comparisons"].append(pair(0.9, model="third", baseline="mine"))


def only_the_reference(base: Plain, run: Plain) -> None:
    for plain in (base, run):
        plain["rows"][1].update(metrics=dict(COUNTS), samples={})
        plain["comparisons"] = [pair(1.0, "other")]
        plain["rows"].append(plain_row(timed("other", seconds())))
    for plain in (base, run):  # nothing but the reference is left of what was timed
        plain["rows"].pop()
        plain["comparisons"] = [pair(0.8, noise=())]


def other_reference(base: Plain, run: Plain) -> None:
    run["rows"][0]["model"] = "other"
    base["rows"][0]["model"] = "ref"
    base["rows"].append({**base["rows"][0], "model": "other"})
    run["rows"].append({**base["rows"][0], "model": "ref"})
    run["comparisons"] = [pair(0.8, baseline="other")]


def reference_changed(base: Plain, run: Plain) -> None:
    for key in ("params", "macs", "flops", "flops"):
        run["rows"][0]["metrics"][key] -= 1_000_000


def all_slower(base: Plain, run: Plain) -> None:
    rows = zip(run["rows"], (1.0, 0.8), ([0.0] * 6, NOISE), strict=True)
    for row, ratio, noise in rows:
        row.update(plain_row(timed(row["model"], seconds(1.5 * ratio, noise))))


def without_counts(base: Plain, run: Plain) -> None:
    for row in base["rows"]:
        for key in COUNTS:
            del row["metrics"][key]


def row_without_times(base: Plain, run: Plain) -> None:
    for plain in (base, run):
        only_counted = plain_row(Result("third", "Third", dict(SETTINGS), dict(COUNTS)))
        plain["rows"].append(only_counted)


def new_row(base: Plain, run: Plain) -> None:
    run["rows"].append({**copy.deepcopy(run["rows"][1]), "model": "newcomer"})


def both_of(*changes: Change) -> Change:
    def change(base: Plain, run: Plain) -> None:
        for each in changes:
            each(base, run)

    return change


def nowhere(base: Plain, run: Plain) -> None:
    for row in run["rows"]:
        row["metrics"].update(kernels=0, flops=0, macs=0)
    for each in (*base["rows"], *run["rows"]):
        for key in ("flops", "macs", "flops_thop"):
            del each["metrics"][key]


def slow_machine(base: Plain, run: Plain) -> None:
    slow = [[1.5 * one for one in each] for each in run["rows"][0]["samples"]["latency_s"]]
    run["rows"] = [
        plain_row(timed("ref", slow)), plain_row(timed("mine", seconds(0.8, at=0.75)))
    ]  # fmt: skip


def exchanged(base: Plain, run: Plain) -> None:
    base["created"] = "2026-01-03T03:04:05+00:00"


def renamed(base: Plain, run: Plain) -> None:
    run["rows"][1]["model"] = run["comparisons"][0]["model"] = "mine2"


def interrupted(base: Plain, run: Plain) -> None:
    run["rows"][1].update(status="interrupted", reason="by Ctrl-C")


def empty_base(base: Plain, run: Plain) -> None:
    base.update(rows=[], comparisons=[])


def bare_base(base: Plain, run: Plain) -> None:
    base["comparisons"] = []
    base["rows"][1].update(metrics={"params_unused": 1}, samples={}, missing={})


class Twice(dict[str, Any]):
    """What is written with a key two times."""

    def items(self) -> Any:
        return [("params", 1), *super().items()]


def twice(base: Plain, run: Plain) -> None:
    run["rows"][1]["metrics"] = Twice(run["rows"][1]["metrics"])


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
    run["comparisons"] = []
    for row in run["rows"]:
        row.update(status="failed", reason="out of memory", metrics={}, missing={}, samples={})


def nothing(base: Plain, run: Plain) -> None:
    """The case changes nothing."""


MACS = counts(macs=10**12, flops=2 * 10**12)

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
    "one process before": (before(NOISE[:1]), [], 4, ["TOO FEW: faster in 1 of 1 process"]),
    "zero samples": (
        in_run("comparisons", 0, "process_log_ratios", to=[]), [], 4, ["comparisons[0].ratio"]
    ),
    "verdict INVALID before": (
        in_base("comparisons", 0, to=pair(0.8, verdict="INVALID", reasons=["throttled"])),
        [], 4, ["throttled"],
    ),
    "verdict INVALID now": (
        in_run("comparisons", 0, to=pair(0.8, verdict="INVALID", reasons=["contended"])),
        [], 4, ["contended"],
    ),
    "no ratios at all": (in_run("comparisons", to=[]), [], 3, ["no reference in common", "ref"]),
    "other reference": (other_reference, [], 3, ["ref", "other", "--rev"]),
    "a reference that is measured itself": (a_chain, [], 1, ["mine", "+12.5%", "third"]),
    "reference changed": (reference_changed, [], 4, ["ref is not the same model", "params"]),
    "only the reference is timed": (only_the_reference, [], 3, ["there is no other"]),
    "a slower machine, and only that is limited": (
        all_slower,
        ["--max-latency-increase", "any", "--max-reference-increase", "5%"], 1, ["+50.0%"],
    ),
    "counted now, and not before": (
        without_counts, [], 4, ["the baseline has no counts of it, and this run has"],
    ),
    "not timed, and a limit asks for it": (
        row_without_times, ["--max-latency-increase", "5%"], 4, ["the baseline has no value"],
    ),
    "time asked for and not there": (
        without_times, ["--max-latency-increase", "5%"], 4, ["has timed nothing"]
    ),
    "latency missing now": (
        in_run("rows", 1, "metrics", "latency_median_s", to=None), [], 4,
        ["rows[1].metrics.latency_median_s"],
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
    "macs only when asked": (MACS, ["--max-increase", "flops=any"], 0, []),
    "macs asked": (
        MACS, ["--max-increase", "flops=any", "--max-increase", "macs=0"], 1, ["MACs"]
    ),
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
        ["--max", "latency_median_s=900"], 4, ["latency_median_low_s: it has no value"],
    ),
    "limited, and nowhere": (nothing, ["--max", "traffic_min_bytes=900"], 4, ["no value"]),
    "limits of one model": (
        counts(params=33_000_000), ["--max-increase", "params=any", "--model", "ref",
                                    "--max-params", "32.98M"], 0, ["ref"]
    ),
    "limits of a model that is not there": (
        nothing, ["--model", "mien", "--max-params", "1G"], 4, ["does not have it", "mine?"]
    ),
    "a limit, and nothing counted": (
        nowhere, ["--max-increase", "kernels=any", "--max", "kernels=900"], 4, ["it is 0"]
    ),
    "nothing counted now": (nowhere, [], 4, ["it is 0 in this run"]),
    "nulled in the baseline": (
        both_of(in_base("rows", 1, "metrics", "params", to=None),
                in_base("rows", 1, "missing", "params", to="not measured")),
        [], 4, ["the baseline has no value: not measured"],
    ),
    # The reference's own time.
    "reference unjudged": (slow_machine, [], 0, ["whose own time is not judged"]),
    "reference slower": (slow_machine, ["--max-reference-increase", "20%"], 1, ["ref", "+50.0%"]),
    "reference within": (slow_machine, ["--max-reference-increase", "80%"], 0, ["+50.0%"]),
    "reference of no one": (
        without_times, ["--max-reference-increase", "80%"], 4, ["both runs have none"]
    ),
    "exchanged": (exchanged, [], 0, ["the baseline was made after this run"]),
    # Rows.
    "missing model": (only("ref"), [], 4, ["mine", "does not have this model"]),
    "renamed model": (
        renamed, [], 4, ["mine", "did you mean mine2?"]
    ),
    "settings that are not said": (
        in_run("rows", 1, "settings", to={}), [], 4, ["comparisons[0].case: no row is of"]
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
        in_base("rows", 1, "status", to="failed"), [], 4, ["rows[1].reason: the row is failed"]
    ),
    "an interrupted row": (
        interrupted, [], 4, ["interrupted: by Ctrl-C"]
    ),
    "a new row": (new_row, [], 4, ["the baseline does not have it", "--new newcomer"]),
    "a new row, said to be": (new_row, ["--new", "newcomer"], 0, ["not in the baseline"]),
    "a new row beyond a limit": (new_row, ["--max-params", "20M"], 1, ["newcomer"]),
    "empty run": (in_run("rows", to=[]), [], 4, ["INVALID"]),
    "empty baseline": (in_base("rows", to=[]), [], 4, ["comparisons[0].baseline: no row is of"]),
    "empty baseline, wholly": (empty_base, ["--max-params", "1000M"], 4, [
        "the baseline holds no rows"
    ]),
    "row without figures": (bare_base, [], 4, ["no figure of it"]),
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
    "a key twice": (twice, [], 4, ["not JSON", "'params' stands twice"]),
    "comparison of text": (
        in_run("comparisons", to=["x"]), [], 4,
        ["run.json: comparisons[0] is a text, not an object"],
    ),
    "verdict unknown": (in_run("comparisons", 0, "verdict", to="FINE"), [], 4, ["FINE"]),
    "confidence of 2": (in_run("comparisons", 0, "confidence", to=2), [], 4, ["confidence: 2"]),
    "model stands twice": (
        lambda base, run: run["rows"].append(run["rows"][0]), [], 4, ["stands twice"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_the_table(
    name: str, schema: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, flags, code, words = CASES[name]
    base, now = run(), run()
    change(base, now)
    for file, plain in (("base.json", base), ("run.json", now)):
        (tmp_path / file).write_text(json.dumps(plain if schema == 1 else modern(plain)))
    arguments = ["gate", str(tmp_path / "run.json"), "--baseline", str(tmp_path / "base.json")]
    assert main([*arguments, *flags]) == code
    captured = capsys.readouterr()
    told = " ".join(captured.out.split())
    for word in words:
        assert word in told
    assert captured.out.startswith(
        {0: "PASS", 1: ("REGRESSION:", "LIMIT EXCEEDED:"), 3: "INCO", 4: "INVA"}[code]
    )
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
    monkeypatch.setattr("detrbench.reports.report.SCHEMA_VERSION", 3)
    for plain in (run(), modern(run())):
        assert outcome(plain, plain) is Outcome.PASS


def test_checks_of_time_may_be_brought_along() -> None:
    row = Result("mine", "Mine", dict(SETTINGS), {})
    inside, beyond = Interval(0.01, -0.01, 0.03), Interval(0.2, 0.1, 0.3)
    for interval, expected in ((inside, Outcome.PASS), (beyond, Outcome.REGRESSION)):
        check = time_check(row, interval, 0.05, processes=(6,), values=(0.5, 0.51))
        result = gate(report(run(2.0)), report(run()), timed=[check])
        assert result.outcome is expected
        assert result.checks[-1] is check


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
