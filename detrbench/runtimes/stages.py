"""A detector stage by stage, from the camera's bytes to boxes in pixels, each stage a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from detrbench.core.errors import UsageError
from detrbench.models.detector import Detector
from detrbench.models.nn.detections import Detections, postprocess
from detrbench.runtimes import Runtime
from detrbench.runtimes.clocks import Step
from detrbench.runtimes.eager import Eager, ModelStep
from detrbench.runtimes.images import natural_images

WHOLE = "whole"


def stage_steps(
    detector: Detector,
    runtime: Runtime,
    image_hw: tuple[int, int],
    batch: int = 1,
    *,
    seed: int = 0,
) -> dict[str, Step]:
    """A step for each of `runtimes.PARTS`, and one for all of them in a row, `WHOLE`.

    - preprocess: bytes (B, H, W, 3) in the host's memory, of the model's image size, to a tensor
      (B, 3, H, W) in 0..1 on the device, in the dtype and layout that the model computes in. The
      copy to the device is part of it; decoding and resizing a file are not.
    - backbone, neck, decoder: the rows of the model's file, each fed with what the ones before
      left, computed once and kept.
    - postprocess: the best 300 (query, class) pairs, and their boxes in pixels.

    The sum of the parts differs from the whole: between parts the device is waited for, and a part
    finds other things in the caches.

    Raises:
        UsageError: the runtime is not eager, because a compiled or captured model has no seams; or
            the image size does not fit.
        DetrbenchError: as `Runtime.prepare`.
    """
    if type(runtime) is not Eager:
        raise UsageError(
            "stages are timed one kernel after the other", hint="Leave --stages out, or give eager."
        )
    detector.check_image_size(*image_hw)
    images = natural_images(batch, *image_hw, seed=seed)
    runtime.prepare(detector, images)
    photographs = to_bytes(images)

    def preprocess() -> Tensor:
        return runtime.place(photographs.to(runtime.device.name).permute(0, 3, 1, 2)) / 255

    def whole() -> object:
        return postprocess(detector(preprocess()), image_hw)

    calls: dict[str, Callable[[], object]] = {"preprocess": preprocess}
    with torch.inference_mode():
        left: Mapping[int, Any] = {-1: preprocess()}
        for stage in ("backbone", "neck", "decoder"):
            calls[stage] = partial(detector.run_stage, stage, left)
            left = detector.run_stage(stage, left)
    detections = Detections(*left[detector.spec.rows[-1].index])
    calls["postprocess"] = lambda: postprocess(detections, image_hw)
    calls[WHOLE] = whole
    return {part: ModelStep(call, runtime.device.clock) for part, call in calls.items()}


def to_bytes(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in 0..1 as a camera delivers them: uint8 (B, H, W, 3)."""
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
