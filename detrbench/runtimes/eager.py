"""PyTorch as it comes: one kernel after the other, launched by Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from detrbench.core.errors import DetrbenchError
from detrbench.models.outputs import tensors
from detrbench.reports.case import Execution
from detrbench.runtimes.agreement import (
    TOLERANCES,
    check_agreement,
    check_finite,
    given,
    observed,
)
from detrbench.runtimes.clocks import Clock
from detrbench.runtimes.devices import Device

_GRAIN = 2 * 32_768  # elements that torch gives to a thread at least, twice

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Eager:
    """Evaluation mode under `inference_mode`, on one device.

    It is what other runtimes are compared with. It itself is compared with float32 in torch's own
    layout, wherever something else is asked for.
    """

    name = "eager"
    identity = ""

    def __init__(self, device: Device, execution: Execution | None = None) -> None:
        self.device, self.execution = device, execution or Execution(device=device.name)
        self._dtype: torch.dtype = getattr(torch, self.execution.dtype)
        self._layout = LAYOUTS[self.execution.memory_format]
        device.configure(self.execution)
        self.prepared: dict[str, float] = {}

    def activate(self) -> None:
        """Threads and the device's switches as this execution wants them."""
        threads = self.execution.threads
        if threads is not None and threads != torch.get_num_threads():
            torch.set_num_threads(threads)
            # Starts those that are missing: the next sample must not pay for it.
            torch.ones(threads * _GRAIN).add_(1)
        self.device.activate()

    def prepare(self, model: nn.Module, images: Tensor) -> ModelStep:
        """The step that calls `model` on `images` (B, 3, H, W); raises as `Runtime.prepare`."""
        began = time.perf_counter()
        self.prepared = {}
        # inference_mode alone would leave dropout and batch statistics on.
        model = model.eval().to(self.device.name)
        self._cast(model, images.to(self.device.name))
        images = self.place(images)
        self.prepared = {
            "build_s": time.perf_counter() - began,
            "resident_bytes": resident_bytes(model, images),
            **self.prepared,
        }
        return ModelStep(lambda: model(images), self.device.clock)

    def compare(self, outputs: object, reference: object, what: str) -> None:
        """Have `prepared` say how far `outputs` are from what they should be, at worst; raises as
        `check_agreement` does."""
        found = check_agreement(outputs, reference, self.tolerance, what)
        worst = max(found, self.prepared.get("agreement", 0.0))
        self.prepared |= {"agreement": worst, "tolerance": self.tolerance}

    def place(self, images: Tensor) -> Tensor:
        """`images` on the device, in the dtype and the layout asked for."""
        return images.to(self.device.name, self._dtype).contiguous(memory_format=self._layout)

    def settings(self, images: Tensor) -> Mapping[str, Any]:
        placed = self.place(images)
        return {
            "device": self.device.name,
            "dtype": str(placed.dtype).removeprefix("torch."),
            "memory_format": "contiguous" if placed.is_contiguous() else "channels_last",
            "threads": torch.get_num_threads(),
            "runtime": self.name,
            **self.device.flags(),
        }

    def close(self) -> None:
        """Put process-wide switches back."""
        self.device.restore()

    @property
    def tolerance(self) -> float:
        """How far outputs may be from another runtime's or from float32's."""
        flags = self.device.flags()
        rounded = flags.get("tf32_conv") or flags.get("tf32_matmul")
        dtype = self.execution.dtype
        return TOLERANCES["tf32" if dtype == "float32" and rounded else dtype]

    def _cast(self, model: nn.Module, images: Tensor) -> None:
        """Cast `model` in place, and compare its outputs before and after."""
        asked = (self.execution.dtype, self.execution.memory_format)
        if asked == ("float32", "contiguous"):
            model.to(self._dtype)
            return
        with torch.inference_mode():
            model.float()
            reference, selected = observed(model)(images.float())
            model.to(dtype=self._dtype, memory_format=self._layout)  # type: ignore[call-overload]
            what = f"{' and '.join(asked)} on {self.device.name}"
            try:
                outputs = given(model, self.place(images), selected)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # a kernel that torch does not have, mostly
                raise DetrbenchError(
                    f"the model does not run in {what}: {error}",
                    hint="Choose another --dtype, or another device.",
                ) from error
            self.compare(outputs, reference, what)


class ModelStep:
    """One call of a model on one batch."""

    def __init__(self, call: Callable[[], object], clock: Clock) -> None:
        self._call, self.clock = call, clock

    def __call__(self) -> object:
        with torch.inference_mode():
            return self._call()

    def verify(self, outcome: object) -> None:
        check_finite(outcome)


def resident_bytes(model: nn.Module, *more: object) -> int:
    """Bytes of weights, buffers and other tensors that stay between calls."""
    return sum(
        each.numel() * each.element_size()
        for each in tensors([*model.parameters(), *model.buffers(), *more])
    )
