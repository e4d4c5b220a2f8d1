"""Recurrent layers as a processor runs them, where shapes alone would take another path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LSTM_KIND = 2
"""What `mkldnn_rnn_layer` calls an LSTM (torch's cudnnRNNMode_t)."""


def has_one_kernel_per_layer(
    x: Tensor,
    state: Sequence[Tensor],
    weights: Any,
    biased: Any = None,
    layers: Any = None,
    dropout: Any = None,
    train: Any = False,
    *rest: Any,
) -> bool:
    """Whether a processor runs an `lstm` as one `mkldnn_rnn_layer` per layer and direction: in
    float32 (what narrower types take depends on the processor), without projections, of sequences
    of one length (torch's RNN.cpp, `use_mkldnn`)."""
    if not isinstance(weights, (list, tuple)) or (train and dropout):  # or packed
        return False
    given = (x, *state, *weights)
    sized = all(type(side) is int for tensor in given for side in tensor.shape)
    alike = {tensor.dtype for tensor in given} == {torch.float32}
    return sized and alike and x.numel() > 0 and state[0].shape[-1] == state[1].shape[-1]


def lstm_by_layer(
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor],
    biased: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`lstm` in the steps that torch takes on a processor (its mkldnn/RNN.cpp): output (T, B, D h),
    or (B, T, D h) where the batch is first, and the last states, (layers D, B, h), of D directions.
    """
    hidden, cells = (one.contiguous() for one in state)
    given = (x.transpose(0, 1) if batch_first else x).contiguous()
    directions, each = 1 + bidirectional, 4 if biased else 2
    last: list[tuple[Tensor, Tensor]] = []
    for _ in range(layers):
        made = []
        for direction in range(directions):
            index = len(last)
            own = list(weights[each * index : each * (index + 1)])
            if not biased:
                own += [torch.zeros(w.shape, dtype=w.dtype, device=w.device) for w in own]
            out, h, c, _ = torch.ops.aten.mkldnn_rnn_layer(
                given,
                *own,
                hidden[index],
                cells[index],
                reverse=direction == 1,
                batch_sizes=[],
                mode=LSTM_KIND,
                hidden_size=hidden.shape[-1],
                num_layers=layers,
                has_biases=biased,
                bidirectional=bidirectional,
                batch_first=batch_first,
                train=train,
            )
            made.append(out)
            last.append((h, c))
        given = made[0] if directions == 1 else torch.cat(made, -1)
    result = given.transpose(0, 1) if batch_first else given
    return result, torch.stack([h for h, _ in last]), torch.stack([c for _, c in last])
