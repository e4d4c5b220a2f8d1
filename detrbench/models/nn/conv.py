"""Convolution blocks: one convolution with its normalisation, and the ways they are joined.

Argument order and state_dict keys follow the Ultralytics model files, so that their rows build and
their weights load. Inputs and outputs are (B, C, H, W) unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# What weights of this format were trained with; torch's own defaults are 1e-5 and 0.1.
BN_EPS = 1e-3
BN_MOMENTUM = 0.03


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the constants the RT-DETR model files assume."""
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM)


def activation(act: bool | nn.Module) -> nn.Module:
    """True is SiLU, False is nothing, a module is itself. Ours act in place: the input is always
    a convolution's or a normalisation's fresh output, which nobody else reads."""
    if isinstance(act, nn.Module):
        return act
    return nn.SiLU(inplace=True) if act else nn.Identity()


class Conv(nn.Module):
    """Convolution, batch normalisation, activation; `p=None` keeps the size if `k` is odd."""

    width_arg = 0

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 1,
        s: int = 1,
        p: int | None = None,
        g: int = 1,
        d: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__()
        padding = d * (k - 1) // 2 if p is None else p
        self.conv = nn.Conv2d(c1, c2, k, s, padding, groups=g, dilation=d, bias=False)
        self.bn: nn.Module = batch_norm(c2)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y

    def fuse(self) -> None:
        """Fold the normalisation into the convolution."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()


class DWConv(Conv):
    """Depth-wise `Conv`: as many groups as both widths allow."""

    def __init__(
        self, c1: int, c2: int, k: int = 1, s: int = 1, d: int = 1, act: bool | nn.Module = True
    ) -> None:
        super().__init__(c1, c2, k, s, g=math.gcd(c1, c2), d=d, act=act)


class LightConv(nn.Module):
    """A point-wise convolution without activation, then a depth-wise one with ReLU (PP-HGNetV2)."""

    def __init__(self, c1: int, c2: int, k: int = 1) -> None:
        super().__init__()
        self.conv1 = Conv(c1, c2, 1, act=False)
        self.conv2 = DWConv(c2, c2, k, act=nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x))
        return y


class RepConv(nn.Module):
    """Parallel 3x3 and 1x1 convolutions, summed (RepVGG, arXiv 2101.03697, section 3); `fuse`
    merges them into one 3x3 convolution with a bias, which computes the same."""

    width_arg = 0

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 3,
        s: int = 1,
        p: int = 1,
        g: int = 1,
        d: int = 1,
        act: bool | nn.Module = True,
        bn: bool = False,
    ) -> None:
        super().__init__()
        if (k, p, d) != (3, 1, 1):
            raise ValueError("RepConv merges a 3x3 kernel with padding 1 and no dilation only")
        if bn and (c1, s) != (c2, 1):
            raise ValueError("the identity branch needs stride 1 and as many outputs as inputs")
        self.act = activation(act)
        self.bn = batch_norm(c1) if bn else None
        self.conv1 = Conv(c1, c2, 3, s, 1, g, act=False)
        self.conv2 = Conv(c1, c2, 1, s, 0, g, act=False)
        self.merged: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self._branches(x) if self.merged is None else self.merged(x))
        return y

    def _branches(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1(x).add_(self.conv2(x))
        return y if self.bn is None else y.add_(self.bn(x))

    def fuse(self) -> None:
        """Merge the branches into one convolution."""
        if self.merged is not None:
            return
        self.conv1.fuse()
        self.conv2.fuse()
        merged, point = self.conv1.conv, self.conv2.conv
        assert merged.bias is not None
        assert point.bias is not None
        with torch.no_grad():
            # A 1x1 kernel is a 3x3 kernel that is zero but in its middle; so is the identity.
            merged.weight[:, :, 1, 1] += point.weight[:, :, 0, 0]
            merged.bias += point.bias
            if self.bn is not None:
                self._add_identity(merged, self.bn)
        self.merged = merged
        self.bn = None
        del self.conv1, self.conv2

    @staticmethod
    def _add_identity(merged: nn.Conv2d, bn: nn.BatchNorm2d) -> None:
        assert bn.running_mean is not None
        assert bn.running_var is not None
        assert merged.bias is not None
        scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
        channel = torch.arange(merged.out_channels, device=scale.device)
        merged.weight[channel, channel % merged.weight.shape[1], 1, 1] += scale
        merged.bias += bn.bias - bn.running_mean * scale


class RepC3(nn.Module):
    """A cross-stage block with `n` RepConv on one of its two paths: the fusion block of RT-DETR's
    neck (arXiv 2304.08069). `e` is the inner width over `c2`."""

    width_arg = 0

    def __init__(self, c1: int, c2: int, e: float = 1.0, *, n: int = 3) -> None:
        super().__init__()
        inner = int(c2 * e)
        self.cv1 = Conv(c1, inner)
        self.cv2 = Conv(c1, inner)
        self.m = nn.Sequential(*(RepConv(inner, inner) for _ in range(n)))
        self.cv3 = Conv(inner, c2) if inner != c2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv3(self.m(self.cv1(x)).add_(self.cv2(x)))
        return y


class Concat(nn.Module):
    """Joins the tensors of a `from` list along one dimension (channels by default)."""

    def __init__(self, c1: Sequence[int], dimension: int = 1) -> None:
        super().__init__()
        if isinstance(c1, int):
            raise ValueError("Concat joins several rows: `from` must be a list")
        self.dimension = dimension

    def forward(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(tensors), self.dimension)

    def check_inputs(self, shapes: Sequence[torch.Size]) -> None:
        """Raises ValueError where the inputs differ in any other dimension than the joined one."""
        others = {(s[: self.dimension], s[self.dimension + 1 :]) for s in shapes}
        if len(others) > 1:
            raise ValueError(
                "the inputs have different sizes; rows that are joined must have the same stride"
            )
