"""Which attention layers are said to run as one kernel: those for which torch really does it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from detrbench import profile, trace
from detrbench.models.fast_path import takes_fast_path

ATTENTION = "aten::_native_multi_head_attention"
ENCODER = "aten::_transformer_encoder_layer_fwd"

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "encoder": lambda: nn.TransformerEncoderLayer(8, 2, 8, batch_first=True),
    "encoder, norm first": lambda: nn.TransformerEncoderLayer(8, 2, 8, 0.0, norm_first=True),
    "encoder, odd heads": lambda: nn.TransformerEncoderLayer(9, 3, 8, batch_first=True),
    "encoder, no bias": lambda: nn.TransformerEncoderLayer(8, 2, 8, batch_first=True, bias=False),
    "encoder, silu": lambda: nn.TransformerEncoderLayer(
        8, 2, 8, activation=nn.functional.silu, batch_first=True
    ),
    "attention": lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    "attention, sequence first": lambda: nn.MultiheadAttention(8, 2),
    "attention, zero key": lambda: nn.MultiheadAttention(
        8, 2, batch_first=True, add_zero_attn=True
    ),
    "attention, widths": lambda: nn.MultiheadAttention(8, 2, kdim=8, vdim=8, batch_first=True),
    "a linear layer": lambda: nn.Linear(8, 8),
}


@pytest.mark.parametrize("name", LAYERS)
def test_torch_takes_it_where_it_is_said(name: str) -> None:
    layer = LAYERS[name]().eval()
    width = 9 if "odd" in name else 8
    x = torch.zeros(2, 3, width)
    args = (x, x, x) if isinstance(layer, nn.MultiheadAttention) else (x,)
    with torch.inference_mode(), torch.autograd.profiler.profile() as seen:
        layer(*args)
    names = {event.name for event in seen.function_events or ()}
    whole = ATTENTION if isinstance(layer, nn.MultiheadAttention) else ENCODER
    assert takes_fast_path(layer, args, {}) == (whole in names)


def test_other_keys_and_float_masks_are_for_the_slow_path() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x, mask = torch.zeros(2, 3, 8), torch.zeros(3, 3)
    assert takes_fast_path(layer, (x,), {"key": x, "value": x})
    assert not takes_fast_path(layer, (x, x + 1, x), {})
    assert not takes_fast_path(layer, (x, x, x), {"attn_mask": mask})
    assert not takes_fast_path(layer.train(), (x, x, x), {})


def test_the_row_names_the_layers() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
            self.slow = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            x: Tensor = self.encoder(images.flatten(1, 2))
            out: Tensor = self.slow(x, x + 1, x)[0]
            return out

    assert trace(Two(), 8).fast == ("encoder",)
    (note,) = profile([Two()], imgsz=8).rows[0].notes
    assert "torch runs encoder as one fused kernel" in note
