"""MobileNet: V1 (arXiv 1704.04861), figure 3 for the units and table 1 for the network; V2 (arXiv
1801.04381), table 1 for the units and table 2 for the network, layers in torchvision's order.

A row states its width with the multiplier in it: no block has a `width_arg`.
"""

from __future__ import annotations

from torch import Tensor, nn

from detrbench.models.nn.series import Series, convolution, depthwise, pointwise


class MobileV1Stem(Series):
    """The full convolution of table 1: the image to half of its size, `c2` channels."""

    def __init__(self, c1: int, c2: int = 32) -> None:
        super().__init__(*convolution(c1, c2, 3, 2, act=nn.ReLU))


class MobileV1Stage(nn.Sequential):
    """`n` units (the row's repeats) of a 3x3 convolution per channel and a 1x1 convolution, each
    `c2` wide; `stride` is the first one's."""

    def __init__(self, c1: int, c2: int, stride: int = 1, *, n: int = 1) -> None:
        super().__init__(_unit(c1, c2, stride), *(_unit(c2, c2, 1) for _ in range(n - 1)))


def _unit(c1: int, c2: int, stride: int) -> Series:
    return Series(*depthwise(c1, stride, nn.ReLU), *pointwise(c1, c2, nn.ReLU))


class MobileV2Stem(Series):
    """The full convolution of table 2: the image to half of its size, `c2` channels."""

    def __init__(self, c1: int, c2: int = 32) -> None:
        super().__init__(*convolution(c1, c2, 3, 2, act=nn.ReLU6))


class MobileV2Unit(nn.Module):
    """Inverted residual with a linear bottleneck: 1x1 to `expansion` times the width, 3x3 per
    channel, 1x1 without activation. The input is added where the shape allows."""

    def __init__(self, c1: int, c2: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = c1 * expansion
        expand = pointwise(c1, inner, nn.ReLU6) if expansion > 1 else []
        self.layers = Series(*expand, *depthwise(inner, stride, nn.ReLU6), *pointwise(inner, c2))
        self.adds = stride == 1 and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y.add_(x) if self.adds else y


class MobileV2Stage(nn.Sequential):
    """One line of table 2: `n` units (the row's repeats), each `c2` wide; `expansion` is t of the
    table, `stride` the first unit's."""

    def __init__(
        self, c1: int, c2: int, expansion: int = 6, stride: int = 1, *, n: int = 1
    ) -> None:
        first = MobileV2Unit(c1, c2, expansion, stride)
        super().__init__(first, *(MobileV2Unit(c2, c2, expansion, 1) for _ in range(n - 1)))
