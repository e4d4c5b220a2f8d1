"""Every formula against arithmetic done by hand, on single operators traced for real."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench import trace
from detrbench.counting.conventions import CONVENTIONS
from detrbench.counting.formulas import FORMULAS, UNCOUNTED, Call, TensorInfo
from detrbench.counting.tracing import Op
from detrbench.models.recurrent import has_one_kernel_per_layer, lstm_by_layer


class Calls(nn.Module):
    """A model that is one function of the image."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


def ops(
    model: nn.Module | Callable[[Tensor], Tensor], *, size: int = 8, channels: int = 4
) -> list[Op]:
    module = model if isinstance(model, nn.Module) else Calls(model)
    return list(trace(module, imgsz=size, channels=channels).ops)


def only(model: nn.Module | Callable[[Tensor], Tensor], *, size: int = 8, channels: int = 4) -> Op:
    (op,) = ops(model, size=size, channels=channels)
    return op


N = 4 * 8 * 8  # elements of the image that `ops` feeds
F32 = 4


def test_convolution() -> None:
    op = only(nn.Conv2d(4, 6, 3, bias=False))
    assert op.cost.macs == 6 * 6 * 6 * (4 * 3 * 3)  # outputs x taps
    assert op.cost.flops == 2 * op.cost.macs
    assert op.cost.elementwise_flops == 0
    assert op.cost.read_bytes == F32 * (N + 6 * 4 * 9)
    assert op.cost.write_bytes == F32 * 6 * 6 * 6
    assert op.memory_access_elements == N + 6 * 4 * 9 + 6 * 6 * 6


