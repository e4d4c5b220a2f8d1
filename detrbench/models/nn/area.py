"""Area attention (YOLO12, arXiv 2502.12524, section 3): cells attend to those of their own strip of
the map. Inputs and outputs are (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import torch
from torch import Tensor, nn

from detrbench.models.nn.conv import Conv
from detrbench.models.nn.csp import C3k

HEAD_WIDTH = 32
UNITS = 2  # of attention, in one of the row's repeats
LARGE_SCALES = frozenset("lx")
"""Scales at which the input is added and the feed-forward networks are narrower: the family's
rule."""


class AreaAttention(nn.Module):
    """Self-attention within each of `area` strips; a depth-wise convolution of the values tells
    places."""

    def __init__(self, channels: int, area: int) -> None:
        super().__init__()
        self.area, self.heads = area, channels // HEAD_WIDTH
        self.qkv = Conv(channels, 3 * channels, act=False)
        self.proj = Conv(channels, channels, act=False)
        self.pe = Conv(channels, channels, 7, g=channels, act=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        cells = height * width
        if cells % self.area:
            raise ValueError(f"{height} x {width} cells are not {self.area} equal strips")
        # Strips are consecutive cells, row by row; widths of a head: query, key, value.
        parts = self.qkv(x).view(batch, self.heads, 3 * HEAD_WIDTH, self.area, cells // self.area)
        query, key, value = parts.transpose(2, 3).chunk(3, 3)  # (B, heads, strips, 32, cells)
        likely = (query.transpose(3, 4) @ key * HEAD_WIDTH**-0.5).softmax(-1)
        read = (value @ likely.transpose(3, 4)).transpose(2, 3).reshape(x.shape)
        y: Tensor = self.proj(read + self.pe(value.transpose(2, 3).reshape(x.shape)))
        return y


class AreaBlock(nn.Module):
    """Attention and a feed-forward network `ratio` times as wide, each added to its input."""

    def __init__(self, channels: int, area: int, ratio: float) -> None:
        super().__init__()
        wide = int(channels * ratio)
        self.attn = AreaAttention(channels, area)
        self.mlp = nn.Sequential(Conv(channels, wide), Conv(wide, channels, act=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn(x).add_(x)
        y: Tensor = self.mlp(x).add_(x)
        return y


class A2C2f(nn.Module):
    """Units in series whose outputs are all joined, as in `C2f`: area attention, or without
    `attends` a `C3k` each.

    Args:
        area: strips of a map. residual: with attention, add the input, scaled by a weight of each
            channel. ratio: width of the feed-forward networks over the inner one.
        large: the file's scale asks for `residual` and 1.2 for `ratio`; see `LARGE_SCALES`.
    """

    width_arg = 0

    def __init__(
        self,
        c1: int,
        c2: int,
        attends: bool = True,
        area: int = 1,
        residual: bool = False,
        ratio: float = 2.0,
        e: float = 0.5,
        *,
        n: int = 1,
        large: bool = False,
    ) -> None:
        super().__init__()
        inner = int(c2 * e)
        if attends and inner % HEAD_WIDTH:
            raise ValueError(f"{inner} channels are no whole number of heads of {HEAD_WIDTH}")
        if large:
            residual, ratio = True, 1.2
        if attends and residual and c1 != c2:
            raise ValueError(f"{c1} and {c2} channels cannot be added")
        self.cv1 = Conv(c1, inner)
        self.cv2 = Conv((1 + n) * inner, c2)
        start = torch.full((c2,), 0.01)
        self.gamma = nn.Parameter(start) if attends and residual else None
        self.m = nn.ModuleList(
            nn.Sequential(*(AreaBlock(inner, area, ratio) for _ in range(UNITS)))
            if attends
            else C3k(inner, inner)
            for _ in range(n)
        )

    @staticmethod
    def told_by(blocks: Set[str], scale: str | None) -> dict[str, Any]:
        """See `LARGE_SCALES`."""
        return {"large": scale in LARGE_SCALES}

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for unit in self.m:
            parts.append(unit(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return y if self.gamma is None else x + self.gamma.view(-1, 1, 1) * y
