"""RT-DETR's decoder: pick queries from the maps, then refine their boxes layer by layer
(arXiv 2304.08069, section 4.3; Deformable DETR, arXiv 2010.04159; DINO, arXiv 2203.03605)."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench.models.nn.attention import DeformableAttention, Sizes, self_attention
from detrbench.models.nn.conv import batch_norm
from detrbench.models.nn.detections import Detections

ANCHOR_SIDE = 0.05  # side of the finest map's anchors, as a part of the image; doubles per level
ANCHOR_MARGIN = 0.01  # anchors nearer to 0 or 1 than this are never proposed
LOGIT_EPS = 1e-5
FORKS_ONLY = frozenset(("Blocks", "ConvNormLayer"))  # what Ultralytics itself has no block for
SCORE_PRIOR = 0.01  # probability that an untrained score head gives (arXiv 1708.02002, 3.3)


def inverse_sigmoid(x: Tensor) -> Tensor:
    """log(x / (1 - x)) for x in 0..1, finite at both ends. (`torch.logit(x, eps)` clips to
    eps..1 - eps, which differs by up to 1e-5 near the ends.)"""
    return x.clamp(min=LOGIT_EPS).div_((1 - x).clamp_(min=LOGIT_EPS)).log_()


def anchors(sizes: Sizes, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """One square box per cell of every map: logits (1, L, 4) and which are usable (1, L, 1), bool.

    L is the sum of h * w. Made anew in every forward, from the sizes alone: a stored copy would
    have to follow device, dtype and size, and must not outlive a fake or an inference tensor.
    """
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    boxes = []
    for level, (height, width) in enumerate(sizes):
        x = torch.arange(0.5, width, dtype=exact, device=device) / width
        y = torch.arange(0.5, height, dtype=exact, device=device) / height
        side = torch.full((1,), ANCHOR_SIDE * 2.0**level, dtype=exact, device=device)
        columns = (x[None], y[:, None], side[None], side[None])
        boxes.append(torch.stack([c.expand(height, width) for c in columns], -1).flatten(0, 1))
    box = torch.cat(boxes)[None]
    usable = ((box > ANCHOR_MARGIN) & (box < 1 - ANCHOR_MARGIN)).all(-1, keepdim=True)
    return box.logit_().masked_fill_(~usable, math.inf).to(dtype), usable


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, c1: int, inner: int, c2: int, depth: int) -> None:
        super().__init__()
        widths = [c1] + [inner] * (depth - 1) + [c2]
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu_(layer(x))
        y: Tensor = last(x)
        return y


class DecoderLayer(nn.Module):
    """Self-attention among the queries, deformable attention to the maps, feed-forward network;
    each added to its input and then normalised."""

    def __init__(self, width: int, levels: int, heads: int, points: int, inner: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn = DeformableAttention(width, levels, heads, points)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, inner)
        self.linear2 = nn.Linear(inner, width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self, query: Tensor, position: Tensor, boxes: Tensor, memory: Tensor, sizes: Sizes
    ) -> Tensor:
        """query and position (B, Q, C), boxes (B, Q, 4), memory (B, L, C) -> (B, Q, C)."""
        query = self.norm1(self_attention(self.self_attn, query, position).add_(query))
        read = self.cross_attn(query + position, boxes, memory, sizes)
        query = self.norm2(read.add_(query))
        hidden = F.relu_(self.linear1(query))
        y: Tensor = self.norm3(self.linear2(hidden).add_(query))
        return y


class Decoder(nn.Module):
    """The layers alone; their heads belong to `RTDETRDecoder`."""

    def __init__(self, layers: Sequence[DecoderLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


def _layers_run(eval_idx: float, ndl: int) -> int:
    """How many of `ndl` layers evaluation runs. Raises ValueError where that is not clear."""
    if eval_idx == -1 or (isinstance(eval_idx, float) and 0 <= eval_idx < 1):
        return ndl
    if eval_idx not in range(1, ndl):
        raise ValueError(
            f"{eval_idx!r} is neither a layer from 1 to {ndl - 1}, the last to run, nor a dropout "
            "such as 0.0"
        )
    return int(eval_idx) + 1


class RTDETRDecoder(nn.Module):
    """Maps to boxes and scores.

    Args:
        c1: widths of the maps, finest first; each map half the size of the one before.
        nc: classes; hd: width C; nq: queries, fewer where the maps have fewer cells.
        ndp: sampling points; nh: heads; ndl: layers; d_ffn: width of the feed-forward network.
        eval_idx: the last layer that evaluation runs, -1 for all; or a fraction, 0.0 to below 1:
            the dropout that others have in this place, which evaluation does not know.
        no_object: the embedding that only training reads knows one class more, as the forks have
            it: that is why their summaries print 256 parameters more, rtdetr-l 32,970,732.
    """

    def __init__(
        self,
        c1: Sequence[int],
        nc: int = 80,
        hd: int = 256,
        nq: int = 300,
        ndp: int = 4,
        nh: int = 8,
        ndl: int = 6,
        d_ffn: int = 1024,
        eval_idx: float = -1,
        *,
        no_object: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(c1, int):
            raise ValueError("RTDETRDecoder reads several rows: `from` must be a list")
        if hd % nh:
            raise ValueError(f"the width {hd} is not a multiple of {nh} heads")
        self.nc, self.nq = nc, nq
        self.layers_run = _layers_run(eval_idx, ndl)
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, hd, 1, bias=False), batch_norm(hd)) for c in c1
        )
        self.decoder = Decoder([DecoderLayer(hd, len(c1), nh, ndp, d_ffn) for _ in range(ndl)])
        # Only training reads this; it is kept so that checkpoints load strictly and count fully.
        self.denoising_class_embed = nn.Embedding(nc + no_object, hd)
        self.query_pos_head = MLP(4, 2 * hd, hd, depth=2)
        self.enc_output = nn.Sequential(nn.Linear(hd, hd), nn.LayerNorm(hd))
        self.enc_score_head = nn.Linear(hd, nc)
        self.enc_bbox_head = MLP(hd, hd, 4, depth=3)
        # In evaluation all box heads refine, but only the last score head speaks.
        self.dec_score_head = nn.ModuleList(nn.Linear(hd, nc) for _ in range(ndl))
        self.dec_bbox_head = nn.ModuleList(MLP(hd, hd, 4, depth=3) for _ in range(ndl))
        self._initialise()

    @staticmethod
    def told_by(blocks: Set[str], scale: str | None) -> dict[str, bool]:
        """A file with rows that only the forks know is read as the forks read it."""
        return {"no_object": not FORKS_ONLY.isdisjoint(blocks)}

    def _initialise(self) -> None:
        """Scores start at `SCORE_PRIOR`, boxes at their anchors."""
        prior = -math.log((1 - SCORE_PRIOR) / SCORE_PRIOR)
        for score_head in (self.enc_score_head, *self.dec_score_head):
            nn.init.constant_(score_head.bias, prior)
        for box_head in (self.enc_bbox_head, *self.dec_bbox_head):
            for tensor in box_head.layers[-1].parameters():
                nn.init.zeros_(tensor)

    def check_inputs(self, shapes: Sequence[torch.Size]) -> None:
        """Raises ValueError where a map is not half as large as the one before."""
        for finer, coarser in pairwise(shapes):
            if tuple(finer[2:]) != tuple(2 * side for side in coarser[2:]):
                raise ValueError(
                    "the decoder reads maps from fine to coarse, each half the size of the one "
                    "before (P3, P4, P5)"
                )

    def forward(self, maps: Sequence[Tensor], selected: Tensor | None = None) -> Detections:
        """maps: (B, c, h, w) each. selected: (B, Q) cells to use instead of the best ones."""
        return self.detect(maps, selected)[0]

    def detect(
        self, maps: Sequence[Tensor], selected: Tensor | None = None
    ) -> tuple[Detections, Tensor]:
        """What `forward` returns, and the cells it started from: (B, Q) int64, best first."""
        memory, sizes = self._flatten(maps)
        features, logits = self._propose(memory, sizes)
        if selected is None:  # a method of its own, as above: what is used up there is let go
            selected = self._best(features)

        index = selected[..., None]
        query = features.gather(1, index.expand(-1, -1, features.shape[2]))  # (B, Q, C)
        start = logits.expand(len(index), -1, -1).gather(1, index.expand(-1, -1, 4))
        boxes = self.enc_bbox_head(query).add_(start).sigmoid_()
        heads = zip(self.decoder.layers, self.dec_bbox_head, strict=True)
        for layer, box_head in list(heads)[: self.layers_run]:
            query = layer(query, self.query_pos_head(boxes), boxes, memory, sizes)
            boxes = box_head(query).add_(inverse_sigmoid(boxes)).sigmoid_()
        scores = self.dec_score_head[self.layers_run - 1](query).sigmoid_()
        return Detections(boxes, scores), selected

    def _flatten(self, maps: Sequence[Tensor]) -> tuple[Tensor, Sizes]:
        """The maps as one sequence (B, L, C), and their sizes."""
        projected = [project(m) for project, m in zip(self.input_proj, maps, strict=True)]
        sizes = [(m.shape[2], m.shape[3]) for m in projected]
        return torch.cat([m.flatten(2).transpose(1, 2) for m in projected], 1), sizes

    def _propose(self, memory: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor]:
        """Features (B, L, C) and anchor logits (1, L, 4) of every cell."""
        logits, usable = anchors(sizes, memory.dtype, memory.device)
        return self.enc_output(memory * usable), logits

    def _best(self, features: Tensor) -> Tensor:
        """The `nq` cells with the best class score: (B, Q)."""
        best: Tensor = self.enc_score_head(features).amax(-1)  # (B, L)
        return best.topk(min(self.nq, best.shape[1]), dim=1).indices
