"""Spatial pyramid pooling (arXiv 1406.4729): a map beside itself, pooled ever more widely, so that
one cell sees objects of several sizes. Inputs and outputs are (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detrbench.models.nn.conv import Conv

POOLINGS = 3


class SPP(nn.Module):
    """The block of YOLOv3: poolings of several sizes side by side, at half the input's width."""

    width_arg = 0

    def __init__(self, c1: int, c2: int, k: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        inner = c1 // 2
        self.cv1 = Conv(c1, inner)
        self.cv2 = Conv((1 + len(k)) * inner, c2)
        self.m = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in k)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        y: Tensor = self.cv2(torch.cat((x, *(pool(x) for pool in self.m)), 1))
        return y


class SPPF(nn.Module):
    """The block of YOLOv5 to YOLO11: three poolings k x k in series, at half the input's width."""

    width_arg = 0

    def __init__(self, c1: int, c2: int, k: int = 5) -> None:
        super().__init__()
        inner = c1 // 2
        self.cv1 = Conv(c1, inner)
        self.cv2 = Conv((1 + POOLINGS) * inner, c2)
        self.m = nn.MaxPool2d(k, 1, k // 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for _ in range(POOLINGS):
            parts.append(self.m(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return y


class SPPELAN(nn.Module):
    """The block of YOLOv9 (arXiv 2402.13616): as `SPPF`, the inner width `c3` stated."""

    width_arg = 0

    def __init__(self, c1: int, c2: int, c3: int, k: int = 5) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c3)
        self.cv2, self.cv3, self.cv4 = (nn.MaxPool2d(k, 1, k // 2) for _ in range(POOLINGS))
        self.cv5 = Conv((1 + POOLINGS) * c3, c2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for pool in (self.cv2, self.cv3, self.cv4):
            parts.append(pool(parts[-1]))
        y: Tensor = self.cv5(torch.cat(parts, 1))
        return y
