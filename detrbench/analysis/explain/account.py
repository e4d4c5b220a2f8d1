"""Where the time went that fewer FLOPs promised to save: an account that adds up. Pure.

The promise is that time falls as FLOPs do. What becomes of it is booked on three accounts, and what
is left is the saving that the clock shows:

- which FLOPs: those that were taken away ran faster, or slower, than the baseline's average;
- each group of parts, at what rate: the variant's takes longer, or shorter, than its FLOPs would at
  the baseline's rate in the same group; where both do the same, that is the machine;
- what lies between the parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from detrbench.analysis.explain.findings import Explanation, Group, TimedModel, Try
from detrbench.analysis.probe.ceilings import DISPATCH

_EPSILON = 5e-4
"""Two amounts of FLOPs that print the same percentage are the same."""


@dataclass(frozen=True)
class GroupSaving:
    """What one group of parts did with the promise."""

    name: str
    before: Group
    after: Group
    kept_s: float  # beyond its FLOPs at the baseline's rate; negative: gives more than promised
    unchanged: bool  # whether both models do the same in it


@dataclass(frozen=True)
class Saving:
    """The account; `promised_s` less all that was kept is `saved_s`."""

    flops_ratio: float | None  # the variant's over the baseline's; None if that has no FLOPs
    time_ratio: float  # likewise
    promised_s: float  # that time would fall by, if it fell as FLOPs do
    cheap_s: float  # kept, because the FLOPs taken away ran faster than the average
    groups: tuple[GroupSaving, ...]  # in the order of the models
    between_s: float  # kept between the parts
    saved_s: float  # what the clock shows

    @property
    def reached(self) -> float | None:
        """The share of the promise that reached the clock; None where nothing was promised."""
        ratio = self.flops_ratio
        if ratio is None or abs(ratio - 1) < _EPSILON:
            return None
        return (1 - self.time_ratio) / (1 - ratio)

    @property
    def unchanged(self) -> tuple[GroupSaving, ...]:
        return tuple(group for group in self.groups if group.unchanged)


def saving(explanation: Explanation) -> Saving:
    """The account of an explanation."""
    before, after = explanation.baseline, explanation.variant
    flops, flops_now = before.whole.work.flops, after.whole.work.flops
    ratio = flops_now / flops if flops else None
    promised = before.seconds * (1 - ratio) if ratio is not None else 0.0
    names = dict.fromkeys((*before.groups, *after.groups))
    groups = tuple(_group(name, before, after) for name in names)
    at_own_rate = sum(
        group.before.seconds * (1 - group.after.flops / group.before.flops)
        for group in groups
        if group.before.flops
    )
    return Saving(
        flops_ratio=ratio,
        time_ratio=after.seconds / before.seconds,
        promised_s=promised,
        cheap_s=promised - at_own_rate,
        groups=groups,
        between_s=after.gap_s - before.gap_s,
        saved_s=before.seconds - after.seconds,
    )


def _group(name: str, before: TimedModel, after: TimedModel) -> GroupSaving:
    here, there = before.group(name), after.group(name)
    expected = here.seconds * (there.flops / here.flops if here.flops else 1.0)
    return GroupSaving(name, here, there, there.seconds - expected, here.asked == there.asked)


# --- what to try next --------------------------------------------------------------------------

BATCH = 8
"""How many times as many images the larger batch has."""


def batching(times: float) -> str:
    """What tables call a batch of so many times as many images."""
    return f"a --batch {times:g} times as large, per image"


LAYOUT = "--memory-format channels_last"
BATCHING = batching(BATCH)
COMPILING = "--runtime compile"
CAPTURING = "--runtime cudagraph"


def predictions(explanation: Explanation) -> tuple[Try, ...]:
    """What the floors say of the usual remedies, for the variant, best first.

    A floor that goes takes at least its own time along where kernels run one after the other, if
    the rest runs as before; what takes its place is not known here. Nothing is said of a runtime
    with kernels of its own.
    """
    if explanation.runtime != "eager":
        return ()
    side, launch_s = explanation.variant, explanation.ceilings["dispatch"]
    whole = side.whole.work
    # Element-wise kernels go into those before them, as far as the trace says that they can.
    folded_s = (whole.kernels - whole.fused_kernels) * launch_s + sum(
        (part.work.nbytes - part.work.fused_bytes) * part.floor.memory / part.work.nbytes
        for part in side.parts
        if part.work.nbytes
    )
    # The images of a batch share launches.
    shared_s = whole.kernels * launch_s * (1 - 1 / BATCH)
    # Where launching binds, the next higher floor is left.
    captured_s = sum(
        part.floor.dispatch - max(part.floor.compute, part.floor.memory)
        for part in side.parts
        if part.floor.limit == DISPATCH
    )
    folded = "the traffic and launches of element-wise operators that can be folded"
    spared = [
        (COMPILING, folded_s, folded),
        (BATCHING, shared_s, "the launches that the further images share"),
    ]
    if explanation.device.startswith("cuda"):
        spared.append((CAPTURING, captured_s, "launches where they bind, down to the next floor"))
    tries = [
        Try(name, max(0.0, 1 - gone_s / side.seconds), measured=False, how=how)
        for name, gone_s, how in spared
    ]
    return tuple(sorted(tries, key=lambda one: one.ratio or 1.0))
