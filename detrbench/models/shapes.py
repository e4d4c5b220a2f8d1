"""Running operators on shapes without values, faster than the library does by itself.

The library's own shape functions are written in Python for many operators. They import the
compiler and a symbolic algebra system (a second or two) before they say that an output is like its
input, and some say what no real kernel does. The rules here cover what detectors use; each answers
NotImplemented when it is not sure, and then the library decides, or complains, in its own words.
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

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

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
    """Run one ATen operator, by rule if all its tensors have shapes only."""
    rule = _RULES.get(func)
    if rule is None or not _has_no_values(args, kwargs):
        return func(*args, **kwargs)
    result = rule(*args, **kwargs)
    return func(*args, **kwargs) if result is NotImplemented else result


def _has_no_values(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether every tensor is on `meta` or fake; where none goes in, whether `meta` is asked for.

    A rule must never stand in for an operator whose result somebody can read.
    """
    items = (item for arg in args for item in (arg if isinstance(arg, (list, tuple)) else (arg,)))
    tensors = [item for item in items if isinstance(item, Tensor)]
    if not tensors:
        device = kwargs.get("device")
        return device is not None and torch.device(device).type == "meta"
    return all(t.is_meta or type(t).__name__ == "FakeTensor" for t in tensors)


# --- making tensors ----------------------------------------------------------------------------


