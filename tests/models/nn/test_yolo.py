"""YOLO's heads, the models that end in them, and what their rows say of what comes after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from detrbench import profile
from detrbench.core.errors import SpecError
from detrbench.models.builder import build
from detrbench.models.catalog import find_model, model_names
from detrbench.models.nn.csp import C3k2
from detrbench.models.nn.yolo import DFL, Detect, cells, v10Detect
from detrbench.models.yaml_spec import load_model_spec
from detrbench.render import render
from tests.models.filling import fill, image

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
NANO = ("yolov8n", "yolo11n", "yolov10n")


@pytest.mark.parametrize("name", NANO)
def test_outputs_are_the_peers(name: str) -> None:
    """Made by benchmarks/peers/parity.py from the same deterministic weights and image."""
    golden = json.loads((GOLDEN / f"{name}-nc80.json").read_text(encoding="utf-8"))
    detector = build(name)
    state = detector.state_dict()
    bins = {key: value for key, value in state.items() if "dfl" in key}
    weights = fill(state) | bins
    many = {key: value for key, value in weights.items() if "one2one_" in key}
    weights |= {key.replace("one2one_", ""): value for key, value in many.items()}
    detector.load_state_dict(weights, strict=True)
    detector.double()
    images = image(1, *golden["image"]).double()
    for wanted in (golden["plain"], golden["fused"]):
        with torch.inference_mode():
            found = detector(images)
        for ours, key, kept in zip(found, ("boxes", "scores"), (4, 5), strict=True):
            expected = torch.tensor(wanted[key], dtype=torch.float64)
            torch.testing.assert_close(ours[0, ::7, :kept], expected, rtol=1e-6, atol=1e-9)
            assert float(ours.norm()) == pytest.approx(wanted[f"{key}_norm"], rel=1e-6)
        detector.fuse()


@pytest.mark.parametrize("name", NANO)
def test_published_figures_are_those_of_thop_when_fused(name: str) -> None:
    row = profile([name], fuse=True).rows[0]
    (printed,) = load_model_spec(find_model(name)).published
    params, flops = row.metrics["params"], row.metrics["flops_thop"]
    assert params is not None
    assert flops is not None
    assert f"{params / 1e6:.1f}M" == printed.params
    assert f"{flops / 1e9:.1f}" == printed.gflops


def test_every_row_says_what_nms_has_to_do_with_it() -> None:
    report = profile(["yolov8n", "yolov10n"], imgsz=64)
    said = [" ".join(row.notes) for row in report.rows]
    assert "non-maximum suppression (NMS) is not part of the figures" in said[0]
    assert "it needs no non-maximum suppression (NMS)" in said[1]
    for format in ("table", "markdown", "csv", "latex", "html", "json"):
        text = " ".join(render(report, format).split())
        assert "suppression (NMS) is not part" in text, format
        assert "needs no non-maximum" in text, format


def test_cells_by_hand() -> None:
    centres, parts = cells([(1, 2), (1, 1)], torch.float64, torch.device("cpu"))
    assert centres.tolist() == [[0.5, 1.5, 0.5], [0.5, 0.5, 0.5]]
    assert parts.tolist() == [[0.5, 0.5, 1.0], [1.0, 1.0, 1.0]]


def test_dfl_is_an_expectation() -> None:
    logits = torch.zeros(1, 4, 16, 1)
    logits[0, 1, 3] = 100.0  # all on bin 3
    logits[0, 2, [4, 6]] = 100.0  # half on 4, half on 6
    with torch.no_grad():
        sides = DFL()(logits.view(1, 64, 1))
    assert sides[0, :, 0].tolist() == pytest.approx([7.5, 3.0, 5.0, 7.5])


def sure(*bins: int) -> torch.Tensor:
    """What a branch says of one cell that is sure of the distances to all four sides: (64,)."""
    return torch.cat([torch.eye(16)[each] * 100 for each in bins])


def test_a_box_by_hand() -> None:
    """A map of 1x2 cells: the second one's centre is at 1.5, 0.5; left 1, up 2, right 3, down 4."""
    head = Detect((8,), nc=2).eval()
    said = torch.stack((sure(0, 0, 0, 0), sure(1, 2, 3, 4)), 1)[None, :, None]  # (1, 64, 1, 2)
    head.cv2 = nn.ModuleList([Says(said)])
    head.cv3 = nn.ModuleList([Says(torch.zeros(1, 2, 1, 2))])
    with torch.no_grad():
        boxes, scores = head([torch.zeros(1, 8, 1, 2)])
    assert boxes[0, 0].tolist() == pytest.approx([0.25, 0.5, 0.0, 0.0])
    assert boxes[0, 1].tolist() == pytest.approx([(0.5 + 4.5) / 2 / 2, (-1.5 + 4.5) / 2, 2.0, 6.0])
    assert scores.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]


