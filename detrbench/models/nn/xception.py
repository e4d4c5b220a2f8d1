"""Xception (arXiv 1610.02357) at the size of ShuffleNetV2: three separable convolutions a unit.

The ShuffleNetV2 paper (arXiv 1807.11164, section 4) compares with a "modified light weight
Xception" whose unit sees 7x7 pixels. The rest of that unit is not published: here the bottleneck is
ShuffleNet's quarter, and the shortcut Xception's (figure 5). There is no `width_arg`: a quarter of
each width must be whole.
"""

from __future__ import annotations

from torch import Tensor, nn

from detrbench.models.nn.series import Series, convolution, pointwise

BOTTLENECK = 4  # output width of a unit over its inner width, as in ShuffleNet


def _separable(c1: int, c2: int, stride: int = 1) -> list[nn.Module]:
    """3x3 per channel and 1x1 with nothing between them: section 4.7 finds that better."""
    return [nn.Conv2d(c1, c1, 3, stride, 1, groups=c1, bias=False), *pointwise(c1, c2)]


class XceptionUnit(nn.Module):
    """Three separable 3x3 convolutions, each after a ReLU, beside a shortcut. At stride 2 the first
    of them has the stride, and the shortcut is a 1x1 convolution of stride 2."""

    def __init__(self, c1: int, c2: int, stride: int) -> None:
        super().__init__()
        inner = c2 // BOTTLENECK
        self.layers = Series(
            nn.ReLU(),  # not in place: the shortcut reads the same input
            *_separable(c1, inner, stride),
            nn.ReLU(inplace=True),
            *_separable(inner, inner),
            nn.ReLU(inplace=True),
            *_separable(inner, c2),
        )
        projects = stride > 1 or c1 != c2
        self.shortcut = Series(*(convolution(c1, c2, 1, stride) if projects else []))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y.add_(self.shortcut(x))


class XceptionStage(nn.Sequential):
    """`n` units (the row's repeats), the first of which halves the map; `c2` channels."""

    def __init__(self, c1: int, c2: int, *, n: int = 4) -> None:
        super().__init__(XceptionUnit(c1, c2, 2), *(XceptionUnit(c2, c2, 1) for _ in range(n - 1)))
