"""PyTorch as it comes: one kernel after the other, launched by Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from detrbench.errors import DetrbenchError
from detrbench.runtimes.devices import Device
from detrbench.timing.clocks import Clock


class Eager:
    """Evaluation mode under `inference_mode`, on one device."""

    name = "eager"

    def __init__(self, device: Device) -> None:
        self._device = device

    def prepare(self, model: nn.Module, images: Tensor) -> ModelStep:
        """The step that calls `model`, moved in place, on `images` (B, 3, H, W)."""
        # inference_mode alone would leave dropout and batch statistics on.
        return ModelStep(
            model.eval().to(self._device.name), images.to(self._device.name), self._device.clock
        )

    def settings(self, images: Tensor) -> Mapping[str, Any]:
        return {
            "device": self._device.name,
            "dtype": str(images.dtype).removeprefix("torch."),
            "memory_format": "contiguous" if images.is_contiguous() else "channels_last",
            "threads": torch.get_num_threads(),
            "runtime": self.name,
            **self._device.flags(),
        }


class ModelStep:
    """One call of a model on one batch."""

    def __init__(self, model: nn.Module, images: Tensor, clock: Clock) -> None:
        self._model, self._images, self.clock = model, images, clock

    def __call__(self) -> object:
        with torch.inference_mode():
            return self._model(self._images)

    def verify(self) -> None:
        """Run once more and look at the outputs.

        Raises:
            DetrbenchError: a NaN or an infinity among them, or no tensor at all.
        """
        outputs = list(_tensors(self()))
        if not outputs:
            raise DetrbenchError("the model returned no tensor")
        for index, output in enumerate(outputs):
            broken = int((~torch.isfinite(output)).sum())
            if broken:
                shape = " x ".join(map(str, output.shape))
                raise DetrbenchError(
                    f"output {index} ({shape}) has {broken} values that are NaN or infinite"
                )


def _tensors(output: object) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from _tensors(list(output.values()))
    elif isinstance(output, (list, tuple)):
        for item in output:
            yield from _tensors(item)
