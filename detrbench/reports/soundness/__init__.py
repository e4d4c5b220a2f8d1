"""Whether what a report says agrees with itself: what follows from its samples is worked out again,
and not believed.

A file may have been edited, cut, or glued together from two. Every rule here yields places, as they
are written in the file, and what does not agree there. What a file does not hold is not asked for:
reports of schema 1 have less to say than those of today.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detrbench.core.units import is_finite
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.metrics import METRICS
from detrbench.reports.soundness.pairs import of_pair, of_sides
from detrbench.reports.soundness.rows import Row, of_row
from detrbench.reports.soundness.values import LARGEST, Problem, shown

_LEAST = {
    "logical_cpus": 1,
    "threads": 1,
    "memory_bytes": 1,
    "accelerator_memory_bytes": 1,
    "cpu_quota": 1e-3,
    "load_average": 0,
}
"""Facts of an environment that are numbers, and the smallest that each can be."""


def contradictions(
    rows: Sequence[Row], pairs: Sequence[Comparison], environment: Mapping[str, Any]
) -> Iterator[Problem]:
    """What in a report does not agree with the rest of it, row by row and then between them."""
    for fact, least in _LEAST.items():
        value = environment.get(fact)
        if value is not None and not (is_finite(value) and least <= value <= LARGEST["B"]):
            yield f"environment.{fact}", f"{shown(value)} is none"
    for index, row in enumerate(rows):
        for place, what in of_row(row):
            yield f"rows[{index}].{place}", what
    yield from _between_rows(rows)
    for index, pair in enumerate(pairs):
        for place, what in (*of_pair(pair), *of_sides(pair, rows)):
            yield f"comparisons[{index}].{place}", what
    yield from _told_twice(pairs)


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


def _told_twice(pairs: Sequence[Comparison]) -> Iterator[Problem]:
    seen: list[tuple[Side, Side]] = []
    for index, pair in enumerate(pairs):
        sides = pair.baseline, pair.case
        if sides in seen:
            yield f"comparisons[{index}]", f"it repeats comparisons[{seen.index(sides)}]"
        seen.append(sides)
