"""Scenarios by rule: two true reports of one machine, of which one to four things are changed, with
the exit code that follows from what was changed. None passes that should not.

DETRBENCH_FUZZ=N tries N scenarios with other seeds, for as long as that takes.
"""

from __future__ import annotations

import copy
import json
import math
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from detrbench.cli import main
from detrbench.core.stats import median, quantile
from detrbench.reports.report import Report, ReportError
from detrbench.reports.soundness import contradictions
from detrbench.reports.verdicts import judge
from tests.compare.gates import Plain
from tests.mutants import LONGER

SCENARIOS = int(os.environ.get("DETRBENCH_FUZZ", "100"))
FIRST_SEED = 10_000 if LONGER else 0
CHUNK = 25  # scenarios of one test

SAVED = Path(__file__).parents[3] / "reports"
REFERENCE, MODEL = "rtdetr-l", "shufflev2"
LIMIT = "10%"
"""The two runs differ by 1.9 % (-2 to +6), so that they pass this as they are."""

JUDGED = (
    "params", "flops_thop", "memory_access_elements", "traffic_eager_bytes", "traffic_fused_bytes",
    "peak_activation_bytes", "kernels",
)  # fmt: skip
"""Counts that the table of these reports shows."""

NOT_JUDGED = ("traffic_min_bytes", "elementwise_flops", "flops_fvcore")

PASS, WORSE, OPEN, INVALID = 0, 1, 3, 4


def _true(name: str) -> Plain:
    file = SAVED / f"2026-11-24-amd-epyc-2cpu-{name}" / "run.json"
    plain: Plain = json.loads(file.read_text(encoding="utf-8"))
    for row in plain["rows"]:
        row["published"] = []
    return plain


THEN, NOW = _true("article"), _true("article-2")


@dataclass
class Scene:
    """Two reports, the flags, and what each check must come to by itself.

    Attributes:
        codes: check -> its exit code; a count's check is (model, key), that of time ("time",).
        unreadable: whether one of the reports is none.
        factor: by which the model's time grew, beside the 1.9 %.
        limits: metric -> the largest value allowed, of `named` models or of all.
    """

    base: Plain = field(default_factory=lambda: copy.deepcopy(THEN))
    now: Plain = field(default_factory=lambda: copy.deepcopy(NOW))
    flags: list[str] = field(default_factory=list)
    codes: dict[tuple[str, ...], int] = field(
        default_factory=lambda: {
            ("time",): PASS,
            **{(model, key): PASS for model in (REFERENCE, MODEL) for key in JUDGED},
        }
    )
    unreadable: bool = False
    factor: float = 1.0
    limits: dict[str, float] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def spoil_time(self) -> None:
        if ("time",) in self.codes:
            self.codes["time",] = INVALID

    def drop(self, *models: str) -> None:
        """Checks that are not made, for there is nothing to compare."""
        self.codes = {
            check: code
            for check, code in self.codes.items()
            if check[0] not in models and not (check[0] == "time" and MODEL in models)
        }

    @property
    def expected(self) -> int:
        if self.unreadable or any(map(_contradicts_itself, (self.base, self.now))):
            return INVALID
        codes = {*self.codes.values(), *self._of_limits()}
        return next(code for code in (WORSE, INVALID, OPEN, PASS) if code in codes)

    def _of_limits(self) -> list[int]:
        rows = {one["model"]: one for one in self.now["rows"]}
        missing = [INVALID for name in self.named if name not in rows]
        return missing + [
            INVALID
            if row["metrics"].get(key) is None
            else WORSE
            if row["metrics"][key] > limit
            else PASS
            for name, row in rows.items()
            if row["status"] == "ok" and (not self.named or name in self.named)
            for key, limit in self.limits.items()
        ]


Change = Callable[[Scene, random.Random], str]


def _contradicts_itself(plain: Plain) -> bool:
    """Such as a part that has grown beyond its whole: `tests/reports/test_soundness.py`."""
    try:
        report = Report.from_json(json.dumps(plain))
    except ReportError:
        return True
    return any(contradictions(report.rows, report.comparisons, report.environment))


