"""Contradictions by rule: each changes one thing of a true report, and names the place of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detrbench.cli import main
from detrbench.reports.report import Report, ReportError
from detrbench.reports.verdicts import Verdict, follows, intervals_of, judge
from tests.compare.gates import modern, run

Plain = dict[str, Any]
Change = Callable[[Plain], object]

SAVED = Path(__file__).parents[2] / "reports"
ARTICLE = json.loads((SAVED / "2026-11-24-amd-epyc-2cpu-article/run.json").read_text())
for _row in ARTICLE["rows"]:
    _row["published"] = []
"""Of schema 1: two models, counted and timed."""

STAGES = json.loads((SAVED / "2026-11-24-amd-epyc-2cpu-explain/stage.json").read_text())
"""Of schema 1, with parts and an explanation."""

PAIRED = modern(run())
"""Of schema 2."""


def put(*path: Any, to: Any) -> Change:
    def change(plain: Plain) -> None:
        at: Any = plain
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = to(at[path[-1]]) if callable(to) else to

    return change


def gone(*path: Any) -> Change:
    def change(plain: Plain) -> None:
        at: Any = plain
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]

    return change


def figure(key: str, to: Any) -> Change:
    return put("rows", 1, "metrics", key, to=to)


def pair(key: str, to: Any) -> Change:
    return put("comparisons", 0, key, to=to)


def both(*changes: Change) -> Change:
    def change(plain: Plain) -> None:
        for each in changes:
            each(plain)

    return change


def again(key: str, **other: Any) -> Change:
    """The last entry of a list, once more and with other values."""

    def change(plain: Plain) -> None:
        plain[key].append({**copy.deepcopy(plain[key][-1]), **other})

    return change


def twice(value: Any) -> Any:
    return 2 * value


def more(value: Any) -> Any:
    return value * 1.01


CONTRADICTIONS: dict[str, tuple[Change, str]] = {
    # Figures.
    "params negative": (figure("params", -1), "rows[1].metrics.params"),
    "params halved": (figure("params", 19321543.5), "rows[1].metrics.params"),
    "params of no model": (figure("params", 10**15), "rows[1].metrics.params"),
    "params 0, and some unused": (figure("params", 0), "rows[1].metrics.params_unused"),
    "kernels 0": (figure("kernels", 0), "rows[1].metrics.kernels"),
    "flops without macs": (figure("flops", 10**12), "rows[1].metrics.flops"),
    "macs without flops": (figure("macs", twice), "rows[1].metrics.flops"),
    "fused beyond eager": (figure("traffic_fused_bytes", 10**13), "metrics.traffic_fused_bytes"),
    "intensity of other bytes": (figure("traffic_eager_bytes", twice), "arithmetic_intensity"),
    "no bytes": (figure("traffic_eager_bytes", 0), "rows[1].metrics"),
    "latency 0": (figure("latency_median_s", 0), "rows[1].metrics.latency_median_s"),
    "latency of no clock": (figure("latency_q1_s", 1e-12), "rows[1].metrics.latency_q1_s"),
    "latency of a year": (figure("latency_median_s", 3e7), "rows[1].metrics.latency_median_s"),
    "latency better": (figure("latency_median_s", 0.3), "rows[1].metrics.latency_median_s"),
    "an end of its interval": (figure("latency_median_high_s", twice), "latency_median_high_s"),
    "the other end": (figure("latency_median_low_s", 0.1), "latency_median_low_s"),
    "ends exchanged": (
        both(figure("latency_median_low_s", 0.9), figure("latency_median_high_s", 0.1)),
        "rows[1].metrics.latency_median_s",
    ),
    "a quartile": (figure("latency_q3_s", more), "rows[1].metrics.latency_q3_s"),
    "a percentile of too few": (
        both(figure("latency_p99_s", 0.6), gone("rows", 1, "missing", "latency_p99_s")),
        "rows[1].metrics.latency_p99_s",
    ),
    "the first call": (figure("latency_first_s", more), "rows[1].metrics.latency_first_s"),
    "images per second": (figure("images_per_s", twice), "rows[1].metrics.images_per_s"),
    "samples": (figure("latency_samples", twice), "rows[1].metrics.latency_samples"),
    "processes": (figure("latency_processes", 60), "rows[1].metrics.latency_processes"),
    "a figure nulled": (figure("params", None), "rows[1].metrics.params: it has no value"),
    "latency nulled with a reason": (
        both(figure("latency_median_s", None),
             put("rows", 1, "missing", "latency_median_s", to="not measured")),
        "rows[1].metrics.latency_median_s",
    ),
    "a reason that is none": (
        both(figure("params", None), put("rows", 1, "missing", "params", to=" ")),
        "rows[1].missing.params",
    ),
    "a value and a reason": (put("rows", 1, "missing", "params", to="x"), "missing.params"),
    # Rows.
    "failed without a reason": (put("rows", 1, "status", to="failed"), "rows[1].reason"),
    "ok with a reason": (put("rows", 1, "reason", to="out of memory"), "rows[1].reason"),
    "a row renamed": (put("rows", 1, "model", to="other"), "comparisons[0].case"),
    "the reference renamed": (put("rows", 0, "model", to="other"), "comparisons[0].baseline"),
    "rows emptied": (put("rows", to=[]), "comparisons[0].baseline"),
    "a row gone": (gone("rows", 1), "comparisons[0].case"),
    "other counts under other threads": (
        lambda plain: plain["rows"].append({
            **copy.deepcopy(plain["rows"][1]), "settings": {
                **plain["rows"][1]["settings"], "threads": 1},
            "metrics": {**plain["rows"][1]["metrics"], "kernels": 9999},
        }),
        "rows[2].metrics.kernels",
    ),
    # Settings.
    "another convention": (put("rows", 1, "settings", "convention", to="thopp"), "convention"),
    "a list of conventions": (put("rows", 1, "settings", "convention", to=["x"]), "convention"),
    "an unknown setting": (put("rows", 1, "settings", "thread", to=2), "rows[1].settings.thread"),
    "threads of the row alone": (put("rows", 1, "settings", "threads", to=4), "comparisons[0]"),
    "no threads": (put("rows", 1, "settings", "threads", to=0), "rows[1].settings.threads"),
    "threads as text": (put("rows", 1, "settings", "threads", to="2"), "rows[1].settings.threads"),
    "a size that is none": (put("rows", 1, "settings", "imgsz", to="0x0"), "settings.imgsz"),
    "a batch of text": (put("rows", 1, "settings", "batch", to="1"), "rows[1].settings.batch"),
    "fused perhaps": (put("rows", 1, "settings", "fused", to="yes"), "rows[1].settings.fused"),
    "a device that is none": (put("rows", 1, "settings", "device", to="tpu"), "settings.device"),
    "a type that is none": (put("rows", 1, "settings", "dtype", to="float8"), "settings.dtype"),
    # Samples.
    "samples emptied": (put("rows", 1, "samples", to={}), "rows[1].samples.latency_s"),
    "no sample left": (put("rows", 1, "samples", "latency_s", to=[]), "rows[1].samples"),
    "a process gone": (gone("rows", 1, "samples", "latency_s", 0), "rows[1]."),
    "a sample negative": (put("rows", 1, "samples", "latency_s", 0, 0, to=-1.0), "samples"),
    "a sample of text": (put("rows", 1, "samples", "latency_s", 0, 0, to="x"), "samples"),
    "all samples better": (
        put("rows", 1, "samples", "latency_s", to=lambda all: [[x * 0.9 for x in p] for p in all]),
        "rows[1].metrics",
    ),
    # Comparisons.
    "a comparison twice": (again("comparisons"), "comparisons[1]: it repeats comparisons[0]"),
    "twice, with another verdict": (again("comparisons", verdict="SLOWER"), "comparisons[1]"),
    "a ratio": (pair("ratio", more), "comparisons[0].ratio"),
    "a ratio beyond its interval": (pair("ratio", 1.5), "comparisons[0].ratio"),
    "no ratio": (pair("ratio", None), "comparisons[0].ratio"),
    "a ratio of text": (pair("ratio", "0.8"), "comparisons[0].ratio"),
    "an end": (pair("ci_high", more), "comparisons[0].ci_low"),
    "one end": (pair("ci_low", None), "comparisons[0].ci_low"),
    "no interval": (both(pair("ci_low", None), pair("ci_high", None)), "comparisons[0].ci_low"),
    "the contrary verdict": (pair("verdict", "SLOWER"), "comparisons[0].verdict"),
    "no difference": (pair("verdict", "EQUIVALENT"), "comparisons[0].verdict"),
    "undecided": (pair("verdict", "INCONCLUSIVE"), "comparisons[0].verdict"),
    "too few of six": (pair("verdict", "TOO FEW"), "comparisons[0].verdict"),
    "busy beyond doubt": (
        both(pair("verdict", "BUSY"), pair("reasons", ["hot"])), "comparisons[0].verdict"
    ),
    "invalid for no reason": (pair("verdict", "INVALID"), "comparisons[0].reasons"),
    "no verdict": (pair("verdict", None), "comparisons[0].verdict"),
    "an unknown verdict": (pair("verdict", "FINE"), "comparisons[0].verdict"),
    "a margin beyond": (pair("margin", 0.9), "comparisons[0].verdict"),
    "surer": (pair("confidence", 0.99), "comparisons[0].ci_low"),
    "sure": (pair("confidence", 1), "comparisons[0].confidence"),
    "a process's ratio": (put("comparisons", 0, "process_log_ratios", 0, to=more), "comparisons"),
    "fewer ratios": (gone("comparisons", 0, "process_log_ratios", 0), "comparisons[0]"),
    "no ratios": (pair("process_log_ratios", []), "comparisons[0].ratio"),
    "ratios that are none": (pair("process_log_ratios", [21.0] * 6), "process_log_ratios"),
    # The whole.
    "no processor": (put("environment", "logical_cpus", to=0), "environment.logical_cpus"),
    "no memory": (put("environment", "memory_bytes", to=-1), "environment.memory_bytes"),
    "no such schema": (put("schema_version", to=0), "schema_version"),
    "the next schema": (put("schema_version", to=3), "schema_version"),
}  # fmt: skip


def written(plain: Plain, folder: Path, name: str = "run.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(plain))
    return file


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_is_named(name: str, tmp_path: Path) -> None:
    change, place = CONTRADICTIONS[name]
    plain = copy.deepcopy(ARTICLE)
    change(plain)
    file = written(plain, tmp_path)
    with pytest.raises(ReportError) as caught:
        Report.load(file)
    assert place in caught.value.what
    assert caught.value.where == str(file)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["latency better", "a comparison twice", "a list of conventions"])
def test_every_command_refuses_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, place = CONTRADICTIONS[name]
    plain = copy.deepcopy(ARTICLE)
    (tmp_path / "alone").mkdir()
    truth = str(written(plain, tmp_path, "true.json"))
    change(plain)
    file = str(written(plain, tmp_path / "alone"))
    for here, there in ((file, truth), (truth, file)):
        assert main(["gate", here, "--baseline", there]) == 4
        assert place in " ".join(capsys.readouterr().out.split())
    for command in (["report", file], ["diff", truth, file], ["history", str(Path(file).parent)]):
        assert main(command) == 2
        assert place in capsys.readouterr().err


OF_CASES: dict[str, tuple[Change, str]] = {
    "renamed, and its case not": (put("rows", 1, "model", to="other"), "rows[1].model"),
    "another size than its case's": (
        put("rows", 1, "settings", "imgsz", to="320x320"), "rows[1].settings.imgsz"
    ),
    "another batch": (put("rows", 1, "settings", "batch", to=2), "rows[1].settings.batch"),
    "fused, and its case not": (put("rows", 1, "settings", "fused", to=True), "settings.fused"),
    "compiled, and its case not": (
        put("rows", 1, "settings", "runtime", to="compile"), "rows[1].settings.runtime"
    ),
    "of no case": (put("comparisons", 0, "case", "case", to="x"), "comparisons[0].case.case"),
    "of another case": (
        put("comparisons", 0, "case", "case", to="case 0"), "comparisons[0].case"
    ),
    "its own baseline": (
        lambda plain: plain["comparisons"][0].update(case=plain["comparisons"][0]["baseline"]),
        "comparisons[0].case",
    ),
    "said to be of schema 1": (put("schema_version", to=1), "rows[0].case"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_CASES)
def test_a_row_agrees_with_its_case(name: str, tmp_path: Path) -> None:
    change, place = OF_CASES[name]
    plain = copy.deepcopy(PAIRED)
    assert Report.load(written(plain, tmp_path)).rows
    change(plain)
    with pytest.raises(ReportError) as caught:
        Report.load(written(plain, tmp_path))
    assert place in caught.value.what


OF_PARTS: dict[str, tuple[Change, str]] = {
    "a text": (
        put("rows", 0, "parts", "stage", 2, "traffic_eager_bytes", to="NaN"),
        "rows[0].parts.stage[2].traffic_eager_bytes",
    ),
    "another sum": (put("rows", 0, "parts", "stage", 1, "kernels", to=7), "rows[0].parts.stage"),
    "a part twice": (put("rows", 0, "parts", "stage", 1, "part", to="backbone"), "stage[1].part"),
    "an efficiency": (put("rows", 0, "metrics", "efficiency", to=0.99), "metrics.efficiency"),
}


@pytest.mark.parametrize("name", OF_PARTS)
def test_parts_add_up(name: str, tmp_path: Path) -> None:
    change, place = OF_PARTS[name]
    plain = copy.deepcopy(STAGES)
    change(plain)
    with pytest.raises(ReportError) as caught:
        Report.load(written(plain, tmp_path))
    assert place in caught.value.what


def test_a_key_that_stands_twice_is_said(tmp_path: Path) -> None:
    text = json.dumps(ARTICLE).replace('"params": ', '"params": 1, "params": ', 1)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ReportError, match=r"not JSON .*'params' stands twice"):
        Report.load(tmp_path / "run.json")


def test_how_many_places_there_are_is_said(tmp_path: Path) -> None:
    plain = copy.deepcopy(ARTICLE)
    plain["rows"][1]["metrics"].update(params=-1, peak_activation_bytes=-1)
    with pytest.raises(ReportError, match="more places like it"):
        Report.load(written(plain, tmp_path))


@pytest.mark.parametrize("processes", [2, 3, 5, 6, 9])
@pytest.mark.parametrize("middle", [-0.7, -0.015, 0.0, 0.03, 0.5])
@pytest.mark.parametrize("disturbed", [(), ("hot",)])
def test_every_verdict_follows_from_what_it_was_made_of(
    processes: int, middle: float, disturbed: tuple[str, ...]
) -> None:
    values = [middle + 0.004 * (each % 3) for each in range(processes)]
    found = judge(values, disturbed=disturbed)
    assert found.interval in intervals_of(values, 1 - found.alpha)
    said = found.verdict.value
    assert follows(said, found.interval, processes, 0.02)
    others = {one.value for one in Verdict if one.final} - {said}
    assert sum(follows(other, found.interval, processes, 0.02) for other in others) < 3


def test_a_decided_verdict_is_the_only_one() -> None:
    values = [-0.5 + 0.004 * each for each in range(6)]
    interval = judge(values).interval
    decided = [one.value for one in Verdict if follows(one.value, interval, 6, 0.02)]
    assert decided == ["FASTER", "INVALID"]
