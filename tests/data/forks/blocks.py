"""A user's own blocks, with the argument orders of the public forks; the code is our own."""

import torch
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, None: nn.Identity}


class ConvNormLayer(nn.Module):
    def __init__(self, c1, c2, k, s, p=None, bias=False, act=None):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, (k - 1) // 2 if p is None else p, bias=bias)
        self.norm = nn.BatchNorm2d(c2)
        self.act = ACTIVATIONS[act]()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


class _Basic(nn.Module):
    def __init__(self, c1, c2, s, shortcut, act):
        super().__init__()
        self.a = ConvNormLayer(c1, c2, 3, s, act=act)
        self.b = ConvNormLayer(c2, c2, 3, 1)
        project = ConvNormLayer(c1, c2, 1, 1)
        pooled = nn.Sequential(nn.AvgPool2d(2, 2, 0, ceil_mode=True), project)
        self.short = nn.Identity() if shortcut else pooled if s == 2 else project
        self.act = ACTIVATIONS[act]()

    def forward(self, x):
        return self.act(self.b(self.a(x)) + self.short(x))


class Blocks(nn.Module):
    """The stages of ResNet18-vd; the kind of block is a word."""

    def __init__(self, c1, c, kind, count, stage, act="relu"):
        super().__init__()
        block = {"BasicBlock": _Basic}[kind]
        layers = []
        for i in range(count):
            layers.append(block(c1, c, 2 if i == 0 and stage != 2 else 1, i > 0, act))
            c1 = c
        self.blocks = nn.Sequential(*layers)

    def forward(self, x):
        return self.blocks(x)


class _Unit(nn.Module):
    def __init__(self, c1, c2, k=1, g=1, act=nn.SiLU):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, 1, k // 2, groups=g, bias=False)
        self.bn = nn.BatchNorm2d(c2)
        self.act = act()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class _Ghost(nn.Module):
    def __init__(self, c1, c2, k=1):
        super().__init__()
        self.cv1 = _Unit(c1, c2 // 2, k, act=nn.ReLU)
        self.cv2 = _Unit(c2 // 2, c2 // 2, 5, c2 // 2, act=nn.ReLU)

    def forward(self, x):
        y = self.cv1(x)
        return torch.cat((y, self.cv2(y)), 1)


class Ghost_HGBlock(nn.Module):
    """An HGBlock with its public arguments: the repeats stand fifth."""

    def __init__(self, c1, cm, c2, k=3, n=6, lightconv=False, shortcut=False):
        super().__init__()
        self.m = nn.ModuleList(_Ghost(c1 if i == 0 else cm, cm, k) for i in range(n))
        self.sc = _Unit(c1 + n * cm, c2 // 2, act=nn.ReLU)
        self.ec = _Unit(c2 // 2, c2, act=nn.ReLU)
        self.add = shortcut and c1 == c2

    def forward(self, x):
        y = [x]
        for m in self.m:
            y.append(m(y[-1]))
        y = self.ec(self.sc(torch.cat(y, 1)))
        return y + x if self.add else y


class _Neck(nn.Module):
    def __init__(self, c, add, g):
        super().__init__()
        self.a = _Unit(c, c, 3)
        self.b = _Unit(c, c, 3, g)
        self.add = add

    def forward(self, x):
        y = self.b(self.a(x))
        return x + y if self.add else y


class C2f(nn.Module):
    """With its public arguments: the repeats stand third."""

    def __init__(self, c1, c2, n=1, shortcut=False, g=1, e=0.5):
        super().__init__()
        self.c = int(c2 * e)
        self.cv1 = _Unit(c1, 2 * self.c)
        self.cv2 = _Unit((2 + n) * self.c, c2)
        self.m = nn.ModuleList(_Neck(self.c, shortcut, g) for _ in range(n))

    def forward(self, x):
        y = list(self.cv1(x).chunk(2, 1))
        for m in self.m:
            y.append(m(y[-1]))
        return self.cv2(torch.cat(y, 1))


class SPPF(nn.Module):
    def __init__(self, c1, c2, k=5):
        super().__init__()
        self.cv1 = _Unit(c1, c1 // 2)
        self.cv2 = _Unit(c1 * 2, c2)
        self.m = nn.MaxPool2d(k, 1, k // 2)

    def forward(self, x):
        x = self.cv1(x)
        a = self.m(x)
        b = self.m(a)
        return self.cv2(torch.cat((x, a, b, self.m(b)), 1))


class fasternet_t0(nn.Module):
    """A whole backbone in one row, which returns maps of strides 4 to 32."""

    def __init__(self, c1):
        super().__init__()
        widths = (c1, 40, 80, 160, 320)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b, s in zip(widths, widths[1:], (4, 2, 2, 2), strict=False)
        )

    def forward(self, x):
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


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
