"""Ceilings, and the least time that work takes under them: pure, without torch and without a clock.

The model is the roofline (Williams et al., "Roofline: An Insightful Visual Performance Model for
Multicore Architectures", CACM 52(4), 2009) with a third limit, the cost of launching operators.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from detrbench.core.reading import check_fields
from detrbench.core.units import show_quantity
from detrbench.counting.formulas import ATTENTION, CONVOLUTION, EPILOGUES, MATMUL
from detrbench.machine.circumstances import Noted

if TYPE_CHECKING:
    from detrbench.counting.tracing import Op, Totals

COMPUTE, MEMORY, DISPATCH = "compute", "memory", "dispatch"
"""The limits, by the names that reports use."""

LIMITS = {COMPUTE: "arithmetic", MEMORY: "memory", DISPATCH: "launches"}
"""How the limits are called in sentences."""

KINDS: dict[str, tuple[str, str]] = {
    "convolution": ("FLOP/s", "convolutions"),
    "matmul": ("FLOP/s", "matrix products"),
    "memory": ("B/s", "memory bandwidth"),
    "cache": ("B/s", "last-level cache bandwidth"),
    "dispatch": ("fine s", "launching one operator"),
}
"""Name of a ceiling -> the unit of its value, and what it is in words."""

SCATTER = 1.05
"""What is beyond a ceiling by more than this is more than its scatter, and has a cause."""


@dataclass(frozen=True)
class Ceiling:
    """One thing that a device does at most so fast."""

    name: str  # a key of `KINDS`
    value: float  # a rate in the unit of `KINDS`, or seconds of one launch; the median over rounds
    low: float  # its quartiles over rounds
    high: float
    source: str = ""  # which of the probes was the fastest

    @property
    def unit(self) -> str:
        return KINDS[self.name][0]


@dataclass(frozen=True)
class Work:
    """What a part of a model asks of a device."""

    conv_flops: int = 0  # of convolutions
    product_flops: int = 0  # of matrix products and attention
    nbytes: int = 0  # eager traffic
    kernels: int = 0  # operators to launch
    working_set_bytes: int = 0  # its live tensors at their most, and its parameters
    # What is left of both when norms and element-wise operators are folded into the kernels before
    # them; a lower bound.
    fused_bytes: int = 0
    fused_kernels: int = 0
    # Of convolutions wider than 1x1, not grouped and of stride 1, for which there are algorithms
    # with fewer multiplications than are counted (Winograd's).
    wide_conv_flops: int = 0

    @property
    def flops(self) -> int:
        return self.conv_flops + self.product_flops

    @property
    def intensity(self) -> float | None:
        """FLOPs per byte; None where nothing moves."""
        return self.flops / self.nbytes if self.nbytes else None


def work_of(totals: Totals, ops: Iterable[Op]) -> Work:
    """The work of a traced part; what its parameters take is that of those its operators read."""
    flops = {CONVOLUTION: 0, MATMUL: 0, ATTENTION: 0}
    parameters: dict[int, int] = {}
    folded, wide = 0, 0
    for op in ops:
        if op.kind in flops:
            flops[op.kind] += op.cost.flops
        folded += op.kind in EPILOGUES
        wide += op.cost.flops if _has_short_cuts(op) else 0
        parameters |= {t.storage: t.nbytes for t in op.inputs if t.parameter}
    return Work(
        conv_flops=flops[CONVOLUTION],
        product_flops=flops[MATMUL] + flops[ATTENTION],
        nbytes=totals.traffic_eager_bytes,
        kernels=totals.kernels,
        working_set_bytes=totals.peak_activation_bytes + sum(parameters.values()),
        fused_bytes=totals.traffic_fused_bytes,
        fused_kernels=totals.kernels - folded,
        wide_conv_flops=wide,
    )


def _has_short_cuts(op: Op) -> bool:
    """Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308: small
    kernels of stride 1, over all channels."""
    if op.kind != CONVOLUTION:
        return False
    image, weight, _, stride = op.args[:4]
    grouped = weight.shape[1] != image.shape[1]
    return max(weight.shape[2:]) > 1 and set(stride) == {1} and not grouped


@dataclass(frozen=True)
class Floor:
    """The least seconds that some work takes, by limit."""

    compute: float
    memory: float
    dispatch: float
    in_cache: bool = False  # `memory` is by the cache's bandwidth, because the working set fits

    @property
    def by_limit(self) -> dict[str, float]:
        return {COMPUTE: self.compute, MEMORY: self.memory, DISPATCH: self.dispatch}

    @property
    def seconds(self) -> float:
        """The floor proper: none of the three can be undercut, so the largest holds."""
        return max(self.by_limit.values())

    @property
    def limit(self) -> str:
        """Which of the three binds."""
        return max(self.by_limit, key=self.by_limit.__getitem__)


@dataclass(frozen=True)
class Ceilings:
    """What one device does at best, in one number format, layout and number of threads."""

    each: Mapping[str, Ceiling]  # by name, all of `KINDS`
    cache_bytes: int  # size of the last-level cache

    def __getitem__(self, name: str) -> float:
        return self.each[name].value

    def floor(self, work: Work) -> Floor:
        """The least time for `work`."""
        in_cache = work.working_set_bytes <= self.cache_bytes
        return Floor(
            compute=work.conv_flops / self["convolution"] + work.product_flops / self["matmul"],
            memory=work.nbytes / self.bandwidth(work.working_set_bytes),
            dispatch=work.kernels * self["dispatch"],
            in_cache=in_cache,
        )

    def bandwidth(self, nbytes: int) -> float:
        """At which so many bytes are read and written again and again: what memory does, a cache
        does too."""
        return max(self["memory"], self["cache"] if nbytes <= self.cache_bytes else 0.0)

    def doubts(self) -> tuple[Noted, ...]:
        """What is measured so that it cannot be."""
        if self["cache"] * SCATTER >= self["memory"]:
            return ()
        cache, memory = (show_quantity(self[name], "B/s") for name in ("cache", "memory"))
        text = f"the cache does {cache} and memory {memory}, which a cache is not slower than"
        return (Noted("ceilings", text, "Probe again when nothing else runs."),)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a file."""
        return {
            "cache_bytes": self.cache_bytes,
            "ceilings": [{**vars(one), "unit": one.unit} for one in self.each.values()],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Ceilings:
        """From what `to_dict` made. Raises KeyError, TypeError or ValueError where it is something
        else, or one is missing."""
        known = [f.name for f in fields(Ceiling)]
        found = [Ceiling(**{key: one[key] for key in known}) for one in plain["ceilings"]]
        each = {one.name: one for one in found}
        absent = sorted(set(KINDS) - set(each))
        if absent:
            raise ValueError(f"no ceiling for {', '.join(absent)}")
        for one in found:
            check_fields(one)
            if one.name not in KINDS:
                raise ValueError(f"there is no ceiling called {one.name}")
            if not 0 < one.low <= one.value <= one.high < math.inf:
                raise ValueError(f"{one.name} is {one.value:g}, from {one.low:g} to {one.high:g}")
        return cls(each, int(plain["cache_bytes"]))
