"""The experiments, timed by the protocol that times detectors, as one Report.

All of a guideline's experiments share their processes, because starting one takes as long as timing
all of them; each network is still compared with the first of its own experiment alone, paired
within rounds.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

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
from detrbench.machine.devices import parse_device
from detrbench.machine.environment import Environment
from detrbench.models.model import Model
from detrbench.models.sources import resolve
from detrbench.reports.case import Case, Execution
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import MARGIN
from detrbench.runtimes import check_execution
from detrbench.timing.folders import naming, run_folder
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.replication import Run, replicate
from detrbench.timing.rounds import OnProgress, Progress
from detrbench.timing.rows import METRIC_KEYS, latency_comparisons, latency_results
from detrbench.timing.schedule import Plan

BUDGET_S = 120.0
"""Seconds for a guideline: about 15 processes on two cores, and all four in eight minutes."""

_CUT = ("interrupted", "failures")

Replicate = Callable[..., Run]


def measure_guidelines(
    guidelines: Sequence[str] = (),
    *,
    device: str = "cpu",
    widths: str | None = None,
    batch: int = 1,
    threads: int | None = None,
    budget_s: float | None = None,
    margin: float = MARGIN,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: OnProgress | None = None,
    announce: Callable[[str], None] | None = None,
    replicate: Replicate = replicate,
) -> Report:
    """Time the networks of the paper's tables, each against the first of its column.

    Args:
        guidelines: "G1" to "G4"; all of them, if none is named.
        device: "cpu", "cuda" or "cuda:N".
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
    asked = tuple(dict.fromkeys(check_guideline(name) for name in guidelines or GUIDELINES))
    # In a fixed order the first and the last of a round would follow upon themselves, with their
    # weights still in the cache.
    plan = Plan(budget_s=30.0, seed=seed, order="shuffled")
    execution = check_execution(Execution((SIDE, SIDE), batch, device=device, threads=threads))
    widths = widths or widths_for(device)
    requests = {
        guideline: Request(
            tuple(
                _case(network, execution, seed)
                for experiment in experiments(guideline, widths)
                for network in experiment.networks
            ),
            resources=False,
            plan=plan,
        )
        for guideline in asked
    }
    budget = Budget(
        budget_s=BUDGET_S if budget_s is None else budget_s / len(asked),
        margin=margin,
        early=False,
    )
    with run_folder(folder, "guidelines") as where:
        going = _Runner(
            requests=requests,
            widths=widths,
            budget=budget,
            folder=where,
            progress=naming(where, announce, progress),
            announce=announce or (lambda text: None),
            replicate=replicate,
        )
        going.until_done()
    if folder is None and not going.cut:
        shutil.rmtree(where)
    return going.report()


def widths_for(device: str) -> str:
    """Which of the paper's widths suit `device`: small ones for a processor.

    Raises:
        UsageError: an unknown device.
    """
    return "arm" if parse_device(device)[0] == "cpu" else "gpu"


@dataclasses.dataclass
class _Runner:
    """The runs on their way, guideline after guideline."""

    requests: Mapping[str, Request]
    widths: str
    budget: Budget
    folder: Path
    progress: OnProgress | None
    announce: Callable[[str], None]
    replicate: Replicate
    runs: dict[str, Run] = dataclasses.field(default_factory=dict)

    @property
    def cut(self) -> bool:
        return any(run.stopped in _CUT for run in self.runs.values())

    def until_done(self) -> None:
        for guideline, request in self.requests.items():
            where = self.folder / guideline
            where.mkdir(parents=True, exist_ok=True)
            self.announce(f"{guideline}: {GUIDELINES[guideline].title}")
            self.runs[guideline] = self.replicate(
                request,
                self.budget,
                where,
                progress=self._teller(guideline),
                announce=self.announce,
            )
            if self.runs[guideline].stopped == "interrupted":
                break
        if self.cut:
            self.announce(f"cut short; the same command with --folder {self.folder} goes on")

    def report(self) -> Report:
        rows: list[Result] = []
        comparisons: list[Comparison] = []
        for guideline, request in self.requests.items():
            for experiment in experiments(guideline, self.widths):
                run = self.runs.get(guideline)
                if run is None:
                    rows.extend(_unreached(request, experiment, self.widths))
                    continue
                rows.extend(_rows(run, experiment, self.widths))
                comparisons.extend(_comparisons(run, experiment))
        return Report(
            rows=tuple(rows),
            comparisons=tuple(comparisons),
            environment=self._environment(),
            title="The ShuffleNetV2 guidelines",
            created=datetime.now().astimezone().isoformat(timespec="seconds"),
            detrbench_version=__version__,
        )

    def _teller(self, guideline: str) -> OnProgress | None:
        """Turns one guideline's progress into that of all."""
        tell, budget_s = self.progress, self.budget.budget_s or 0.0
        if tell is None:
            return None
        before_s = budget_s * list(self.requests).index(guideline)
        after_s = budget_s * len(self.requests) - before_s - budget_s

        def told(one: Progress) -> None:
            total = None if one.total is None else before_s + one.total + after_s
            eta_s = None if one.eta_s is None else one.eta_s + after_s
            tell(Progress(f"{guideline}, {one.phase}", before_s + one.done, total, eta_s))

        return told

    def _environment(self) -> dict[str, Any]:
        measured = [
            outcome.measurement.environment
            for run in self.runs.values()
            for outcome in run.outcomes
            if outcome.measurement is not None
        ]
        return measured[0] if measured else Environment.read().to_dict()


