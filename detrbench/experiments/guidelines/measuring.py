"""The experiments, timed by the protocol that times detectors, as one Report.

All of a guideline's experiments share their processes, because starting one takes as long as timing
all of them; each network is still compared with the first of its own experiment alone, paired
within rounds.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from detrbench.core.alarms import alarm
from detrbench.core.errors import TimeIsUp, UsageError
from detrbench.core.files import make_folder, read_kept, write_atomically
from detrbench.core.processes import called_as
from detrbench.core.version import __version__
from detrbench.experiments.guidelines.paper import (
    GUIDELINES,
    SIDE,
    SOURCE,
    WIDTHS,
    Experiment,
    Network,
    check_guideline,
    experiments,
)
from detrbench.experiments.suites import unreached
from detrbench.machine.devices import parse_device
from detrbench.machine.environment import Environment
from detrbench.models.model import Model
from detrbench.models.sources import check_unchanged, resolve
from detrbench.reports.case import Case, Execution
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import LEAST_PROCESSES, MARGIN
from detrbench.runtimes import check_execution
from detrbench.timing.measuring import seconds_for
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.records import naming, request_path, run_folder
from detrbench.timing.replication import Run, load_run, replicate
from detrbench.timing.rounds import OnProgress, Progress
from detrbench.timing.rows import latency_comparisons, latency_results
from detrbench.timing.stop_rules import Plan

BUDGET_S = 120.0
"""Seconds for a guideline: about 15 processes on two cores, and all four in eight minutes."""


def measure_guidelines(
    guidelines: Sequence[str] = (),
    *,
    device: str = "cpu",
    widths: str | None = None,
    batch: int = 1,
    threads: int | None = None,
    runtime: str = "eager",
    budget_s: float | None = None,
    margin: float = MARGIN,
    folder: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    replicate: Callable[..., Run] = replicate,
) -> Report:
    """Time the networks of the paper's tables, each against the first of its column.

    Args:
        guidelines: "G1" to "G4"; all of them, if none is named.
        device: "cpu", "cuda" or "cuda:N".
        runtime: what executes the networks.
        widths: the paper's for its "gpu" or its "arm"; `None` for those of such a device.
        budget_s: seconds for everything; two minutes for each guideline, if `None`.
        margin: the smallest difference that counts.
        folder: where each process's outcome is kept, and an earlier run gone on with; a temporary
            one, removed after a complete run, if `None`.
        replicate: the protocol.

    Returns:
        A row per network and a comparison of each with the first of its experiment. After Ctrl-C,
        what was measured until then; rows that were not reached say so.

    Raises:
        UsageError: the request cannot be carried out as given.
    """
    ends = None if budget_s is None else time.monotonic() + budget_s
    asked = tuple(dict.fromkeys(check_guideline(name) for name in guidelines or GUIDELINES))
    asked_for = Execution((SIDE, SIDE), batch, device=device, runtime=runtime, threads=threads)
    execution = check_execution(asked_for)
    widths = widths or widths_for(device)
    requests = {name: _request(name, widths, execution) for name in asked}
    budget = Budget(budget_s=BUDGET_S, margin=margin, early=False)
    counts = _count_all(requests, widths, ends, progress)
    with run_folder(folder, "guidelines") as where:
        _keep_asked(where / _ASKED, {"guidelines": list(asked), "widths": widths})
        going = _Going(where, requests, budget, ends, replicate, progress, announce)
        runs = going.time_all()
    more = _more(requests, runs, budget_s)
    _announce_more(more, where, announce)
    if folder is None and more is None:
        shutil.rmtree(where)
    return _report(requests, runs, counts, widths)


def _more(
    requests: Mapping[str, Request], runs: Mapping[str, Run], budget_s: float | None
) -> str | None:
    """The flag with the seconds that may decide what is open; "" where its own time is left, `None`
    where all guidelines have the processes of a verdict."""
    if any(run.stopped in ("interrupted", "failures") for run in runs.values()):
        return ""
    short = [run for run in runs.values() if len(run.finished) < LEAST_PROCESSES]
    if not short and len(runs) == len(requests):
        return None
    known = [seconds_for(run, LEAST_PROCESSES - len(run.finished)) for run in short]
    # Where nobody knows what a process takes, as many seconds again would be as short.
    each_s = max(60.0, 2 * (budget_s or BUDGET_S) / len(requests))
    return f" --budget {math.ceil(sum(each_s if one is None else one for one in known))}"


def _announce_more(more: str | None, folder: Path, announce: Callable[[str], None] | None) -> None:
    if more is not None and announce is not None:
        announce(f"cut short; go on with: {called_as()} guidelines --resume {folder}{more}")


def resume_guidelines(
    folder: str | Path,
    *,
    budget_s: float | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    replicate: Callable[..., Run] = replicate,
) -> Report:
    """Go on with the run in `folder`, finished or cut short.

    Args:
        budget_s: seconds more, for all guidelines; what their own time still allows, if `None`.

    Raises:
        UsageError: there is none.
    """
    ends, where = None if budget_s is None else time.monotonic() + budget_s, Path(folder)

    def parse(text: str) -> tuple[list[str], str]:
        plain = json.loads(text)
        return [check_guideline(name) for name in plain["guidelines"]], plain["widths"]

    hint = "Give the folder that `detrbench guidelines` named."
    names, widths = read_kept(where / _ASKED, parse, what="guidelines", hint=hint)
    before = {name: load_run(where / name) for name in names if begun(where / name)}
    if not before:
        raise UsageError("nothing was begun there", where=str(where), hint="Measure anew.")
    first = next(iter(before.values()))
    execution = first.request.cases[0].execution
    requests = {
        name: before[name].request if name in before else _request(name, widths, execution)
        for name in names
    }
    check_unchanged((case.model for case in first.request.cases), str(where))
    first.check_versions(str(where))
    counts = _count_all(requests, widths, ends, progress)
    going = _Going(where, requests, first.budget, ends, replicate, progress, announce)
    runs = before | going.time_all()
    _announce_more(_more(requests, runs, budget_s), where, announce)
    return _report(requests, runs, counts, widths)


_ASKED = "guidelines.json"


def _keep_asked(path: Path, asked: Mapping[str, Any]) -> None:
    """So that another process can go on. Raises UsageError where `path` is of something else."""
    text = json.dumps(asked) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UsageError(
            "holds other guidelines or widths",
            where=str(path.parent),
            hint="Name another folder, or go on with those: --resume.",
        )
    write_atomically(path, text)


@dataclass
class _Going:
    """All guidelines on their way, each in a folder of its own."""

    folder: Path
    requests: Mapping[str, Request]
    budget: Budget
    ends: float | None
    replicate: Callable[..., Run]
    progress: OnProgress | None
    announce: Callable[[str], None] | None

    def time_all(self) -> dict[str, Run]:
        """One after the other, until Ctrl-C."""
        runs: dict[str, Run] = {}
        tell = self.announce or (lambda text: None)
        shown = naming(self.folder, self.announce, self.progress)
        for left, (guideline, request) in zip(
            range(len(self.requests), 0, -1), self.requests.items(), strict=True
        ):
            where = self.folder / guideline
            make_folder(where)
            tell(f"{guideline}: {GUIDELINES[guideline].title}")
            seconds = self._share_s(left)
            runs[guideline] = self.replicate(
                request,
                self._budget(where, seconds),
                where,
                progress=_teller(shown, guideline, left, seconds),
                announce=tell,
            )
            if runs[guideline].stopped == "interrupted":
                break
        return runs

    def _share_s(self, left: int) -> float:
        """Of one guideline, where so many are still to come, itself included."""
        if self.ends is None:
            return self.budget.budget_s or BUDGET_S
        return max((self.ends - time.monotonic()) / left, 1.0)

    def _budget(self, where: Path, seconds: float) -> Budget:
        """Seconds more than it has had, where somebody gave some."""
        if self.ends is None and begun(where):
            return load_run(where).budget
        spent_s = load_run(where).spent_s if begun(where) else 0.0
        return replace(self.budget, budget_s=spent_s + seconds)


def begun(folder: Path) -> bool:
    """Whether a run has left something to go on with in `folder`."""
    return request_path(folder).is_file()


def widths_for(device: str) -> str:
    """Which of the paper's widths suit `device`: small ones for a processor. Raises UsageError for
    an unknown device."""
    return "arm" if parse_device(device)[0] == "cpu" else "gpu"


def _teller(
    tell: OnProgress | None, guideline: str, left: int, budget_s: float
) -> OnProgress | None:
    """Turns one guideline's progress into that of all that are still to come."""
    if tell is None:
        return None
    after_s = budget_s * (left - 1)

    def told(one: Progress) -> None:
        total = None if one.total is None else one.total + after_s
        eta_s = None if one.eta_s is None else one.eta_s + after_s
        tell(Progress(f"{guideline}, {one.phase}", one.done, total, eta_s))

    return told


