"""Saved reports as evidence: which models were timed together."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from detrbench.core.errors import UsageError
from detrbench.experiments.claims.evidence import Bench, benches
from detrbench.experiments.claims.rules import V1, V2, V2_SE
from detrbench.models.model import Model
from detrbench.reports.case import Case, Execution
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import ALPHA, Verdict, judge
from tests.experiments.claims.reports import (
    BASE,
    CPU,
    NOISE,
    NOT_MEASURED,
    NOT_SUPPORTED,
    judged,
    part,
    report,
)


def test_a_ratio_of_ratios_is_taken_process_by_process() -> None:
    made = report({V2: 0.6, V1: 0.72})
    logs = [pair.process_log_ratios for pair in made.comparisons]
    (bench,) = benches(made)
    for found, log_ratios in (
        (bench.versus(V1, V2), [b - a for a, b in zip(*logs, strict=True)]),
        (bench.versus(BASE, V2), [-value for value in logs[0]]),
    ):
        assert found.alpha == pytest.approx(ALPHA)  # one minus a confidence
        assert replace(found, alpha=ALPHA) == judge(log_ratios)
    assert bench.versus(V1, V2).ratio == pytest.approx(1.2, rel=1e-3)


@pytest.mark.parametrize("verdict", ["INVALID", "BUSY", "TOO FEW"])
def test_a_side_of_which_nothing_can_be_said_makes_the_pair_invalid(verdict: str) -> None:
    made = report({V2: 0.6, V1: 0.72})
    spoilt = replace(made.comparisons[0], verdict=verdict, reasons=("throttled",))
    (bench,) = benches(replace(made, comparisons=(spoilt, made.comparisons[1])))
    found = bench.versus(V1, V2)
    assert (found.verdict, found.reasons) == (Verdict.INVALID, ("throttled",))


def test_processes_that_only_one_model_was_in_are_no_pairs() -> None:
    made = report({V2: 0.6, V1: 0.72})
    shorter = made.comparisons[0].process_log_ratios[:-1]
    cut = replace(made.comparisons[0], process_log_ratios=shorter)
    (bench,) = benches(replace(made, comparisons=(cut, made.comparisons[1])))
    found = bench.versus(V1, V2)
    assert found.verdict is Verdict.INVALID
    assert "not timed in the same processes" in found.reasons[0]


def test_settings_are_kept_apart() -> None:
    one, eight = report({V2: 0.6}), report({V2: 0.8}, settings={**CPU, "batch": 8})
    both = replace(one, rows=one.rows + eight.rows, comparisons=one.comparisons + eight.comparisons)
    found: list[Bench] = list(benches(both))
    assert [bench.settings["batch"] for bench in found] == [1, 8]
    assert [round(bench.versus(V2, BASE).ratio or 0, 2) for bench in found] == [0.6, 0.8]
    assert all(row.settings["batch"] == 8 for row in found[1].rows.values())


def test_a_report_of_other_models_is_refused() -> None:
    with pytest.raises(UsageError, match="no comparison with shufflev2"):
        judged(report({V1: 0.7}))
    with pytest.raises(UsageError, match="no rows of the guidelines"):
        judged(guidelines=report({V2: 0.7}))


# --- cases: models executed in several ways, in the same rounds -----------------------------------


def cased(*times: tuple[str, str, float, bool]) -> Report:
    """Model, runtime, time over the first's, and whether it ran; all in the same rounds."""
    rows, comparisons = [], []
    for name, runtime, time, ran in times:
        case = Case(f"{name}@runtime={runtime}", Model(name, name), Execution(runtime=runtime))
        settings = {**CPU, "nc": 80, "runtime": runtime, "threads": 2 if ran else None}
        status = "ok" if ran else "failed"
        rows.append(Result(name, name, settings, {}, status=status, case=case))
        logs = [math.log(time) + value for value in NOISE] if ran else []
        found = judge(logs)
        comparisons.append(
            Comparison(
                baseline=Side(rows[0].model, rows[0].settings, rows[0].case),
                case=Side(name, settings, case),
                ratio=found.ratio,
                verdict=found.verdict.value,
                margin=0.02,
                confidence=0.95,
                process_log_ratios=tuple(logs),
            )
        )
    return Report(tuple(rows), {}, tuple(comparisons[1:]))


def test_models_are_compared_as_they_were_executed() -> None:
    made = cased(
        (BASE, "eager", 1.0, True),
        (V2, "eager", 0.6, True),
        (BASE, "compile", 0.9, True),
        (V2, "compile", 0.45, True),
    )
    eager, compiled = benches(made)
    assert [bench.settings["runtime"] for bench in (eager, compiled)] == ["eager", "compile"]
    for bench, ratio in ((eager, 0.6), (compiled, 0.5)):
        assert bench.models == (BASE, V2)
        assert {row.settings["runtime"] for row in bench.rows.values()} == {
            bench.settings["runtime"]
        }
        assert bench.versus(V2, bench.baseline).ratio == pytest.approx(ratio, rel=1e-2)


def test_a_baseline_that_was_executed_otherwise_is_none_of_the_models() -> None:
    made = cased((BASE, "eager", 1.0, True), (V2, "compile", 0.6, True), (V1, "compile", 0.9, True))
    (bench,) = benches(made)
    assert bench.has(V1, V2)
    assert not bench.has(BASE)
    assert bench.versus(V1, V2).ratio == pytest.approx(1.5, rel=1e-2)
    found = part(judged(article=made), 2, "a")
    assert found.ruling is NOT_MEASURED, "time of another runtime says nothing of efficiency"


def test_a_model_that_failed_stays_beside_those_that_ran() -> None:
    made = cased((BASE, "eager", 1.0, True), (V2_SE, "eager", 1.0, False), (V2, "eager", 0.6, True))
    (bench,) = benches(made)
    assert bench.has(BASE, V2, V2_SE)
    assert bench.settings["threads"] == 2, "as it was read back"
    assert part(judged(rivals=made), 6, "a").ruling is NOT_SUPPORTED
