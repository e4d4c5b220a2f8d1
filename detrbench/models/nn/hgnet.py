"""PP-HGNetV2, the convolutional backbone of RT-DETR (arXiv 2304.08069, section 4.1)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench.models.nn.conv import Conv, LightConv


def _relu() -> nn.ReLU:
    return nn.ReLU(inplace=True)


class HGStem(nn.Module):
    """The image to a quarter of its size, through a convolutional and a pooled branch."""

    def __init__(self, c1: int, cm: int, c2: int) -> None:
        super().__init__()
        self.stem1 = Conv(c1, cm, 3, 2, act=_relu())
        self.stem2a = Conv(cm, cm // 2, 2, 1, 0, act=_relu())
        self.stem2b = Conv(cm // 2, cm, 2, 1, 0, act=_relu())
        self.stem3 = Conv(cm * 2, cm, 3, 2, act=_relu())
        self.stem4 = Conv(cm, c2, 1, 1, act=_relu())
        self.pool = nn.MaxPool2d(2, 1, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        # The 2x2 kernels look right and down, so one row and column there keep the size.
        x = F.pad(self.stem1(x), (0, 1, 0, 1))  # (B, cm, H/2 + 1, W/2 + 1)
        y = self.stem2b(F.pad(self.stem2a(x), (0, 1, 0, 1)))  # (B, cm, H/2, W/2)
        z: Tensor = self.stem4(self.stem3(torch.cat((self.pool(x), y), 1)))  # (B, c2, H/4, W/4)
        return z


class HGBlock(nn.Module):
    """`n` convolutions in series whose outputs, and the input, are all joined and squeezed.

    Args:
        cm: width of the `n` convolutions; c2: width of the output; k: their kernel size.
        lightconv: LightConv in place of Conv; shortcut: add the input where the widths agree.
    """

    # The format puts a row's repeats behind k. In a row that ends before k, that is where k stands.
    repeats_arg: ClassVar[int] = 3

    def __init__(
        self,
        c1: int,
        cm: int,
        c2: int,
        k: int = 3,
        lightconv: bool = False,
        shortcut: bool = False,
        *,
        n: int = 6,
    ) -> None:
        super().__init__()
        widths = [c1] + [cm] * (n - 1)
        self.m = nn.ModuleList(
            LightConv(c, cm, k) if lightconv else Conv(c, cm, k, act=_relu()) for c in widths
        )
        self.sc = Conv(c1 + n * cm, c2 // 2, 1, act=_relu())
        self.ec = Conv(c2 // 2, c2, 1, act=_relu())
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for convolution in self.m:
            outputs.append(convolution(outputs[-1]))
        y: Tensor = self.ec(self.sc(torch.cat(outputs, 1)))
        return y.add_(x) if self.add else y
