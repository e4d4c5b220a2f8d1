"""Attention: RT-DETR's encoder layer over the coarsest map, and deformable attention over all maps.

`nn.MultiheadAttention` is called so that its two products stay separate operators
(`need_weights=True`): the fused kernel would hide them from every counter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 10_000.0  # wavelengths run from 2 pi to 10,000 x 2 pi (arXiv 1706.03762, 3.5)

Sizes = Sequence[tuple[int, int]]  # (h, w) of each map


def position_embedding(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Sines and cosines of both coordinates, rows first: (1, height * width, channels), always
    float32, whatever the precision of the features, as where the models were trained."""
    bands = channels // 4
    omega = torch.arange(bands, dtype=torch.float32, device=device) / bands
    omega = 1.0 / TEMPERATURE**omega
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    by_y = y.flatten()[:, None] @ omega[None]  # (height * width, bands)
    by_x = x.flatten()[:, None] @ omega[None]
    return torch.cat((by_y.sin(), by_y.cos(), by_x.sin(), by_x.cos()), 1)[None]


def self_attention(attention: nn.MultiheadAttention, x: Tensor, position: Tensor) -> Tensor:
    """Queries and keys carry the position, values do not. x and position: (B, L, C)."""
    query = x + position
    y: Tensor = attention(query, query, x, need_weights=True, average_attn_weights=False)[0]
    return y


class AIFI(nn.Module):
    """Attention-based intra-scale feature interaction: one transformer encoder layer over a map
    (RT-DETR, arXiv 2304.08069, section 4.2). Normalises after each residual sum. c1: width, a
    multiple of `num_heads` and of 4; cm: width of the feed-forward network."""

    def __init__(self, c1: int, cm: int = 2048, num_heads: int = 8) -> None:
        super().__init__()
        if c1 % 4 or c1 % num_heads:
            raise ValueError(f"{c1} channels are not a multiple of 4 and of {num_heads} heads")
        self.ma = nn.MultiheadAttention(c1, num_heads, batch_first=True)
        self.fc1 = nn.Linear(c1, cm)
        self.fc2 = nn.Linear(cm, c1)
        self.norm1 = nn.LayerNorm(c1)
        self.norm2 = nn.LayerNorm(c1)

    def forward(self, x: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        position = position_embedding(height, width, channels, x.device).to(x.dtype)
        tokens: Tensor = x.flatten(2).transpose(1, 2)  # (B, HW, C)
        tokens = self.norm1(self_attention(self.ma, tokens, position).add_(tokens))
        tokens = self.norm2(self.fc2(F.gelu(self.fc1(tokens))).add_(tokens))
        return tokens.transpose(1, 2).reshape(x.shape).contiguous()


class DeformableAttention(nn.Module):
    """Each query reads a few points around its box from every map (Deformable DETR, arXiv
    2010.04159, section 4.1; offsets are parts of the box): of `width` C channels and `levels` maps,
    `points` per head and map."""

    def __init__(self, width: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self._initialise()

    def _initialise(self) -> None:
        """Start with each head looking into its own direction, point i at distance i."""
        angle = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = direction[:, None, None, :] * distance[:, None]  # (heads, 1, points, 2)
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).reshape(-1))
            self.attention_weights.weight.zero_()
            self.attention_weights.bias.zero_()

    def forward(self, query: Tensor, boxes: Tensor, memory: Tensor, sizes: Sizes) -> Tensor:
        """query (B, Q, C); boxes (B, Q, 4) cx, cy, w, h in 0..1; memory (B, sum of h * w, C), the
        flattened maps of `sizes`. Returns (B, Q, C)."""
        batch, queries, width = query.shape
        heads, levels, points = self.heads, self.levels, self.points
        value = self.value_proj(memory).transpose(1, 2)  # (B, C, sum of h * w)
        if value.dtype.itemsize == 2 and value.device.type == "cpu":
            # There torch's grid_sample counts a map's elements in as many bits as they have: with
            # these strides it would read from elsewhere, and call it NaN at best.
            value = value.contiguous()
        weights = self.attention_weights(query).view(batch, queries, heads, levels * points)
        weights = weights.softmax(-1).transpose(1, 2).reshape(batch * heads, 1, queries, -1)

        # grid_sample wants -1..1, so the centre is 2 c - 1, and the half box that an offset of
        # `points` spans becomes a whole one: box / points.
        offsets = self.sampling_offsets(query).view(batch, queries, heads, levels * points, 2)
        centre = (boxes[..., :2] * 2 - 1)[:, :, None, None]
        extent = (boxes[..., 2:] / points)[:, :, None, None]
        grid = torch.addcmul(centre, offsets, extent).transpose(1, 2)
        grid = grid.reshape(batch * heads, queries, levels * points, 2)

        maps = torch.split(value, [h * w for h, w in sizes], 2)
        grids = torch.split(grid, points, 2)
        sampled = torch.cat(
            [
                F.grid_sample(level.reshape(batch * heads, -1, h, w), at, align_corners=False)
                for level, at, (h, w) in zip(maps, grids, sizes, strict=True)
            ],
            -1,
        )  # (B * heads, C / heads, Q, levels * points)
        read = sampled.mul_(weights).sum(-1).view(batch, width, queries)
        y: Tensor = self.output_proj(read.transpose(1, 2))
        return y
