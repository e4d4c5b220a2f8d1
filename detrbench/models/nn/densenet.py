"""DenseNet (arXiv 1608.06993) with bottleneck layers: section 3, DenseNet-BC."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detrbench.models.nn.series import Series

BOTTLENECK = 4  # width of the 1x1 convolution over the growth: section 3, "bottleneck layers"


def _preactivated(c1: int, c2: int, k: int) -> list[nn.Module]:
    """Normalisation, ReLU, k x k convolution, in this order: section 3, "composite function"."""
    return [
        nn.BatchNorm2d(c1),
        nn.ReLU(inplace=True),
        nn.Conv2d(c1, c2, k, padding=k // 2, bias=False),
    ]


class DenseLayer(nn.Module):
    """Appends `growth` channels, computed from all that came before: 1x1 and 3x3 convolution. Its
    first normalisation reads what several layers wrote and stays when the model is fused."""

    def __init__(self, c1: int, growth: int) -> None:
        super().__init__()
        inner = BOTTLENECK * growth
        self.layers = Series(*_preactivated(c1, inner, 1), *_preactivated(inner, growth, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.layers(x)), 1)


class DenseStage(nn.Sequential):
    """A transition that halves the map and leaves `c2` channels, then `n` dense layers (the row's
    repeats): c2 + n * growth channels. Widths follow from the growth: there is no `width_arg`."""

    def __init__(self, c1: int, c2: int, growth: int, *, n: int = 4) -> None:
        transition = Series(*_preactivated(c1, c2, 1), nn.AvgPool2d(2))
        super().__init__(transition, *(DenseLayer(c2 + i * growth, growth) for i in range(n)))
