"""Blocks that users bring along with their lists, after the papers; the code is our own.

The backbones are one row each and return maps, as the public forks have them.
"""

import torch
import torch.nn.functional as F
from torch import nn


def conv(c1, c2, k=1, s=1, g=1, act=None, bias=False):
    """A convolution, batch normalisation and activation, if there is one."""
    layers = [nn.Conv2d(c1, c2, k, s, k // 2, groups=g, bias=bias), nn.BatchNorm2d(c2)]
    return nn.Sequential(*layers, *(() if act is None else (act(),)))


class Maps(nn.Module):
    """Stages one after the other, every one of whose outputs is returned."""

    def __init__(self, stages, width_list):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.width_list = width_list

    def forward(self, x):
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


# --- StarNet (arXiv 2403.19967) ------------------------------------------------------------------


class Star(nn.Module):
    """Two widened maps multiplied, between two depth-wise 7x7 convolutions."""

    def __init__(self, c, ratio=4):
        super().__init__()
        self.dw1 = conv(c, c, 7, g=c, bias=True)
        self.f1, self.f2 = nn.Conv2d(c, ratio * c, 1), nn.Conv2d(c, ratio * c, 1)
        self.g = conv(ratio * c, c, bias=True)
        self.dw2 = nn.Conv2d(c, c, 7, 1, 3, groups=c)

    def forward(self, x):
        y = self.dw1(x)
        return x + self.dw2(self.g(F.relu6(self.f1(y)) * self.f2(y)))


def starnet_s1():
    widths, depths = [24, 48, 96, 192], (2, 2, 8, 3)
    stem = conv(3, 32, 3, 2, act=nn.ReLU6, bias=True)
    stages = []
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        down = conv(widths[i - 1] if i else 32, width, 3, 2, bias=True)
        before = () if i else (stem,)
        stages.append(nn.Sequential(*before, down, *(Star(width) for _ in range(depth))))
    return Maps(stages, widths)


# --- ConvNeXt V2 (arXiv 2301.00808) --------------------------------------------------------------


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GRN(nn.Module):
    """Global response normalisation of (B, H, W, C)."""

    def __init__(self, c):
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, 1, 1, c)) for _ in range(2))

    def forward(self, x):
        norm = x.square().sum((1, 2), keepdim=True).sqrt()
        return self.gamma * (x * (norm / (norm.mean(-1, keepdim=True) + 1e-6))) + self.beta + x


class NextBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.spatial = nn.Conv2d(c, c, 7, 1, 3, groups=c)
        self.mlp = nn.Sequential(
            nn.LayerNorm(c, 1e-6), nn.Linear(c, 4 * c), nn.GELU(), GRN(4 * c), nn.Linear(4 * c, c)
        )

    def forward(self, x):
        return x + self.mlp(self.spatial(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnextv2_atto():
    widths, depths = [40, 80, 160, 320], (2, 2, 6, 2)
    stages = []
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        down = [nn.Conv2d(3, width, 4, 4), LayerNorm2d(width, 1e-6)]
        if i:
            down = [LayerNorm2d(widths[i - 1], 1e-6), nn.Conv2d(widths[i - 1], width, 2, 2)]
        stages.append(nn.Sequential(*down, *(NextBlock(width) for _ in range(depth))))
    return Maps(stages, widths)


# --- MobileNetV4 (arXiv 2404.10518) --------------------------------------------------------------


class UIB(nn.Module):
    """The universal inverted bottleneck: depth-wise convolutions before and within, if any."""

    def __init__(self, c1, c2, start, middle, s, ratio):
        super().__init__()
        wide = round(c1 * ratio / 8) * 8
        self.start = conv(c1, c1, start, 1 if middle else s, c1) if start else nn.Identity()
        self.expand = conv(c1, wide, act=nn.ReLU6)
        self.middle = conv(wide, wide, middle, s, wide, nn.ReLU6) if middle else nn.Identity()
        self.project = conv(wide, c2)
        self.add = s == 1 and c1 == c2

    def forward(self, x):
        y = self.project(self.middle(self.expand(self.start(x))))
        return x + y if self.add else y


def mobilenetv4_conv_small():
    """Five maps, of strides 2 to 32."""
    third = [(64, 96, 5, 5, 2, 3), *[(96, 96, 0, 3, 1, 2)] * 4, (96, 96, 3, 0, 1, 4)]
    fourth = [(96, 128, 3, 3, 2, 6), (128, 128, 5, 5, 1, 4), (128, 128, 0, 5, 1, 4)]
    fourth += [(128, 128, 0, 5, 1, 3), *[(128, 128, 0, 3, 1, 4)] * 2]
    stages = [
        conv(3, 32, 3, 2, act=nn.ReLU6),
        nn.Sequential(conv(32, 32, 3, 2, act=nn.ReLU6), conv(32, 32, act=nn.ReLU6)),
        nn.Sequential(conv(32, 96, 3, 2, act=nn.ReLU6), conv(96, 64, act=nn.ReLU6)),
        nn.Sequential(*(UIB(*row) for row in third)),
        nn.Sequential(*(UIB(*row) for row in fourth), conv(128, 960, act=nn.ReLU6)),
    ]
    return Maps(stages, [32, 32, 64, 96, 960])


# --- rows ----------------------------------------------------------------------------------------


class Ghost_HGBlock(nn.Module):
    """An HGBlock of Ghost modules, with its public arguments: the repeats stand fifth."""

    def __init__(self, c1, cm, c2, k=3, n=6, lightconv=False, shortcut=False):
        super().__init__()
        self.m = nn.ModuleList(_Ghost(c1 if i == 0 else cm, cm, k) for i in range(n))
        self.sc = conv(c1 + n * cm, c2 // 2, act=nn.ReLU)
        self.ec = conv(c2 // 2, c2, act=nn.ReLU)
        self.add = shortcut and c1 == c2

    def forward(self, x):
        y = [x]
        for m in self.m:
            y.append(m(y[-1]))
        y = self.ec(self.sc(torch.cat(y, 1)))
        return y + x if self.add else y


class _Ghost(nn.Module):
    def __init__(self, c1, c2, k):
        super().__init__()
        self.cv1 = conv(c1, c2 // 2, k, act=nn.ReLU)
        self.cv2 = conv(c2 // 2, c2 // 2, 5, 1, c2 // 2, nn.ReLU)

    def forward(self, x):
        y = self.cv1(x)
        return torch.cat((y, self.cv2(y)), 1)


class Fusion(nn.Module):
    """The fast normalised fusion of BiFPN (arXiv 1911.09070, section 3.3)."""

    def __init__(self, c1, mode):
        super().__init__()
        assert mode == "bifpn"
        self.w = nn.Parameter(torch.ones(len(c1)))

    def forward(self, xs):
        w = self.w.relu()
        w = w / (w.sum() + 1e-4)
        return sum(w[i] * x for i, x in enumerate(xs))
