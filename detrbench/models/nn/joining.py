"""Ways to make one map of several, which a row lists in its `from`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detrbench.models.nn.conv import Conv

LEAK = 0.1  # of ScalSeq's activation


def _check_listed(block: nn.Module, c1: Sequence[Any], count: int | None = None) -> None:
    """Raises ValueError where a row reads one map, or not `count` of them."""
    name = type(block).__name__
    if isinstance(c1, int):
        raise ValueError(f"{name} reads several rows: `from` must be a list")
    if count is not None and len(c1) != count:
        raise ValueError(f"{name} reads {count} rows, fine to coarse, not {len(c1)}")


class Add(nn.Module):
    """The sum of maps of one shape. The width that some rows state changes nothing."""

    def __init__(self, c1: Sequence[int], c2: int | None = None) -> None:
        super().__init__()
        _check_listed(self, c1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        first, *others = maps
        for each in others:
            first = first + each
        return first


class Multiply(nn.Module):
    """The product of maps, element by element; one may be a gate of one cell or one channel."""

    def __init__(self, c1: Sequence[int]) -> None:
        super().__init__()
        _check_listed(self, c1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        first, *others = maps
        for each in others:
            first = first * each
        return first


class GetIndexOutput(nn.Module):
    """One map of a row that returns several."""

    def __init__(self, c1: Sequence[int], index: int) -> None:
        super().__init__()
        _check_listed(self, c1)
        self.index = index

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return maps[self.index]


class ScalSeq(nn.Module):
    """Three maps as a sequence of scales, convolved and pooled along it (ASF-YOLO, arXiv
    2312.06458, section 3.2), at the size of the finest."""

    width_arg = 0

    def __init__(self, c1: Sequence[int], c2: int) -> None:
        super().__init__()
        _check_listed(self, c1, 3)
        self.conv0 = Conv(c1[0], c2) if c1[0] != c2 else nn.Identity()
        self.conv1 = Conv(c1[1], c2)
        self.conv2 = Conv(c1[2], c2)
        self.conv3d = nn.Conv3d(c2, c2, 1)
        self.bn: nn.Module = nn.BatchNorm3d(c2)
        self.act = nn.LeakyReLU(LEAK, inplace=True)
        self.pool_3d = nn.MaxPool3d((3, 1, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, c, h, w), (B, c', h / 2, w / 2), (B, c'', h / 4, w / 4) -> (B, c2, h, w)."""
        fine, middle, coarse = self.conv0(maps[0]), self.conv1(maps[1]), self.conv2(maps[2])
        size = fine.shape[2:]
        grown = (F.interpolate(middle, size), F.interpolate(coarse, size))
        scales = torch.stack((fine, *grown), 2)  # (B, c2, 3, h, w)
        y: Tensor = self.pool_3d(self.act(self.bn(self.conv3d(scales))))
        return y.squeeze(2)

    def fuse(self) -> None:
        """Fold the normalisation into the convolution over the sequence."""
        if isinstance(self.bn, nn.BatchNorm3d):
            self.conv3d = fuse_conv_bn_eval(self.conv3d, self.bn)
            self.bn = nn.Identity()


class Zoom_cat(nn.Module):
    """Three maps joined at the size of the middle one: the finer pooled both ways, the coarser
    repeated (ASF-YOLO, arXiv 2312.06458, section 3.3)."""

    def __init__(self, c1: Sequence[int]) -> None:
        super().__init__()
        _check_listed(self, c1, 3)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        fine, middle, coarse = maps
        size = (middle.shape[2], middle.shape[3])
        pooled = F.adaptive_max_pool2d(fine, size).add_(F.adaptive_avg_pool2d(fine, size))
        return torch.cat((pooled, middle, F.interpolate(coarse, size)), 1)


class CBLinear(nn.Module):
    """One map made into several of widths `c2s`, for `CBFuse` to read (YOLOv9-E, arXiv 2402.13616;
    composite backbones, arXiv 1909.03625)."""

    def __init__(self, c1: int, c2s: Sequence[int], k: int = 1, s: int = 1) -> None:
        super().__init__()
        self.widths = list(c2s)
        self.conv = nn.Conv2d(c1, sum(c2s), k, s, k // 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, c1, h, w) -> of each width (B, width, h / s, w / s)."""
        return list(self.conv(x).split(self.widths, 1))


class CBFuse(nn.Module):
    """The last of its maps, and of each `CBLinear` before it the one at its place in `index`, at
    the last one's size, summed."""

    def __init__(self, c1: Sequence[Any], index: Sequence[int]) -> None:
        super().__init__()
        _check_listed(self, c1)
        if len(index) != len(c1) - 1:
            raise ValueError(f"{len(index)} indices for the {len(c1) - 1} rows before the last one")
        self.index = list(index)

    def forward(self, rows: Sequence[Any]) -> Tensor:
        *several, last = rows
        y: Tensor = last
        for maps, index in zip(several, self.index, strict=True):
            y = y + F.interpolate(maps[index], last.shape[2:])
        return y
