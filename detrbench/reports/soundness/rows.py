"""A row: whether its figures are those of its samples, its parts and its case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from detrbench.core.errors import UsageError
from detrbench.core.stats import median, median_interval, quantile, too_few_for
from detrbench.core.units import is_finite
from detrbench.reports import comparison
from detrbench.reports.case import typed
from detrbench.reports.metrics import CONVENTION_METRICS, METRICS, Metric
from detrbench.reports.settings import SETTINGS, plain_value
from detrbench.reports.soundness.values import (
    LARGEST,
    SHORTEST_S,
    Problem,
    alike,
    are_numbers,
    are_samples,
    number,
    shown,
)

OF_EXPERIMENTS = frozenset({"guideline", "experiment", "network"})
"""What the rows of the paper's guidelines tell apart beside settings."""

_WHOLE = frozenset({"parameter", "FLOP", "MAC", "B", "element", "count"})


class Row(comparison.Row, Protocol):
    """What is looked at in a row of a report."""

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


def of_row(row: Row) -> Iterator[Problem]:
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
        if timed and are_numbers(row.metrics, key) and 0 <= number(row.metrics, key) < SHORTEST_S:
            yield f"metrics.{key}", f"{value:g} s is no time that anything takes"
    for by, parts in row.parts.items():
        yield from _of_parts(by, parts, row.metrics)
    yield from _relations(row)
    yield from _of_samples(row)


def _of_settings(settings: Mapping[str, Any]) -> Iterator[Problem]:
    for key, value in settings.items():
        if key in OF_EXPERIMENTS:
            if not isinstance(value, str):
                yield f"settings.{key}", f"{shown(value)} is not a text"
        elif key not in SETTINGS:
            yield f"settings.{key}", "there is no such setting"
        elif not _can_be(key, value):
            yield f"settings.{key}", f"{shown(value)} is no value of it"


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
        yield "model", f"it is not that of its case, {shown(row.case.model.name)}"
    asked = row.case.settings()
    for key in ("imgsz", "batch", "fused", "scale", "runtime", "dtype"):
        if key in row.settings and key in asked and row.settings[key] != asked[key]:
            was = f"{shown(row.settings[key])}, and its case was executed with "
            yield f"settings.{key}", f"{was}{shown(asked[key])}"


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
        if are_numbers(values, low, key, high) and not values[low] <= values[key] <= values[high]:
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
        if counts and are_numbers(whole, key) and sum(counts) != whole[key]:
            yield f"parts.{by}", f"{key} adds up to {sum(counts)}, and is {whole[key]} of the whole"


def _of_value(one: Metric, value: Any) -> str | None:
    if not is_finite(value):
        return f"{shown(value)} is not a number"
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
    if are_numbers(known, "flops", "macs") and known["flops"] != 2 * number(known, "macs"):
        yield "metrics.flops", "it is not two for each of metrics.macs"
    for less, more in (
        ("params_unused", "params"),
        ("traffic_fused_bytes", "traffic_eager_bytes"),
    ):
        if are_numbers(known, less, more) and number(known, less) > number(known, more):
            yield f"metrics.{less}", f"it is more than metrics.{more}"
    for key in ("kernels", "traffic_eager_bytes", "peak_activation_bytes"):
        if (
            are_numbers(known, "flops", key)
            and number(known, "flops") > 0
            and number(known, key) == 0
        ):
            yield f"metrics.{key}", "it is 0, and there is arithmetic"
    quotients = (
        ("arithmetic_intensity", "flops", "traffic_eager_bytes"),
        ("efficiency", "floor_s", "latency_median_s"),
    )
    for key, over, under in quotients:
        whole = are_numbers(known, key, over, under) and number(known, under) > 0
        if whole and not alike(number(known, key), number(known, over) / number(known, under)):
            yield f"metrics.{key}", f"it is not metrics.{over} over metrics.{under}"
    batch = row.settings.get("batch")
    if not are_numbers(known, "images_per_s", "latency_median_s") or type(batch) is not int:
        return
    if not alike(number(known, "images_per_s") * number(known, "latency_median_s"), batch):
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
        timed = are_samples(processes) and any(processes)
        if row.status == "ok" and timed and "latency_median_s" in row.metrics:
            yield "metrics.latency_median_s", "it has no value, and there are samples of it"
        return
    if processes is None:
        if are_numbers(row.metrics, "latency_samples") or are_numbers(
            row.metrics, "latency_processes"
        ):
            yield place, "it is missing, and metrics.latency_median_s is of such"
        return
    if not are_samples(processes):
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
        elif told is not None and value is not None and not alike(told, value):
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
