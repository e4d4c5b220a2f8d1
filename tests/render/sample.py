"""A report with everything a renderer must show: ours, published, failed and missing values."""

from __future__ import annotations

from typing import Any

from detrbench.reports.report import Report, Result

SETTINGS = {"imgsz": "640x640", "batch": 1, "nc": 80, "fused": False, "convention": "core"}
LIKEWISE = {"nc": 1, "fused": False, "convention": "thop", "imgsz": "640x640"}


def counts(params: int, flops: int, **more: float | None) -> dict[str, Any]:
    return {
        "params": params,
        "params_unused": 162_752,
        "macs": flops // 2,
        "flops": flops,
        "flops_thop": flops - 1_000_000_000,
        "elementwise_flops": 1_234_567_891,
        "memory_access_elements": 200_000_000,
        "traffic_eager_bytes": 3_342_000_000,
        "traffic_fused_bytes": 1_880_000_000,
        "traffic_min_bytes": 137_000_000,
        "peak_activation_bytes": 86_835_200,
        "kernels": 813,
        "arithmetic_intensity": flops / 3_342_000_000,
        **more,
    }


def latency(median: float) -> dict[str, float]:
    return {
        "latency_median_s": median,
        "latency_median_low_s": median * 0.9,
        "latency_median_high_s": median * 1.1,
        "latency_q1_s": median * 0.9,
        "latency_q3_s": median * 1.1,
        "latency_first_s": median * 2,
        "latency_samples": 24,
    }


def figure(params: str, gflops: str, latency_ms: str, ours: dict[str, float]) -> dict[str, Any]:
    return {
        "label": "the article",
        "source": "its only table",
        "params": params,
        "gflops": gflops,
        "latency_ms": latency_ms,
        "settings": LIKEWISE,
        "ours": ours,
    }


BASELINE = Result(
    "rtdetr-l",
    "RT-DETR-L",
    SETTINGS,
    counts(32_970_476, 109_536_153_600) | latency(0.31),
    samples={"latency_s": [[0.31, 0.1 + 0.2]]},
    parts={
        "stage": [
            {"part": "backbone", "params": 13_000_000, "flops": 60_000_000_000, "kernels": 300},
            {"part": "neck", "params": 19_970_476, "flops": 49_536_153_600, "kernels": 513},
        ]
    },
    published=[
        figure("32.8M", "108.0", "11.6", {"params": 32_808_131, "flops_thop": 107_990_000_000})
    ],
)

LIGHTER = Result(
    "shufflev2",
    "ShuffleNetV2 1.0x",
    SETTINGS,
    counts(19_483_888, 63_100_000_000) | latency(0.29),
    published=[
        figure("19.2M", "62.9", "10.5", {"params": 19_321_543, "flops_thop": 62_840_000_000})
    ],
    notes=("2 of 700 operators have no formula: aten.foo (0.1% of bytes)",),
)

BROKEN = Result(
    "=HYPERLINK(1)|x", "a *hostile* name", SETTINGS, {}, status="failed", reason="out | of memory"
)

PARTIAL = Result(
    "my-variant.yaml",
    "variant",
    SETTINGS,
    counts(10_000_000, 50_000_000_000, traffic_eager_bytes=None),
    missing={"traffic_eager_bytes": "a shape depends on the data"},
)

REPORT = Report(
    rows=(BASELINE, LIGHTER, BROKEN, PARTIAL),
    comparisons=(
        {
            "baseline": "rtdetr-l",
            "model": "shufflev2",
            "settings": {"imgsz": "640x640"},
            "ratio": 0.9051,
            "ci_low": 0.8961,
            "ci_high": 0.9142,
            "verdict": "FASTER",
            "reasons": [],
            "margin": 0.02,
            "confidence": 0.96,
            "process_log_ratios": [-0.1] * 8,
        },
        {
            "baseline": "rtdetr-l",
            "model": "=HYPERLINK(1)|x",
            "settings": {"imgsz": "640x640"},
            "ratio": None,
            "ci_low": None,
            "ci_high": None,
            "verdict": "INVALID",
            "reasons": ["=HYPERLINK(1)|x has no latency: out | of memory", "0 processes"],
            "margin": 0.02,
            "confidence": 0.96,
            "process_log_ratios": [],
        },
    ),
    environment={"processor": "AMD EPYC", "logical_cpus": 2, "torch": "2.14.1"},
    title="Sample",
    command="detrbench profile rtdetr-l shufflev2",
    created="2026-01-02T03:04:05+00:00",
    detrbench_version="0.1.0",
)
