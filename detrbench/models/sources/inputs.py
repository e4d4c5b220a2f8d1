"""A module as a function of images alone: whatever else it takes stays as it is.

Example inputs are what `forward` takes: a tensor, a tuple of what stands at its places, or a dict
of what it takes by name; a dict that is itself its one input stays one.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detrbench.core.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGES_BY_NAME = "pixel_values"
"""What Hugging Face's models call their images."""


@dataclass(frozen=True)
class _Slot:
    """Where a tensor goes that is kept elsewhere; the images' index is -1."""

    index: int


def of_images(module: nn.Module) -> nn.Module:
    """`module`, or one that hands it its images by name where its forward takes other things first,
    such as token ids."""
    taken = list(_parameters(module))
    if IMAGES_BY_NAME not in taken or taken[0] == IMAGES_BY_NAME:
        return module
    return _with_inputs(module, (), {IMAGES_BY_NAME: _Slot(-1)}, [])


def of_example(module: nn.Module, inputs: object, where: str) -> tuple[nn.Module, Tensor]:
    """A module that takes images alone and is given the rest of `inputs`; and their images: the
    first tensor of floating point and four dimensions. Raises UsageError where there is none."""
    args, keywords = _call(module, inputs)
    tensors: list[Tensor] = []
    template = _emptied((args, keywords), tensors)
    at = next((i for i, each in enumerate(tensors) if _is_images(each)), None)
    if at is None:
        raise UsageError(
            "among its example inputs there are no images (B, C, H, W) of floating point",
            where=where,
            hint="Return (module, images), (module, (images, another, ...)) or (module, {...}).",
        )
    if args == (tensors[at],) and not keywords:
        return module, tensors[at]
    rest = [each for i, each in enumerate(tensors) if i != at]
    numbers = {_Slot(i): _Slot(i - (i > at)) for i in range(len(tensors))} | {_Slot(at): _Slot(-1)}
    args, keywords = _replaced(template, numbers)
    return _with_inputs(module, args, keywords, rest), tensors[at]


def _call(module: nn.Module, inputs: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What forward is called with."""
    if isinstance(inputs, Mapping):
        try:
            inspect.signature(module.forward).bind(**inputs)
        except (TypeError, ValueError):  # not its names, so they are the dict's own
            return (dict(inputs),), {}
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)), {}


def _parameters(module: nn.Module) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(module.forward).parameters
    except (TypeError, ValueError):  # a built-in that does not tell its signature
        return {}


def _is_images(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.is_floating_point()


def _emptied(value: Any, tensors: list[Tensor]) -> Any:
    """`value` with slots for its tensors, which are put into `tensors`."""
    from torch import Tensor

    if isinstance(value, Tensor):
        tensors.append(value)
        return _Slot(len(tensors) - 1)
    if isinstance(value, dict):
        return {key: _emptied(each, tensors) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_emptied(each, tensors) for each in value)
    return value


def _replaced(value: Any, known: Mapping[_Slot, Any]) -> Any:
    """`value` with what is known for each slot."""
    if isinstance(value, _Slot):
        return known[value]
    if isinstance(value, dict):
        return {key: _replaced(each, known) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(each, known) for each in value)
    return value


def _with_inputs(
    module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any], rest: list[Tensor]
) -> nn.Module:
    from torch import nn

    class WithInputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module
            stages = getattr(module, "detrbench_stages", {})
            self.detrbench_stages = {f"module.{path}": stage for path, stage in stages.items()}
            for index, each in enumerate(rest):  # buffers: they are moved and cast with the module
                self.register_buffer(f"input_{index}", each)

        def forward(self, images: Tensor) -> Any:
            known = {_Slot(i): getattr(self, f"input_{i}") for i in range(len(rest))}
            filled, named = _replaced((args, keywords), known | {_Slot(-1): images})
            return self.module(*filled, **named)

    return WithInputs()