def _request(guideline: str, widths: str, execution: Execution) -> Request:
    # In a fixed order the first and the last of a round would follow upon themselves, with their
    # weights still in the cache.
    plan = Plan(budget_s=30.0, order="shuffled")
    cases = tuple(_case(network, execution) for network in _networks(guideline, widths))
    return Request(cases, resources=False, plan=plan)


def _networks(guideline: str, widths: str) -> list[Network]:
    columns = experiments(guideline, widths)
    return [network for experiment in columns for network in experiment.networks]


def _case(network: Network, execution: Execution) -> Case:
    """A network as any model that a callable builds, under the name that it has in the tables."""
    reference = f"detrbench.experiments.guidelines.networks:{network.callable(execution.batch)}"
    return Case(network.name, resolve(Model(network.name, reference)), execution)


Counts = Mapping[str, int | float | None]
"""Of a network, by the keys of metrics; empty where there was no time to count it."""

_NOT_COUNTED = "not counted: the budget was over before"


def _count_all(
    requests: Mapping[str, Request], widths: str, ends: float | None, progress: OnProgress | None
) -> dict[str, Counts]:
    """What each network costs by our trace, as many as can be counted before `ends`. It comes
    before the timing: at the end of a budget there is no time left for it."""
    batch = next(iter(requests.values())).cases[0].execution.batch
    networks = [network for name in requests for network in _networks(name, widths)]
    found: dict[str, Counts] = {network.name: {} for network in networks}
    with suppress(TimeIsUp), alarm(None if ends is None else ends - time.monotonic()):
        for done, network in enumerate(networks):
            if progress is not None:
                progress(Progress("counting", done, len(networks)))
            found[network.name] = _counts(network, batch)
    return found


