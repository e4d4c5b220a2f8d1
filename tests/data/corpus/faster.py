"""FasterNet (arXiv 2303.03667), and its block in the stages of ResNet-D; the code is our own."""

import torch
import torch.nn.functional as F
from blocks import Maps, conv
from torch import nn


class Faster_Block(nn.Module):
    """A 3x3 convolution of a quarter of the channels, then two 1x1 convolutions."""

    def __init__(self, c1, c2, ratio=2):
        super().__init__()
        self.before = conv(c1, c2, act=nn.SiLU) if c1 != c2 else nn.Identity()
        self.part = c2 // 4
        self.spatial = nn.Conv2d(self.part, self.part, 3, 1, 1, bias=False)
        self.mlp = nn.Sequential(
            *conv(c2, c2 * ratio, act=nn.GELU), nn.Conv2d(c2 * ratio, c2, 1, bias=False)
        )

    def forward(self, x):
        x = self.before(x)
        first, rest = x[:, : self.part], x[:, self.part :]
        return x + self.mlp(torch.cat((self.spatial(first), rest), 1))


def fasternet_t0():
    widths, depths = [40, 80, 160, 320], (1, 2, 8, 2)
    stages = []
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        k = 2 if i else 4
        before = widths[i - 1] if i else 3
        down = nn.Sequential(nn.Conv2d(before, width, k, k, bias=False), nn.BatchNorm2d(width))
        stages.append(nn.Sequential(*down, *(Faster_Block(width, width) for _ in range(depth))))
    return Maps(stages, widths)


class BasicBlock_Faster_Block(nn.Module):
    """The basic block of ResNet-D with a Faster_Block in the place of its second convolution."""

    def __init__(self, c1, c2, s, shortcut, act):
        super().__init__()
        self.a = conv(c1, c2, 3, s, act=nn.ReLU)
        self.b = Faster_Block(c2, c2)
        project = conv(c1, c2)
        pooled = nn.Sequential(nn.AvgPool2d(2, 2, 0, ceil_mode=True), project)
        self.short = nn.Identity() if shortcut else pooled if s == 2 else project

    def forward(self, x):
        return F.relu(self.b(self.a(x)) + self.short(x))


class Blocks(nn.Module):
    """A stage of any kind of block: a class, which a row names by a bare word."""

    def __init__(self, c1, c2, kind, count, stage, act="relu"):
        super().__init__()
        first = kind(c1, c2, 1 if stage == 2 else 2, False, act)
        self.blocks = nn.Sequential(first, *(kind(c2, c2, 1, True, act) for _ in range(count - 1)))

    def forward(self, x):
        return self.blocks(x)
