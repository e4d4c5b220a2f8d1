"""Runtimes: ways to execute a model. Each owns its clock; nobody else asks "is this CUDA?".

Importing this package imports no torch, so that a wrong name or device is said at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from detrbench.core.errors import UsageError, nearest
from detrbench.machine.devices import parse_device
from detrbench.runtimes.clocks import Step
from detrbench.runtimes.devices import open_device
from detrbench.runtimes.options import Options, check_options

if TYPE_CHECKING:
    from torch import Tensor, nn

    from detrbench.runtimes.devices import Device

# One line per runtime: name -> "module:Class", imported when asked for.
RUNTIMES: dict[str, str] = {
    "eager": "detrbench.runtimes.eager:Eager",
    "compile": "detrbench.runtimes.compile:Compile",
    "cudagraph": "detrbench.runtimes.cudagraph:CudaGraph",
}

# Those that do not run on every kind of device, and the kinds they run on.
ONLY_ON: dict[str, tuple[str, ...]] = {"cudagraph": ("cuda",)}


class Runtime(Protocol):
    """Turns a model and an image batch into a step that can be timed.

    A class is constructed with a `Device` and `Options`. Whatever making the step costs (moving,
    compiling, capturing) belongs into `prepare`, so that no sample pays for it.
    """

    def prepare(self, model: nn.Module, images: Tensor) -> Step:
        """The step that runs `model` on `images` (B, 3, H, W), in evaluation mode. Takes the model
        over: it is moved and cast in place.

        Raises:
            DetrbenchError: its outputs are not those of eager, given the same selected queries, or
                it cannot run so at all.
        """

    @property
    def prepared(self) -> Mapping[str, float]:
        """Of the last `prepare`: `build_s`, `compile_s` or `capture_s` where it did so;
        `resident_bytes` of weights, images and graph; `agreement`, the largest deviation relative
        to an output's largest value, and its `tolerance`, where there was something to compare."""

    def settings(self, images: Tensor) -> Mapping[str, Any]:
        """What a row's key must say: device, dtype, memory_format, threads, runtime, flags."""

    def close(self) -> None:
        """Put process-wide switches back; for a process that goes on to other work."""


def check_runtime(name: str, device: str | None = None) -> str:
    """`name`, if a runtime is called so, and if it runs on this kind of device.

    Raises:
        UsageError: none is, or it does not.
    """
    if name not in RUNTIMES:
        raise UsageError(f"unknown runtime {name!r}", hint=nearest(name, RUNTIMES))
    kinds = ONLY_ON.get(name)
    if device is not None and kinds is not None and parse_device(device)[0] not in kinds:
        able = [other for other in RUNTIMES if other not in ONLY_ON]
        raise UsageError(
            f"the runtime {name} does not run on {device}",
            hint=f"Give --device {kinds[0]}, or take {' or '.join(able)}.",
        )
    return name


def open_runtime(name: str, device: str = "cpu", options: Options | None = None) -> Runtime:
    """The runtime called `name` on `device` ("cpu", "cuda" or "cuda:N").

    Raises:
        UsageError: an unknown runtime or device, a device that is not there, or options or a
            runtime that it cannot have.
    """
    module, class_name = RUNTIMES[check_runtime(name, device)].split(":")
    wanted = check_options(options or Options(), device)
    opened: Device = open_device(device)
    make: type[Any] = getattr(import_module(module), class_name)
    return cast(Runtime, make(opened, wanted))