def test_convolution_in_groups_with_bias_and_stride() -> None:
    op = only(nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2))
    outputs = 8 * 4 * 4
    assert op.cost.macs == outputs * (4 // 2) * 9
    assert op.cost.elementwise_flops == outputs  # the bias
    assert op.cost.read_bytes == F32 * (N + 8 * 2 * 9 + 8)
    assert op.memory_access_elements == N + 8 * 2 * 9 + outputs  # no bias in the paper's cost


def test_transposed_convolution_counts_per_input_element() -> None:
    op = only(nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2, bias=False))
    assert op.cost.macs == N * (6 // 2) * 4
    assert op.cost.read_bytes == F32 * (N + 4 * 3 * 4)
    assert op.cost.write_bytes == F32 * 6 * 16 * 16


@pytest.mark.parametrize(
    ("c1", "c2", "groups", "elements"),
    [(128, 128, 1, 819_200), (36, 432, 1, 1_483_200), (360, 360, 8, 2_274_120)],
)
def test_the_papers_memory_access_cost(c1: int, c2: int, groups: int, elements: int) -> None:
    """arXiv 1807.11164, Eq. 1 and 2, at 56x56."""
    assert elements == 56 * 56 * (c1 + c2) + c1 * c2 // groups
    convolution = nn.Conv2d(c1, c2, 1, groups=groups, bias=False)
    assert trace(convolution, imgsz=56, channels=c1).memory_access_elements == elements


def test_the_papers_cost_of_shufflenet_v2_over_its_convolutions() -> None:
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    traced = trace(torchvision.models.shufflenet_v2_x1_0(weights=None), imgsz=224)
    found = [op.memory_access_elements for op in traced.ops if op.kind == "convolution"]
    assert sum(found) == 5_224_064
    assert traced.memory_access_elements == 5_224_064 + (1024 + 1024 * 1000 + 1000)  # and its fc


def test_linear_layer() -> None:
    op = only(nn.Linear(8, 5))
    assert op.cost.macs == 4 * 8 * 8 * 5
    assert op.cost.elementwise_flops == 4 * 8 * 5
    assert op.memory_access_elements == N + 8 * 5 + 4 * 8 * 5


def test_linear_layer_without_bias() -> None:
    op = only(nn.Linear(8, 5, bias=False))
    assert op.cost.macs == 4 * 8 * 8 * 5
    assert op.cost.elementwise_flops == 0
    assert op.cost.read_bytes == F32 * (N + 8 * 5)
    assert op.cost.write_bytes == F32 * 4 * 8 * 5


def test_product_of_two_activations_is_no_layer() -> None:
    op = next(op for op in ops(lambda x: torch.bmm(x[0], x[0].mT)) if op.name == "bmm")
    assert op.cost.macs == 4 * 8 * 8 * 8
    assert op.memory_access_elements == 0
    assert op.cost.read_bytes == F32 * N  # the transpose is the same data
    assert op.cost.write_bytes == F32 * 4 * 8 * 8


def test_fused_attention() -> None:
    op = only(lambda x: F.scaled_dot_product_attention(x, x, x))
    assert op.kind == "fused attention"
    assert op.cost.macs == 4 * 8 * 8 * (8 + 8)  # Q K^T and P V, per head
    assert op.cost.read_bytes == F32 * N  # one tensor, three times


def test_cross_attention_with_values_of_another_width() -> None:
    def attend(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x[:, :, :3], x, x[..., :5])

    products = [op for op in ops(attend) if op.cost.macs]  # no kernel fuses unequal widths
    assert [op.cost.macs for op in products] == [4 * (3 * 8) * 8, 4 * (3 * 8) * 5]
    assert {op.part_of for op in products} == {"scaled_dot_product_attention"}
    assert products[-1].cost.write_bytes == F32 * 4 * 3 * 5


def test_batch_norm_in_evaluation() -> None:
    op = only(nn.BatchNorm2d(4).eval())
    assert op.cost.elementwise_flops == 2 * N
    assert op.cost.read_bytes == F32 * (N + 4 * 4)
    assert op.cost.write_bytes == F32 * N


def test_cat_reads_all_and_writes_all() -> None:
    op = next(op for op in ops(lambda x: torch.cat((x, x.relu()), 1)) if op.name == "cat")
    assert op.cost.read_bytes == op.cost.write_bytes == F32 * 2 * N


def test_a_broadcast_dimension_is_read_once() -> None:
    op = only(lambda x: x + x[:, :1, :1, :1].expand(1, 4, 8, 8))
    assert op.cost.read_bytes == F32 * (N + 1)
    assert op.cost.write_bytes == F32 * N


def test_views_are_free() -> None:
    assert not ops(lambda x: x.flatten(2).transpose(1, 2)[:, 1:].chunk(3, 1)[0])


def test_views_made_in_place_are_free() -> None:
    (op,) = ops(lambda x: x.relu().unsqueeze_(0).transpose_(0, 1).squeeze_(0))
    assert op.name == "relu"


def test_allocating_is_free() -> None:
    (op,) = ops(lambda x: torch.empty_like(x).copy_(x))
    assert (op.cost.read_bytes, op.cost.write_bytes) == (F32 * N, F32 * N)


def test_a_destination_is_written_and_not_read() -> None:
    (op,) = ops(lambda x: torch.add(x, 1, out=torch.empty_like(x)))
    assert (op.cost.read_bytes, op.cost.write_bytes) == (F32 * N, F32 * N)


def test_overlapping_windows_are_read_once() -> None:
    op = only(lambda x: x.unfold(3, 3, 1).contiguous())
    assert op.cost.read_bytes == F32 * N
    assert op.cost.write_bytes == F32 * 4 * 8 * 6 * 3


def test_nothing_is_read_of_an_empty_view() -> None:
    op = only(lambda x: torch.cat((x, x[:, :, :0]), 2))
    assert op.cost.read_bytes == F32 * N


def test_in_place_reads_and_writes_but_allocates_nothing() -> None:
    plain = trace(Calls(lambda x: x.relu().sigmoid()), 8, 1, 4)
    in_place = trace(Calls(lambda x: x.relu().sigmoid_()), 8, 1, 4)
    assert in_place.traffic_eager_bytes == plain.traffic_eager_bytes
    assert plain.peak_activation_bytes - in_place.peak_activation_bytes == F32 * N


def test_gather_reads_the_rows_it_takes_and_the_indices() -> None:
    def take(x: Tensor) -> Tensor:
        return x.gather(3, torch.zeros(1, 4, 8, 2, dtype=torch.int64, device=x.device))

    op = next(op for op in ops(take) if op.name == "gather")
    assert op.cost.read_bytes == 4 * 8 * 2 * (F32 + 8)


@pytest.mark.parametrize(
    ("name", "take"),
    [
        ("index", lambda x, rows: x[:, :, rows]),
        ("index_select", lambda x, rows: x.index_select(2, rows)),
    ],
)
def test_index_reads_the_rows_it_takes_and_the_indices(
    name: str, take: Callable[[Tensor, Tensor], Tensor]
) -> None:
    def rows(x: Tensor) -> Tensor:
        return take(x, torch.zeros(3, dtype=torch.int64, device=x.device))

    op = next(op for op in ops(rows) if op.name == name)
    assert op.cost.read_bytes == F32 * 4 * 3 * 8 + 3 * 8
    assert op.cost.write_bytes == F32 * 4 * 3 * 8


def test_embedding_reads_rows() -> None:
    table = nn.Embedding(1000, 16)

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = table

        def forward(self, images: Tensor) -> Tensor:
            return self.table(torch.zeros(3, dtype=torch.int64, device=images.device))

    op = next(op for op in ops(Looks()) if op.name == "embedding")
    assert op.cost.read_bytes == 3 * 16 * F32 + 3 * 8


def test_grid_sample_reads_four_taps_or_the_whole_map() -> None:
    def few(x: Tensor) -> Tensor:
        return F.grid_sample(x, torch.zeros(1, 1, 2, 2, device=x.device), align_corners=False)

    def many(x: Tensor) -> Tensor:
        return F.grid_sample(x, torch.zeros(1, 9, 9, 2, device=x.device), align_corners=False)

    of_few = next(op for op in ops(few) if op.kind == "grid sample")
    of_many = next(op for op in ops(many) if op.kind == "grid sample")
    assert of_few.cost.read_bytes == F32 * (4 * (4 * 2) + 2 * 2)
    assert of_many.cost.read_bytes == F32 * (N + 9 * 9 * 2)


def test_max_pool_writes_its_indices_too() -> None:
    op = only(nn.MaxPool2d(2))
    assert op.cost.write_bytes == 4 * 4 * 4 * (F32 + 8)
    assert op.cost.elementwise_flops == 4 * 4 * 4 * 4


def test_max_pool_along_a_sequence_of_maps() -> None:
    op = only(lambda x: F.max_pool3d(x.view(1, 1, 4, 8, 8), (2, 1, 1)))
    assert op.kind == "pooling"
    assert op.cost.elementwise_flops == 2 * (2 * 8 * 8)


def test_average_pool_adds_up_its_windows() -> None:
    """ShuffleNet's 3x3 of stride 2 with padding, and DenseNet's 2x2."""
    op = only(nn.AvgPool2d(3, 2, 1))
    assert op.kind == "pooling"
    assert op.cost.macs == 0
    assert op.cost.elementwise_flops == 4 * 4 * 4 * 9
    assert (op.cost.read_bytes, op.cost.write_bytes) == (F32 * N, F32 * 4 * 4 * 4)
    assert only(nn.AvgPool2d(2)).cost.elementwise_flops == 4 * 4 * 4 * 4


def test_a_channel_shuffle_by_views_is_one_copy() -> None:
    op = only(lambda x: x.view(1, 2, 2, 8, 8).transpose(1, 2).reshape(1, 4, 8, 8))
    assert (op.name, op.kind) == ("clone", "data movement")
    assert (op.cost.macs, op.cost.elementwise_flops) == (0, 0)
    assert op.cost.read_bytes == op.cost.write_bytes == F32 * N


def test_a_channel_shuffle_by_stacking_copies_both_halves_at_once() -> None:
    op = only(lambda x: torch.stack(x.chunk(2, 1), 2).flatten(1, 2))
    assert (op.name, op.kind) == ("stack", "data movement")
    assert op.cost.read_bytes == op.cost.write_bytes == F32 * N


def test_relu6_has_two_ends() -> None:
    op = only(nn.ReLU6(inplace=True))
    assert op.cost.elementwise_flops == 2 * N
    assert op.cost.read_bytes == op.cost.write_bytes == F32 * N


def test_dense_layers_read_and_write_all_that_came_before_again() -> None:
    """Three layers of four channels each: the copies grow by the input each time."""

    def dense(x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.cat((x, x[:, :4].relu()), 1)
        return x

    copies = [op for op in ops(dense) if op.name == "cat"]
    assert [op.cost.read_bytes for op in copies] == [F32 * k * N for k in (2, 3, 4)]
    assert [op.cost.write_bytes for op in copies] == [F32 * k * N for k in (2, 3, 4)]


def test_softmax_and_layer_norm() -> None:
    assert only(nn.Softmax(-1)).cost.elementwise_flops == 5 * N
    norm = only(nn.LayerNorm(8))
    assert norm.cost.elementwise_flops == 7 * N
    assert norm.cost.read_bytes == F32 * (N + 2 * 8)


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float64, 8), (torch.bfloat16, 2), (torch.float16, 2)]
)
def test_bytes_follow_the_dtype(dtype: torch.dtype, size: int) -> None:
    op = only(nn.Conv2d(4, 6, 1, bias=False).to(dtype))
    assert op.cost.read_bytes == size * (N + 24)
    assert op.cost.write_bytes == size * 6 * 64


