"""ResNet-D (arXiv 1812.01187, section 4) as the RT-DETR-R18, -R34, -R50 and -R101 of the forks have
it: rows `ConvNormLayer` for the stem, and one row `Blocks` for each stage.

Argument order and names are those of the public rows; state_dict keys are the paper's authors' own
(github.com/lyuwenyu/RT-DETR, Apache-2.0).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detrbench.core.errors import nearest
from detrbench.models.nn.conv import batch_norm

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "leaky_relu": lambda: nn.LeakyReLU(inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "silu": lambda: nn.SiLU(inplace=True),
}


def named_activation(act: str | None) -> nn.Module:
    """An activation by the word that stands in a row; None is none. Raises ValueError."""
    if act is None:
        return nn.Identity()
    if act not in ACTIVATIONS:
        raise ValueError(f"there is no activation {act!r}; {nearest(act, ACTIVATIONS)}")
    return ACTIVATIONS[act]()


class ConvNormLayer(nn.Module):
    """Convolution, batch normalisation, activation by its name; `p=None` keeps the size."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int,
        s: int,
        p: int | None = None,
        bias: bool = False,
        act: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(bias, bool):  # any text would be true, and the activation left out
            raise ValueError(
                f"`bias` is {bias!r}; it is True or False, and an activation comes after it"
            )
        self.conv = nn.Conv2d(c1, c2, k, s, (k - 1) // 2 if p is None else p, bias=bias)
        self.norm: nn.Module = batch_norm(c2)
        self.act = named_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y

    def fuse(self) -> None:
        """Fold the normalisation into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class _Residual(nn.Module):
    """A branch beside a shortcut. `s`: stride; `shortcut`: the input itself is added, else what a
    1x1 convolution makes of it, in variant "d" of an input that was averaged down before."""

    expansion: int

    def __init__(self, c1: int, c2: int, s: int, shortcut: bool, act: str | None, variant: str):
        super().__init__()
        self.short: nn.Module
        if shortcut:
            self.short = nn.Identity()
        elif variant == "d" and s == 2:
            pool = nn.AvgPool2d(2, 2, 0, ceil_mode=True)
            layers = OrderedDict(pool=pool, conv=ConvNormLayer(c1, c2 * self.expansion, 1, 1))
            self.short = nn.Sequential(layers)
        else:
            self.short = ConvNormLayer(c1, c2 * self.expansion, 1, s)
        self.act = named_activation(act)

    def branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.branch(x).add_(self.short(x)))
        return y


class BasicBlock(_Residual):
    """Two 3x3 convolutions, the first with the stride."""

    expansion = 1

    def __init__(self, c1: int, c2: int, s: int, shortcut: bool, act: str | None, variant: str):
        super().__init__(c1, c2, s, shortcut, act, variant)
        self.branch2a = ConvNormLayer(c1, c2, 3, s, act=act)
        self.branch2b = ConvNormLayer(c2, c2, 3, 1)

    def branch(self, x: Tensor) -> Tensor:
        y: Tensor = self.branch2b(self.branch2a(x))
        return y


class BottleNeck(_Residual):
    """1x1, 3x3, 1x1 convolutions, the last four times as wide. The stride is the first one's in
    variant "a", as in arXiv 1512.03385, and the 3x3's otherwise."""

    expansion = 4

    def __init__(self, c1: int, c2: int, s: int, shortcut: bool, act: str | None, variant: str):
        super().__init__(c1, c2, s, shortcut, act, variant)
        first, second = (s, 1) if variant == "a" else (1, s)
        self.branch2a = ConvNormLayer(c1, c2, 1, first, act=act)
        self.branch2b = ConvNormLayer(c2, c2, 3, second, act=act)
        self.branch2c = ConvNormLayer(c2, c2 * self.expansion, 1, 1)

    def branch(self, x: Tensor) -> Tensor:
        y: Tensor = self.branch2c(self.branch2b(self.branch2a(x)))
        return y


KINDS: dict[str, type[_Residual]] = {"BasicBlock": BasicBlock, "BottleNeck": BottleNeck}
VARIANTS = ("a", "b", "c", "d")
FIRST_STAGE, LAST_STAGE = 2, 5  # as the paper's table 1 numbers them: conv2_x to conv5_x


class Blocks(nn.Module):
    """One stage: `count` residual blocks, the first of which halves the map but in stage 2.

    Args:
        c2: inner width; a BottleNeck's output is four times as wide.
        block: "BasicBlock" or "BottleNeck", a bare word in the row. stage: 2 to 5.
        act: an activation by name. variant: "d" averages before a shortcut that halves, and all
            but "a" halve in a BottleNeck's 3x3 convolution.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        block: str,
        count: int,
        stage: int,
        act: str | None = "relu",
        variant: str = "d",
    ) -> None:
        super().__init__()
        if block not in KINDS:
            raise ValueError(f"there is no kind of block {block!r}; {nearest(str(block), KINDS)}")
        if variant not in VARIANTS:
            raise ValueError(f"there is no variant {variant!r}; {nearest(str(variant), VARIANTS)}")
        if stage not in range(FIRST_STAGE, LAST_STAGE + 1):
            raise ValueError(f"the stage is {stage!r}, not a number from 2 to 5")
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"the number of blocks is {count!r}, not 1 or more")
        kind = KINDS[block]
        first = kind(c1, c2, 1 if stage == FIRST_STAGE else 2, False, act, variant)
        rest = (kind(c2 * kind.expansion, c2, 1, True, act, variant) for _ in range(count - 1))
        self.blocks = nn.ModuleList((first, *rest))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, h, w) -> (B, c2 * expansion, h / s, w / s)."""
        for block in self.blocks:
            x = block(x)
        return x
