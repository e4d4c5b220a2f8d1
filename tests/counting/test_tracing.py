"""The trace: what it counts on whole models, and that it leaves no trace of itself."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import random
import signal
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
import torch._higher_order_ops
import torch.fx.experimental.symbolic_shapes  # or each copy of the process would import it
import torch.nn.functional as F
from torch import Tensor, nn

from detrbench import build
from detrbench.core.apart import CAN_COPY
from detrbench.core.errors import UsageError
from detrbench.counting import tracing
from detrbench.counting.tracing import GROUPINGS, Grouping, TraceError, trace
from detrbench.models.detector import Detector

ADDITIVE = (
    "params",
    "params_unused",
    "macs",
    "elementwise_flops",
    "memory_access_elements",
    "traffic_eager_bytes",
    "traffic_fused_bytes",
    "traffic_min_bytes",
    "kernels",
)


@pytest.fixture(scope="module")
def rtdetr() -> Detector:
    return build("rtdetr-l", 80, device="meta")


# --- whole detectors ----------------------------------------------------------------------------


def test_rtdetr_l_core_flops_to_the_last_operator(rtdetr: Detector) -> None:
    traced = tracing._trace_with(tracing._meta, rtdetr, (1, 3, 640, 640))
    assert traced.flops == 109_536_153_600
    assert traced.macs * 2 == traced.flops
    assert traced.params == 32_970_476
    assert traced.params_unused == 5 * (256 * 80 + 80) + 80 * 256  # score heads, denoising
    assert not traced.uncounted


def test_fusing_is_part_of_the_number() -> None:
    fused = trace(build("rtdetr-l", 80, device="meta").fuse())
    assert fused.flops == 105_603_993_600
    assert fused.params == 32_148_140


def test_least_traffic_is_parameters_input_and_output(rtdetr: Detector) -> None:
    expected = 4 * (32_970_476 + 3 * 640 * 640 + 300 * (80 + 4))
    assert trace(rtdetr).traffic_min_bytes == expected


def test_traffics_are_ordered(rtdetr: Detector) -> None:
    traced = trace(rtdetr)
    assert traced.traffic_min_bytes < traced.traffic_fused_bytes < traced.traffic_eager_bytes
    assert traced.arithmetic_intensity == traced.flops / traced.traffic_eager_bytes


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("depth", [None, 2])
def test_parts_add_up_to_the_whole(rtdetr: Detector, grouping: Grouping, depth: int | None) -> None:
    traced = trace(rtdetr, (160, 192))
    parts = traced.by(grouping, depth).values()
    for name in ADDITIVE:
        assert sum(getattr(part, name) for part in parts) == getattr(traced, name), name
    assert max(part.peak_activation_bytes for part in parts) == traced.peak_activation_bytes


def test_stages_come_from_the_model_file(rtdetr: Detector) -> None:
    assert list(trace(rtdetr, 160).by("stage")) == ["backbone", "neck", "decoder"]


class Stages(nn.Module):
    """Has `stages` of its own, as many backbones do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.stages = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 1)])

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        return x


def test_a_models_own_stages_are_not_taken_for_ours() -> None:
    traced = trace(Stages(), 8)
    assert traced.stages == {}
    assert list(traced.by("stage")) == ["stem", "stages"]


@pytest.mark.parametrize("value", ["a text", 4, [1, 2], {"0": "backbone"}])
def test_nor_is_anything_else_that_it_calls_so(value: object) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    model.stages = value  # type: ignore[assignment]
    assert list(trace(model, 8).by("stage")) == ["0"]


def test_any_module_may_name_its_stages() -> None:
    model = Stages()
    model.detrbench_stages = {"stem": "backbone", "stages.0": "backbone", "stages": "neck"}  # type: ignore[assignment]
    parts = trace(model, 8).by("stage")
    assert {name: part.macs for name, part in parts.items()} == {
        "backbone": 64 * (3 * 4 + 4 * 4),
        "neck": 64 * 4 * 8,
    }


def test_a_plain_module_has_its_children_as_stages() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    assert list(trace(model, 8).by("stage")) == ["0", "1"]


