"""The Ghost module (arXiv 1911.11907, section 3.1), and the blocks that are made of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detrbench.models.nn.conv import Conv
from detrbench.models.nn.csp import C3


class GhostConv(nn.Module):
    """Half of the channels from a convolution, the other half from those, depthwise 5x5."""

    width_arg = 0

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 1,
        s: int = 1,
        g: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__()
        if c2 % 2:
            raise ValueError(f"the width {c2} cannot be split into two halves")
        self.cv1 = Conv(c1, c2 // 2, k, s, None, g, act=act)
        self.cv2 = Conv(c2 // 2, c2 // 2, 5, 1, None, c2 // 2, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, h, w) -> (B, c2, h / s, w / s)."""
        y = self.cv1(x)
        return torch.cat((y, self.cv2(y)), 1)


class GhostBottleneck(nn.Module):
    """Two Ghost modules, the second without activation, and the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.conv = nn.Sequential(
            GhostConv(channels, inner),
            nn.Identity(),  # where a depth-wise convolution stands when a map is halved
            GhostConv(inner, channels, act=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y.add_(x)


class C3Ghost(C3):
    """`C3` with `GhostBottleneck` units. `shortcut` and `g` stand in rows and change nothing."""

    def __init__(
        self, c1: int, c2: int, shortcut: bool = True, g: int = 1, e: float = 0.5, *, n: int = 1
    ) -> None:
        nn.Module.__init__(self)
        self._join(c1, c2, e, n, GhostBottleneck)
