"""The article's claims, each divided into what can be tested, and a ruling on every part.

A ruling is made from verdicts (`detrbench.reports.verdicts`) on intervals, from exact counts, or
from looking at the built network; never from a figure without its interval. What needs hardware or
weights that are not there is "not testable here", and what nobody has measured yet is
"not measured", with the command that does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import combinations
from typing import Any

from detrbench.core.units import show_change, show_part
from detrbench.experiments.claims.evidence import Bench, Evidence
from detrbench.experiments.claims.unit import UnitFacts
from detrbench.experiments.guidelines.rules import Answer, Finding, findings
from detrbench.reports.report import Report
from detrbench.reports.settings import settings_text
from detrbench.reports.verdicts import Judgement, Verdict

RUN_RIVALS = "run `detrbench run rivals` and give its run.json as --rivals"
RUN_ARTICLE = "run `detrbench run article` and give its run.json as --article"
RUN_GUIDELINES = "run `detrbench guidelines -o guidelines.json` and give it as --guidelines"

ABOUT_EQUAL = 0.10
"""What claim 5's "about equal" is taken to mean. The article gives no figure; in the paper's table
8, at 1x on ARM, ShuffleNetV1 is 11 % and Xception 20 % slower than ShuffleNetV2."""

V2, V2_SE, V1 = "shufflev2", "shufflev2-se", "shufflev1"
MOBILE_V2, XCEPTION, DENSENET = "mobilenetv2-x0.6", "xception", "densenet"


class Ruling(str, Enum):
    """What the evidence says of a claim or of a part of one."""

    SUPPORTED = "supported"
    IN_PART = "supported in part"
    NOT_SUPPORTED = "not supported"
    INCONCLUSIVE = "inconclusive here"
    NOT_MEASURED = "not measured"
    NOT_TESTABLE = "not testable here"
    ASIDE = "measured, not claimed"


@dataclass(frozen=True)
class Part:
    """One testable thing that a claim says."""

    text: str
    ruling: Ruling
    evidence: str  # a sentence or two, whose numbers are those of `figures`
    figures: dict[str, Any] = field(default_factory=dict)  # ratios and counts in full precision


@dataclass(frozen=True)
class Claim:
    """One of the article's numbered claims."""

    number: int
    text: str
    parts: tuple[Part, ...]

    @property
    def ruling(self) -> Ruling:
        return combine([part.ruling for part in self.parts])


def combine(rulings: Iterable[Ruling]) -> Ruling:
    """The ruling on several things that are claimed together.

    One that is supported beside any that is not makes it supported in part; without any, the worst
    is said. What was measured but not claimed changes nothing.
    """
    found = {ruling for ruling in rulings if ruling is not Ruling.ASIDE}
    if len(found) == 1:
        return found.pop()
    if found & {Ruling.SUPPORTED, Ruling.IN_PART}:
        return Ruling.IN_PART
    order = (Ruling.NOT_SUPPORTED, Ruling.INCONCLUSIVE, Ruling.NOT_MEASURED)
    return next((ruling for ruling in order if ruling in found), Ruling.NOT_TESTABLE)


