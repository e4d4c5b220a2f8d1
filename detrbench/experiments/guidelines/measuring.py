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
from detrbench.experiments.suites import unreached
from detrbench.machine.devices import parse_device
from detrbench.machine.environment import Environment
from detrbench.models.model import Model
from detrbench.models.sources import resolve
from detrbench.reports.case import Case, Execution
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.report import Report, Result
from detrbench.reports.verdicts import MARGIN
from detrbench.runtimes import check_execution
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.records import naming, run_folder
from detrbench.timing.replication import Run, replicate
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
    execution = check_execution(Execution((SIDE, SIDE), batch, device=device, threads=threads))
    widths = widths or widths_for(device)
    requests = {name: _request(name, widths, execution) for name in asked}
    budget = Budget(
        budget_s=BUDGET_S if budget_s is None else budget_s / len(asked),
        margin=margin,
        early=False,
    )
    runs: dict[str, Run] = {}
    with run_folder(folder, "guidelines") as where:
        shown = naming(where, announce, progress)
        announce = announce or (lambda text: None)
        for guideline, request in requests.items():
            (where / guideline).mkdir(parents=True, exist_ok=True)
            announce(f"{guideline}: {GUIDELINES[guideline].title}")
            runs[guideline] = replicate(
                request,
                budget,
                where / guideline,
                progress=_teller(shown, guideline, asked, budget.budget_s or 0.0),
                announce=announce,
            )
            if runs[guideline].stopped == "interrupted":
                break
        cut = any(run.stopped in ("interrupted", "failures") for run in runs.values())
        if cut:
            announce(f"cut short; the same command with --folder {where} goes on")
    if folder is None and not cut:
        shutil.rmtree(where)
    return _report(requests, runs, widths)


def widths_for(device: str) -> str:
    """Which of the paper's widths suit `device`: small ones for a processor. Raises UsageError for
    an unknown device."""
    return "arm" if parse_device(device)[0] == "cpu" else "gpu"


def _teller(
    tell: OnProgress | None, guideline: str, asked: Sequence[str], budget_s: float
) -> OnProgress | None:
    """Turns one guideline's progress into that of all that are asked for."""
    if tell is None:
        return None
    before_s = budget_s * asked.index(guideline)
    after_s = budget_s * len(asked) - before_s - budget_s

    def told(one: Progress) -> None:
        total = None if one.total is None else before_s + one.total + after_s
        eta_s = None if one.eta_s is None else one.eta_s + after_s
        tell(Progress(f"{guideline}, {one.phase}", before_s + one.done, total, eta_s))

    return told


def _request(guideline: str, widths: str, execution: Execution) -> Request:
    # In a fixed order the first and the last of a round would follow upon themselves, with their
    # weights still in the cache.
    plan = Plan(budget_s=30.0, order="shuffled")
    columns = experiments(guideline, widths)
    networks = [network for experiment in columns for network in experiment.networks]
    cases = tuple(_case(network, execution) for network in networks)
    return Request(cases, resources=False, plan=plan)


def _case(network: Network, execution: Execution) -> Case:
    """A network as any model that a callable builds, under the name that it has in the tables."""
    reference = f"detrbench.experiments.guidelines.networks:{network.callable(execution.batch)}"
    return Case(network.name, resolve(Model(network.name, reference)), execution)


def _report(requests: Mapping[str, Request], runs: Mapping[str, Run], widths: str) -> Report:
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
            rows.extend(_cell(row, network, experiment, widths) for row, network in pairs)
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
    return {
        **kept,
        "guideline": network.guideline,
        "experiment": experiment.column,
        "network": network.label,
    }


def _counts(network: Network, batch: int) -> dict[str, int | float | None]:
    import torch

    from detrbench.counting.tracing import COUNTED, trace
    from detrbench.experiments.guidelines.networks import make

    with torch.device("meta"):
        built = make(network.guideline, network.arguments, batch)
    traced = trace(built, SIDE, batch)
    return {key: getattr(traced, key) for key in COUNTED}
