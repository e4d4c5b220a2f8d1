"""Findings on modules small enough to count by hand, and on the detectors that come along."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detrbench import trace
from detrbench.cli import main
from detrbench.core.errors import UsageError
from detrbench.counting.lint import GUIDELINES, Finding, lint, time_shares
from detrbench.models.builder import build
from detrbench.models.catalog import find_model
from detrbench.reports.report import Report, Result

HW = 8 * 8
F32 = 4


def found(
    module: nn.Module, key: str, *, channels: int = 4, batch: int = 1, depth: int = 1
) -> list[Finding]:
    findings = lint(trace(module, 8, batch, channels), depth=depth)
    return [finding for finding in findings if finding.guideline == key]


class Holds(nn.Module):
    """A block called `block`, so that paths have a name."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return y


# --- G1 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
def test_unequal_widths_cost_what_is_above_the_bound(batch: int) -> None:
    """Eq. 1 with hw = 64 (times the batch) and B = hw * 4 * 16."""
    (finding,) = found(Holds(nn.Conv2d(4, 16, 1, bias=False)), "G1", batch=batch)
    hw = HW * batch
    flops = hw * 4 * 16
    access = hw * (4 + 16) + 4 * 16
    bound = 2 * sqrt(hw * flops) + flops / hw
    assert finding.above == pytest.approx(access - bound) == hw * 4
    assert finding.share == finding.own_share == pytest.approx(finding.above / access)
    assert finding.flops_share == 1
    assert (finding.block, finding.kind) == ("block", "Conv2d")
    assert finding.found == "1 of 1 1x1 convolutions have unequal widths: 4 > 16 on 8x8"


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 16, 3, padding=1),
        nn.Conv2d(4, 16, 1, stride=2),
        nn.Conv2d(4, 16, 1, groups=2),
        nn.ConvTranspose2d(4, 16, 1),
        nn.Sequential(nn.Flatten(2), nn.Linear(64, 8)),
    ],
    ids=["equal", "3x3", "stride 2", "groups", "transposed", "linear"],
)
def test_what_equation_1_does_not_speak_of_breaks_no_g1(layer: nn.Module) -> None:
    assert not found(Holds(layer), "G1")


def test_the_worst_layer_of_a_block_is_named() -> None:
    layers = nn.Sequential(nn.Conv2d(4, 9, 1), nn.Conv2d(9, 9, 1), nn.Conv2d(9, 1, 1))
    (finding,) = found(Holds(layers), "G1")
    assert finding.above == pytest.approx(HW * (1**2 + 2**2))
    assert finding.found == ("2 of 3 1x1 convolutions have unequal widths, the worst 9 > 1 on 8x8")
    assert [one.module for one in finding.evidence] == ["block.2", "block.0"]


# --- G2 ----------------------------------------------------------------------------------------


def test_groups_cost_what_one_group_would_not_move() -> None:
    """Eq. 2: hw(c1 + c2) + c1 c2 / g; at g = 1 the same FLOPs on the same input write c2 / g."""
    (finding,) = found(Holds(nn.Conv2d(8, 16, 1, groups=4, bias=False)), "G2", channels=8)
    grouped = HW * (8 + 16) + 8 * 16 // 4
    dense = HW * (8 + 4) + 8 * 4
    assert finding.above == grouped - dense == HW * 12
    assert finding.share == pytest.approx((grouped - dense) / grouped)
    assert finding.found == "1 grouped convolution: 8 > 16, g = 4 on 8x8"


def test_groups_of_a_strided_3x3_convolution_count_its_outputs() -> None:
    block = Holds(nn.Conv2d(8, 8, 3, 2, 1, groups=2))
    (finding,) = found(block, "G2", channels=8)
    assert finding.above == 4 * 4 * (8 - 4)
    assert finding.found == "1 grouped convolution: 3x3 8 > 8, g = 2 on 4x4"


def test_depthwise_is_no_group_convolution_but_element_wise_as_in_the_paper() -> None:
    block = Holds(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False))
    assert not found(block, "G2")
    (finding,) = found(block, "G4")
    assert finding.above == F32 * (2 * 4 * HW + 4 * 9)
    assert finding.share == 1
    assert finding.found == "1 depthwise convolution: 0.0 of 0.0 MB moved"


