"""What an explanation is made of: two models, their parts, the ceilings. Pure, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detrbench.analysis.probe.ceilings import (
    COMPUTE,
    LIMITS,
    MEMORY,
    SCATTER,
    Ceilings,
    Floor,
    Work,
)
from detrbench.core.stats import median, quantile
from detrbench.machine.circumstances import Circumstances

LARGEST_GAP = 0.05
"""Parts that differ from the whole by more than this do not explain it."""

INSERTED = "(put in by the runtime)"
"""Of a graph: kernels that no part of the model is known for, such as changes of layout."""


@dataclass(frozen=True)
class Timed:
    """Seconds of one thing over rounds: the median and the quartiles, and where they are from."""

    seconds: float
    low: float
    high: float
    samples: tuple[float, ...] = ()

    @classmethod
    def of(cls, samples: Sequence[float], scale: float = 1.0) -> Timed:
        """From samples, at least one, each times `scale`."""
        scaled = tuple(scale * each for each in samples)
        return cls(median(scaled), quantile(scaled, 0.25), quantile(scaled, 0.75), scaled)


@dataclass(frozen=True)
class Counted:
    """One part of a model as the trace has it."""

    name: str  # as tables show it
    group: str  # what it is compared as with the other model's parts: its stage, or its operator
    work: Work
    counts: Mapping[str, int | float | None]  # of `detrbench.reports.metrics`, by key


@dataclass(frozen=True)
class TimedPart(Counted):
    """One part of a model, counted and timed."""

    floor: Floor
    timed: Timed

    @property
    def seconds(self) -> float:
        return self.timed.seconds

    @property
    def efficiency(self) -> float | None:
        """The floor over the time; None for a part without work, or all of whose work is done in
        kernels of others."""
        return self.floor.seconds / self.seconds if self.floor.seconds and self.seconds else None

    @property
    def cause_of_excess(self) -> str | None:
        """Why it may be faster than its floor; None where it is not."""
        if self.efficiency is None or self.efficiency <= SCATTER:
            return None
        if self.floor.limit == COMPUTE:
            if 2 * self.work.wide_conv_flops > self.work.flops:
                return (
                    "its convolutions wider than 1x1 may be computed with fewer multiplications "
                    "than are counted (Winograd), or their shapes suit the device better than "
                    "those of the probes"
                )
            return "its shapes suit the device better than those of the probes"
        if self.floor.limit == MEMORY:
            where = "a nearer cache" if self.floor.in_cache else "a cache"
            return (
                f"kernels find in {where} what the one before left there, and traffic counts "
                "every read"
            )
        return "its operators are launched more cheaply than the probe's"


@dataclass(frozen=True)
class TimedModel:
    """One of the two models."""

    model: str  # what tables call it, as a rule its case's name
    whole: TimedPart  # the uninstrumented forward pass; its floor is not used, see `floor_s`
    parts: tuple[TimedPart, ...]  # in the order of the model
    scale: float = 1.0  # of the parts' times, to add up to the whole; 1: timed as they are
    lacking: str | None = None  # what is not in its counts and floors

    @property
    def seconds(self) -> float:
        return self.whole.seconds

    @property
    def floor_s(self) -> float:
        return Group(self.parts).floor_s

    @property
    def parts_s(self) -> float:
        return Group(self.parts).seconds

    @property
    def efficiency(self) -> float:
        return self.floor_s / self.seconds

    @property
    def cause_of_excess(self) -> str | None:
        """Why it may be faster than its floors in all; None where it is not."""
        if self.efficiency <= SCATTER:
            return None
        return Group(self.parts).cause_of_excess or "its parts take longer one by one"

    @property
    def gap_s(self) -> float:
        """What the parts do not account for; negative where they take longer than the whole."""
        return self.seconds - self.parts_s

    @property
    def reconciled(self) -> bool:
        """Whether the parts add up to the whole well enough to explain it."""
        return abs(self.gap_s) <= LARGEST_GAP * self.seconds

    def group(self, name: str) -> Group:
        return Group(tuple(part for part in self.parts if part.group == name))

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.group for part in self.parts))

    @property
    def shares(self) -> dict[str, float]:
        """Limit -> share of the parts' time that is spent in parts which it binds."""
        spent = Group(self.parts).limits
        return {limit: seconds / self.parts_s for limit, seconds in spent.items()}


@dataclass(frozen=True)
class Group:
    """Parts of one model that run one after the other, added up."""

    parts: Sequence[TimedPart]

    @property
    def flops(self) -> int:
        return sum(part.work.flops for part in self.parts)

    @property
    def asked(self) -> tuple[int, int, int]:
        """FLOPs, kernels and bytes of traffic."""
        kernels = sum(part.work.kernels for part in self.parts)
        return self.flops, kernels, sum(part.work.nbytes for part in self.parts)

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def floor_s(self) -> float:
        return sum(part.floor.seconds for part in self.parts)

    @property
    def efficiency(self) -> float | None:
        return self.floor_s / self.seconds if self.seconds and self.floor_s else None

    @property
    def cause_of_excess(self) -> str | None:
        """Those of its parts, where all together are faster than their floors."""
        if self.efficiency is None or self.efficiency <= SCATTER:
            return None
        return "; ".join(dict.fromkeys(filter(None, (one.cause_of_excess for one in self.parts))))

    @property
    def limits(self) -> dict[str, float]:
        """Limit -> seconds spent in parts that it binds."""
        spent = dict.fromkeys(LIMITS, 0.0)
        for part in self.parts:
            if part.floor.seconds:  # what does no work is bound by nothing
                spent[part.floor.limit] += part.seconds
        return spent

    @property
    def limit(self) -> str:
        """What binds most of its time."""
        return max(self.limits, key=self.limits.__getitem__)


@dataclass(frozen=True)
class Try:
    """Something that may make the variant faster, and what it does to the time of an image."""

    name: str
    ratio: float | None  # time per image over the present one; None where nothing is known
    measured: bool  # else predicted from the floors
    how: str  # what the number is made of
    low: float | None = None  # quartiles over rounds, where measured
    high: float | None = None
    disturbed: str | None = None  # how it was measured, if that was not on a quiet machine


@dataclass(frozen=True)
class Explanation:
    """Two models against each other and against what the device can do."""

    by: str  # "stage", "module" or "op"
    device: str  # as torch spells it
    memory_format: str  # of the variant's images and weights
    rounds: int  # of timed calls
    ceilings: Ceilings
    baseline: TimedModel
    variant: TimedModel
    tried: tuple[Try, ...] = ()  # those that were measured
    circumstances: Circumstances | None = None  # of the rounds; None where nobody kept them
    runtime: str = "eager"  # what executes the variant

    @property
    def seen(self) -> Circumstances:
        """The circumstances, and what the ceilings themselves say of them."""
        return (self.circumstances or Circumstances()).with_more(self.ceilings.doubts())
