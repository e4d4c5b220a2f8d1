"""Rulings on the article's claims, from reports that nobody measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from detrbench.experiments.claims.evidence import Evidence, benches
from detrbench.experiments.claims.rules import (
    DENSENET,
    MOBILE_V2,
    V1,
    V2,
    V2_SE,
    XCEPTION,
    Ruling,
    combine,
    judge_claims,
)
from tests.experiments.claims.reports import (
    ASIDE,
    BASE,
    CUDA,
    FACTS,
    IN_PART,
    INCONCLUSIVE,
    NOISE,
    NOT_MEASURED,
    NOT_SUPPORTED,
    NOT_TESTABLE,
    RIVALS,
    SUPPORTED,
    guidelines_report,
    judged,
    part,
    report,
)

# --- nothing measured ----------------------------------------------------------------------------


def test_without_evidence_nothing_is_ruled_but_what_the_network_shows() -> None:
    claims = judged()
    assert [claim.number for claim in claims] == [1, 2, 3, 4, 5, 6]
    assert [claim.ruling for claim in claims] == [
        NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, IN_PART, NOT_TESTABLE, NOT_MEASURED,
    ]  # fmt: skip
    for claim in claims:
        for one in claim.parts:
            if one.ruling is NOT_MEASURED:
                assert "detrbench run" in one.evidence or "detrbench guidelines" in one.evidence
    assert "detrbench run rivals --device cuda" in part(claims, 5, "a").evidence


@pytest.mark.parametrize(
    ("rulings", "together"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([SUPPORTED, NOT_SUPPORTED], IN_PART),
        ([SUPPORTED, NOT_TESTABLE], IN_PART),
        ([SUPPORTED, NOT_MEASURED], IN_PART),
        ([NOT_SUPPORTED, NOT_MEASURED, INCONCLUSIVE], NOT_SUPPORTED),
        ([INCONCLUSIVE, NOT_MEASURED], INCONCLUSIVE),
        ([NOT_MEASURED, NOT_TESTABLE], NOT_MEASURED),
        ([NOT_TESTABLE, NOT_TESTABLE, ASIDE], NOT_TESTABLE),
        ([SUPPORTED, ASIDE], SUPPORTED),
    ],
)
def test_parts_together(rulings: list[Ruling], together: Ruling) -> None:
    assert combine(rulings) is together


# --- claim 1 -------------------------------------------------------------------------------------


def test_time_out_of_proportion_and_out_of_order() -> None:
    counts = {BASE: {"flops": 100.0}, V2: {"flops": 60.0}, V1: {"flops": 58.0}}
    found = part(judged(report({V2: 0.6, V1: 0.75}, counts)), 1, "a")
    assert found.ruling is SUPPORTED
    figures = found.figures["On cpu (x86_64), image 320x320, batch 1"]
    # rtdetr-l and shufflev2 take the same time per FLOP; shufflev1 takes more than either.
    assert (figures["pairs"], figures["differing"]) == (3, 2)
    assert figures["against_flops"] == [[V1, V2]]
    assert figures["widest"]["model"] == V1
    assert figures["widest"]["ratio"] == pytest.approx(0.75 / 0.58, rel=1e-3)
    assert "shufflev1 against shufflev2: FLOPs -3.3%, time +25.0%" in found.evidence


def test_time_in_proportion_to_flops_supports_nothing() -> None:
    counts = {BASE: {"flops": 100.0}, V2: {"flops": 60.0}}
    found = part(judged(report({V2: 0.6}, counts)), 1, "a")
    assert found.ruling is NOT_SUPPORTED
    assert "none of 1 pairs" in found.evidence


def test_intervals_that_reach_too_far_say_nothing_of_time_per_flop() -> None:
    counts = {BASE: {"flops": 100.0}, V2: {"flops": 60.0}}
    found = part(judged(report({V2: 0.61}, counts, scatter=20)), 1, "a")
    assert found.ruling is INCONCLUSIVE
    assert "reaches across" in found.evidence


def test_many_pairs_take_wider_intervals() -> None:
    (bench,) = benches(report({V2: 0.6}))
    one, many = (bench.versus(V2, BASE, tests=tests).interval for tests in (1, 28))
    assert one is not None
    assert many is not None
    assert many.low < one.low < one.high < many.high


@pytest.mark.parametrize(
    ("verdict", "ruling"),
    [
        ("SLOWER", SUPPORTED),
        ("EQUIVALENT", NOT_SUPPORTED),
        ("FASTER", NOT_SUPPORTED),
        ("INCONCLUSIVE", INCONCLUSIVE),
        ("INVALID", INCONCLUSIVE),
    ],
)
def test_what_the_guidelines_experiments_say(verdict: str, ruling: Ruling) -> None:
    claims = judged(guidelines=guidelines_report(verdict, "G1", "G2", "G3"))
    for number, letter in ((1, "b"), (1, "c"), (3, "b"), (3, "c")):
        assert part(claims, number, letter).ruling is ruling
    assert "in the paper" not in part(claims, 1, "b").evidence  # the report has no such figures
    assert part(claims, 3, "d").ruling is NOT_MEASURED


def test_element_wise_operations_cost_what_leaving_them_out_saves() -> None:
    claims = judged(guidelines=guidelines_report("FASTER", "G4"))
    assert part(claims, 3, "d").ruling is SUPPORTED
    assert part(claims, 1, "b").ruling is NOT_MEASURED


# --- claim 2 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "scatter", "ruling"),
    [
        (0.6, 1, SUPPORTED),
        (1.3, 1, NOT_SUPPORTED),
        (1.0, 1, NOT_SUPPORTED),
        (1.0, 20, INCONCLUSIVE),
    ],
)
def test_efficiency(time: float, scatter: float, ruling: Ruling) -> None:
    claims = judged(article=report({V2: time}, scatter=scatter))
    assert part(claims, 2, "a").ruling is ruling
    assert part(claims, 2, "b").ruling is NOT_TESTABLE
    assert claims[1].ruling is (IN_PART if ruling is SUPPORTED else ruling)


@pytest.mark.parametrize(("time", "processes"), [(0.6, 2), (0.95, 5)])
def test_too_few_processes_are_no_ruling(time: float, processes: int) -> None:
    found = part(judged(article=report({V2: time}, noise=NOISE[:processes])), 2, "a")
    assert found.ruling is INCONCLUSIVE
    assert f"faster in {processes} of {processes} processes" in found.evidence


def test_five_processes_rule_on_a_difference_that_is_large() -> None:
    found = part(judged(article=report({V2: 0.6}, noise=NOISE[:5])), 2, "a")
    assert found.ruling is SUPPORTED


def test_the_sentence_is_made_of_the_evidence() -> None:
    counts = {BASE: {"flops": 100.0, "params": 30.0}, V2: {"flops": 58.0, "params": 18.0}}
    found = part(judged(article=report({V2: 0.6}, counts)), 2, "a")
    figures = found.figures["On cpu (x86_64), image 320x320, batch 1"]
    low, high = 100 * (figures["low"] - 1), 100 * (figures["high"] - 1)
    assert found.evidence == (
        "On cpu (x86_64), image 320x320, batch 1, shufflev2 against rtdetr-l: time -40.0% "
        f"({low:.1f}% to {high:.1f}%, FASTER), FLOPs -42.0%, parameters -40.0%."
    )


# --- claims 3 to 6 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flops", "access", "ruling"),
    [
        (0.98, 1.2, SUPPORTED),
        (0.98, 0.9, NOT_SUPPORTED),
        (1.1, 1.2, SUPPORTED),
        (1.2, 1.1, NOT_SUPPORTED),
    ],
)
def test_memory_access_of_v1_is_counted(flops: float, access: float, ruling: Ruling) -> None:
    counts = {
        V2: {"flops": 1.0, "memory_access_elements": 1.0},
        V1: {"flops": flops, "memory_access_elements": access},
    }
    found = part(judged(report({V2: 0.6, V1: 0.7}, counts)), 3, "a")
    assert found.ruling is ruling
    assert "time +16.7%" in found.evidence


def test_memory_access_that_was_not_counted() -> None:
    assert part(judged(report({V2: 0.6, V1: 0.7})), 3, "a").ruling is NOT_MEASURED
    assert "all of shufflev1" in part(judged(report({V2: 0.6})), 3, "a").evidence


def test_no_ruling_rests_on_counts_that_are_not_whole() -> None:
    counts = {
        BASE: {"flops": 100.0},
        V2: {"flops": 60.0, "memory_access_elements": 1.0},
        V1: {"flops": 50.0, "memory_access_elements": 3.0},
    }
    whole = report({V2: 0.6, V1: 0.7}, counts)
    lacking = [
        replace(row, status="partial", reason="no formula for aten.foo") if row.model == V1 else row
        for row in whole.rows
    ]
    claims = judged(replace(whole, rows=tuple(lacking)))
    assert part(judged(whole), 3, "a").ruling is SUPPORTED
    access, per_flop = part(claims, 3, "a"), part(claims, 1, "a")
    assert access.ruling is NOT_MEASURED
    assert "of 1 pairs" in per_flop.evidence, "those without it are left"
    for one in (access, per_flop):
        said = f"The counts of {V1} are partial, and are left out: no formula for aten.foo."
        assert said in one.evidence


@pytest.mark.parametrize(
    ("changed", "letter", "ruling"),
    [
        ({}, "a", SUPPORTED),
        ({"doubling": 2}, "a", IN_PART),
        ({"shuffled": 0, "split": 0, "equal": 0, "whole": 0, "doubling": 0}, "a", NOT_SUPPORTED),
        ({}, "b", SUPPORTED),
        ({"pointwise_equal": 33}, "b", IN_PART),
        ({"adding": 16}, "b", IN_PART),
        ({"pointwise_equal": 0, "grouped": 54, "adding": 16}, "b", NOT_SUPPORTED),
        ({}, "c", SUPPORTED),
        ({"reused": 12}, "c", IN_PART),
        ({"reused": 0}, "c", NOT_SUPPORTED),
        ({"splitting": 0, "reused": 0}, "c", NOT_SUPPORTED),
    ],
)
def test_what_the_unit_does(changed: dict[str, int], letter: str, ruling: Ruling) -> None:
    assert part(judged(facts=replace(FACTS, **changed)), 4, letter).ruling is ruling


@pytest.mark.parametrize(("time", "ruling"), [(0.9, SUPPORTED), (0.5, NOT_SUPPORTED)])
def test_cost_against_densenet(time: float, ruling: Ruling) -> None:
    found = part(judged(report({V2: 0.6, DENSENET: time})), 4, "d")
    assert found.ruling is ruling
    (figures,) = found.figures.values()
    assert figures["ratio"] == pytest.approx(time / 0.6, rel=1e-3)


def test_an_x86_processor_is_neither_a_gpu_nor_arm() -> None:
    claim = judged(report(RIVALS))[4]
    assert [one.ruling for one in claim.parts] == [NOT_TESTABLE, NOT_TESTABLE, ASIDE]
    assert claim.ruling is NOT_TESTABLE
    assert "mobilenetv2-x0.6 +25.0%" in claim.parts[2].evidence


@pytest.mark.parametrize(
    ("times", "ruling"),
    [
        (RIVALS, SUPPORTED),
        ({**RIVALS, V1: 0.6}, IN_PART),
        ({V2: 0.6, V1: 0.5, XCEPTION: 0.5, MOBILE_V2: 0.5}, NOT_SUPPORTED),
    ],
)
def test_speed_on_a_gpu(times: Mapping[str, float], ruling: Ruling) -> None:
    claim = judged(report(times, settings=CUDA))[4]
    assert [one.ruling for one in claim.parts] == [ruling, NOT_TESTABLE]


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "armv7l"])
@pytest.mark.parametrize(
    ("times", "ruling"),
    [
        ({V2: 0.6, V1: 0.62, XCEPTION: 0.61, MOBILE_V2: 0.75}, SUPPORTED),
        ({V2: 0.6, V1: 0.9, XCEPTION: 0.61, MOBILE_V2: 0.75}, IN_PART),
        ({V2: 0.6, V1: 0.9, XCEPTION: 0.9, MOBILE_V2: 0.6}, NOT_SUPPORTED),
    ],
)
def test_speed_on_arm(machine: str, times: Mapping[str, float], ruling: Ruling) -> None:
    claim = judged(report(times, machine=machine))[4]
    assert [one.ruling for one in claim.parts] == [NOT_TESTABLE, ruling]


def test_a_rival_that_was_not_timed_is_named() -> None:
    claim = judged(report({V2: 0.6, V1: 0.7}, settings=CUDA))[4]
    assert claim.parts[0].ruling is NOT_MEASURED
    assert "mobilenetv2-x0.6" in claim.parts[0].evidence


def test_reports_of_two_devices() -> None:
    both = {"cpu.json": report(RIVALS), "gpu.json": report(RIVALS, settings=CUDA)}
    claim = judge_claims(Evidence.of(both, {}, {}), FACTS)[4]
    assert [one.ruling for one in claim.parts] == [SUPPORTED, NOT_TESTABLE, ASIDE]


def test_squeeze_and_excitation_builds_runs_and_costs() -> None:
    found = part(judged(report({V2: 0.6, V2_SE: 0.66})), 6, "a")
    assert found.ruling is SUPPORTED
    assert "time +10.0%" in found.evidence


def test_squeeze_and_excitation_that_fails() -> None:
    made = report({V2: 0.6, V2_SE: 0.66})
    failed = replace(made.rows[2], status="failed", reason="no such layer")
    untimed = replace(made.comparisons[1], process_log_ratios=(), verdict="INVALID", ratio=None)
    pairs = (made.comparisons[0], untimed)
    found = part(judged(replace(made, rows=(*made.rows[:2], failed), comparisons=pairs)), 6, "a")
    assert found.ruling is NOT_SUPPORTED
    assert "no such layer" in found.evidence
