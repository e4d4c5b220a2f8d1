"""Explanations: the account and the paragraph from fabricated data, the limits on this machine."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, cast

import jsonschema
import pytest
import torch
from torch import Tensor, nn

from detrbench import trace
from detrbench.analysis.explain.account import (
    BATCHING,
    CAPTURING,
    COMPILING,
    LAYOUT,
    predictions,
    saving,
)
from detrbench.analysis.explain.findings import Explanation, Part, Side, Timed, Try
from detrbench.analysis.explain.measuring import explain_pair
from detrbench.analysis.explain.parts import dissect
from detrbench.analysis.explain.remedies import measure_tries
from detrbench.analysis.explain.tables import (
    all_tries,
    document,
    explanation_in,
    explanation_report,
    kept,
    row_of,
)
from detrbench.analysis.explain.words import paragraph
from detrbench.analysis.probe.ceilings import Ceiling, Ceilings, Work, work_of
from detrbench.analysis.probe.probes import Bench, ceilings
from detrbench.core.errors import UsageError
from detrbench.render import render, render_document
from detrbench.reports.report import Report, Result
from detrbench.runtimes.devices import open_device
from detrbench.runtimes.eager import Eager
from detrbench.timing.process import Request
from detrbench.timing.schedule import Plan
from detrbench.timing.session import measure_steps

VALUES = {"convolution": 100e9, "matmul": 100e9, "memory": 10e9, "cache": 40e9, "dispatch": 10e-6}
CEILINGS = Ceilings(
    {name: Ceiling(name, value, 0.9 * value, 1.1 * value) for name, value in VALUES.items()},
    cache_bytes=2**20,
)

Stage = tuple[float, float, int, float]
"""GFLOPs, MB of traffic, kernels, milliseconds."""


def a_part(name: str, stage: Stage, folded: float = 0.9) -> Part:
    gflops, megabytes, kernels, milliseconds = stage
    nbytes = round(megabytes * 1e6)
    work = Work(
        conv_flops=round(gflops * 1e9),
        nbytes=nbytes,
        kernels=kernels,
        working_set_bytes=2**30,
        fused_bytes=round(folded * nbytes),
        fused_kernels=kernels // 2,
    )
    seconds = milliseconds * 1e-3
    timed = Timed.of([0.99 * seconds, seconds, 1.01 * seconds])
    return Part(name, name, work, CEILINGS.floor(work), timed, {"flops": work.flops})


def a_side(model: str, stages: Mapping[str, Stage], whole_ms: float | None = None) -> Side:
    parts = tuple(a_part(name, stage) for name, stage in stages.items())
    sums = [sum(stage[i] for stage in stages.values()) for i in range(4)]
    whole = (sums[0], sums[1], int(sums[2]), sums[3] if whole_ms is None else whole_ms)
    return Side(model, model.upper(), a_part("whole", whole), parts)


def explained(
    baseline: Mapping[str, Stage],
    variant: Mapping[str, Stage],
    *,
    device: str = "cpu",
    tried: tuple[Try, ...] = (),
    wholes: tuple[float | None, float | None] = (None, None),
) -> Explanation:
    return Explanation(
        "stage",
        device,
        "contiguous",
        1,
        20,
        CEILINGS,
        a_side("large", baseline, wholes[0]),
        a_side("small", variant, wholes[1]),
        tried,
    )


NECK: dict[str, Stage] = {"neck": (40.0, 600.0, 160, 450.0)}
LARGE: dict[str, Stage] = {"backbone": (50.0, 1500.0, 200, 600.0), **NECK}

CASES: dict[str, Explanation] = {
    "part of it": explained(LARGE, {"backbone": (5.0, 900.0, 160, 200.0), **NECK}),
    "more than promised": explained(LARGE, {"backbone": (25.0, 500.0, 160, 200.0), **NECK}),
    "slower": explained(LARGE, {"backbone": (25.0, 7000.0, 160, 900.0), **NECK}),
    "the same": explained(LARGE, LARGE),
    "as many FLOPs, faster": explained(LARGE, {"backbone": (50.0, 900.0, 160, 520.0), **NECK}),
    "more FLOPs": explained(LARGE, {"backbone": (75.0, 1600.0, 210, 750.0), **NECK}),
    "more FLOPs, faster": explained(LARGE, {"backbone": (75.0, 600.0, 90, 590.0), **NECK}),
    "no FLOPs": explained({"all": (0.0, 900.0, 10, 100.0)}, {"all": (1.0, 500.0, 10, 60.0)}),
    "bound by launches": explained(
        {"all": (1.0, 30.0, 4000, 60.0)}, {"all": (0.5, 15.0, 3900, 59.0)}, device="cuda:0"
    ),
    "parts that do not add up": explained(
        LARGE, {"backbone": (5.0, 900.0, 160, 200.0), **NECK}, wholes=(900.0, 700.0)
    ),
    "tried": explained(
        LARGE,
        {"backbone": (5.0, 900.0, 160, 200.0), **NECK},
        tried=(
            Try(LAYOUT, 0.8, True, "12 rounds", 0.79, 0.82),
            Try(COMPILING, 1.031, True, "12 rounds", 1.02, 1.04),
        ),
    ),
    "the machine moved": explained(
        LARGE, {"backbone": (5.0, 900.0, 160, 200.0), "neck": (40.0, 600.0, 160, 500.0)}
    ),
}


# --- the paragraph -------------------------------------------------------------------------------

GOLDEN: dict[str, str] = {
    "part of it": """
