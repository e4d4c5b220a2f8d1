"""Which of torch's attention and encoder layers run as one kernel when nothing is to be learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
ENCODER = ("src", "src_mask", "src_key_padding_mask")
"""What the two layers are given, in order."""


def takes_fast_path(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether this call runs as one `_native_multi_head_attention`, or one
    `_transformer_encoder_layer_fwd` (the conditions in torch's modules activation.py and
    transformer.py, those of the caller's own switches aside)."""
    if torch.is_autocast_enabled() or module.training:
        return False
    if type(module).forward is nn.MultiheadAttention.forward:
        given = dict(zip(ATTENTION, args, strict=False)) | {**kwargs}
        return _attends_whole(module, given)
    if type(module).forward is nn.TransformerEncoderLayer.forward:
        given = dict(zip(ENCODER, args, strict=False)) | {**kwargs}
        return _encodes_whole(module, given)
    return False


def _fits(attention: Any, x: Any) -> bool:
    batched = isinstance(x, Tensor) and x.dim() == 3 and not x.is_nested
    even = attention.num_heads % 2 == 0
    return batched and even and attention.batch_first and attention._qkv_same_embed_dim


def _attends_whole(attention: Any, given: Mapping[str, Any]) -> bool:
    query = given["query"]
    masks = [given.get("attn_mask"), given.get("key_padding_mask")]
    plain = attention.bias_k is None and attention.bias_v is None and not attention.add_zero_attn
    return (
        _fits(attention, query)
        and query is given["key"] is given["value"]
        and plain
        and attention.in_proj_weight.dtype == query.dtype
        and not any(mask is not None and mask.is_floating_point() for mask in masks)
    )


def _encodes_whole(layer: Any, given: Mapping[str, Any]) -> bool:
    both = given.get("src_mask") is not None and given.get("src_key_padding_mask") is not None
    return (
        _fits(layer.self_attn, given["src"])
        and layer.self_attn.in_proj_bias is not None
        and bool(layer.activation_relu_or_gelu)
        and layer.norm1.eps == layer.norm2.eps
        and not both
    )
