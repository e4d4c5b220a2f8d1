"""Which blocks of a model break which of ShuffleNetV2's guidelines, and what that costs in counts.

The guidelines (arXiv 1807.11164, section 2) speak of memory access, of fragments and of
element-wise work; each has its own measure here, as a share of the whole model, so that the worst
comes first. What is found is advice: a guideline is about equal FLOPs on the devices of the paper,
and a block may have its reasons.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import NamedTuple

from detrbench.core.errors import UsageError
from detrbench.core.units import show, show_many
from detrbench.counting.formulas import BATCH_NORM, CONVOLUTION, POINTWISE, POOLING
from detrbench.counting.profiling import MODULE_DEPTH
from detrbench.counting.tracing import Op, Part, Trace
from detrbench.reports.report import Report, Result

REGULAR_FRAGMENTS = 3
"""Convolutions and poolings of a building block: 2 or 3 are regular, says the paper at G3."""

ELEMENTWISE = frozenset({POINTWISE, BATCH_NORM})
"""Kinds that G4 means, beside depthwise convolutions; a batch norm is one until it is folded."""

ROOT = "(model)"
"""What a trace calls the part of operators that the model calls in no module of its own."""

TIME = "latency_median_s"
"""The metric of a report whose parts tell where the time goes."""

AROUND = frozenset({"preprocess", "postprocess"})
"""Stages of a report that are timed beside the model and are no part of it."""


@dataclass(frozen=True)
class Guideline:
    """One of the four, G1 to G4."""

    key: str
    rule: str  # what it asks for
    unit: str  # of what breaking it costs: "element", "count" or "B"
    cost: str  # what that is, in words
    total: str  # which of a trace's totals it is a share of
    # What breaks it in a part of a model, in words, and what of that costs how much.
    check: Callable[[Part, Trace], tuple[str, list[Evidence]]]


class Evidence(NamedTuple):
    """One layer or unit of a block that breaks a guideline: what it is, and what it costs."""

    module: str
    what: str
    above: float


@dataclass(frozen=True)
class Finding:
    """A block and a guideline that it breaks."""

    block: str  # its module path, such as "model.7" for row 7 of a model's file
    kind: str  # its class
    stage: str
    guideline: str  # a key of GUIDELINES
    found: str  # what breaks it, in words and numbers
    above: float  # what that costs, in the guideline's unit
    share: float  # of the whole model's total
    own_share: float  # of the block's own total
    flops_share: float  # the block's part of the model's FLOPs
    evidence: tuple[Evidence, ...]  # layer by layer or unit by unit, worst first
    # The block's part of the measured time, and whose time that is: the block's path, or its stage.
    time_share: float | None = None
    timed: str | None = None

    @property
    def badness(self) -> float:
        """What findings are ordered by: the share of the model that it costs; where the time is
        known, as much of the time as the guideline costs of the block."""
        return self.share if self.time_share is None else self.time_share * self.own_share


def lint(
    trace: Trace, times: Mapping[str, float] | None = None, depth: int = MODULE_DEPTH
) -> tuple[Finding, ...]:
    """Find what breaks the guidelines, worst first.

    Args:
        trace: of the model at the image size and batch that matter.
        times: block or stage -> its share of the measured time, as `time_shares` reads them.
        depth: names of a module path that make a block; two are a row of a detector's file.
    """
    found = [
        finding
        for part in trace.parts("module", depth)
        for guideline in GUIDELINES.values()
        if (finding := _finding(trace, part, guideline, times or {})) is not None
    ]
    return tuple(sorted(found, key=lambda finding: -finding.badness))


def time_shares(report: Report, model: str) -> tuple[dict[str, float], Result]:
    """Module path or stage -> its share of a model's measured time, and the row that says so.

    The share is of the whole model's time, or of its parts' sum where that is more. The report has
    parts by module, or by stage as `detrbench latency --stages` makes it. Raises UsageError where
    it has no model of that name, or no times of its parts.
    """
    rows = [row for row in report.rows if row.model == model]
    if not rows:
        known = ", ".join(dict.fromkeys(row.model for row in report.rows)) or "none"
        raise UsageError(f"the report has no {model}", hint=f"its models: {known}.")
    for row in rows:
        for grouping in ("module", "stage"):
            seconds = {
                str(part["part"]).split()[0]: float(part[TIME])
                for part in row.parts.get(grouping, ())
                if part.get(TIME) is not None and part["part"] not in AROUND
            }
            # Parts timed one by one may add up to more than the whole that was timed at once.
            whole = max(row.metrics.get(TIME) or 0.0, sum(seconds.values()))
            if seconds and whole > 0:
                return {name: value / whole for name, value in seconds.items()}, row
    raise UsageError(
        f"the report has no times of the parts of {model}",
        hint=f"measure them: detrbench latency {model} --stages -o times.json",
    )


# --- one block, one guideline ------------------------------------------------------------------


def _finding(
    trace: Trace, part: Part, guideline: Guideline, times: Mapping[str, float]
) -> Finding | None:
    text, evidence = guideline.check(part, trace)
    above = sum(one.above for one in evidence)
    if not above:
        return None
    stage = part.ops[0].stage
    time_share, timed = _time(part.name, stage, times)
    return Finding(
        block=part.name,
        kind=trace.modules["" if part.name == ROOT else part.name].__name__,
        stage=stage,
        guideline=guideline.key,
        found=text,
        above=above,
        share=above / getattr(trace, guideline.total),
        own_share=above / getattr(part.totals, guideline.total),
        flops_share=part.totals.flops / trace.flops if trace.flops else 0.0,
        evidence=tuple(sorted(evidence, key=lambda one: -one.above)),
        time_share=time_share,
        timed=timed,
    )


def _time(block: str, stage: str, times: Mapping[str, float]) -> tuple[float | None, str | None]:
    """The time of the block, or of the parts that it was measured in, or else of its stage."""
    if inside := [share for path, share in times.items() if _within(path, block)]:
        return sum(inside), block
    return (times[stage], stage) if stage in times else (None, None)


def _unequal_widths(part: Part, trace: Trace) -> tuple[str, list[Evidence]]:
    """G1. Eq. 1: hw(c1 + c2) + c1 c2 >= 2 sqrt(hw B) + B / hw with B = hw c1 c2, and the difference
    is hw (sqrt(c1) - sqrt(c2))^2. At stride 1, of which the equation speaks."""
    points = [c for c in _convolutions(part.ops) if c.is_pointwise]
    evidence = [
        Evidence(c.op.module, str(c), c.positions * (sqrt(c.c1) - sqrt(c.c2)) ** 2)
        for c in points
        if c.c1 != c.c2
    ]
    many = f"{len(evidence)} of {len(points)} 1x1 convolutions have unequal widths"
    return many + _worst(evidence), evidence


def _groups(part: Part, trace: Trace) -> tuple[str, list[Evidence]]:
    """G2. Eq. 2: at g = 1 the same FLOPs on the same input leave c2 / g channels to write, and as
    many weights; so groups cost hw c2 (1 - 1 / g)."""
    evidence = [
        Evidence(c.op.module, str(c), c.positions * (c.c2 - c.c2 / c.groups))
        for c in _convolutions(part.ops)
        if c.groups > 1 and not c.is_depthwise
    ]
    return show_many(len(evidence), "grouped convolution") + _worst(evidence), evidence


def _fragments(part: Part, trace: Trace) -> tuple[str, list[Evidence]]:
    """G3. Kernels shrink with the convolutions and poolings of a unit, if it had but as many as
    regular structures have."""
    evidence, most, beside = [], 0, 1
    for unit in _units(part.name, trace):
        ops = [op for op in part.ops if _within(op.module, unit)]
        pieces = [op for op in ops if op.kind in (CONVOLUTION, POOLING)]
        if len(pieces) > REGULAR_FRAGMENTS:
            read = [op.inputs[0] for op in pieces]
            abreast = max(Counter((t.value, t.offset, t.shape) for t in read).values())
            most, beside = max(most, len(pieces)), max(beside, abreast)
            above = len(ops) * (1 - REGULAR_FRAGMENTS / len(pieces))
            evidence.append(Evidence(unit, f"{len(pieces)} pieces, {abreast} abreast", above))
    upto = "" if len(evidence) == 1 else "up to "
    many = f"{show_many(len(evidence), 'unit')} of {upto}{most} convolutions and poolings"
    return many + (f", {upto}{beside} side by side" if beside > 1 else ""), evidence


def _elementwise(part: Part, trace: Trace) -> tuple[str, list[Evidence]]:
    """G4. The paper counts depthwise convolutions here, for their FLOPs per byte."""
    pointwise = [op for op in part.ops if op.kind in ELEMENTWISE]
    depthwise = [c.op for c in _convolutions(part.ops) if c.is_depthwise]
    evidence = [Evidence(op.module, op.name, op.cost.nbytes) for op in (*pointwise, *depthwise)]
    moved, all_moved = sum(one.above for one in evidence), part.totals.traffic_eager_bytes
    # Once a compiler folds element-wise work into the kernel before, less need move.
    spared = all_moved - part.totals.traffic_fused_bytes
    what = []
    if pointwise:
        chain = _longest_chain(part.ops)
        chains = f" in chains of up to {chain}" if chain > 1 else ""
        what.append(f"{show_many(len(pointwise), 'element-wise kernel')}{chains}")
    if depthwise:
        what.append(show_many(len(depthwise), "depthwise convolution"))
    share = f"{show(moved, 'B')} of {show(all_moved, 'B')} MB moved"
    folding = f"; folding would spare {show(spared, 'B')} MB" if spared else ""
    return f"{' and '.join(what)}: {share}{folding}", evidence


def _worst(evidence: Sequence[Evidence]) -> str:
    if not evidence:
        return ""
    worst = max(evidence, key=lambda one: one.above)
    return f": {worst.what}" if len(evidence) == 1 else f", the worst {worst.what}"


GUIDELINES: Mapping[str, Guideline] = {
    one.key: one
    for one in (
        Guideline(
            "G1",
            "equal channel widths move the least memory",
            "element",
            "memory access of 1x1 convolutions above the bound of Eq. 1 at the same FLOPs",
            "memory_access_elements",
            _unequal_widths,
        ),
        Guideline(
            "G2",
            "groups move more memory",
            "element",
            "memory access of grouped convolutions above that of g = 1 at the same FLOPs and input "
            "(Eq. 2); depthwise ones are left to G4, as in the paper",
            "memory_access_elements",
            _groups,
        ),
        Guideline(
            "G3",
            "fragments cost parallelism",
            "count",
            f"kernels above those of {REGULAR_FRAGMENTS} convolutions or poolings a unit",
            "kernels",
            _fragments,
        ),
        Guideline(
            "G4",
            "element-wise work is not free",
            "B",
            "traffic of element-wise kernels and depthwise convolutions",
            "traffic_eager_bytes",
            _elementwise,
        ),
    )
}


# --- reading a trace ---------------------------------------------------------------------------


class _Convolution:
    """A convolution as the guidelines see it: widths, groups, kernel, and positions put out."""

    def __init__(self, op: Op) -> None:
        x, weight, out = op.args[0], op.args[1], op.out
        self.op = op
        self.c1, self.c2 = x.shape[1], weight.shape[0]
        self.groups = self.c1 // weight.shape[1]
        self.kernel, self.side = weight.shape[2:], out.shape[2:]
        self.positions = out.shape[0] * prod(self.side)
        keeps_size = x.shape[2:] == self.side
        self.is_pointwise = prod(self.kernel) == 1 and self.groups == 1 and keeps_size
        self.is_depthwise = self.groups > 1 and self.groups == self.c1

    def __str__(self) -> str:
        groups = f", g = {self.groups}" if self.groups > 1 else ""
        kernel = "" if prod(self.kernel) == 1 else f"{_by(self.kernel)} "
        return f"{kernel}{self.c1} > {self.c2}{groups} on {_by(self.side)}"


def _by(sizes: Iterable[int]) -> str:
    return "x".join(map(str, sizes))


def _convolutions(ops: Iterable[Op]) -> list[_Convolution]:
    """Those that are not transposed: the equations do not speak of these."""
    return [
        _Convolution(op)
        for op in ops
        if op.kind == CONVOLUTION and op.arg(6, "transposed") is not True
    ]


def _units(block: str, trace: Trace) -> list[str]:
    """The building blocks of a block: what is inside of modules that only hold other modules. A
    stage computes nothing itself, and all it holds are units; a unit adds or joins, or holds
    layers. So containers are told from units by what they do, not by their class."""
    children: dict[str, list[str]] = defaultdict(list)
    for path in filter(None, trace.modules):
        children[path.rpartition(".")[0]].append(path)
    computing = {op.module for op in trace.ops}

    def inside(path: str) -> list[str]:
        held = children.get(path, [])
        if path in computing or not held or not all(child in children for child in held):
            return [path]
        return [unit for child in held for unit in inside(child)]

    return inside("" if block == ROOT else block)


def _within(path: str, unit: str) -> bool:
    return not unit or path == unit or path.startswith(f"{unit}.")


def _longest_chain(ops: Sequence[Op]) -> int:
    """Of element-wise kernels that run one after the other, each on what the one before wrote."""
    longest = length = 0
    written: set[tuple[int, int]] = set()
    for op in ops:
        follows = any(t.value in written for t in op.inputs)
        length = 0 if op.kind not in ELEMENTWISE else length + 1 if follows else 1
        written = {t.value for t in op.outputs} if length else set()
        longest = max(longest, length)
    return longest
