"""A block beside what one computes by hand: what that is, and how it is made and run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from detrbench.models.nn import resolve


@dataclass(frozen=True)
class Fixture:
    """`block(c1, *args, **options)` on `inputs`; sums are written out as one does them on paper."""

    block: str
    args: tuple[Any, ...]
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    params: int
    macs: int
    listed: bool = False
    options: tuple[tuple[str, int], ...] = ()
    unfolded: int = 0
    """Normalisations that follow no convolution: `fuse` leaves them."""


def make(fixture: Fixture) -> nn.Module:
    widths = tuple(shape[1] for shape in fixture.inputs)
    c1: Any = widths if fixture.listed else widths[0]
    block = resolve(fixture.block)
    return block(c1, *fixture.args, **dict(fixture.options)).eval()  # type: ignore[operator]


def run(module: nn.Module, inputs: list[Tensor], listed: bool) -> Tensor:
    with torch.no_grad():
        output: Tensor = module(inputs if listed else inputs[0])
    return output
