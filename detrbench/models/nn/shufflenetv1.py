"""ShuffleNet (arXiv 1707.01083): figure 2 (b) and (c) for the units, table 1 for the stages.

Its stem is that of ShuffleNetV2: the two tables begin alike. There is no `width_arg`: table 1's
widths must divide into groups.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench.models.nn.series import Series, depthwise, pointwise

BOTTLENECK = 4  # output width of a unit over its inner width: section 3.3


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Channel i of every group side by side: (B, C, H, W) -> the same, in one copy."""
    batch, channels, height, width = x.shape
    grouped = x.view(batch, groups, channels // groups, height, width)
    return grouped.transpose(1, 2).reshape(batch, channels, height, width)


class ShuffleV1Unit(nn.Module):
    """Grouped 1x1 convolution, channel shuffle, 3x3 per channel, grouped 1x1 convolution.

    At stride 1 the input is added; at stride 2 its average pool is put in front of the `c2 - c1`
    channels that are computed.

    Args:
        groups: of the 1x1 convolutions. first: of the first of them, where that has others.
    """

    def __init__(
        self, c1: int, c2: int, stride: int, groups: int = 3, first: int | None = None
    ) -> None:
        super().__init__()
        if stride == 1 and c1 != c2:
            raise ValueError(f"a unit of stride 1 keeps its width, but {c1} differs from {c2}")
        inner = c2 // BOTTLENECK
        computed = c2 if stride == 1 else c2 - c1
        if inner % groups or computed % groups:
            raise ValueError(f"{inner} and {computed} channels do not divide into {groups} groups")
        self.groups = groups
        self.squeeze = Series(*pointwise(c1, inner, nn.ReLU, first or groups))
        self.spread = Series(*depthwise(inner, stride), *pointwise(inner, computed, groups=groups))
        self.pool = nn.AvgPool2d(3, 2, 1) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.squeeze(x)
        y = self.spread(shuffle_channels(y, self.groups) if self.groups > 1 else y)
        if self.pool is None:
            return F.relu_(y.add_(x))
        # The ReLU after the concatenation need not see the pooled half: means of what a ReLU put
        # out are not negative.
        return torch.cat((self.pool(x), F.relu_(y)), 1)


class ShuffleV1Stage(nn.Sequential):
    """`n` units (the row's repeats), the first of which halves the map; `c2` channels.

    Args:
        groups: of the 1x1 convolutions; with 1 there is nothing to shuffle. first: of the stage's
            very first one, which is 1 in stage 2, "because the number of input channels is
            relatively small" (section 3.3).
    """

    def __init__(
        self, c1: int, c2: int, groups: int = 3, first: int | None = None, *, n: int = 4
    ) -> None:
        rest = (ShuffleV1Unit(c2, c2, 1, groups) for _ in range(n - 1))
        super().__init__(ShuffleV1Unit(c1, c2, 2, groups, first), *rest)
