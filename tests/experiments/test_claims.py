"""Rulings on the article's claims, from reports that nobody measured."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench.cli import main
from detrbench.core.errors import UsageError
from detrbench.experiments.claims.evidence import Bench, Evidence, benches
from detrbench.experiments.claims.rules import (
    DENSENET,
    MOBILE_V2,
    V1,
    V2,
    V2_SE,
    XCEPTION,
    Claim,
    Part,
    Ruling,
    combine,
    judge_claims,
)
from detrbench.experiments.claims.unit import UnitFacts, facts_of
from detrbench.models.nn.shufflenet import ShuffleV2Unit
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import Verdict, judge

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
            {
                "baseline": BASE,
                "model": name,
                "settings": {**settings, "nc": 80},
                "ratio": judged.ratio,
                "verdict": judged.verdict.value,
                "reasons": list(judged.reasons),
                "margin": 0.02,
                "confidence": 0.95,
                "process_log_ratios": logs,
            }
        )
    environment = {"platform": f"Linux 6.1 {machine}", "processor": "imaginary"}
    return Report(rows, environment, tuple(comparisons), title="Rivals", created="2026-01-01")


def guidelines_report(verdict: str, *names: str) -> Report:
    """A report of one experiment on each guideline, in which every row has the same verdict."""
    labels = {"G1": "1:12", "G2": "g=8", "G3": "4 in series", "G4": "neither"}
    rows, comparisons = [], []
    for name in names:
        for label in ("first", labels[name], *(["4 in parallel"] if name == "G3" else [])):
            settings = {"device": "cpu", "guideline": name, "experiment": "x1", "network": label}
            rows.append(Result(f"guideline:{name}/{label}", label, settings, {}))
            if label != "first":
                comparisons.append(
                    {
                        "baseline": f"guideline:{name}/first",
                        "model": f"guideline:{name}/{label}",
                        "settings": settings,
                        "ratio": 1.3,
                        "ci_low": 1.2,
                        "ci_high": 1.4,
                        "verdict": verdict,
                        "reasons": ["as fabricated"],
                        "process_log_ratios": [0.1] * 6,
                    }
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


# --- nothing measured ---------------------------------------------------------------------------


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


# --- claim 1 ------------------------------------------------------------------------------------


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


# --- claim 2 ------------------------------------------------------------------------------------


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


def test_five_processes_are_too_few_for_any_ruling() -> None:
    found = part(judged(article=report({V2: 0.6}, noise=NOISE[:5])), 2, "a")
    assert found.ruling is INCONCLUSIVE
    assert "a verdict needs 6" in found.evidence


def test_the_sentence_is_made_of_the_evidence() -> None:
    counts = {BASE: {"flops": 100.0, "params": 30.0}, V2: {"flops": 58.0, "params": 18.0}}
    found = part(judged(article=report({V2: 0.6}, counts)), 2, "a")
    figures = found.figures["On cpu (x86_64), image 320x320, batch 1"]
    low, high = 100 * (figures["low"] - 1), 100 * (figures["high"] - 1)
    assert found.evidence == (
        "On cpu (x86_64), image 320x320, batch 1, shufflev2 against rtdetr-l: time -40.0% "
        f"({low:.1f}% to {high:.1f}%, FASTER), FLOPs -42.0%, parameters -40.0%."
    )


# --- claims 3 to 6 ------------------------------------------------------------------------------


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


RIVALS = {V2: 0.6, V1: 0.7, XCEPTION: 0.8, MOBILE_V2: 0.75}


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
    pairs = (made.comparisons[0], {**made.comparisons[1], "process_log_ratios": [],
             "verdict": "INVALID", "ratio": None})  # fmt: skip
    found = part(judged(replace(made, rows=(*made.rows[:2], failed), comparisons=pairs)), 6, "a")
    assert found.ruling is NOT_SUPPORTED
    assert "no such layer" in found.evidence


# --- benches ------------------------------------------------------------------------------------


def test_a_ratio_of_ratios_is_taken_process_by_process() -> None:
    made = report({V2: 0.6, V1: 0.72})
    logs = [pair["process_log_ratios"] for pair in made.comparisons]
    (bench,) = benches(made)
    assert bench.versus(V1, V2) == judge([b - a for a, b in zip(*logs, strict=True)])
    assert bench.versus(BASE, V2) == judge([-value for value in logs[0]])
    assert bench.versus(V1, V2).ratio == pytest.approx(1.2, rel=1e-3)


def test_an_invalid_side_makes_the_pair_invalid() -> None:
    made = report({V2: 0.6, V1: 0.72})
    spoilt = {**made.comparisons[0], "verdict": "INVALID", "reasons": ["throttled"]}
    (bench,) = benches(replace(made, comparisons=(spoilt, made.comparisons[1])))
    found = bench.versus(V1, V2)
    assert (found.verdict, found.reasons) == (Verdict.INVALID, ("throttled",))


def test_processes_that_only_one_model_was_in_are_no_pairs() -> None:
    made = report({V2: 0.6, V1: 0.72})
    shorter = made.comparisons[0]["process_log_ratios"][:-1]
    cut = {**made.comparisons[0], "process_log_ratios": shorter}
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


# --- the unit -----------------------------------------------------------------------------------


class Small(nn.Module):
    """A stem that makes channels of an image, and units."""

    def __init__(self, width: int, *units: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.units = nn.Sequential(*units)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.units(self.stem(images))
        return out


def test_facts_of_two_units() -> None:
    torch.manual_seed(0)
    found = facts_of(Small(8, ShuffleV2Unit(8, 24, 2), ShuffleV2Unit(24, 24, 1)))
    assert found == UnitFacts(
        splitting=1, down=1, split=1, equal=1, reused=1, shuffled=1, whole=1, doubling=0,
        pointwise=5, pointwise_equal=3, convolutions=8, grouped=0, adding=0,
    )  # fmt: skip


def test_facts_are_of_what_the_unit_does_not_of_its_name() -> None:
    class Adds(ShuffleV2Unit):
        """Nothing is split, kept or shuffled; and it adds."""

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.branch2(x[:, ::2]).repeat(1, 2, 1, 1) + x
            return out

    torch.manual_seed(0)
    found = facts_of(Small(8, Adds(8, 8, 1)))
    assert (found.splitting, found.reused, found.shuffled, found.adding) == (1, 0, 0, 1)


def test_gates_are_convolutions_of_unequal_widths() -> None:
    found = facts_of(Small(32, ShuffleV2Unit(32, 32, 1, se=True)))
    assert (found.equal, found.pointwise, found.pointwise_equal) == (0, 4, 2)


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    made = {
        "rivals": report({**RIVALS, V2_SE: 0.66, DENSENET: 0.9}),
        "article": report({V2: 0.6}),
        "guidelines": guidelines_report("SLOWER", "G1", "G2", "G3"),
    }
    for name, each in made.items():
        each.save(tmp_path / f"{name}.json")
    return {name: str(tmp_path / f"{name}.json") for name in made}


def test_the_command_prints_claims_with_their_evidence(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word for name, file in files.items() for word in (f"--{name}", file)]
    assert main(["claims", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "6. It combines with" in printed
    assert "33 of 35 1x1 convolutions" in printed  # of the network itself
    assert f"Evidence: {files['rivals']}" in " ".join(printed.split())
    assert main(["claims", *arguments, "--format", "json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [claim["number"] for claim in plain["claims"]] == [1, 2, 3, 4, 5, 6]
    assert {each["file"] for each in plain["evidence"]} == set(files.values())
    assert main(["claims", *arguments, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["verdict"] for row in rows} <= {ruling.value for ruling in Ruling}
    assert len(rows) == sum(len(claim["parts"]) for claim in plain["claims"])


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "html"])
def test_the_command_in_every_format(
    format: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", "--rivals", files["rivals"], "--format", format]) == 0
    assert "not testable here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rivals", "none.json"], ["none.json", "cannot be read"]),
        (["--rivals", "{article}", "--article", "{guidelines}"], ["no comparison with shufflev2"]),
        (["--guidelines", "{article}"], ["article.json: the report has no rows of the guidelines"]),
        (["--format", "tabel"], ["--format", "table?"]),
    ],
)
def test_usage_errors(
    arguments: list[str],
    words: list[str],
    files: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["claims", *(each.format(**files) for each in arguments)]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


# --- the suite ------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Report]:
    """What each part of the suite would find; a part that is asked for says so in `asked`."""
    rows = (Result("n", "n", {**CPU, "guideline": "G1", "experiment": "x1", "network": "1:1"}, {}),)
    found = {
        "article": report({V2: 0.6}),
        "rivals": report({V2: 0.6, V1: 0.7}),
        "guidelines": replace(report({V2: 1.1}), rows=rows),
    }

    def run(suite: Any, *, output: Path, **_: Any) -> Report:
        assert {setting.device for setting in suite.settings} == {"cpu"}
        output.mkdir(parents=True, exist_ok=True)
        found[suite.name].save(output / "run.json")
        return found[suite.name]

    def guidelines(*, device: str, folder: Path, **_: Any) -> Report:
        folder.mkdir(parents=True)
        return found["guidelines"]

    monkeypatch.setattr("detrbench.experiments.suites.run", run)
    monkeypatch.setattr("detrbench.experiments.claims.measuring.measure_guidelines", guidelines)
    return found


def run_claims(folder: Path, *more: str) -> int:
    return main(["run", "claims", "-o", str(folder), *more])


def test_the_suite_measures_each_part_once_and_rules(
    measured: dict[str, Report],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    assert run_claims(tmp_path) == 0
    printed = capsys.readouterr()
    for file in ("claims.md", "rivals/run.json", "guidelines/table.md"):
        assert f"wrote {tmp_path}/{file}" in printed.err
    assert "notes.txt" not in printed.err  # what lies deeper is not of this run
    assert (tmp_path / "guidelines" / "table.md").is_file()
    assert not (tmp_path / "guidelines" / "processes").exists()
    rulings = json.loads((tmp_path / "claims.json").read_text())
    assert len(rulings["claims"]) == 6
    assert len(rulings["evidence"]) == 3
    assert "takes less time" in (tmp_path / "claims.md").read_text()

    monkeypatch.setattr("detrbench.experiments.suites.run", None)  # not called again
    monkeypatch.setattr("detrbench.experiments.claims.measuring.measure_guidelines", None)
    assert run_claims(tmp_path) == 0
    again = capsys.readouterr()
    assert again.out == printed.out
    assert "rivals: kept" in again.err


def test_an_interrupted_suite_rules_on_what_it_has_and_goes_on(
    measured: dict[str, Report], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = measured["rivals"]
    cut = tuple(replace(row, status="interrupted", reason="Ctrl-C") for row in whole.rows)
    measured["rivals"] = Report(cut)
    assert run_claims(tmp_path) == 130
    assert not (tmp_path / "guidelines").exists()
    rulings = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert rulings[1]["verdict"] == "supported in part"
    assert {part["verdict"] for part in rulings[0]["parts"]} == {"not measured"}

    measured["rivals"] = whole
    capsys.readouterr()
    assert run_claims(tmp_path) == 0
    told = capsys.readouterr().err
    assert "article: kept" in told
    assert "rivals: kept" not in told


def test_parts_of_another_device_are_not_taken_for_this_one(
    measured: dict[str, Report], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "article").mkdir()
    report({V2: 0.6}, settings=CUDA).save(tmp_path / "article" / "run.json")
    assert run_claims(tmp_path) == 2
    told = capsys.readouterr().err
    for word in ("article/run.json", "cuda:0", "-o"):
        assert word in told
