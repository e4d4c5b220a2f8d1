"""Whether what a report says agrees with itself: what follows from its samples is worked out again,
and not believed.

A file may have been edited, cut, or glued together from two. Every rule here yields places, as they
are written in the file, and what does not agree there. What a file does not hold is not asked for:
reports of schema 1 have less to say than those of today.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeGuard

from detrbench.core.errors import UsageError
from detrbench.core.stats import (
    Interval,
    median,
    median_interval,
    paired_log_ratios,
    quantile,
    too_few_for,
)
from detrbench.core.units import is_finite
from detrbench.reports.case import Case, typed
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.metrics import CONVENTION_METRICS, METRICS, Metric
from detrbench.reports.settings import SETTINGS, plain_value
from detrbench.reports.verdicts import Verdict, follows, intervals_of

Problem = tuple[str, str]
"""The place, such as rows[0].metrics.params, and what of it does not agree."""

OF_EXPERIMENTS = frozenset({"guideline", "experiment", "network"})
"""What the rows of the paper's guidelines tell apart beside settings."""

LARGEST: Mapping[str, float] = {
    "s": 1e7,  # four months
    "parameter": 1e14,
    "FLOP": 1e20,
    "MAC": 1e20,
    "B": 1e17,
    "element": 1e17,
    "count": 1e12,
    "FLOP/B": 1e9,
    "image/s": 1e9,
    "J": 1e9,
    "part": 1e3,
}
"""By unit, what no model on any machine of today comes near."""

SHORTEST_S = 1e-9
"""Clocks do not resolve less, and nothing that is timed here takes as little."""

LARGEST_LOG_RATIO = 20.0
"""A latency of five hundred million others is a fault of the file."""

SUREST = 1 - 1e-6
"""No run is more confident: the error is shared out to at most some dozen looks."""

_LEAST = {
    "logical_cpus": 1,
    "threads": 1,
    "memory_bytes": 1,
    "accelerator_memory_bytes": 1,
    "cpu_quota": 1e-3,
    "load_average": 0,
}
"""Facts of an environment that are numbers, and the smallest that each can be."""

_WHOLE = frozenset({"parameter", "FLOP", "MAC", "B", "element", "count"})
_NEAR = 1e-9  # relative: the last digits of logarithms are each machine's own


