"""A detector in parts that can be counted and timed: by stage, by row of its file, by operator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from detrbench.analysis.probe.ceilings import Work, work_of
from detrbench.core.errors import UsageError, nearest
from detrbench.counting.profiling import MODULE_DEPTH, metrics_of
from detrbench.counting.tracing import (
    GROUPINGS,
    Grouping,
    Op,
    Totals,
    Trace,
    aten_name,
    attention_in_full,
    decomposed,
    is_composite,
    qualified,
)
from detrbench.models.detector import Detector
from detrbench.runtimes.clocks import Clock, Step
from detrbench.runtimes.eager import ModelStep

STAGES = ("backbone", "neck", "decoder")
REST = "(views and allocation)"
"""By operator: what calls take that the trace does not list, because they move nothing."""


@dataclass(frozen=True)
class Counted:
    """One part of a model as the trace has it, and what it is matched with in another model."""

    name: str
    group: str
    work: Work
    counts: Mapping[str, int | float | None]


@dataclass(frozen=True)
class Dissected:
    """A model in parts.

    Attributes:
        whole: all of it.
        parts: in the order of first use.
        steps: one that times each part; by operator there is one that times them all.
        readings: of the operators, by name, one for every call of that step.
    """

    whole: Counted
    parts: tuple[Counted, ...]
    steps: tuple[Step, ...]
    readings: Sequence[Mapping[str, float]] = ()


def dissect(
    model: nn.Module, images: Tensor, clock: Clock, by: Grouping, traced: Trace
) -> Dissected:
    """`model`, ready on its device, in parts; `images` (B, 3, H, W) as it takes them.

    Stages and rows are fed with what they get in a forward pass, computed once and kept. Operators
    cannot be called alone: each is timed inside the pass, which makes the pass slower.

    Raises:
        UsageError: a module without stages and rows, or an unknown way to take it apart.
    """
    if by not in GROUPINGS:
        raise UsageError(f"cannot take a model apart by {by!r}", hint=nearest(by, GROUPINGS))
    whole = _counted("whole", "whole", traced, traced.ops)
    if by == "op":
        timer = OperatorTimes(model, images, clock)
        return Dissected(whole, _operators(traced), (timer,), timer.readings)
    if not isinstance(model, Detector):
        raise UsageError(
            f"a {type(model).__name__} has no stages", hint="Give a detrbench detector, or --by op."
        )
    calls = _stage_calls(model, images) if by == "stage" else _row_calls(model, images)
    there = {part.name: part for part in traced.parts(by, MODULE_DEPTH)}
    counted = []
    for path in calls:
        part = there.get(path)
        totals, ops = (Totals(), ()) if part is None else (part.totals, part.ops)
        group = path if by == "stage" else model.stages[path]
        counted.append(_counted(_called(path, traced, by), group, totals, ops))
    steps = tuple(ModelStep(call, clock) for call in calls.values())
    return Dissected(whole, tuple(counted), steps)


def _counted(name: str, group: str, totals: Totals, ops: Sequence[Op]) -> Counted:
    return Counted(name, group, work_of(totals, ops), metrics_of(totals, ops))


def _called(path: str, traced: Trace, by: Grouping) -> str:
    """As `detrbench profile` calls it: a row has its class beside its path."""
    found = traced.modules.get(path) if by == "module" else None
    return f"{path} {found.__name__}" if found else path


# --- stages and rows ---------------------------------------------------------------------------

Calls = dict[str, Callable[[], object]]


def _stage_calls(detector: Detector, images: Tensor) -> Calls:
    calls: Calls = {}
    with torch.inference_mode():
        left: dict[int, Any] = {-1: images}
        for stage in STAGES:
            calls[stage] = _stage_call(detector, stage, left)
            left = detector.run_stage(stage, left)
    return calls


def _stage_call(detector: Detector, stage: str, inputs: Mapping[int, Any]) -> Callable[[], object]:
    kept = dict(inputs)
    return lambda: detector.run_stage(stage, kept)


def _row_calls(detector: Detector, images: Tensor) -> Calls:
    calls: Calls = {}

    def keep(path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            # Copies: a later row may write into what this one got.
            kept = tree_map_only(Tensor, torch.clone, arguments)
            calls[path] = lambda: module(*kept)

        return hook

    hooks = [
        row.register_forward_pre_hook(keep(f"model.{index}"))
        for index, row in enumerate(detector.model)
    ]
    try:
        with torch.inference_mode():
            detector(images)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


# --- operators ---------------------------------------------------------------------------------


def _operators(traced: Trace) -> tuple[Counted, ...]:
    found = [
        _counted(part.name, part.name, part.totals, part.ops)
        for part in traced.parts("op")
        if part.ops
    ]
    return (*found, _counted(REST, REST, Totals(), ()))


class OperatorTimes:
    """A step that runs a model with every ATen call timed by the device's clock.

    Each call waits for the device, and goes through Python once more than usual, so that the sum of
    the readings is more than the pass takes by itself: it is for shares, and says so.
    """

    def __init__(self, model: nn.Module, images: Tensor, clock: Clock) -> None:
        self._model, self._images, self.clock = model, images, clock
        self.readings: list[dict[str, float]] = []

    def __call__(self) -> object:
        with torch.inference_mode(), attention_in_full(), _Stopwatch(self.clock) as watch:
            outputs = self._model(self._images)
        self.readings.append(dict(watch.seconds))
        return outputs

    def verify(self, outcome: object) -> None:
        ModelStep(self, self.clock).verify(outcome)


class _Stopwatch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Seconds of the ATen calls of a forward, by the names that the trace gives them."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock = clock
        self.seconds: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if is_composite(func):
            with self:
                return decomposed(func, args, kwargs)
        name = aten_name(func)
        results: list[Any] = []
        reading = self._clock.time(lambda: results.append(func(*args, **kwargs)))
        base = name if name.startswith("__") else name.rstrip("_")
        self.seconds[qualified(base)] += reading[0]
        return results[0]
