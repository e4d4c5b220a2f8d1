"""What a model returns: the tensors in it, in whatever they are wrapped."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from torch import Tensor, nn


def tensors(output: object) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists, mappings, dataclasses and other plain objects, in
    order, each object once."""
    yield from _tensors(output, set())


def _tensors(value: object, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    held = getattr(value, "__dict__", {})
    if isinstance(value, (nn.Module, type)) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        held = value
    elif dataclasses.is_dataclass(value):  # those with slots have no __dict__
        held = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    for each in value if isinstance(value, (list, tuple)) else list(held.values()):
        yield from _tensors(each, seen)
