"""A detector in miniature: it picks queries by score, and takes them from others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detrbench.models.nn.detections import Detections


class SmallDetector(nn.Module):
    """Reads cells of one convolution's map; `swap` exchanges its first two queries.

    Args:
        flaw: added to the boxes of `detect`, the pass that runtimes execute, but not of `forward`.
    """

    selects_queries = True

    def __init__(self, queries: int = 4, *, swap: bool = False, flaw: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 5, 1)
        self.queries, self.swap, self.flaw = queries, swap, flaw

    def forward(self, images: Tensor, selected: Tensor | None = None) -> Detections:
        cells = self.layer(images).flatten(2).transpose(1, 2)  # (B, H * W, 5)
        chosen = self._pick(cells) if selected is None else selected
        found = cells.gather(1, chosen[..., None].expand(-1, -1, 5)).sigmoid()
        return Detections(found[..., :4], found[..., 4:])

    def select_queries(self, images: Tensor) -> Tensor:
        return self._pick(self.layer(images).flatten(2).transpose(1, 2))

    def detect(self, images: Tensor) -> tuple[Detections, Tensor]:
        selected = self.select_queries(images)
        if self.swap:
            selected = torch.cat((selected[:, 1:2], selected[:, :1], selected[:, 2:]), 1)
        boxes, scores = self(images, selected)
        return Detections(boxes + self.flaw, scores), selected

    def _pick(self, cells: Tensor) -> Tensor:
        return cells[..., 4].topk(self.queries, dim=1).indices