small does 50.0% fewer FLOPs than large and takes 38.1% less time: 76.2% of the FLOP saving
reached the clock. The neck does the same work in both; it takes 42.9% of large's time, so
that a change elsewhere saves at most 57.1%. The FLOPs that changed are where large spends
more time per FLOP than on average, which gives 15.0 ms against the promise. The backbone
takes 140.0 ms more than its FLOPs would at large's rate there: the nearest limit, memory,
explains 45.0% of its time, in large arithmetic 83.3%. 69.2% of small's time is in parts
whose nearest limit is arithmetic and 30.8% in those of memory; its floors add up to 75.4%
of its time. To try next, with what the floors predict to be saved: --runtime compile, which
spares the traffic and launches of element-wise operators that can be folded (2.6%). By the
floors there is little in a --batch 8 times as large, per image (0.4%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
    "more than promised": """
small does 27.8% fewer FLOPs than large and takes 38.1% less time: 137.1% of what the FLOPs
promised. The neck does the same work in both; it takes 42.9% of large's time, so that a
change elsewhere saves at most 57.1%. The backbone takes 100.0 ms less than its FLOPs would
at large's rate there: it is bound by arithmetic at 125.0% efficiency, in large 83.3%. The
nearest limit of all parts of small is arithmetic; its floors add up to 100.0% of its time.
By the floors there is little in --runtime compile (1.9%) and a --batch 8 times as large,
per image (0.4%). What --memory-format channels_last does, the floors do not say; --try
measures it.
""",
    "slower": """
small does 27.8% fewer FLOPs than large, yet takes 28.6% more time: nothing of the FLOP
saving reached the clock. The neck does the same work in both; it takes 42.9% of large's
time, so that a change elsewhere saves at most 57.1%. The backbone takes 600.0 ms more than
its FLOPs would at large's rate there: it is bound by memory at 77.8% efficiency, in large
arithmetic 83.3%. 66.7% of small's time is in parts whose nearest limit is memory and 33.3%
in those of arithmetic; its floors add up to 81.5% of its time. To try next, with what the
floors predict to be saved: --runtime compile, which spares the traffic and launches of
element-wise operators that can be folded (5.7%). By the floors there is little in a --batch
8 times as large, per image (0.2%). What --memory-format channels_last does, the floors do
not say; --try measures it.
""",
    "the same": """
small does as many FLOPs as large and takes the same time as it. The quartiles of both times
overlap: these rounds do not show a difference. The nearest limit of all parts of small is
arithmetic; its floors add up to 85.7% of its time. To try next, with what the floors
predict to be saved: --runtime compile, which spares the traffic and launches of
element-wise operators that can be folded (2.2%). By the floors there is little in a --batch
8 times as large, per image (0.3%). What --memory-format channels_last does, the floors do
not say; --try measures it.
""",
    "as many FLOPs, faster": """
small does as many FLOPs as large and takes 7.6% less time than it. The neck does the same
work in both; it takes 42.9% of large's time, so that a change elsewhere saves at most
57.1%. The backbone takes 80.0 ms less than its FLOPs would at large's rate there: it is
bound by arithmetic at 96.2% efficiency, in large 83.3%. The nearest limit of all parts of
small is arithmetic; its floors add up to 92.8% of its time. By the floors there is little
in --runtime compile (1.7%) and a --batch 8 times as large, per image (0.3%). What
--memory-format channels_last does, the floors do not say; --try measures it.
""",
    "more FLOPs": """
small does 27.8% more FLOPs than large and takes 14.3% more time: 51.4% of the FLOP increase
shows on the clock. The neck does the same work in both; it takes 42.9% of large's time, so
that a change elsewhere saves at most 57.1%. The backbone takes 150.0 ms less than its FLOPs
would at large's rate there: it is bound by arithmetic at 100.0% efficiency, in large 83.3%.
The nearest limit of all parts of small is arithmetic; its floors add up to 95.8% of its
time. By the floors there is little in --runtime compile (2.0%) and a --batch 8 times as
large, per image (0.3%). What --memory-format channels_last does, the floors do not say;
--try measures it.
""",
    "more FLOPs, faster": """
small does 27.8% more FLOPs than large, yet takes 1.0% less time: nothing of the FLOP
increase shows on the clock. The quartiles of both times overlap: these rounds do not show a
difference. The neck does the same work in both; it takes 42.9% of large's time, so that a
change elsewhere saves at most 57.1%. The backbone takes 310.0 ms less than its FLOPs would
at large's rate there: it is bound by arithmetic at 127.1% efficiency, in large 83.3%. The
nearest limit of all parts of small is arithmetic; its floors add up to 110.6% of its time.
By the floors there is little in --runtime compile (1.3%) and a --batch 8 times as large,
per image (0.2%). What --memory-format channels_last does, the floors do not say; --try
measures it.
""",
    "no FLOPs": """
small takes 40.0% less time than large, which has no FLOPs to compare. The all, without
FLOPs in large, takes 40.0 ms less in small: it is bound by memory at 83.3% efficiency, in
large 90.0%. The nearest limit of all parts of small is memory; its floors add up to 83.3%
of its time. To try next, with what the floors predict to be saved: --runtime compile, which
spares the traffic and launches of element-wise operators that can be folded (8.4%). By the
floors there is little in a --batch 8 times as large, per image (0.1%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
    "bound by launches": """
small does 50.0% fewer FLOPs than large and takes 1.7% less time: 3.3% of the FLOP saving
reached the clock. The all takes 29.0 ms more than its FLOPs would at large's rate there: it
is bound by launches at 66.1% efficiency, in large 66.7%. The nearest limit of all parts of
small is launches; its floors add up to 66.1% of its time. To try next, with what the floors
predict to be saved: a --batch 8 times as large, per image, which spares the launches that
the further images share (57.8%), --runtime cudagraph, which spares launches where they
bind, down to the next floor (57.6%) and --runtime compile, which spares the traffic and
launches of element-wise operators that can be folded (33.3%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
    "parts that do not add up": """
small does 50.0% fewer FLOPs than large and takes 22.2% less time: 44.4% of the FLOP saving
reached the clock. The parts of large take 16.7% more time than the whole, too far off to
explain it: what follows is rough. The parts of small take 7.1% less time than the whole,
too far off to explain it: what follows is rough. The neck does the same work in both; it
takes 50.0% of large's time, so that a change elsewhere saves at most 50.0%. The FLOPs that
changed are where large spends more time per FLOP than on average, which gives 90.0 ms
against the promise. The backbone takes 140.0 ms more than its FLOPs would at large's rate
there: the nearest limit, memory, explains 45.0% of its time, in large arithmetic 83.3%.
What lies between the parts costs 200.0 ms. 69.2% of small's time is in parts whose nearest
limit is arithmetic and 30.8% in those of memory; its floors add up to 70.0% of its time. To
try next, with what the floors predict to be saved: --runtime compile, which spares the
traffic and launches of element-wise operators that can be folded (2.4%). By the floors
there is little in a --batch 8 times as large, per image (0.4%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
    "tried": """
small does 50.0% fewer FLOPs than large and takes 38.1% less time: 76.2% of the FLOP saving
reached the clock. The neck does the same work in both; it takes 42.9% of large's time, so
that a change elsewhere saves at most 57.1%. The FLOPs that changed are where large spends
more time per FLOP than on average, which gives 15.0 ms against the promise. The backbone
takes 140.0 ms more than its FLOPs would at large's rate there: the nearest limit, memory,
explains 45.0% of its time, in large arithmetic 83.3%. 69.2% of small's time is in parts
whose nearest limit is arithmetic and 30.8% in those of memory; its floors add up to 75.4%
of its time. Measured here, --memory-format channels_last takes 20.0% less time. Measured
here, --runtime compile takes 3.1% more time. By the floors there is little in a --batch 8
times as large, per image (0.4%).
""",
    "the machine moved": """
small does 50.0% fewer FLOPs than large and takes 33.3% less time: 66.7% of the FLOP saving
reached the clock. The neck does the same work in both; it takes 42.9% of large's time, so
that a change elsewhere saves at most 57.1%. The FLOPs that changed are where large spends
more time per FLOP than on average, which gives 15.0 ms against the promise. The backbone
takes 140.0 ms more than its FLOPs would at large's rate there: the nearest limit, memory,
explains 45.0% of its time, in large arithmetic 83.3%. The neck takes 50.0 ms more in small,
though it asks for the same FLOPs, traffic and kernels. 71.4% of small's time is in parts
whose nearest limit is arithmetic and 28.6% in those of memory; its floors add up to 70.0%
of its time. To try next, with what the floors predict to be saved: --runtime compile, which
spares the traffic and launches of element-wise operators that can be folded (2.4%). By the
floors there is little in a --batch 8 times as large, per image (0.4%). What --memory-format
channels_last does, the floors do not say; --try measures it.
""",
}


def text_of(explanation: Explanation) -> str:
    return paragraph(explanation, saving(explanation), all_tries(explanation))


@pytest.mark.parametrize("name", CASES)
def test_the_paragraph_of(name: str) -> None:
    assert text_of(CASES[name]) == " ".join(GOLDEN[name].split())


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_the_paragraph_is_in_the_tables(name: str) -> None:
    explanation = CASES[name]
    tables = document(a_report(explanation)).tables
    cells = " ".join(
        text for table in tables for line in table.lines for text in (line.label, *line.cells)
    )
    numbers = re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?%?", text_of(explanation))
    assert numbers
    known = set(re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?%?", cells))
    assert {number for number in numbers if number not in known} == set()


def a_report(explanation: Explanation) -> Report:
    """As `explanation_report` makes it, without the measurement."""
    sides = (explanation.baseline, explanation.variant)
    settings = {
        "imgsz": "640x640",
        "batch": 1,
        "device": explanation.device,
        "memory_format": explanation.memory_format,
    }
    return Report(
        rows=tuple(
            row_of(
                Result(
                    side.model,
                    side.title,
                    settings,
                    {"latency_median_s": side.seconds},
                    samples={"latency_s": [list(side.whole.timed.samples)]},
                ),
                side,
                explanation.by,
            )
            for side in sides
        ),
        comparisons=(
            {
                "baseline": "large", "model": "small", "settings": settings, "ratio": 0.5,
                "ci_low": None, "ci_high": None, "verdict": None, "reasons": [],
                "explanation": kept(explanation),
            },
        ),
        title="t",
    )  # fmt: skip


# --- the account ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_the_account_adds_up(name: str) -> None:
    account = saving(CASES[name])
    booked = account.cheap_s + account.between_s + sum(one.kept_s for one in account.groups)
    assert account.promised_s - booked == pytest.approx(account.saved_s, abs=1e-12)


def test_the_account_by_hand() -> None:
    account = saving(CASES["part of it"])
    assert account.flops_ratio == 0.5
    assert account.promised_s == pytest.approx(0.525)
    # 45 GFLOPs less, at the backbone's 12 ms per GFLOP instead of 1050 / 90.
    assert account.cheap_s == pytest.approx(0.525 - 0.540)
    backbone, neck = account.groups
    assert backbone.kept_s == pytest.approx(0.200 - 0.060)
    assert (backbone.unchanged, neck.unchanged) == (False, True)
    assert neck.kept_s == pytest.approx(0)
    assert account.saved_s == pytest.approx(0.400)
    assert account.reached == pytest.approx(0.4 / 0.525)


def test_a_group_that_only_one_model_has() -> None:
    account = saving(explained(LARGE, {**LARGE, "fpn": (1.0, 10.0, 5, 70.0)}))
    fpn = account.groups[-1]
    assert (fpn.name, fpn.unchanged) == ("fpn", False)
    assert fpn.kept_s == pytest.approx(0.070)


# --- parts ---------------------------------------------------------------------------------------


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


def test_predictions_by_hand() -> None:
    side = CASES["bound by launches"].variant
    found = {one.name: one.ratio for one in predictions(CASES["bound by launches"])}
    launches_s = 3900 * 10e-6
    folded_s = 0.1 * 15e6 / 10e9 + 1950 * 10e-6
    assert found == pytest.approx(
        {
            COMPILING: 1 - folded_s / side.seconds,
            BATCHING: 1 - launches_s * 7 / 8 / side.seconds,
            CAPTURING: 1 - (launches_s - 5e-3) / side.seconds,
        }
    )
    assert CAPTURING not in {one.name for one in predictions(CASES["part of it"])}


# --- what is printed and kept --------------------------------------------------------------------


def test_the_report_fits_the_schema_and_survives_the_journey() -> None:
    explanation = CASES["tried"]
    report = a_report(explanation)
    text = report.to_json()
    assert Report.from_json(text) == Report.from_json(Report.from_json(text).to_json())
    schema = json.loads(
        (resources.files("detrbench.reports") / "report.schema.json").read_text("utf-8")
    )
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    kept_one = json.loads(text)["comparisons"][0]["explanation"]
    assert kept_one["paragraph"] == text_of(explanation)
    assert Ceilings.from_dict(kept_one) == CEILINGS
    assert [one["name"] for one in kept_one["tries"] if one["measured"]] == [LAYOUT, COMPILING]
    (backbone, _) = json.loads(text)["rows"][1]["parts"]["stage"]
    assert backbone["limit"] == "memory"
    assert backbone["floor_s"] == pytest.approx(0.090)
    assert backbone["efficiency"] == pytest.approx(0.45)
    assert len(backbone["samples_s"][0]) == 3


@pytest.mark.parametrize("name", CASES)
def test_a_saved_report_holds_the_whole_explanation(name: str) -> None:
    """Whatever is printed can be made again from the file."""
    report = a_report(CASES[name])
    again = Report.from_json(report.to_json())
    assert document(again).tables == document(report).tables
    found = explanation_in(again)
    assert text_of(found) == text_of(CASES[name])
    for side, known in (
        (found.baseline, CASES[name].baseline),
        (found.variant, CASES[name].variant),
    ):
        assert side.parts == known.parts
        assert (side.whole.work, side.whole.timed) == (known.whole.work, known.whole.timed)


def test_a_report_without_an_explanation_has_no_such_tables() -> None:
    with pytest.raises(UsageError, match="0 explanations"):
        document(Report())


@pytest.mark.parametrize("format", ["table", "markdown", "csv", "json", "latex", "html"])
def test_every_format_shows_it(format: str) -> None:
    explanation = CASES["part of it"]
    shown = render_document(document(a_report(explanation)), format)
    assert shown == render(a_report(explanation), format), "`detrbench report` does likewise"
    assert "backbone" in shown
    assert "memory" in shown
    if format in ("table", "markdown"):
        assert "sum of parts" in shown
        assert "76.2%" in shown


def test_records_say_what_binds_each_part() -> None:
    explanation = CASES["part of it"]
    records = list(document(a_report(explanation)).records)
    found = {(one["model"], one["part"]): one["limit"] for one in records}
    assert found == {
        ("large", "all"): None,
        ("large", "backbone"): "compute",
        ("large", "neck"): "compute",
        ("small", "all"): None,
        ("small", "backbone"): "memory",
        ("small", "neck"): "compute",
    }
    assert records[4]["floor_s"] == pytest.approx(0.090)


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
        part = Part(limit, limit, work, floor, Timed.of(series.latency_s))
        assert part.efficiency is not None
        assert 0.05 < part.efficiency < 2


@pytest.fixture(scope="module", params=["stage", "module", "op"])
def small_pair(request: pytest.FixtureRequest) -> Any:
    asked = Request(
        ("shufflev2", "shufflev2-x0.5"), imgsz=(64, 64), threads=1, plan=Plan(budget_s=1.0)
    )
    return explain_pair(asked, request.param)


def test_a_pair_is_explained_on_this_machine(small_pair: Any) -> None:
    explanation = small_pair.explanation
    assert explanation.rounds >= 2
    for side in (explanation.baseline, explanation.variant):
        # What is counted in parts is what the whole has, and times are of one order.
        assert sum(part.work.flops for part in side.parts) == side.whole.work.flops
        assert sum(part.work.kernels for part in side.parts) == side.whole.work.kernels
        assert 0.3 < side.parts_s / side.seconds < 3
        assert all(len(part.timed.samples) == explanation.rounds for part in side.parts)
    assert explanation.variant.whole.work.flops < explanation.baseline.whole.work.flops
    groups = set(explanation.baseline.groups)
    if explanation.by == "op":
        assert "aten.convolution" in groups
        # Every operator of the trace was met in the pass, under the same name.
        assert all(part.seconds > 0 for part in explanation.baseline.parts)
        assert 0 < explanation.baseline.scale < 1.5
    else:
        assert groups == {"backbone", "neck", "decoder"}
    report = explanation_report(small_pair)
    assert report.exit_code == 0
    assert Report.from_json(report.to_json()).rows[1].metrics["flops"] == (
        explanation.variant.whole.work.flops
    )
    notes = [note for table in document(report).tables for note in table.notes]
    assert text_of(explanation) in notes


def test_what_cannot_be_taken_apart_is_refused() -> None:
    runtime = Eager(open_device("cpu"))
    module, images = nn.Conv2d(3, 3, 1).eval(), torch.rand(1, 3, 8, 8)
    traced = trace(module, 8)
    for by, said in (("stage", "no stages"), ("row", "cannot take a model apart")):
        with pytest.raises(UsageError, match=said):
            dissect(module, images, runtime.device.clock, cast(Any, by), traced)
    with pytest.raises(UsageError, match="cannot be a pair"):
        explain_pair(Request(("shufflev2",)))


def test_a_remedy_is_measured_against_the_variant_as_it_is() -> None:
    asked = Request(("rtdetr-l", "shufflev2-x0.5"), imgsz=(64, 64), threads=1)
    before = torch.get_num_threads()
    threads = []
    (layout,) = measure_tries(
        asked,
        ["channels_last"],
        budget_s=0.5,
        progress=lambda _: threads.append(torch.get_num_threads()),
    )
    assert set(threads) == {1}, "as many threads as what it is compared with had"
    assert torch.get_num_threads() == before
    assert (layout.name, layout.measured) == (LAYOUT, True)
    assert layout.ratio is not None
    assert layout.low is not None
    assert layout.high is not None
    assert 0.2 < layout.low <= layout.ratio <= layout.high < 5
    assert "as it is" in layout.how