def judge_claims(evidence: Evidence, unit: UnitFacts) -> tuple[Claim, ...]:
    """All six claims, held against `evidence` and against what the built unit does."""
    rivals, guideline = evidence.rivals, partial(_guideline, evidence.guidelines)
    alike = [bench for bench in evidence.article if bench.has(bench.baseline)]
    return (
        Claim(
            1,
            "FLOPs alone do not describe a model's cost: memory access cost and parallelism are "
            "left out",
            (
                _over(rivals, "models differ in time per FLOP", _time_per_flop),
                guideline("G1", "memory access costs time at equal FLOPs"),
                guideline("G3", "lost parallelism costs time at equal FLOPs"),
            ),
        ),
        Claim(
            2,
            "With ShuffleNetV2 the detector runs more efficiently while keeping its accuracy",
            (
                _over(alike, "the detector takes less time", _saves_time, V2, hint=RUN_ARTICLE),
                Part(
                    "it keeps its accuracy",
                    Ruling.NOT_TESTABLE,
                    "Accuracy takes weights trained on a data set; the weights here are random.",
                ),
            ),
        ),
        Claim(
            3,
            "ShuffleNetV1's pointwise group convolutions and bottlenecks raise memory access cost; "
            "too many groups and element-wise additions hurt",
            (
                _over(
                    rivals, "ShuffleNetV1 accesses more memory per FLOP than V2", _access, V1, V2
                ),
                guideline("G2", "many groups cost time"),
                guideline("G1", "bottlenecks, of unequal widths, cost time at equal FLOPs"),
                guideline("G4", "element-wise operations cost time"),
            ),
        ),
        Claim(
            4,
            "The v2 unit follows the guidelines, and reuses half of the features as DenseNet does, "
            "at lower cost",
            (
                *_unit(unit),
                _over(rivals, "at lower cost than DenseNet", _cost_of_densenet, DENSENET, V2),
            ),
        ),
        Claim(
            5,
            "ShuffleNetV2 is clearly faster on GPU than MobileNetV2, ShuffleNetV1 and Xception; on "
            "ARM, V1, Xception and V2 are about equal and MobileNetV2 is slower",
            tuple(_speed_by_device(rivals)),
        ),
        Claim(
            6,
            "It combines with squeeze-and-excitation",
            (_over(rivals, "it builds, runs, and costs", _cost_of_se, V2_SE, V2),),
        ),
    )


_Found = tuple[Ruling, str, dict[str, Any]]
"""What one bench says of a part: as the `Part` has it, without its text."""


# --- claim 1: is time proportional to FLOPs? -----------------------------------------------------


@dataclass(frozen=True)
class _Couple:
    """Two models of a bench: FLOPs, time and time per FLOP of the first over the second's."""

    model: str
    other: str
    flops: float
    time: Judgement
    per_flop: Judgement


def _time_per_flop(bench: Bench) -> _Found:
    couples = list(_couples(bench))
    apart = (Verdict.FASTER, Verdict.SLOWER)
    differing = [one for one in couples if one.per_flop.verdict in apart]
    if not differing:
        alike = couples and all(one.per_flop.verdict is Verdict.EQUIVALENT for one in couples)
        return (
            Ruling.NOT_SUPPORTED if alike else Ruling.INCONCLUSIVE,
            f"{_on(bench)}, none of {len(couples)} pairs of models is shown to differ in time per "
            f"FLOP{_because(*(one.per_flop for one in couples))}.",
            {},
        )
    widest = max(differing, key=lambda one: abs(math.log(one.per_flop.ratio or 1)))
    against = sorted(
        (one for one in couples if one.flops < 1 and one.time.verdict is Verdict.SLOWER),
        key=lambda one: -(one.time.ratio or 1),
    )
    said = (
        f"{_on(bench)}, {len(differing)} of {len(couples)} pairs of models differ in time per "
        f"FLOP, most of all {widest.model} against {widest.other}: {_change(widest.per_flop)}."
    )
    if against:
        first = against[0]
        said += (
            f" {len(against)} are in opposite orders by FLOPs and by time, such as {first.model} "
            f"against {first.other}: FLOPs {show_change(first.flops)}, time {_change(first.time)}."
        )
    figures = {
        "pairs": len(couples),
        "differing": len(differing),
        "against_flops": [[one.model, one.other] for one in against],
        "widest": {"model": widest.model, "other": widest.other, **_figures(widest.per_flop)},
    }
    return Ruling.SUPPORTED, said, figures


