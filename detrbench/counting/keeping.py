"""Which models keep nothing of a call: no copy of the process is needed to trace them, and a copy
of their modules is soon made."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as of_modules

_LIBRARIES = ("torch.nn.modules.", "torchvision.models.", "torchvision.ops.", "detrbench.models.")
"""Their forwards keep nothing outside of the module that is called: they have no cache of the whole
process, and in evaluation they draw no numbers on a processor."""

_FUNCTIONS = (*_LIBRARIES, "torch.nn.functional")

_PLAIN = frozenset(
    {type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device}
    | {torch.Tensor, nn.Parameter, nn.Buffer, type(Path())}
)
_DICTS = frozenset({dict, OrderedDict})
_COLLECTIONS = _DICTS | {list, tuple, set, frozenset}


def keeps_nothing(model: nn.Module) -> bool:
    """Whether a call of the model, or of a copy of it, certainly leaves nothing behind but in that
    module: each part is of torch or torchvision, with nothing of anybody else in it, no hooks and
    no replaced methods, and nobody watches the process's calls."""
    watched = torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack()
    if watched or of_modules._has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    modules = list(model.modules())
    return all(map(_is_of_library, {type(one) for one in modules})) and all(
        _holds_nothing_else(value) for one in modules for value in vars(one).values()
    )


def _is_of_library(kind: type[nn.Module]) -> bool:
    forward = getattr(kind, "forward", None)  # TorchScript's has none
    owners = (kind.__module__, getattr(forward, "__module__", ""))
    return all(owner.startswith(_LIBRARIES) for owner in owners)


def _holds_nothing_else(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN or (isinstance(value, nn.Module) and _is_of_library(kind)):
        return True
    if kind in _COLLECTIONS:
        items = (*value.keys(), *value.values()) if isinstance(value, dict) else value
        return all(map(_holds_nothing_else, items))
    if kind is functools.partial:
        return all(map(_holds_nothing_else, (value.func, value.args, value.keywords)))
    if dataclasses.is_dataclass(kind) and kind.__module__.startswith(_LIBRARIES):
        return all(map(_holds_nothing_else, vars(value).values()))
    if isinstance(value, (type, FunctionType)):
        return value.__module__.startswith(_FUNCTIONS)
    return False


def copied(model: nn.Module, twin: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """A copy of a model that `keeps_nothing`, with the twin of each tensor in its place: what
    `copy.deepcopy` makes of it, in a fraction of the time, for it is known what there can be."""
    made: dict[int, Any] = {}

    def of(value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN and not isinstance(value, torch.Tensor):
            return value
        if id(value) in made:
            return made[id(value)]
        if isinstance(value, nn.Module):
            made[id(value)] = new = object.__new__(kind)
            vars(new).update((key, of(each)) for key, each in vars(value).items())
            return new
        if isinstance(value, torch.Tensor):
            new = twin(value)
        elif kind in _DICTS:
            new = kind((key, of(each)) for key, each in value.items())
        elif kind in _COLLECTIONS:
            new = kind(map(of, value))
        else:
            new = copy.deepcopy(value, made)
        made[id(value)] = new
        return new

    with torch._C.DisableTorchFunction():  # nobody need be asked where a tensor is made
        copy_of_it: nn.Module = of(model)
    return copy_of_it
