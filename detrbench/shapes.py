"""Running operators on shapes without values, faster than the library does by itself.

The library's own shape functions are written in Python for many operators. They import the compiler and
a symbolic algebra system (a second or two) before they say that an output is like its input, and some
say what no real kernel does. The rules here cover what detectors use on plain, contiguous tensors; each
answers NotImplemented when it is not sure, and then the library decides, or complains, in its own words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class ShapesOnly(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Inside, calls on `meta` tensors cost next to nothing and import nothing."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: telling the compiler to stay out would import it, and nothing is compiled here."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return on_shapes(func, args, kwargs or {})


def on_shapes(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one ATen operator on tensors that have shapes only."""
    rule = _RULES.get(func)
    result = rule(*args, **kwargs) if rule else NotImplemented
    return func(*args, **kwargs) if result is NotImplemented else result


def _arange(*bounds: float, dtype: Any = None, device: Any = None, **options: Any) -> Any:
    start, end, step = {1: (0, *bounds, 1), 2: (*bounds, 1), 3: bounds}[len(bounds)]
    whole = all(isinstance(bound, int) for bound in bounds)
    dtype = dtype or (torch.int64 if whole else torch.get_default_dtype())
    return torch.empty(max(0, ceil((end - start) / step)), dtype=dtype, device=device)


def _broadcast(x: Tensor, y: Any, *scales: Any, **more: Any) -> Any:
    """Element-wise arithmetic of two plain tensors of one dtype, or of a tensor and a number."""
    if not x.is_contiguous():
        return NotImplemented
    if isinstance(y, Tensor):
        if x.dtype != y.dtype or x.device != y.device or not y.is_contiguous():
            return NotImplemented
        try:
            return x.new_empty(torch.broadcast_shapes(x.shape, y.shape))
        except RuntimeError:
            return NotImplemented
    keeps_dtype = x.is_floating_point() and isinstance(y, (int, float))
    return torch.empty_like(x) if keeps_dtype else NotImplemented


def _like(x: Tensor, *options: Any, **more: Any) -> Any:
    return NotImplemented if any(isinstance(o, Tensor) for o in options) else torch.empty_like(x)


def _float_like(x: Tensor) -> Any:
    return torch.empty_like(x) if x.is_floating_point() else NotImplemented


def _same(x: Tensor, *options: Any) -> Tensor:
    return x


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """floor((H + 2p - d(k - 1) - 1) / s) + 1 along each side."""
    sides, channels = x.shape[2:], weight.shape[1] * groups
    if transposed or x.dim() != weight.dim() or x.shape[1] != channels or not x.is_contiguous():
        return NotImplemented
    out = [
        (size + 2 * _at(padding, i) - _at(dilation, i) * (weight.shape[2 + i] - 1) - 1)
        // _at(stride, i)
        + 1
        for i, size in enumerate(sides)
    ]
    return x.new_empty(x.shape[0], weight.shape[0], *out) if min(out) > 0 else NotImplemented


def _at(values: Sequence[int], i: int) -> int:
    return values[i] if len(values) > 1 else values[0]


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    first = tensors[0]
    dim %= max(1, first.dim())
    around = {(t.dtype, t.dim(), t.shape[:dim], t.shape[dim + 1 :]) for t in tensors}
    if len(around) != 1 or not all(t.is_contiguous() for t in tensors):
        return NotImplemented
    along = sum(t.shape[dim] for t in tensors)
    return first.new_empty(*first.shape[:dim], along, *first.shape[dim + 1 :])


def _addmm(bias: Tensor, a: Tensor, b: Tensor, **scales: Any) -> Any:
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0]:
        return NotImplemented
    return a.new_empty(a.shape[0], b.shape[1])


def _batch_norm(x: Tensor, w: Any, b: Any, mean: Any, var: Any, training: bool, *rest: Any) -> Any:
    """Saved statistics come back in training only; the library's own shape function errs there."""
    if mean is None or mean.shape[0] != x.shape[1]:
        return NotImplemented
    saved = x.shape[1] if training else 0
    return torch.empty_like(x), x.new_empty(saved), x.new_empty(saved)


def _layer_norm(x: Tensor, normalized: Sequence[int], *rest: Any) -> Any:
    if tuple(x.shape[x.dim() - len(normalized) :]) != tuple(normalized):
        return NotImplemented
    rows = x.shape[: x.dim() - len(normalized)] + (1,) * len(normalized)
    return x.new_empty(x.shape), x.new_empty(rows), x.new_empty(rows)


def _grid_sample(x: Tensor, grid: Tensor, *modes: Any) -> Any:
    if x.dim() != 4 or grid.dim() != 4 or x.shape[0] != grid.shape[0]:
        return NotImplemented
    return x.new_empty(*x.shape[:2], *grid.shape[1:3])


_RULES: Mapping[Any, Callable[..., Any]] = {
    aten.relu.default: _like,
    aten.relu_.default: _same,
    aten.silu.default: _like,
    aten.silu_.default: _same,
    aten.clamp.default: _like,
    aten.clamp_.default: _same,
    aten.gelu.default: _like,
    aten.sigmoid.default: _float_like,
    aten.sigmoid_.default: _same,
    aten.log.default: _float_like,
    aten.add.Tensor: _broadcast,
    aten.sub.Tensor: _broadcast,
    aten.mul.Tensor: _broadcast,
    aten.div.Tensor: _broadcast,
    aten.arange.default: _arange,
    aten.arange.start: _arange,
    aten.arange.start_step: _arange,
    aten.convolution.default: _convolution,
    aten.cat.default: _cat,
    aten.addmm.default: _addmm,
    aten.native_batch_norm.default: _batch_norm,
    aten.native_layer_norm.default: _layer_norm,
    aten.grid_sampler_2d.default: _grid_sample,
}
