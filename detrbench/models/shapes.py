"""Running operators on shapes without values, faster than the library does by itself.

The library's own shape functions are written in Python for many operators. They import the
compiler and a symbolic algebra system (a second or two) before they say that an output is like its
input, and some say what no real kernel does: a layout that no convolution writes, a sum of types
that no processor adds. The rules here cover what detectors use. Each answers NotImplemented when it
is not sure, and then the library decides, or complains, in its own words; what the library lets
pass on shapes and refuses on values is refused here. The tests hold every rule to real tensors.
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


def _laid_out(x: Tensor, shape: Sequence[int], *like: Tensor, dtype: Any = None) -> Tensor:
    """A tensor with its channels last where one of `like` has them so, else contiguous."""
    last = any(map(_channels_last, like))
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    layout = formats[len(shape)] if last else torch.contiguous_format
    dtype = dtype or x.dtype
    return torch.empty(tuple(shape), dtype=dtype, device=x.device, memory_format=layout)


def _channels_last(x: Tensor) -> bool:
    """Whether kernels take a map (4 dimensions, or 5) for one with its channels last in memory; its
    strides grow from the channels over the innermost side to the batch. What is also contiguous,
    such as one pixel of one channel, is not taken for it."""
    if x.dim() not in (4, 5) or not all(x.shape) or not x.stride(1):
        return False
    least = 0
    for dim in (1, *range(x.dim() - 1, 1, -1), 0):
        if x.stride(dim) < least or (dim == 0 and least == x.stride(1)):
            return False
        least = x.stride(dim) * x.shape[dim]
    return True


def _refuse(name: str, x: Tensor) -> Any:
    """What no device does, though shapes alone would let it pass."""
    raise NotImplementedError(f"{name} is not implemented for {str(x.dtype).partition('.')[2]}")


def _check_same_type(name: str, *tensors: Tensor | None) -> None:
    """Raises RuntimeError where the types differ, which the library overlooks without values."""
    found = {str(t.dtype).partition(".")[2] for t in tensors if t is not None}
    if len(found) > 1:
        raise RuntimeError(f"{name} of tensors of several types: {', '.join(sorted(found))}")


def _is_integer(x: Tensor) -> bool:
    return not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)


def _arange(*bounds: float, dtype: Any = None, device: Any = None, **options: Any) -> Any:
    if not all(isinstance(bound, (int, float)) for bound in bounds):  # not known without values
        return NotImplemented
    start, end, step = {1: (0, *bounds, 1), 2: (*bounds, 1), 3: bounds}[len(bounds)]
    if not step or (end - start) / step < 0:
        return NotImplemented
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


def _activation(name: str) -> Callable[..., Any]:
    """An activation whose kernels know no whole numbers."""
    return lambda x, *_, **__: _float_like(x) if x.is_floating_point() else _refuse(name, x)


def _relu(x: Tensor) -> Any:
    return _refuse("relu", x) if x.dtype == torch.bool or x.is_complex() else _like(x)


def _abs(x: Tensor) -> Any:
    if x.dtype == torch.bool:
        _refuse("abs", x)
    return NotImplemented if x.is_complex() else _like(x)


def _clamp(x: Tensor, low: Any = None, high: Any = None) -> Any:
    whole = all(isinstance(bound, int) for bound in (low, high) if bound is not None)
    known = x.is_floating_point() or (_is_integer(x) and whole)
    return _like(x) if known and (low, high) != (None, None) else NotImplemented


def _bitwise_not(x: Tensor) -> Any:
    if x.is_floating_point() or x.is_complex():
        _refuse("bitwise_not", x)
    return _like(x)


def _compared(x: Tensor, y: Any) -> Any:
    return NotImplemented if x.is_complex() else _like(x, dtype=torch.bool)


# --- in place: the caller gets back what it gave -------------------------------------------------


def _takes(x: Tensor, *others: Any) -> bool:
    """Whether tensors can be broadcast into `x`. Raises RuntimeError where several of its elements
    are one in memory, which shapes alone let pass."""
    if any(not stride for side, stride in zip(x.shape, x.stride(), strict=True) if side > 1):
        raise RuntimeError("writing to a tensor of which several elements are one in memory")
    return all(
        _broadcast([x.shape, other.shape]) == list(x.shape)
        for other in others
        if isinstance(other, Tensor)
    )


def _arithmetic_in_place(x: Tensor, y: Any, **scales: Any) -> Any:
    found = torch.result_type(x, y)
    if not torch.can_cast(found, x.dtype):
        raise RuntimeError(f"a result of {found} cannot be written to a tensor of {x.dtype}")
    return x if _takes(x, y) and x.is_floating_point() else NotImplemented


def _subtraction_in_place(x: Tensor, y: Any, **scales: Any) -> Any:
    _check_subtracts(x, y)
    return _arithmetic_in_place(x, y, **scales)


def _float_in_place(x: Tensor, *options: Any, **more: Any) -> Any:
    return x if _takes(x) and x.is_floating_point() else NotImplemented


def _drawn_in_place(x: Tensor, *options: Any, **more: Any) -> Any:
    """Random numbers, which are not whole ones."""
    return _float_in_place(x) if x.is_floating_point() else _refuse("a random fill", x)


def _filled_in_place(x: Tensor, *value: Any) -> Any:
    return x if x.is_floating_point() else NotImplemented


def _activation_in_place(name: str) -> Callable[..., Any]:
    return lambda x, *_, **__: _float_in_place(x) if x.is_floating_point() else _refuse(name, x)


def _relu_in_place(x: Tensor) -> Any:
    if x.dtype == torch.bool or x.is_complex():
        _refuse("relu", x)
    return x if _takes(x) else NotImplemented


def _masked_fill_in_place(x: Tensor, mask: Tensor, value: Any) -> Any:
    if mask.dtype != torch.bool:
        raise RuntimeError(f"masked_fill_ with a mask of {mask.dtype}, which is not bool")
    known = x.is_floating_point() and _broadcast([x.shape, mask.shape]) == list(x.shape)
    return x if known else NotImplemented


# --- two at a time -------------------------------------------------------------------------------


def _arithmetic(x: Tensor, y: Any, *others: Any, **scales: Any) -> Any:
    """Tensors and numbers, broadcast; the dtype is what the library promotes them to."""
    tensors = [t for t in (x, y, *others) if isinstance(t, Tensor)]
    if any(not t.is_floating_point() for t in tensors) and (scales or others):
        return NotImplemented
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


def _check_subtracts(*values: Any) -> None:
    for each in values:
        if isinstance(each, Tensor) and each.dtype == torch.bool:
            _refuse("subtraction", each)


def _subtraction(x: Tensor, y: Any, **scales: Any) -> Any:
    _check_subtracts(x, y)
    return _arithmetic(x, y, **scales)


def _subtracted_from(x: Tensor, y: Any, *scales: Any) -> Any:
    _check_subtracts(x)
    return _float_like(x)


def _bitwise(x: Tensor, y: Tensor) -> Any:
    for each in (x, y):
        if not isinstance(each, Tensor):
            return NotImplemented
        if each.is_floating_point() or each.is_complex():
            _refuse("bitwise_and", each)
    return _arithmetic(x, y)


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
    layout, kind = quotient.stride(), torch.get_default_dtype()
    return torch.empty_strided(quotient.shape, layout, dtype=kind, device=x.device)


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
    _check_same_type("a convolution", x, weight, bias)
    if x.dtype == torch.bool:
        _refuse("convolution", x)
    sides = x.dim() - 2
    taken, made = weight.shape[1] * groups, weight.shape[0]
    if transposed:
        taken, made = made, taken
    if bias is not None and tuple(bias.shape) != (made,):
        raise RuntimeError(f"a bias of shape {tuple(bias.shape)} for {made} output channels")
    if weight.shape[0] % groups:
        raise RuntimeError(f"{groups} groups of {weight.shape[0]} channels")
    geometry = [list(v) * (sides if len(v) == 1 else 1) for v in (stride, padding, dilation)]
    if x.dim() != weight.dim() or x.shape[1] != taken or min(*geometry[0], *geometry[2]) < 1:
        return NotImplemented
    if transposed:
        extra = list(output_padding) * (sides if len(output_padding) == 1 else 1)
        rows = zip(x.shape[2:], weight.shape[2:], *geometry, extra, strict=True)
        out = [(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, d, e in rows]
        # More than the stride or dilation apart, pixels would be made of nothing.
        if any(e >= max(s, d) for e, s, d in zip(extra, geometry[0], geometry[2], strict=True)):
            return NotImplemented
    else:
        out = _windows(x, weight.shape[2:], *geometry)
    if min(*x.shape, *weight.shape) < 1 or min(geometry[1]) < 0:
        return NotImplemented
    if min(out) < 1:
        raise RuntimeError(f"a convolution of {tuple(x.shape)} would give a map of {tuple(out)}")
    return _laid_out(x, (x.shape[0], made, *out), x, weight)


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


def _product(a: Tensor, b: Tensor, summand: Tensor | None = None) -> Any:
    """(n, k) x (k, m), or batches of them; of one type, which shapes alone do not check."""
    _check_same_type("a matrix product", a, b, summand)
    if a.dtype == torch.bool:
        _refuse("matrix product", a)
    if a.dim() != b.dim() or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        return NotImplemented
    shape = [*a.shape[:-1], b.shape[-1]]
    if summand is not None and _broadcast([summand.shape, shape]) != shape:
        raise RuntimeError(f"a summand of {tuple(summand.shape)} for a product of {tuple(shape)}")
    return _new(a, *shape)


def _statistics_type(name: str, x: Tensor, *parameters: Tensor | None) -> torch.dtype:
    """Of a normalisation's means: x's type, or float32 where half precision has such parameters.
    Raises RuntimeError for other mixtures."""
    kinds = {p.dtype for p in parameters if p is not None}
    if kinds <= {x.dtype}:
        return x.dtype
    if kinds == {torch.float32} and x.dtype in (torch.float16, torch.bfloat16):
        return torch.float32
    kinds_text = ", ".join(sorted(str(kind).partition(".")[2] for kind in kinds))
    raise RuntimeError(f"{name} of {str(x.dtype).partition('.')[2]} with {kinds_text} parameters")


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any
) -> Any:
    """Saved statistics come back in training only; the library's own shape function errs there, and
    in the layout of what is neither contiguous nor has its channels last."""
    if not x.is_floating_point():
        _refuse("batch norm", x)
    kept = _statistics_type("batch norm", x, weight, bias, mean, var)
    shaped = (tuple(t.shape) == (x.shape[1],) for t in (weight, bias, mean, var) if t is not None)
    if x.dim() < 2 or not x.numel() or (mean is None) != (var is None) or not all(shaped):
        return NotImplemented
    if mean is None and not training:
        return NotImplemented
    saved = x.shape[1] if training else 0
    # A side of 1 may have any stride: this is dense all the same.
    dense = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    out = torch.empty_like(x) if dense else _laid_out(x, x.shape, x)
    return out, *(_new(x, saved, dtype=kept) for _ in range(2))


def _layer_norm(x: Tensor, normalized: Sequence[int], weight: Any, bias: Any, *rest: Any) -> Any:
    if not x.is_floating_point():
        _refuse("layer norm", x)
    kept = _statistics_type("layer norm", x, weight, bias)
    sides = tuple(normalized)
    shaped = all(tuple(t.shape) == sides for t in (weight, bias) if t is not None)
    if not sides or tuple(x.shape[x.dim() - len(sides) :]) != sides or not shaped:
        return NotImplemented
    rows = x.shape[: x.dim() - len(sides)] + (1,) * len(sides)
    return _new(x, *x.shape), *(_new(x, *rows, dtype=kept) for _ in range(2))


def _group_norm(
    x: Tensor, weight: Any, bias: Any, n: int, c: int, pixels: int, groups: int, eps: float
) -> Any:
    if not x.is_floating_point():
        _refuse("group norm", x)
    kept = _statistics_type("group norm", x, weight, bias)
    shaped = all(tuple(t.shape) == (c,) for t in (weight, bias) if t is not None)
    if not shaped or c % groups or n * c * pixels != x.numel() or not x.numel():
        return NotImplemented
    return _laid_out(x, x.shape, x), *(_new(x, n, groups, dtype=kept) for _ in range(2))


def normalise_groups(
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """`group_norm` as it runs on a processor, which takes channels that are last as they are; where
    there is no processor, the library copies them first."""
    n, c, *sides = x.shape
    if len(x.shape) < 2 or c % groups:
        raise RuntimeError(f"group norm of {groups} groups of a map of {tuple(x.shape)}")
    held = x if _channels_last(x) else x.contiguous()
    out: Tensor = torch.native_group_norm(held, weight, bias, n, c, prod(sides), groups, eps)[0]
    return out


# --- attention -----------------------------------------------------------------------------------


def attends_in_one_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> bool:
    """Whether `scaled_dot_product_attention` runs fused; if not, it is made of matrix products.
    What a processor fuses: (B, H, N, D), or those of one image, of one type and one width, without
    dropout, nothing broadcast but the mask and a single head of keys (torch's sdp_utils_cpp.h)."""
    q, k, v = (tuple(t.shape) for t in (query, key, value))
    if not len(q) == len(k) == len(v) or len(q) not in (3, 4):
        return False
    if dropout_p or not query.is_floating_point():
        return False
    if len(q) == 3:
        q, k, v = ((1, *shape) for shape in (q, k, v))
    shared = options.get("enable_gqa") or k[1] == 1  # one key for all heads, or for some each
    heads = q[1] % k[1] == 0 if shared and k[1] else q[1] == k[1]
    alike = q[0] == k[0] == v[0] and k[1] == v[1] and heads and q[3] == k[3] == v[3]
    last = all(t.stride(-1) == 1 for t in (query, key, value))
    masked = attn_mask is None or attn_mask.dim() in (2, len(query.shape))
    return alike and last and masked and min(*q, *k) > 0


def _attention(query: Tensor, key: Tensor, value: Tensor, *options: Any, **more: Any) -> Any:
    """The fused kernel's output lies in memory as its query does (torch's FlashAttention.cpp)."""
    if len({t.dtype for t in (query, key, value)}) > 1:
        return NotImplemented
    if not attends_in_one_kernel(query, key, value, *options, **more):
        return NotImplemented
    return torch.empty_like(query)


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


def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Any:
    if not x.is_floating_point():
        _refuse("softmax", x)
    if not -max(x.dim(), 1) <= dim < max(x.dim(), 1):
        raise IndexError(f"softmax over dimension {dim} of {x.dim()}")
    return NotImplemented if half_to_float else _like(x)


def _gather(x: Tensor, dim: int, index: Tensor, **options: Any) -> Any:
    within = x.dim() == index.dim() and _has_axis(x, dim)
    if not within or index.dtype != torch.int64:
        return NotImplemented
    dim %= x.dim()
    sides = enumerate(zip(index.shape, x.shape, strict=True))
    fits = all(taken <= side for i, (taken, side) in sides if i != dim)
    return _new(x, *index.shape) if fits else NotImplemented


def _clone(x: Tensor, *, memory_format: Any = None) -> Any:
    kept = memory_format in (None, torch.preserve_format) and x.is_contiguous()
    contiguous = kept or memory_format is torch.contiguous_format
    return _new(x, *x.shape) if contiguous else NotImplemented


def _pad(x: Tensor, pads: Sequence[int], value: Any = 0) -> Any:
    if len(pads) % 2 or len(pads) > 2 * x.dim() or min(pads, default=0) < 0 or not _plain(x):
        return NotImplemented
    shape = list(x.shape)
    for side in range(len(pads) // 2):
        shape[-1 - side] += pads[2 * side] + pads[2 * side + 1]
    return _new(x, *shape)


def _upsample(x: Tensor, size: Sequence[int], *scales: Any) -> Any:
    if not (x.is_floating_point() or x.dtype == torch.uint8):
        _refuse("nearest upsampling", x)
    known = x.dim() == 4 and len(size) == 2 and min(*size, *x.shape) > 0 and _plain(x)
    return _new(x, *x.shape[:2], *size) if known else NotImplemented


def _grid_sample(x: Tensor, grid: Tensor, *modes: Any) -> Any:
    _check_same_type("grid sampling", x, grid)
    if not x.is_floating_point():
        _refuse("grid sampling", x)
    if x.dim() != 4 or grid.dim() != 4 or x.shape[0] != grid.shape[0] or grid.shape[-1] != 2:
        return NotImplemented
    if min(x.shape) < 1:
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
    if x.dtype == torch.bool or x.is_complex():
        _refuse("max pooling", x)
    if x.dim() != 4 or not _plain(x) or min(*x.shape, *window, *(stride or (1,)), *dilation) < 1:
        return NotImplemented
    if any(2 * p > d * (k - 1) + 1 or p < 0 for k, p, d in _sides(window, padding, dilation)):
        return NotImplemented
    out = _windows(x, window, stride or window, padding, dilation, ceiled=ceil_mode)
    if min(out) < 1:
        return NotImplemented
    return _new(x, *x.shape[:2], *out), _new(x, *x.shape[:2], *out, dtype=torch.int64)


def _sides(*geometry: Sequence[int]) -> list[tuple[int, ...]]:
    """Rows and columns of what is given for both at once, or for each."""
    return list(zip(*(tuple(v) * (2 if len(v) == 1 else 1) for v in geometry), strict=True))


def _reduced(x: Tensor, dims: Any = (), keepdim: bool = False, **options: Any) -> Any:
    axes = [dims] if isinstance(dims, int) else dims or ()
    if options.get("dtype") is not None or not axes or not all(_has_axis(x, d) for d in axes):
        return NotImplemented
    gone = {d % x.dim() for d in axes}
    if len(gone) < len(axes) or not x.numel() or x.is_complex():
        return NotImplemented
    kept = [(1 if i in gone else n) for i, n in enumerate(x.shape) if keepdim or i not in gone]
    return _new(x, *kept)


def _float_reduced(x: Tensor, dims: Any, keepdim: bool = False, **options: Any) -> Any:
    return _reduced(x, dims, keepdim, **options) if x.is_floating_point() else NotImplemented


def _all(x: Tensor, dim: int, keepdim: bool = False) -> Any:
    return _reduced(x, dim, keepdim) if x.dtype == torch.bool else NotImplemented


def _topk(x: Tensor, k: int, dim: int = -1, *order: Any) -> Any:
    if x.dtype == torch.bool or x.is_complex():
        _refuse("topk", x)
    if not _has_axis(x, dim) or not 0 <= k <= x.shape[dim]:
        return NotImplemented
    dim %= x.dim()
    shape = (*x.shape[:dim], k, *x.shape[dim + 1 :])
    return _new(x, *shape), _new(x, *shape, dtype=torch.int64)


_BY_NAMES: Mapping[str, Callable[..., Any]] = {
    "add_.Tensor mul_.Tensor div_.Tensor": _arithmetic_in_place,
    "sub_.Tensor": _subtraction_in_place,
    "sigmoid_.default log_.default clamp_.default hardtanh_.default": _float_in_place,
    "logit_.default": _activation_in_place("logit"),
    "uniform_.default normal_.default": _drawn_in_place,
    "fill_.Scalar zero_.default": _filled_in_place,
    "silu_.default": _activation_in_place("silu"),
    "hardswish_.default": _activation_in_place("hardswish"),
    "relu_.default": _relu_in_place,
    "masked_fill_.Scalar": _masked_fill_in_place,
    "silu.default": _activation("silu"),
    "gelu.default": _activation("gelu"),
    "hardswish.default": _activation("hardswish"),
    "relu.default": _relu,
    "abs.default": _abs,
    "clamp.default": _clamp,
    "bitwise_not.default": _bitwise_not,
    """sigmoid.default log.default exp.default sin.default cos.default sqrt.default
    reciprocal.default rsqrt.default logit.default""": _float_like,
    "pow.Scalar": lambda base, exponent: _float_like(exponent),
    "add.Tensor mul.Tensor addcmul.default": _arithmetic,
    "sub.Tensor": _subtraction,
    "rsub.Scalar": _subtracted_from,
    "bitwise_and.Tensor": _bitwise,
    "div.Tensor": _division,
    "gt.Scalar lt.Scalar ge.Scalar le.Scalar": _compared,
    "arange.default arange.start arange.start_step": _arange,
    "zeros.default ones.default": _filled,
    "zeros_like.default ones_like.default empty_like.default": _like,
    "full.default": _full,
    "convolution.default": _convolution,
    "addmm.default": lambda summand, a, b, **scales: _product(a, b, summand),
    "mm.default bmm.default": _product,
    "native_batch_norm.default": _batch_norm,
    "native_layer_norm.default": _layer_norm,
    "native_group_norm.default": _group_norm,
    "scaled_dot_product_attention.default": _attention,
    "_softmax.default": _softmax,
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
    "gather.default": _gather,
    "_unsafe_view.default": lambda x, shape: x.view(*shape),
}
_RULES: Mapping[Any, Callable[..., Any]] = {
    attrgetter(name)(torch.ops.aten): rule
    for names, rule in _BY_NAMES.items()
    for name in names.split()
}
