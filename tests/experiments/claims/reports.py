"""Reports that nobody measured, for the claims to be held against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from detrbench.experiments.claims.evidence import Evidence
from detrbench.experiments.claims.rules import (
    MOBILE_V2,
    V1,
    V2,
    XCEPTION,
    Claim,
    Part,
    Ruling,
    judge_claims,
)
from detrbench.experiments.claims.unit import UnitFacts
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import judge

BASE = "rtdetr-l"
CPU = {"imgsz": "320x320", "batch": 1, "device": "cpu"}
CUDA = {**CPU, "device": "cuda:0"}
NOISE = (-0.004, 0.003, -0.001, 0.002, -0.002, 0.002)
"""Of the log-ratios of six processes, about 0."""

FACTS = UnitFacts(13, 3, 13, 13, 13, 13, 3, 3, 35, 35, 54, 0, 0)
SUPPORTED, IN_PART, NOT_SUPPORTED = Ruling.SUPPORTED, Ruling.IN_PART, Ruling.NOT_SUPPORTED
INCONCLUSIVE, NOT_MEASURED = Ruling.INCONCLUSIVE, Ruling.NOT_MEASURED
NOT_TESTABLE, ASIDE = Ruling.NOT_TESTABLE, Ruling.ASIDE


def report(
    times: Mapping[str, float],
    counts: Mapping[str, Mapping[str, float]] | None = None,
    *,
    settings: Mapping[str, Any] = CPU,
    machine: str = "x86_64",
    noise: tuple[float, ...] = NOISE,
    scatter: float = 1.0,
) -> Report:
    """Models by their time over the baseline's, which is 1; each has the same noise, shifted."""
    counts = counts or {}
    models = {BASE: 1.0, **times}
    rows = tuple(
        Result(name, name, {**settings, "nc": 80}, dict(counts.get(name, {})), status="ok")
        for name in models
    )
    comparisons = []
    for shift, (name, time) in enumerate(times.items()):
        turned = noise[shift % len(noise) :] + noise[: shift % len(noise)]
        logs = [math.log(time) + scatter * value for value in turned]
        judged = judge(logs)
        comparisons.append(
            Comparison(
                baseline=Side(BASE, settings),
                case=Side(name, {**settings, "nc": 80}),
                ratio=judged.ratio,
                ci_low=judged.interval.low if judged.interval else None,
                ci_high=judged.interval.high if judged.interval else None,
                verdict=judged.verdict.value,
                reasons=tuple(judged.reasons),
                margin=0.02,
                confidence=0.95,
                process_log_ratios=tuple(logs),
            )
        )
    environment = {"platform": f"Linux 6.1 {machine}", "processor": "imaginary"}
    return Report(rows, environment, tuple(comparisons), title="Rivals", created="2026-01-01")


def guidelines_report(verdict: str, *names: str) -> Report:
    """A report of one experiment on each guideline, in which every row has the same verdict."""
    labels = {"G1": "1:12", "G2": "g=8", "G3": "4 in series", "G4": "neither"}
    centre, scatter = {"SLOWER": (1.3, 1), "FASTER": (0.8, 1), "EQUIVALENT": (1, 0.1)}.get(
        verdict, (1.0, 30)
    )
    logs = tuple(math.log(centre) + scatter * value for value in NOISE)
    found = judge(logs)
    assert found.interval is not None
    rows, comparisons = [], []
    for name in names:
        for label in ("first", labels[name], *(["4 in parallel"] if name == "G3" else [])):
            settings = {"device": "cpu", "guideline": name, "experiment": "x1", "network": label}
            rows.append(Result(f"guideline:{name}/{label}", label, settings, {}))
            if label != "first":
                comparisons.append(
                    Comparison(
                        baseline=Side(f"guideline:{name}/first"),
                        case=Side(f"guideline:{name}/{label}", settings),
                        ratio=found.ratio,
                        ci_low=found.interval.low,
                        ci_high=found.interval.high,
                        verdict=verdict,
                        reasons=("as fabricated",),
                        margin=0.02,
                        confidence=0.95,
                        process_log_ratios=logs,
                    )
                )
    return Report(tuple(rows), {}, tuple(comparisons))


def judged(
    rivals: Report | None = None,
    article: Report | None = None,
    guidelines: Report | None = None,
    facts: UnitFacts = FACTS,
) -> tuple[Claim, ...]:
    given = [{} if one is None else {"run.json": one} for one in (rivals, article, guidelines)]
    return judge_claims(Evidence.of(*given), facts)


def part(claims: tuple[Claim, ...], number: int, letter: str) -> Part:
    return claims[number - 1].parts["abcd".index(letter)]


RIVALS = {V2: 0.6, V1: 0.7, XCEPTION: 0.8, MOBILE_V2: 0.75}
