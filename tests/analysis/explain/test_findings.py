"""Parts against their whole and their floors: fabricated ones, and modules built for a limit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from detrbench import trace
from detrbench.analysis.explain.findings import Timed, TimedPart
from detrbench.analysis.probe.ceilings import work_of
from detrbench.analysis.probe.probes import Bench, ceilings
from detrbench.runtimes.devices import open_device
from detrbench.runtimes.eager import Eager
from detrbench.timing.rounds import measure_steps
from detrbench.timing.stop_rules import Plan
from tests.analysis.explain.pairs import CASES, CEILINGS, Stage, a_part, a_report, explained


def test_parts_are_reconciled_with_the_whole() -> None:
    side = CASES["parts that do not add up"].baseline
    assert side.gap_s == pytest.approx(-0.150)
    assert not side.reconciled
    assert CASES["part of it"].baseline.reconciled
    assert CASES["part of it"].baseline.gap_s == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "stage", "said"),
    [
        ({"wide_conv_flops": 10**10}, (10.0, 1.0, 1, 90.0), "Winograd"),
        ({}, (10.0, 1.0, 1, 90.0), "its shapes suit the device"),
        ({}, (0.0, 100.0, 1, 9.0), "find in a cache what the one before left"),
        ({"working_set_bytes": 1}, (0.0, 100.0, 1, 2.0), "find in a nearer cache"),
        ({}, (0.0, 0.1, 1000, 9.0), "launched more cheaply"),
    ],
)
def test_more_than_the_floor_allows_has_a_cause(
    change: Mapping[str, int], stage: Stage, said: str
) -> None:
    part = a_part("x", stage)
    work = dataclasses.replace(part.work, **change)
    part = dataclasses.replace(part, work=work, floor=CEILINGS.floor(work))
    assert part.efficiency is not None
    assert part.efficiency > 1.05
    assert part.cause_of_excess is not None
    assert said in part.cause_of_excess
    slower = dataclasses.replace(part, timed=Timed.of([part.floor.seconds / 1.04]))
    assert slower.cause_of_excess is None
    report = a_report(explained({"x": stage}, {"x": stage}))
    assert any("of its floor" in note for note in report.rows[0].notes)


# --- on this machine -----------------------------------------------------------------------------


class DispatchBound(nn.Module):
    """Hundreds of operators on next to nothing."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(400):
            x = x.mul(1.01)
        return x


def compute_bound() -> nn.Module:
    """Large 3x3 convolutions."""
    return nn.Sequential(*(nn.Conv2d(128, 128, 3, padding=1) for _ in range(3)))


def memory_bound() -> nn.Module:
    """A chain of element-wise operators over a map of 64 MiB."""
    return nn.Sequential(*(nn.ReLU(inplace=True) for _ in range(4)))


SYNTHETIC: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "compute": (compute_bound, (128, 80)),
    "memory": (memory_bound, (64, 512)),
    "dispatch": (DispatchBound, (1, 4)),
}
"""Limit -> a module that it binds, with the channels and the side of its input."""


def test_modules_are_bound_by_what_they_were_built_for() -> None:
    runtime = Eager(open_device("cpu"))
    bench = Bench(runtime)
    probes = bench.probes()
    works, steps = [], []
    for make, (channels, side) in SYNTHETIC.values():
        module = make().eval()
        traced = trace(module, side, channels=channels)
        works.append(work_of(traced, traced.ops))
        images = torch.rand(1, channels, side, side)
        steps.append(runtime.prepare(module, images))
    everything = [*steps, *(probe.step for probe in probes)]
    serieses = measure_steps(everything, Plan(budget_s=4.0))
    found = ceilings(probes, serieses[len(steps) :], bench.cache_bytes)
    for limit, work, series in zip(SYNTHETIC, works, serieses, strict=False):
        floor = found.floor(work)
        others = {"compute": floor.compute, "memory": floor.memory, "dispatch": floor.dispatch}
        binding = others.pop(limit)
        assert floor.limit == limit
        assert binding > 2 * max(others.values()), "not by a hair"
        # Fast for what it does: neither beyond the ceiling by more than noise, nor far below it.
        part = TimedPart(limit, limit, work, {}, floor, Timed.of(series.latency_s))
        assert part.efficiency is not None
        assert 0.05 < part.efficiency < 2
