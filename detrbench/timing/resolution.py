"""What this machine can resolve, as its self-check found; `detrbench.machine.state` keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detrbench.core.files import UNREADABLE
from detrbench.core.reading import check_fields
from detrbench.core.stats import student_t
from detrbench.core.units import show_eta, show_part
from detrbench.machine import state
from detrbench.machine.circumstances import Circumstances, circumstances_from
from detrbench.machine.state import CIRCUMSTANCES
from detrbench.reports.verdicts import LEAST_PROCESSES
from detrbench.timing.plan import last_alpha

POWER = 0.8
"""Chance to find a difference that is there, in what is called detectable: Cohen's convention."""

_MOST_PROCESSES = 1000
_NAME = "selfcheck"


@dataclass(frozen=True)
class Resolution:
    """The outcome of a self-check.

    Attributes:
        process_sd: of the log-ratio of identical models from process to process.
        between_sd: the part of it that more rounds in a process would not lower.
        process_s: seconds of one process with two models.
        budget_s: the budget it was asked for.
        detectable: the smallest difference found at that budget in 80 % of runs, 0.015 for 1.5 %.
        model, imgsz, created: what was measured and when.
        circumstances: of the processes; `None` of an older version, which did not keep them.
        files: of the model, path -> SHA-256; likewise.
    """

    process_sd: float
    between_sd: float
    process_s: float
    budget_s: float
    detectable: float
    model: str
    imgsz: str
    created: str
    circumstances: Circumstances | None = None
    files: Mapping[str, str] | None = None

    @property
    def usable(self) -> bool:
        """Whether its numbers can be those of a machine, which a file of a memory need not hold."""
        spreads = min(self.process_sd, self.between_sd)
        return spreads >= 0 and min(self.process_s, self.budget_s, self.detectable) > 0

    def too_small(self, margin: float) -> str:
        """Why a verdict about `margin` is not to be expected."""
        disturbed = self.circumstances and self.circumstances.disturbed
        how = f", made {disturbed}" if disturbed else ""
        return (
            f"a margin of {show_part(margin)} is below what this machine resolves: "
            f"{self.smallest} in {show_eta(self.budget_s)}, says its self-check of "
            f"{self.created} ({self.model}, {self.imgsz}{how}); {self.time_for(margin)}"
        )

    @property
    def smallest(self) -> str:
        """`detectable`, as it is printed everywhere."""
        return f"{self.detectable:.1%}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a file."""
        return {**vars(self), CIRCUMSTANCES: self.circumstances and self.circumstances.to_list()}

    def time_for(self, difference: float) -> str:
        """How long a verdict about `difference` takes, in words."""
        seconds = seconds_for(difference, self.process_sd, self.process_s)
        about = show_part(difference)
        if seconds is None:
            return f"a {about} verdict is out of reach"
        return f"a {about} verdict takes about --budget {seconds:.0f}"


def detectable(process_sd: float, processes: int) -> float:
    """The smallest difference that `processes` processes find with 80 % power; infinite for one.

    The interval excludes it when it is t(1 - alpha/2) standard errors away; that the estimate falls
    on the right side of that line in 80 % of runs takes t(0.8) more (Cohen, "Statistical Power
    Analysis", 1988, with t for z).
    """
    if processes < 2:
        return math.inf
    degrees = processes - 1
    away = student_t(1 - last_alpha(processes) / 2, degrees) + student_t(POWER, degrees)
    return math.expm1(away * process_sd / math.sqrt(processes))


def seconds_for(difference: float, process_sd: float, process_s: float) -> float | None:
    """The shortest run that detects `difference` with 80 % power; `None` beyond any patience."""
    for processes in range(LEAST_PROCESSES, _MOST_PROCESSES):
        if detectable(process_sd, processes) <= difference:
            return processes * process_s
    return None


def remember(resolution: Resolution, device: str) -> str:
    """Keep `resolution` for this machine and `device`, unless its circumstances forbid that, and
    say which, as `state.remember_quieter` does."""
    seen = resolution.circumstances
    return state.remember_quieter(_NAME, device, resolution.to_dict(), seen)


def remembered(device: str) -> Resolution | None:
    """What the self-check on this machine and `device` found; `None` if there was none."""
    entry = state.remembered(_NAME, device)
    if entry is None:
        return None
    try:
        seen = circumstances_from(entry.get(CIRCUMSTANCES))
        found = Resolution(**{**entry, CIRCUMSTANCES: seen})
        check_fields(found)
    except UNREADABLE:  # of another version: as good as none
        return None
    return found if found.usable else None