# --- attention, complex numbers, operators of torchvision -----------------------------------------


@pytest.mark.parametrize("query", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_attention_is_as_large_as_its_output(query: tuple[int, int]) -> None:
    def attend(x: Tensor) -> Tensor:
        keys = x.new_zeros(2, 3, 6, 8)
        return F.scaled_dot_product_attention(x.new_zeros(*query, 5, 8), keys, keys)

    assert sum(op.cost.macs for op in ops(attend)) == 2 * 3 * 5 * 6 * (8 + 8)


@pytest.mark.parametrize(("shape", "booked"), [((2, 3, 5, 8), 0), ((2, 2, 3, 5, 8), 2)])
def test_torch_counts_attention_where_a_processor_does_not_fuse_it(
    shape: tuple[int, ...], booked: int
) -> None:
    def attend(x: Tensor) -> Tensor:
        q = x.new_zeros(shape)
        return F.scaled_dot_product_attention(q, q, q)

    found = ops(attend)
    assert CONVENTIONS["torch"].flops(found) == booked * 2 * (2 * 3 * 5 * 5 * 16)
    assert CONVENTIONS["fvcore"].flops(found) == 0


def test_what_attention_gives_lies_as_its_query_did() -> None:
    def attend(x: Tensor) -> Tensor:
        q, k, v = x.new_zeros(2, 5, 3, 4, 8).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 5, 32)

    assert "clone" not in {op.name for op in ops(attend)}


