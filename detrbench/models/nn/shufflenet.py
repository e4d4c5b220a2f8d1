"""ShuffleNetV2 (arXiv 1807.11164): figure 3 (c) and (d) for the units, table 5 for the stages; and
ShuffleNet (V1, arXiv 1707.01083): figure 2 (b) and (c) for the units, table 1 for the stages, which
begins like the other: one stem is for both.

Names inside the blocks of V2 are those of torchvision's shufflenet_v2, so that its weights load.
There is no `width_arg`: V2's widths are not multiples of 8, and V1's must divide into groups.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench.models.nn.series import Series, convolution, depthwise, pointwise

SE_REDUCTION = 16  # the ratio that arXiv 1709.01507 settles on
BOTTLENECK = 4  # of V1: output width of a unit over its inner width, section 3.3


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means (arXiv 1709.01507)."""

    def __init__(self, channels: int, reduction: int = SE_REDUCTION) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.squeeze = nn.Conv2d(channels, inner, 1)
        self.excite = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        gate: Tensor = self.excite(self.squeeze(mean).relu_()).sigmoid_()
        return x * gate


class ShuffleV2Unit(nn.Module):
    """One unit: stride 1 transforms half of the channels and passes the other half on; stride 2
    transforms all of them twice. Then the two halves are interleaved (channel shuffle). The 3x3
    convolutions have no activation: the paper drops it, as Xception does. `se` gates the end of
    branch 2 by `SqueezeExcite`."""

    def __init__(self, c1: int, c2: int, stride: int, se: bool = False) -> None:
        super().__init__()
        if c2 % 2:
            raise ValueError(f"the width {c2} cannot be split into two halves")
        if stride == 1 and c1 != c2:
            raise ValueError(f"a unit of stride 1 keeps its width, but {c1} differs from {c2}")
        half = c2 // 2
        self.branch1 = (
            Series(*depthwise(c1, stride), *pointwise(c1, half, nn.ReLU)) if stride > 1 else None
        )
        self.branch2 = Series(
            *pointwise(c1 if stride > 1 else half, half, nn.ReLU),
            *depthwise(half, stride),
            *pointwise(half, half, nn.ReLU),
            *([SqueezeExcite(half)] if se else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.branch1 is None:
            kept, x = x.chunk(2, 1)
        else:
            kept = self.branch1(x)
        # Concatenation and channel shuffle in one copy: stacking after the channel dimension
        # puts channel i of both halves side by side.
        return torch.stack((kept, self.branch2(x)), 2).flatten(1, 2)


class ShuffleV2Stem(Series):
    """Conv1 and the max pool of table 5: the image to a quarter of its size, `c2` channels."""

    def __init__(self, c1: int, c2: int = 24) -> None:
        super().__init__(*convolution(c1, c2, 3, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1))


class ShuffleV2Stage(nn.Sequential):
    """`n` units (the row's repeats), the first of which halves the map; `c2` channels."""

    def __init__(self, c1: int, c2: int, se: bool = False, *, n: int = 4) -> None:
        first = ShuffleV2Unit(c1, c2, 2, se)
        super().__init__(first, *(ShuffleV2Unit(c2, c2, 1, se) for _ in range(n - 1)))


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Channel i of every group side by side: (B, C, H, W) -> the same, in one copy."""
    batch, channels, height, width = x.shape
    grouped = x.view(batch, groups, channels // groups, height, width)
    return grouped.transpose(1, 2).reshape(batch, channels, height, width)


class ShuffleV1Unit(nn.Module):
    """Grouped 1x1 convolution, channel shuffle, 3x3 per channel, grouped 1x1 convolution; `first`
    are the groups of the first, where that has others.

    At stride 1 the input is added; at stride 2 its average pool is put in front of the `c2 - c1`
    channels that are computed.
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
    """`n` units (the row's repeats), the first of which halves the map; `c2` channels. With 1 of
    `groups` there is nothing to shuffle; `first` are those of the stage's very first convolution: 1
    in stage 2, "because the number of input channels is relatively small" (section 3.3)."""

    def __init__(
        self, c1: int, c2: int, groups: int = 3, first: int | None = None, *, n: int = 4
    ) -> None:
        rest = (ShuffleV1Unit(c2, c2, 1, groups) for _ in range(n - 1))
        super().__init__(ShuffleV1Unit(c1, c2, 2, groups, first), *rest)