def row(plain: Plain, model: str = MODEL) -> Plain:
    found: Plain = next(one for one in plain["rows"] if one["model"] == model)
    return found


# --- counts --------------------------------------------------------------------------------------


def put(one: Plain, key: str, value: int) -> None:
    """A count of a row, and what follows from it."""
    known = one["metrics"]
    known[key] = value
    if key == "traffic_eager_bytes":
        known["arithmetic_intensity"] = known["flops"] / value


def grow(scene: Scene, rng: random.Random) -> str:
    """A count of the model is larger now, by a share that a limit allows or does not."""
    key, share = rng.choice(JUDGED), rng.choice((1e-6, 0.03, 0.2))
    before = row(scene.base)["metrics"][key]
    value = min(before + math.ceil(before * share), _most(scene.now, key))
    put(row(scene.now), key, value)
    allowed = rng.choice((None, "5%", "any"))
    if allowed is not None:
        scene.flags += ["--max-increase", f"{key}={allowed}"]
    grown = value / before - 1
    scene.codes[MODEL, key] = (
        PASS if grown <= {"5%": 0.05, "any": 9}.get(allowed or "", 0) else WORSE
    )
    return f"{key} grows by {grown:.2%}, allowed {allowed}"


def _most(plain: Plain, key: str) -> int:
    """What a value can be, beside the others of its row."""
    known = row(plain)["metrics"]
    return int(known["traffic_eager_bytes"]) if key == "traffic_fused_bytes" else 10**18


def shrink(scene: Scene, rng: random.Random) -> str:
    """A count of the model is smaller now."""
    key = rng.choice([key for key in JUDGED if key != "traffic_eager_bytes"])
    put(row(scene.now), key, int(row(scene.now)["metrics"][key] * rng.choice((0.5, 0.999))))
    return f"{key} shrinks"


def grow_unjudged(scene: Scene, rng: random.Random) -> str:
    """A count that no table shows is larger, and a policy names it or does not."""
    key = rng.choice(NOT_JUDGED)
    put(row(scene.now), key, int(row(scene.now)["metrics"][key] * 1.5) + 1)
    if named := rng.random() < 0.5:
        scene.flags += ["--max-increase", f"{key}=0"]
        scene.codes[MODEL, key] = WORSE
        scene.codes[REFERENCE, key] = PASS
    return f"{key} grows, {'named' if named else 'not named'}"


def lose_count(scene: Scene, rng: random.Random) -> str:
    """One side does not have a count of the model."""
    key, side = rng.choice(JUDGED), rng.choice(("base", "now"))
    one = row(getattr(scene, side))
    one["metrics"][key], one["missing"][key] = None, "not counted"
    if key == "traffic_eager_bytes":
        one["metrics"]["arithmetic_intensity"] = None
        one["missing"]["arithmetic_intensity"] = "not counted"
    scene.codes[MODEL, key] = INVALID
    return f"{key} is not in {side}"


def other_reference(scene: Scene, rng: random.Random) -> str:
    """The reference is another model, so that what it measures is no longer the same."""
    key, less = rng.choice(JUDGED), rng.random() < 0.5
    value = row(scene.now, REFERENCE)["metrics"][key]
    put(row(scene.now, REFERENCE), key, value - 1000 if less else value + 1000)
    allowed = less or f"{key}=any" in scene.flags
    scene.codes[REFERENCE, key] = PASS if allowed else WORSE
    scene.spoil_time()
    return f"{key} of the reference {'shrinks' if less else 'grows'}"


# --- time ----------------------------------------------------------------------------------------


def scaled(plain: Plain, model: str, factor: float) -> None:
    """Every sample of a model, and what follows from them."""
    one = row(plain, model)
    for channel in ("latency_s", "warmup_latency_s"):
        all_of_it = one["samples"][channel]
        one["samples"][channel] = [[sample * factor for sample in each] for each in all_of_it]
    one["samples"]["first_latency_s"] = [
        each * factor for each in one["samples"]["first_latency_s"]
    ]
    known = one["metrics"]
    for key in [key for key in known if key.startswith("latency") and key.endswith("_s")]:
        known[key] = known[key] and known[key] * factor
    known["images_per_s"] /= factor
    for pair in plain["comparisons"]:
        sign = (pair["model"] == model) - (pair["baseline"] == model)
        paired(pair, [each + sign * math.log(factor) for each in pair["process_log_ratios"]])


