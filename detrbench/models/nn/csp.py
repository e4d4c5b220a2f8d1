"""Cross-stage partial blocks (arXiv 1911.11929): a part of the channels goes through units in
series, the rest goes past them, and all are joined and squeezed.

Argument order and state_dict keys are those of the public model files, so that their rows build and
their weights load. Inputs and outputs are (B, C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Set

import torch
from torch import Tensor, nn

from detrbench.models.nn.conv import Conv, RepConv, activation

Maker = Callable[[int], nn.Module]
"""A unit of a width, in and out."""

DEEP_SCALES = frozenset("mlx")
"""Scales at which every C3k2 has C3k for units, whatever its row says: the YOLO11 family's rule."""


class Bottleneck(nn.Module):
    """Two convolutions with kernels `k`, the input added where `shortcut` says so and the widths
    agree. `e`: inner width over `c2`; `g`: groups of the second one."""

    width_arg = 0

    def __init__(
        self,
        c1: int,
        c2: int,
        shortcut: bool = True,
        g: int = 1,
        k: tuple[int, int] = (3, 3),
        e: float = 0.5,
    ) -> None:
        super().__init__()
        inner = int(c2 * e)
        self.cv1 = Conv(c1, inner, k[0])
        self.cv2 = Conv(inner, c2, k[1], g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv2(self.cv1(x))
        return y.add_(x) if self.add else y


class Fan(nn.Module):
    """The body of `C2f` and those made like it: half of the channels pass, the others go through
    `n` units in series, every one of whose outputs is joined."""

    def __init__(self, c1: int, c2: int, e: float, n: int, unit: Maker) -> None:
        super().__init__()
        self.c = int(c2 * e)
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv((2 + n) * self.c, c2)
        self.m = nn.ModuleList(unit(self.c) for _ in range(n))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.cv1(x).chunk(2, 1))
        for unit in self.m:
            parts.append(unit(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return y


class C2f(Fan):
    """The block of YOLOv8: two 3x3 convolutions at full inner width a unit."""

    width_arg = 0

    def __init__(
        self, c1: int, c2: int, shortcut: bool = False, g: int = 1, e: float = 0.5, *, n: int = 1
    ) -> None:
        super().__init__(c1, c2, e, n, lambda c: Bottleneck(c, c, shortcut, g, e=1.0))


class C2(nn.Module):
    """`C2f` of which only the last unit's output is joined."""

    width_arg = 0

    def __init__(
        self, c1: int, c2: int, shortcut: bool = True, g: int = 1, e: float = 0.5, *, n: int = 1
    ) -> None:
        super().__init__()
        inner = int(c2 * e)
        self.cv1 = Conv(c1, 2 * inner)
        self.cv2 = Conv(2 * inner, c2)
        self.m = nn.Sequential(*(Bottleneck(inner, inner, shortcut, g, e=1.0) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        mixed, passed = self.cv1(x).chunk(2, 1)
        y: Tensor = self.cv2(torch.cat((self.m(mixed), passed), 1))
        return y


class C3(nn.Module):
    """The block of YOLOv5: one convolution past the units, one before them, one behind the join.
    A unit is a 1x1 and a 3x3 convolution."""

    width_arg = 0

    def __init__(
        self, c1: int, c2: int, shortcut: bool = True, g: int = 1, e: float = 0.5, *, n: int = 1
    ) -> None:
        super().__init__()
        self._join(c1, c2, e, n, lambda c: Bottleneck(c, c, shortcut, g, (1, 3), 1.0))

    def _join(self, c1: int, c2: int, e: float, n: int, unit: Maker) -> None:
        inner = int(c2 * e)
        self.cv1 = Conv(c1, inner)
        self.cv2 = Conv(c1, inner)
        self.cv3 = Conv(2 * inner, c2)
        self.m = nn.Sequential(*(unit(inner) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
        return y


class C3k(C3):
    """`C3` with two 3x3 convolutions a unit: what `C3k2` has for units where it is deep."""

    def __init__(self, c1: int, c2: int, *, n: int = 2) -> None:
        nn.Module.__init__(self)
        self._join(c1, c2, 0.5, n, lambda c: Bottleneck(c, c, e=1.0))


class C3k2(Fan):
    """The block of YOLO11: as `C2f`, a unit of two 3x3 convolutions at half the inner width, or
    (`c3k`) a `C3k`. `deep`: the file's scale asks for C3k everywhere.

    What may follow `e` in a row has changed its meaning between the readers of the format, so that
    nothing may.
    """

    width_arg = 0

    def __init__(
        self,
        c1: int,
        c2: int,
        c3k: bool = False,
        e: float = 0.5,
        *,
        n: int = 1,
        deep: bool = False,
    ) -> None:
        unit: Maker = (lambda c: C3k(c, c)) if c3k or deep else (lambda c: Bottleneck(c, c))
        super().__init__(c1, c2, e, n, unit)

    @staticmethod
    def told_by(blocks: Set[str], scale: str | None) -> dict[str, bool]:
        """See `DEEP_SCALES`."""
        return {"deep": scale in DEEP_SCALES}


# --- YOLOv10 (arXiv 2405.14458, section 3.2) -----------------------------------------------------


class RepVGGDW(nn.Module):
    """Parallel depth-wise 7x7 and 3x3 convolutions, summed; `fuse` merges them into one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv(channels, channels, 7, g=channels, act=False)
        self.conv1 = Conv(channels, channels, 3, g=channels, act=False)
        self.act = activation(True)
        self.merged: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.merged is not None:
            merged: Tensor = self.act(self.merged(x))
            return merged
        y: Tensor = self.act(self.conv(x).add_(self.conv1(x)))
        return y

    def fuse(self) -> None:
        """Merge the branches into one convolution."""
        if self.merged is not None:
            return
        self.conv.fuse()
        self.conv1.fuse()
        merged, small = self.conv.conv, self.conv1.conv
        assert merged.bias is not None
        assert small.bias is not None
        with torch.no_grad():
            merged.weight[:, :, 2:5, 2:5] += small.weight  # a 3x3 kernel in the middle of a 7x7
            merged.bias += small.bias
        self.merged = merged
        del self.conv, self.conv1


class CIB(nn.Module):
    """The compact inverted block: depth-wise 3x3, out to twice the width, depth-wise 3x3 (`lk`:
    7x7 beside it), back, depth-wise 3x3; the input is added where `shortcut` says so."""

    def __init__(self, channels: int, shortcut: bool, lk: bool) -> None:
        super().__init__()
        c, wide = channels, 2 * channels
        self.cv1 = nn.Sequential(
            Conv(c, c, 3, g=c),
            Conv(c, wide),
            RepVGGDW(wide) if lk else Conv(wide, wide, 3, g=wide),
            Conv(wide, c),
            Conv(c, c, 3, g=c),
        )
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv1(x)
        return y.add_(x) if self.add else y


class C2fCIB(Fan):
    """`C2f` with compact inverted blocks for units."""

    width_arg = 0

    def __init__(
        self,
        c1: int,
        c2: int,
        shortcut: bool = False,
        lk: bool = False,
        g: int = 1,
        e: float = 0.5,
        *,
        n: int = 1,
    ) -> None:
        if g != 1:
            raise ValueError(f"{g} groups: a C2fCIB has no grouped convolutions")
        super().__init__(c1, c2, e, n, lambda c: CIB(c, shortcut, lk))


# --- YOLOv9 (arXiv 2402.13616, section 4.2) ------------------------------------------------------


class RepBottleneck(nn.Module):
    """A `RepConv` and a 3x3 convolution, the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1 = RepConv(channels, channels)
        self.cv2 = Conv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv2(self.cv1(x))
        return y.add_(x)


class RepCSP(C3):
    """`C3` with `RepBottleneck` units."""

    def __init__(self, c1: int, c2: int, *, n: int = 1) -> None:
        nn.Module.__init__(self)
        self._join(c1, c2, 0.5, n, RepBottleneck)


class ELAN1(nn.Module):
    """One half of `c3` channels goes through two 3x3 convolutions of width `c4`; both halves and
    both outputs are joined."""

    width_arg = 0

    def __init__(self, c1: int, c2: int, c3: int, c4: int) -> None:
        super().__init__()
        self._branch(c1, c2, c3, c4, Conv(c3 // 2, c4, 3), Conv(c4, c4, 3))

    def _branch(
        self, c1: int, c2: int, c3: int, c4: int, first: nn.Module, second: nn.Module
    ) -> None:
        self.cv1 = Conv(c1, c3)
        self.cv2, self.cv3 = first, second
        self.cv4 = Conv(c3 + 2 * c4, c2)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.cv1(x).chunk(2, 1))
        for branch in (self.cv2, self.cv3):
            parts.append(branch(parts[-1]))
        y: Tensor = self.cv4(torch.cat(parts, 1))
        return y


class RepNCSPELAN4(ELAN1):
    """GELAN's block: `ELAN1` with a `RepCSP` of `n` units before each of the two convolutions."""

    def __init__(self, c1: int, c2: int, c3: int, c4: int, n: int = 1) -> None:
        nn.Module.__init__(self)
        first = nn.Sequential(RepCSP(c3 // 2, c4, n=n), Conv(c4, c4, 3))
        self._branch(c1, c2, c3, c4, first, nn.Sequential(RepCSP(c4, c4, n=n), Conv(c4, c4, 3)))
