"""YOLO's heads: every cell of every map says a box and scores, which is all an image gets before
boxes are chosen among them.

A box's sides lie at distances from the cell's centre, in cells, each the expectation over 16 bins
(generalized focal loss, arXiv 2006.04388, section 3.2). State_dict keys are those of published
weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence, Set

import torch
from torch import Tensor, nn

from detrbench.models.nn.attention import Sizes
from detrbench.models.nn.conv import Conv
from detrbench.models.nn.detections import Detections

BINS = 16
SIDES = 4
MOST_FOR_SCORES = 100  # channels that many classes ask for, at most

LIGHT_WITH = frozenset(("C3k2", "C2fCIB", "A2C2f"))
"""Blocks of the families since YOLOv10: a file that has one has depth-wise score branches."""


def cells(sizes: Sizes, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centres of all cells, in cells of their own map, and how large one is as a part of the image:
    both (2, A), x before y. Made anew in every forward, as `decoder.anchors` are."""
    centres, parts = [], []
    for height, width in sizes:
        x = torch.arange(0.5, width, dtype=dtype, device=device)
        y = torch.arange(0.5, height, dtype=dtype, device=device)
        grid = (x[None].expand(height, width), y[:, None].expand(height, width))
        centres.append(torch.stack(grid).flatten(1))
        one = torch.stack([torch.full_like(x[:1], 1 / width), torch.full_like(x[:1], 1 / height)])
        parts.append(one.expand(2, height * width))
    return torch.cat(centres, 1), torch.cat(parts, 1)


class DFL(nn.Module):
    """The expectation over bins: a convolution whose weights are the bins' own numbers, which are
    parameters that nobody trains."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(BINS, 1, 1, bias=False).requires_grad_(False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.arange(BINS, dtype=torch.float32).view(1, BINS, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4 * bins, A) -> (B, 4, A)."""
        batch, _, count = x.shape
        likely = x.view(batch, SIDES, BINS, count).transpose(1, 2).softmax(1)
        y: Tensor = self.conv(likely).view(batch, SIDES, count)
        return y


def _boxes(c1: int, inner: int) -> nn.Sequential:
    return nn.Sequential(
        Conv(c1, inner, 3), Conv(inner, inner, 3), nn.Conv2d(inner, SIDES * BINS, 1)
    )


def _scores(c1: int, inner: int, nc: int, light: bool) -> nn.Sequential:
    if not light:
        return nn.Sequential(Conv(c1, inner, 3), Conv(inner, inner, 3), nn.Conv2d(inner, nc, 1))
    return nn.Sequential(
        nn.Sequential(Conv(c1, c1, 3, g=c1), Conv(c1, inner)),
        nn.Sequential(Conv(inner, inner, 3, g=inner), Conv(inner, inner)),
        nn.Conv2d(inner, nc, 1),
    )


class Detect(nn.Module):
    """Maps to a box and scores per cell (A cells in all), before non-maximum suppression.

    Args:
        c1: widths of the maps, finest first. nc: classes.
        light: depth-wise score branches; see `LIGHT_WITH`.
    """

    detrbench_notes: tuple[str, ...] = (
        "non-maximum suppression (NMS) is not part of the figures: they end with a box and scores "
        "for every cell, which NMS has yet to choose from",
    )

    def __init__(self, c1: Sequence[int], nc: int = 80, *, light: bool = False) -> None:
        super().__init__()
        if isinstance(c1, int):
            raise ValueError(f"{type(self).__name__} reads several rows: `from` must be a list")
        for_boxes = max(BINS, c1[0] // 4, SIDES * BINS)
        for_scores = max(c1[0], min(nc, MOST_FOR_SCORES))
        self.cv2 = nn.ModuleList(_boxes(c, for_boxes) for c in c1)
        self.cv3 = nn.ModuleList(_scores(c, for_scores, nc, light) for c in c1)
        self.dfl = DFL()

    @staticmethod
    def told_by(blocks: Set[str], scale: str | None) -> dict[str, bool]:
        """See `LIGHT_WITH`."""
        return {"light": not LIGHT_WITH.isdisjoint(blocks)}

    def forward(self, maps: Sequence[Tensor]) -> Detections:
        """maps: (B, c, h, w) each."""
        return self._read(maps, self.cv2, self.cv3)

    def _read(self, maps: Sequence[Tensor], boxes: nn.Module, scores: nn.Module) -> Detections:
        sides, scored = _side_by_side(maps, boxes), _side_by_side(maps, scores)
        sizes = [(m.shape[2], m.shape[3]) for m in maps]
        centres, parts = cells(sizes, sides.dtype, sides.device)
        before, behind = self.dfl(sides).chunk(2, 1)  # (B, 2, A): left and up, then the rest
        first, last = centres - before, centres + behind
        box = torch.cat(((first + last) / 2 * parts, (last - first) * parts), 1)
        return Detections(box.transpose(1, 2), scored.sigmoid().transpose(1, 2))


def _side_by_side(maps: Sequence[Tensor], branches: nn.Module) -> Tensor:
    """What each map's branch says of its cells: (B, C, A)."""
    said = [branch(m) for branch, m in zip(branches.children(), maps, strict=True)]
    return torch.cat([each.flatten(2) for each in said], 2)


class v10Detect(Detect):
    """YOLOv10's head (arXiv 2405.14458, section 3.1): trained twice, one-to-many as `Detect`, and
    one-to-one, which gives each object one box. Only the latter speaks, yet both run, as where the
    models are from, until `fuse` drops the former."""

    detrbench_notes = (
        "it needs no non-maximum suppression (NMS); the one-to-many head, which only training "
        "reads, runs and counts until --fuse drops it",
    )

    def __init__(self, c1: Sequence[int], nc: int = 80) -> None:
        super().__init__(c1, nc, light=True)
        self.one2one_cv2 = copy.deepcopy(self.cv2)
        self.one2one_cv3 = copy.deepcopy(self.cv3)

    @staticmethod
    def told_by(blocks: Set[str], scale: str | None) -> dict[str, bool]:
        """Nothing: its score branches are always depth-wise."""
        return {}

    def forward(self, maps: Sequence[Tensor]) -> Detections:
        if hasattr(self, "cv2"):
            for branches in (self.cv2, self.cv3):
                _side_by_side(maps, branches)
        return self._read(maps, self.one2one_cv2, self.one2one_cv3)

    def fuse(self) -> None:
        """Drop the one-to-many head."""
        if hasattr(self, "cv2"):
            del self.cv2, self.cv3
