"""What one case's time says of another's: a ratio with its interval, a verdict, and the reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from detrbench.core.units import is_finite
from detrbench.reports.case import Case

CONFIRMATION = "confirmation"
"""The setting that tells further runs' rows from the first one's: which run it is."""

OF_THE_MODEL = frozenset({"nc", "scale"})
"""Settings that models side by side may each have their own of."""


class Row(Protocol):
    """What a comparison looks at in a row of a report."""

    @property
    def model(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def case(self) -> Case | None: ...


@dataclass(frozen=True)
class Side:
    """One of the two cases of a comparison.

    Attributes:
        settings: as in its row; what a report of schema 1 did not say of a baseline is not there.
        case: `None` in a report of schema 1.
    """

    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    case: Case | None = None

    def is_of(self, row: Row) -> bool:
        """Whether `row` is of this case, and of the same run of it."""
        known = None not in (self.case, row.case)
        runs = (self.settings.get(CONFIRMATION), row.settings.get(CONFIRMATION))
        return (
            self.model == row.model
            and (self.case == row.case or not known)
            and (self.case is None or runs[0] == runs[1])
            and self.settings.items() <= row.settings.items()
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "settings": dict(self.settings),
            "case": self.case and self.case.id,
        }


@dataclass(frozen=True)
class Comparison:
    """A case timed against a baseline in the same rounds.

    Attributes:
        ratio: its latency over the baseline's; `None` where there is nothing to divide.
        ci_low, ci_high, confidence: the ends of its interval, and how sure that is.
        verdict: a `detrbench.reports.verdicts.Verdict`; `None` where none was given.
        reasons: why it is not a plainer one.
        margin: the smallest difference worth a verdict, 0.02 for 2 %.
        process_log_ratios: one number per process, what the rest is made of.
        explanation: what `detrbench explain` kept.
        unusable: what of it a file had, and could not be read; no gate trusts the rest.
    """

    baseline: Side
    case: Side
    ratio: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    margin: float | None = None
    confidence: float | None = None
    process_log_ratios: tuple[float, ...] = ()
    explanation: Mapping[str, Any] | None = None
    unusable: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """What the row of the compared case calls its model."""
        return self.case.model

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of the compared case."""
        return self.case.settings

    @property
    def mean_ratio(self) -> float | None:
        """The ratio as its processes say it."""
        values = self.process_log_ratios
        return math.exp(math.fsum(values) / len(values)) if values else None

    def concerns(self, row: Row) -> bool:
        """Whether the row is of either case."""
        return self.case.is_of(row) or self.baseline.is_of(row)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in a report of schema 2."""
        return {
            "baseline": self.baseline.to_dict(),
            "case": self.case.to_dict(),
            **{name: getattr(self, name) for name in _NUMBERS},
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "process_log_ratios": list(self.process_log_ratios),
            **({} if self.explanation is None else {"explanation": self.explanation}),
            **({"unusable": list(self.unusable)} if self.unusable else {}),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], cases: Mapping[str, Case]) -> Comparison:
        """From what `to_dict` made, or from a comparison of schema 1.

        What is not of the right type is left out and named in `unusable`.

        Args:
            cases: of the report, by id.
        """
        read = _Reader(plain)
        if isinstance(plain.get("case"), dict):
            baseline, case = (read.side(key, cases) for key in ("baseline", "case"))
        else:
            settings = read.one("settings", _a(dict), {})
            shared = {name: value for name, value in settings.items() if name not in OF_THE_MODEL}
            baseline = Side(read.one("baseline", _a(str), ""), shared)
            case = Side(read.one("model", _a(str), ""), settings)
        for key, side in (("baseline", baseline), ("model", case)):
            if not side.model and key not in read.unusable:
                read.unusable.append(key)
        explanation, known = plain.get("explanation"), plain.get("unusable")
        known = known if isinstance(known, list) else []
        return cls(
            baseline,
            case,
            verdict=read.one("verdict", _a(str, type(None))),
            **{name: read.one(name, _is_size) for name in _NUMBERS},
            reasons=tuple(map(str, read.one("reasons", _a(list), []))),
            process_log_ratios=tuple(read.one("process_log_ratios", _are_numbers, ())),
            explanation=explanation if isinstance(explanation, dict) else None,
            # The last of all, when everything has been read.
            unusable=tuple(dict.fromkeys(map(str, [*known, *read.unusable]))),
        )


_NUMBERS = ("ratio", "ci_low", "ci_high", "margin", "confidence")
"""All are larger than 0 where they are known."""

_Fits = Callable[[Any], bool]


def _a(*kinds: type) -> _Fits:
    return lambda value: isinstance(value, kinds)


def _is_size(value: Any) -> bool:
    return value is None or (is_finite(value) and value > 0)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(map(is_finite, values))


class _Reader:
    """Takes values that fit out of a mapping, and notes the others."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._plain = plain
        self.unusable: list[str] = []

    def one(self, key: str, fits: _Fits, default: Any = None) -> Any:
        value = self._plain.get(key)
        if fits(value):
            return value
        self.unusable.append(key)
        return default

    def side(self, key: str, cases: Mapping[str, Case]) -> Side:
        side = _Reader(self.one(key, _a(dict), {}))
        model, settings = side.one("model", _a(str), ""), side.one("settings", _a(dict), {})
        case = side.one("case", lambda value: value is None or value in [*cases])
        self.unusable.extend(f"{key}.{name}" for name in side.unusable)
        return Side(model, settings, cases.get(case or ""))
