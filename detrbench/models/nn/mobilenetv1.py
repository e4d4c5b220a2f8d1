"""MobileNet (arXiv 1704.04861): figure 3 for the units, table 1 for the network.

A row states its width with the multiplier in it: no block has a `width_arg`.
"""

from __future__ import annotations

from torch import nn

from detrbench.models.nn.series import Series, convolution, depthwise, pointwise


class MobileV1Stem(Series):
    """The full convolution of table 1: the image to half of its size, `c2` channels."""

    def __init__(self, c1: int, c2: int = 32) -> None:
        super().__init__(*convolution(c1, c2, 3, 2, act=nn.ReLU))


class MobileV1Stage(nn.Sequential):
    """`n` units (the row's repeats) of a 3x3 convolution per channel and a 1x1 convolution.

    Args:
        c2: output width of each unit. stride: of the first unit.
    """

    def __init__(self, c1: int, c2: int, stride: int = 1, *, n: int = 1) -> None:
        super().__init__(_unit(c1, c2, stride), *(_unit(c2, c2, 1) for _ in range(n - 1)))


def _unit(c1: int, c2: int, stride: int) -> Series:
    return Series(*depthwise(c1, stride, nn.ReLU), *pointwise(c1, c2, nn.ReLU))