def test_a_complex_product_is_four() -> None:
    def multiply(x: Tensor) -> Tensor:
        a = torch.zeros(10, 20, dtype=torch.complex64, device=x.device)
        return a @ a.mT

    found = ops(multiply)
    assert sum(op.cost.macs for op in found) == 4 * 10 * 20 * 10
    assert CONVENTIONS["torch"].flops(found) == 2 * 10 * 20 * 10  # FlopCounterMode takes it for one


def on_complex(name: str, shape: tuple[int, ...] = (10, 20)) -> Call:
    """A call on two complex matrices of 10 x 20, of 8 bytes an element."""
    z = TensorInfo((10, 20), 8, 200, 0, 0, 0, False, True, is_complex=True)
    out = z._replace(shape=shape, distinct=prod(shape), storage=1)
    return Call(name, (z, z), {}, (z, z), (out,))


@pytest.mark.parametrize(
    ("name", "flops"),
    [("add", 2), ("sub", 2), ("mul", 4 + 2), ("div", (4 + 2) + 3 + 2), ("abs", 2 + 1 + 1)],
)
def test_elementwise_work_on_complex_numbers(name: str, flops: int) -> None:
    call = on_complex(name)
    assert FORMULAS[name].holds(call)
    assert FORMULAS[name].cost(call).elementwise_flops == flops * 10 * 20


def test_complex_sums_and_moves() -> None:
    assert FORMULAS["sum"].cost(on_complex("sum", ())).elementwise_flops == 2 * 10 * 20
    assert FORMULAS["cat"].holds(on_complex("cat", (20, 20)))
    assert FORMULAS["cat"].cost(on_complex("cat", (20, 20))).elementwise_flops == 0