def _couples(bench: Bench) -> Iterator[_Couple]:
    """Every pair of models, the one with fewer FLOPs first. Intervals are so much wider that all
    of them together miss in 5 % of runs at most; time and time per FLOP share theirs."""
    names = [name for name in bench.models if name in bench.rows]
    pairs = list(combinations(names, 2))
    for one, two in pairs:
        flops = bench.cost(one, two, "flops")
        if flops is None:
            continue
        model, other = (two, one) if flops > 1 else (one, two)
        flops = min(flops, 1 / flops)
        time, per_flop = (
            bench.versus(model, other, per=per, tests=len(pairs)) for per in (1.0, flops)
        )
        yield _Couple(model, other, flops, time, per_flop)


# --- claims 2 and 3 ------------------------------------------------------------------------------


def _saves_time(bench: Bench) -> _Found:
    judged = bench.versus(V2, bench.baseline)
    counts = _counts(bench, V2, bench.baseline, FLOPs="flops", parameters="params")
    return (
        _ruling(judged, Verdict.FASTER),
        f"{_on(bench)}, {V2} against {bench.baseline}: {_time(judged, counts)}",
        _figures(judged),
    )


def _access(bench: Bench) -> _Found:
    flops, access = (bench.cost(V1, V2, key) for key in ("flops", "memory_access_elements"))
    judged = bench.versus(V1, V2)
    if flops is None or access is None:
        return Ruling.NOT_MEASURED, "The report holds no whole counts of both.", {}
    return (
        Ruling.SUPPORTED if access > flops else Ruling.NOT_SUPPORTED,
        f"{_on(bench)}, the detector with {V1} against that with {V2}: memory access "
        f"{show_change(access)}, FLOPs {show_change(flops)} (counted), so that memory access per "
        f"FLOP is {show_change(access / flops)}; {_time(judged)}",
        {"flops": flops, "memory_access_elements": access, **_figures(judged)},
    )


# --- claim 4 -------------------------------------------------------------------------------------


def _unit(facts: UnitFacts) -> Iterator[Part]:
    figures = dataclasses.asdict(facts)
    one, two = facts.splitting, facts.down
    yield Part(
        "split, three equal convolutions and shuffle; no split and doubled channels when halving",
        _all_of(
            (facts.split, one), (facts.equal, one), (facts.shuffled, one),
            (facts.whole, two), (facts.doubling, two),
        ),
        f"Of {one} units of stride 1 in {V2}, {facts.split} split their input in half, "
        f"{facts.equal} have three convolutions of one width and {facts.shuffled} interleave the "
        f"halves. Of {two} that halve the map, {facts.whole} read every channel in both branches "
        f"and {facts.doubling} double the channels.",
        figures,
    )  # fmt: skip
    yield Part(
        "it follows the guidelines",
        _all_of(
            (facts.pointwise_equal, facts.pointwise),
            (facts.convolutions - facts.grouped, facts.convolutions),
            (one + two - facts.adding, one + two),
        ),
        f"{facts.pointwise_equal} of {facts.pointwise} 1x1 convolutions are of equal widths (G1), "
        f"{facts.grouped} of {facts.convolutions} convolutions are in groups without being "
        f"depthwise (G2), and {facts.adding} of {one + two} units add element by element (G4).",
        figures,
    )
    yield Part(
        "half of the features are reused directly",
        _all_of((facts.reused, one)),
        f"{facts.reused} of {one} units of stride 1 hand half of their channels on, bit for bit.",
        figures,
    )


def _cost_of_densenet(bench: Bench) -> _Found:
    judged = bench.versus(DENSENET, V2)
    counts = _counts(bench, DENSENET, V2, FLOPs="flops")
    return (
        _ruling(judged, Verdict.SLOWER),
        f"{_on(bench)}, the detector with {DENSENET} against that with {V2}: "
        f"{_time(judged, counts)}",
        _figures(judged),
    )


# --- claim 5 -------------------------------------------------------------------------------------

_THREE = (MOBILE_V2, V1, XCEPTION)


