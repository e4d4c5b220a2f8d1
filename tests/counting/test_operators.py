"""Operators by name, each against arithmetic done by hand: its work, and the bytes that it reads
and writes. The image has N elements, 4 maps of 8 x 8 in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench.counting.formulas import FORMULAS
from detrbench.counting.tracing import Op, trace

N = 4 * 8 * 8
MAP = 8 * 8
IMAGE = 4 * N  # bytes of it
INT64 = 8

Function = Callable[[Tensor], Any]
Expected = tuple[int, int, int]
"""Element-wise operations, bytes read, bytes written."""


class Calls(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Any:
        return self.function(images)


def only(name: str, function: Function) -> Op:
    """The one operator called so of a function of the image."""
    (found,) = [
        op for op in trace(Calls(function), 8, channels=4, in_place=True).ops if op.name == name
    ]
    return found


def check(name: str, function: Function, expected: Expected) -> None:
    cost = only(name, function).cost
    assert cost.macs == 0
    assert (cost.elementwise_flops, cost.read_bytes, cost.write_bytes) == expected


def words(text: str) -> list[str]:
    return text.split()


# --- one operation for each element ------------------------------------------------------------

ONE = words(
    """exp2 tan trunc erf atan cosh sinh asin acos asinh acosh atanh erfc erfinv frac sgn nan_to_num
    digamma lgamma sinc i0 deg2rad rad2deg"""
)
PREDICATES = words("""isnan signbit isposinf isneginf logical_not""")
PAIRS = words(
    """minimum maximum fmod remainder floor_divide fmax fmin copysign heaviside hypot atan2"""
)
COMPARED = words("""eq ne logical_and logical_or logical_xor""")
WHOLE = words(
    """bitwise_or bitwise_xor bitwise_and gcd bitwise_left_shift bitwise_right_shift __lshift__
    __rshift__"""
)


@pytest.mark.parametrize("name", ONE)
def test_a_function_of_each_element(name: str) -> None:
    check(name, getattr(torch, name), (N, IMAGE, IMAGE))


@pytest.mark.parametrize("name", PREDICATES)
def test_a_predicate_of_each_element_writes_a_byte_of_it(name: str) -> None:
    check(name, getattr(torch, name), (N, IMAGE, N))


@pytest.mark.parametrize("name", PAIRS)
def test_a_function_of_two(name: str) -> None:
    check(name, lambda x: getattr(torch, name)(x, x * 2), (N, 2 * IMAGE, IMAGE))
    check(name, lambda x: getattr(torch, name)(x, x[:, :1] * 2), (N, IMAGE + 4 * MAP, IMAGE))


@pytest.mark.parametrize("name", COMPARED)
def test_a_comparison_of_two_writes_a_byte_of_each(name: str) -> None:
    check(name, lambda x: getattr(torch, name)(x, x * 2), (N, 2 * IMAGE, N))


@pytest.mark.parametrize("name", WHOLE)
def test_an_operation_on_whole_numbers(name: str) -> None:
    operator = getattr(torch.ops.aten, name).Tensor if name != "gcd" else torch.gcd
    check(name, lambda x: operator(x.int(), x.short()), (N, IMAGE + 2 * N, IMAGE))


# --- others ------------------------------------------------------------------------------------


def indices(*values: int) -> Tensor:
    return torch.tensor(values, device="meta")


OTHERS: dict[str, tuple[Function, Expected]] = {
    # Two and more operations for each element of the output.
    "hardtanh": (F.hardtanh, (2 * N, IMAGE, IMAGE)),
    "_prelu_kernel": (
        lambda x: F.prelu(x, torch.ones(4, device="meta")), (2 * N, IMAGE + 4 * 4, IMAGE)
    ),
    "addcdiv": (lambda x: torch.addcdiv(x, x * 2, x * 3), (2 * N, 3 * IMAGE, IMAGE)),
    "lerp": (lambda x: torch.lerp(x, x * 2, 0.5), (2 * N, 2 * IMAGE, IMAGE)),
    "softshrink": (F.softshrink, (2 * N, IMAGE, IMAGE)),
    "hardshrink": (F.hardshrink, (2 * N, IMAGE, IMAGE)),
    "tanh": (torch.tanh, (4 * N, IMAGE, IMAGE)),
    "hardsigmoid": (F.hardsigmoid, (4 * N, IMAGE, IMAGE)),
    "elu": (F.elu, (4 * N, IMAGE, IMAGE)),
    "softplus": (F.softplus, (4 * N, IMAGE, IMAGE)),
    "logaddexp": (lambda x: torch.logaddexp(x, x * 2), (4 * N, 2 * IMAGE, IMAGE)),
    "logaddexp2": (lambda x: torch.logaddexp2(x, x * 2), (4 * N, 2 * IMAGE, IMAGE)),
    "celu": (F.celu, (4 * N, IMAGE, IMAGE)),
    "mish": (F.mish, (5 * N, IMAGE, IMAGE)),
    "glu": (lambda x: F.glu(x, 1), (5 * N // 2, IMAGE, IMAGE // 2)),
    "xlogy": (lambda x: torch.xlogy(x, x * 2), (N, 2 * IMAGE, IMAGE)),
    "masked_fill": (lambda x: x.masked_fill(x > 0, 0), (N, IMAGE + N, IMAGE)),
    "clamp_min": (lambda x: x.clamp_min(0), (N, IMAGE, IMAGE)),
    "clamp_max": (lambda x: x.clamp_max(0), (N, IMAGE, IMAGE)),
    # Reductions: an operation for each element of the input, three for a spread.
    "amin": (lambda x: x.amin((2, 3)), (N, IMAGE, 4 * 4)),
    "argmax": (lambda x: x.argmax(1), (N, IMAGE, MAP * INT64)),
    "argmin": (lambda x: x.argmin(1), (N, IMAGE, MAP * INT64)),
    "cumsum": (lambda x: x.cumsum(3), (N, IMAGE, IMAGE)),
    "cumprod": (lambda x: x.cumprod(3), (N, IMAGE, IMAGE)),
    "logsumexp": (lambda x: x.logsumexp(1), (N, IMAGE, 4 * MAP)),
    "aminmax": (lambda x: torch.aminmax(x, dim=1), (N, IMAGE, 2 * 4 * MAP)),
    "nanmedian": (torch.nanmedian, (N, IMAGE, 4)),
    "count_nonzero": (torch.count_nonzero, (N, IMAGE, INT64)),
    "var_mean": (lambda x: torch.var_mean(x, 1), (3 * N, IMAGE, 2 * 4 * MAP)),
    "std_mean": (lambda x: torch.std_mean(x, 1), (3 * N, IMAGE, 2 * 4 * MAP)),
    "linalg_vector_norm": (lambda x: torch.linalg.vector_norm(x, dim=1), (3 * N, IMAGE, 4 * MAP)),
    "kthvalue": (lambda x: torch.kthvalue(x, 2, dim=1), (N, IMAGE, MAP * (4 + INT64))),
    "index_add": (
        lambda x: x.index_add(1, indices(0, 2), x[:, :2] * 2),
        (N // 2, IMAGE + IMAGE // 2 + 2 * INT64, IMAGE),
    ),
    "scatter_reduce": (
        lambda x: x.scatter_reduce(1, x[:, :1].long(), x[:, :1] * 2, "amax"),
        (N // 4, IMAGE + MAP * (INT64 + 4), IMAGE),
    ),
    # Windows: each element of them once.
    "avg_pool2d": (lambda x: F.avg_pool1d(x[0], 2), (N, IMAGE, IMAGE // 2)),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2), (N, IMAGE, IMAGE // 8)),
    "max_pool3d_with_indices": (lambda x: F.max_pool3d(x, 2), (N, IMAGE, N // 8 * (4 + INT64))),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 2), (N, IMAGE, 4 * 4 * 4)),
    "_adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, 2), (N, IMAGE, 4 * 8)),
    "adaptive_max_pool2d": (
        lambda x: F.adaptive_max_pool2d(x, 2), (N, IMAGE, 4 * 4 * (4 + INT64))
    ),
    "adaptive_max_pool3d": (lambda x: F.adaptive_max_pool3d(x, 2), (N, IMAGE, 8 * (4 + INT64))),
    # Larger maps: nothing for the nearest, two products and a sum for each side.
    "upsample_nearest1d": (lambda x: F.interpolate(x[0], scale_factor=2), (0, IMAGE, 2 * IMAGE)),
    "upsample_nearest3d": (lambda x: F.interpolate(x[None], scale_factor=2), (0, IMAGE, 8 * IMAGE)),
    "_upsample_nearest_exact2d": (
        lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"), (0, IMAGE, 4 * IMAGE)
    ),
    "upsample_linear1d": (
        lambda x: F.interpolate(x[0], scale_factor=2, mode="linear"), (3 * 2 * N, IMAGE, 2 * IMAGE)
    ),
    "upsample_bilinear2d": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (7 * 4 * N, IMAGE, 4 * IMAGE)
    ),
    "_upsample_bilinear2d_aa": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", antialias=True),
        (7 * 4 * N, IMAGE, 4 * IMAGE),
    ),
    "upsample_bicubic2d": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), (31 * 4 * N, IMAGE, 4 * IMAGE)
    ),
    "upsample_trilinear3d": (
        lambda x: F.interpolate(x[None], scale_factor=2, mode="trilinear"),
        (15 * 8 * N, IMAGE, 8 * IMAGE),
    ),
    # Movement: nothing is computed.
    "slice_scatter": (
        lambda x: x.slice_scatter(x[:, :1] * 2, 1, 0, 1), (0, IMAGE + 4 * MAP, IMAGE)
    ),
    "select_scatter": (lambda x: x.select_scatter(x[:, 0] * 2, 1, 0), (0, IMAGE + 4 * MAP, IMAGE)),
    "roll": (lambda x: x.roll(1, 3), (0, IMAGE, IMAGE)),
    "reflection_pad1d": (lambda x: F.pad(x[0], (1, 1), "reflect"), (0, IMAGE, 4 * 4 * 8 * 10)),
    "reflection_pad2d": (lambda x: F.pad(x, (1,) * 4, "reflect"), (0, IMAGE, 4 * 4 * 100)),
    "reflection_pad3d": (lambda x: F.pad(x, (1,) * 6, "reflect"), (0, IMAGE, 4 * 6 * 100)),
    "replication_pad1d": (lambda x: F.pad(x[0], (1, 1), "replicate"), (0, IMAGE, 4 * 4 * 8 * 10)),
    "replication_pad2d": (lambda x: F.pad(x, (1,) * 4, "replicate"), (0, IMAGE, 4 * 4 * 100)),
    "replication_pad3d": (lambda x: F.pad(x, (1,) * 6, "replicate"), (0, IMAGE, 4 * 6 * 100)),
    "im2col": (lambda x: F.unfold(x, 3, padding=1), (0, IMAGE, 9 * IMAGE)),
    "col2im": (lambda x: F.fold(x.view(1, 16, 16), 8, 2, stride=2), (0, IMAGE, IMAGE)),
    "tril": (torch.tril, (0, IMAGE, IMAGE)),
    "triu": (torch.triu, (0, IMAGE, IMAGE)),
    "rot90": (lambda x: torch.rot90(x, 1, (2, 3)), (0, IMAGE, IMAGE)),
    "diag_embed": (torch.diag_embed, (0, IMAGE, 8 * IMAGE)),
    "index_copy": (
        lambda x: x.index_copy(1, indices(0, 2), x[:, :2] * 2),
        (0, IMAGE + IMAGE // 2 + 2 * INT64, IMAGE),
    ),
    "index_fill": (lambda x: x.index_fill(1, indices(0, 2), 1.0), (0, IMAGE + 2 * INT64, IMAGE)),
    "masked_scatter": (lambda x: x.masked_scatter(x > 0, x * 2), (0, 2 * IMAGE + N, IMAGE)),
    "max_unpool2d": (
        lambda x: F.max_unpool2d(x, x.long(), 2), (0, IMAGE + N * INT64, 4 * IMAGE)
    ),
    "clone": (lambda x: torch.native_channel_shuffle(x, 2), (0, IMAGE, IMAGE)),
    # Made of nothing: only written.
    "full_like": (lambda x: torch.full_like(x, 2), (0, 0, IMAGE)),
    "new_ones": (lambda x: x.new_ones(8), (0, 0, 32)),
    "new_full": (lambda x: x.new_full((8,), 2), (0, 0, 32)),
    "rand_like": (torch.rand_like, (0, 0, IMAGE)),
    "randint_like": (lambda x: torch.randint_like(x, 9), (0, 0, IMAGE)),
    "randperm": (lambda x: torch.randperm(8, device="meta"), (0, 0, 8 * INT64)),
    "logspace": (lambda x: torch.logspace(0, 1, 8, device="meta"), (0, 0, 32)),
    "tril_indices": (lambda x: torch.tril_indices(3, 3, device="meta"), (0, 0, 2 * 6 * INT64)),
    "triu_indices": (lambda x: torch.triu_indices(3, 3, device="meta"), (0, 0, 2 * 6 * INT64)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_an_operator(name: str) -> None:
    function, expected = OTHERS[name]
    check(name, function, expected)


@pytest.mark.parametrize("spelled", ["_softmax", "_log_softmax", "_safe_softmax"])
def test_a_softmax_by_any_name(spelled: str) -> None:
    """Maximum, difference, exponential, sum and quotient."""
    call = getattr(torch.ops.aten, spelled)
    more = () if spelled == "_safe_softmax" else (False,)
    check(spelled, lambda x: call(x, 1, *more), (5 * N, IMAGE, IMAGE))


def test_products_by_other_names() -> None:
    """Each element of the sum once more."""
    added = only("baddbmm", lambda x: torch.baddbmm(x[0], x[0], x[0].mT))
    assert (added.cost.macs, added.cost.elementwise_flops) == (4 * 8 * 8 * 8, N)
    dot = only("dot", lambda x: torch.dot(x.view(-1), x.view(-1)))
    assert (dot.cost.macs, dot.cost.read_bytes, dot.cost.write_bytes) == (N, IMAGE, 4)
    row = only("addmv", lambda x: torch.addmv(x[0, 0, 0], x[0, 0], x[0, 0, 1]))
    assert (row.cost.macs, row.cost.elementwise_flops) == (8 * 8, 8)


def test_attention_as_a_processor_has_it() -> None:
    """One head of 8 queries and keys of width 8 for each map: two products and six of a softmax."""
    call = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    cost = only("_scaled_dot_product_flash_attention_for_cpu", lambda x: call(x, x, x)[0]).cost
    assert (cost.macs, cost.elementwise_flops) == (4 * 8 * 8 * (8 + 8), 6 * 4 * 8 * 8)


def test_batch_norm_by_another_name() -> None:
    call = torch.ops.aten._native_batch_norm_legit_no_training
    ones = torch.ones(4, device="meta")
    cost = only(
        "_native_batch_norm_legit_no_training",
        lambda x: call(x, ones, ones, ones, ones * 2, 0.1, 1e-5)[0],
    ).cost
    assert cost.elementwise_flops == 2 * N


def test_every_name_here_has_a_formula() -> None:
    assert {*ONE, *PREDICATES, *PAIRS, *COMPARED, *WHOLE, *OTHERS} <= FORMULAS.keys()
