"""What a detector says of an image, and the stage that turns it into pixel boxes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Detections(NamedTuple):
    """The raw output, for every query: boxes (B, Q, 4), centre x, centre y, width, height as parts
    of the image's size; scores (B, Q, nc), after the sigmoid."""

    boxes: Tensor
    scores: Tensor


class Predictions(NamedTuple):
    """The best (query, class) pairs, best first; K = min(top_k, Q * nc). labels: (B, K) int64, -1
    where the score is under the threshold. scores: (B, K). boxes: (B, K, 4), left, top, right,
    bottom in pixels."""

    labels: Tensor
    scores: Tensor
    boxes: Tensor


def postprocess(
    detections: Detections, image_hw: tuple[int, int], *, top_k: int = 300, threshold: float = 0.0
) -> Predictions:
    """Pick the `top_k` best (query, class) pairs of each image and scale their boxes to pixels.

    A box may appear once per class, as in the DETR family's evaluation. Shapes do not depend on
    the values: what is under `threshold` stays in place with the label -1.
    """
    boxes, scores = detections
    classes = scores.shape[-1]
    pairs = scores.flatten(1)  # (B, Q * nc)
    best, index = pairs.topk(min(top_k, pairs.shape[1]), dim=1)
    labels = torch.where(best >= threshold, index % classes, -1)

    chosen = boxes.gather(1, (index // classes)[..., None].expand(-1, -1, 4))
    centre, size = chosen[..., :2], chosen[..., 2:]
    corners = torch.cat((centre - size / 2, centre + size / 2), -1)
    height, width = image_hw
    pixels = corners * corners.new_tensor((width, height, width, height))
    return Predictions(labels, best, pixels)
