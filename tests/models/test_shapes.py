"""Every shape rule says what the library says, on the calls that detectors make and on odd ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from operator import attrgetter
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
    kind = draw.choice(["new", "new", "permuted", "channels_last", "part", "repeated"])
    ones = lambda *shape: torch.ones(shape, dtype=dtype)  # noqa: E731
    rank = len(sizes)
    if kind == "permuted":
        order = draw.sample(range(rank), rank)
        back = [order.index(i) for i in range(rank)]
        return ones(*(sizes[i] for i in order)).permute(*back)
    if kind == "channels_last" and rank == 4:
        return ones(*sizes).to(memory_format=torch.channels_last)
    if kind == "part" and rank > 1:
        return ones(sizes[0], 2 * sizes[1], *sizes[2:])[:, : sizes[1]]
    if kind == "repeated" and rank > 1:
        return ones(sizes[0], 1, *sizes[2:]).expand(*sizes)
    return ones(*sizes)


FLOAT, DOUBLE, HALF, WHOLE, BOOL = (
    torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool,
)  # fmt: skip


class Draw(random.Random):
    """Arguments as a model may give them: mostly what fits, now and then what does not."""

    def one(self, usual: Any, *others: Any) -> Any:
        return usual if self.random() < 0.85 else self.choice(others)

    def sides(self, rank: int = 4) -> list[int]:
        return [self.choice([1, 1, 2, 3, 4, 6]) for _ in range(rank)]

    def kind(self) -> torch.dtype:
        return self.one(FLOAT, DOUBLE, HALF, WHOLE, BOOL)

    def tensor(self, sizes: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        """Of that shape, mostly, and that type, mostly."""
        if self.random() < 0.03:
            sizes = [*sizes[:-1], sizes[-1] + 1]
        return laid_out(self, sizes, self.one(dtype or FLOAT, DOUBLE, HALF, WHOLE, BOOL))

    def other(self, x: Tensor) -> Any:
        """What may stand beside `x`: as large, a row or a map of it, or a number."""
        sizes = list(x.shape)
        shrunk = [side if self.random() < 0.6 else 1 for side in sizes]
        shape = self.choice([sizes, sizes, shrunk, sizes[-1:], [sizes[-3], 1, 1]])
        return self.choice([2, 0.5, *[self.tensor(shape, x.dtype)] * 6])


def _elementwise(draw: Draw, func: Any) -> tuple[Any, ...]:
    x = draw.tensor(draw.sides(), draw.kind())
    return x, draw.other(x)


def _addcmul(draw: Draw, func: Any) -> tuple[Any, ...]:
    x = draw.tensor(draw.sides())
    return x, draw.tensor(x.shape), draw.tensor(x.shape)


def _unary(draw: Draw, func: Any) -> tuple[Any, ...]:
    return (draw.tensor(draw.sides(), draw.kind()),)


def _with_number(draw: Draw, func: Any) -> tuple[Any, ...]:
    return draw.tensor(draw.sides(), draw.kind()), draw.choice([1, 0.5])


def _filling(draw: Draw, func: Any) -> tuple[Any, ...]:
    x = draw.tensor(draw.sides(), draw.kind())
    return x, draw.tensor(draw.choice([x.shape, x.shape[-1:]]), draw.one(BOOL, FLOAT)), 0.0


def _along(draw: Draw, func: Any) -> tuple[Any, ...]:
    x = draw.tensor(draw.sides(), draw.kind())
    return x, [draw.one(draw.randrange(-4, 4), 5)], draw.choice([True, False])


def _all_along(draw: Draw, func: Any) -> tuple[Any, ...]:
    return draw.tensor(draw.sides(), BOOL), draw.randrange(-4, 4), draw.choice([True, False])


def _joined(draw: Draw, func: Any) -> tuple[Any, ...]:
    sizes = draw.sides()
    return [draw.tensor(sizes) for _ in range(draw.choice([1, 2, 3]))], draw.one(1, 0, -1, 3, 6)


def _convolved(draw: Draw, func: Any) -> tuple[Any, ...]:
    sides = draw.one(2, 1, 3)
    groups, transposed = draw.choice([1, 1, 2]), draw.random() < 0.25
    taken, made = groups * draw.choice([1, 2, 3]), groups * draw.choice([1, 2])
    pairs = (taken, made // groups) if transposed else (made, taken // groups)
    weight = draw.tensor([*pairs, *(draw.choice([1, 2, 3]) for _ in range(sides))])
    x = draw.tensor([draw.choice([1, 2]), taken, *(draw.choice([1, 4, 5]) for _ in range(sides))])
    bias = draw.one(None, torch.ones(made, dtype=x.dtype), torch.ones(made + 1, dtype=x.dtype))
    paddings = [0] if transposed else [0, 1]
    stride, pads, dilation = ([draw.choice(v)] * sides for v in ([1, 2], paddings, [1, 1, 2]))
    return x, weight, bias, stride, pads, dilation, transposed, [0] * sides, groups


def _multiplied(draw: Draw, func: Any) -> tuple[Any, ...]:
    batch = draw.sides(1) if func is aten.bmm.default else []
    n, k, m = draw.sides(3)
    kind = draw.kind()
    pair = draw.tensor([*batch, n, k], kind), draw.tensor([*batch, k, m], kind)
    return (draw.tensor([m], kind), *pair) if func is aten.addmm.default else pair


def _batch_normed(draw: Draw, func: Any) -> tuple[Any, ...]:
    x = draw.tensor(draw.sides(draw.choice([3, 4, 4, 5])), draw.one(FLOAT, HALF, WHOLE))
    kind = draw.choice([x.dtype, FLOAT])
    each = [draw.one(torch.ones(x.shape[1], dtype=kind), torch.ones(x.shape[1], dtype=DOUBLE))
            for _ in range(4)]  # fmt: skip
    return x, *each, False, 0.1, 1e-5


def _layer_normed(draw: Draw, func: Any) -> tuple[Any, ...]:
    x = draw.tensor(draw.sides(draw.choice([2, 3, 4])), draw.one(FLOAT, HALF, WHOLE))
    sizes = list(x.shape[-draw.choice([1, 2]) :])
    kind = draw.choice([x.dtype, FLOAT])
    return x, sizes, draw.choice([None, draw.tensor(sizes, kind)]), None, 1e-5


def _group_normed(draw: Draw, func: Any) -> tuple[Any, ...]:
    n, c, h, w = draw.sides()
    x = laid_out(draw, (n, 2 * c, h, w), draw.one(FLOAT, HALF, WHOLE))
    if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
        x = x.contiguous()  # as `group_norm`, the only one that calls it, does
    weight = torch.ones(2 * c, dtype=draw.choice([x.dtype, FLOAT, DOUBLE]))
    return x, weight, weight, n, 2 * c, h * w, 2, 1e-5


def _padded(draw: Draw, func: Any) -> tuple[Any, ...]:
    return draw.tensor(draw.sides(), draw.kind()), [draw.choice([0, 1, 2]) for _ in range(4)]


def _enlarged(draw: Draw, func: Any) -> tuple[Any, ...]:
    return draw.tensor(draw.sides(), draw.kind()), [draw.one(6, 0), 8]


def _sampled(draw: Draw, func: Any) -> tuple[Any, ...]:
    n, c, h, w = draw.sides()
    return draw.tensor([n, c, h, w]), draw.tensor([n, h, w, 2]), 0, 0, False


def _pooled(draw: Draw, func: Any) -> tuple[Any, ...]:
    x = draw.tensor(draw.sides(), draw.kind())
    window, pads = [draw.choice([1, 2, 3])] * 2, [draw.choice([0, 0, 1])] * 2
    return x, window, [draw.choice([1, 2])] * 2, pads, [1, 1], draw.choice([True, False])


def _soft(draw: Draw, func: Any) -> tuple[Any, ...]:
    return draw.tensor(draw.sides(), draw.kind()), draw.one(draw.randrange(-4, 4), 4), False


def _chosen(draw: Draw, func: Any) -> tuple[Any, ...]:
    x = draw.tensor(draw.sides(), draw.kind())
    return x, draw.one(1, 2, 9), draw.randrange(-4, 4)


def _gathered(draw: Draw, func: Any) -> tuple[Any, ...]:
    x = draw.tensor(draw.sides(), draw.kind())
    sizes = draw.one(list(x.shape), [1, 1, 1, 1], list(x.shape[1:]), [9, 1, 1, 1])
    return x, draw.randrange(-4, 4), torch.zeros(sizes, dtype=draw.one(WHOLE, FLOAT))


def _attended(draw: Draw, func: Any) -> tuple[Any, ...]:
    batch, heads, queries, keys, width = (draw.choice([1, 2, 4]) for _ in range(5))
    sizes = [batch, heads, queries, width], [batch, heads, keys, width]
    if draw.random() < 0.2:
        sizes = draw.choice([([1, *sizes[0][1:]], sizes[1]), (sizes[0][1:], sizes[1][1:])])
    return draw.tensor(sizes[0]), draw.tensor(sizes[1]), draw.tensor(sizes[1])


DRAWN: dict[Callable[..., Any], str] = {
    _elementwise: "add.Tensor sub.Tensor mul.Tensor div.Tensor bitwise_and.Tensor add_.Tensor "
    "sub_.Tensor mul_.Tensor div_.Tensor",
    _addcmul: "addcmul.default",
    _unary: "relu.default silu.default gelu.default hardswish.default sigmoid.default log.default "
    "exp.default sin.default cos.default sqrt.default reciprocal.default rsqrt.default abs.default "
    "logit.default bitwise_not.default clone.default zeros_like.default ones_like.default "
    "empty_like.default relu_.default silu_.default hardswish_.default sigmoid_.default "
    "log_.default logit_.default zero_.default uniform_.default normal_.default "
    "hardtanh_.default",
    _with_number: "clamp.default clamp_.default gt.Scalar lt.Scalar ge.Scalar le.Scalar "
    "rsub.Scalar fill_.Scalar",
    _filling: "masked_fill_.Scalar",
    _along: "sum.dim_IntList mean.dim amax.default",
    _all_along: "all.dim",
    _joined: "cat.default stack.default",
    _convolved: "convolution.default",
    _multiplied: "mm.default bmm.default addmm.default",
    _batch_normed: "native_batch_norm.default",
    _layer_normed: "native_layer_norm.default",
    _group_normed: "native_group_norm.default",
    _padded: "constant_pad_nd.default",
    _enlarged: "upsample_nearest2d.default",
    _sampled: "grid_sampler_2d.default",
    _pooled: "max_pool2d_with_indices.default",
    _soft: "_softmax.default",
    _chosen: "topk.default",
    _gathered: "gather.default",
    _attended: "scaled_dot_product_attention.default",
}
"""Who draws arguments for which rules; the others take no tensors, or hand their own on."""


def without_values(value: Any) -> Any:
    """The same arguments with tensors of shapes alone."""
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return [without_values(one) for one in value] if isinstance(value, list) else value


def outcome(func: Any, args: Sequence[Any], call: Callable[..., Any]) -> Any:
    """Shapes, types and strides of what comes back, or that it was refused. Strides of sides of 1
    say nothing, nor does the log-sum that attention keeps for its own gradient."""
    try:
        result = call(func, tuple(args), {})
    except (RuntimeError, IndexError, ValueError, TypeError, AssertionError):
        return "refused"
    tensors = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
    return [
        (shape, [s for side, s in zip(shape, strides, strict=True) if side > 1], dtype)
        for shape, strides, dtype in described(tensors)
    ]


def check_draws(seeds: range) -> None:
    """Every rule against real tensors, for every seed."""
    for draws, names in DRAWN.items():
        for name in names.split():
            func = attrgetter(name)(aten)
            for seed in seeds:
                args = draws(Draw(f"{name} {seed}"), func)
                shaped = [without_values(arg) for arg in args]
                ours = outcome(func, shaped, on_shapes)
                theirs = outcome(func, args, lambda func, args, kwargs: func(*args, **kwargs))
                assert ours == theirs, (name, seed, shaped)


def test_every_rule_for_tensors_is_drawn() -> None:
    ruled = {str(func).removeprefix("aten.") for func in shapes._RULES}
    without_tensors = {
        name for name in ruled if name.startswith(("arange", "zeros.", "ones.", "full"))
    }
    passed_on = {"_unsafe_view.default", "pow.Scalar"}
    assert set(" ".join(DRAWN.values()).split()) == ruled - without_tensors - passed_on


@pytest.mark.filterwarnings("ignore")  # about devices and casts, of draws nobody would make
def test_rules_say_what_real_tensors_say_in_any_layout() -> None:
    with torch.inference_mode():
        check_draws(range(60))


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_rules_say_what_real_tensors_say_thoroughly() -> None:
    with torch.inference_mode():
        check_draws(range(60, 1000))


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
