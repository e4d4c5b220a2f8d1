"""Ways to halve a map. Inputs are (B, c1, H, W), outputs (B, c2, H / 2, W / 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench.models.nn.conv import Conv


class SCDown(nn.Module):
    """Width first, by a 1x1 convolution, then size, by a depth-wise one (YOLOv10, arXiv 2405.14458,
    section 3.2)."""

    width_arg = 0

    def __init__(self, c1: int, c2: int, k: int, s: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2)
        self.cv2 = Conv(c2, c2, k, s, g=c2, act=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv2(self.cv1(x))
        return y


class AConv(nn.Module):
    """Averaged 2x2, then a 3x3 convolution (YOLOv9, arXiv 2402.13616)."""

    width_arg = 0

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv1(F.avg_pool2d(x, 2, 1))
        return y


class ADown(nn.Module):
    """Averaged 2x2, then one half of the channels through a 3x3 convolution, the other through max
    pooling and a 1x1 convolution (YOLOv9, arXiv 2402.13616)."""

    width_arg = 0

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1 // 2, c2 // 2, 3, 2)
        self.cv2 = Conv(c1 // 2, c2 // 2)

    def forward(self, x: Tensor) -> Tensor:
        convolved, pooled = F.avg_pool2d(x, 2, 1).chunk(2, 1)
        pooled = F.max_pool2d(pooled, 3, 2, 1)
        return torch.cat((self.cv1(convolved), self.cv2(pooled)), 1)


class SPDConv(nn.Module):
    """Four neighbours become four times the channels, then a 3x3 convolution (arXiv 2208.03641,
    section 3.1). `dimension`, which some rows state, is always that of channels."""

    width_arg = 0

    def __init__(self, c1: int, c2: int, dimension: int = 1) -> None:
        super().__init__()
        if dimension != 1:
            raise ValueError(f"channels are joined, which is dimension 1, not {dimension}")
        self.conv = Conv(4 * c1, c2, 3)

    def forward(self, x: Tensor) -> Tensor:
        upper, lower = x[..., ::2, :], x[..., 1::2, :]
        four = (upper[..., ::2], lower[..., ::2], upper[..., 1::2], lower[..., 1::2])
        y: Tensor = self.conv(torch.cat(four, 1))
        return y