def _speed_by_device(benches: Sequence[Bench]) -> Iterator[Part]:
    gpus = [bench for bench in benches if bench.is_gpu]
    arms = [bench for bench in benches if bench.is_arm]
    others = [bench for bench in benches if not (bench.is_gpu or bench.is_arm)]
    for text, able, judge, without in (
        (
            "on GPU it is faster than MobileNetV2, ShuffleNetV1 and Xception",
            gpus,
            _all_slower,
            "No report of rivals is of a GPU. With one: detrbench run rivals --device cuda.",
        ),
        (
            "on ARM V1 and Xception are about equal to it, and MobileNetV2 is slower",
            arms,
            _arm,
            "No report of rivals is of an ARM processor. On one: detrbench run rivals.",
        ),
    ):
        untested = Part(text, Ruling.NOT_TESTABLE, without)
        yield _over(able, text, judge, *_THREE, V2) if able else untested
    if others:
        text = "on this processor, of which the article says nothing, it is faster than the three"
        part = _over(others, text, _all_slower, *_THREE, V2)
        measured = part.ruling is not Ruling.NOT_MEASURED
        yield dataclasses.replace(part, ruling=Ruling.ASIDE) if measured else part


def _all_slower(bench: Bench) -> _Found:
    return _each(bench, dict.fromkeys(_THREE, (Verdict.SLOWER, None)))


def _arm(bench: Bench) -> _Found:
    equal = (Verdict.EQUIVALENT, ABOUT_EQUAL)
    wanted = {V1: equal, XCEPTION: equal, MOBILE_V2: (Verdict.SLOWER, None)}
    ruling, said, figures = _each(bench, wanted)
    return ruling, f"{said} About equal means within {show_part(ABOUT_EQUAL)}.", figures


def _each(bench: Bench, wanted: Mapping[str, tuple[Verdict, float | None]]) -> _Found:
    """Several rivals against V2, each with the verdict that is claimed of it and its margin."""
    judged = {name: bench.versus(name, V2, margin=margin) for name, (_, margin) in wanted.items()}
    changes = ", ".join(f"{name} {_change(one)}" for name, one in judged.items())
    return (
        combine(_ruling(judged[name], verdict) for name, (verdict, _) in wanted.items()),
        f"{_on(bench)}, time of whole detectors of one neck and head against {V2}: {changes}"
        f"{_because(*judged.values())}.",
        {name: _figures(one) for name, one in judged.items()},
    )


# --- claim 6 -------------------------------------------------------------------------------------


def _cost_of_se(bench: Bench) -> _Found:
    row = bench.rows[V2_SE]
    judged = bench.versus(V2_SE, V2)
    if row.status == "failed":
        return Ruling.NOT_SUPPORTED, f"{_on(bench)}, {V2_SE} failed: {row.reason}.", {}
    if judged.ratio is None:
        why = f"{_on(bench)}, {V2_SE} has no time{_because(judged)}."
        return Ruling.INCONCLUSIVE, why, {}
    counts = _counts(bench, V2_SE, V2, parameters="params")
    return (
        Ruling.SUPPORTED,
        f"{_on(bench)}, {V2_SE} builds and runs; against {V2}: {_time(judged, counts)}",
        _figures(judged),
    )


# --- the guidelines' experiments -----------------------------------------------------------------

_OF_ANSWER = {
    Answer.HOLDS: Ruling.SUPPORTED,
    Answer.DOES_NOT_HOLD: Ruling.NOT_SUPPORTED,
    Answer.INCONCLUSIVE: Ruling.INCONCLUSIVE,
}


def _guideline(reports: Sequence[Report], name: str, text: str) -> Part:
    """What the experiments on one guideline say, on every device that there is a report of."""
    found = [one for report in reports for one in findings(report) if one.guideline.name == name]
    if not found:
        return Part(text, Ruling.NOT_MEASURED, f"Not measured: {RUN_GUIDELINES}.")
    return Part(
        text,
        combine(_OF_ANSWER[one.answer] for one in found),
        " ".join(f"{_on_machine(one)}: {one.sentence()}" for one in found),
        {
            _on_machine(one): {
                trial.column: {label: pair.ratio for label, pair in trial.pairs.items()}
                for trial in one.trials
            }
            for one in found
        },
    )


