"""One detector under every dtype, layout and kind of tensor that the rest of detrbench uses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from detrbench.core.errors import UsageError
from detrbench.models.builder import build
from detrbench.models.detector import Detector
from detrbench.models.nn.detections import Detections
from tests.models.filling import fill, image


@pytest.fixture(scope="module")
def detector() -> Detector:
    """shufflev2 with values everywhere, float64; tests must leave it as it is."""
    made = build("shufflev2", nc=3)
    made.load_state_dict(fill(made.state_dict()))
    return made.double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return image(2, 128, 160).double()  # 420 cells, more than the 300 queries


def run(detector: Detector, images: Tensor, selected: Tensor | None = None) -> Detections:
    with torch.inference_mode():
        return detector(images, selected)  # type: ignore[no-any-return]


def assert_close(got: Detections, expected: Detections, tolerance: float) -> None:
    for a, b in zip(got, expected, strict=True):
        assert float((a.double() - b.double()).norm() / b.double().norm()) <= tolerance


def test_build_gives_evaluation_mode_and_named_outputs(detector: Detector, images: Tensor) -> None:
    assert not detector.training
    found = run(detector, images)
    assert isinstance(found, Detections)
    assert found.boxes.shape == (2, 300, 4)
    assert found.scores.shape == (2, 300, 3)
    assert all(t.min() >= 0 and t.max() <= 1 for t in found)


def test_images_of_a_batch_do_not_mix(detector: Detector, images: Tensor) -> None:
    both = run(detector, images)
    for i in range(2):
        alone = run(detector, images[i : i + 1])
        assert_close(alone, Detections(*(t[i : i + 1] for t in both)), 1e-12)


def test_small_images_select_every_cell(detector: Detector) -> None:
    images = image(1, 64, 64).double()
    assert run(detector, images).boxes.shape == (1, 64 + 16 + 4, 4)
    assert sorted(detector.detect(images)[1][0].tolist()) == list(range(84))


def test_given_queries_are_used_in_their_order(detector: Detector, images: Tensor) -> None:
    selected = detector.detect(images)[1]
    plain = run(detector, images)
    assert_close(run(detector, images, selected), plain, 0)
    flipped = run(detector, images, selected.flip(1))
    assert_close(flipped, Detections(*(t.flip(1) for t in plain)), 1e-12)


def test_queries_have_the_best_scores(detector: Detector, images: Tensor) -> None:
    """The cells left out score no better than the worst cell taken."""
    decoder = detector.model[-1]
    seen = []
    hook = decoder.enc_score_head.register_forward_hook(lambda _m, _i, out: seen.append(out))
    selected = detector.detect(images)[1]
    hook.remove()
    best = seen[0].amax(-1)
    taken = best.gather(1, selected)
    assert torch.equal(taken, best.sort(1, descending=True).values[:, :300])


def test_float32_agrees_with_float64(detector: Detector, images: Tensor) -> None:
    selected = detector.detect(images)[1]
    single = copy.deepcopy(detector).float()
    assert_close(run(single, images.float(), selected), run(detector, images, selected), 1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half_and_close(detector: Detector, dtype: torch.dtype) -> None:
    images = image(1, 32, 64).double()
    selected = detector.detect(images)[1]
    found = run(copy.deepcopy(detector).to(dtype), images.to(dtype), selected)
    assert {t.dtype for t in found} == {dtype}
    assert_close(found, run(detector, images, selected), 0.2)


def test_channels_last_computes_the_same(detector: Detector, images: Tensor) -> None:
    last = copy.deepcopy(detector).to(memory_format=torch.channels_last)
    found = run(last, images.to(memory_format=torch.channels_last))
    assert_close(found, run(detector, images), 1e-12)


def test_fuse_twice_is_fuse_once_and_changes_nothing(detector: Detector, images: Tensor) -> None:
    fused = copy.deepcopy(detector).fuse()
    keys = fused.state_dict().keys()
    assert_close(run(fused, images), run(detector, images), 1e-12)
    assert fused.fuse().state_dict().keys() == keys
    assert_close(run(fused, images), run(detector, images), 1e-12)


def test_fake_tensors_pass_and_leave_nothing_behind(detector: Detector, images: Tensor) -> None:
    before = run(detector, images)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        found = detector(torch.empty(1, 3, 640, 480, dtype=torch.float64))
    assert found.boxes.shape == (1, 300, 4)
    assert_close(run(detector, images), before, 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_meta_model_has_shapes_and_no_memory(dtype: torch.dtype) -> None:
    detector = build("shufflev2", nc=3, device="meta").to(dtype)
    assert all(t.is_meta for t in detector.state_dict().values())
    found = detector(torch.empty(1, 3, 640, 640, dtype=dtype, device="meta"))
    assert found.scores.shape == (1, 300, 3)
    assert {t.dtype for t in found} == {dtype}


def test_gradients_may_be_on_while_counting(detector: Detector, images: Tensor) -> None:
    run(detector, images)  # nothing of inference mode may stay in the model
    with torch.enable_grad():
        assert detector(images).boxes.shape == (2, 300, 4)


def test_outputs_are_dropped_once_read(detector: Detector) -> None:
    """No row's output outlives its last reader, and each is dropped once."""
    rows = detector.spec.rows
    dropped = [i for finished in detector._release for i in finished]
    assert sorted(dropped) == list(range(-1, len(rows)))
    for row, finished in zip(rows, detector._release, strict=True):
        later = {s for r in rows[row.index + 1 :] for s in r.sources}
        assert not later & set(finished)


def test_same_seed_same_weights_and_the_callers_generator_is_left_alone() -> None:
    torch.manual_seed(123)
    expected = torch.rand(1)
    torch.manual_seed(123)
    a, b = build("shufflev2", seed=7), build("shufflev2", seed=7)
    assert torch.equal(torch.rand(1), expected)
    c = build("shufflev2", seed=8)
    same = [torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters(), strict=True))


@pytest.mark.parametrize("size", [(640, 640), (32, 96)])
def test_fitting_sizes(detector: Detector, size: tuple[int, int]) -> None:
    detector.check_image_size(*size)


@pytest.mark.parametrize("size", [(650, 640), (640, 100), (0, 640), (-32, 32)])
def test_sizes_that_strides_do_not_divide(detector: Detector, size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="multiples of 32"):
        detector.check_image_size(*size)
    with pytest.raises(UsageError, match="640x640"):
        detector.check_image_size(650, 640)


def test_stages_one_after_the_other_are_the_whole(detector: Detector, images: Tensor) -> None:
    with torch.no_grad():
        expected = detector(images)
        outputs: dict[int, Any] = {-1: images}
        for stage in ("backbone", "neck", "decoder"):
            outputs = detector.run_stage(stage, outputs)
    assert list(outputs) == [len(detector.spec.rows) - 1], "nothing else outlives its last reader"
    assert_close(outputs.popitem()[1], expected, 0)


def test_a_detector_tells_the_cells_it_started_from(detector: Detector, images: Tensor) -> None:
    with torch.no_grad():
        found, selected = detector.detect(images)
        assert detector.selects_queries
        assert_close(found, detector(images), 0)
        assert_close(found, detector(images, selected), 0)