def paired(pair: Plain, log_ratios: list[float], **more: Any) -> None:
    found = judge(log_ratios)
    ends = found.interval
    pair |= {
        "ratio": found.ratio, "ci_low": ends and ends.low, "ci_high": ends and ends.high,
        "verdict": found.verdict.value, "reasons": list(found.reasons),
        "confidence": 1 - found.alpha, "process_log_ratios": log_ratios, **more,
    }  # fmt: skip


def slower(scene: Scene, rng: random.Random) -> str:
    """The model's own time is another one, in either run."""
    factor, code = rng.choice(((0.7, PASS), (0.9, PASS), (1.08, OPEN), (1.3, WORSE), (3.0, WORSE)))
    if rng.random() < 0.5:
        scaled(scene.now, MODEL, factor)
    else:
        scaled(scene.base, MODEL, 1 / factor)
    scene.factor, scene.codes["time",] = factor, code
    return f"time x {factor}"


def slow_machine(scene: Scene, rng: random.Random) -> str:
    """Everything takes longer, the reference too: the machine does."""
    factor = rng.choice((0.5, 1.5, 4.0))
    for model in (REFERENCE, MODEL):
        scaled(scene.now, model, factor)
    return f"machine x {factor}"


def strict(scene: Scene, rng: random.Random) -> str:
    """A limit that the two runs as they are cannot tell."""
    scene.flags = [flag if flag != LIMIT else "2%" for flag in scene.flags]
    if scene.codes["time",] != INVALID:
        codes = {0.7: PASS, 0.9: PASS, 1.0: OPEN}
        scene.codes["time",] = codes.get(scene.factor, WORSE)
    return "limit 2%"


def counts_only(scene: Scene, rng: random.Random) -> str:
    scene.flags = [flag for flag in scene.flags if flag not in ("--max-latency-increase", LIMIT)]
    scene.flags.append("--counts-only")
    del scene.codes["time",]
    return "counts only"


def few_processes(scene: Scene, rng: random.Random) -> str:
    """One of the runs has too few processes."""
    side, kept = rng.choice(("base", "now")), rng.choice((1, 3, 5))
    plain = getattr(scene, side)
    for one in plain["rows"]:
        for channel, values in one["samples"].items():
            if isinstance(values, list) and len(values) == 6:
                one["samples"][channel] = values[:kept]
        one["metrics"] |= _timed(one["samples"]["latency_s"])
        for key in ("latency_median_low_s", "latency_median_high_s"):
            one["missing"][key] = "too few processes"
        one["missing"] |= dict.fromkeys(_QUANTILES, "too few rounds")
    (pair,) = plain["comparisons"]
    paired(pair, pair["process_log_ratios"][:kept])
    scene.spoil_time()
    return f"{kept} processes in {side}"


_QUANTILES = ("latency_p90_s", "latency_p95_s", "latency_p99_s")


def _timed(processes: list[list[float]]) -> Plain:
    rounds = [one for each in processes for one in each]
    middle = median([median(each) for each in processes])
    return {
        "latency_median_s": middle,
        "latency_median_low_s": None,
        "latency_median_high_s": None,
        "latency_q1_s": quantile(rounds, 0.25),
        "latency_q3_s": quantile(rounds, 0.75),
        "latency_processes": len(processes),
        "latency_samples": len(rounds),
        "images_per_s": 1 / middle,
        **dict.fromkeys(_QUANTILES),
    }


def wrong(scene: Scene, rng: random.Random) -> str:
    """One of the runs found that its own comparison means nothing."""
    side = rng.choice(("base", "now"))
    (pair,) = getattr(scene, side)["comparisons"]
    pair |= {"verdict": "INVALID", "reasons": ["the outputs have NaN"]}
    scene.spoil_time()
    return f"INVALID in {side}"


# --- machines and settings -----------------------------------------------------------------------


