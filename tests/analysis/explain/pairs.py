"""Explanations that nobody measured: models, parts and ceilings from numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from detrbench.analysis.explain.account import COMPILING, LAYOUT, saving
from detrbench.analysis.explain.findings import Explanation, Timed, TimedModel, TimedPart, Try
from detrbench.analysis.explain.tables import all_tries, kept, row_of
from detrbench.analysis.explain.words import paragraph
from detrbench.analysis.probe.ceilings import Ceiling, Ceilings, Work
from detrbench.machine.circumstances import circumstances_of
from detrbench.machine.validity import Entry
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Report, Result

VALUES = {"convolution": 100e9, "matmul": 100e9, "memory": 10e9, "cache": 40e9, "dispatch": 10e-6}
CEILINGS = Ceilings(
    {name: Ceiling(name, value, 0.9 * value, 1.1 * value) for name, value in VALUES.items()},
    cache_bytes=2**20,
)

Stage = tuple[float, float, int, float]
"""GFLOPs, MB of traffic, kernels, milliseconds."""


def a_part(name: str, stage: Stage, folded: float = 0.9) -> TimedPart:
    gflops, megabytes, kernels, milliseconds = stage
    nbytes = round(megabytes * 1e6)
    work = Work(
        conv_flops=round(gflops * 1e9),
        nbytes=nbytes,
        kernels=kernels,
        working_set_bytes=2**30,
        fused_bytes=round(folded * nbytes),
        fused_kernels=kernels // 2,
    )
    seconds = milliseconds * 1e-3
    timed = Timed.of([0.99 * seconds, seconds, 1.01 * seconds])
    return TimedPart(name, name, work, {"flops": work.flops}, CEILINGS.floor(work), timed)


def a_side(model: str, stages: Mapping[str, Stage], whole_ms: float | None = None) -> TimedModel:
    parts = tuple(a_part(name, stage) for name, stage in stages.items())
    sums = [sum(stage[i] for stage in stages.values()) for i in range(4)]
    whole = (sums[0], sums[1], int(sums[2]), sums[3] if whole_ms is None else whole_ms)
    return TimedModel(model, a_part("whole", whole), parts)


def explained(
    baseline: Mapping[str, Stage],
    variant: Mapping[str, Stage],
    *,
    device: str = "cpu",
    tried: tuple[Try, ...] = (),
    wholes: tuple[float | None, float | None] = (None, None),
) -> Explanation:
    return Explanation(
        "stage",
        device,
        "contiguous",
        20,
        CEILINGS,
        a_side("large", baseline, wholes[0]),
        a_side("small", variant, wholes[1]),
        tried,
    )


BUSY = circumstances_of([(dataclasses.asdict(Entry(cpus=2, foreign_cpu_s=8.0)), 10.0)])
"""Of rounds in which others used 40 % of both processors."""

SPOILT = circumstances_of([(dataclasses.asdict(Entry(own_cpu_s=1.0, waited_s=9.0)), 10.0)])

NECK: dict[str, Stage] = {"neck": (40.0, 600.0, 160, 450.0)}
LARGE: dict[str, Stage] = {"backbone": (50.0, 1500.0, 200, 600.0), **NECK}

CASES: dict[str, Explanation] = {
    "part of it": explained(LARGE, {"backbone": (5.0, 900.0, 160, 200.0), **NECK}),
    "more than promised": explained(LARGE, {"backbone": (25.0, 500.0, 160, 200.0), **NECK}),
    "slower": explained(LARGE, {"backbone": (25.0, 7000.0, 160, 900.0), **NECK}),
    "the same": explained(LARGE, LARGE),
    "as many FLOPs, faster": explained(LARGE, {"backbone": (50.0, 900.0, 160, 520.0), **NECK}),
    "more FLOPs": explained(LARGE, {"backbone": (75.0, 1600.0, 210, 750.0), **NECK}),
    "more FLOPs, faster": explained(LARGE, {"backbone": (75.0, 600.0, 90, 590.0), **NECK}),
    "no FLOPs": explained({"all": (0.0, 900.0, 10, 100.0)}, {"all": (1.0, 500.0, 10, 60.0)}),
    "bound by launches": explained(
        {"all": (1.0, 30.0, 4000, 60.0)}, {"all": (0.5, 15.0, 3900, 59.0)}, device="cuda:0"
    ),
    "parts that do not add up": explained(
        LARGE, {"backbone": (5.0, 900.0, 160, 200.0), **NECK}, wholes=(900.0, 700.0)
    ),
    "tried": explained(
        LARGE,
        {"backbone": (5.0, 900.0, 160, 200.0), **NECK},
        tried=(
            Try(LAYOUT, 0.8, True, "12 rounds", 0.79, 0.82),
            Try(COMPILING, 1.031, True, "12 rounds", 1.02, 1.04),
        ),
    ),
    "the machine moved": explained(
        LARGE, {"backbone": (5.0, 900.0, 160, 200.0), "neck": (40.0, 600.0, 160, 500.0)}
    ),
}


def text_of(explanation: Explanation) -> str:
    return paragraph(explanation, saving(explanation), all_tries(explanation))


def a_report(explanation: Explanation) -> Report:
    """As `explanation_report` makes it, without the measurement."""
    sides = (explanation.baseline, explanation.variant)
    settings = {
        "imgsz": "640x640",
        "batch": 1,
        "device": explanation.device,
        "memory_format": explanation.memory_format,
    }
    return Report(
        rows=tuple(
            row_of(
                Result(
                    side.model,
                    side.model.upper(),
                    settings,
                    {"latency_median_s": side.seconds},
                    samples={"latency_s": [list(side.whole.timed.samples)]},
                ),
                side,
                explanation,
            )
            for side in sides
        ),
        comparisons=(
            Comparison(
                Side("large", settings),
                Side("small", settings),
                ratio=kept(explanation)["time_ratio"],
                explanation=kept(explanation),
            ),
        ),
        title="t",
    )
