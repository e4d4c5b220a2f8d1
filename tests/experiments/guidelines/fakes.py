"""The paper's equations, comparisons of a given interval, and a protocol that takes no time."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path

import torch

from detrbench.core.stats import student_t
from detrbench.counting.tracing import Trace, trace
from detrbench.experiments.guidelines import networks, paper
from detrbench.models.model import Model
from detrbench.models.shapes import ShapesOnly
from detrbench.reports.case import Case, Execution
from detrbench.reports.comparison import Comparison, Side
from detrbench.reports.verdicts import judge
from detrbench.timing.plan import Budget
from detrbench.timing.process import Request
from detrbench.timing.records import Outcome
from detrbench.timing.replication import Run
from tests.timing.runs import measured, taken

HW = paper.SIDE**2


def eq_1(c1: int, c2: int) -> int:
    return HW * (c1 + c2) + c1 * c2


def eq_2(c: int, groups: int) -> int:
    """By way of B, as the paper writes it: hw c1 + B g / c1 + B / hw."""
    macs = HW * c * c // groups
    return HW * c + macs * groups // c + macs // HW


def all_networks() -> list[paper.Network]:
    return [
        network
        for guideline in paper.GUIDELINES
        for widths in paper.WIDTHS
        for experiment in paper.experiments(guideline, widths)
        for network in experiment.networks
    ]


def traced(network: paper.Network, batch: int = 1) -> Trace:
    with torch.device("meta"), ShapesOnly():
        built = networks.make(network.guideline, network.arguments, batch).eval()
    return trace(built, paper.SIDE, batch, in_place=True)


def model(callable: str, *, seed: int = 0) -> Model:
    """The model that such a callable of `networks` builds."""
    return Model(callable, f"detrbench.experiments.guidelines.networks:{callable}", seed=seed)


def case(callable: str, batch: int = 1) -> Case:
    execution = Execution((paper.SIDE, paper.SIDE), batch, threads=1)
    return Case(callable, model(callable), execution)


def pair(low: float, high: float, processes: int = 6) -> Comparison:
    """A comparison whose processes' ratios give exactly this interval's verdict."""
    middle, half = math.log(low * high) / 2, math.log(high / low) / 2
    scatter = half * math.sqrt(processes) / student_t(0.975, processes - 1)
    unit = math.sqrt((processes - 1) / processes)
    logs = [middle + scatter * unit * (-1) ** index for index in range(processes)]
    judged = judge(logs)
    assert judged.interval is not None
    return Comparison(
        Side("first"),
        Side("other"),
        verdict=judged.verdict.value,
        ratio=judged.ratio,
        ci_low=judged.interval.low,
        ci_high=judged.interval.high,
        margin=0.02,
        reasons=tuple(judged.reasons),
        process_log_ratios=tuple(logs),
    )


def replicated(
    slowdown: Callable[[Case], float], processes: int = 6, stopped: str = "budget"
) -> Callable[..., Run]:
    """A protocol that measures nothing: `slowdown` of a network's case is its time in ms."""

    def replicate(request: Request, budget: Budget, folder: Path, **_: object) -> Run:
        folder.joinpath("process-01.json").write_text("{}")
        runs = [
            {
                each.name: taken(*(1e-3 * slowdown(each) * (1 + index / 1000),) * 6)
                for each in request.cases
            }
            for index in range(processes)
        ]
        outcomes = tuple(
            Outcome(index, measurement=measured(request, series))
            for index, series in enumerate(runs, 1)
        )
        return Run(request, budget, None, outcomes, stopped, 0.05)

    return replicate


def by_memory(asked: Case) -> float:
    """A device on which memory access is all that takes time."""
    return _accesses(asked.model.reference.rpartition(":")[2])


@functools.cache
def _accesses(callable: str) -> float:
    """Of a network by its name: the same in every process of every run, and traced once."""
    guideline, arguments, batch = networks.parse(callable)
    network = paper.Network(guideline, callable, arguments, "")
    return float(traced(network, batch).memory_access_elements)