def _counts(network: Network, batch: int) -> Counts:
    import torch

    from detrbench.counting.tracing import COUNTED, trace
    from detrbench.experiments.guidelines.networks import make
    from detrbench.models.shapes import ShapesOnly

    with torch.device("meta"), ShapesOnly():
        built = make(network.guideline, network.arguments, batch).eval()
    traced = trace(built, SIDE, batch, in_place=True)
    return {key: getattr(traced, key) for key in COUNTED}


def _report(
    requests: Mapping[str, Request],
    runs: Mapping[str, Run],
    counts: Mapping[str, Counts],
    widths: str,
) -> Report:
    """What is left of the runs, by guideline; those of `requests` that were not reached say so."""
    rows: list[Result] = []
    comparisons: list[Comparison] = []
    for guideline, request in requests.items():
        for experiment in experiments(guideline, widths):
            if guideline in runs:
                view = _view(runs[guideline], experiment)
                timed = latency_results(view)
                comparisons.extend(_comparisons(view, experiment))
            else:
                cases = (request.case(network.name) for network in experiment.networks)
                timed = tuple(unreached(case, "timed") for case in cases)
            pairs = zip(timed, experiment.networks, strict=True)
            rows.extend(
                _cell(row, network, experiment, counts[network.name], widths)
                for row, network in pairs
            )
    measured = (one.measurement for run in runs.values() for one in run.outcomes)
    environment = next((one.environment for one in measured if one is not None), None)
    return Report(
        rows=tuple(rows),
        comparisons=tuple(comparisons),
        environment=environment or Environment.read().to_dict(),
        title="The ShuffleNetV2 guidelines",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        detrbench_version=__version__,
    )


def _view(run: Run, experiment: Experiment) -> Run:
    """`run` as if it had been of one experiment alone, so that its first network is the baseline.
    Every ratio is then of rounds in which both ran."""
    cases = tuple(run.request.case(network.name) for network in experiment.networks)
    return dataclasses.replace(run, request=dataclasses.replace(run.request, cases=cases))


def _comparisons(view: Run, experiment: Experiment) -> list[Comparison]:
    first, *others = experiment.networks
    return [
        dataclasses.replace(
            pair,
            baseline=_placed(pair.baseline, first, experiment),
            case=_placed(pair.case, network, experiment),
        )
        for pair, network in zip(latency_comparisons(view), others, strict=True)
    ]


def _placed(side: Side, network: Network, experiment: Experiment) -> Side:
    return dataclasses.replace(side, settings=_settings(side.settings, network, experiment))


def _cell(
    timed: Result, network: Network, experiment: Experiment, counts: Counts, widths: str
) -> Result:
    """A timed row with what the network costs by our trace, and what the paper printed of it."""
    paper = WIDTHS[widths]
    table = GUIDELINES[network.guideline].table
    return dataclasses.replace(
        timed,
        title=f"{network.guideline} {experiment.column}, {network.label}",
        settings=_settings(timed.settings, network, experiment),
        metrics={**counts, **timed.metrics},
        notes=timed.notes if counts else (*timed.notes, _NOT_COUNTED),
        published=[
            {
                "label": f"table {table}, {experiment.column}, {paper.machine}",
                "source": SOURCE,
                "speed": network.speed,
                "speed_unit": paper.speed,
            }
        ],
    )


def _settings(
    settings: Mapping[str, Any], network: Network, experiment: Experiment
) -> dict[str, Any]:
    """Without what is a detector's alone, and with the place in the paper's tables."""
    kept = {name: value for name, value in settings.items() if name not in ("nc", "fused")}
    return {
        **kept,
        "guideline": network.guideline,
        "experiment": experiment.column,
        "network": network.label,
    }
