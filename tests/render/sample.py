"""A report with everything a renderer must show: ours, published, failed and missing values."""

from __future__ import annotations

from typing import Any

from detrbench.models.model import File, Model
from detrbench.reports.case import Case, Execution, baseline_of
from detrbench.reports.comparison import Comparison, Side
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


def pair(model: str, baseline: str = "rtdetr-l", **more: Any) -> Comparison:
    """A comparison as a report of schema 1 has it, under one set of settings."""
    plain = {
        "baseline": baseline,
        "model": model,
        "settings": {"imgsz": "640x640"},
        "ratio": None,
        "ci_low": None,
        "ci_high": None,
        "verdict": None,
        "reasons": [],
        "process_log_ratios": [],
        **more,
    }
    return Comparison.from_dict(plain, {})


REPORT = Report(
    rows=(BASELINE, LIGHTER, BROKEN, PARTIAL),
    comparisons=(
        pair(
            "shufflev2",
            ratio=0.9051,
            ci_low=0.8961,
            ci_high=0.9142,
            verdict="FASTER",
            margin=0.02,
            confidence=0.96,
            process_log_ratios=[-0.1] * 8,
        ),
        pair(
            "=HYPERLINK(1)|x",
            verdict="INVALID",
            reasons=["=HYPERLINK(1)|x has no latency: out | of memory", "0 processes"],
            margin=0.02,
            confidence=0.96,
        ),
    ),
    environment={"processor": "AMD EPYC", "logical_cpus": 2, "torch": "2.14.1"},
    title="Sample",
    command="detrbench profile rtdetr-l shufflev2",
    created="2026-01-02T03:04:05+00:00",
    detrbench_version="0.1.0",
)

# --- two models, three ways to execute them, two batches -----------------------------------------

_WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"runtime": "compile"},
    {"memory_format": "channels_last"},
)


def _cases() -> tuple[Case, ...]:
    return tuple(
        Case(
            f"{model}@{','.join(f'{key}={value}' for key, value in told.items())}",
            Model(model, model, files=(File(f"models/{model}.yaml", 64 * digit),)),
            Execution(threads=2, **told),
        )
        for batch in (1, 8)
        for way in _WAYS
        for model, digit in (("rtdetr-l", "a"), ("shufflev2", "b"))
        for told in [{"batch": batch, **way}]
    )


def _timed(case: Case) -> Result:
    flops = {"rtdetr-l": 108_000_000_000, "shufflev2": 63_100_000_000}[case.model.name]
    ways = {"compile": 0.8, "channels_last": 0.9}
    median = flops * case.execution.batch * ways.get(case.execution.runtime, 1.0)
    median *= ways.get(case.execution.memory_format, 1.0) / 3.6e11
    return Result(
        case.model.name,
        case.model.name,
        {**case.settings(), "nc": 80},
        {"params": 32_970_476 if case.model.name == "rtdetr-l" else 19_483_888, **latency(median)},
        samples={"latency_s": [[median, median * 1.1]]},
        notes=("made ready in every process, outside all samples: compile 41.0 s",)
        if case.execution.runtime == "compile"
        else (),
        case=case,
    )


def _compared(row: Result, baseline: Result) -> Comparison:
    ratio = row.metrics["latency_median_s"] / baseline.metrics["latency_median_s"]  # type: ignore[operator]
    return Comparison(
        Side(baseline.model, baseline.settings, baseline.case),
        Side(row.model, row.settings, row.case),
        ratio=ratio,
        ci_low=ratio * 0.99,
        ci_high=ratio * 1.01,
        verdict="FASTER",
        margin=0.02,
        confidence=0.95,
        process_log_ratios=(-0.1,) * 8,
    )


def _mixed() -> Report:
    rows = {case.name: _timed(case) for case in _cases()}
    baselines = {name: baseline_of(row.case, _cases()) for name, row in rows.items() if row.case}
    return Report(
        rows=tuple(rows.values()),
        comparisons=tuple(
            _compared(rows[name], rows[case.name]) for name, case in baselines.items() if case
        ),
        environment={"processor": "AMD EPYC", "logical_cpus": 2, "torch": "2.14.1"},
        title="Latency",
        command="detrbench latency rtdetr-l shufflev2 --batch 1,8",
        created="2026-01-02T03:04:05+00:00",
        detrbench_version="0.1.0",
    )


MIXED = _mixed()
