"""A known burden: the same model with a little more to do, to see whether the measuring sees it."""

from __future__ import annotations

import torch
from torch.nn import functional

from detrbench.reports.case import Execution
from detrbench.runtimes.clocks import Step

CHANNELS, STRIDE = 32, 8


class Loaded:
    """A step, and after it some convolutions of the kind that detectors are made of.

    One unit of work is a 3x3 convolution of 32 channels at an eighth of the image's size: a tenth
    of a percent of rtdetr-l, so that a few dozen of them are a few percent, scale with batch, size
    and device as the model does, and are slowed down by the same neighbours.
    """

    def __init__(self, step: Step, execution: Execution) -> None:
        self._step, self._units, self.clock = step, execution.extra_work, step.clock
        draw, device = torch.Generator().manual_seed(0), execution.device
        height, width = (max(1, side // STRIDE) for side in execution.imgsz)
        shape = (execution.batch, CHANNELS, height, width)
        self._input = torch.randn(shape, generator=draw).to(device)
        self._weight = torch.randn((CHANNELS, CHANNELS, 3, 3), generator=draw).to(device)

    def __call__(self) -> object:
        outputs = self._step()
        with torch.inference_mode():
            for _ in range(self._units):
                functional.conv2d(self._input, self._weight, padding=1)
        return outputs

    def verify(self, outcome: object) -> None:
        self._step.verify(outcome)
