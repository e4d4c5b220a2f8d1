"""The networks of the paper's tables 1 to 4. Each holds its own input, and ignores the images.

So whatever times a detector times them too; their maps have many channels, and images three.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.experiments.guidelines.paper import BLOCKS, SIDE, check_guideline

if TYPE_CHECKING:
    from detrbench.timing.process import Request


def build(rest: str, request: Request) -> nn.Module:
    """The network called `rest`, such as "G1/c1=32,c2=32", for the batch and seed of `request`.

    Raises:
        UsageError: no network is called so.
    """
    guideline, arguments = parse(rest)
    return make(guideline, arguments, request.batch, request.seed)


def make(guideline: str, arguments: Mapping[str, int], batch: int = 1, seed: int = 0) -> nn.Module:
    """A network of the experiments on `guideline`, with weights and input from `seed`."""
    block = NETWORKS[guideline]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        blocks = nn.Sequential(*(block(**arguments) for _ in range(BLOCKS)))
        return Stack(blocks, batch, next(iter(arguments.values())))


def parse(rest: str) -> tuple[str, dict[str, int]]:
    """Guideline and arguments of a name without its scheme.

    Raises:
        UsageError: no network is called so.
    """
    guideline, _, text = rest.partition("/")
    check_guideline(guideline)
    wanted = list(inspect.signature(NETWORKS[guideline]).parameters)
    pairs = [pair.partition("=") for pair in text.split(",")]
    if [key for key, _, _ in pairs] != wanted or not all(n.isdecimal() for *_, n in pairs):
        example = ",".join(f"{key}=1" for key in wanted)
        raise UsageError(f"{rest!r} is no network", hint=f"Write {guideline}/{example}.")
    return guideline, {key: int(number) for key, _, number in pairs}


class Stack(nn.Module):
    """Ten blocks in a row, and the map (B, c, 56, 56) that goes into the first of them."""

    def __init__(self, blocks: nn.Sequential, batch: int, c: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.register_buffer("input", torch.randn(batch, c, SIDE, SIDE))

    def forward(self, images: Tensor) -> Tensor:
        """Any images -> (B, c, 56, 56)."""
        out: Tensor = self.blocks(self.input)
        return out


class Widths(nn.Sequential):
    """Table 1: 1x1 convolutions from c1 to c2 channels and back."""

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__(convolution(c1, c2), convolution(c2, c1))


class Groups(nn.Sequential):
    """Table 2: a 1x1 convolution in groups."""

    def __init__(self, c: int, groups: int) -> None:
        super().__init__(convolution(c, c, groups=groups))


class Fragments(nn.Module):
    """Table 3: 1x1 convolutions in series, or side by side and added."""

    def __init__(self, c: int, fragments: int, parallel: int) -> None:
        super().__init__()
        self.fragments = nn.ModuleList(convolution(c, c) for _ in range(fragments))
        self.parallel = bool(parallel)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, h, w) -> the same."""
        if self.parallel:
            added: Tensor = reduce(add, [fragment(x) for fragment in self.fragments])
            return added
        for fragment in self.fragments:
            x = fragment(x)
        return x


class Bottleneck(nn.Module):
    """Table 4: 1x1, 3x3 and 1x1 convolution; ResNet's ReLUs and its shortcut, where asked for."""

    def __init__(self, c: int, relu: int, shortcut: int) -> None:
        super().__init__()
        inner, gain = c // 4, 2 if relu else 1
        self.squeeze = convolution(c, inner, gain=gain)
        self.middle = convolution(inner, inner, 3, gain=gain)
        self.expand = convolution(inner, c, gain=gain)
        # In place, as torchvision's ResNet has it.
        self.act = nn.ReLU(inplace=True) if relu else nn.Identity()
        self.shortcut = bool(shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, h, w) -> the same."""
        y = self.act(self.squeeze(x))
        y = self.expand(self.act(self.middle(y)))
        if self.shortcut:
            y += x
        out: Tensor = self.act(y)
        return out


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "G1": Widths,
    "G2": Groups,
    "G3": Fragments,
    "G4": Bottleneck,
}
"""Guideline -> the block of its experiments; its first argument is the width it reads."""


def convolution(c1: int, c2: int, k: int = 1, groups: int = 1, gain: float = 1) -> nn.Conv2d:
    """A convolution alone, which keeps the variance of its input: no value may run away in forty.

    Args:
        gain: of the variance; 2 makes up for a ReLU (He et al., arXiv 1502.01852).

    Raises:
        UsageError: the widths do not divide into the groups.
    """
    if min(c1, c2, groups) < 1 or c1 % groups or c2 % groups:
        raise UsageError(f"{c1} and {c2} channels do not divide into {groups} groups")
    layer = nn.Conv2d(c1, c2, k, 1, k // 2, groups=groups, bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(gain * groups / c1) / k)
    return layer
