"""Number formats of 16 bits on the processor, where torch's grid_sample needs some care."""

from __future__ import annotations

import pytest
import torch

from detrbench.models.nn.attention import DeformableAttention


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.02), (torch.bfloat16, 0.1)])
def test_deformable_attention_reads_the_right_elements(
    dtype: torch.dtype, tolerance: float
) -> None:
    """A stride of 256 channels times row 31 of 32 would not fit into 16 bits."""
    torch.manual_seed(0)
    attention = DeformableAttention(256, levels=1, heads=8, points=4)
    query, boxes = torch.randn(1, 50, 256), torch.rand(1, 50, 4)
    memory, sizes = torch.rand(1, 32 * 32, 256), [(32, 32)]
    with torch.inference_mode():
        expected = attention(query, boxes, memory, sizes)
        inputs = (each.to(dtype) for each in (query, boxes, memory))
        found = attention.to(dtype)(*inputs, sizes)
    worst = (found.float() - expected).abs().max() / expected.abs().max()
    assert worst < tolerance
