"""Upsampling by learned places to read (DySample, arXiv 2308.15085, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STYLES = ("lp", "pl")
STATIC, DYNAMIC = 0.25, 0.5  # how far a place may move, in cells, without and with a learned scope


class DySample(nn.Module):
    """Each of scale^2 new cells reads its map at a place of its own, bilinearly.

    Args:
        style: "lp" derives places from the map, then shuffles them into pixels; "pl" the reverse.
        groups: of channels that share their places. dyscope: learn how far a place may move.
    """

    def __init__(
        self, c1: int, scale: int = 2, style: str = "lp", groups: int = 4, dyscope: bool = False
    ) -> None:
        super().__init__()
        if style not in STYLES:
            raise ValueError(f"there is no style {style!r}; known: {', '.join(STYLES)}.")
        each = scale**2
        if c1 % groups or (style == "pl" and c1 % each):
            raise ValueError(f"{c1} channels cannot be split into {groups} groups")
        self.scale, self.style, self.groups = scale, style, groups
        width, places = (c1, each) if style == "lp" else (c1 // each, 1)
        self.offset = nn.Conv2d(width, 2 * groups * places, 1)
        self.scope = nn.Conv2d(width, 2 * groups * places, 1, bias=False) if dyscope else None
        nn.init.normal_(self.offset.weight, std=0.001)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]
        if self.scope is not None:
            nn.init.zeros_(self.scope.weight)
        self.register_buffer("init_pos", self._middles(), persistent=True)
        self.init_pos: Tensor

    def _middles(self) -> Tensor:
        """Where the new cells' middles lie from an old one's, x of all groups before y:
        (1, 2 * groups * scale^2, 1, 1)."""
        steps = torch.arange((1 - self.scale) / 2, (self.scale - 1) / 2 + 1) / self.scale
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        both = torch.stack((x, y)).flatten(1)[:, None].expand(-1, self.groups, -1)
        return both.reshape(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, scale h, scale w)."""
        moved = self._moved(x) if self.style == "lp" else self._moved_pixels(x)
        batch, channels, height, width = x.shape
        offset = (moved + self.init_pos).view(batch, 2, -1, height, width)
        rows = torch.arange(0.5, height, dtype=x.dtype, device=x.device)
        columns = torch.arange(0.5, width, dtype=x.dtype, device=x.device)
        cells = torch.stack(torch.meshgrid(columns, rows, indexing="ij")).transpose(1, 2)
        size = x.new_tensor((width, height)).view(1, 2, 1, 1, 1)
        places = 2 * (cells[None, :, None] + offset) / size - 1
        pixels = F.pixel_shuffle(places.view(batch, -1, height, width), self.scale)
        grid = pixels.view(batch, 2, self.groups, *pixels.shape[2:]).permute(0, 2, 3, 4, 1)
        read = F.grid_sample(
            x.reshape(batch * self.groups, -1, height, width),
            grid.flatten(0, 1),
            padding_mode="border",
            align_corners=False,
        )
        return read.view(batch, channels, *read.shape[2:])

    def _moved(self, x: Tensor) -> Tensor:
        moved: Tensor = self.offset(x)
        if self.scope is None:
            return moved * STATIC
        scope: Tensor = self.scope(x)
        return moved * scope.sigmoid() * DYNAMIC

    def _moved_pixels(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(self._moved(F.pixel_shuffle(x, self.scale)), self.scale)