class Row(Protocol):
    """What is looked at in a row of a report."""

    @property
    def model(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def metrics(self) -> Mapping[str, int | float | None]: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def missing(self) -> Mapping[str, str]: ...
    @property
    def samples(self) -> Mapping[str, Any]: ...
    @property
    def parts(self) -> Mapping[str, Sequence[Mapping[str, Any]]]: ...
    @property
    def case(self) -> Case | None: ...


def contradictions(
    rows: Sequence[Row], pairs: Sequence[Comparison], environment: Mapping[str, Any]
) -> Iterator[Problem]:
    """What in a report does not agree with the rest of it, row by row and then between them."""
    for fact, least in _LEAST.items():
        value = environment.get(fact)
        if value is not None and not (is_finite(value) and least <= value <= LARGEST["B"]):
            yield f"environment.{fact}", f"{_shown(value)} is none"
    for index, row in enumerate(rows):
        for place, what in _of_row(row):
            yield f"rows[{index}].{place}", what
    yield from _between_rows(rows)
    for index, pair in enumerate(pairs):
        for place, what in (*_of_pair(pair), *_of_sides(pair, rows)):
            yield f"comparisons[{index}].{place}", what
    yield from _told_twice(pairs)


# --- a row ---------------------------------------------------------------------------------------


def _of_row(row: Row) -> Iterator[Problem]:
    yield from _of_settings(row.settings)
    yield from _of_case(row)
    if row.status != "ok" and not row.reason:
        yield "reason", f"the row is {row.status}, and no reason was recorded"
    if row.status == "ok" and row.reason:
        yield "reason", "the row is ok, and has a reason why it is not"
    yield from _missing(row)
    yield from _values("metrics", row.metrics)
    for key, value in row.metrics.items():  # not of parts, of which some take no time
        timed = key.startswith("latency") and key.endswith("_s")
        if timed and _numbers(row.metrics, key) and 0 <= _n(row.metrics, key) < SHORTEST_S:
            yield f"metrics.{key}", f"{value:g} s is no time that anything takes"
    for by, parts in row.parts.items():
        yield from _of_parts(by, parts, row.metrics)
    yield from _relations(row)
    yield from _of_samples(row)


def _of_settings(settings: Mapping[str, Any]) -> Iterator[Problem]:
    for key, value in settings.items():
        if key in OF_EXPERIMENTS:
            if not isinstance(value, str):
                yield f"settings.{key}", f"{_shown(value)} is not a text"
        elif key not in SETTINGS:
            yield f"settings.{key}", "there is no such setting"
        elif not _can_be(key, value):
            yield f"settings.{key}", f"{_shown(value)} is no value of it"


def _can_be(key: str, value: Any) -> bool:
    """Whether a setting may have a value; `None` leaves it open."""
    if value is None:
        return True
    if key == "convention":
        return isinstance(value, str) and value in CONVENTION_METRICS
    if not isinstance(value, str | int):
        return False
    try:
        return bool(plain_value(key, SETTINGS[key].parse(typed(key, value))) == value)
    except UsageError:
        return False


def _of_case(row: Row) -> Iterator[Problem]:
    """A row is of the model that its case is of, executed as that says."""
    if row.case is None:
        return
    if row.model != row.case.model.name:
        yield "model", f"it is not that of its case, {_shown(row.case.model.name)}"
    asked = row.case.settings()
    for key in ("imgsz", "batch", "fused", "scale", "runtime", "dtype"):
        if key in row.settings and key in asked and row.settings[key] != asked[key]:
            was = f"{_shown(row.settings[key])}, and its case was executed with "
            yield f"settings.{key}", f"{was}{_shown(asked[key])}"


def _missing(row: Row) -> Iterator[Problem]:
    for key, why in row.missing.items():
        if row.metrics.get(key) is not None:
            yield f"missing.{key}", "it has a value, and a reason why it has none"
        elif not why.strip():
            yield f"missing.{key}", "the reason is empty"
    for key, value in row.metrics.items():
        if value is None and not row.reason and key not in row.missing:
            yield f"metrics.{key}", "it has no value, and no reason why"


def _values(place: str, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Of what a table knows the unit of: numbers, and in the bounds of what they are of."""
    for key, value in values.items():
        one = METRICS.get(key)
        if one is None or value is None:
            continue
        if problem := _of_value(one, value):
            yield f"{place}.{key}", problem
    ends = [
        (low, key, high)
        for low, key, high in _ORDERED
        if None not in (values.get(low), values.get(key), values.get(high))
    ]
    for low, key, high in ends:
        if _numbers(values, low, key, high) and not values[low] <= values[key] <= values[high]:
            yield f"{place}.{key}", f"it is not between {low} and {high}"


def _of_parts(
    by: str, parts: Sequence[Mapping[str, Any]], whole: Mapping[str, Any]
) -> Iterator[Problem]:
    """Parts have a name each, and their counts add up; parameters that nothing uses are of none."""
    seen: dict[str, int] = {}
    for index, part in enumerate(parts):
        yield from _values(f"parts.{by}[{index}]", part)
        if seen.setdefault(part["part"], index) != index:
            yield f"parts.{by}[{index}].part", f"it repeats parts.{by}[{seen[part['part']]}]"
    for key in _ADDITIVE:
        counts = [part[key] for part in parts if is_finite(part.get(key))]
        if counts and _numbers(whole, key) and sum(counts) != whole[key]:
            yield f"parts.{by}", f"{key} adds up to {sum(counts)}, and is {whole[key]} of the whole"


def _of_value(one: Metric, value: Any) -> str | None:
    if not is_finite(value):
        return f"{_shown(value)} is not a number"
    if value < 0:
        return "it cannot be negative"
    if value > LARGEST[one.unit]:
        return f"{value:g} is beyond what any model has"
    if one.unit in _WHOLE and value != int(value):
        return f"{value!r} is not a whole number"
    return None


_ADDITIVE = [key for key, one in METRICS.items() if one.additive and not key.startswith("params")]

_ORDERED = (
    ("latency_median_low_s", "latency_median_s", "latency_median_high_s"),
    ("latency_q1_s", "latency_q3_s", "latency_p90_s"),
    ("latency_q3_s", "latency_p90_s", "latency_p95_s"),
    ("latency_p90_s", "latency_p95_s", "latency_p99_s"),
    ("latency_q1_s", "latency_q1_s", "latency_q3_s"),
)


def _relations(row: Row) -> Iterator[Problem]:
    """What one figure says of another."""
    known = row.metrics
    if _numbers(known, "flops", "macs") and known["flops"] != 2 * _n(known, "macs"):
        yield "metrics.flops", "it is not two for each of metrics.macs"
    for less, more in (
        ("params_unused", "params"),
        ("traffic_fused_bytes", "traffic_eager_bytes"),
    ):
        if _numbers(known, less, more) and _n(known, less) > _n(known, more):
            yield f"metrics.{less}", f"it is more than metrics.{more}"
    for key in ("kernels", "traffic_eager_bytes", "peak_activation_bytes"):
        if _numbers(known, "flops", key) and _n(known, "flops") > 0 and _n(known, key) == 0:
            yield f"metrics.{key}", "it is 0, and there is arithmetic"
    quotients = (
        ("arithmetic_intensity", "flops", "traffic_eager_bytes"),
        ("efficiency", "floor_s", "latency_median_s"),
    )
    for key, over, under in quotients:
        whole = _numbers(known, key, over, under) and _n(known, under) > 0
        if whole and not _alike(_n(known, key), _n(known, over) / _n(known, under)):
            yield f"metrics.{key}", f"it is not metrics.{over} over metrics.{under}"
    batch = row.settings.get("batch")
    if not _numbers(known, "images_per_s", "latency_median_s") or type(batch) is not int:
        return
    if not _alike(_n(known, "images_per_s") * _n(known, "latency_median_s"), batch):
        yield "metrics.images_per_s", "it is not the batch over metrics.latency_median_s"


# --- samples -------------------------------------------------------------------------------------

_OF_PROCESSES = (
    "process_s",
    "process_status",
    "ledger",
    "timed_s",
    "build_s",
    "prepared",
    "overhead_s",
    "settled",
    "latency_s",
)
_PREFIXES = ("warmup_", "first_")


def _of_samples(row: Row) -> Iterator[Problem]:
    """Whether the figures are those of the samples: each is worked out again."""
    processes, place = row.samples.get("latency_s"), "samples.latency_s"
    if row.metrics.get("latency_median_s") is None:
        timed = _are_samples(processes) and any(processes)
        if row.status == "ok" and timed and "latency_median_s" in row.metrics:
            yield "metrics.latency_median_s", "it has no value, and there are samples of it"
        return
    if processes is None:
        if _numbers(row.metrics, "latency_samples") or _numbers(row.metrics, "latency_processes"):
            yield place, "it is missing, and metrics.latency_median_s is of such"
        return
    if not _are_samples(processes):
        yield place, "it holds no seconds: a list of them is needed for each process"
        return
    lengths = {
        key: len(values)
        for key, values in row.samples.items()
        if key in _OF_PROCESSES or key.startswith(_PREFIXES)
        if isinstance(values, list)
    }
    for key, length in lengths.items():
        if length != len(processes):
            what = f"it is of {length} processes, and latency_s of {len(processes)}"
            yield f"samples.{key}", what
    yield from _figures(row, [each for each in processes if each])


def _are_samples(processes: Any) -> TypeGuard[list[list[float]]]:
    return isinstance(processes, list) and all(
        isinstance(each, list)
        and all(is_finite(value) and SHORTEST_S <= value <= LARGEST["s"] for value in each)
        for each in processes
    )


def _figures(row: Row, processes: Sequence[Sequence[float]]) -> Iterator[Problem]:
    if not processes:
        yield "samples.latency_s", "it is empty, and metrics.latency_median_s is of such"
        return
    for key, value in _worked_out(row, processes).items():
        told = row.metrics.get(key)
        if key in row.metrics and (told is None) != (value is None):
            yield (
                f"metrics.{key}",
                "the samples say otherwise: "
                + ("there are enough for it" if told is None else "they are too few for it"),
            )
        elif told is not None and value is not None and not _alike(told, value):
            yield f"metrics.{key}", f"it is {told!r}, and the samples give {value!r}"


def _worked_out(row: Row, processes: Sequence[Sequence[float]]) -> dict[str, int | float | None]:
    """The figures of samples, as `detrbench.timing.rows` makes them."""
    medians = [median(each) for each in processes]
    rounds = [sample for each in processes for sample in each]
    if "latency_processes" not in row.metrics:  # the first reports had them of all rounds
        return {"latency_samples": len(rounds)}
    interval = median_interval(medians)
    first = row.samples.get("first_latency_s")
    known = [one for one in first if is_finite(one)] if isinstance(first, list) else []
    return {
        "latency_samples": len(rounds),
        "latency_processes": len(processes),
        "latency_median_s": median(medians),
        "latency_median_low_s": interval.low if interval else None,
        "latency_median_high_s": interval.high if interval else None,
        "latency_q1_s": quantile(rounds, 0.25),
        "latency_q3_s": quantile(rounds, 0.75),
        **({"latency_first_s": known[0]} if known else {}),
        **{
            key: None if too_few_for(share, len(rounds)) else quantile(rounds, share)
            for key, share in _SHARES.items()
        },
    }


_SHARES = {"latency_p90_s": 0.90, "latency_p95_s": 0.95, "latency_p99_s": 0.99}


# --- between rows --------------------------------------------------------------------------------


def _between_rows(rows: Sequence[Row]) -> Iterator[Problem]:
    """Rows of the same model that differ in nothing that counts depend on have the same counts.
    What is explained is counted as it is executed, in its layout and type of number."""
    ignored = {"threads", "convention", "stages", "device"}
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        kept = {key: value for key, value in row.settings.items() if key not in ignored}
        model = row.case and row.case.to_dict()["model"]
        key = json.dumps([row.model, kept, model], sort_keys=True, default=str)
        other = rows[first.setdefault(key, index)]
        for name, value in row.metrics.items():
            if name not in METRICS or METRICS[name].measured:
                continue
            there = other.metrics.get(name)
            if None not in (value, there) and value != there:
                yield (
                    f"rows[{index}].metrics.{name}",
                    f"it is {value!r}, and {there!r} in rows[{first[key]}], the same model",
                )


# --- comparisons ---------------------------------------------------------------------------------


def _of_pair(pair: Comparison) -> Iterator[Problem]:
    """Whether ratio, interval and verdict follow from the processes' log-ratios."""
    values = pair.process_log_ratios
    if pair.unusable:
        yield from ((key, "it is missing, or of no such kind") for key in pair.unusable)
        return
    if not all(abs(value) <= LARGEST_LOG_RATIO for value in values):
        yield "process_log_ratios", "it holds no ratios"
        return
    if pair.verdict not in (None, *(one.value for one in Verdict)):
        yield "verdict", f"{_shown(pair.verdict)} is none"
        return
    if pair.confidence is not None and not 0 < pair.confidence <= SUREST:
        yield "confidence", f"{pair.confidence!r} is none"
        return
    if pair.margin is not None and not 0 < pair.margin < 1:
        yield "margin", f"{pair.margin!r} is none"
        return
    if pair.verdict is None and pair.explanation is None:
        yield "verdict", "it is missing"
    if pair.explanation is not None:  # of the rounds of few processes, and no verdict
        return
    if (pair.ratio is None) != (not values):
        yield "ratio", "it has to be there where process_log_ratios has values, and only there"
    elif pair.ratio is not None and not _alike(pair.ratio, pair.mean_ratio or 0.0):
        yield "ratio", f"it is {pair.ratio!r}, and process_log_ratios give {pair.mean_ratio!r}"
    yield from _of_interval(pair)
    yield from _of_verdict(pair)


def _of_interval(pair: Comparison) -> Iterator[Problem]:
    ends = pair.ci_low, pair.ci_high
    if (pair.ci_low is None) != (pair.ci_high is None):
        yield "ci_low" if pair.ci_low is None else "ci_high", "an interval has two ends"
    elif pair.ci_low is None or pair.ci_high is None:
        if len(pair.process_log_ratios) > 1:
            yield "ci_low", "it is missing, and process_log_ratios are enough for it"
    elif pair.ratio is not None and not pair.ci_low <= pair.ratio <= pair.ci_high:
        yield "ratio", f"it is not in its interval, {pair.ci_low!r} to {pair.ci_high!r}"
    elif not any(
        _same_ends(one, ends) for one in intervals_of(pair.process_log_ratios, pair.confidence)
    ):
        yield "ci_low", "the interval is not that of process_log_ratios"


def _same_ends(interval: Interval, ends: tuple[float | None, float | None]) -> bool:
    low, high = ends
    return (
        low is not None
        and high is not None
        and (_alike(interval.low, low) and _alike(interval.high, high))
    )


def _of_verdict(pair: Comparison) -> Iterator[Problem]:
    if pair.verdict is None:
        return
    if pair.verdict in ("INVALID", "BUSY") and not pair.reasons:
        yield "reasons", f"the verdict is {pair.verdict}, and no reason was recorded"
    interval = None
    if None not in (pair.ratio, pair.ci_low, pair.ci_high):
        interval = Interval(pair.ratio or 0, pair.ci_low or 0, pair.ci_high or 0)
    if not follows(pair.verdict, interval, len(pair.process_log_ratios), pair.margin):
        yield "verdict", f"{pair.verdict} does not follow from the interval and the margin"


def _of_sides(pair: Comparison, rows: Sequence[Row]) -> Iterator[Problem]:
    """Whether its log-ratios are those of its rows' samples."""
    found = {}
    for key, side in (("baseline", pair.baseline), ("case", pair.case)):
        named = [row for row in rows if row.model == side.model]
        if not named:
            yield key, f"no row is of {_shown(side.model)}"
        found[key] = [row for row in rows if side.is_of(row)]
        # What schema 1 says of a baseline are its case's settings.
        if named and not found[key] and (key == "case" or side.case is not None):
            yield key, f"no row is of {_shown(side.model)} under its settings"
        if len(found[key]) > 1:
            yield key, f"{len(found[key])} rows are of {_shown(side.model)} under its settings"
    if not all(len(each) == 1 for each in found.values()):
        return
    here, there = found["baseline"][0], found["case"][0]
    if here is there:
        yield "case", "it is its own baseline"
        return
    if pair.explanation is not None:
        return
    if "failed" in (here.status, there.status):
        if pair.process_log_ratios:
            yield "process_log_ratios", "a row that failed has no ratio"
        return
    again = _log_ratios(here, there)
    if again is None:
        return
    if len(again) != len(pair.process_log_ratios):
        told = len(pair.process_log_ratios)
        yield "process_log_ratios", f"it is of {told} processes, and the samples of {len(again)}"
    elif not all(map(_alike, again, pair.process_log_ratios)):
        yield "process_log_ratios", "it is not what the rows' samples give"


def _log_ratios(here: Row, there: Row) -> list[float] | None:
    """One for each process that both rows' samples are of; `None` where they do not say."""
    before, after = (row.samples.get("latency_s") for row in (here, there))
    if not (_are_samples(before) and _are_samples(after)):
        return None
    status = there.samples.get("process_status")
    ended = [one == "ok" for one in status] if isinstance(status, list) else [True] * len(after)
    pairs = [
        paired_log_ratios(a, b) for a, b, whole in zip(before, after, ended, strict=False) if whole
    ]
    return [median(ratios) for ratios in pairs if ratios]


def _told_twice(pairs: Sequence[Comparison]) -> Iterator[Problem]:
    seen: list[tuple[Side, Side]] = []
    for index, pair in enumerate(pairs):
        sides = pair.baseline, pair.case
        if sides in seen:
            yield f"comparisons[{index}]", f"it repeats comparisons[{seen.index(sides)}]"
        seen.append(sides)


# --- values --------------------------------------------------------------------------------------


def _numbers(values: Mapping[str, Any], *keys: str) -> bool:
    return all(is_finite(values.get(key)) for key in keys)


def _n(values: Mapping[str, Any], key: str) -> float:
    value: float = values[key]
    return value


def _alike(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_NEAR, abs_tol=1e-12)


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:60]