# --- from a run to rows --------------------------------------------------------------------------


def _case(network: Network, execution: Execution, seed: int) -> Case:
    """A network as any model that a callable builds, under the name that it has in the tables."""
    reference = f"detrbench.experiments.guidelines.networks:{network.callable(execution.batch)}"
    return Case(network.name, resolve(Model(network.name, reference, seed=seed)), execution)


def _view(run: Run, experiment: Experiment) -> Run:
    """`run` as if it had been of one experiment alone, so that its first network is the baseline.
    Every ratio is then of rounds in which both ran."""
    cases = tuple(run.request.case(network.name) for network in experiment.networks)
    return dataclasses.replace(run, request=dataclasses.replace(run.request, cases=cases))


def _rows(run: Run, experiment: Experiment, widths: str) -> list[Result]:
    timed = latency_results(_view(run, experiment))
    return [
        _cell(cell, network, experiment, widths)
        for cell, network in zip(timed, experiment.networks, strict=True)
    ]


def _unreached(request: Request, experiment: Experiment, widths: str) -> list[Result]:
    """Rows of an experiment that no process came to."""
    reason = "the run ended before it was timed"
    cells = []
    for network in experiment.networks:
        case = request.case(network.name)
        blank = Result(
            network.name,
            network.name,
            case.settings(),
            dict.fromkeys(METRIC_KEYS),
            status="interrupted",
            reason=reason,
            missing=dict.fromkeys(METRIC_KEYS, reason),
            case=case,
        )
        cells.append(_cell(blank, network, experiment, widths))
    return cells


def _comparisons(run: Run, experiment: Experiment) -> list[Comparison]:
    first, *others = experiment.networks
    return [
        dataclasses.replace(
            pair,
            baseline=_placed(pair.baseline, first, experiment),
            case=_placed(pair.case, network, experiment),
        )
        for pair, network in zip(latency_comparisons(_view(run, experiment)), others, strict=True)
    ]


def _placed(side: Side, network: Network, experiment: Experiment) -> Side:
    return dataclasses.replace(side, settings=_settings(side.settings, network, experiment))


def _cell(timed: Result, network: Network, experiment: Experiment, widths: str) -> Result:
    """A timed row with what the network costs by our trace, and what the paper printed of it."""
    paper = WIDTHS[widths]
    table = GUIDELINES[network.guideline].table
    return dataclasses.replace(
        timed,
        title=f"{network.guideline} {experiment.column}, {network.label}",
        settings=_settings(timed.settings, network, experiment),
        metrics=_counts(network, timed.settings["batch"]) | timed.metrics,
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
    place = {
        "guideline": network.guideline,
        "experiment": experiment.column,
        "network": network.label,
    }
    return {**kept, **place}


def _counts(network: Network, batch: int) -> dict[str, int | float | None]:
    import torch

    from detrbench.counting.tracing import COUNTED, trace
    from detrbench.experiments.guidelines.networks import make

    with torch.device("meta"):
        built = make(network.guideline, network.arguments, batch)
    traced = trace(built, SIDE, batch)
    return {key: getattr(traced, key) for key in COUNTED}
