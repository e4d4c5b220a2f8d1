"""Which models are traced without a copy of the process: those of libraries alone."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torchvision
from torch import Tensor, nn

from detrbench import build
from detrbench.counting.keeping import copied, keeps_nothing
from detrbench.counting.tracing import trace


class Users(nn.Conv2d):
    """A user's own, in whose forward anything may be kept."""


class Holds(nn.Sequential):
    pass


Holds.__module__ = "torch.nn.modules.container"  # one of the library's, to hold what is given


def holding(value: object) -> nn.Module:
    model = Holds(nn.Conv2d(3, 4, 1))
    model.value = value  # type: ignore[assignment]
    return model


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    model[0].register_forward_hook(lambda module, args, output: None)
    return model


def replaced() -> nn.Module:
    model = nn.Conv2d(3, 4, 1)
    model.forward = lambda images: images  # type: ignore[method-assign]
    return model


KEEPS: dict[str, Callable[[], nn.Module]] = {
    "a class of the user's": lambda: nn.Sequential(Users(3, 4, 1)),
    "a hook": hooked,
    "a method in the object": replaced,
    "a function": lambda: holding(lambda x: x),
    "a function within": lambda: holding([{"a": partial(holding)}]),
    "an object": lambda: holding(object()),
    "a class of tensors": lambda: holding(torch.zeros(3).as_subclass(type("Own", (Tensor,), {}))),
}


@pytest.mark.parametrize("name", KEEPS)
def test_what_is_anybody_elses_may_keep_something(name: str) -> None:
    assert not keeps_nothing(KEEPS[name]())


def test_so_may_whoever_watches_all_calls() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, output: None)
    assert not keeps_nothing(model)
    handle.remove()
    with torch.device("cpu"):
        assert not keeps_nothing(model)
    assert keeps_nothing(model)


def test_models_of_libraries_keep_nothing() -> None:
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    with torch.device("meta"):
        model = models.resnet18()
    assert keeps_nothing(model)
    assert keeps_nothing(build("shufflev2-x0.5", 3, device="meta"))
    assert keeps_nothing(holding([1, "a", {"b": (torch.zeros(3), partial(nn.functional.relu))}]))


def test_both_ways_find_the_same() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    assert keeps_nothing(model)
    assert trace(model, 8).ops == trace(nn.Sequential(*model, Same()), 8).ops
    assert not model[0].weight.is_meta


class Same(nn.Module):
    """A user's module without work: with it, a model is traced in a copy of the process."""

    def forward(self, x: Tensor) -> Tensor:
        return x


LIBRARY: dict[str, Callable[[], nn.Module]] = {
    "convolutions": lambda: torchvision.models.resnet18(),
    "attention": lambda: torchvision.models.swin_t(),
    "several outputs": lambda: torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights_backbone=None
    ),
    "ours": lambda: build("shufflev2-x0.5"),
    "collections": lambda: holding({"a": [(1, {2}), OrderedDict(b=torch.zeros(2))]}),
    "a tensor twice": lambda: nn.Sequential(shared := nn.Linear(2, 2), shared),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_a_copy_is_what_deepcopy_makes_and_shares_nothing(name: str) -> None:
    model = LIBRARY[name]()
    assert keeps_nothing(model)
    before = shape_of(model)
    fast, slow = copied(model, torch.clone), copy.deepcopy(model)
    assert shape_of(fast) == shape_of(slow) == before
    assert not objects(fast) & objects(model)
    fast.eval()
    fast.register_forward_hook(lambda *_: None)
    assert shape_of(model) == before


def shape_of(value: object, seen: dict[int, int] | None = None) -> object:
    """What it holds, however deep; an object that was met before by when that was."""
    seen = {} if seen is None else seen
    if isinstance(value, (str, int, float, type(None))):
        return value
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = len(seen)
    kind = type(value)
    if isinstance(value, Tensor):  # the clone of a parameter is a tensor
        return tuple(value.shape), value.dtype
    if isinstance(value, nn.Module):
        return kind, shape_of(vars(value), seen)
    if isinstance(value, dict):
        return kind, [(key, shape_of(each, seen)) for key, each in value.items()]
    if isinstance(value, (list, tuple, set)):
        return kind, [shape_of(each, seen) for each in value]
    return kind


def objects(value: object) -> set[int]:
    """Everything in it that can be changed, by its address."""
    if isinstance(value, Tensor):
        return {id(value), value.data_ptr()}
    if isinstance(value, nn.Module):
        return {id(value)} | objects(vars(value))
    if isinstance(value, (dict, list, tuple, set)):
        inside = value.values() if isinstance(value, dict) else value
        own = {id(value)} if not isinstance(value, tuple) else set()
        return own.union(*map(objects, inside))
    return set()
