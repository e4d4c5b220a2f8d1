"""Running operators on shapes without values, faster than the library does by itself.

The library's own shape functions are written in Python for many operators. They import the
compiler and a symbolic algebra system (a second or two) before they say that an output is like its
input, and some say what no real kernel does. The rules here cover what detectors use; each answers
NotImplemented when it is not sure, and then the library decides, or complains, in its own words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, prod
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class ShapesOnly(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Inside, calls on `meta` tensors cost next to nothing and import nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: telling the compiler to stay out would import it, and nothing is compiled here."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
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


def _full(shape: Sequence[int], value: Any, *, dtype: Any = None, **options: Any) -> Any:
    known = dtype is not None or isinstance(value, float)
    return _filled(shape, dtype=dtype, **options) if known else NotImplemented


# --- element by element ------------------------------------------------------------------------


def _like(x: Tensor, *options: Any, dtype: torch.dtype | None = None, **more: Any) -> Any:
    plain = x.is_contiguous() and more.get("memory_format") in (None, torch.preserve_format)
    device = more.get("device")
    here = device is None or torch.device(device) == x.device
    known = plain and here and not any(isinstance(option, Tensor) for option in options)
    return _new(x, *x.shape, dtype=dtype) if known else NotImplemented


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
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    return torch.empty_permuted(x.shape, order, dtype=dtype, device=x.device)


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
    """Whether memory follows the order of the dimensions, so that results come out contiguous. The
    strides of sides of 1 tell as well: a map of one pixel or channel may have its channels last."""
    strides = [stride for stride in x.stride() if stride > 0]
    channels_last = x.dim() == 4 and x.stride(1) == 1 < prod(x.shape[2:])
    return strides == sorted(strides, reverse=True) and not channels_last


def _plain(x: Tensor) -> bool:
    return x.is_contiguous() and _in_order(x)


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
    channels = weight.shape[1] * groups
    if transposed or x.dim() != weight.dim() or x.shape[1] != channels or not x.is_contiguous():
        return NotImplemented
    out = _windows(x, weight.shape[2:], stride, padding, dilation)
    return _new(x, x.shape[0], weight.shape[0], *out) if min(out) > 0 else NotImplemented


def _windows(x: Tensor, *geometry: Sequence[int], ceiled: bool = False) -> list[int]:
    """How many windows (sides k, stride s, padding p, dilation d) fit along each side:
    floor((H + 2p - d(k - 1) - 1) / s) + 1. Rounded up, the last must still begin inside the image
    or left padding."""
    counts = []
    for i, size in enumerate(x.shape[2:]):
        # One value stands for all sides.
        k, s, p, d = (values[i] if len(values) > 1 else values[0] for values in geometry)
        room = size + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceiled else room // s) + 1
        counts.append(count - 1 if ceiled and (count - 1) * s >= size + p else count)
    return counts


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
    alike = len({(t.dtype, t.shape) for t in tensors}) == 1 and all(map(_in_order, tensors))
    if not alike or not -rank <= dim < rank:
        return NotImplemented
    dim %= rank
    return _new(first, *first.shape[:dim], len(tensors), *first.shape[dim:])


def _clone(x: Tensor, *, memory_format: Any = None) -> Any:
    kept = memory_format in (None, torch.preserve_format) and x.is_contiguous()
    contiguous = kept or memory_format is torch.contiguous_format
    return _new(x, *x.shape) if contiguous else NotImplemented


def _pad(x: Tensor, pads: Sequence[int], value: Any = 0) -> Any:
    shape = list(x.shape)
    for side in range(len(pads) // 2):
        shape[-1 - side] += pads[2 * side] + pads[2 * side + 1]
    return _new(x, *shape) if _plain(x) else NotImplemented


def _upsample(x: Tensor, size: Sequence[int], *scales: Any) -> Any:
    return _new(x, *x.shape[:2], *size) if _plain(x) else NotImplemented


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
    out = _windows(x, window, stride or window, padding, dilation, ceiled=ceil_mode)
    if min(out) < 1:
        return NotImplemented
    return _new(x, *x.shape[:2], *out), _new(x, *x.shape[:2], *out, dtype=torch.int64)


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


_BY_NAMES: Mapping[str, Callable[..., Any]] = {
    # In place: the caller gets back what it gave.
    """relu_.default silu_.default sigmoid_.default clamp_.default log_.default logit_.default
    add_.Tensor sub_.Tensor mul_.Tensor div_.Tensor masked_fill_.Scalar fill_.Scalar zero_.default
    uniform_.default normal_.default hardtanh_.default""": lambda x, *_, **__: x,
    "relu.default clamp.default bitwise_not.default abs.default": _like,
    """silu.default gelu.default sigmoid.default log.default exp.default sin.default cos.default
    sqrt.default reciprocal.default rsqrt.default rsub.Scalar logit.default""": _float_like,
    "pow.Scalar": lambda base, exponent: _float_like(exponent),
    "add.Tensor sub.Tensor mul.Tensor addcmul.default bitwise_and.Tensor": _arithmetic,
    "div.Tensor": _division,
    "gt.Scalar lt.Scalar ge.Scalar le.Scalar": lambda x, y: _like(x, dtype=torch.bool),
    "arange.default arange.start arange.start_step": _arange,
    "zeros.default ones.default": _filled,
    "zeros_like.default ones_like.default empty_like.default": _like,
    "full.default": _full,
    "convolution.default": _convolution,
    "addmm.default": lambda bias, a, b, **scales: _product(a, b),
    "mm.default bmm.default": _product,
    "native_batch_norm.default": _batch_norm,
    "native_layer_norm.default": _layer_norm,
    "_softmax.default": lambda x, dim, half_to_float: (
        NotImplemented if half_to_float else _float_like(x)
    ),
    "cat.default": _cat,
    "stack.default": _stack,
    "clone.default": _clone,
    "constant_pad_nd.default": _pad,
    "upsample_nearest2d.default": _upsample,
    "grid_sampler_2d.default": _grid_sample,
    "max_pool2d_with_indices.default": _max_pool,
    "amax.default": _reduced,
    "all.dim": _all,
    "sum.dim_IntList mean.dim": _float_reduced,
    "topk.default": _topk,
    "gather.default": lambda x, dim, index, **options: _new(x, *index.shape),
    "_unsafe_view.default": lambda x, shape: x.view(*shape),
}
_RULES: Mapping[Any, Callable[..., Any]] = {
    attrgetter(name)(torch.ops.aten): rule
    for names, rule in _BY_NAMES.items()
    for name in names.split()
}
