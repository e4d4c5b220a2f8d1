"""The blocks of the field beside a second way to compute the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench.models.nn import resolve
from detrbench.models.nn.area import A2C2f, AreaAttention
from detrbench.models.nn.downsampling import SPDConv
from detrbench.models.nn.dysample import DySample
from detrbench.models.nn.joining import (
    Add,
    CBFuse,
    CBLinear,
    GetIndexOutput,
    Multiply,
    ScalSeq,
    Zoom_cat,
)
from detrbench.models.nn.psa import MapAttention
from detrbench.models.nn.slimneck import GSConv, VoVGSCSP
from tests.models.filling import fill, uniform

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "data" / "golden" / "blocks.json").read_text(encoding="utf-8")
)


def filled(module: nn.Module) -> Any:
    """`module` in float64 with deterministic weights, to be called in evaluation."""
    module.load_state_dict(fill(module.state_dict()))
    return module.double().eval().requires_grad_(False)


def drawn(name: str, *shape: int) -> Tensor:
    return uniform(name, shape).double()


@pytest.mark.parametrize("known", GOLDEN["blocks"], ids=lambda known: known["block"])
def test_outputs_are_the_peers(known: dict[str, Any]) -> None:
    """Made by benchmarks/peers/parity.py: the sum of the outputs, each with a weight of its own."""
    block: Any = resolve(known["block"])
    module = filled(block(known["c1"], *known["args"], **known["options"]))
    output = module(drawn("input", 2, known["c1"], 8, 6))
    assert list(output.shape) == known["shape"]
    weights = drawn("weights", *output.shape)
    assert float((output * weights).sum()) == pytest.approx(known["sum"], rel=1e-9)
    assert float(output.norm()) == pytest.approx(known["norm"], rel=1e-9)


def test_gsconv_puts_even_channels_before_odd_ones() -> None:
    block = filled(GSConv(6, 8, 3, 2))
    x = drawn("x", 2, 6, 8, 6)
    first = block.cv1(x)
    joined = torch.cat((first, block.cv2(first)), 1)
    torch.testing.assert_close(block(x), joined[:, [0, 2, 4, 6, 1, 3, 5, 7]])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((8, 8, 3, 1, 1, True), "those of Conv"),
        ((8, 8, 3, 1, 1, 1, 2), "without a dilation"),
        ((8, 8, 1, 1, 1), "padding of 0"),
    ],
)
def test_gsconv_has_the_arguments_of_a_convolution(args: tuple[Any, ...], said: str) -> None:
    assert GSConv(8, 8, 1, 1, None, 1, 1, False).cv1.conv.in_channels == 8
    with pytest.raises(ValueError, match=said):
        GSConv(*args)


def test_what_vovgscsp_never_calls_is_loaded_and_changes_nothing() -> None:
    block = filled(VoVGSCSP(8, 16))
    x = drawn("x", 1, 8, 4, 4)
    before = block(x)
    block.res.conv.weight.zero_()
    assert torch.equal(block(x), before)
    assert "res.bn.weight" in block.state_dict()


def test_attention_one_pair_of_cells_at_a_time() -> None:
    module = filled(MapAttention(128))  # two heads
    x = drawn("x", 1, 128, 2, 3)
    mixed = module.qkv(x)[0].view(2, 128, 6)
    read = torch.zeros(2, 64, 6, dtype=torch.float64)
    for head in range(2):
        query, key, value = mixed[head].split((32, 32, 64))
        for i in range(6):
            likely = torch.stack([query[:, i] @ key[:, j] / 32**0.5 for j in range(6)]).softmax(0)
            read[head, :, i] = sum(likely[j] * value[:, j] for j in range(6))
    values = mixed[:, 64:].reshape(1, 128, 2, 3)
    expected = module.proj(read.view(1, 128, 2, 3) + module.pe(values))
    torch.testing.assert_close(module(x), expected)


def test_area_attention_is_attention_within_each_strip() -> None:
    """Of four rows two make a strip: what the other strip holds changes nothing but places."""
    module = filled(AreaAttention(32, 2))
    x = drawn("x", 1, 32, 4, 3)
    halves = x.chunk(2, 2)
    module.pe.bn.weight.zero_(), module.pe.bn.bias.zero_()
    alone = filled(AreaAttention(32, 1))
    alone.load_state_dict(module.state_dict())
    torch.testing.assert_close(module(x), torch.cat([alone(half) for half in halves], 2))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((64, 32), "16 channels are no whole number of heads"),
        ((32, 64, True, 1, True), "32 and 64"),
    ],
)
def test_a2c2f_refuses(args: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        A2C2f(*args)


def test_area_attention_needs_equal_strips() -> None:
    with pytest.raises(ValueError, match="3 x 3 cells are not 2 equal strips"):
        AreaAttention(32, 2)(torch.zeros(1, 32, 3, 3))


def test_large_scales_of_yolo12_add_the_input() -> None:
    large = {scale: A2C2f.told_by(set(), scale)["large"] for scale in (None, *"nsmlx")}
    assert [scale for scale, is_so in large.items() if is_so] == ["l", "x"]
    block = filled(A2C2f(64, 64, large=True))
    x = drawn("x", 1, 64, 4, 4)
    with torch.no_grad():
        block.gamma.zero_()
        assert torch.equal(block(x), x)


def test_maps_of_a_composite_backbone_are_summed_at_the_size_of_the_last() -> None:
    split = filled(CBLinear(3, [4, 6]))
    x, last = drawn("x", 1, 3, 2, 3), drawn("last", 1, 6, 4, 6)
    four, six = split(x)
    torch.testing.assert_close(torch.cat((four, six), 1), split.conv(x))
    assert sum(p.numel() for p in split.parameters()) == 3 * 10 + 10
    grown = six.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(CBFuse(((4, 6), 6), [1])([(four, six), last]), last + grown)


def test_composite_maps_need_an_index_each() -> None:
    with pytest.raises(ValueError, match="2 indices for the 1 rows before the last one"):
        CBFuse(((4, 6), 6), [0, 1])


def test_spdconv_takes_four_neighbours_for_channels() -> None:
    """As its authors join them: both even, the lower ones, those to the right, both odd."""
    block = filled(SPDConv(3, 4))
    x = drawn("x", 1, 3, 6, 8)
    parts = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
    torch.testing.assert_close(block(x), block.conv(torch.cat(parts, 1)))
    with pytest.raises(ValueError, match="dimension 1, not 2"):
        SPDConv(3, 4, 2)


@pytest.mark.parametrize("style", ["lp", "pl"])
@pytest.mark.parametrize("scale", [2, 3])
def test_dysample_without_offsets_is_bilinear(style: str, scale: int) -> None:
    """New cells' middles then lie where interpolation reads."""
    block = DySample(4 * scale**2, scale, style).double()
    nn.init.zeros_(block.offset.weight)
    x = drawn("x", 2, 4 * scale**2, 5, 4)
    with torch.no_grad():
        got = block(x)
    expected = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    torch.testing.assert_close(got, expected)