def other_machine(scene: Scene, rng: random.Random) -> str:
    """A fact of the environment is another one, which moves times or does not."""
    fact, value, moves = rng.choice((
        ("processor", "Xeon", True), ("torch", "2.15.0+cu130", True), ("logical_cpus", 4, True),
        ("python", "CPython 3.12.1", True), ("memory_bytes", 20_000_000_000, True),
        ("detrbench", "0.2.0", True), ("threads", 1, True), ("processor", None, True),
        ("python", "CPython 3.11.9", False), ("memory_bytes", 25_276_510_208, False),
        ("platform", "Linux 6.19.1-fc-v700 x86_64", False), ("load_average", 9.5, False),
        ("revision", "0123456789ab", False),
    ))  # fmt: skip
    scene.now["environment"][fact] = value
    if moves:
        scene.spoil_time()
    return f"{fact} is {value}"


def other_threads(scene: Scene, rng: random.Random) -> str:
    """Both models ran on one thread: counts compare, and times do not."""
    for one in (*scene.now["rows"], *scene.now["comparisons"]):
        one["settings"]["threads"] = 1
    scene.spoil_time()
    return "1 thread"


def other_size(scene: Scene, rng: random.Random) -> str:
    """Everything is of another workload: there is nothing that could be compared."""
    key, value = rng.choice((("imgsz", "320x320"), ("batch", 2), ("nc", 80), ("fused", True)))
    for one in (*scene.now["rows"], *scene.now["comparisons"]):
        one["settings"][key] = value
    if key == "batch":
        for one in scene.now["rows"]:
            one["metrics"]["images_per_s"] *= value
    scene.drop(REFERENCE, MODEL)
    scene.codes["size",] = INVALID
    return f"{key} is {value}"


def other_convention(scene: Scene, rng: random.Random) -> str:
    """The tables show other FLOPs: no count is compared, and time is."""
    for one in scene.now["rows"]:
        one["settings"]["convention"] = "fvcore"
    scene.codes = {check: code for check, code in scene.codes.items() if check == ("time",)}
    scene.codes["convention",] = INVALID
    return "another convention"


# --- rows ----------------------------------------------------------------------------------------


def gone(scene: Scene, rng: random.Random) -> str:
    """A side does not have the model."""
    side = rng.choice(("base", "now"))
    plain = getattr(scene, side)
    plain["rows"].remove(row(plain))
    plain["comparisons"] = []
    scene.drop(MODEL)
    scene.codes["gone",] = INVALID
    return f"{MODEL} is not in {side}"


def renamed(scene: Scene, rng: random.Random) -> str:
    """The model has another name now; said to be new, the old one is still missing."""
    row(scene.now)["model"] = scene.now["comparisons"][0]["model"] = "renamed"
    if rng.random() < 0.5:
        scene.flags += ["--new", "renamed"]
    scene.drop(MODEL)
    scene.codes["gone",] = INVALID
    return "renamed"


def newcomer(scene: Scene, rng: random.Random) -> str:
    """A model that the baseline does not have, said to be new or not."""
    scene.now["rows"].append({**copy.deepcopy(scene.now["rows"][0]), "model": "newcomer"})
    said = rng.random() < 0.5
    if said:
        scene.flags += ["--new", "newcomer"]
    scene.codes["newcomer",] = PASS if said else INVALID
    return f"a newcomer, {'said' if said else 'not said'} to be new"


def not_whole(scene: Scene, rng: random.Random) -> str:
    """The model's row is not ok in one of the runs."""
    side, status = rng.choice(("base", "now")), rng.choice(("failed", "interrupted", "partial"))
    plain = getattr(scene, side)
    row(plain).update(status=status, reason="out of memory")
    if status == "failed":
        empty = {"ratio": None, "ci_low": None, "ci_high": None}
        paired(plain["comparisons"][0], [], **empty, verdict="INVALID", reasons=["it failed"])
    scene.drop(MODEL)
    scene.codes["whole",] = INVALID
    return f"{status} in {side}"


def other_order(scene: Scene, rng: random.Random) -> str:
    scene.now["rows"].reverse()
    return "other order"


# --- limits and files ----------------------------------------------------------------------------


