"""Each convention equals the counter it stands for, run for real; the article's digits come out."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench import build, trace
from detrbench.core.errors import UsageError
from detrbench.core.units import show
from detrbench.counting import formulas
from detrbench.counting.conventions import CONVENTIONS, find_convention
from detrbench.counting.formulas import TensorInfo
from detrbench.counting.installed_counters import CounterMissing, run_counter
from detrbench.counting.tracing import Op, Trace
from detrbench.models.detector import Detector

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "ultralytics_thop.json"
SMALL = (160, 160)
STATES = [
    (name, nc, fused)
    for name in ("rtdetr-l", "shufflev2")
    for nc in (1, 80)
    for fused in (False, True)
]


@lru_cache(maxsize=1)  # the counters take turns at each, and its trace stays, too
def detector(name: str, nc: int, fused: bool, device: str = "cpu") -> Detector:
    model = build(name, nc, device=device)
    return model.fuse() if fused else model


@lru_cache(maxsize=1)
def traced_once(model: nn.Module, size: tuple[int, int], batch: int) -> Trace:
    return trace(model, size, batch)


def assert_equals_real(
    counter: str, model: nn.Module, size: tuple[int, int], batch: int = 1
) -> None:
    try:
        real = run_counter(counter, model, size, batch)
    except CounterMissing as missing:
        pytest.skip(str(missing))
    emulated = find_convention(real.convention).flops(traced_once(model, size, batch).ops)
    assert emulated == real.flops, real


@pytest.mark.parametrize("counter", ["thop", "fvcore", "torch"])
@pytest.mark.parametrize(("name", "nc", "fused"), STATES)
def test_equals_the_real_counter_on_detectors(
    counter: str, name: str, nc: int, fused: bool
) -> None:
    assert_equals_real(counter, detector(name, nc, fused), SMALL)


@pytest.mark.parametrize("counter", ["thop", "fvcore", "torch"])
@pytest.mark.parametrize("name", ["rtdetr-l", "shufflev2"])
def test_equals_the_real_counter_at_full_size(counter: str, name: str) -> None:
    assert_equals_real(counter, detector(name, 1, fused=False), (640, 640))


@pytest.mark.parametrize("counter", ["thop", "fvcore", "torch"])
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenet_v3_small",
        "convnext_tiny",
        "densenet121",
        "squeezenet1_1",
        "googlenet",
        "shufflenet_v2_x1_0",
    ],
)
def test_equals_the_real_counter_on_torchvision_models(counter: str, name: str) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    assert_equals_real(counter, torchvision_model(name), (64, 96))


def test_equals_torch_on_a_vision_transformer() -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    assert_equals_real("torch", torchvision_model("vit_b_16"), (224, 224))


@lru_cache(maxsize=1)
def torchvision_model(name: str) -> nn.Module:
    from torchvision.models import get_model

    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model: nn.Module = get_model(name, weights=None, **options)
    return model.eval()


class FunctionalLinear(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, torch.ones(5, x.shape[-1], device=x.device))


class FunctionalResizing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2) + F.adaptive_avg_pool2d(x, (1, 1))


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2)
        attended: Tensor = self.attention(tokens, tokens, tokens)[0]
        return attended


class Steps(nn.Module):
    """Two steps of a recurrent cell."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = self.cell(x[:, 0])
        out: Tensor = self.cell(x[:, 1], state)
        return out


class OwnLSTM(nn.LSTM):
    """Not exactly torch's class."""


