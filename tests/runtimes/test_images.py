from __future__ import annotations

import torch

from detrbench.runtimes.images import natural_images


def test_images_are_the_same_for_the_same_seed_and_lie_in_0_to_1() -> None:
    images = natural_images(2, 48, 64, seed=3)
    assert images.shape == (2, 3, 48, 64)
    assert images.dtype == torch.float32
    assert torch.equal(images, natural_images(2, 48, 64, seed=3))
    assert not torch.equal(images, natural_images(2, 48, 64, seed=4))
    assert 0.0 <= images.min() < 0.2
    assert 0.7 < images.max() <= 1.0


def test_images_of_a_batch_differ() -> None:
    first, second = natural_images(2, 32, 32)
    assert not torch.equal(first, second)


def test_neighbouring_pixels_are_alike_as_in_photographs() -> None:
    """Neighbours correlate by more than 0.7; white noise would give 0."""
    image = natural_images(1, 128, 128)[0, 0]
    pair = torch.stack([image[:, 1:].flatten(), image[:, :-1].flatten()])
    assert torch.corrcoef(pair)[0, 1] > 0.7


def test_odd_sizes_and_single_pixels_work() -> None:
    assert natural_images(1, 33, 47).shape == (1, 3, 33, 47)
    assert torch.isfinite(natural_images(1, 1, 1)).all()