@pytest.mark.parametrize("name", ["exp", "sigmoid", "prod", "addcmul"])
def test_no_other_formula_holds_for_complex_numbers(name: str) -> None:
    assert not FORMULAS[name].holds(on_complex(name))


def test_a_real_tensor_times_i_is_complex() -> None:
    assert ops(lambda x: x.new_zeros(10, 20) * 1j)[-1].cost.elementwise_flops == 6 * 10 * 20


def test_what_has_no_formula_for_complex_numbers_is_named() -> None:
    def calculate(x: Tensor) -> Tensor:
        return torch.zeros(10, 20, dtype=torch.complex64, device=x.device).prod()

    assert ops(calculate)[-1].kind == UNCOUNTED.kind


@pytest.mark.parametrize("modulated", [True, False])
def test_a_deformable_convolution(modulated: bool) -> None:
    vision = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")

    def deform(x: Tensor) -> Tensor:
        mask = x.new_zeros(1, 9, 6, 6) if modulated else None
        places = x.new_zeros(1, 18, 6, 6)
        result: Tensor = vision.deform_conv2d(x, places, x.new_zeros(5, 4, 3, 3), mask=mask)
        return result

    op = next(op for op in ops(deform) if op.name == "torchvision.deform_conv2d")
    assert op.cost.macs == 6 * 6 * 5 * 4 * 9
    assert op.cost.elementwise_flops == 6 * 6 * (4 * 9 * (8 if modulated else 7) + 5)
    assert CONVENTIONS["torch"].flops([op]) == CONVENTIONS["fvcore"].flops([op]) == 0


@pytest.mark.parametrize("grid", [2, -1])
def test_regions_are_counted_where_their_grid_is_known(grid: int) -> None:
    vision = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")

    def pool(x: Tensor) -> Tensor:
        result: Tensor = vision.roi_align(x, x.new_zeros(3, 5), 2, sampling_ratio=grid)
        return result

    op = next(op for op in ops(pool) if op.name == "torchvision.roi_align")
    known = grid > 0
    assert op.kind == ("grid sample" if known else "uncounted")
    assert op.cost.elementwise_flops == (8 * 3 * 4 * (2 * 2) * (2 * 2) if known else 0)


def test_a_copy_with_channels_last_is_made_twice() -> None:
    last = lambda x: x.contiguous(memory_format=torch.channels_last)  # noqa: E731
    assert len(ops(last)) == 1
    assert len(ops(lambda x: last(x).permute(0, 2, 3, 1).contiguous())) == 1


def test_weights_with_channels_last_make_maps_so() -> None:
    def convolve(x: Tensor) -> Tensor:
        weight = x.new_zeros(6, 4, 3, 3).to(memory_format=torch.channels_last)
        return F.conv2d(x, weight).permute(0, 2, 3, 1).contiguous()

    assert ops(convolve)[-1].name == "convolution"  # no copy after it


def test_batch_norm_of_a_transposed_map_is_contiguous() -> None:
    class Turns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(4)

        def forward(self, images: Tensor) -> Tensor:
            result: Tensor = self.norm(images.transpose(2, 3))
            return result.reshape(-1)

    assert [op.name for op in ops(Turns())] == ["native_batch_norm"]  # no copy after it


# --- recurrent layers, and products by other names ------------------------------------------------


def test_an_lstm_is_one_kernel_for_each_layer_and_direction() -> None:
    """Four gates of 3 units, for 8 steps of 4 sequences of 8."""

    def both_ways(images: Tensor) -> Tensor:
        out: Tensor = layer(images[0])[0]
        return out

    layer = nn.LSTM(8, 3, bidirectional=True, batch_first=True).to("meta").eval()
    first, second = (op for op in ops(both_ways) if op.name == "mkldnn_rnn_layer")
    for op in (first, second):
        assert op.cost.macs == 8 * 4 * 4 * 3 * (8 + 3)
        assert op.cost.elementwise_flops == 8 * 4 * 3 * 36
        assert op.cost.read_bytes == F32 * (N + 12 * (8 + 3) + 2 * 12 + 2 * 4 * 3)
        assert op.cost.write_bytes == F32 * (8 * 4 * 3 + 2 * 4 * 3)
        assert CONVENTIONS["torch"].flops([op]) == CONVENTIONS["fvcore"].flops([op]) == 0


