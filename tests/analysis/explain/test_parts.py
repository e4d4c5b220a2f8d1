"""A module in parts that are counted and timed: what all parts do is what the whole does."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import nn

from detrbench import trace
from detrbench.analysis.explain.findings import INSERTED
from detrbench.analysis.explain.parts import Dissected, dissect, dissect_graph
from detrbench.core.errors import UsageError
from detrbench.runtimes.devices import open_device
from detrbench.runtimes.eager import Eager
from detrbench.runtimes.exported import Kernel, KernelTimes
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


HOMES = {"conv": "stem", "add": "neck.wide.0", "mul": "", "relu": "neck.narrow"}


class Known:
    def find(self, names: tuple[str, ...], product: bool) -> str | None:
        return next((HOMES[name] for name in names if name in HOMES), None)


def timer(*calls: list[tuple[tuple[str, ...], float]]) -> KernelTimes:
    clock = Eager(open_device("cpu")).device.clock
    kernels = [[Kernel(names, False, seconds) for names, seconds in call] for call in calls]
    return KernelTimes(lambda: [], lambda: kernels, cast(Any, Known()), clock)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("stage", {"stem": 1.0, "neck": 6.0, "(model)": 8.0, INSERTED: 16.0}),
        (
            "module",
            {
                "stem Conv2d": 1.0, "neck.wide Sequential": 2.0, "neck.narrow Conv2d": 4.0,
                "(model)": 8.0, INSERTED: 16.0,
            },
        ),
    ],
)  # fmt: skip
def test_a_graphs_kernels_are_of_the_parts_whose_nodes_they_are(
    by: Any, expected: dict[str, float]
) -> None:
    kernels: list[tuple[tuple[str, ...], float]] = [
        (("conv",), 1.0), (("?", "add"), 2.0), (("relu", "conv"), 4.0), (("mul",), 8.0),
        (("reorder",), 10.0), ((), 6.0),
    ]  # fmt: skip
    found = dissect_graph(timer(kernels, kernels), by, trace(Net().eval(), 16))
    assert [*found.readings] == [expected] * 2
    assert found.readings[-1:] == [expected]
    assert sum(part.work.flops for part in found.parts) == found.whole.work.flops
    assert found.parts[-1].name == INSERTED
    assert expected.keys() <= {part.name for part in found.parts}
