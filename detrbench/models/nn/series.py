"""Layers in series, as small backbones are made of them.

Inputs and outputs are (B, C, H, W). Normalisation has torch's own constants, as these networks have
them in torchvision; those of the RT-DETR blocks are in `detrbench.models.nn.conv`.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Activation = type[nn.ReLU] | type[nn.ReLU6]


class Series(nn.Sequential):
    """Layers one after the other, whose normalisations fold into the convolutions before them."""

    def fuse(self) -> None:
        """Fold each normalisation that directly follows a convolution into it."""
        for i in range(1, len(self)):
            conv, bn = self[i - 1], self[i]
            if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                self[i - 1] = fuse_conv_bn_eval(conv, bn)
                self[i] = nn.Identity()


def convolution(
    c1: int, c2: int, k: int, stride: int = 1, groups: int = 1, act: Activation | None = None
) -> list[nn.Module]:
    """A k x k convolution that keeps the size at stride 1, its normalisation and activation."""
    layers = [nn.Conv2d(c1, c2, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(c2)]
    return layers if act is None else [*layers, act(inplace=True)]


def pointwise(c1: int, c2: int, act: Activation | None = None, groups: int = 1) -> list[nn.Module]:
    """1x1: mixes channels, all of them or those of each group."""
    return convolution(c1, c2, 1, groups=groups, act=act)


def depthwise(channels: int, stride: int = 1, act: Activation | None = None) -> list[nn.Module]:
    """3x3 over every channel by itself."""
    return convolution(channels, channels, 3, stride, channels, act)
