"""ResNet (arXiv 1512.03385) in the variant of the RT-DETR-R50 and -R101 model files."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from detrbench.models.nn.conv import Conv

EXPANSION = 4  # output width of a bottleneck over its inner width: table 1 of the paper


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolutions beside a shortcut."""

    def __init__(self, c1: int, c2: int, s: int = 1) -> None:
        super().__init__()
        out = c2 * EXPANSION
        self.cv1 = Conv(c1, c2, 1)
        self.cv2 = Conv(c2, c2, 3, s)
        self.cv3 = Conv(c2, out, 1, act=False)
        projects = s != 1 or c1 != out
        self.shortcut = nn.Sequential(Conv(c1, out, 1, s, act=False)) if projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv3(self.cv2(self.cv1(x)))
        return F.relu_(y.add_(self.shortcut(x)))


class ResNetLayer(nn.Module):
    """The stem (`is_first`: 7x7 convolution and max pooling) or one stage of `units` bottlenecks.
    The row states its input width itself (`c_in`); it must be that of the row it reads."""

    def __init__(
        self, c1: int, c_in: int, c2: int, s: int = 1, is_first: bool = False, units: int = 1
    ) -> None:
        super().__init__()
        if c_in != c1:
            raise ValueError(f"the row states {c_in} input channels, but the row it reads has {c1}")
        if is_first:
            self.layer = nn.Sequential(Conv(c1, c2, 7, 2), nn.MaxPool2d(3, 2, padding=1))
        else:
            rest = (Bottleneck(c2 * EXPANSION, c2) for _ in range(units - 1))
            self.layer = nn.Sequential(Bottleneck(c1, c2, s), *rest)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y