class Says(nn.Module):
    def __init__(self, what: torch.Tensor) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.what


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_heads_by_hand() -> None:
    """One map of 64 channels, 2 classes. Boxes: 3x3 64>64 twice, 64>64 with a bias. Scores: two
    convolutions at 64 and 64>2, 3x3 each, or depth-wise and 64>64."""
    boxes = 2 * (64 * 64 * 9 + 128) + 64 * 64 + 64
    heavy = 2 * (64 * 64 * 9 + 128) + 64 * 2 + 2
    light = 2 * (64 * 9 + 128 + 64 * 64 + 128) + 64 * 2 + 2
    assert parameters(Detect((64,), 2)) == boxes + heavy + 16
    assert parameters(Detect((64,), 2, light=True)) == boxes + light + 16
    head = v10Detect((64,), 2)
    assert parameters(head) == 2 * (boxes + light) + 16
    head.fuse()
    head.fuse()
    assert parameters(head) == boxes + light + 16


def test_what_the_rest_of_a_file_says_to_its_blocks() -> None:
    assert Detect.told_by({"Conv", "C2f"}, "m") == {"light": False}
    for block in ("C3k2", "C2fCIB"):
        assert Detect.told_by({"Conv", block}, "m") == {"light": True}
    deep = {scale: C3k2.told_by(set(), scale)["deep"] for scale in (None, *"nsmlx")}
    assert deep == {None: False, "n": False, "s": False, "m": True, "l": True, "x": True}


@pytest.mark.parametrize(("key", "value"), [("end2end", "True"), ("reg_max", "1")])
def test_a_head_that_is_not_built_is_refused(key: str, value: str, tmp_path: Path) -> None:
    text = find_model("yolov8n").read_text(encoding="utf-8")
    path = tmp_path / "later.yaml"
    path.write_text(f"{key}: {value}\n{text}", encoding="utf-8")
    with pytest.raises(SpecError, match=f"`{key}: {value}` asks for another Detect"):
        load_model_spec(path)
    path.write_text(f"end2end: False\nreg_max: 16\n{text}", encoding="utf-8")
    assert load_model_spec(path).rows[-1].module == "Detect"


def test_rows_of_yolo_under_a_decoder_of_rtdetr(tmp_path: Path) -> None:
    """As a public file has it, with adapted blocks of its own: 9,643,868 parameters, 17.1 G."""
    text = find_model("yolov8n").read_text(encoding="utf-8").partition("detrbench:")[0]
    path = tmp_path / "yolov8-rtdetr.yaml"
    path.write_text(text.replace("1, Detect, [nc]", "1, RTDETRDecoder, [nc]"), encoding="utf-8")
    row = profile([str(path)]).rows[0]
    assert row.metrics["params"] == 9_643_868
    assert row.metrics["flops"] == 18_471_526_400
    assert row.metrics["flops_thop"] == 17_114_521_600
    assert row.notes == ()


def test_models_of_a_family_differ_by_their_scale_alone() -> None:
    def rows(name: str) -> list[Any]:
        lines = find_model(name).read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith("  - [")]

    for family in ("yolov8", "yolo11"):
        same = [rows(name) for name in model_names() if name.startswith(family)]
        assert len(same) == 5
        assert all(each == same[0] for each in same)
