"""Values for every tensor of a model, the same on every machine and torch version.

An integer hash of the tensor's name and the element's position, so that neither a random generator
nor a sine's last digit can differ. The scales keep signals of about unit size through deep models,
and nothing is left at a neutral value (zero bias, unit variance) that would hide a mistake.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor


def uniform(name: str, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Numbers in -1..1, float32, decided by the name alone."""
    x = torch.arange(math.prod(shape)) + zlib.crc32(name.encode())
    for _ in range(2):  # a 32-bit finaliser in 64-bit integers, which cannot overflow
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    x = x ^ (x >> 16)
    return ((x >> 8).to(torch.float32) / 2**23 - 1).reshape(shape)  # 24 bits: exact in float32


# Of the first few seeds, one with which no detector prefers the cells at the border of the image:
# those are all alike, so that queries chosen among them would compare nothing.
SEED = 4


def fill(state: Mapping[str, Tensor], seed: int = SEED) -> dict[str, Tensor]:
    """A state_dict of the same names and shapes, float32, full of deterministic values."""
    return {
        name: torch.tensor(1)
        if t.dim() == 0
        else _centre(name, t.shape) + _scale(name, t.shape) * uniform(f"{seed} {name}", t.shape)
        for name, t in state.items()
    }


def _scale(name: str, shape: torch.Size) -> float:
    if len(shape) == 1:
        return 0.3
    # Variance 1 / fan-in. More would let signals grow from block to block until attention sees
    # nothing but its largest input, and an error in the position embedding would go unnoticed.
    return math.sqrt(3 / math.prod(shape[1:]))


def _centre(name: str, shape: torch.Size) -> float:
    """1 for variances and for the weights of normalisations, 0 for the rest."""
    scales = name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight"))
    return 1.0 if scales else 0.0


def image(batch: int, height: int, width: int) -> Tensor:
    """(B, 3, H, W) in 0..1, float32: noise at three scales, so that places differ from each other
    also where a deep network looks at them. Sides must be multiples of 32."""
    total = torch.zeros(batch, 3, height, width)
    for cell in (1, 8, 32):
        noise = uniform(f"image {cell}", (batch, 3, height // cell, width // cell))
        total += noise.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    return total / 6 + 0.5
