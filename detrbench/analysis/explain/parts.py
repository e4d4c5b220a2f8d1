"""A model in parts that can be counted and timed: by stage, by module, by operator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from detrbench.analysis.explain.findings import INSERTED, Counted
from detrbench.analysis.explain.replay import Calls, module_calls, stage_calls
from detrbench.analysis.probe.ceilings import work_of
from detrbench.core.errors import UsageError, nearest
from detrbench.counting.profiling import MODULE_DEPTH, metrics_of, not_counted
from detrbench.counting.tracing import (
    GROUPINGS,
    Grouping,
    Op,
    Part,
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
from detrbench.runtimes.exported import KernelTimes

_OTHERWISE = {
    "stage": "Give --by module or --by op, or say in its `detrbench_stages` which module is of "
    "which stage.",
    "module": "Give --by op.",
}

REST = "(views and allocation)"
"""By operator: what calls take that the trace does not list, because they move nothing."""


@dataclass(frozen=True)
class Dissected:
    """A model in parts, in the order of first use."""

    whole: Counted
    parts: tuple[Counted, ...]
    steps: tuple[Step, ...]  # one that times each part; by operator there is one for them all
    # Where one step times them all: for every call of it, seconds by their names. What is not among
    # these is of the last part.
    readings: Sequence[Mapping[str, float]] = ()
    lacking: str | None = None  # what is in no count


def dissect(
    model: nn.Module,
    images: Tensor,
    clock: Clock,
    by: Grouping,
    traced: Trace,
    *,
    where: str | None = None,
) -> Dissected:
    """`model`, ready on its device, in parts; `images` (B, C, H, W) as it takes them.

    Stages and modules are fed with what they get in a forward pass, computed once and kept.
    Operators cannot be called alone: each is timed inside the pass, which makes the pass slower.
    Raises UsageError, at `where`, for a model without such parts, or an unknown way to take it
    apart.
    """
    if by not in GROUPINGS:
        raise UsageError(f"cannot take a model apart by {by!r}", hint=nearest(by, GROUPINGS))
    whole = _counted("whole", "whole", traced, traced.ops)
    lacking = "; ".join(not_counted(traced)) or None
    if by == "op":
        timer = OperatorTimes(model, images, clock)
        return Dissected(whole, _operators(traced), (timer,), timer.readings, lacking)
    there = {part.name: part for part in traced.parts(by, MODULE_DEPTH) if part.ops}
    if len(there) < 2:
        raise UsageError(
            f"a {type(model).__name__} has no {by}s that could be timed apart",
            where=where,
            hint=_OTHERWISE[by],
        )
    calls = _calls(model, images, by, there, where)
    # What passes between modules that we do not know may be a mask, or no tensor at all.
    make = ModelStep if isinstance(model, Detector) else _Unlooked
    return Dissected(
        whole,
        tuple(
            _counted(_called(path, traced, by), part.ops[0].stage, part.totals, part.ops)
            for path in calls
            for part in (there[path],)
        ),
        tuple(make(call, clock) for call in calls.values()),
        lacking=lacking,
    )


def dissect_graph(timer: KernelTimes, by: Literal["stage", "module"], traced: Trace) -> Dissected:
    """A model that is executed as a graph, in the parts that its kernels are of."""
    parts = tuple(
        _counted(_called(part.name, traced, by), part.ops[0].stage, part.totals, part.ops)
        for part in traced.parts(by, MODULE_DEPTH)
        if part.ops
    )

    def named(home: str | None) -> str:
        if home is None:
            return INSERTED
        return _called(traced.part_of(home, by, MODULE_DEPTH), traced, by)

    rest = _counted(INSERTED, INSERTED, Totals(), ())
    return Dissected(
        _counted("whole", "whole", traced, traced.ops),
        (*parts, rest),
        (timer,),
        _Read(timer, named),
        "; ".join(not_counted(traced)) or None,
    )


class _Read(Sequence[Mapping[str, float]]):
    """What a graph's kernels took, by part: read when it is asked for, after the last call."""

    def __init__(self, timer: KernelTimes, named: Callable[[str | None], str]) -> None:
        self._timer, self._named = timer, named

    def __len__(self) -> int:
        return len(self._timer.seconds)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        found: dict[str, float] = {}
        for home, seconds in self._timer.seconds[index].items():
            part = self._named(home)
            found[part] = found.get(part, 0.0) + seconds
        return found


def _calls(
    model: nn.Module, images: Tensor, by: Grouping, there: Mapping[str, Part], where: str | None
) -> Calls:
    """What calls each part by itself; every one was called once."""
    try:
        if by == "stage" and isinstance(model, Detector):
            calls = stage_calls(model, images)
        else:
            homes = {op.module: part.name for part in there.values() for op in part.ops}
            calls = module_calls(model, images, homes)
        with torch.inference_mode():
            for call in calls.values():
                call()
    except Exception as error:
        raise UsageError(
            f"its {by}s cannot be called one by one: {type(error).__name__}: {error}",
            where=where,
            hint="Give --by op.",
        ) from error
    if calls.keys() != there.keys():
        absent = ", ".join(sorted(there.keys() - calls.keys()))
        raise UsageError(
            f"it computes otherwise than its trace, without {absent}",
            where=where,
            hint="Give --by op.",
        )
    return calls


class _Unlooked(ModelStep):
    """A part whose outputs nobody looks at: the whole's are looked at."""

    def verify(self, outcome: object) -> None:
        """Nothing to see here."""


def _counted(name: str, group: str, totals: Totals, ops: Sequence[Op]) -> Counted:
    return Counted(name, group, work_of(totals, ops), metrics_of(totals, ops))


def _called(path: str, traced: Trace, by: Grouping) -> str:
    """As `detrbench profile` calls it: a row has its class beside its path."""
    found = traced.modules.get(path) if by == "module" else None
    return f"{path} {found.__name__}" if found else path


def _operators(traced: Trace) -> tuple[Counted, ...]:
    found = [
        _counted(part.name, part.name, part.totals, part.ops)
        for part in traced.parts("op")
        if part.ops
    ]
    return (*found, _counted(REST, REST, Totals(), ()))


class OperatorTimes(ModelStep):
    """A step that runs a model with every ATen call timed by the device's clock.

    Each call waits for the device, and goes through Python once more than usual, so that the sum of
    the readings is more than the pass takes by itself: it is for shares, and says so.
    """

    def __init__(self, model: nn.Module, images: Tensor, clock: Clock) -> None:
        super().__init__(lambda: model(images), clock)
        self.readings: list[dict[str, float]] = []

    def __call__(self) -> object:
        with torch.inference_mode(), attention_in_full(), _Stopwatch(self.clock) as watch:
            outputs = super().__call__()
        self.readings.append(dict(watch.seconds))
        return outputs


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
