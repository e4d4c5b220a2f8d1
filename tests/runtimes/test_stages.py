from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from detrbench.core.errors import UsageError
from detrbench.models.builder import build
from detrbench.models.detector import Detector
from detrbench.models.nn.detections import Predictions, postprocess
from detrbench.reports.case import Execution
from detrbench.runtimes import PARTS, open_runtime
from detrbench.runtimes.clocks import Step
from detrbench.runtimes.images import natural_images
from detrbench.runtimes.stages import WHOLE, stage_steps, to_bytes

SIZE = (64, 96)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return build("shufflev2-x0.5", nc=3)


@pytest.fixture(scope="module")
def steps(detector: Detector) -> Mapping[str, Step]:
    return stage_steps(detector, open_runtime(Execution()), SIZE, batch=2)


def test_every_part_and_the_whole_are_steps(steps: Mapping[str, Step]) -> None:
    assert tuple(steps) == (*PARTS, WHOLE)
    for step in steps.values():
        step.verify(step())
        assert step.clock.time(step)[0] > 0


def test_the_parts_compute_what_the_whole_does(
    detector: Detector, steps: Mapping[str, Step]
) -> None:
    whole, last = steps[WHOLE](), steps["postprocess"]()
    assert isinstance(whole, Predictions)
    assert isinstance(last, Predictions)
    images = to_bytes(natural_images(2, *SIZE)).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        expected = postprocess(detector(images), SIZE)
    for ours, theirs, direct in zip(last, whole, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(ours, direct)


def test_bytes_become_a_tensor_that_the_model_takes() -> None:
    images = natural_images(2, *SIZE)
    photographs = to_bytes(images)
    assert (photographs.dtype, photographs.shape) == (torch.uint8, (2, *SIZE, 3))
    runtime = open_runtime(Execution(dtype="bfloat16", memory_format="channels_last"))
    made = stage_steps(build("shufflev2-x0.5", nc=3), runtime, SIZE, batch=2)["preprocess"]()
    assert isinstance(made, Tensor)
    assert made.dtype == torch.bfloat16
    assert made.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(made.float(), images, atol=0.01, rtol=0)


def test_repeating_a_stage_changes_nothing(steps: Mapping[str, Step]) -> None:
    """A stage's inputs are kept for it, and some layers work in place on what they are given."""
    for stage in ("backbone", "neck", "decoder"):
        first, second = steps[stage](), steps[stage]()
        assert isinstance(first, dict)
        assert isinstance(second, dict)
        assert first.keys() == second.keys()
        for ours, theirs in zip(first.values(), second.values(), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_a_compiled_model_has_no_seams(detector: Detector) -> None:
    with pytest.raises(UsageError, match="one kernel after the other"):
        stage_steps(detector, open_runtime(Execution(runtime="compile")), SIZE)


def test_sizes_are_checked_first(detector: Detector) -> None:
    with pytest.raises(UsageError, match="multiples of 32"):
        stage_steps(detector, open_runtime(Execution()), (64, 65))
