"""What a gate allows: how far each metric may grow, and how large it may be.

From flags, or from a file that a team keeps beside its models:

    max_latency_increase: 5%
    max_reference_increase: 20%
    max_increase: {kernels: 10%, traffic_fused_bytes: any}
    max: {params: 20M, flops: 65}
    models: [shufflev2]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detrbench.core.errors import UsageError, nearest
from detrbench.core.reading import mapping, one_or_more, scalar
from detrbench.core.strict_yaml import Node, read_yaml
from detrbench.core.units import UNITS, parse_part, parse_printed, printed_factor
from detrbench.reports.metrics import METRICS, Metric

LATENCY_INCREASE = 0.05
"""Where nobody said; `detrbench selfcheck` tells whether a machine can tell so much apart."""

ANY = math.inf
"""The increase of a metric that is not gated."""


@dataclass(frozen=True)
class Policy:
    """Limits.

    Attributes:
        max_latency_increase: 0.05 for 5 %; `ANY` leaves time out; `None` where nobody asked, which
            is LATENCY_INCREASE for whatever the baseline has timed.
        max_increase: metric key -> how far a count may grow, 0.02 for 2 %. Counts that are not
            named here may not grow at all.
        max: metric key -> the largest value, in base units. FLOPs are those that a report's table
            shows, by its convention.
        max_reference_increase: of the time of what both runs measure the others with; `None` leaves
            that unjudged.
        models: those that `max` is for; empty for all.
    """

    max_latency_increase: float | None = None
    max_increase: Mapping[str, float] = field(default_factory=dict)
    max: Mapping[str, float] = field(default_factory=dict)
    max_reference_increase: float | None = None
    models: tuple[str, ...] = ()

    @property
    def latency_limit(self) -> float:
        """The increase of latency that is allowed."""
        asked = self.max_latency_increase
        return LATENCY_INCREASE if asked is None else asked

    @property
    def reference_limit(self) -> float | None:
        """The increase of a reference's own time that is allowed; `None` where it is not judged."""
        asked = self.max_reference_increase
        return None if asked == ANY else asked

    @property
    def judges_time(self) -> bool:
        """Whether time is gated at all."""
        return self.latency_limit != ANY

    def overridden_by(self, other: Policy) -> Policy:
        """This policy, with the last word to whatever `other` names."""
        asked, reference = other.max_latency_increase, other.max_reference_increase
        return Policy(
            self.max_latency_increase if asked is None else asked,
            {**self.max_increase, **other.max_increase},
            {**self.max, **other.max},
            self.max_reference_increase if reference is None else reference,
            other.models or self.models,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; no limit is "any"."""
        reference = self.reference_limit
        return {
            "max_latency_increase": _plain(self.latency_limit),
            "max_increase": {key: _plain(share) for key, share in self.max_increase.items()},
            "max": dict(self.max),
            "max_reference_increase": _plain(ANY if reference is None else reference),
            "models": list(self.models),
        }


def load_policy(path: Path) -> Policy:
    """The policy in a YAML file.

    Raises:
        UsageError: the file is not a policy; says file, line and hint.
    """
    readers: dict[str, Callable[[Node], Any]] = {
        "max_latency_increase": lambda node: _increase(_text(node), node.where),
        "max_reference_increase": lambda node: _increase(_text(node), node.where),
        "models": lambda node: tuple(map(_model, one_or_more(node))),
        "max_increase": lambda node: _limits(node, _increase_limit),
        "max": lambda node: _limits(node, _value_limit),
    }
    fields = mapping(read_yaml(path), readers)
    return Policy(**{key: readers[key](node) for key, node in fields.items()})


def policy_of(
    max_latency_increase: str | None = None,
    max_increase: Iterable[str] = (),
    max: Iterable[str] = (),
    max_reference_increase: str | None = None,
    models: Iterable[str] = (),
) -> Policy:
    """The policy that flags ask for: shares such as "5%", and limits such as "params=20M".

    Raises:
        UsageError: a limit that cannot be read, or on a metric that cannot have one.
    """
    latency, reference = max_latency_increase, max_reference_increase
    return Policy(
        None if latency is None else _increase(latency, "--max-latency-increase"),
        dict(_assignment(text, "--max-increase", _increase_limit) for text in max_increase),
        dict(_assignment(text, "--max", _value_limit) for text in max),
        None if reference is None else _increase(reference, "--max-reference-increase"),
        tuple(models),
    )


Reader = Callable[[str, str, str], float]
"""A metric's key, a text and where it stands -> the limit, in base units or as a share."""


def _increase_limit(key: str, text: str, where: str) -> float:
    one = _metric(key, where)
    if one.measured:
        said = f"{key} is measured: by how much it grew between two runs is not known exactly"
        hint = "Time is gated as a ratio, with its interval: --max-latency-increase 5%."
        raise UsageError(said, where=where, hint=hint)
    return _increase(text, where)


def _value_limit(key: str, text: str, where: str) -> float:
    """The largest value of `key`, in base units."""
    one = _metric(key, where)
    if one.measured and not one.spread:
        able = [each.key for each in METRICS.values() if each.measured and each.spread]
        chance = "a limit on it would be passed or failed by chance"
        said = f"{key} is measured and has no interval: {chance}"
        raise UsageError(said, where=where, hint=f"Limit a count, or {', '.join(able)}.")
    factor = printed_factor(one.unit)
    printed = parse_printed(text, factor=factor, where=where)
    if printed.unit not in ("", UNITS[one.unit].replaces):
        said = f"{key} is not in {printed.unit}"
        raise UsageError(said, where=where, hint=f"Leave the unit out: {key}={printed.digits}.")
    if printed.factor == factor > 1 and float(printed.digits) >= factor:
        shown = UNITS[one.unit].shown
        said = f"{text} without a prefix is {text} {shown}, which no model reaches"
        hint = f"Write it with its prefix: {key}=20M, or in {shown}: {key}=20."
        raise UsageError(said, where=where, hint=hint)
    return printed.value


def _increase(text: str, where: str) -> float:
    """A share such as "5%", "0" for none at all, "any" for no limit."""
    if text.strip() == "any":
        return ANY
    if text.strip().removesuffix("%").strip("0.") == "" and any(map(str.isdigit, text)):
        return 0.0
    return parse_part(text, where=where)


def _metric(key: str, where: str) -> Metric:
    able = {one.key for one in METRICS.values() if one.better == "lower"}
    if key not in METRICS:
        raise UsageError(f"there is no metric {key!r}", where=where, hint=nearest(key, able))
    if key not in able:
        said = f"less of {key} is not better, so that it can have no upper limit"
        hint = f"Limit another metric: {', '.join(sorted(able))}."
        raise UsageError(said, where=where, hint=hint)
    return METRICS[key]


def _assignment(text: str, flag: str, read: Reader) -> tuple[str, float]:
    key, equals, value = text.partition("=")
    if not equals:
        hint = "Write METRIC=LIMIT, such as params=20M."
        raise UsageError(f"{text!r} names no limit", where=flag, hint=hint)
    return key.strip(), read(key.strip(), value.strip(), f"{flag} {text}")


def _limits(node: Node, read: Reader) -> dict[str, float]:
    return {key: read(key, _text(value), value.where) for key, value in mapping(node).items()}


def _text(node: Node) -> str:
    return scalar(node, "a limit", "Write 5%, or 20M.")


def _model(node: Node) -> str:
    return scalar(node, "a model", "Write what its row is called.")


def _plain(share: float) -> float | str:
    return "any" if share == ANY else share
