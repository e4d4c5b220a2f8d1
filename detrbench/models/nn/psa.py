"""Partial self-attention (YOLOv10, arXiv 2405.14458, section 3.2): attention over the coarsest map,
to half of its channels. Inputs and outputs are (B, C, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detrbench.models.nn.conv import Conv

HEAD_WIDTH = 64  # of a head's values, or somewhat more
KEY_RATIO = 0.5  # width of a head's keys over that of its values


class MapAttention(nn.Module):
    """Self-attention of a map's cells; a depth-wise convolution of the values tells places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // HEAD_WIDTH
        if not self.heads or channels % self.heads:
            raise ValueError(f"{channels} channels are no whole number of heads of {HEAD_WIDTH}")
        self.value = channels // self.heads
        self.key = int(self.value * KEY_RATIO)
        self.qkv = Conv(channels, channels + 2 * self.heads * self.key, act=False)
        self.proj = Conv(channels, channels, act=False)
        self.pe = Conv(channels, channels, 3, g=channels, act=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        parts = self.qkv(x).view(batch, self.heads, 2 * self.key + self.value, height * width)
        query, key, value = parts.split((self.key, self.key, self.value), 2)
        likely = (query.transpose(2, 3) @ key * self.key**-0.5).softmax(-1)  # (B, heads, HW, HW)
        read = (value @ likely.transpose(2, 3)).view(batch, channels, height, width)
        y: Tensor = self.proj(read + self.pe(value.reshape(batch, channels, height, width)))
        return y


class PSABlock(nn.Module):
    """Attention and a feed-forward network of twice the width, each added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn = MapAttention(channels)
        self.ffn = nn.Sequential(
            Conv(channels, 2 * channels), Conv(2 * channels, channels, act=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn(x).add_(x)
        y: Tensor = self.ffn(x).add_(x)
        return y


class _Halved(nn.Module):
    """One part of the channels passes, the other goes through `attend`; both are joined."""

    def __init__(self, c1: int, c2: int, e: float) -> None:
        super().__init__()
        if c1 != c2:
            raise ValueError(f"the row states {c2} channels, but attention keeps the {c1} it reads")
        self.c = int(c1 * e)
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv(2 * self.c, c1)

    def attend(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        passed, attended = self.cv1(x).split((self.c, self.c), 1)
        y: Tensor = self.cv2(torch.cat((passed, self.attend(attended)), 1))
        return y


class PSA(_Halved):
    """YOLOv10's: one block."""

    width_arg = 0

    def __init__(self, c1: int, c2: int, e: float = 0.5) -> None:
        super().__init__(c1, c2, e)
        block = PSABlock(self.c)
        self.attn, self.ffn = block.attn, block.ffn

    def attend(self, x: Tensor) -> Tensor:
        x = self.attn(x).add_(x)
        y: Tensor = self.ffn(x).add_(x)
        return y


class C2PSA(_Halved):
    """YOLO11's: `n` blocks in series."""

    width_arg = 0

    def __init__(self, c1: int, c2: int, e: float = 0.5, *, n: int = 1) -> None:
        super().__init__(c1, c2, e)
        self.m = nn.Sequential(*(PSABlock(self.c) for _ in range(n)))

    def attend(self, x: Tensor) -> Tensor:
        y: Tensor = self.m(x)
        return y
