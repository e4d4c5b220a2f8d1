"""From raw detections to pixel boxes, on numbers one can follow."""

from __future__ import annotations

import torch

from detrbench.models.nn.detections import Detections, postprocess

DETECTIONS = Detections(
    boxes=torch.tensor([[[0.5, 0.5, 0.5, 0.25], [0.25, 0.5, 0.5, 1.0]]]),
    scores=torch.tensor([[[0.1, 0.9, 0.3], [0.8, 0.2, 0.4]]]),
)


def test_best_pairs_in_pixels() -> None:
    found = postprocess(DETECTIONS, (100, 200), top_k=3)
    assert found.labels.tolist() == [[1, 0, 2]]
    torch.testing.assert_close(found.scores, torch.tensor([[0.9, 0.8, 0.4]]))
    first, second = [50.0, 37.5, 150.0, 62.5], [0.0, 0.0, 100.0, 100.0]
    torch.testing.assert_close(found.boxes, torch.tensor([[first, second, second]]))


def test_fewer_pairs_than_asked_for() -> None:
    assert postprocess(DETECTIONS, (100, 100)).labels.shape == (1, 6)


def test_what_is_under_the_threshold_has_no_label() -> None:
    found = postprocess(DETECTIONS, (100, 100), top_k=4, threshold=0.4)
    assert found.labels.tolist() == [[1, 0, 2, -1]]


def test_images_of_a_batch_are_chosen_apart() -> None:
    boxes = torch.cat((DETECTIONS.boxes, DETECTIONS.boxes.flip(1)))
    scores = torch.cat((DETECTIONS.scores, DETECTIONS.scores.flip(1)))
    found = postprocess(Detections(boxes, scores), (64, 64))
    assert torch.equal(found.labels[0], found.labels[1])
    assert torch.equal(found.boxes[0], found.boxes[1])
