from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError
from detrbench.models.outputs import tensors
from detrbench.reports.case import Execution
from detrbench.runtimes import open_runtime
from detrbench.runtimes.agreement import TOLERANCES, check_agreement, check_finite, deviation
from detrbench.runtimes.images import natural_images
from tests.runtimes.small import SmallDetector


def test_deviations_are_relative_to_the_largest_value_of_each_output() -> None:
    reference = [torch.tensor([0.0, -4.0]), torch.tensor([0.01])]
    assert deviation([torch.tensor([0.1, -4.0]), torch.tensor([0.01])], reference) == (
        pytest.approx(0.1 / 4)
    )
    assert deviation([torch.tensor([0.0, -4.0]), torch.tensor([0.02])], reference) == (
        pytest.approx(1.0)
    )


def test_nothing_but_zeros_must_be_matched_exactly() -> None:
    zeros = [torch.zeros(3)]
    assert deviation(zeros, zeros) == 0
    assert math.isinf(deviation([torch.full((3,), 1e-9)], zeros))
    assert deviation([torch.zeros(0)], [torch.zeros(0)]) == 0


def test_a_deviation_beyond_the_tolerance_is_named() -> None:
    ours, reference = torch.tensor([1.3]), torch.tensor([1.0])
    with pytest.raises(DetrbenchError, match=r"^compiled: outputs deviate by 0\.3 .*0\.02 is"):
        check_agreement(ours, reference, 0.02, "compiled")
    assert check_agreement(ours, reference, 0.5, "compiled") == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        (torch.tensor([float("nan")]), "has 1 values that are NaN"),
        (torch.zeros(2), r"shapes \[\(2,\)\], but \[\(1,\)\] in eager"),
        ((torch.zeros(1), torch.zeros(1)), "shapes"),
        (None, "shapes"),
    ],
)
def test_outputs_that_cannot_be_compared_are_refused(ours: object, message: str) -> None:
    with pytest.raises(DetrbenchError, match=message):
        check_agreement(ours, torch.zeros(1), 1.0, "compiled")


def test_a_reference_that_is_not_finite_agrees_with_nothing() -> None:
    broken = torch.tensor([float("inf")])
    with pytest.raises(DetrbenchError, match="NaN or infinite"):
        check_agreement(broken, broken, 1.0, "compiled")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_eager_is_compared_with_float32(dtype: str, layout: str) -> None:
    runtime = open_runtime(Execution(dtype=dtype, memory_format=layout))
    images = natural_images(1, 8, 8)
    outputs = runtime.prepare(SmallDetector(), images)()
    assert {each.dtype for each in outputs} == {getattr(torch, dtype)}  # type: ignore[attr-defined]
    assert 0 < runtime.prepared["agreement"] < TOLERANCES[dtype] == runtime.prepared["tolerance"]
    settings = runtime.settings(images)
    assert (settings["dtype"], settings["memory_format"]) == (dtype, layout)


def test_float32_in_torchs_layout_has_nothing_to_be_compared_with() -> None:
    runtime = open_runtime(Execution())
    runtime.prepare(SmallDetector(), natural_images(1, 8, 8))
    assert "agreement" not in runtime.prepared


def test_weights_are_cast_and_laid_out_too() -> None:
    model = nn.Conv2d(3, 4, 3)
    open_runtime(Execution(dtype="bfloat16", memory_format="channels_last")).prepare(
        model, natural_images(1, 8, 8)
    )
    assert model.weight.dtype == torch.bfloat16
    assert model.weight.is_contiguous(memory_format=torch.channels_last)


class Picky(nn.Module):
    """Fails, or computes something else, in every dtype but float32."""

    def __init__(self, failure: BaseException | None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)
        self.failure = failure

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layer(images)
        if images.dtype == torch.float32:
            return outputs
        if self.failure is not None:
            raise self.failure
        return outputs * 1.5


def test_a_kernel_that_is_missing_is_said_with_the_cure() -> None:
    model = Picky(RuntimeError("\"topk\" not implemented for 'Half'"))
    with pytest.raises(
        DetrbenchError, match=r"(?s)does not run in float16 .*on cpu: .*'Half'.*Choose another"
    ):
        open_runtime(Execution(dtype="float16")).prepare(model, natural_images(1, 8, 8))


def test_running_out_of_memory_stays_what_it_is() -> None:
    model = Picky(torch.OutOfMemoryError("no memory"))
    with pytest.raises(torch.OutOfMemoryError):
        open_runtime(Execution(dtype="float16")).prepare(model, natural_images(1, 8, 8))


def test_a_dtype_that_changes_the_outputs_is_no_latency() -> None:
    runtime = open_runtime(Execution(dtype="float16"))
    with pytest.raises(DetrbenchError, match=r"float16 and contiguous on cpu: outputs deviate by"):
        runtime.prepare(Picky(None), natural_images(1, 8, 8))


@dataclasses.dataclass
class Answer:
    boxes: Tensor
    more: object = None


class Plain:
    def __init__(self, scores: Tensor) -> None:
        self.scores, self.itself, self.of = scores, self, nn.Conv2d(1, 1, 1)


@dataclasses.dataclass
class Slim:
    __slots__ = ("boxes",)
    boxes: Tensor


def test_tensors_are_found_in_whatever_a_model_returns() -> None:
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    for value in ([a, (b, {"x": c})], Answer(a, Answer(b, [c])), [Slim(a), Plain(b), "text", c]):
        assert [len(each) for each in tensors(value)] == [1, 2, 3]
    with pytest.raises(DetrbenchError, match="NaN"):
        check_agreement(Answer(a), Answer(torch.tensor([math.nan])), 1.0, "compiled")


def test_every_number_of_a_large_output_is_looked_at() -> None:
    large = torch.zeros(3, 700, 1000)
    check_finite({"maps": large})
    large[2, 699, 999], large[0, 0, 0], large[1, 350, 7] = torch.nan, torch.inf, -torch.inf
    with pytest.raises(DetrbenchError, match=r"output 0 \(3 x 700 x 1000\) has 3 values"):
        check_finite({"maps": large})
