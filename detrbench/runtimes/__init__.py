"""Runtimes: ways to execute a model. Each owns its clock; nobody else asks "is this CUDA?".

Importing this package imports no torch, so that a wrong name or device is said at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from detrbench.errors import UsageError, nearest
from detrbench.runtimes.devices import open_device
from detrbench.timing.clocks import Step

if TYPE_CHECKING:
    from torch import Tensor, nn

    from detrbench.runtimes.devices import Device

# One line per runtime: name -> "module:Class", imported when asked for.
RUNTIMES: dict[str, str] = {"eager": "detrbench.runtimes.eager:Eager"}


class Runtime(Protocol):
    """Turns a model and an image batch into a step that can be timed.

    A class is constructed with a `Device`. Whatever making the step costs (moving, compiling,
    capturing) belongs into `prepare`, so that no sample pays for it.
    """

    def prepare(self, model: nn.Module, images: Tensor) -> Step:
        """The step that runs `model` on `images` (B, 3, H, W), in evaluation mode."""

    def settings(self, images: Tensor) -> Mapping[str, Any]:
        """What a row's key must say: device, dtype, memory_format, threads, runtime, flags."""


def check_runtime(name: str) -> str:
    """`name`, if a runtime is called so.

    Raises:
        UsageError: none is.
    """
    if name not in RUNTIMES:
        raise UsageError(f"unknown runtime {name!r}", cure=nearest(name, RUNTIMES))
    return name


def open_runtime(name: str, device: str = "cpu") -> Runtime:
    """The runtime called `name` on `device` ("cpu", "cuda" or "cuda:N").

    Raises:
        UsageError: an unknown runtime or device, or a device that is not there.
    """
    module, class_name = RUNTIMES[check_runtime(name)].split(":")
    make: type[Any] = getattr(import_module(module), class_name)
    opened: Device = open_device(device)
    return cast(Runtime, make(opened))
