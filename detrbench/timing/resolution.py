"""What this machine can resolve, as its self-check found, and where that is remembered.

The file is in the user's state folder (XDG Base Directory Specification): $XDG_STATE_HOME/detrbench
or ~/.local/state/detrbench. An entry belongs to a machine, a torch and a device; after a change of
either nothing is known again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detrbench.environment import Environment
from detrbench.report import write_atomically
from detrbench.stats import student_t
from detrbench.timing.planning import last_alpha
from detrbench.units import show_eta, show_part
from detrbench.verdicts import LEAST_PROCESSES

POWER = 0.8
"""Chance to find a difference that is there, in what is called detectable: Cohen's convention."""

_MOST_PROCESSES = 1000


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
    """

    process_sd: float
    between_sd: float
    process_s: float
    budget_s: float
    detectable: float
    model: str
    imgsz: str
    created: str

    def too_small(self, margin: float) -> str:
        """Why a verdict about `margin` is not to be expected."""
        return (
            f"a margin of {show_part(margin)} is below what this machine resolves: "
            f"{self.detectable:.1%} in {show_eta(self.budget_s)}, says its self-check of "
            f"{self.created} ({self.model}, {self.imgsz}); {self.time_for(margin)}"
        )

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


def remember(resolution: Resolution, device: str) -> Path:
    """Keep `resolution` for this machine and `device`; the file it is in.

    Raises:
        UsageError: it cannot be written.
    """
    path = state_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = _entries(path)
    entries[_machine(device)] = dataclasses.asdict(resolution)
    write_atomically(path, json.dumps(entries, indent=1) + "\n")
    return path


def remembered(device: str) -> Resolution | None:
    """What the self-check on this machine and `device` found; `None` if there was none."""
    entry = _entries(state_file()).get(_machine(device))
    try:
        return None if entry is None else Resolution(**entry)
    except TypeError:  # of another version: as good as none
        return None


def state_file() -> Path:
    """Where self-checks are remembered."""
    # An empty or relative value is to be ignored, says the specification.
    home = Path(os.environ.get("XDG_STATE_HOME", ""))
    base = home if home.is_absolute() else Path.home() / ".local" / "state"
    return base / "detrbench" / "selfcheck.json"


def _machine(device: str) -> str:
    """What makes two runs comparable, as far as it can be said without importing torch."""
    environment = Environment.read()
    kind = "cuda:0" if device == "cuda" else device
    facts = (
        environment.processor,
        environment.logical_cpus,
        environment.cpu_quota,
        environment.memory_bytes,
        environment.torch,
        kind,
    )
    return " | ".join(str(fact) for fact in facts)


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or no file of ours: it is only a memory
        return {}
    return entries if isinstance(entries, dict) else {}
