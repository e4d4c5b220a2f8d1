"""Reports for the tests of the gate, a reference and a model, counted and timed in two runs; and
checks for those of its outputs."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detrbench.compare.gate import Check, GateResult, Outcome, Policy, gate
from detrbench.core.stats import Interval, median, median_interval, quantile
from detrbench.core.units import parse_imgsz
from detrbench.models.model import Model
from detrbench.reports.case import Case, Execution
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import judge

Plain = dict[str, Any]

MACHINE = {
    "processor": "AMD EPYC",
    "logical_cpus": 2,
    "torch": "2.14.1",
    "detrbench": "0.1.0",
    "revision": "a1cf7137ba2d",
}
COUNTED = {"imgsz": "640x640", "batch": 1, "nc": 80, "fused": False}
TIMED = {
    "device": "cpu", "dtype": "float32", "memory_format": "contiguous", "threads": 2,
    "runtime": "eager",
}  # fmt: skip
SETTINGS = COUNTED | TIMED
COUNTS = {
    "params": 32_970_476,
    "flops": 109_536_153_600,
    "flops_thop": 108_300_000_000,
    "macs": 54_768_076_800,
    "memory_access_elements": 279_292_540,
    "traffic_eager_bytes": 3_223_649_152,
    "traffic_fused_bytes": 1_842_051_664,
    "peak_activation_bytes": 86_835_200,
    "kernels": 742,
}
NOISE = (-0.012, 0.003, -0.004, 0.009, -0.006, 0.010)
"""How far the log-ratios of six processes lie from their mean, which is 0: an sd of 0.9 %."""

LONG = tuple(away * 0.3 for away in NOISE * 3)
"""Likewise, of a run three times as long."""


def latency(processes: Sequence[Sequence[float]]) -> dict[str, float | None]:
    """What a row says of its samples."""
    medians, rounds = (
        [median(each) for each in processes],
        [one for each in processes for one in each],
    )
    interval = median_interval(medians)
    return {
        "latency_median_s": median(medians),
        "latency_median_low_s": interval.low if interval else None,
        "latency_median_high_s": interval.high if interval else None,
        "latency_q1_s": quantile(rounds, 0.25),
        "latency_q3_s": quantile(rounds, 0.75),
        "latency_processes": len(processes),
        "images_per_s": 1 / median(medians),
    }


def timed(model: str, processes: list[list[float]]) -> Result:
    """A row of schema 1, counted and timed."""
    values: dict[str, Any] = COUNTS | latency(processes)
    missing = {key: "too few processes" for key, value in values.items() if value is None}
    samples = {"latency_s": processes}
    title = {"ref": "Reference"}.get(model, model.title())
    return Result(model, title, dict(SETTINGS), values, missing=missing, samples=samples)


def seconds(
    ratio: float = 1.0, noise: Sequence[float] = NOISE, at: float = 0.5
) -> list[list[float]]:
    """Of each process: those of `ref`, which takes half a second up to 2 %, times `ratio`."""
    drift = (0.98, 0.99, 1.0, 1.0, 1.01, 1.02)
    spread = zip(drift * (len(noise) // 6 + 1), noise, strict=False)
    return [[at * own * ratio * math.exp(away)] * 2 for own, away in spread]


def pair(
    ratio: float, model: str = "mine", baseline: str = "ref", noise: Sequence[float] = NOISE,
    **more: Any,
) -> Plain:  # fmt: skip
    """A comparison of schema 1, its log-ratios spread around `ratio`."""
    values = [math.log(ratio) + away for away in noise]
    alpha = 1 - (more.get("confidence") or 0.95)
    judged = judge(values, alpha=alpha if 0 < alpha < 1 else 0.05)
    return {
        "baseline": baseline,
        "model": model,
        "settings": dict(SETTINGS),
        "ratio": judged.ratio,
        "ci_low": judged.interval and judged.interval.low,
        "ci_high": judged.interval and judged.interval.high,
        "verdict": judged.verdict.value,
        "reasons": list(judged.reasons),
        "margin": 0.02,
        "confidence": 0.95,
        "process_log_ratios": values,
        **more,
    }


def run(
    ratio: float = 0.8, machine: dict[str, Any] | None = None, noise: Sequence[float] = NOISE
) -> Plain:
    """A report of schema 1: "ref", and "mine" that takes `ratio` of its time."""
    still = [0.0] * len(noise)
    rows = timed("ref", seconds(1.0, still)), timed("mine", seconds(ratio, noise))
    return {
        **_plain(rows, MACHINE if machine is None else machine),
        "title": "Latency",
        "created": "2026-01-02T03:04:05+00:00",
        "detrbench_version": "0.1.0",
        "comparisons": [pair(ratio, noise=noise)],
    }


def counted(**changes: Any) -> Plain:
    """A report of counts alone, of one model; of schema 1."""
    cell = Result("mine", "Mine", {**COUNTED, "convention": "core"}, COUNTS | changes)
    return {**_plain((cell,), MACHINE), "title": "Cost"}


def _plain(rows: Sequence[Result], machine: Mapping[str, Any]) -> Plain:
    """As a file of schema 1 was: nothing in it knows cases."""
    plain = copy.deepcopy(Report(tuple(rows), dict(machine)).to_dict())
    del plain["cases"]
    for row in plain["rows"]:
        del row["case"]
    return {**plain, "schema_version": 1}


def plain_row(row: Result) -> Plain:
    """As a file of schema 1 has it."""
    (plain,) = _plain([row], {})["rows"]
    return dict(plain)


def modern(plain: Plain) -> Plain:
    """What a file of schema 2 has instead of `plain`, wherever that is a report at all."""
    plain = copy.deepcopy(plain)
    cases = {}
    for index, row in enumerate(plain["rows"]):
        row["case"] = f"case {index}"
        cases[row["case"]] = _case(row).to_dict()
    pairs = plain.get("comparisons", [])
    return {
        **plain,
        "schema_version": 2 if plain["schema_version"] == 1 else plain["schema_version"],
        "cases": [{"id": key, **case} for key, case in cases.items()],
        "comparisons": [_sided(each, plain["rows"]) for each in pairs],
    }


def _case(row: Plain) -> Case:
    said = row["settings"]
    threads, size = said.get("threads"), parse_imgsz(str(said.get("imgsz", "640x640")))
    return Case(f"{row['model']}@threads={threads}", Model(row["model"], row["model"]),
                Execution(size, threads=threads))  # fmt: skip


def _sided(plain: Any, rows: Sequence[Plain]) -> Any:
    if not isinstance(plain, dict):
        return plain
    rest = {key: each for key, each in plain.items() if key not in ("model", "settings")}
    then = {name: each for name, each in plain["settings"].items() if name != "nc"}
    return {
        **rest,
        "baseline": _side(plain["baseline"], then, rows),
        "case": _side(plain["model"], plain["settings"], rows),
    }


def _side(model: str, settings: Plain, rows: Sequence[Plain]) -> Plain:
    row = next((row for row in rows if row["model"] == model), {})
    own = {"nc": row["settings"]["nc"]} if "nc" in row.get("settings", {}) else {}
    return {"model": model, "settings": own | settings, "case": row.get("case")}


def report(plain: Plain) -> Report:
    return Report.from_json(json.dumps(plain))


def outcome(base: Plain, now: Plain, policy: Policy | None = None, **more: Any) -> Outcome:
    return gate(report(now), report(base), policy, **more).outcome


# --- for outputs ---------------------------------------------------------------------------------

_SHOWN = {"imgsz": "640x640", "batch": 1}

PASSED = Check(Outcome.PASS, "mine", _SHOWN, "kernels", 742, 742, 0.0)
_SLOWER = Check(
    Outcome.REGRESSION, "models/mine.yaml", _SHOWN, "latency_median_s", 0.8, 0.9, 0.05,
    interval=Interval(1.125, 1.11, 1.14), reference="ref",
    reasons=("the whole interval is beyond the limit",), hint="Find where the time goes.",
)  # fmt: skip
_LARGER = Check(
    Outcome.EXCEEDED, "mine", _SHOWN, "params", None, 32_970_476, 20e6, ceiling=True,
    reasons=("32,970,476 is more than 20,000,000",), hint="Make it smaller.",
)  # fmt: skip
_UNDECIDED = Check(
    Outcome.INCONCLUSIVE, "mine", _SHOWN, "latency_median_s", 0.5, 0.51, 0.05,
    interval=Interval(1.02, 0.98, 1.06), reasons=("it reaches across",), hint="Measure longer.",
)  # fmt: skip
_GONE = Check(Outcome.INVALID, "gone", _SHOWN, reasons=("this run does not have it",), hint="Go.")

RESULT = GateResult((PASSED, _SLOWER, _UNDECIDED, _GONE, _LARGER), notes=("this run: here",))
"""Every outcome, and every kind of check."""


def check_golden(file: Path, text: str) -> None:
    """DETRBENCH_GOLDEN=write renews the file; look at the difference before committing it."""
    if os.environ.get("DETRBENCH_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