def test_an_lstm_in_one_kernel_counts_what_it_does_in_parts() -> None:
    """In float64, which no processor fuses, and with or without biases."""
    for biased in (True, False):
        layer = nn.LSTM(8, 3, 2, bias=biased, batch_first=True)
        single = nn.Sequential(nn.Flatten(1, 2), layer).eval()
        double = nn.Sequential(nn.Flatten(1, 2), nn.LSTM(8, 3, 2, bias=biased, batch_first=True))
        fused, parts = (trace(one, (2, 8), channels=1) for one in (single, double.double()))
        assert (fused.macs, fused.elementwise_flops) == (parts.macs, parts.elementwise_flops)
        assert fused.kernels < 15 < parts.kernels


def test_an_lstm_gives_what_the_fused_kernel_gives() -> None:
    x, layer = torch.rand(2, 5, 8), nn.LSTM(8, 3, 2, batch_first=True, bidirectional=True).eval()
    state = [torch.rand(4, 2, 3), torch.rand(4, 2, 3)]
    weights: list[Tensor] = layer._flat_weights
    options = (True, 2, 0.0, False, True, True)
    with torch.inference_mode():
        assert has_one_kernel_per_layer(x, state, weights, *options)
        ours = lstm_by_layer(x, state, weights, *options)
        theirs = torch.lstm(x, state, weights, *options)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
        assert one.stride() == other.stride()


def test_a_bilinear_layer() -> None:
    """For each of 5 outputs and 32 rows: 8 x 8, then 8 more."""
    layer = nn.Bilinear(8, 8, 5, bias=False).to("meta")
    op = next(op for op in ops(lambda x: layer(x, x)) if op.name == "_trilinear")
    assert op.cost.macs == 32 * 5 * (8 * 8 + 8)


def test_distances() -> None:
    """Of 32 rows of 8 each: as a product from 26 rows on, else side by side."""
    many = next(
        op
        for op in ops(lambda x: torch.cdist(x.view(32, 8), x.view(32, 8)))
        if op.name == "_euclidean_dist"
    )
    assert many.cost.macs == 32 * 32 * (8 + 2)
    assert many.cost.elementwise_flops == 5 * N + 2 * 32 * 32
    few = next(op for op in ops(lambda x: torch.cdist(x, x)) if op.name == "_cdist_forward")
    assert (few.cost.macs, few.cost.elementwise_flops) == (0, 4 * 8 * 8 * (3 * 8 + 1))


@pytest.mark.parametrize(
    ("function", "macs", "flops"),
    [
        (lambda x: torch.vdot(x.view(-1), x.view(-1)), N, 0),
        (lambda x: torch._int_mm(x.to(torch.int8).view(32, 8), x[0, 0].to(torch.int8)), 32 * 64, 0),
        (lambda x: x.cummax(3)[0], 0, N),
        (lambda x: x.logcumsumexp(3), 0, N),
        (torch.randn_like, 0, 0),
        (lambda x: torch.complex(x, x), 0, 0),
        (lambda x: torch.polar(x, x), 0, 4 * N),
        (lambda x: torch._weight_norm_interface(x, x.new_zeros(1, 1, 1, 8), 3)[0], 0, 4 * N + 8),
        (lambda x: x.scatter_add(3, torch.zeros_like(x, dtype=torch.int64), x), 0, N),
        (lambda x: F.interpolate(x[0], scale_factor=2, mode="linear"), 0, 3 * 2 * N),
        (lambda x: torch.addr(x[0, 0], x[0, 0, 0], x[0, 0, 1]), 0, 2 * 64),
    ],
)
def test_what_needs_no_product_or_has_another_name(
    function: Callable[[Tensor], Tensor], macs: int, flops: int
) -> None:
    traced = trace(Calls(function), 8, channels=4)
    assert not traced.uncounted
    assert (traced.macs, traced.elementwise_flops) == (macs, flops)