# --- G3 ----------------------------------------------------------------------------------------


class Branches(nn.Module):
    """`parallel` convolutions side by side, then `series` in a row; their sum."""

    def __init__(self, parallel: int, series: int) -> None:
        super().__init__()
        self.beside = nn.ModuleList(nn.Conv2d(4, 4, 1, bias=False) for _ in range(parallel))
        self.after = nn.Sequential(*(nn.Conv2d(4, 4, 1, bias=False) for _ in range(series)))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.stack([layer(x) for layer in self.beside]).sum(0)
        after: Tensor = self.after(y)
        return after


def test_fragments_are_counted_in_a_unit_and_side_by_side() -> None:
    """Five convolutions, a stack and a sum: seven kernels, of which 3 / 5 would do."""
    (finding,) = found(Holds(Branches(2, 3)), "G3")
    assert finding.above == pytest.approx(7 * (1 - 3 / 5))
    assert finding.share == pytest.approx(1 - 3 / 5)
    assert finding.found == "1 unit of 5 convolutions and poolings, 2 side by side"


def test_three_pieces_are_regular() -> None:
    assert not found(Holds(Branches(2, 1)), "G3")
    assert not found(nn.Sequential(nn.Conv2d(4, 4, 1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1)), "G3")


def test_a_stage_is_taken_apart_into_its_units_and_poolings_count() -> None:
    """Three units of which one has four pieces: a stage of ten is no unit of ten."""
    pooled = nn.Sequential(*(nn.AvgPool2d(3, 1, 1) for _ in range(4)))
    stage = nn.Sequential(Branches(1, 2), pooled, Branches(2, 1))
    (finding,) = found(Holds(stage), "G3")
    assert [one.module for one in finding.evidence] == ["block.1"]
    assert finding.above == pytest.approx(4 * (1 - 3 / 4))
    assert finding.found == "1 unit of 4 convolutions and poolings"


def test_of_several_units_the_most_is_said() -> None:
    stage = nn.Sequential(Branches(1, 3), Branches(3, 2))
    (finding,) = found(Holds(stage), "G3")
    assert finding.found == "2 units of up to 5 convolutions and poolings, up to 3 side by side"
    assert [one.module for one in finding.evidence] == ["block.1", "block.0"]


# --- G4 ----------------------------------------------------------------------------------------


class Activated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().sigmoid() + x


def test_element_wise_traffic_and_its_longest_chain() -> None:
    """Convolution 2 N + 16 weights; ReLU and sigmoid 2 N each; the sum 3 N, N = 4 x 64."""
    (finding,) = found(Holds(Activated()), "G4")
    n = F32 * 4 * HW
    assert finding.above == 7 * n
    assert finding.share == pytest.approx(7 * n / (9 * n + F32 * 16))
    assert finding.found.startswith("3 element-wise kernels in chains of up to 3: ")


def test_a_chain_ends_where_something_else_runs_or_is_read() -> None:
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.relu()).relu_() + x.sigmoid()

    (finding,) = found(Holds(Apart()), "G4")
    assert "4 element-wise kernels in chains of up to 2:" in finding.found  # sigmoid, sum


def test_a_batch_norm_is_element_wise_until_it_is_folded() -> None:
    def element_wise(fused: bool) -> list[str]:
        detector = build("shufflev2", device="meta")
        traced = trace(detector.fuse() if fused else detector, 64)
        stem = [f for f in lint(traced) if (f.block, f.guideline) == ("model.0", "G4")]
        return [one.what for one in stem[0].evidence]

    assert element_wise(fused=False) == ["native_batch_norm", "relu"]
    assert element_wise(fused=True) == ["relu"]


