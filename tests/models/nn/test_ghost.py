"""The worked example of CONTRIBUTING.md."""

import torch

from detrbench import trace
from detrbench.models.nn.ghost import GhostConv


def test_ghost_counts_by_hand() -> None:
    block = GhostConv(16, 32).eval()
    traced = trace(block, imgsz=8, channels=16)
    assert traced.params == (16 * 16 + 2 * 16) + (16 * 25 + 2 * 16)  # weights, BN weight and bias
    assert traced.macs == 8 * 8 * (16 * 16 + 16 * 25)
    assert block(torch.rand(1, 16, 8, 8)).shape == (1, 32, 8, 8)
