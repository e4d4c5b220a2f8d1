"""Each block beside what one computes by hand: parameters, multiply-accumulates, output sizes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from detrbench.models.nn import BLOCKS, resolve
from detrbench.models.nn.attention import DeformableAttention, position_embedding
from detrbench.models.nn.conv import Conv, RepConv
from detrbench.models.nn.decoder import anchors, inverse_sigmoid
from tests.models.filling import fill, uniform
from tests.models.nn import field
from tests.models.nn.by_hand import Fixture, make, run

CELLS = 16 * 16

FIXTURES = [
    # 3x3 kernels over 8 inputs and 16 outputs; scale and shift of the normalisation.
    Fixture("Conv", (16, 3), ((1, 8, 16, 16),), (1, 16, 16, 16), 1152 + 32, 1152 * CELLS),
    Fixture("Conv", (16, 3, 2), ((1, 8, 16, 16),), (1, 16, 8, 8), 1152 + 32, 1152 * 64),
    Fixture("Conv", (16, 2, 1, 0), ((1, 8, 16, 16),), (1, 16, 15, 15), 512 + 32, 512 * 225),
    Fixture("DWConv", (8, 5), ((1, 8, 16, 16),), (1, 8, 16, 16), 200 + 16, 200 * CELLS),
    # Point-wise 8 x 16, then 3x3 over each of 16 channels.
    Fixture(
        "LightConv", (16, 3), ((1, 8, 16, 16),), (1, 16, 16, 16),
        (128 + 32) + (144 + 32), (128 + 144) * CELLS,
    ),
    Fixture(
        "RepConv", (8,), ((1, 8, 16, 16),), (1, 8, 16, 16),
        (576 + 16) + (64 + 16), (576 + 64) * CELLS,
    ),
    # Two point-wise convolutions 16 x 8, two RepConv at width 8.
    Fixture(
        "RepC3", (8,), ((1, 16, 16, 16),), (1, 8, 16, 16),
        2 * (128 + 16) + 2 * 672, (2 * 128 + 2 * 640) * CELLS, options=(("n", 2),),
    ),
    # With half the inner width a third point-wise convolution 4 x 8 follows.
    Fixture(
        "RepC3", (8, 0.5), ((1, 16, 16, 16),), (1, 8, 16, 16),
        2 * (64 + 8) + (144 + 8 + 16 + 8) + (32 + 16), (128 + 160 + 32) * CELLS,
        options=(("n", 1),),
    ),
    Fixture(
        "HGStem", (8, 12), ((1, 3, 32, 32),), (1, 12, 8, 8),
        # 3x3 3>8, 2x2 8>4, 2x2 4>8, 3x3 16>8, 1x1 8>12
        216 + 16 + 128 + 8 + 128 + 16 + 1152 + 16 + 96 + 24,
        (216 + 128 + 128) * CELLS + (1152 + 96) * 64,
    ),
    # Two 3x3 convolutions (8>4, 4>4), all 8 + 4 + 4 channels squeezed to 8, then 8>16.
    Fixture(
        "HGBlock", (4, 16), ((1, 8, 16, 16),), (1, 16, 16, 16),
        (288 + 8) + (144 + 8) + (128 + 16) + (128 + 32), (288 + 144 + 128 + 128) * CELLS,
        options=(("n", 2),),
    ),
    # Light: 8>4 and 5x5 over 4 channels; 8 + 4 channels to 4, then 4>8; the input is added.
    Fixture(
        "HGBlock", (4, 8, 5, True, True), ((1, 8, 16, 16),), (1, 8, 16, 16),
        (32 + 8) + (100 + 8) + (48 + 8) + (32 + 16), (32 + 100 + 48 + 32) * CELLS,
        options=(("n", 1),),
    ),
    Fixture("ResNetLayer", (3, 8, 1, True, 1), ((1, 3, 32, 32),), (1, 8, 8, 8),
            1176 + 16, 1176 * CELLS),
    # 8>4, 3x3 4>4 with stride 2, 4>16, and the shortcut 8>16; then 16>4, 3x3, 4>16.
    Fixture(
        "ResNetLayer", (8, 4, 2, False, 2), ((1, 8, 16, 16),), (1, 16, 8, 8),
        (32 + 8) + (144 + 8) + (64 + 32) + (128 + 32) + (64 + 8) + (144 + 8) + (64 + 32),
        32 * CELLS + (144 + 64 + 128) * 64 + (64 + 144 + 64) * 64,
    ),
    # Projections 4 x 8 x 8 with bias, 8>24>8, two normalisations. L = 16 tokens; the products
    # q k and a v are 2 L L 8; the position embedding is 2 L 2.
    Fixture(
        "AIFI", (24, 2), ((1, 8, 4, 4),), (1, 8, 4, 4),
        4 * (64 + 8) + (192 + 24) + (192 + 8) + 2 * 16,
        16 * (256 + 384) + 2 * 16 * 16 * 8 + 2 * 16 * 2,
    ),
    Fixture("Concat", (), ((1, 8, 4, 4), (1, 4, 4, 4)), (1, 12, 4, 4), 0, 0, listed=True),
    Fixture("ShuffleV2Stem", (24,), ((1, 3, 32, 32),), (1, 24, 8, 8), 648 + 48, 648 * CELLS),
    # Branch 1: 3x3 over 8, 8>6. Branch 2: 8>6, 3x3 over 6, 6>6. Then the unit of stride 1 on 6.
    Fixture(
        "ShuffleV2Stage", (12,), ((1, 8, 16, 16),), (1, 12, 8, 8),
        (72 + 16) + (48 + 12) + (48 + 12) + (54 + 12) + (36 + 12)
        + (36 + 12) + (54 + 12) + (36 + 12),
        (72 + 48) * 64 + 48 * CELLS + (54 + 36) * 64 + (36 + 54 + 36) * 64, options=(("n", 2),),
    ),
    # As the first unit, at width 32 per half; the gate squeezes 32 to 32 / 16 = 2 and back.
    Fixture(
        "ShuffleV2Stage", (64, True), ((1, 8, 16, 16),), (1, 64, 8, 8),
        (72 + 16) + (256 + 64) + (256 + 64) + (288 + 64) + (1024 + 64) + (64 + 2) + (64 + 32),
        (72 + 256) * 64 + 256 * CELLS + (288 + 1024) * 64 + 64 + 64, options=(("n", 1),),
    ),
    # 8 channels to 12 / 4 = 3, 3x3 over 3, 3 to the 12 - 8 that the pool leaves to compute; then
    # 12>3, 3x3 over 3, 3>12.
    Fixture(
        "ShuffleV1Stage", (12, 1), ((1, 8, 16, 16),), (1, 12, 8, 8),
        (24 + 6) + (27 + 6) + (12 + 8) + (36 + 6) + (27 + 6) + (36 + 24),
        24 * CELLS + (27 + 12) * 64 + (36 + 27 + 36) * 64, options=(("n", 2),),
    ),
    # Two groups halve the weights of 1x1 convolutions, but for the stage's first: 8>4, 3x3, 4>8;
    # then 16>4, 3x3, 4>16.
    Fixture(
        "ShuffleV1Stage", (16, 2, 1), ((1, 8, 16, 16),), (1, 16, 8, 8),
        (32 + 8) + (36 + 8) + (16 + 16) + (32 + 8) + (36 + 8) + (32 + 32),
        32 * CELLS + (36 + 16) * 64 + (32 + 36 + 32) * 64, options=(("n", 2),),
    ),
    Fixture("MobileV1Stem", (16,), ((1, 3, 32, 32),), (1, 16, 16, 16), 432 + 32, 432 * CELLS),
    # 3x3 over 8 with stride 2, 8>12; 3x3 over 12, 12>12.
    Fixture(
        "MobileV1Stage", (12, 2), ((1, 8, 16, 16),), (1, 12, 8, 8),
        (72 + 16) + (96 + 24) + (108 + 24) + (144 + 24), (72 + 96 + 108 + 144) * 64,
        options=(("n", 2),),
    ),
    Fixture("MobileV2Stem", (16,), ((1, 3, 32, 32),), (1, 16, 16, 16), 432 + 32, 432 * CELLS),
    # Without expansion: 3x3 over 8, 8>4.
    Fixture(
        "MobileV2Stage", (4, 1), ((1, 8, 16, 16),), (1, 4, 16, 16),
        (72 + 16) + (32 + 8), (72 + 32) * CELLS,
    ),
    # 8>16, 3x3 over 16 with stride 2, 16>4; 4>8, 3x3 over 8, 8>4, and the input is added.
    Fixture(
        "MobileV2Stage", (4, 2, 2), ((1, 8, 16, 16),), (1, 4, 8, 8),
        (128 + 32) + (144 + 32) + (64 + 8) + (32 + 16) + (72 + 16) + (32 + 8),
        128 * CELLS + (144 + 64) * 64 + (32 + 72 + 32) * 64, options=(("n", 2),),
    ),
    # 3x3 over 8 with stride 2, 8>4, 3x3 over 4, 4>4, 3x3 over 4, 4>16, and the shortcut 8>16; then
    # 3x3 over 16, 16>4, 3x3, 4>4, 3x3, 4>16, and no shortcut to compute.
    Fixture(
        "XceptionStage", (16,), ((1, 8, 16, 16),), (1, 16, 8, 8),
        72 + (32 + 8) + 36 + (16 + 8) + 36 + (64 + 32) + (128 + 32)
        + 144 + (64 + 8) + 36 + (16 + 8) + 36 + (64 + 32),
        (72 + 32 + 36 + 16 + 36 + 64 + 128) * 64 + (144 + 64 + 36 + 16 + 36 + 64) * 64,
        options=(("n", 2),),
    ),
    # Transition 8>6; layers of 3 channels by way of 12: 6>12, 3x3 12>3; then 9>12, 3x3 12>3.
    Fixture(
        "DenseStage", (6, 3), ((1, 8, 16, 16),), (1, 12, 8, 8),
        (16 + 48) + (12 + 72) + (24 + 324) + (18 + 108) + (24 + 324),
        48 * CELLS + (72 + 324 + 108 + 324) * 64, options=(("n", 2),), unfolded=3,
    ),
    Fixture("Index", (4, 1), ((1, 8, 4, 4), (1, 4, 4, 4)), (1, 4, 4, 4), 0, 0, listed=True),
]  # fmt: skip
EVERY = [*FIXTURES, *field.FIXTURES]


@pytest.mark.parametrize("fixture", EVERY, ids=lambda f: f"{f.block}{list(f.args)}")
def test_block_costs_what_it_costs_by_hand(fixture: Fixture) -> None:
    module = make(fixture)
    inputs = [torch.zeros(shape) for shape in fixture.inputs]
    with FlopCounterMode(display=False) as counter:
        output = run(module, inputs, fixture.listed)
    assert tuple(output.shape) == fixture.output
    assert sum(p.numel() for p in module.parameters()) == fixture.params
    assert counter.get_total_flops() == 2 * fixture.macs


def test_every_block_has_a_fixture() -> None:
    # Rows of several maps from one and what ends a model have tests of their own.
    apart = {"TorchVision", "CBLinear", "CBFuse", "RTDETRDecoder", "Detect", "v10Detect"}
    assert {f.block for f in EVERY} == BLOCKS.keys() - apart


@pytest.mark.parametrize("fixture", EVERY, ids=lambda f: f"{f.block}{list(f.args)}")
def test_block_leaves_its_input_alone_and_fuses_to_the_same_outputs(fixture: Fixture) -> None:
    module = make(fixture).double()
    module.load_state_dict(fill(module.state_dict()))
    inputs = [uniform(f"input {i}", shape).double() for i, shape in enumerate(fixture.inputs)]
    kept = [x.clone() for x in inputs]
    before = run(module, inputs, fixture.listed)
    assert all(map(torch.equal, inputs, kept))
    for part in list(module.modules()):
        if hasattr(part, "fuse"):
            part.fuse()
    torch.testing.assert_close(run(module, inputs, fixture.listed), before, rtol=1e-12, atol=1e-12)
    left = sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())
    assert left == fixture.unfolded, "every normalisation after a convolution folds into it"


def test_conv_is_convolution_then_normalisation_then_silu() -> None:
    conv = Conv(1, 1).double().eval()
    conv.load_state_dict(
        {
            "conv.weight": torch.full((1, 1, 1, 1), 2.0),
            "bn.weight": torch.tensor([3.0]),
            "bn.bias": torch.tensor([0.5]),
            "bn.running_mean": torch.tensor([1.0]),
            "bn.running_var": torch.tensor([4.0]),
            "bn.num_batches_tracked": torch.tensor(1),
        }
    )
    y = (2.0 * 5.0 - 1.0) / math.sqrt(4.0 + 1e-3) * 3.0 + 0.5
    with torch.no_grad():
        got = conv(torch.full((1, 1, 1, 1), 5.0, dtype=torch.float64)).item()
    assert got == pytest.approx(y / (1 + math.exp(-y)), rel=1e-14)


def test_repconv_merges_its_identity_branch_too() -> None:
    block = RepConv(6, 6, g=2, bn=True).double().eval()
    block.load_state_dict(fill(block.state_dict()))
    x = uniform("x", (2, 6, 5, 7)).double()
    with torch.no_grad():
        before = block(x)
        block.fuse()
        torch.testing.assert_close(block(x), before, rtol=1e-12, atol=1e-12)
    assert sum(isinstance(m, nn.Conv2d) for m in block.modules()) == 1


def test_position_embedding_by_hand() -> None:
    embedding = position_embedding(2, 3, 8, torch.device("cpu"))
    assert embedding.shape == (1, 6, 8)
    rows = []
    for y in range(2):
        for x in range(3):
            bands = (1.0, 1 / 10_000**0.5)
            rows.append(
                [math.sin(y * w) for w in bands]
                + [math.cos(y * w) for w in bands]
                + [math.sin(x * w) for w in bands]
                + [math.cos(x * w) for w in bands]
            )
    torch.testing.assert_close(embedding[0], torch.tensor(rows), rtol=0, atol=1e-6)


def test_anchors_by_hand() -> None:
    logits, usable = anchors([(80, 60), (2, 3)], torch.float64, torch.device("cpu"))
    expected, inside = [], []
    for level, (height, width) in enumerate([(80, 60), (2, 3)]):
        for y in range(height):
            for x in range(width):
                box = [(x + 0.5) / width, (y + 0.5) / height, *[0.05 * 2**level] * 2]
                ok = all(0.01 < v < 0.99 for v in box)
                inside.append([ok])
                expected.append([math.log(v / (1 - v)) if ok else math.inf for v in box])
    assert usable[0].tolist() == inside
    assert not all(ok for (ok,) in inside), "cells at the border of a fine map are too near to it"
    torch.testing.assert_close(logits[0], torch.tensor(expected, dtype=torch.float64))


def test_inverse_sigmoid_is_finite_at_the_ends() -> None:
    x = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    expected = [math.log(1e-5), math.log(0.25 / 0.75), 0.0, -math.log(1e-5)]
    assert inverse_sigmoid(x).tolist() == pytest.approx(expected)


def test_deformable_attention_beside_plain_loops() -> None:
    """Bilinear reading, weights and offsets one number at a time, as the paper writes them."""
    width, heads, points, sizes = 4, 2, 3, [(4, 6), (2, 3)]
    module = DeformableAttention(width, len(sizes), heads, points).double()
    module.load_state_dict(fill(module.state_dict()))
    query = uniform("query", (2, 5, width)).double()
    boxes = (uniform("boxes", (2, 5, 4)).double() + 1) / 2  # some points fall outside
    memory = uniform("memory", (2, 30, width)).double()
    with torch.no_grad():
        got = module(query, boxes, memory, sizes)
        expected = _attend_by_loops(module, query, boxes, memory, sizes)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def _attend_by_loops(
    module: DeformableAttention,
    query: Tensor,
    boxes: Tensor,
    memory: Tensor,
    sizes: list[tuple[int, int]],
) -> Tensor:
    batch, queries, width = query.shape
    heads, points, levels = module.heads, module.points, len(sizes)
    value = module.value_proj(memory).view(batch, -1, heads, width // heads)
    offsets = module.sampling_offsets(query).view(batch, queries, heads, levels, points, 2)
    weights = module.attention_weights(query).view(batch, queries, heads, levels * points)
    weights = weights.softmax(-1).view(batch, queries, heads, levels, points)
    out = torch.zeros(batch, queries, heads, width // heads, dtype=query.dtype)
    for b in range(batch):
        for q in range(queries):
            for h in range(heads):
                start = 0
                for level, (rows, columns) in enumerate(sizes):
                    grid = value[b, start : start + rows * columns, h].view(rows, columns, -1)
                    for p in range(points):
                        dx, dy = offsets[b, q, h, level, p].tolist()
                        cx, cy, w, height = boxes[b, q].tolist()
                        x = (cx + dx / points * w / 2) * columns - 0.5
                        y = (cy + dy / points * height / 2) * rows - 0.5
                        out[b, q, h] += weights[b, q, h, level, p] * _bilinear(grid, x, y)
                    start += rows * columns
    result: Tensor = module.output_proj(out.flatten(2))
    return result


def _bilinear(grid: Tensor, x: float, y: float) -> Tensor:
    total = torch.zeros(grid.shape[2], dtype=grid.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]:
                total += grid[row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return total


@pytest.mark.parametrize("name", ["nn.ReLU", "nn.Upsample"])
def test_torch_blocks_resolve(name: str) -> None:
    assert resolve(name) is getattr(nn, name[3:])


def test_the_readme_names_every_block() -> None:
    readme = Path(__file__).parents[3].joinpath("README.md").read_text(encoding="utf-8")
    _, _, named = readme.partition("and these blocks: ")
    told = named.partition(".\n")[0].replace("\n", " ").replace("`", "").split(", ")
    assert told == list(BLOCKS)
