"""Every shape rule says what the library says, on the calls that detectors make and on odd ones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from detrbench.models import shapes
from detrbench.models.builder import build
from detrbench.models.shapes import ShapesOnly, on_shapes

aten = torch.ops.aten


def described(result: Any) -> list[tuple[tuple[int, ...], tuple[int, ...], torch.dtype]]:
    return [(tuple(t.shape), t.stride(), t.dtype) for t in tree_leaves(result)]


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


class Compared(ShapesOnly):
    """Runs every call both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        ours = on_shapes(func, args, kwargs or {})
        if func in shapes._RULES and func is not aten.native_batch_norm.default:
            self.names.add(str(func))
            theirs = func(*args, **(kwargs or {}))
            assert described(ours) == described(theirs), (func, described(args))
        return ours


@pytest.mark.parametrize(
    "name", ["rtdetr-l", "shufflev2-se", "rtdetr-resnet50", "mobilenetv2-x0.6"]
)
def test_rules_say_what_the_library_says_on_every_call_of_a_detector(name: str) -> None:
    model = build(name, device="meta")
    with torch.inference_mode(), torch.device("meta"), Compared() as compared:
        model(empty(2, 3, 96, 128))
    assert len(compared.names) >= 10


ODD_CALLS = [
    (aten.relu.default, (empty(2, 3, 4).transpose(1, 2),)),
    (aten.add.Tensor, (empty(2, 3, 4).transpose(1, 2), empty(3))),
    (aten.add.Tensor, (empty(2, 3), empty(3, dtype=torch.float64))),
    (aten.add.Tensor, (empty(3, dtype=torch.int64), 0.5)),
    (aten.mul.Tensor, (empty(4, 1), empty(5).expand(4, 5))),
    (aten.div.Tensor, (empty(3, dtype=torch.int64), 2)),
    (aten.addcmul.default, (empty(2, 3), empty(3), empty(2, 1))),
    (aten.cat.default, ([empty(2, 3), empty(4, 3)],)),
    (aten.cat.default, ([empty(2, 3), empty(2, 5)], -1)),
    (aten.stack.default, ([empty(2, 3), empty(2, 3)], -1)),
    (aten.convolution.default,
     (empty(1, 4, 9, 11), empty(6, 2, 3, 5), None, [2, 1], [1, 0], [1, 2], False, [0, 0], 2)),
    (aten.convolution.default,
     (empty(1, 4, 9, 11), empty(4, 3, 2, 2), None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1)),
    (aten.max_pool2d_with_indices.default,
     (empty(1, 2, 7, 8), [3, 2], [2, 2], [1, 0], [1, 1], True)),
    (aten.max_pool2d_with_indices.default, (empty(1, 2, 7, 8), [2], [1], [0], [1], True)),
    (aten.constant_pad_nd.default, (empty(1, 2, 3), [1, 2, 0, 3])),
    (aten.sum.dim_IntList, (empty(2, 3, 4), [-1, 0], True)),
    (aten.mean.dim, (empty(2, 3, 4), [1])),
    (aten.amax.default, (empty(2, 3, 4), [-1])),
    (aten.amax.default, (empty(2, 3, 4),)),
    (aten.sum.dim_IntList, (empty(), [0])),
    (aten.all.dim, (empty(2, 3, dtype=torch.bool), 1, True)),
    (aten.all.dim, (empty(2, 3), 1)),
    (aten.topk.default, (empty(), 1, 0)),
    (aten.topk.default, (empty(2, 9), 4, 1)),
    (aten.gt.Scalar, (empty(2, 3), 0.5)),
    (aten.pow.Scalar, (10000, empty(5))),
    (aten.bmm.default, (empty(2, 3, 4), empty(2, 4, 5))),
    (aten.clone.default, (empty(2, 3, 4).transpose(0, 1),)),
    (aten._softmax.default, (empty(2, 3), -1, False)),
    (aten.full.default, ([2, 3], 1.0)),
    (aten.zeros_like.default, (empty(2, 3),)),
    (aten.rsqrt.default, (empty(2, 3),)),
]  # fmt: skip


@pytest.mark.parametrize(("func", "args"), ODD_CALLS, ids=lambda v: str(v)[:40])
def test_rules_say_what_the_library_says_on_odd_calls(func: Any, args: Any) -> None:
    with torch.device("meta"):
        assert described(on_shapes(func, args, {})) == described(func(*args))