def test_memory_or_none_is_the_same() -> None:
    on_cpu, on_meta = (trace(build("shufflev2", 3, device=d), 96) for d in ("cpu", "meta"))
    assert on_cpu == on_meta


def test_images_of_one_channel() -> None:
    traced = trace(nn.Conv2d(1, 4, 3, bias=False), 8, channels=1)
    assert traced.macs == 4 * 6 * 6 * 9
    assert traced.traffic_min_bytes == 4 * (4 * 9 + 8 * 8 + 4 * 6 * 6)


def test_half_precision_halves_what_moves() -> None:
    model = build("shufflev2-x0.5", 3, device="meta")
    single, half = trace(model, 96), trace(copy.deepcopy(model).half(), 96)
    assert half.traffic_min_bytes * 2 == single.traffic_min_bytes
    assert half.macs == single.macs
    assert half.traffic_eager_bytes < 0.6 * single.traffic_eager_bytes  # indices stay as wide


def test_the_number_of_operators_does_not_depend_on_the_image_size(rtdetr: Detector) -> None:
    small, large = (trace(rtdetr, size) for size in (320, 1280))
    assert [op.name for op in small.ops] == [op.name for op in large.ops]


def test_batch_multiplies_work_and_not_weights(rtdetr: Detector) -> None:
    one, three = (trace(rtdetr, 160, batch) for batch in (1, 3))
    position = 2 * 5 * 5 * 64  # the embedding's products are made once per batch
    assert three.macs - position == 3 * (one.macs - position)
    assert three.params == one.params


@pytest.mark.parametrize("name", ["rtdetr-l", "shufflev2"])
def test_peak_equals_torchs_own_tracker(name: str) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType

    model = build(name, 3)
    ours = trace(model, (96, 128)).peak_activation_bytes
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        images = torch.empty(1, 3, 96, 128)
        tracker = MemTracker()
        tracker.track_external(model, images)
        with tracker:
            model(images)
        (peak,) = tracker.get_tracker_snapshot("peak").values()
    assert ours == sum(peak[kind] for kind in (_MemRefType.ACT, _MemRefType.TEMP, _MemRefType.OTH))


def _real(stack: ExitStack) -> str:
    """Real tensors, and no garbage in those that are made empty."""
    for name in ("empty", "empty_strided"):
        make = getattr(torch, name)
        filled = lambda *shape, make=make, **of: make(*shape, **of).fill_(0.5)  # noqa: E731
        stack.enter_context(mock.patch.object(torch, name, filled))
    return "cpu"


@pytest.mark.parametrize("name", ["shufflev2", "rtdetr-resnet50"])
def test_shapes_alone_give_what_real_execution_gives(name: str) -> None:
    model = build(name, 3)
    on_meta = trace(model, 96)
    executed = tracing._trace_with(_real, model, (1, 3, 96, 96))
    assert [op.name for op in executed.ops] == [op.name for op in on_meta.ops]
    assert [op.cost for op in executed.ops] == [op.cost for op in on_meta.ops]
    assert [op.module for op in executed.ops] == [op.module for op in on_meta.ops]


class LastChannels(nn.Module):
    """A map with its channels last is added to itself, then goes through a layer of products."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        last = images.permute(0, 2, 3, 1)
        result: Tensor = self.layer(last + last)
        return result


@pytest.mark.parametrize("imgsz", [(16, 32), (1, 32), (16, 1)])
def test_what_is_made_of_a_permuted_map_keeps_its_shape(imgsz: tuple[int, int]) -> None:
    traced = trace(LastChannels(), imgsz)
    assert traced.macs == imgsz[0] * imgsz[1] * 3 * 5
    assert traced.ops[-1].out.shape[-1] == 5


@pytest.mark.parametrize("name", ["shufflev2"])
def test_fake_tensors_give_what_meta_gives(name: str) -> None:
    model = build(name, 3, device="meta")
    on_meta = tracing._trace_with(tracing._meta, model, (1, 3, 96, 96))
    faked = tracing._trace_with(tracing._fake, model, (1, 3, 96, 96))
    for field in (*ADDITIVE, "peak_activation_bytes"):
        assert getattr(faked, field) == getattr(on_meta, field), field


# --- models of every kind -----------------------------------------------------------------------


def test_attentions_fast_path_hides_nothing() -> None:
    """q = k = v in evaluation would run as one fused operator that counters see as 0."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()

    class Encodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, images: Tensor) -> Tensor:
            return self.layer(images.flatten(2).transpose(1, 2))

    tokens = 5 * 6
    projections = tokens * 16 * (3 * 16) + tokens * 16 * 16
    products = 4 * tokens * tokens * (4 + 4)
    feed_forward = 2 * tokens * 16 * 32
    assert trace(Encodes(), (5, 6), channels=16).macs == projections + products + feed_forward


