"""The parts of one forward pass, each called again by itself with what it got in that pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from detrbench.models.detector import Detector

Calls = dict[str, Callable[[], object]]
"""Part -> what calls it by itself, as often as the pass does."""

STAGES = ("backbone", "neck", "decoder")


def stage_calls(detector: Detector, images: Tensor) -> Calls:
    """Each stage with what the rows before it left, computed once and kept."""
    calls: Calls = {}
    with torch.inference_mode():
        left: dict[int, Any] = {-1: images}
        for stage in STAGES:
            calls[stage] = partial(detector.run_stage, stage, left)
            left = detector.run_stage(stage, left)
    return calls


def module_calls(model: nn.Module, images: Tensor, homes: Mapping[str, str]) -> Calls:
    """Each part as the modules that it consists of.

    A module that works for one part alone is called with what it got. One whose own forward works
    for another part than its modules do, such as a model that joins what they return, is called
    with those modules standing in by what they returned.

    Args:
        homes: path of a module that does work by itself -> its part.
    """
    parts = {path: _parts_in(path, homes) for path in _called(model, images)}
    alone = [path for path, mine in parts.items() if len(mine) == 1]
    units = [path for path in alone if not any(_is_in(path, other) for other in alone)]
    mixed = [path for path, mine in parts.items() if len(mine) > 1 and path in homes]
    seen = _recorded(model, images, (*units, *mixed), outputs=bool(mixed))
    calls: dict[str, list[Callable[[], object]]] = {}
    for path in units:
        (part,) = parts[path]
        calls.setdefault(part, []).append(seen[path].again)
    for path in mixed:
        inside = [one for other, one in seen.items() if _is_in(other, path)]
        calls.setdefault(homes[path], []).append(partial(_with_stand_ins, seen[path], inside))
    return {
        part: each[0] if len(each) == 1 else partial(_in_a_row, each)
        for part, each in calls.items()
    }


def _is_in(path: str, other: str) -> bool:
    """Whether one module is inside another; all are in the model itself, whose path is empty."""
    return path != other and (not other or path.startswith(f"{other}."))


def _parts_in(path: str, homes: Mapping[str, str]) -> set[str]:
    """The parts that a module and those inside it work for."""
    return {part for home, part in homes.items() if home == path or _is_in(home, path)}


def _called(model: nn.Module, images: Tensor) -> list[str]:
    """The paths of all modules that a forward pass calls, in the order of their first call."""
    found: dict[str, None] = {}

    def note(path: str, *_: object) -> None:
        found[path] = None

    with ExitStack() as hooks, torch.inference_mode():
        for path, module in model.named_modules():
            hooks.callback(module.register_forward_pre_hook(partial(note, path)).remove)
        model(images)
    return list(found)


@dataclass
class _Seen:
    """A module, and what it got and returned in one forward pass, call by call."""

    module: nn.Module
    got: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    returned: list[Any] = field(default_factory=list)

    def take(self, _: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.got.append(_copied((arguments, keywords)))

    def keep(self, _: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        self.returned.append(_copied(output))

    def again(self) -> object:
        outcome = None
        for arguments, keywords in self.got:
            outcome = self.module(*arguments, **keywords)
        return outcome

    def playback(self) -> Callable[..., Any]:
        """In place of the module's forward: what that returned, one after the other."""
        returned = iter(self.returned)
        return lambda *_, **__: next(returned)


def _copied(values: Any) -> Any:
    """Copies: a later module may write into what this one got or returned."""
    return tree_map_only(Tensor, torch.clone, values)


def _recorded(
    model: nn.Module, images: Tensor, paths: Sequence[str], *, outputs: bool
) -> dict[str, _Seen]:
    """What the modules at `paths` got in a forward pass, and returned where that is needed."""
    seen = {path: _Seen(model.get_submodule(path)) for path in paths}
    with ExitStack() as hooks, torch.inference_mode():
        for one in seen.values():
            taking = one.module.register_forward_pre_hook(one.take, with_kwargs=True)
            hooks.callback(taking.remove)
            if outputs:
                hooks.callback(one.module.register_forward_hook(one.keep).remove)
        model(images)
    return seen


def _with_stand_ins(one: _Seen, others: Sequence[_Seen]) -> object:
    """Call a module while others do nothing and return what they returned once."""
    # Past nn.Module's own setter, whose looking through parameters would count as work.
    places = [vars(other.module) for other in others]
    before = [place.get("forward") for place in places]
    for other, place in zip(others, places, strict=True):
        place["forward"] = other.playback()
    try:
        return one.again()
    finally:
        for place, forward in zip(places, before, strict=True):
            if forward is None:
                del place["forward"]
            else:
                place["forward"] = forward


def _in_a_row(calls: Sequence[Callable[[], object]]) -> object:
    return [call() for call in calls]