def _on_machine(finding: Finding) -> str:
    return _place(finding.trials[0].cells[0].settings)


# --- words and rulings ---------------------------------------------------------------------------


def _over(
    benches: Sequence[Bench],
    text: str,
    judge: Callable[[Bench], _Found],
    *models: str,
    hint: str = RUN_RIVALS,
) -> Part:
    """The ruling of every bench that has all of `models`, together."""
    able = [bench for bench in benches if bench.has(*models)]
    if not able:
        lacking = f"no report has timed all of {', '.join(models)}; " if benches else ""
        return Part(text, Ruling.NOT_MEASURED, f"Not measured: {lacking}{hint}.")
    rulings, said, figures = zip(*map(judge, able), strict=True)
    by_bench = dict(zip(map(_on, able), figures, strict=True))
    partial_counts = dict.fromkeys(each for bench in able for each in _lacking(bench, models))
    return Part(text, combine(rulings), " ".join((*said, *partial_counts)), by_bench)


def _lacking(bench: Bench, models: Sequence[str]) -> Iterator[str]:
    """Sentences on those of `models`, or of all where none is named, that are not wholly counted.
    No ruling rests on their counts."""
    for name, why in bench.partial.items():
        if name in (models or bench.models):
            yield f"The counts of {name} are partial, and are left out: {why}."


def _ruling(judged: Judgement, claimed: Verdict) -> Ruling:
    """Of a claim that a comparison's verdict is `claimed`."""
    if judged.verdict is claimed:
        return Ruling.SUPPORTED
    return Ruling.NOT_SUPPORTED if judged.verdict.final else Ruling.INCONCLUSIVE


def _all_of(*counts: tuple[int, int]) -> Ruling:
    """Of a claim that all of several things have a property: how many have it, of how many."""
    if all(have == of > 0 for have, of in counts):
        return Ruling.SUPPORTED
    return Ruling.IN_PART if any(have for have, _ in counts) else Ruling.NOT_SUPPORTED


def _on(bench: Bench) -> str:
    return _place(bench.settings, bench.machine)


def _place(settings: Mapping[str, Any], machine: str = "") -> str:
    """Such as "On cpu (x86_64), image 320x320, batch 1"."""
    told = ("imgsz", "batch", "fused", "dtype", "memory_format", "runtime", "threads")
    details = settings_text({name: settings[name] for name in told if name in settings})
    device = str(settings.get("device", "cpu"))
    at = f" ({machine})" if machine and device == "cpu" else ""
    return ", ".join(part for part in (f"On {device}{at}", details) if part)


def _change(judged: Judgement) -> str:
    """Such as "+12.3% (+10.0% to +14.7%, SLOWER)"."""
    if judged.ratio is None:
        return f"n/a ({judged.verdict.value})"
    interval = judged.interval
    ends = f"{show_change(interval.low)} to {show_change(interval.high)}, " if interval else ""
    return f"{show_change(judged.ratio)} ({ends}{judged.verdict.value})"


def _time(judged: Judgement, counts: str = "") -> str:
    """The end of a sentence: by how much time changes, and `counts`; why it may say nothing."""
    return f"time {_change(judged)}{counts}{_because(judged)}."


def _counts(bench: Bench, model: str, other: str, **keys: str) -> str:
    """Such as ", FLOPs -41.8%"; nothing of what was not counted."""
    ratios = {words: bench.cost(model, other, key) for words, key in keys.items()}
    return "".join(f", {words} {show_change(one)}" for words, one in ratios.items() if one)


def _because(*judged: Judgement) -> str:
    """Why a verdict says nothing, each reason once."""
    reasons = dict.fromkeys(
        reason for one in judged if not one.verdict.final for reason in one.reasons
    )
    return f" (because {'; '.join(reasons)})" if reasons else ""


def _figures(judged: Judgement) -> dict[str, Any]:
    interval = judged.interval
    return {
        "ratio": judged.ratio,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "verdict": judged.verdict.value,
    }
