"""Parts of a forward pass called again by themselves: each does its own work and no other's."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from detrbench import build
from detrbench.analysis.explain.replay import module_calls, stage_calls
from tests.analysis.explain.nets import Net

IMAGES = torch.rand(1, 3, 16, 16)
HOMES = {"": "(model)", "stem": "stem", "neck": "neck", "neck.wide.0": "neck.wide",
         "neck.wide.1": "neck.wide", "neck.narrow": "neck.narrow", "head": "head"}  # fmt: skip
"""By module, of `Net`."""


def work_done(model: nn.Module, homes: dict[str, str]) -> dict[str, Counter[str]]:
    """Part -> how often which innermost module runs in it."""
    calls = module_calls(model, IMAGES, homes)
    ran: Counter[str] = Counter()

    def counting(name: str, forward: object) -> object:
        def run(*arguments: object, **keywords: object) -> object:
            ran[name] += 1
            return forward(*arguments, **keywords)  # type: ignore[operator]

        return run

    for name, module in model.named_modules():
        if not list(module.children()):
            module.forward = counting(name, module.forward)  # type: ignore[method-assign,assignment]
    found = {}
    with torch.inference_mode():
        for part, call in calls.items():
            ran.clear()
            call()
            found[part] = Counter(ran)
    return found


def test_each_part_runs_what_is_its_own_as_often_as_the_pass_does() -> None:
    assert work_done(Net().eval(), HOMES) == {
        "stem": Counter({"stem": 1}),
        "neck.wide": Counter({"neck.wide.0": 2, "neck.wide.1": 2}),
        "neck.narrow": Counter({"neck.narrow": 2}),
        "head": Counter({"head": 1}),
        # What these do by themselves is done while all modules in them stand by.
        "(model)": Counter(),
        "neck": Counter(),
    }


def test_a_module_that_works_for_one_part_is_called_as_a_whole() -> None:
    by_stage = {path: path.split(".")[0] or "(model)" for path in HOMES}
    found = work_done(Net().eval(), by_stage)
    assert found["neck"] == Counter({"neck.wide.0": 2, "neck.wide.1": 2, "neck.narrow": 2})
    assert found["(model)"] == Counter()


def test_a_part_of_several_modules_runs_them_all() -> None:
    homes = {path: "ends" if path in ("stem", "head") else "middle" for path in HOMES}
    assert work_done(Net().eval(), homes)["ends"] == Counter({"stem": 1, "head": 1})


@pytest.mark.parametrize("calls", [1, 3])
def test_the_model_is_left_as_it_was(calls: int) -> None:
    model = Net().eval()
    with torch.inference_mode():
        before = model(IMAGES)
        replayed = module_calls(model, IMAGES, HOMES)
        for _ in range(calls):
            outcome = replayed["(model)"]()
        assert torch.equal(model(IMAGES), before)
        # Standing in, modules return what they returned: so the model does, too.
        assert isinstance(outcome, torch.Tensor)
        assert torch.equal(outcome, before)
    for module in model.modules():
        assert "forward" not in vars(module)
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_what_a_model_has_had_put_in_place_of_a_forward_stays() -> None:
    model = Net().eval()
    own = model.stem.forward
    model.stem.forward = own  # type: ignore[method-assign]
    replayed = module_calls(model, IMAGES, HOMES)
    with torch.inference_mode():
        replayed["(model)"]()
    assert vars(model.stem)["forward"] is own


def test_stages_of_a_detector_go_on_from_what_the_one_before_left() -> None:
    detector, images = build("shufflev2-x0.5", nc=1), torch.rand(1, 3, 64, 64)
    calls = stage_calls(detector, images)
    assert list(calls) == ["backbone", "neck", "decoder"]
    with torch.inference_mode():
        last = calls["decoder"]()
        expected = detector(images)
    assert isinstance(last, dict)
    (left,) = last.values()
    assert all(torch.equal(one, other) for one, other in zip(left, expected, strict=True))
