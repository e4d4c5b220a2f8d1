"""Each convention equals the counter it stands for, run for real; the article's digits come out."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench import build, trace
from detrbench.conventions import CONVENTIONS, find_convention
from detrbench.counters import CounterMissing, run_counter
from detrbench.errors import UsageError
from detrbench.nn import Detector
from detrbench.units import show

GOLDEN = Path(__file__).parent / "data" / "golden" / "ultralytics_thop.json"
SMALL = (160, 160)
STATES = [
    (name, nc, fused)
    for name in ("rtdetr-l", "shufflev2")
    for nc in (1, 80)
    for fused in (False, True)
]


@lru_cache(maxsize=1)  # the counters take turns at each
def detector(name: str, nc: int, fused: bool, device: str = "cpu") -> Detector:
    model = build(name, nc, device=device)
    return model.fuse() if fused else model


def assert_equals_real(counter: str, model: nn.Module, size: tuple[int, int]) -> None:
    try:
        real = run_counter(counter, model, size)
    except CounterMissing as missing:
        pytest.skip(str(missing))
    emulated = find_convention(real.convention).flops(trace(model, size).ops)
    assert emulated == real.flops, real


@pytest.mark.parametrize(("name", "nc", "fused"), STATES)
@pytest.mark.parametrize("counter", ["thop", "fvcore", "torch"])
def test_equals_the_real_counter_on_detectors(
    counter: str, name: str, nc: int, fused: bool
) -> None:
    assert_equals_real(counter, detector(name, nc, fused), SMALL)


@pytest.mark.parametrize("counter", ["thop", "fvcore", "torch"])
def test_equals_the_real_counter_at_full_size(counter: str) -> None:
    assert_equals_real(counter, detector("rtdetr-l", 1, fused=False), (640, 640))


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenet_v3_small",
        "convnext_tiny",
        "densenet121",
        "squeezenet1_1",
        "googlenet",
    ],
)
@pytest.mark.parametrize("counter", ["thop", "fvcore", "torch"])
def test_equals_the_real_counter_on_torchvision_models(counter: str, name: str) -> None:
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    assert_equals_real(counter, model, (64, 96))


class Zoo(nn.Module):
    """Layers that detectors rarely have and counters treat in their own ways."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.GroupNorm(2, 8),
            nn.PReLU(),
            nn.ConvTranspose2d(8, 8, 2, stride=2, groups=4),
            nn.InstanceNorm2d(8),
            nn.AvgPool2d(2),
            nn.BatchNorm2d(8, affine=False),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Softmax(1),
            nn.LeakyReLU(),
            nn.LayerNorm(24, elementwise_affine=False),
            nn.Linear(24, 24),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d((4, 3)),
        )

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.layers(images)
        return F.linear(x, torch.ones(5, 3, device=x.device))


@pytest.mark.parametrize("counter", ["thop", "torch"])
def test_equals_the_real_counter_on_a_zoo_of_layers(counter: str) -> None:
    assert_equals_real(counter, Zoo().eval(), (16, 12))


def test_ultralytics_thop_equals_what_the_peers_script_kept() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert golden["counter"] == "ultralytics-thop 2.2.3"
    rule = CONVENTIONS["ultralytics-thop"]
    assert [(r["model"], r["nc"], r["fused"]) for r in golden["rows"]] == STATES
    for row in golden["rows"]:
        model = detector(row["model"], row["nc"], row["fused"], "meta")
        assert rule.flops(trace(model).ops) == row["flops"], row


def test_the_articles_digits_are_thops() -> None:
    for name, printed in (("rtdetr-l", "108.0"), ("shufflev2", "62.8")):
        traced = trace(detector(name, 1, fused=False, device="meta"))
        assert show(CONVENTIONS["thop"].flops(traced.ops), "FLOP") == printed


def test_where_every_mac_is() -> None:
    """Components of the reference, in MACs; they add up to each convention's figure."""
    traced = trace(detector("rtdetr-l", 80, fused=False, device="meta"))
    core = CONVENTIONS["core"].components(traced.ops)
    assert core["attention products"] == 2 * 400 * 400 * 256 + 6 * 2 * 300 * 300 * 256
    assert core["attention projections"] == 4 * 256 * 256 * (400 + 6 * 300)
    assert core["other matrix products"] == 2 * 400 * 64
    thop = CONVENTIONS["thop"].components(traced.ops)
    missed = sum(
        core[part]
        for part in ("attention products", "attention projections", "other matrix products")
    )
    added = thop["batch norm"] + thop["layer norm"] + thop["upsample"]
    assert sum(thop.values()) == sum(core.values()) - missed + added
    assert thop["upsample"] == 256 * (40 * 40 + 80 * 80)
    for name, rule in CONVENTIONS.items():
        assert 2 * sum(rule.components(traced.ops).values()) == rule.flops(traced.ops), name


def test_functional_calls_are_unseen_by_hooks_and_seen_by_the_rest() -> None:
    class Functional(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return F.linear(images, torch.ones(5, 8, device=images.device))

    traced = trace(Functional(), 8)
    macs = 3 * 8 * 8 * 5
    assert CONVENTIONS["thop"].flops(traced.ops) == 0
    for name in ("core", "ultralytics-thop", "fvcore", "torch"):
        assert CONVENTIONS[name].flops(traced.ops) == 2 * macs


def test_an_unknown_convention_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean thop"):
        find_convention("thopp")
