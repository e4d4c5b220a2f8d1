"""What can this machine tell apart? A model against itself, and against itself with more to do.

Identical models must not be called different, and a known burden must be found. Both are run
through the very protocol that `latency` uses.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import stdev
from typing import Any

from detrbench.core.errors import DetrbenchError
from detrbench.core.files import make_folder, read_kept, write_atomically
from detrbench.core.stats import mean_interval
from detrbench.core.units import show_imgsz
from detrbench.models.sources import check_unchanged
from detrbench.reports.case import Case
from detrbench.reports.comparison import Comparison
from detrbench.reports.parse_cases import make_cases
from detrbench.reports.verdicts import ALPHA, LEAST_PROCESSES, Verdict
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.replication import Run, load_run, replicate
from detrbench.timing.resolution import Resolution, detectable
from detrbench.timing.rounds import OnProgress
from detrbench.timing.rows import latency_comparisons

EXTRA = (0.03, 0.05, 0.10)
"""Burdens, as a share of the model's time."""

COPY = "an identical copy"

_CHECK, _UNIT = "check", "unit.json"
_TRIAL_UNITS = 16
_SIZING = 0.6
"""Of the budget, what all trials together may take on a machine where each process is slow."""
_LEAST_EFFECT, _WANTED_EFFECT = 0.25, 0.5
"""A trial burden below the first says too little about one unit, and the next aims at the second:
what a ratio is wrong by, a percent or two, is then a small part of the burden."""
_MOST_UNITS = 65_536


@dataclass(frozen=True)
class Finding:
    """One burden, and what was made of it.

    Attributes:
        name: of the stand-in.
        known: its share of the model's time, as sized; 0 for the copy.
        ratio, low, high: as measured; `None` where too few processes ended.
        verdict: at the margin asked for.
        seen: whether the interval excludes "no difference".
        reasons: why the verdict is not a plainer one.
    """

    name: str
    known: float
    ratio: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    seen: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class SelfCheck:
    """What a self-check found.

    Attributes:
        findings: the copy first.
        windows: of six successive processes each.
        alarms: windows in which identical models look different.
    """

    findings: tuple[Finding, ...]
    windows: int
    alarms: int
    resolution: Resolution
    run: Run