def laid_out(draw: random.Random, sizes: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor of that shape as a model may hold it: new, permuted, a part of another, repeated."""
    kind = draw.choice(["new", "permuted", "channels_last", "part", "repeated"])
    if kind == "permuted":
        order = draw.sample(range(4), 4)
        back = [order.index(i) for i in range(4)]
        return empty(*(sizes[i] for i in order), dtype=dtype).permute(*back)
    if kind == "channels_last":
        return empty(*sizes, dtype=dtype).to(memory_format=torch.channels_last)
    if kind == "part":
        return empty(sizes[0], 2 * sizes[1], *sizes[2:], dtype=dtype)[:, : sizes[1]]
    if kind == "repeated":
        return empty(sizes[0], 1, *sizes[2:], dtype=dtype).expand(*sizes)
    return empty(*sizes, dtype=dtype)


def calls_on(draw: random.Random) -> Iterator[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """One call of every rule that takes maps, on maps of odd sizes in odd layouts."""
    _, channels, _, width = sizes = [draw.choice([1, 1, 2, 3, 5]) for _ in range(4)]
    x, y = (laid_out(draw, sizes, torch.float32) for _ in range(2))
    mask = laid_out(draw, sizes, torch.bool)
    dim = draw.randrange(4)
    formats = [torch.preserve_format, torch.contiguous_format, torch.channels_last]
    layout = {"memory_format": draw.choice(formats)}
    weight = laid_out(draw, (4, channels, 1, 1), torch.float32)
    for func in (aten.add.Tensor, aten.mul.Tensor, aten.div.Tensor):
        yield func, (x, y), {}
        yield func, (x, 2.0), {}
        yield func, (x, empty(width)), {}
        yield func, (x, empty(channels, 1, 1)), {}
    yield aten.addcmul.default, (x, y, x), {}
    yield aten.bitwise_and.Tensor, (mask, mask), {}
    for func in (aten.relu.default, aten.silu.default, aten.sigmoid.default, aten.clone.default):
        yield func, (x,), {}
    yield aten.clone.default, (x,), layout
    yield aten.empty_like.default, (x,), layout
    yield aten.gt.Scalar, (x, 0.5), {}
    yield aten.cat.default, ([x, y], dim), {}
    yield aten.stack.default, ([x, y], dim), {}
    yield aten.convolution.default, (x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1), {}
    yield aten.max_pool2d_with_indices.default, (x, [3, 3], [1, 1], [1, 1]), {}
    yield aten.upsample_nearest2d.default, (x, [6, 8]), {}
    yield aten.constant_pad_nd.default, (x, [1, 1, 1, 1]), {}
    yield aten.native_layer_norm.default, (x, [width], None, None, 1e-5), {}
    yield aten._softmax.default, (x, dim, False), {}
    yield aten.topk.default, (x, 1, dim), {}
    yield aten.gather.default, (x, dim, empty(*sizes, dtype=torch.int64)), {}
    for func in (aten.sum.dim_IntList, aten.mean.dim, aten.amax.default):
        yield func, (x, [dim], draw.choice([True, False])), {}


def told(result: Any) -> list[tuple[Any, ...]]:
    """As `described`, without the strides of sides of 1: of those, the library's own devices say
    different things."""
    return [
        (shape, [stride for side, stride in zip(shape, strides, strict=True) if side > 1], dtype)
        for shape, strides, dtype in described(result)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_rules_say_what_the_library_says_in_any_layout(seed: int) -> None:
    for func, args, kwargs in calls_on(random.Random(seed)):
        with torch.device("meta"):
            ours, theirs = on_shapes(func, args, kwargs), func(*args, **kwargs)
        assert told(ours) == told(theirs), (func, described(args), kwargs)


def test_what_does_not_fit_is_refused_in_the_librarys_words() -> None:
    for func, args in [
        (aten.add.Tensor, (empty(2), empty(3))),
        (aten.mm.default, (empty(2, 3), empty(4, 5))),
        (aten.convolution.default,
         (empty(1, 3, 8, 8), empty(4, 5, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
        (aten.cat.default, ([empty(2, 3), empty(2, 4)], 0)),
        (aten.cat.default, ([empty(2, 3), empty(2, 3)], 7)),
        (aten.stack.default, ([empty(2, 3), empty(2, 3)], 3)),
    ]:  # fmt: skip
        with pytest.raises((RuntimeError, IndexError)):
            on_shapes(func, args, {})


def test_batch_norm_saves_nothing_in_evaluation_as_on_a_real_device() -> None:
    x, c = torch.rand(2, 3, 4, 4), torch.rand(3)
    real = aten.native_batch_norm(x, c, c, c, c, False, 0.1, 1e-5)
    meta = [t.to("meta") for t in (x, c, c, c, c)]
    ours = on_shapes(aten.native_batch_norm.default, (*meta, False, 0.1, 1e-5), {})
    assert [t.shape for t in ours] == [t.shape for t in real]


def test_tensors_with_values_are_really_computed() -> None:
    with ShapesOnly():
        assert torch.arange(3).tolist() == [0, 1, 2]
        assert torch.tensor([-1.0, 2.0]).relu().tolist() == [0, 2]
        assert torch.cat([torch.ones(1), torch.zeros(1)]).tolist() == [1, 0]
        assert torch.nn.Linear(2, 2).weight.abs().sum() > 0