class Product(nn.Module):
    """A product of rows of 12 with a matrix of their own, by one of torch's functions."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(12, 7))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x.flatten(1, 2), self.weight)


def on_rows(layer: nn.Module) -> nn.Module:
    """A layer on sequences: (B, 160, 12) of a map."""
    return nn.Sequential(nn.Flatten(1, 2), layer)


# For maps of 8 channels, 20 high and 12 wide: what detectors rarely have and counters treat in
# their own ways.
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "ConvTranspose2d, groups": lambda: nn.ConvTranspose2d(8, 8, 3, stride=2, groups=4),
    "AvgPool2d": lambda: nn.AvgPool2d(3, stride=2, padding=1),
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d((5, 3)),
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "PReLU": nn.PReLU,
    "LeakyReLU": nn.LeakyReLU,
    "GELU": nn.GELU,
    "Softmax over channels": lambda: nn.Softmax(1),
    "Softmax over columns": lambda: nn.Softmax(-1),
    "GroupNorm": lambda: nn.GroupNorm(2, 8),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(8),
    "InstanceNorm2d, affine": lambda: nn.InstanceNorm2d(8, affine=True),
    "BatchNorm2d, not affine": lambda: nn.BatchNorm2d(8, affine=False),
    "LayerNorm": lambda: nn.LayerNorm(12),
    "LayerNorm, not affine": lambda: nn.LayerNorm(12, elementwise_affine=False),
    "Upsample, nearest": lambda: nn.Upsample(scale_factor=2),
    "Upsample, bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "Upsample, bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    "Linear": lambda: nn.Linear(12, 7),
    "functional linear": FunctionalLinear,
    "functional upsample and pooling": FunctionalResizing,
    "attention": SelfAttention,
    "encoder layer": lambda: nn.Sequential(
        nn.Flatten(1, 2), nn.TransformerEncoderLayer(12, 3, 32, batch_first=True)
    ),
    "LSTM": lambda: on_rows(nn.LSTM(12, 4)),
    "LSTM, both ways twice": lambda: on_rows(
        nn.LSTM(12, 4, 2, batch_first=True, bidirectional=True)
    ),
    "LSTM, no bias": lambda: on_rows(nn.LSTM(12, 4, bias=False)),
    "LSTM, projected": lambda: on_rows(nn.LSTM(12, 4, 2, proj_size=3)),
    "LSTM, subclass": lambda: on_rows(OwnLSTM(12, 4)),
    "GRU": lambda: on_rows(nn.GRU(12, 4)),
    "GRU, both ways twice, no bias": lambda: on_rows(
        nn.GRU(12, 4, 2, bidirectional=True, bias=False)
    ),
    "RNN": lambda: on_rows(nn.RNN(12, 4, nonlinearity="relu")),
    "LSTMCell": lambda: on_rows(Steps(nn.LSTMCell(12, 12))),
    "GRUCell": lambda: on_rows(Steps(nn.GRUCell(12, 12, bias=False))),
    "RNNCell": lambda: on_rows(Steps(nn.RNNCell(12, 12))),
    "tensordot": lambda: Product(lambda x, w: torch.tensordot(x, w, ([2], [0]))),
    "inner": lambda: Product(lambda x, w: torch.inner(x, w.mT)),
    "multi_dot": lambda: Product(lambda x, w: torch.linalg.multi_dot([x[0], w, w.mT])),
    "power": lambda: Product(lambda x, w: x @ torch.matrix_power(w @ w.mT, 3)),
    "addbmm": lambda: Product(lambda x, w: torch.addbmm(w[0], x, w[None].expand(len(x), -1, -1))),
    "mv": lambda: Product(lambda x, w: torch.mv(x[0], w[:, 0])),
    "bilinear": lambda: Product(lambda x, w: F.bilinear(x, x, w.mT[..., None].expand(7, 12, 12))),
    "cdist": lambda: Product(lambda x, w: torch.cdist(x, x)),
}


@pytest.mark.parametrize("counter", ["thop", "fvcore", "torch"])
@pytest.mark.parametrize("name", LAYERS)
def test_equals_the_real_counter_on_a_layer(counter: str, name: str) -> None:
    assert_equals_real(counter, layer(name), (20, 12))


@lru_cache(maxsize=1)
def layer(name: str) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), LAYERS[name]()).eval()


class OneKey(nn.Module):
    """Eight heads of queries, one of keys and values, which a CPU fuses as well."""

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x[:, :1], x[:, :1])


def test_one_key_for_all_heads_is_fused_as_the_real_counter_sees() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), OneKey())
    assert_equals_real("torch", model, (5, 4))
    assert trace(model, (5, 4)).macs == 5 * 4 * 3 * 8 + 8 * 2 * 5 * 5 * 4


class Recurrent(nn.Module):
    """A sequence of the channels, through one recurrent layer."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.flatten(2))[0]
        return out


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("projected", [0, 2])
@pytest.mark.parametrize("counter", ["fvcore", "torch"])
def test_equals_the_real_counter_on_recurrence(counter: str, projected: int) -> None:
    """A CPU runs an LSTM whole, but not with projections: then one counter sees the products."""
    layer = nn.LSTM(6, 5, proj_size=projected, bidirectional=True, batch_first=True)
    model = Recurrent(layer).eval()
    assert_equals_real(counter, model, (2, 3))
    each = 4 * 5 * (6 + (projected or 5)) + projected * 5  # gates, and the projection
    assert trace(model, (2, 3)).macs == 2 * 3 * each


@pytest.mark.parametrize("counter", ["thop", "fvcore", "torch"])
def test_equals_the_real_counter_for_a_batch(counter: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.AvgPool2d(2)).eval()
    assert_equals_real(counter, model, (20, 12), batch=3)


def test_ultralytics_thop_equals_what_the_peers_script_kept() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert golden["counter"] == "ultralytics-thop 2.2.3"
    rule = CONVENTIONS["ultralytics-thop"]
    assert [(r["model"], r["nc"], r["fused"]) for r in golden["rows"]] == STATES
    for row in golden["rows"]:
        model = detector(row["model"], row["nc"], row["fused"], "meta")
        assert rule.flops(trace(model, in_place=True).ops) == row["flops"], row


def test_the_articles_digits_are_thops() -> None:
    for name, printed in (("rtdetr-l", "108.0"), ("shufflev2", "62.8")):
        traced = trace(detector(name, 1, fused=False, device="meta"), in_place=True)
        assert show(CONVENTIONS["thop"].flops(traced.ops), "FLOP") == printed


