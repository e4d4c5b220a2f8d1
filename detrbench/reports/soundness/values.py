"""What every rule asks of values: whether they are numbers, and the same ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from detrbench.core.units import is_finite

Problem = tuple[str, str]
"""The place, such as rows[0].metrics.params, and what of it does not agree."""

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

_NEAR = 1e-9  # relative: the last digits of logarithms are each machine's own


def are_samples(processes: Any) -> TypeGuard[list[list[float]]]:
    return isinstance(processes, list) and all(
        isinstance(each, list)
        and all(is_finite(value) and SHORTEST_S <= value <= LARGEST["s"] for value in each)
        for each in processes
    )


def are_numbers(values: Mapping[str, Any], *keys: str) -> bool:
    return all(is_finite(values.get(key)) for key in keys)


def number(values: Mapping[str, Any], key: str) -> float:
    value: float = values[key]
    return value


def alike(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_NEAR, abs_tol=1e-12)


def shown(value: Any) -> str:
    return json.dumps(value, default=str)[:60]
