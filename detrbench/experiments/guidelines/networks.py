"""The networks of the paper's tables 1 to 4, as callables: `G1_c1_32_c2_32_batch_1` builds one.

Each holds its own input, and ignores the images: whatever times a detector times them too, and
their maps have many channels, images three.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import add

import torch
from torch import Tensor, nn

from detrbench.core.errors import UsageError
from detrbench.experiments.guidelines.paper import BLOCKS, SIDE, check_guideline


def __getattr__(name: str) -> Callable[[], tuple[nn.Module, Tensor]]:
    """What builds the network called so; whether there is one is said when it is called."""
    if re.match(r"G\d", name) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(build, name)


def build(name: str) -> tuple[nn.Module, Tensor]:
    """The network called so, and images of its batch, which it ignores. Raises as `parse`."""
    guideline, arguments, batch = parse(name)
    return make(guideline, arguments, batch), torch.zeros(batch, 3, SIDE, SIDE)


def make(guideline: str, arguments: Mapping[str, int], batch: int = 1) -> nn.Module:
    """A network of the experiments on `guideline`; torch's generator draws weights and input."""
    block = NETWORKS[guideline]
    blocks = nn.Sequential(*(block(**arguments) for _ in range(BLOCKS)))
    return Stack(blocks, batch, next(iter(arguments.values())))


def parse(name: str) -> tuple[str, dict[str, int], int]:
    """Guideline, arguments and batch of a network by its name. Raises UsageError for none."""
    guideline, _, rest = name.partition("_")
    check_guideline(guideline)
    wanted = [*inspect.signature(NETWORKS[guideline]).parameters, "batch"]
    form = "_".join(rf"{key}_(\d{{1,9}})" for key in wanted)
    found = re.fullmatch(form, rest, re.ASCII)
    *sizes, batch = map(int, found.groups()) if found else (0,)
    if batch < 1:
        example = "_".join(f"{key}_1" for key in wanted)
        raise UsageError(f"{name!r} is no network", hint=f"Write {guideline}_{example}.")
    return guideline, dict(zip(wanted, sizes, strict=False)), batch


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
    """A convolution alone, which keeps the variance of its input: no value may run away in forty. A
    `gain` of 2 makes up for a ReLU (He et al., arXiv 1502.01852). Raises UsageError where the
    widths do not divide into the groups."""
    if min(c1, c2, groups) < 1 or c1 % groups or c2 % groups:
        raise UsageError(f"{c1} and {c2} channels do not divide into {groups} groups")
    layer = nn.Conv2d(c1, c2, k, 1, k // 2, groups=groups, bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(gain * groups / c1) / k)
    return layer
