"""Reports for the tests of the gate: a reference and a model, counted and timed in two runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

from detrbench.reports.report import Report, Result

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


def latency(median: float, half: float = 0.02) -> dict[str, float]:
    return {
        "latency_median_s": median,
        "latency_median_low_s": median * (1 - half),
        "latency_median_high_s": median * (1 + half),
        "latency_q1_s": median * 0.9,
        "latency_q3_s": median * 1.2,
        "latency_processes": 6,
        "images_per_s": 1 / median,
    }


def pair(
    ratio: float, model: str = "mine", baseline: str = "ref", noise: Sequence[float] = NOISE,
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A comparison as `detrbench latency` writes it, its log-ratios spread around `ratio`."""
    return {
        "baseline": baseline,
        "model": model,
        "settings": dict(SETTINGS),
        "ratio": ratio,
        "ci_low": ratio * 0.99,
        "ci_high": ratio * 1.01,
        "verdict": "FASTER" if ratio < 1 else "SLOWER",
        "reasons": [],
        "margin": 0.02,
        "confidence": 0.95,
        "process_log_ratios": [math.log(ratio) + away for away in noise],
        **more,
    }


def run(ratio: float = 0.8, machine: dict[str, Any] | None = None) -> dict[str, Any]:
    """A report as plain data: "ref", and "mine" that takes `ratio` of its time."""
    rows = (
        Result("ref", "Reference", dict(SETTINGS), COUNTS | latency(0.5)),
        Result("mine", "Mine", dict(SETTINGS), COUNTS | latency(0.5 * ratio)),
    )
    report = Report(
        rows,
        MACHINE if machine is None else machine,
        (pair(ratio),),
        title="Latency",
        created="2026-01-02T03:04:05+00:00",
        detrbench_version="0.1.0",
    )
    return copy.deepcopy(report.to_dict())


def counted(**changes: Any) -> dict[str, Any]:
    """A report of counts alone, of one model."""
    cell = Result("mine", "Mine", {**COUNTED, "convention": "core"}, COUNTS | changes)
    return copy.deepcopy(Report((cell,), MACHINE, title="Cost").to_dict())
