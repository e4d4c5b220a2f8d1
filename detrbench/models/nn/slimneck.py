"""Slim-neck (arXiv 2206.02424, section 3): half of the channels from a convolution, half from cheap
ones behind it, shuffled. Inputs and outputs are (B, C, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detrbench.models.nn.conv import Conv
from detrbench.models.nn.ghost import GhostConv


class GSConv(GhostConv):
    """A Ghost module, then the channels at even places before those at odd ones. Its arguments are
    those of `Conv`, in whose place it stands."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 1,
        s: int = 1,
        p: int | None = None,
        g: int = 1,
        d: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        if c2 % 4:
            raise ValueError(f"the width {c2} cannot be split into two halves of pairs")
        if isinstance(g, bool) or d != 1:
            raise ValueError("the arguments are those of Conv, in this order, without a dilation")
        if p not in (None, k // 2):
            raise ValueError(f"its second half needs the size kept: a padding of {k // 2}")
        super().__init__(c1, c2, k, s, g, act)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        batch, channels, height, width = y.shape
        pairs = y.view(batch, channels // 2, 2, height, width)
        return pairs.transpose(1, 2).reshape(batch, channels, height, width)


class GSBottleneck(nn.Module):
    """Two `GSConv` beside a 1x1 convolution; none but the first has an activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_lighting = nn.Sequential(
            GSConv(channels, channels), GSConv(channels, channels, 3, act=False)
        )
        self.shortcut = Conv(channels, channels, act=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_lighting(x)
        return y.add_(self.shortcut(x))


class VoVGSCSP(nn.Module):
    """A cross-stage block with `n` `GSBottleneck`. `shortcut` and `g` stand in rows and change
    nothing; nor does `res`, which has weights in published files and is never called."""

    width_arg = 0

    def __init__(
        self, c1: int, c2: int, shortcut: bool = True, g: int = 1, e: float = 0.5, *, n: int = 1
    ) -> None:
        super().__init__()
        inner = int(c2 * e)
        self.cv1 = Conv(c1, inner)
        self.cv2 = Conv(c1, inner)
        self.gsb = nn.Sequential(*(GSBottleneck(inner) for _ in range(n)))
        self.res = Conv(inner, inner, 3, act=False)
        self.cv3 = Conv(2 * inner, c2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv3(torch.cat((self.cv2(x), self.gsb(self.cv1(x))), 1))
        return y