# --- order and time ----------------------------------------------------------------------------


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(4, 36, 1), nn.Conv2d(36, 25, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.narrow(self.wide(x))
        return y


def test_the_worst_comes_first_by_counts_or_by_time() -> None:
    """16 hw and hw above the bound; but where `narrow` takes 99 % of the time it comes first."""
    traced = trace(Two(), 8, 1, 4)
    assert [f.block for f in lint(traced, depth=1)] == ["wide", "narrow"]
    timed = lint(traced, {"wide": 0.01, "narrow": 0.99}, depth=1)
    assert [(f.block, f.time_share, f.timed) for f in timed] == [
        ("narrow", 0.99, "narrow"),
        ("wide", 0.01, "wide"),
    ]
    assert timed[0].badness == pytest.approx(0.99 * timed[0].own_share)


def test_time_of_what_is_inside_a_block_adds_up_and_a_stage_stands_in_for_the_rest() -> None:
    traced = trace(build("shufflev2-x0.5", device="meta"), 64)
    findings = lint(traced, {"model.1.0": 0.1, "model.1.1": 0.2, "model.10": 0.4, "neck": 0.5})
    times = {f.block: (f.time_share, f.timed) for f in findings}
    assert times["model.1"] == (pytest.approx(0.3), "model.1")
    assert times["model.10"] == (0.4, "model.10")
    assert times["model.15"] == (0.5, "neck")
    assert times["model.2"] == (None, None)


def report(parts: Mapping[str, list[dict[str, Any]]], whole: float | None = None) -> Report:
    settings = {"imgsz": "320x320", "device": "cpu"}
    metrics = {} if whole is None else {"latency_median_s": whole}
    return Report(rows=(Result("shufflev2", "a title", settings, metrics, parts=dict(parts)),))


STAGES = [
    {"part": "backbone", "latency_median_s": 0.1},
    {"part": "neck", "latency_median_s": 0.3},
    {"part": "decoder", "latency_median_s": 0.1},
]


@pytest.mark.parametrize(("whole", "of"), [(1.0, 1.0), (None, 0.5), (0.4, 0.5)])
def test_times_are_shares_of_the_whole_or_of_the_sum_where_that_is_more(
    whole: float | None, of: float
) -> None:
    """Backbone 0.1 s, neck 0.3 s, decoder 0.1 s; what surrounds the model is none of it."""
    around = [{"part": "preprocess", "latency_median_s": 7.0}]
    shares, row = time_shares(report({"stage": [*around, *STAGES]}, whole), "shufflev2")
    assert shares == pytest.approx({"backbone": 0.1 / of, "neck": 0.3 / of, "decoder": 0.1 / of})
    assert row.settings["device"] == "cpu"


def test_modules_tell_more_than_stages() -> None:
    modules = [{"part": "model.1 ShuffleV2Stage", "latency_median_s": 0.2}]
    shares, _ = time_shares(report({"stage": STAGES, "module": modules}, whole=0.4), "shufflev2")
    assert shares == pytest.approx({"model.1": 0.5})


@pytest.mark.parametrize(
    ("model", "parts", "said"),
    [
        ("rtdetr-l", {"stage": STAGES}, "the report has no rtdetr-l\n  its models: shufflev2."),
        ("shufflev2", {}, "no times of the parts of shufflev2\n  measure them: detrbench latency"),
        ("shufflev2", {"stage": [{"part": "neck", "flops": 3}]}, "no times of the parts"),
    ],
)
def test_a_report_without_the_times_is_refused(
    model: str, parts: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        time_shares(report(parts), model)
    assert said in str(caught.value)


# --- detectors ---------------------------------------------------------------------------------


def broken(name: str, key: str, imgsz: int = 640) -> dict[str, Finding]:
    findings = lint(trace(build(name, device="meta"), imgsz))
    return {finding.block: finding for finding in findings if finding.guideline == key}


def test_shufflenet_v1_is_found_to_use_groups_and_where() -> None:
    """Two grouped convolutions a unit, and one in the first; 4, 8 and 4 units. By hand for stage 4:
    bottlenecks of 240 and outputs of 960, the first unit computing 960 - 480."""
    grouped = broken("shufflev1", "G2")
    counts = {block: len(finding.evidence) for block, finding in grouped.items()}
    assert counts == {"model.1": 7, "model.2": 16, "model.3": 8}
    two_thirds = 2 / 3
    by_hand = two_thirds * (240 * 40**2 + 480 * 20**2 + 3 * (240 + 960) * 20**2)
    assert grouped["model.3"].above == pytest.approx(by_hand)
    assert grouped["model.3"].evidence[0] == (
        "model.3.0.squeeze.0", "480 > 240, g = 3 on 40x40", pytest.approx(two_thirds * 240 * 1600)
    )  # fmt: skip


def test_shufflenet_v2_has_no_groups_and_equal_widths_but_for_its_first_unit() -> None:
    """24 > 58 in both branches of stage 2's first unit, and the projections of the neck."""
    assert not broken("shufflev2", "G2")
    unequal = broken("shufflev2", "G1")
    backbone = {block: f for block, f in unequal.items() if f.stage == "backbone"}
    assert list(backbone) == ["model.1"]
    by_hand = (160**2 + 80**2) * (sqrt(24) - sqrt(58)) ** 2
    assert backbone["model.1"].above == pytest.approx(by_hand)
    assert {"model.4", "model.8", "model.13"} <= unequal.keys()  # 464, 232, 116 > 256


def test_rtdetr_ls_blocks_are_fragmented_and_shufflenets_units_of_stride_1_are_not() -> None:
    """Light blocks: six pairs of convolutions and two that join; RepC3: three pairs and two."""
    pieces = {block: f.found for block, f in broken("rtdetr-l", "G3").items()}
    assert pieces["model.5"] == "1 unit of 14 convolutions and poolings"
    assert pieces["model.16"] == "1 unit of 8 convolutions and poolings, 2 side by side"
    units = {block: len(f.evidence) for block, f in broken("shufflev2", "G3").items()}
    assert [units[f"model.{row}"] for row in (1, 2, 3)] == [1, 1, 1]  # those of stride 2


def test_every_share_is_of_a_whole() -> None:
    for finding in lint(trace(build("shufflev1", device="meta"), 64)):
        assert finding.guideline in GUIDELINES
        assert 0 < finding.share <= finding.own_share <= 1
        assert 0 <= finding.flops_share <= 1
        assert sum(one.above for one in finding.evidence) == pytest.approx(finding.above)


# --- the command -------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["lint", *args])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_table_says_where_what_and_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "shufflev1", "--imgsz", "64")
    assert code == 0
    assert out.startswith("shufflev1, image 64x64, batch 1, nc=80, unfused: what breaks")
    assert re.search(r"^model\.2 ShuffleV1Stage +G4 ", out, re.MULTILINE)
    assert "23 element-wise kernels" in out
    assert re.search(r"^\d+ more cost less than 0\.5% of the model each", out, re.MULTILINE)


def test_files_hold_every_finding_with_its_row_line_and_layers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, out, _ = run(capsys, "shufflev1", "--imgsz", "64", "--format", "csv")
    records = list(csv.DictReader(io.StringIO(out)))
    target = tmp_path / "lint.json"
    code, _, err = run(capsys, "shufflev1", "--imgsz", "64", "-o", str(target))
    assert (code, err) == (0, f"wrote {target}\n")
    data = json.loads(target.read_text(encoding="utf-8"))
    assert [f["found"] for f in data["findings"]] == [record["found"] for record in records]
    grouped = next(f for f in data["findings"] if (f["row"], f["guideline"]) == (2, "G2"))
    line = find_model("shufflev1").read_text(encoding="utf-8").splitlines()[grouped["line"] - 1]
    assert line.startswith("  - [-1, 8, ShuffleV1Stage, [480, 3]]")
    assert len(grouped["evidence"]) == 16
    assert sum(one["above"] for one in grouped["evidence"]) == pytest.approx(grouped["above"])


def test_measured_times_order_the_findings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved = tmp_path / "times.json"
    report({"stage": STAGES}).save(saved)
    code, out, _ = run(capsys, "shufflev2", "--imgsz", "64", "--times", str(saved))
    assert code == 0
    assert "60.0% (neck)" in out
    assert "times are of: imgsz 320x320, device cpu" in " ".join(out.split())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("shuflev2",), "did you mean shufflev2"),
        (("shufflev2", "--imgsz", "100"), "take multiples of 32"),
        (("shufflev2", "--least", "all"), "--least: 'all' is not a share"),
        (("shufflev2", "--format", "yaml"), "--format: unknown value 'yaml'"),
        (("shufflev2", "--times", "none.json"), "--times: none.json is not a file"),
        (("shufflev2", "--times", __file__), "not JSON"),
    ],
)
def test_bad_input_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert said in err
