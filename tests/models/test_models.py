"""The detectors that come with detrbench: sizes, keys, and golden outputs of the peer."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from detrbench.models.builder import build
from detrbench.models.catalog import STRIDE, model_names
from detrbench.models.detector import Detector
from detrbench.models.nn import attention, conv, decoder
from tests.models.filling import fill, image

GOLDEN = sorted((Path(__file__).parents[1] / "data" / "golden").glob("rtdetr-*-nc*.json"))


def parameters(detector: Detector) -> int:
    return sum(p.numel() for p in detector.parameters())


@cache
def on_meta(name: str, nc: int | None = None) -> Detector:
    return build(name, nc=nc, device="meta")


@pytest.mark.parametrize(
    ("name", "nc", "plain"),
    [("rtdetr-l", 80, 32_970_476), ("rtdetr-l", 1, 32_808_131), ("shufflev2", 1, 19_321_543)],
)
def test_parameters(name: str, nc: int, plain: int) -> None:
    assert parameters(on_meta(name, nc)) == plain


def test_parameters_when_fused() -> None:
    assert parameters(build("rtdetr-l", device="meta").fuse()) == 32_148_140


@pytest.mark.parametrize("name", model_names())
def test_declared_parameters_are_the_true_ones(name: str) -> None:
    detector = on_meta(name, 80)
    assert parameters(detector) == detector.spec.params_nc80


def test_state_dict_keys_are_those_of_published_weights() -> None:
    keys = on_meta("rtdetr-l").state_dict().keys()
    assert len(keys) == 941
    assert {
        "model.0.stem2a.conv.weight",
        "model.5.m.0.conv1.bn.running_mean",
        "model.11.ma.in_proj_weight",
        "model.16.m.2.conv2.bn.num_batches_tracked",
        "model.28.input_proj.0.1.running_var",
        "model.28.decoder.layers.0.self_attn.in_proj_weight",
        "model.28.decoder.layers.5.cross_attn.sampling_offsets.bias",
        "model.28.denoising_class_embed.weight",
        "model.28.dec_bbox_head.5.layers.2.weight",
    } <= keys


@pytest.mark.parametrize("name", model_names())
def test_stages_and_strides(name: str) -> None:
    detector = on_meta(name, 80)
    assert detector.stride == STRIDE == 32
    assert list(detector.detrbench_stages) == [f"model.{i}" for i in range(len(detector.model))]
    assert set(detector.detrbench_stages.values()) == {"backbone", "neck", "decoder"}
    shapes = [tuple(t.shape) for t in detector(torch.empty(2, 3, 96, 64, device="meta"))]
    assert shapes == [(2, 126, 4), (2, 126, 80)]


def test_golden_files_are_there() -> None:
    names = {path.stem.rpartition("-nc")[0] for path in GOLDEN}
    assert names == {"rtdetr-l", "rtdetr-x", "rtdetr-resnet50", "rtdetr-resnet101"}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_outputs_are_the_peers(path: Path) -> None:
    """Made by benchmarks/peers/parity.py from the same deterministic weights and image."""
    golden = json.loads(path.read_text(encoding="utf-8"))
    detector = build(golden["model"], nc=golden["nc"])
    detector.load_state_dict(fill(detector.state_dict()), strict=True)
    detector.double()
    images = image(1, *golden["image"]).double()
    _compare(detector, images, golden["plain"])
    _compare(detector.fuse(), images, golden["fused"])


def _shift(module: ModuleType, name: str, factor: float) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(module, name, factor * getattr(module, name))


def _swap_coordinates(patch: pytest.MonkeyPatch) -> None:
    right = attention.position_embedding
    patch.setattr(attention, "position_embedding", lambda h, w, c, device: right(w, h, c, device))


@pytest.mark.parametrize(
    "mistake",
    [
        _swap_coordinates,
        _shift(attention, "TEMPERATURE", 0.9),
        _shift(conv, "BN_EPS", 0.01),
        _shift(decoder, "ANCHOR_SIDE", 1.02),
    ],
    ids=["swapped coordinates", "temperature", "normalisation", "anchors"],
)
def test_golden_outputs_would_notice(
    mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    with pytest.raises(AssertionError):
        test_outputs_are_the_peers(GOLDEN[0])


def _compare(detector: Detector, images: torch.Tensor, golden: dict[str, Any]) -> None:
    with torch.inference_mode():
        assert detector.detect(images)[1][0].tolist() == golden["queries"]
        boxes, scores = detector(images)
    assert float(boxes.norm()) == pytest.approx(golden["boxes_norm"], rel=1e-6)
    assert float(scores.norm()) == pytest.approx(golden["scores_norm"], rel=1e-6)
    for ours, theirs in ((boxes[0, ::7], golden["boxes"]), (scores[0, ::7, :5], golden["scores"])):
        expected = torch.tensor(theirs, dtype=torch.float64)
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)
