"""A module in parts that are counted and timed: what all parts do is what the whole does."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import nn

from detrbench import trace
from detrbench.analysis.explain.parts import Dissected, dissect
from detrbench.core.errors import UsageError
from detrbench.runtimes.devices import open_device
from detrbench.runtimes.eager import Eager
from tests.analysis.explain.nets import Broken, Net, OtherwiseWhenRun

IMAGES = torch.rand(1, 3, 16, 16)


def parts_of(module: nn.Module, by: str) -> Dissected:
    runtime, module = Eager(open_device("cpu")), module.eval()
    traced = trace(module, 16)
    return dissect(
        module, IMAGES, runtime.device.clock, cast(Any, by), traced, where="./net.py:make"
    )


@pytest.mark.parametrize("by", ["stage", "module", "op"])
def test_any_module_is_counted_in_parts(by: str) -> None:
    found = parts_of(Net(), by)
    assert sum(part.work.flops for part in found.parts) == found.whole.work.flops
    assert sum(part.work.kernels for part in found.parts) == found.whole.work.kernels
    assert sum(part.work.nbytes for part in found.parts) == found.whole.work.nbytes
    assert len(found.steps) == (1 if by == "op" else len(found.parts))
    for step in found.steps:
        step.verify(step())


def test_modules_are_called_as_profile_calls_them_and_grouped_by_the_stage_that_they_are_in() -> (
    None
):
    found = {part.name: part.group for part in parts_of(Net(), "module").parts}
    assert found == {
        "stem Conv2d": "stem",
        "neck.wide Sequential": "neck",
        "neck.narrow Conv2d": "neck",
        "head Conv2d": "head",
        "(model)": "(model)",
        "neck Neck": "neck",
    }


def test_stages_are_those_that_a_module_declares() -> None:
    net = Net({"stem": "backbone", "neck": "neck", "head": "decoder"})
    assert [part.name for part in parts_of(net, "stage").parts] == [
        "backbone",
        "neck",
        "decoder",
        "(model)",
    ]
    groups = {part.group for part in parts_of(net, "module").parts}
    assert groups == {"backbone", "neck", "decoder", "(model)"}


@pytest.mark.parametrize(
    ("module", "by", "said"),
    [
        (nn.Conv2d(3, 3, 1), "stage", "a Conv2d has no stages"),
        (nn.Conv2d(3, 3, 1), "module", "a Conv2d has no modules"),
        (nn.Conv2d(3, 3, 1), "row", "cannot take a model apart"),
        (OtherwiseWhenRun(), "stage", "otherwise than its trace, without second"),
        (OtherwiseWhenRun(), "module", "otherwise than its trace, without second"),
        (Broken(), "module", "its modules cannot be called one by one: RuntimeError: boom"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(module: nn.Module, by: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parts_of(module, by)
    assert caught.value.hint
    assert by == "row" or caught.value.where == "./net.py:make"