def limit(scene: Scene, rng: random.Random) -> str:
    """An absolute limit, for all models or for the one."""
    key, value, unit = rng.choice((
        ("params", 40e6, "40M"), ("params", 25e6, "25M"), ("params", 10e6, "10M"),
        ("flops_thop", 120e9, "120"), ("flops_thop", 80e9, "80"), ("flops_thop", 50e9, "50"),
        ("kernels", 1000, "1000"), ("kernels", 700, "700"),
    ))  # fmt: skip
    scene.limits[key] = value
    name = rng.choice(("flops", key)) if key == "flops_thop" else key
    scene.flags += ["--max", f"{name}={unit}"]
    if rng.random() < 0.5:
        scene.named.append(MODEL)
        scene.flags += ["--model", MODEL]
    return f"{name} at most {unit}, of {scene.named or 'all'}"


def contradiction(scene: Scene, rng: random.Random) -> str:
    """One of the files does not agree with itself."""
    side = rng.choice(("base", "now"))
    plain = getattr(scene, side)
    known, pairs = plain["rows"][0]["metrics"], plain["comparisons"]
    kind = rng.randrange(5 if pairs else 4)
    if kind == 0:
        known["params"] = -1
    elif kind == 1:
        known["macs"] += 1
    elif kind == 2:
        known["latency_median_s"] = known["latency_median_s"] * 0.99
    elif kind == 3:
        plain["rows"].append(copy.deepcopy(plain["rows"][0]))
    elif kind == 4:
        pairs[0]["verdict"] = "EQUIVALENT" if pairs[0]["verdict"] != "EQUIVALENT" else "FASTER"
    scene.unreadable = True
    return f"contradiction {kind} in {side}"


# One of each line at most, in this order: what is gone cannot change any more.
DIMENSIONS: tuple[tuple[Change, ...], ...] = (
    (grow, grow, grow, shrink, grow_unjudged, lose_count),
    (slower, slower, slow_machine, few_processes),
    (strict, counts_only),
    (other_reference,),
    (wrong,),
    (other_machine, other_machine),
    (other_threads, other_convention),
    (other_size,),
    (gone, renamed, not_whole),
    (newcomer, other_order),
    (limit,),
    (contradiction,),
)
WEIGHTS = (6, 5, 1, 2, 1, 3, 1, 1, 2, 2, 3, 1)


def scene_of(seed: int) -> Scene:
    rng = random.Random(seed)
    scene = Scene(flags=["--max-latency-increase", LIMIT])
    many = rng.choice((0, 1, 1, 1, 2, 2, 3, 4))
    drawn = {rng.choices(range(len(DIMENSIONS)), WEIGHTS)[0] for _ in range(many)}
    for index in sorted(drawn):
        scene.told.append(rng.choice(DIMENSIONS[index])(scene, rng))
    return scene


@pytest.mark.parametrize("chunk", range(-(-SCENARIOS // CHUNK)))
def test_a_scenario_ends_as_its_changes_say(
    chunk: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = FIRST_SEED + chunk * CHUNK
    faults = []
    for seed in range(first, first + CHUNK):
        scene = scene_of(seed)
        (tmp_path / "base.json").write_text(json.dumps(scene.base))
        (tmp_path / "now.json").write_text(json.dumps(scene.now))
        files = [str(tmp_path / "now.json"), "--baseline", str(tmp_path / "base.json")]
        code = main(["gate", *files, *scene.flags, "--format", "json"])
        said = capsys.readouterr()
        if code != scene.expected:
            faults.append(f"seed {seed}: {scene.told}: {code}, not {scene.expected}: {said}"[:900])
        elif json.loads(said.out)["exit_code"] != code:
            faults.append(f"seed {seed}: {scene.told}: the JSON says another exit code")
    assert not faults


def test_scenarios_are_of_every_outcome() -> None:
    first = FIRST_SEED
    ends = Counter(scene_of(seed).expected for seed in range(first, first + SCENARIOS))
    least = min(SCENARIOS, 100) // 20
    assert all(ends[code] >= least for code in (PASS, WORSE, OPEN, INVALID)), ends