def test_a_model_that_looks_at_values_is_traced_with_fake_tensors() -> None:
    class Looks(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            steps = torch.tensor([1.0, 2.0]).to(images).cpu().sum().item()
            return images * steps

    with pytest.raises(tracing._Untraceable):
        tracing._trace_with(tracing._meta, Looks(), (1, 3, 8, 8))
    assert "mul" in {op.name for op in trace(Looks(), 8).ops}


def test_a_model_that_names_a_device_is_traced_with_fake_tensors() -> None:
    class Names(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images + torch.ones(8, device="cpu") * 2

    assert [op.name for op in trace(Names(), 8).ops][-1] == "add"


def test_an_operator_without_a_formula_is_named() -> None:
    class Transforms(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.special.i0e(images).relu()

    (unknown,) = trace(Transforms(), 8).uncounted
    assert (unknown.name, unknown.totals.kernels) == ("aten.special_i0e", 1)
    assert unknown.totals.traffic_eager_bytes == 2 * 4 * 3 * 8 * 8


def test_an_operator_of_another_library_is_no_aten_operator() -> None:
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")

    class Pools(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            regions = torch.zeros(2, 5, device=images.device)
            result: Tensor = ops.roi_pool(images, regions, 2)
            return result

    traced = trace(Pools(), 8)
    assert [unknown.name for unknown in traced.uncounted] == ["torchvision.roi_pool"]
    assert not traced.complete
    assert "torchvision.roi_pool" in traced.by("op")


class Asserts(nn.Module):
    """Calls an operator that returns nothing, and one whose result is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        y: Tensor = self.conv(images)
        torch._assert_async(torch.isfinite(y).all())
        return y + y[:0].relu().sum()


def test_an_operator_without_a_result_is_named() -> None:
    traced = trace(Asserts(), 8)
    assert [unknown.name for unknown in traced.uncounted] == ["aten._assert_async"]
    assert traced.macs == 64 * 3 * 4
    (empty,) = (op for op in traced.ops if op.name == "relu")
    assert (empty.out.shape, empty.cost.elementwise_flops) == ((0, 4, 8, 8), 0)


def test_a_formula_does_not_fit_a_call_of_other_arguments() -> None:
    recorder = tracing._Recorder(nn.Identity(), torch.empty(1, 3, 8, 8, device="meta"))
    mm = tracing._operator(torch.ops.aten.mm.default)
    recorder._record(mm, (torch.empty(2, 3, device="meta"), 4), {}, None)
    assert [op.kind for op in recorder.ops] == ["uncounted"]


def test_a_forward_that_fails_says_where(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(5, 4, 1))
    with pytest.raises(TraceError, match="1: the forward failed") as caught:
        trace(model, 8)
    assert "5 channels" in str(caught.value)
    assert caught.value.exit_code == 4
    assert not caplog.records  # said once, and not by torch


def test_a_dimension_that_is_not_there_fails_as_it_does_for_real(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Joins(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.cat((images, images), 7)

    with pytest.raises(TraceError, match="Dimension out of range"):
        trace(Joins(), 8)
    assert not caplog.records


def test_torchscript_is_refused_with_the_cure() -> None:
    with pytest.warns(FutureWarning):
        script = torch.jit.script(nn.Conv2d(3, 4, 1))
    with pytest.raises(TraceError, match="TorchScript"):
        trace(script, 8)


class Packed(Tensor):
    """Weights that a linear layer multiplies by a scale whenever it reads them."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.linear:
            args = (args[0], args[1].as_subclass(Tensor) * 2, *args[2:])
        return super().__torch_function__(func, types, args, kwargs or {})


class Named(Tensor):
    """Computes as any tensor does."""


@pytest.mark.parametrize("kind", [nn.Parameter, Named])
def test_weights_of_another_class_are_counted_where_they_compute_as_any(kind: type[Tensor]) -> None:
    linear = nn.Linear(8, 2, bias=False)
    linear.weight = nn.Parameter(torch.ones(2, 8).as_subclass(kind))
    assert trace(nn.Sequential(linear), 8).macs == 3 * 8 * 2 * 8


def test_weights_that_compute_in_ways_of_their_own_are_refused() -> None:
    linear = nn.Linear(8, 2)
    linear.weight = nn.Parameter(torch.ones(2, 8).as_subclass(Packed))
    with pytest.raises(TraceError, match="weight is a Packed, a class of tensors") as caught:
        trace(nn.Sequential(linear), 8)
    assert caught.value.where == "0"


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_a_quantised_model_is_refused_with_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "CAN_COPY", False)
    linear = nn.Linear(8, 2)
    linear.register_buffer("kept", torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8))
    with pytest.raises(TraceError, match="quantised") as caught:
        trace(nn.Sequential(linear), 8)
    assert caught.value.where == "0"
    assert "floating-point model" in (caught.value.hint or "")


class Branches(nn.Module):
    """A convolution, and then a higher-order operator of torch."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.name = name

    def forward(self, images: Tensor) -> Any:
        of_functions = torch.ops.higher_order
        y = self.conv(images)
        if self.name == "cond":
            return of_functions.cond(y.sum() > 0, torch.relu, torch.neg, (y,))
        if self.name == "while_loop":
            return of_functions.while_loop(lambda z: z.sum() > 0, torch.neg, (y,), ())
        if self.name == "_pack_padded_sequence":
            return torch._pack_padded_sequence(y[0], torch.tensor([8, 8, 8, 4]), False)
        return of_functions.associative_scan(torch.add, (y,), ())


@pytest.mark.parametrize("name", ["cond", "while_loop", "_pack_padded_sequence"])
def test_operators_of_values_are_named(name: str) -> None:
    traced = tracing._traced(Branches(name), (1, 3, 8, 8))
    assert traced.unfollowed == f"torch's {name} in the forward itself"
    assert traced.macs == 64 * 3 * 4


def test_an_operator_that_calls_functions_is_refused_by_its_name() -> None:
    with pytest.raises(TraceError, match=r"torch's associative_scan calls functions of its own"):
        tracing._traced(Branches("another"), (1, 3, 8, 8))


@pytest.mark.skipif(not CAN_COPY, reason="this system does not copy processes")
@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (KeyboardInterrupt(), "Raises: the forward failed on images of shape (1, 3, 8, 8): Key"),
        (BaseException("base"), "shape (1, 3, 8, 8): BaseException: base"),
    ],
)
def test_whatever_a_forward_raises_is_named(raised: BaseException, said: str) -> None:
    class Raises(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise raised

    with pytest.raises(TraceError) as caught:
        trace(Raises(), 8)
    assert said in str(caught.value)


def test_an_exit_in_a_forward_is_named_once() -> None:
    class Exits(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise SystemExit(3)

    with pytest.raises(TraceError, match=r"SystemExit: 3\n  Check [^.]*\.$"):
        tracing._traced(Exits(), (1, 3, 8, 8))


@pytest.mark.skipif(not CAN_COPY, reason="this system does not copy processes")
def test_a_forward_that_ends_its_process_is_told_in_plain_words() -> None:
    class Ends(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            os.kill(os.getpid(), signal.SIGKILL)
            return images

    with pytest.raises(TraceError, match=r"it ended the process that it ran in, by signal 9 \(K"):
        trace(Ends(), 8)


def test_a_module_of_torch_fx_counts_as_what_it_was_made_of() -> None:
    """torch.fx makes a class for each of its modules, and another for each copy."""
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    graph = torch.fx.symbolic_trace(plain)
    graph.others = weights = [plain[0].weight.view(-1)]  # so that its tensors cannot be swapped
    traced = trace(graph, 8)
    assert weights is graph.others
    assert traced.modules[""] is type(graph)
    again = torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).to("meta"))
    assert traced.flops == trace(again, 8, in_place=True).flops == 2 * 64 * 3 * 4


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_module_is_refused_with_the_cure() -> None:
    with pytest.raises(TraceError, match="call a lazy module once"):
        trace(nn.Sequential(nn.LazyConv2d(4, 1)), 8)


def test_autocast_is_followed() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.conv(images)

    enter = torch.autocast.__enter__
    traced = trace(Casts(), 8)
    assert [op.name for op in traced.ops] == ["_to_copy", "_to_copy", "convolution"]
    assert traced.ops[-1].out.itemsize == 2
    assert torch.autocast.__enter__ is enter


@dataclasses.dataclass
class Found:
    boxes: Tensor


def test_outputs_are_found_in_any_object() -> None:
    class Returns(nn.Module):
        def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
            super().__init__()
            self.wrap = wrap

        def forward(self, images: Tensor) -> Any:
            return self.wrap(images.relu())

    wraps = (lambda x: x, Found, lambda x: {"found": [Found(x)]}, lambda x: SimpleNamespace(x=x))
    found = [trace(Returns(wrap), 8).traffic_min_bytes for wrap in wraps]
    assert found == [4 * 2 * (3 * 64)] * 4


def test_a_compiled_model_counts_as_the_one_it_was_made_of() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    expected = trace(plain, 8)
    assert trace(torch.compile(plain), 8) == expected  # type: ignore[arg-type]
    assert trace(nn.Sequential(torch.compile(plain[0]), plain[1]), 8) == expected  # type: ignore[arg-type]


class Chooses(nn.Module):
    """A convolution, then what only the image's values tell: which pixels are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.layer = nn.Linear(4, 5, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = self.conv(images).flatten(2).transpose(1, 2)
        return self.layer(pixels[pixels.sum(-1) > 0])


def test_what_depends_on_values_is_named_and_the_rest_counted() -> None:
    traced = trace(Chooses(), 8)
    assert traced.macs == 64 * 3 * 4
    assert traced.unfollowed.startswith("aten.")
    assert not traced.complete


def test_what_is_left_of_overlapping_boxes_depends_on_values() -> None:
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")

    class Detects(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            boxes = self.conv(images)[0].flatten(1).T
            return boxes[ops.nms(boxes, boxes[:, 0], 0.5)]

    traced = trace(Detects(), 8)
    assert traced.macs == 64 * 3 * 4
    assert traced.unfollowed == "torchvision.nms in the forward itself"
    assert not traced.complete


REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "in place, too small": lambda x: F.avg_pool2d(x, 2).add_(x),
    "linear of two types": lambda x: F.linear(x, torch.zeros(4, 8).double().to(x.device)),
    "bias of another length": lambda x: F.conv2d(x, x.new_zeros(8, 3, 3, 3), x.new_zeros(5)),
    "summand of another length": lambda x: F.linear(x, x.new_zeros(4, 8), x.new_zeros(5)),
    "index of fewer dimensions": lambda x: x.gather(1, x.new_zeros(4, 4, dtype=torch.int64)),
    "index too large": lambda x: x.gather(1, x.new_zeros(9, 3, 8, 8, dtype=torch.int64)),
    "silu of whole numbers": lambda x: F.silu(x.long(), inplace=True),
    "product of two types": lambda x: x @ x.double().transpose(2, 3),
    "grid of another type": lambda x: F.grid_sample(x, x.new_zeros(1, 4, 4, 2).double()),
    "padding beyond the window": lambda x: F.max_pool2d(x, 2, padding=5),
    "a mask of numbers": lambda x: x.clone().masked_fill_(x, 0.0),
}


@pytest.mark.filterwarnings("ignore:Default grid_sample")
@pytest.mark.parametrize("name", REFUSED)
def test_a_forward_that_torch_refuses_is_refused(name: str) -> None:
    class Fails(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return REFUSED[name](images)

    with pytest.raises((RuntimeError, NotImplementedError)):
        Fails()(torch.rand(1, 3, 8, 8))
    with pytest.raises(TraceError):
        trace(Fails(), 8)


def test_reducing_everything() -> None:
    class Reduces(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.amax(images) + images.sum().sum(0)

    traced = tracing._trace_with(tracing._meta, Reduces(), (1, 3, 8, 8))
    assert [op.name for op in traced.ops] == ["amax", "sum", "sum", "add"]
    assert traced.ops[0].cost.write_bytes == 4


@pytest.mark.parametrize("bad", [{"imgsz": 0}, {"imgsz": (8, 0)}, {"batch": 0}, {"channels": 0}])
def test_sizes_below_one_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        trace(nn.Conv2d(3, 4, 1), **({"imgsz": 8} | bad))


def test_a_module_that_cannot_be_copied_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Conv2d(3, 4, 1)
    model.opened = (line for line in "generators cannot be copied")  # type: ignore[assignment]
    if CAN_COPY:  # in a copy of the process it need not be
        assert trace(model, 8).macs == 64 * 3 * 4
    monkeypatch.setattr(tracing, "CAN_COPY", False)
    with pytest.raises(TraceError, match="cannot be copied"):
        trace(model, 8)


def test_shared_modules_and_tied_weights_count_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8, bias=False)
            self.again = self.first
            self.tied = nn.Linear(8, 8, bias=False)
            self.tied.weight = self.first.weight

        def forward(self, images: Tensor) -> Tensor:
            return self.tied(self.again(self.first(images)))

    traced = trace(Twice(), 8)
    assert traced.params == 64
    assert traced.params_unused == 0
    assert traced.macs == 3 * (3 * 8 * 8 * 8)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_old_weight_norm_hooks_still_work() -> None:
    model = nn.utils.weight_norm(nn.Conv2d(3, 4, 1))
    assert trace(model, 8).macs == 4 * 64 * 3


def test_epilogues_fold_into_their_producer() -> None:
    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1, bias=False)
            self.bn = nn.BatchNorm2d(4)

        def forward(self, images: Tensor) -> Tensor:
            return F.relu(self.bn(self.conv(images)))

    traced = trace(Chain(), 8)
    image, output = 3 * 64, 4 * 64
    weights = 12 + 4 * 4  # convolution; scale, shift, mean, variance
    assert traced.traffic_fused_bytes == 4 * (image + weights + output)
    assert traced.traffic_eager_bytes == 4 * (image + weights + 5 * output)


def test_a_value_that_two_readers_share_is_written() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1, bias=False)
            self.next = nn.Conv2d(4, 4, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            x = self.conv(images)
            return x.relu() + self.next(x)

    x = 4 * 64
    reads = (3 * 64 + 12) + (x + 16) + x  # first conv; second conv; the sum reads relu's output
    writes = x + x + x  # x for the second conv, relu's output, the sum
    assert trace(Branches(), 8).traffic_fused_bytes == 4 * (reads + writes)


def test_what_is_written_into_a_part_leaves_the_rest_to_be_written() -> None:
    class Clips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            y: Tensor = self.conv(images)
            y[:, :1].relu_()
            return y

    convolution = (3 * 64 + 12) + 4 * 64
    relu = 64 + 64
    traced = trace(Clips(), 8)
    assert traced.traffic_fused_bytes == traced.traffic_eager_bytes == 4 * (convolution + relu)
    assert traced.traffic_min_bytes == 4 * convolution


def test_an_output_returned_twice_is_written_once() -> None:
    class Repeats(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            y = images.relu()
            return y, y

    assert trace(Repeats(), 8).traffic_min_bytes == 4 * 2 * (3 * 64)


# --- purity -------------------------------------------------------------------------------------


class Caches(nn.Module):
    """Keeps what it makes, as decoders do with their anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.bn = nn.BatchNorm2d(4)
        self.anchors: Tensor | None = None
        self.by_size: dict[tuple[int, ...], Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        self.anchors = torch.arange(images.shape[-1], device=images.device)
        self.by_size[tuple(images.shape)] = self.anchors
        return self.bn(self.conv(images)) + self.anchors


def test_the_model_is_left_exactly_as_it_was() -> None:
    model = Caches().train()
    model(torch.rand(2, 3, 8, 8))
    seen: list[torch.Size] = []
    handle = model.conv.register_forward_hook(lambda m, args, out: seen.append(out.shape))
    before = copy.deepcopy(model.state_dict())
    tensors = {name: id(tensor) for name, tensor in model.state_dict(keep_vars=True).items()}
    cached, by_size = model.anchors, dict(model.by_size)
    hooks = dict(model.conv._forward_hooks)
    torch.backends.mha.set_fastpath_enabled(True)

    trace(model, 16)

    assert model.training
    assert {k: id(v) for k, v in model.state_dict(keep_vars=True).items()} == tensors
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.anchors is cached
    assert model.by_size == by_size
    assert dict(model.conv._forward_hooks) == hooks
    assert torch.backends.mha.get_fastpath_enabled()
    handle.remove()
    assert model(torch.rand(2, 3, 8, 8)).isfinite().all()


@functools.lru_cache
def positions(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32)


by_name: dict[str, Tensor] = {}


class CachesEverywhere(nn.Module):
    """Keeps tensors where a copy of the model keeps them too: for the whole process."""

    def forward(self, images: Tensor) -> Tensor:
        by_name["last"] = images
        return images + positions(images.shape[-1])


@pytest.mark.skipif(not CAN_COPY, reason="this system does not copy processes")
def test_caches_of_the_process_are_left_as_they_were() -> None:
    model, images = CachesEverywhere(), torch.rand(1, 3, 8, 8)
    expected = model(images)
    misses = positions.cache_info().misses
    first = trace(model, 8)
    assert "arange" in {op.name for op in first.ops}  # whoever filled the cache before
    assert trace(model, 8) == first
    assert by_name["last"] is images
    assert positions.cache_info().misses == misses
    assert torch.equal(model(images), expected)


@pytest.mark.skipif(not CAN_COPY, reason="this system does not copy processes")
def test_a_cache_in_the_model_is_left_as_it_was() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = functools.lru_cache(lambda n: torch.arange(n, dtype=torch.float32))

        def forward(self, images: Tensor) -> Tensor:
            return images + self.steps(images.shape[-1])

    model, images = Keeps(), torch.rand(1, 3, 8, 8)
    first = trace(model, 8)
    expected = model(images)
    assert trace(model, 8) == first
    assert type(model(images)) is Tensor
    assert torch.equal(model(images), expected)


def test_without_a_copy_of_the_process_caches_hold_no_shapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "CAN_COPY", False)
    trace(CachesEverywhere(), 8)
    assert positions.cache_info().currsize == 0


@pytest.mark.skipif(not CAN_COPY, reason="this system does not copy processes")
def test_chance_and_hooks_are_left_as_they_were() -> None:
    class Draws(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * random.random() + torch.rand(1, device="cpu")[0]

    model, collected = Draws(), []
    model.register_forward_hook(lambda module, args, output: collected.append(output))
    states = random.getstate(), torch.get_rng_state()
    trace(model, 8)
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert collected == []


def test_hooks_are_called_for_their_work_is_counted() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    model[0].register_forward_hook(lambda module, args, output: output.relu())
    assert [op.name for op in trace(model, 8).ops] == ["convolution", "relu"]


def test_tracing_twice_gives_the_same(rtdetr: Detector) -> None:
    assert trace(rtdetr, 96) == trace(rtdetr, 96)


def test_a_model_of_shapes_only_may_be_traced_itself() -> None:
    model = build("shufflev2-x0.5", 3, device="meta")
    copied = trace(model, 96)
    for _ in range(2):  # it is as good afterwards
        assert trace(model, 96, in_place=True) == copied
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