def _new(x: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """A contiguous tensor on x's device; the other factories detour through Python on `meta`."""
    return torch.empty(shape, dtype=dtype or x.dtype, device=x.device)


def _arange(*bounds: float, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
    start, end, step = {1: (0, *bounds, 1), 2: (*bounds, 1), 3: bounds}[len(bounds)]
    whole = all(isinstance(bound, int) for bound in bounds)
    dtype = dtype or (torch.int64 if whole else torch.get_default_dtype())
    return torch.empty(max(0, ceil((end - start) / step)), dtype=dtype, device=device)


def _filled(shape: Sequence[int], *, dtype: Any = None, device: Any = None, **options: Any) -> Any:
    return torch.empty(tuple(shape), dtype=dtype, device=device)


def _filled_like(x: Tensor, *, dtype: Any = None, device: Any = None, **options: Any) -> Any:
    plain = x.is_contiguous() and (device is None or torch.device(device) == x.device)
    return _new(x, *x.shape, dtype=dtype) if plain else NotImplemented


def _full(
    shape: Sequence[int], value: Any, *, dtype: Any = None, device: Any = None, **_: Any
) -> Any:
    known = dtype is not None or isinstance(value, float)
    return torch.empty(tuple(shape), dtype=dtype, device=device) if known else NotImplemented


# --- element by element ------------------------------------------------------------------------


def _same(x: Tensor, *options: Any, **more: Any) -> Tensor:
    """In place: the caller gets back what it gave."""
    return x


def _like(x: Tensor, *options: Any, **more: Any) -> Any:
    plain = x.is_contiguous() and not any(isinstance(o, Tensor) for o in options)
    return _new(x, *x.shape) if plain else NotImplemented


def _float_like(x: Tensor, *options: Any, **more: Any) -> Any:
    return _like(x) if x.is_floating_point() else NotImplemented


def _arithmetic(x: Tensor, y: Any, *others: Any, **scales: Any) -> Any:
    """Tensors and numbers, broadcast; the dtype is what the library promotes them to."""
    tensors = [t for t in (x, y, *others) if isinstance(t, Tensor)]
    dtype = torch.result_type(x, y)
    for other in others:
        dtype = torch.promote_types(dtype, other.dtype)
    shape = _broadcast([t.shape for t in tensors])
    if shape is None:  # they do not fit: the library says it better
        return NotImplemented
    if all(map(_in_order, tensors)):
        return _new(x, *shape, dtype=dtype)
    leader = tensors[0]
    dense = list(leader.shape) == shape and all(leader.stride())
    return _laid_out_like(leader, dtype) if dense else NotImplemented


def _laid_out_like(x: Tensor, dtype: torch.dtype) -> Tensor:
    """A dense tensor whose dimensions lie in memory in the order of x's."""
    strides = x.stride()
    order = sorted(range(x.dim()), key=lambda d: -strides[d])
    return _new(x, *(x.shape[d] for d in order), dtype=dtype).permute(
        *sorted(range(x.dim()), key=lambda d: order.index(d))
    )


def _broadcast(shapes: Sequence[Sequence[int]]) -> list[int] | None:
    """The common shape, or None (torch.broadcast_shapes imports the symbolic algebra system)."""
    longest = max(map(len, shapes))
    aligned = [(1,) * (longest - len(shape)) + tuple(shape) for shape in shapes]
    sides = [{size for size in column if size != 1} for column in zip(*aligned, strict=True)]
    return [max(s, default=1) for s in sides] if all(len(s) < 2 for s in sides) else None


def _division(x: Tensor, y: Any, **more: Any) -> Any:
    quotient = _arithmetic(x, y) if not more else NotImplemented
    if quotient is NotImplemented or quotient.is_floating_point():
        return quotient
    return _new(x, *quotient.shape, dtype=torch.get_default_dtype())


def _in_order(x: Tensor) -> bool:
    """Whether memory follows the order of the dimensions, so that results come out contiguous."""
    strides = [st for size, st in zip(x.shape, x.stride(), strict=True) if size > 1 and st > 0]
    return strides == sorted(strides, reverse=True)


def _power(base: Any, exponent: Tensor) -> Any:
    return _float_like(exponent)


def _comparison(x: Tensor, y: Any) -> Any:
    return _new(x, *x.shape, dtype=torch.bool) if x.is_contiguous() else NotImplemented


# --- convolutions, products, normalisation -----------------------------------------------------


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
    return _new(x, x.shape[0], weight.shape[0], *out) if min(out) > 0 else NotImplemented


def _at(values: Sequence[int], i: int) -> int:
    return values[i] if len(values) > 1 else values[0]


def _addmm(bias: Tensor, a: Tensor, b: Tensor, **scales: Any) -> Any:
    return _product(a, b)


def _product(a: Tensor, b: Tensor) -> Any:
    """(n, k) x (k, m), or batches of them."""
    if a.dim() != b.dim() or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        return NotImplemented
    return _new(a, *a.shape[:-1], b.shape[-1])


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any
) -> Any:
    """Saved statistics come back in training only; the library's own shape function errs there."""
    if mean is None or mean.shape[0] != x.shape[1] or not x.is_contiguous():
        return NotImplemented
    saved = x.shape[1] if training else 0
    return _new(x, *x.shape), _new(x, saved), _new(x, saved)


def _layer_norm(x: Tensor, normalized: Sequence[int], *rest: Any) -> Any:
    if tuple(x.shape[x.dim() - len(normalized) :]) != tuple(normalized):
        return NotImplemented
    rows = x.shape[: x.dim() - len(normalized)] + (1,) * len(normalized)
    return _new(x, *x.shape), _new(x, *rows), _new(x, *rows)


def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Any:
    return NotImplemented if half_to_float else _float_like(x)


# --- moving, choosing, reducing ----------------------------------------------------------------


def _has_axis(x: Tensor, dim: int) -> bool:
    """Not so for a scalar, which the library lets pass as a row of one."""
    return -x.dim() <= dim < x.dim()


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    first = tensors[0]
    if not _has_axis(first, dim):
        return NotImplemented
    dim %= first.dim()
    around = {(t.dtype, t.dim(), t.shape[:dim], t.shape[dim + 1 :]) for t in tensors}
    channels_last = first.dim() > 3 and not all(map(_in_order, tensors))
    if len(around) != 1 or channels_last:
        return NotImplemented
    along = sum(t.shape[dim] for t in tensors)
    return _new(first, *first.shape[:dim], along, *first.shape[dim + 1 :])


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    first = tensors[0]
    rank = first.dim() + 1
    if len({(t.dtype, t.shape) for t in tensors}) != 1 or not -rank <= dim < rank:
        return NotImplemented
    dim %= rank
    return _new(first, *first.shape[:dim], len(tensors), *first.shape[dim:])


def _clone(x: Tensor, *, memory_format: Any = None) -> Any:
    contiguous = memory_format is torch.contiguous_format or x.is_contiguous()
    return _new(x, *x.shape) if contiguous else NotImplemented


def _pad(x: Tensor, pads: Sequence[int], value: Any = 0) -> Any:
    shape = list(x.shape)
    for side in range(len(pads) // 2):
        shape[-1 - side] += pads[2 * side] + pads[2 * side + 1]
    return _new(x, *shape) if x.is_contiguous() else NotImplemented


def _upsample(x: Tensor, size: Sequence[int], *scales: Any) -> Any:
    return _new(x, *x.shape[:2], *size) if x.is_contiguous() else NotImplemented


def _grid_sample(x: Tensor, grid: Tensor, *modes: Any) -> Any:
    if x.dim() != 4 or grid.dim() != 4 or x.shape[0] != grid.shape[0]:
        return NotImplemented
    return _new(x, *x.shape[:2], *grid.shape[1:3])


def _max_pool(
    x: Tensor,
    window: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Any:
    if x.dim() != 4 or not x.is_contiguous():
        return NotImplemented
    out = [
        _pooled(size, _at(window, i), _at(stride or window, i), _at(padding, i), _at(dilation, i),
                ceil_mode)
        for i, size in enumerate(x.shape[2:])
    ]  # fmt: skip
    if min(out) < 1:
        return NotImplemented
    return _new(x, *x.shape[:2], *out), _new(x, *x.shape[:2], *out, dtype=torch.int64)


def _pooled(size: int, window: int, stride: int, padding: int, dilation: int, ceiled: bool) -> int:
    """Windows that fit; rounded up, the last must still begin inside the image or left padding."""
    room = size + 2 * padding - dilation * (window - 1) - 1
    if not ceiled:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def _reduced(x: Tensor, dims: Any = (), keepdim: bool = False, **options: Any) -> Any:
    axes = [dims] if isinstance(dims, int) else dims or ()
    if options.get("dtype") is not None or not axes or not all(_has_axis(x, d) for d in axes):
        return NotImplemented
    gone = {d % x.dim() for d in axes}
    kept = [(1 if i in gone else n) for i, n in enumerate(x.shape) if keepdim or i not in gone]
    return _new(x, *kept)


def _float_reduced(x: Tensor, dims: Any, keepdim: bool = False, **options: Any) -> Any:
    return _reduced(x, dims, keepdim, **options) if x.is_floating_point() else NotImplemented


def _all(x: Tensor, dim: int, keepdim: bool = False) -> Any:
    return _reduced(x, dim, keepdim) if x.dtype == torch.bool else NotImplemented


def _topk(x: Tensor, k: int, dim: int = -1, *order: Any) -> Any:
    if not _has_axis(x, dim) or k > x.shape[dim]:
        return NotImplemented
    dim %= x.dim()
    shape = (*x.shape[:dim], k, *x.shape[dim + 1 :])
    return _new(x, *shape), _new(x, *shape, dtype=torch.int64)


def _gather(x: Tensor, dim: int, index: Tensor, **options: Any) -> Tensor:
    return _new(x, *index.shape)


_RULES: Mapping[Any, Callable[..., Any]] = {
    overload: rule
    for rule, overloads in (
        (
            _same,
            (
                aten.relu_.default, aten.silu_.default, aten.sigmoid_.default, aten.clamp_.default,
                aten.log_.default, aten.logit_.default, aten.add_.Tensor, aten.sub_.Tensor,
                aten.mul_.Tensor, aten.div_.Tensor, aten.masked_fill_.Scalar, aten.fill_.Scalar,
                aten.zero_.default, aten.uniform_.default, aten.normal_.default,
                aten.hardtanh_.default,
            ),
        ),
        (
            _like,
            (
                aten.relu.default, aten.clamp.default, aten.bitwise_not.default, aten.abs.default,
            ),
        ),
        (
            _float_like,
            (
                aten.silu.default, aten.gelu.default, aten.sigmoid.default, aten.log.default,
                aten.exp.default, aten.sin.default, aten.cos.default, aten.sqrt.default,
                aten.reciprocal.default, aten.rsqrt.default, aten.rsub.Scalar, aten.logit.default,
            ),
        ),
        (
            _arithmetic,
            (
                aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.addcmul.default,
                aten.bitwise_and.Tensor,
            ),
        ),
        (_division, (aten.div.Tensor,)),
        (_power, (aten.pow.Scalar,)),
        (_comparison, (aten.gt.Scalar, aten.lt.Scalar, aten.ge.Scalar, aten.le.Scalar)),
        (_arange, (aten.arange.default, aten.arange.start, aten.arange.start_step)),
        (_filled, (aten.zeros.default, aten.ones.default)),
        (_filled_like, (aten.zeros_like.default, aten.ones_like.default, aten.empty_like.default)),
        (_full, (aten.full.default,)),
        (_convolution, (aten.convolution.default,)),
        (_addmm, (aten.addmm.default,)),
        (_product, (aten.mm.default, aten.bmm.default)),
        (_batch_norm, (aten.native_batch_norm.default,)),
        (_layer_norm, (aten.native_layer_norm.default,)),
        (_softmax, (aten._softmax.default,)),
        (_cat, (aten.cat.default,)),
        (_stack, (aten.stack.default,)),
        (_clone, (aten.clone.default,)),
        (_pad, (aten.constant_pad_nd.default,)),
        (_upsample, (aten.upsample_nearest2d.default,)),
        (_grid_sample, (aten.grid_sampler_2d.default,)),
        (_max_pool, (aten.max_pool2d_with_indices.default,)),
        (_reduced, (aten.amax.default,)),
        (_all, (aten.all.dim,)),
        (_float_reduced, (aten.sum.dim_IntList, aten.mean.dim)),
        (_topk, (aten.topk.default,)),
        (_gather, (aten.gather.default,)),
        (lambda x, shape: x.view(*shape), (aten._unsafe_view.default,)),
    )
    for overload in overloads
}  # fmt: skip