def check_machine(
    model: str = "rtdetr-l",
    *,
    device: str = "cpu",
    imgsz: tuple[int, int] = (320, 320),
    threads: int | None = None,
    budget_s: float = 300.0,
    margin: float = 0.02,
    folder: Path,
    replicate: Callable[..., Run] = replicate,
    now: Callable[[], float] = time.monotonic,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> SelfCheck:
    """Time `model` against a copy and against itself with 3, 5 and 10 % more to do.

    Args:
        budget_s: for everything; what finding out how large a burden is takes, included.
        folder: where the samples of every process are kept.

    Raises:
        DetrbenchError: too few processes came to their end to say anything.
        UsageError: the request cannot be carried out as given.
    """
    ends = now() + budget_s
    (case,) = make_cases([model], {"device": [device], "imgsz": [imgsz], "threads": [threads]})

    def run(others: tuple[Case, ...], seconds: float, name: str) -> Run:
        where = folder / name
        make_folder(where)
        checking = name == _CHECK
        # A trial ends with its second process; what it leaves of its time is for what follows.
        processes = None if checking else 2
        budget = Budget(seconds, processes, margin=margin, early=False)
        said = announce if checking else None  # the trials' plans are nobody's concern
        return replicate(Request((case, *others)), budget, where, progress=progress, announce=said)

    unit = share_of_a_unit(case, _SIZING * budget_s, run)
    write_atomically(folder / _UNIT, json.dumps({"share_of_a_unit": unit}) + "\n")
    loaded = [
        case_with_load(case, f"{extra:.0%} more", max(1, round(extra / unit))) for extra in EXTRA
    ]
    left_s = max(ends - now(), 1.0)
    done = run((case_with_load(case, COPY, 0), *loaded), left_s, _CHECK)
    return _checked(done, unit, budget_s)


def check_longer(
    folder: Path,
    *,
    budget_s: float,
    replicate: Callable[..., Run] = replicate,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
) -> SelfCheck:
    """Add processes to the self-check in `folder`.

    Args:
        budget_s: seconds more.

    Raises:
        DetrbenchError: as `check_machine`.
        UsageError: there is none that came so far.
    """
    before = load_run(folder / _CHECK)
    check_unchanged((case.model for case in before.request.cases), str(folder))
    before.check_versions(str(folder))
    unit = read_kept(
        folder / _UNIT,
        lambda text: float(json.loads(text)["share_of_a_unit"]),
        what="self-check",
        hint="Give the folder that `detrbench selfcheck` named.",
    )
    budget = dataclasses.replace(before.budget, budget_s=before.spent_s + budget_s)
    told: dict[str, Any] = {"progress": progress, "announce": announce}
    done = replicate(before.request, budget, folder / _CHECK, **told)
    return _checked(done, unit, before.spent_s + budget_s)


def _checked(done: Run, unit: float, budget_s: float) -> SelfCheck:
    """What the run says, whose burdens are of units of that share."""
    if len(done.finished) < 2:
        why = next((one.reason for one in done.outcomes if one.reason), "the budget was too short")
        raise DetrbenchError(
            f"{len(done.finished)} processes came to their end: {why}", hint="Raise --budget."
        )
    pairs = {pair.case.model: pair for pair in latency_comparisons(done)}
    cases = done.request.cases[1:]
    windows = _windows(done.log_ratios(COPY))
    return SelfCheck(
        findings=tuple(
            _finding(pairs[case.name], case.execution.extra_work * unit) for case in cases
        ),
        windows=len(windows),
        alarms=sum(windows),
        resolution=_resolution(done, budget_s),
        run=done,
    )


def case_with_load(case: Case, name: str, units: int) -> Case:
    """`case` under another name, with so many units of extra work."""
    model = dataclasses.replace(case.model, name=name)
    return dataclasses.replace(case, name=name, model=model).replace(extra_work=units)


def share_of_a_unit(
    case: Case, seconds: float, run: Callable[[tuple[Case, ...], float, str], Run]
) -> float:
    """What one unit of extra work takes, as a share of the case's time, found by timing it in a
    trial that grows until noise is little beside it; most models need two.

    Args:
        seconds: for all trials.
        run: lets cases be timed against `case`, in so many seconds, under a name.

    Raises:
        DetrbenchError: it cannot be told.
        KeyboardInterrupt: a trial was interrupted.
    """
    units = _TRIAL_UNITS
    for trial in range(1, 5):
        name = f"{units} units more"
        done = run((case_with_load(case, name, units),), seconds / 2**trial, f"trial-{trial}")
        if done.stopped == "interrupted":  # a check without the size of its burdens is none
            raise KeyboardInterrupt
        ratio = done.judge(name).ratio
        if ratio is None:
            why = next((one.reason for one in done.outcomes if one.reason), "nothing was timed")
            raise DetrbenchError(
                f"the size of a burden could not be measured: {why}", hint="Raise --budget."
            )
        effect = ratio - 1
        if effect >= _LEAST_EFFECT:
            return effect / units
        growth = _WANTED_EFFECT / max(effect, 0.005)
        units = min(_MOST_UNITS, math.ceil(units * growth))
    raise DetrbenchError(
        "extra work could not be told from noise: this machine is too busy",
        hint="Try again when it is quiet, or with a larger --budget.",
    )


def _finding(pair: Comparison, known: float) -> Finding:
    """What `latency` would say of it, a machine that spoilt it included."""
    low, high = pair.ci_low, pair.ci_high
    seen = low is not None and high is not None and not low <= 1.0 <= high
    verdict = Verdict(pair.verdict)
    return Finding(pair.model, known, pair.ratio, low, high, verdict, seen, pair.reasons)


def _windows(log_ratios: list[float]) -> list[bool]:
    """For every six successive processes, whether identical models look different in them."""
    found = []
    for start in range(len(log_ratios) - LEAST_PROCESSES + 1):
        interval = mean_interval(log_ratios[start : start + LEAST_PROCESSES], ALPHA)
        found.append(interval is not None and not interval.low <= 0.0 <= interval.high)
    return found


def _resolution(run: Run, budget_s: float) -> Resolution:
    shown = run.pilot()
    ratios = run.log_ratios(COPY)
    if shown is None or len(ratios) < 2:
        raise DetrbenchError("too few processes were timed to say anything")
    sd = stdev(ratios)
    rounds = run.plan.rounds if run.plan else 6
    within = math.sqrt(math.pi / 2) * shown.within_sd / math.sqrt(rounds)  # see `plan_run`
    # Two models instead of all of these: a comparison's usual process.
    process_s = shown.start_s + rounds * shown.round_s * 2 / len(run.request.cases)
    first = run.request.cases[0]
    return Resolution(
        process_sd=sd,
        # Never quite nothing: a small sample may scatter less than its rounds let one expect.
        between_sd=max(math.sqrt(max(sd**2 - within**2, 0.0)), 0.001),
        process_s=process_s,
        budget_s=budget_s,
        detectable=detectable(sd, max(2, int(budget_s // process_s))),
        model=first.model.name,
        imgsz=show_imgsz(first.execution.imgsz),
        created=datetime.now().astimezone().date().isoformat(),
        circumstances=run.circumstances,
        files={file.path: file.sha256 for file in first.model.files},
    )


def exit_code(check: SelfCheck) -> int:
    """130 after Ctrl-C, else 0: a machine that resolves little is a finding, not a failure."""
    return 130 if check.run.stopped == "interrupted" else 0