def test_where_every_mac_is() -> None:
    """Components of the reference, in MACs; they add up to each convention's figure."""
    traced = trace(detector("rtdetr-l", 80, fused=False, device="meta"), in_place=True)
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
    traced = trace(FunctionalLinear(), 8)
    macs = 3 * 8 * 8 * 5
    assert CONVENTIONS["thop"].flops(traced.ops) == 0
    for name in ("core", "ultralytics-thop", "fvcore", "torch"):
        assert CONVENTIONS[name].flops(traced.ops) == 2 * macs


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        # 2 x 2 kernel, 8 channels in, 4 out, in 2 groups: 4 x 6 x 8 inputs x 2 out x 4 weights each
        ("core", 4 * 6 * 8 * 2 * 4),
        ("fvcore", 4 * 6 * 8 * 2 * 4),
        ("torch", 4 * 6 * 8 * 2 * 4),
        # as if forward: 4 x 8 x 12 outputs x 4 channels read x 4 weights
        ("thop", 4 * 8 * 12 * 4 * 4),
    ],
)
def test_transposed_convolution_by_hand(name: str, macs: int) -> None:
    first, layer = nn.Conv2d(3, 8, 1), nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2)
    traced = trace(nn.Sequential(first, layer), (4, 6))
    assert CONVENTIONS[name].flops(traced.ops) == 2 * (macs + 4 * 6 * 3 * 8)


@pytest.mark.parametrize(
    ("layer", "rest"),
    [
        (nn.LSTM(5, 4, batch_first=True), 1248 - 4 * 4 * 9 * 6),
        (nn.LSTM(5, 4, 2, batch_first=True, bidirectional=True), 5568 - 4 * 4 * (9 + 12) * 12),
        (nn.GRU(5, 4, batch_first=True), 960 - 3 * 4 * 9 * 6),
        (nn.RNN(5, 4), 288 - 4 * 9 * 6),
        (OwnLSTM(5, 4), 1248 - 4 * 4 * 9 * 6),
        # States of 3 are made of 4 by 12 products: unlike thop, it counts what is there.
        (nn.LSTM(5, 4, 2, proj_size=3), 2256 - (16 * (5 + 3 + 3 + 3) + 2 * 12) * 6),
    ],
)
def test_recurrent_layers_of_ultralytics_thop(layer: nn.Module, rest: int) -> None:
    """Its own figures (2.2.3) for (2, 3, 5): the products, and what is booked beside them."""

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = self.layer(images.new_zeros(2, 3, 5))[0]
            return out

    traced = trace(Rows(), 8)
    assert CONVENTIONS["ultralytics-thop"].flops(traced.ops) - traced.flops == 2 * rest
    assert set(CONVENTIONS["core"].components(traced.ops)) == {"recurrent layers"}


@pytest.mark.parametrize(
    ("name", "norm", "upsample"),
    [
        ("core", 0, 0),
        ("thop", 4, 1),
        ("ultralytics-thop", 4, 0),
        ("fvcore", 2, 1),
        ("torch", 0, 0),
    ],
)
def test_what_is_booked_per_element_by_hand(name: str, norm: int, upsample: int) -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Upsample(scale_factor=2)).eval()
    elements = 3 * 4 * 6
    expected = 2 * (norm * elements + upsample * 4 * elements)
    assert CONVENTIONS[name].flops(trace(model, (4, 6)).ops) == expected


def test_an_unknown_convention_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean thop"):
        find_convention("thopp")


# --- operators of any signature ----------------------------------------------------------------

IMAGE = TensorInfo((2, 3, 4, 4), 4, 96, 0, 0, 0, False, True)
EMPTY = TensorInfo((2, 0, 4, 4), 4, 0, 1, 0, 0, False, True)
SIGNATURES: dict[str, tuple[Any, ...]] = {  # args, kwargs, inputs, outputs
    "no result": ((IMAGE,), {}, (IMAGE,), ()),
    "no tensor goes in": ((3,), {}, (), (IMAGE,)),
    "by keyword": ((IMAGE,), {"dim": 1}, (IMAGE,), (IMAGE,)),
    "empty": ((EMPTY, 1), {}, (EMPTY, EMPTY), (EMPTY,)),
}


def strange(signature: str, kind: str, module: type[nn.Module]) -> Op:
    return Op("strange", *SIGNATURES[signature], kind, "", module, "", formulas.Cost(), 0, 0)


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_operator_without_a_formula_is_worth_nothing(convention: str, signature: str) -> None:
    modules = (nn.Identity, nn.Softmax, nn.BatchNorm2d, nn.Upsample, nn.AvgPool2d, nn.Conv2d)
    ops = [strange(signature, formulas.UNCOUNTED.kind, module) for module in modules]
    assert CONVENTIONS[convention].flops(ops) == 0


@pytest.mark.parametrize("convention", ["thop", "ultralytics-thop"])
def test_a_dimension_by_keyword_and_one_without_elements(convention: str) -> None:
    """2 x 4 x 4 rows of three: 3 exponentials, 2 additions, 3 divisions."""
    softmax = [strange(how, formulas.SOFTMAX, nn.Softmax) for how in ("by keyword", "empty")]
    assert list(map(CONVENTIONS[convention].macs, softmax)) == [2 * 4 * 4 * (3 + 2 + 3), 0]