def test_dysample_moves_a_group_by_whole_cells() -> None:
    """An offset of 4 times a quarter: the second group's places lie one cell farther right; of the
    32 numbers of a cell, x comes before y, and the four new cells of a group stand together."""
    block = DySample(8).double()
    nn.init.zeros_(block.offset.weight)
    with torch.no_grad():
        block.offset.bias[4:8] = 4.0
        x = drawn("x", 1, 8, 4, 5)
        got = block(x)
    right = torch.cat((x[..., 1:], x[..., -1:]), -1)
    expected = torch.cat((x[:, :2], right[:, 2:4], x[:, 4:]), 1)
    expected = F.interpolate(expected, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(got[..., 1:-3], expected[..., 1:-3])  # but for the borders


def test_dysample_learns_how_far_only_where_it_is_asked_to() -> None:
    """Half of the offset where the scope says nothing (a sigmoid of 0), times a half: a quarter."""
    plain, scoped = DySample(8).double(), DySample(8, dyscope=True).double()
    scoped.load_state_dict({**scoped.state_dict(), **filled(plain).state_dict()})
    x = drawn("x", 1, 8, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(scoped(x), plain(x))


@pytest.mark.parametrize(
    ("args", "said"),
    [((8, 2, "pp"), "no style 'pp'; known: lp, pl."), ((6,), "6 channels cannot be split into 4")],
)
def test_dysample_refuses(args: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DySample(*args)


def pyramid() -> tuple[Tensor, Tensor, Tensor]:
    """Three maps, each half the size of the one before."""
    return drawn("fine", 1, 4, 8, 12), drawn("middle", 1, 6, 4, 6), drawn("coarse", 1, 8, 2, 3)


def test_scalseq_is_a_maximum_over_scales() -> None:
    block = filled(ScalSeq((4, 6, 8), 4))
    fine, middle, coarse = pyramid()
    rows = [
        fine,
        block.conv1(middle).repeat_interleave(2, 2).repeat_interleave(2, 3),
        block.conv2(coarse).repeat_interleave(4, 2).repeat_interleave(4, 3),
    ]
    weight, bias = block.conv3d.weight[..., 0], block.conv3d.bias
    bn = block.bn
    seen = []
    for each in rows:
        y = F.conv2d(each, weight, bias)
        y = F.batch_norm(y, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)
        seen.append(F.leaky_relu(y, 0.1))
    torch.testing.assert_close(block([fine, middle, coarse]), torch.stack(seen).amax(0))


def test_zoom_cat_at_the_size_of_the_middle() -> None:
    fine, middle, coarse = pyramid()
    windows = fine.unfold(2, 2, 2).unfold(3, 2, 2)  # (1, 4, 4, 6, 2, 2)
    pooled = windows.amax((-1, -2)) + windows.mean((-1, -2))
    grown = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = torch.cat((pooled, middle, grown), 1)
    torch.testing.assert_close(Zoom_cat((4, 6, 8))([fine, middle, coarse]), expected)


def test_sums_products_and_picks() -> None:
    a, b, c = (torch.full((1, 2, 1, 1), value) for value in (2.0, 3.0, 5.0))
    assert Add((2, 2, 2))([a, b, c]).flatten().tolist() == [10.0, 10.0]
    assert Add((2, 2), 2)([a, b]).flatten().tolist() == [5.0, 5.0]
    assert Multiply((2, 2, 2))([a, b, c]).flatten().tolist() == [30.0, 30.0]
    assert GetIndexOutput((2, 2), 1)([a, b]) is b


@pytest.mark.parametrize("block", [Add, Multiply, Zoom_cat])
def test_what_joins_needs_a_list(block: Any) -> None:
    with pytest.raises(ValueError, match=f"{block.__name__} reads several rows: `from` must be"):
        block(8)


def test_three_scales_are_three() -> None:
    with pytest.raises(ValueError, match="Zoom_cat reads 3 rows, fine to coarse, not 2"):
        Zoom_cat((8, 8))
